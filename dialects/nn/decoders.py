# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `nn` that decoders of text are made of.

They mean what `RMSNormalization`, `RotaryEmbedding` and `Attention` mean in ONNX from opset 23 on,
but tokens come before heads, as products leave them, and rotation has frequencies in place of
tables. Letters in shapes are those of `daqkf.dialects.nn.sequences`.
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum, auto
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    TensorType,
    UnrankedTensorType,
    f64,
    i64,
)
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
)

from daqkf.dialects.nn.base import (
    EXTENTS,
    INTEGER,
    PLAIN,
    SAME_FLOATS,
    STEP,
    TensorOp,
    differ,
    element_of,
    require,
    shape_of,
)
from daqkf.dialects.nn.sequences import rotary_frequencies

_REALS = DenseArrayBase.constr(f64)


@irdl_op_definition
class RmsNormOp(TensorOp):
    """Root mean square normalisation over the last dimension (Zhang and Sennrich, 2019).

    `x / √(mean(x²) + epsilon) · gamma`, which is ONNX's `RMSNormalization` of axis -1.

    ```mlir
    %y = nn.rms_norm %x, %gamma {epsilon = 1.0e-5 : f64}
      : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    ```
    """

    name = "nn.rms_norm"

    input = operand_def(SAME_FLOATS)
    gamma = operand_def(SAME_FLOATS)
    epsilon = prop_def(STEP)
    result = result_def(SAME_FLOATS)

    assembly_format = PLAIN

    def __init__(self, value: SSAValue, gamma: SSAValue, epsilon: float):
        super().__init__(
            operands=[value, gamma],
            properties={"epsilon": FloatAttr(epsilon, f64)},
            result_types=[value.type],
        )

    def verify_(self) -> None:
        epsilon = self.epsilon.value.data
        require(
            math.isfinite(epsilon) and epsilon >= 0, f"epsilon is a number from 0 on, not {epsilon}"
        )
        shape, gains = shape_of(self.input), shape_of(self.gamma)
        require(gains is None or len(gains) == 1, f"gamma is a vector, not {self.gamma.type}")
        require(shape != (), "a number has no dimension to normalise over")
        if shape and gains:
            require(not differ(shape[-1], gains[0]), f"{shape[-1]} features, {gains[0]} of gamma")


class Pairs(StrEnum):
    """Which two features of a head are turned together."""

    HALVES = auto()
    """The features i and i + n / 2 of n."""
    NEIGHBOURS = auto()
    """The features 2i and 2i + 1."""


@irdl_attr_definition
class PairsAttr(
    EnumAttribute[Pairs],  # pyright: ignore[reportInvalidTypeArguments]  # as xDSL asks for its own
    SpacedOpaqueSyntaxAttribute,
):
    """`#nn<pairs halves>`, or in an operation `halves`."""

    name = "nn.pairs"


