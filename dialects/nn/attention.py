# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn.attention`: softmax attention in int8, as the array computes it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerAttr,
    f64,
    i8,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, prop_def, result_def

from daqkf.dialects.dense import from_array, to_array
from daqkf.dialects.nn.base import (
    INTEGERS,
    TENSOR,
    TensorOp,
    differ,
    integers,
    integers_of,
    require,
    require_product,
    shape_of,
)
from daqkf.hw_targets import numerics
from daqkf.hw_targets.numerics import (
    ACTIVATION_MAX,
    ACTIVATION_MIN,
    LEVEL_MAX,
    MULTIPLIER_MAX,
    SHIFT_MAX,
    SHIFT_MIN,
    TABLE_SIZE,
)

_HEAD_SCALES = "keys", "shares", "values", "results"
_PRODUCTS = "scores", "shares", "results"

Factors = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Multipliers and shifts."""

MASKED = ACTIVATION_MIN
"""The offset of what `numerics.exponentials` is to make nothing of."""

_BEYOND = 1 + ACTIVATION_MAX - ACTIVATION_MIN
"""Steps from any score to below the least one."""


@dataclass(frozen=True)
class Scales:
    """What int8 steps of attention are worth."""

    queries: float
    scores: float
    """Of q·k times the scale of the scores."""
    keys: NDArray[np.float64]
    """[H]."""
    shares: NDArray[np.float64]
    """[H]."""
    values: NDArray[np.float64]
    """[H]."""
    results: NDArray[np.float64]
    """[H]."""

    def array(self) -> NDArray[np.float64]:
        """All of them, one after another."""
        common = np.array([self.queries, self.scores])
        return np.concatenate([common, *(getattr(self, name) for name in _HEAD_SCALES)])


@dataclass(frozen=True)
class Operands:
    """Integers that attention of a sequence is of, S keys of D features in H heads."""

    keys: NDArray[np.int8]
    """[H, D, S]; 0 of what is masked."""
    values: NDArray[np.int8]
    """[H, S, D]; 0 of what is masked."""
    bias: NDArray[np.int64]
    """[H, S] what is added to the sums of scores."""
    offset: NDArray[np.int64]
    """[H, S] of exponentials."""


@irdl_op_definition
class AttentionOp(TensorOp):
    """`softmax(q·k·scale + mask)·v` for each head, in int8: [B, H, L, D] → [B, H, L, D].

    Keys are [B, H, D, S] and values [B, H, S, D]; both become levels of -levels … levels, the
    weights of products. The mask is the same for all queries, [B, 1 or H, 1, S]. `scales` are the
    steps of queries and scores, and of keys, shares, values and results for each head; the
    `multipliers` and `shifts` are those of scores, shares and results, for each head. `table` has
    the exponentials (`numerics.exponentials`).

    Vaswani et al., "Attention Is All You Need", 2017.

    ```mlir
    %y = nn.attention %q, %k, %v {levels = 15 : i64, scale = 0.5 : f64, scales = …,
        multipliers = …, shifts = …, table = dense<1> : tensor<256xi8>}
      : (tensor<?x1x?x4xf32>, tensor<?x1x4x?xf32>, tensor<?x1x?x4xf32>) -> tensor<?x1x?x4xf32>
    ```
    """

    name = "nn.attention"

    queries = operand_def(TENSOR)
    keys = operand_def(TENSOR)
    values = operand_def(TENSOR)
    mask = opt_operand_def(TENSOR)
    levels = prop_def(IntegerAttr.constr(i64))
    scale = prop_def(FloatAttr.constr(f64))
    scales = prop_def(DenseArrayBase.constr(f64))
    multipliers = prop_def(INTEGERS)
    shifts = prop_def(INTEGERS)
    table = prop_def(DenseIntOrFPElementsAttr)
    result = result_def(TENSOR)

    assembly_format = (
        "$queries `,` $keys `,` $values (`,` $mask^)? attr-dict `:` "
        "functional-type(operands, results)"
    )

    def __init__(
        self,
        operands: Sequence[SSAValue],
        mask: SSAValue | None,
        scale: float,
        levels: int,
        scales: Scales,
        factors: tuple[NDArray[np.int64], NDArray[np.int64]],
        table: NDArray[np.int8],
        result: Attribute,
    ):
        multipliers, shifts = (part.reshape(-1).tolist() for part in factors)
        super().__init__(
            operands=[*operands, mask],
            properties={
                "levels": IntegerAttr(levels, i64),
                "scale": FloatAttr(scale, f64),
                "scales": DenseArrayBase.from_list(f64, scales.array().tolist()),
                "multipliers": integers(multipliers),
                "shifts": integers(shifts),
                "table": from_array(table, i8),
            },
            result_types=[result],
        )

    @property
    def heads(self) -> int:
        """H."""
        return len(integers_of(self.shifts)) // len(_PRODUCTS)

    def steps(self) -> Scales:
        """What int8 steps are worth."""
        queries, scores, *rest = np.frombuffer(self.scales.data.data, "<f8").tolist()
        heads = np.array(rest).reshape(len(_HEAD_SCALES), -1)
        return Scales(queries, scores, *heads)

    def factors(self) -> dict[str, Factors]:
        """Multipliers and shifts [H] of `scores`, `shares` and `results`."""
        multipliers, shifts = (
            np.array(integers_of(found)).reshape(len(_PRODUCTS), -1)
            for found in (self.multipliers, self.shifts)
        )
        return dict(zip(_PRODUCTS, zip(multipliers, shifts, strict=True), strict=True))

    def channel_factors(self, keys: int) -> dict[str, Factors]:
        """The same for each channel [H·S], and [H·D] of results."""
        shape = shape_of(self.keys)
        assert shape is not None
        counts = {"scores": keys, "shares": keys, "results": shape[2]}
        return {
            name: (np.repeat(multiplier, counts[name]), np.repeat(shift, counts[name]))
            for name, (multiplier, shift) in self.factors().items()
        }

    def exponentials(self) -> NDArray[np.int8]:
        """The table [256]."""
        return to_array(self.table)

    def most_bias(self) -> NDArray[np.int64]:
        """What a mask takes from sums at most, [H]: so much is below any score."""
        multiplier, shift = self.factors()["scores"]
        return _BEYOND * (1 << shift) // multiplier + 1

    def operands_of(
        self,
        keys: NDArray[np.float32],
        values: NDArray[np.float32],
        mask: NDArray[np.float32] | None,
    ) -> Operands:
        """The integers of keys [H, D, S], values [H, S, D] and a mask [H, S] of one sequence."""
        steps, levels = self.steps(), self.levels.value.data
        both = [
            np.clip(numerics.quantize(x, scale[:, np.newaxis, np.newaxis]), -levels, levels)
            for x, scale in ((keys, steps.keys), (values, steps.values))
        ]
        bias = np.zeros((len(keys), keys.shape[2]), np.int64)
        masked = np.zeros(bias.shape, bool)
        if mask is not None:
            units = steps.queries * steps.keys[:, np.newaxis] * self.scale.value.data
            least = -self.most_bias()[:, np.newaxis]
            bias = np.clip(np.rint(mask.astype(np.float64) / units), least, -least)
            masked, bias = bias == least, bias.astype(np.int64)
            both = [
                np.where(masked[:, np.newaxis], 0, both[0]).astype(np.int8),
                np.where(masked[:, :, np.newaxis], 0, both[1]).astype(np.int8),
            ]
        return Operands(both[0], both[1], bias, np.where(masked, MASKED, ACTIVATION_MAX))

    def integers(self, queries: NDArray[np.int8], operands: Operands) -> NDArray[np.int8]:
        """What the array makes of queries [L, H·D] and a sequence: int8 [L, H·D]."""
        return numerics.attend(
            queries,
            operands.keys,
            operands.values,
            self.channel_factors(operands.keys.shape[2]),
            self.exponentials(),
            operands.bias.reshape(-1),
            operands.offset.reshape(-1),
        )

    def _check(self) -> None:
        require_product(self.queries, self.keys)
        shapes = [shape_of(value) for value in (self.queries, self.keys, self.values, self.result)]
        heads = self.heads
        for shape in shapes:
            require(
                shape is None or (len(shape) == 4 and not differ(shape[1], heads)),
                f"attention of {heads} heads is over tensors [B, {heads}, …]",
            )
        queries, keys, values, result = shapes
        if keys is not None and values is not None:
            require(not differ(keys[3], values[2]), f"{keys[3]} keys, {values[2]} values")
        require(
            queries is None or result is None or not any(map(differ, queries, result)),
            f"queries of {self.queries.type} give results of {self.result.type}",
        )
        if self.mask is not None and (mask := shape_of(self.mask)) is not None:
            require(
                len(mask) == 4 and mask[2] == 1 and mask[1] in (1, heads),
                f"a mask is of [B, 1 or {heads}, 1, S], not {self.mask.type}",
            )
        require(
            0 < self.levels.value.data <= LEVEL_MAX,
            f"levels are 1..{LEVEL_MAX}, not {self.levels.value.data}",
        )
        steps = np.frombuffer(self.scales.data.data, "<f8")
        require(
            len(steps) == 2 + len(_HEAD_SCALES) * heads
            and np.all(np.isfinite(steps) & (steps > 0))
            and np.isfinite(self.scale.value.data)
            and self.scale.value.data > 0,
            f"scales are {2 + len(_HEAD_SCALES) * heads} positive numbers",
        )
        for name, found, low, high in (
            ("multipliers", self.multipliers, 1, MULTIPLIER_MAX),
            ("shifts", self.shifts, SHIFT_MIN, SHIFT_MAX),
        ):
            values = integers_of(found)
            require(
                heads > 0
                and len(values) == len(_PRODUCTS) * heads
                and all(low <= value <= high for value in values),
                f"{name} are of {low}..{high}, three for each head",
            )
        table = self.table
        require(
            table.get_element_type() == i8
            and table.get_shape() == (TABLE_SIZE,)
            and table.shape_is_complete
            and (self.exponentials() >= 0).all(),
            f"the table has {TABLE_SIZE} i8 entries, none below 0",
        )


def extents(op: AttentionOp, most: int) -> tuple[int, int, int]:
    """H, D, and S of at most so many tokens.

    Raises:
        ValueError: the heads' features are not known.
    """
    shape = shape_of(op.keys)
    if shape is None or shape[2] == DYNAMIC_INDEX:
        raise ValueError("attention over heads of unknown extent cannot run on the array")
    return op.heads, shape[2], most if shape[3] == DYNAMIC_INDEX else shape[3]