@irdl_op_definition
class RotaryOp(TensorOp):
    """Rotary position embedding of heads [..., T, H, D] at positions [..., T] (Su et al., 2021).

    The pair i of features, of `features` that turn, turns by the position times
    `base^(-2i / features)`, over `factors[i]` if there are factors, as models have whose context
    was made longer. All features of a head turn, or the first ones. ONNX's `RotaryEmbedding` has
    the sines and cosines of these angles in tables, and `interleaved` for neighbours.

    ```mlir
    %y = nn.rotary neighbours %x, %positions {base = 10000.0 : f64}
      : (tensor<?x9x64xf32>, tensor<?xi64>) -> tensor<?x9x64xf32>
    %z = nn.rotary halves %x, %positions {base = 10000.0 : f64, features = 4 : i64,
        factors = array<f64: 1.0, 8.0>} : (tensor<?x9x64xf32>, tensor<?xi64>) -> tensor<?x9x64xf32>
    ```
    """

    name = "nn.rotary"

    pairs = prop_def(PairsAttr)
    input = operand_def(SAME_FLOATS)
    positions = operand_def(EXTENTS)
    base = prop_def(STEP)
    features = opt_prop_def(INTEGER)
    factors = opt_prop_def(_REALS)
    result = result_def(SAME_FLOATS)

    assembly_format = (
        "$pairs $input `,` $positions attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        pairs: str,
        value: SSAValue,
        positions: SSAValue,
        base: float,
        features: int | None = None,
        factors: Sequence[float] | None = None,
    ):
        super().__init__(
            operands=[value, positions],
            properties={
                "pairs": PairsAttr(Pairs(pairs)),
                "base": FloatAttr(base, f64),
                "features": None if features is None else IntegerAttr(features, i64),
                "factors": None
                if factors is None
                else DenseArrayBase.from_list(f64, [float(factor) for factor in factors]),
            },
            result_types=[value.type],
        )

    def turning(self, features: int) -> int:
        """How many of a head's features turn."""
        return features if self.features is None else self.features.value.data

    def scales(self) -> NDArray[np.float64] | None:
        """What the frequencies are divided by, if by anything."""
        return None if self.factors is None else np.frombuffer(self.factors.data.data, "<f8")

    def frequencies(self, features: int) -> NDArray[np.float64]:
        """Radians that each pair of a head of so many features turns by at a step."""
        turning = self.turning(features)
        return rotary_frequencies(turning, self.base.value.data, self.scales())

    def verify_(self) -> None:
        base, scales = self.base.value.data, self.scales()
        require(math.isfinite(base) and base > 0, f"a base is a positive number, not {base}")
        require(
            scales is None or bool(np.all(np.isfinite(scales) & (scales > 0))),
            "factors are positive numbers",
        )
        shape, positions = shape_of(self.input), shape_of(self.positions)
        require(shape is None or len(shape) > 2, f"heads are [..., T, H, D], not {self.input.type}")
        if shape is not None and positions is not None:
            require(
                len(positions) == len(shape) - 2
                and not any(map(differ, positions, shape[: len(positions)])),
                f"positions of {self.input.type} are not {self.positions.type}",
            )
        features = shape[-1] if shape else DYNAMIC_INDEX
        turning = self.turning(features)
        if turning != DYNAMIC_INDEX:
            require(
                turning > 0 and turning % 2 == 0,
                f"an even number of features turns, not {turning}",
            )
            require(
                features == DYNAMIC_INDEX or turning <= features,
                f"{turning} features of {features} turn",
            )
            require(
                scales is None or len(scales) == turning // 2,
                f"{turning // 2} pairs turn, which {0 if scales is None else len(scales)} "
                "factors are not of",
            )


class CachedOperation(TensorOp):
    """Causal attention of grouped queries, whose keys and values follow those of earlier tokens.

    `softmax(q·k·scale)·v` for queries [..., T, H, D], keys [..., T, G, D] and values
    [..., T, G, E], with past keys [..., S, G, D] and past values [..., S, G, E] before them: of the
    S + T tokens, token S + t attends to the tokens 0 … S + t. H / G heads of queries that follow
    one another read a head of keys and values. The results are [..., T, H·E], and all keys and
    values, which are the past of the next tokens. S may be 0. Nothing is kept from call to call.
    """

    queries = operand_def(SAME_FLOATS)
    keys = operand_def(SAME_FLOATS)
    values = operand_def(SAME_FLOATS)
    past_keys = operand_def(SAME_FLOATS)
    past_values = operand_def(SAME_FLOATS)
    scale = prop_def(STEP)
    result = result_def(SAME_FLOATS)
    present_keys = result_def(SAME_FLOATS)
    present_values = result_def(SAME_FLOATS)

    assembly_format = (
        "$queries `,` $keys `,` $values `past` $past_keys `,` $past_values attr-dict `:` "
        "functional-type(operands, results)"
    )

    def __init__(
        self,
        queries: SSAValue,
        keys: SSAValue,
        values: SSAValue,
        past: tuple[SSAValue, SSAValue],
        properties: Mapping[str, Attribute],
        results: Sequence[Attribute] | None = None,
    ):
        past_keys, past_values = past
        super().__init__(
            operands=[queries, keys, values, past_keys, past_values],
            properties=dict(properties),
            result_types=results
            or [
                _attended(queries, values),
                _joined(past_keys, keys),
                _joined(past_values, values),
            ],
        )

    def verify_(self) -> None:
        scale = self.scale.value.data
        require(math.isfinite(scale) and scale > 0, f"a scale is a positive number, not {scale}")
        named = {
            "queries": shape_of(self.queries),
            "keys": shape_of(self.keys),
            "values": shape_of(self.values),
            "past keys": shape_of(self.past_keys),
            "past values": shape_of(self.past_values),
            "present keys": shape_of(self.present_keys),
            "present values": shape_of(self.present_values),
        }
        known = {name: shape for name, shape in named.items() if shape is not None}
        ranks = {len(shape) for shape in known.values()}
        require(
            len(ranks) < 2 and all(rank > 2 for rank in ranks),
            "queries, keys and values are [..., tokens, heads, features], all of one rank",
        )
        self._require_heads(known)
        self._require_lengths(known)
        if (shape := shape_of(self.result)) is not None and "queries" in known:
            queries = known["queries"]
            require(
                len(shape) == len(queries) - 1
                and not any(map(differ, shape[:-1], queries[:-2]))
                and not differ(shape[-1], _columns(queries, known.get("values"))),
                f"attention of {self.queries.type} does not give {self.result.type}",
            )

    def _require_heads(self, known: dict[str, tuple[int, ...]]) -> None:
        """Check heads and features, as far as they are known."""
        heads = known["queries"][-2] if "queries" in known else DYNAMIC_INDEX
        for name, shape in known.items():
            groups = shape[-2]
            if name != "queries" and DYNAMIC_INDEX not in (heads, groups):
                require(
                    groups > 0 and heads % groups == 0,
                    f"{heads} heads of queries do not share {groups} of {name}",
                )
        for names in (
            ("queries", "keys", "past keys", "present keys"),
            ("values", "past values", "present values"),
        ):
            found = {known[name][-1] for name in names if name in known} - {DYNAMIC_INDEX}
            require(len(found) < 2, f"{', '.join(names)} of {sorted(found)} features")
        others = {shape[-2] for name, shape in known.items() if name != "queries"}
        require(
            len(others - {DYNAMIC_INDEX}) < 2,
            f"keys and values of {sorted(others - {DYNAMIC_INDEX})} heads",
        )

    def _require_lengths(self, known: dict[str, tuple[int, ...]]) -> None:
        """Check numbers of tokens and of sequences, as far as they are known."""
        for names in (("queries", "keys", "values"), ("past keys", "past values")):
            found = {known[name][-3] for name in names if name in known} - {DYNAMIC_INDEX}
            require(len(found) < 2, f"{', '.join(names)} of {sorted(found)} tokens")
        for part in ("keys", "values"):
            shapes = [known.get(f"{when}{part}") for when in ("past ", "", "present ")]
            past, new, present = (DYNAMIC_INDEX if s is None else s[-3] for s in shapes)
            if DYNAMIC_INDEX not in (past, new):
                require(
                    not differ(past + new, present),
                    f"{past} and {new} tokens are not {present} present {part}",
                )
        for extents in zip(*(shape[:-3] for shape in known.values()), strict=True):
            found = set(extents) - {DYNAMIC_INDEX}
            require(len(found) < 2, f"batches of {sorted(found)} sequences")


@irdl_op_definition
class CachedAttentionOp(CachedOperation):
    """Causal attention of grouped queries behind those of earlier tokens; see `CachedOperation`.

    It is ONNX's `Attention` with `is_causal` and a past.

    ```mlir
    %y, %k, %v = nn.cached_attention %q, %key, %value past %past_k, %past_v {scale = 0.5 : f64}
      : (tensor<?x4x2xf32>, tensor<?x2x2xf32>, tensor<?x2x2xf32>, tensor<?x2x2xf32>,
         tensor<?x2x2xf32>) -> (tensor<?x8xf32>, tensor<?x2x2xf32>, tensor<?x2x2xf32>)
    ```
    """

    name = "nn.cached_attention"

    def __init__(
        self,
        queries: SSAValue,
        keys: SSAValue,
        values: SSAValue,
        past: tuple[SSAValue, SSAValue],
        scale: float,
    ):
        super().__init__(queries, keys, values, past, {"scale": FloatAttr(scale, f64)})


def _columns(queries: Sequence[int], values: Sequence[int] | None) -> int:
    """H·E, if it is known."""
    if values is None or DYNAMIC_INDEX in (queries[-2], values[-1]):
        return DYNAMIC_INDEX
    return queries[-2] * values[-1]


def _attended(queries: SSAValue, values: SSAValue) -> Attribute:
    """The type of the results of attention."""
    shape, element = shape_of(queries), element_of(queries)
    if shape is None:
        return UnrankedTensorType(element)
    return TensorType(element, [*shape[:-2], _columns(shape, shape_of(values))])


def _joined(past: SSAValue, new: SSAValue) -> Attribute:
    """The type of the keys or values of earlier tokens and new ones."""
    shapes, element = (shape_of(past), shape_of(new)), element_of(new)
    if None in shapes:
        return UnrankedTensorType(element)
    before, after = cast("tuple[tuple[int, ...], tuple[int, ...]]", shapes)
    lengths: Any = (before[-3], after[-3])
    length = DYNAMIC_INDEX if DYNAMIC_INDEX in lengths else sum(lengths)
    return TensorType(element, [*after[:-3], length, *after[-2:]])
