# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn.attention`: softmax attention in int8, as the array computes it."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import override

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    Float64Type,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    f64,
    i8,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, prop_def, result_def

from daqkf.dialects.dense import from_array, to_array
from daqkf.dialects.nn.base import (
    INTEGER,
    INTEGERS,
    SINGLES,
    STEP,
    TensorOp,
    differ,
    integers,
    integers_of,
    require,
    require_product,
    shape_of,
)
from daqkf.dialects.spaq.attention import Factors
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
    past: int = 0
    """The keys that are of tokens before those of the queries, if attention is causal."""


_STEPS = DenseArrayBase.constr(f64)

UNKNOWN_HEADS = "attention over heads of unknown extent cannot run on the array"


def integer_properties(
    scale: float,
    levels: int,
    steps: Scales,
    factors: Mapping[str, Factors],
    table: NDArray[np.int8],
) -> dict[str, Attribute]:
    """The properties of an `IntegerAttention`."""
    return {
        "levels": IntegerAttr(levels, i64),
        "scale": FloatAttr(scale, f64),
        "query_step": FloatAttr(steps.queries, f64),
        "key_steps": _reals(steps.keys),
        "score_step": FloatAttr(steps.scores, f64),
        "score_multipliers": integers(factors["scores"].multipliers.tolist()),
        "score_shifts": integers(factors["scores"].shifts.tolist()),
        "share_steps": _reals(steps.shares),
        "share_multipliers": integers(factors["shares"].multipliers.tolist()),
        "share_shifts": integers(factors["shares"].shifts.tolist()),
        "value_steps": _reals(steps.values),
        "result_steps": _reals(steps.results),
        "result_multipliers": integers(factors["results"].multipliers.tolist()),
        "result_shifts": integers(factors["results"].shifts.tolist()),
        "table": from_array(table, i8),
    }


class IntegerAttention(TensorOp):
    """What attention in int8 needs to know of its heads of keys and values, H of them.

    Keys and values become levels of -levels … levels, the weights of products. The `_step`
    properties are what an int8 step is worth: of queries and scores for all heads, of keys, shares,
    values and results for each head. The sums of scores, shares and results are requantised by a
    multiplier and a shift for each head. `table` has the exponentials (`numerics.exponentials`).
    """

    levels = prop_def(INTEGER)
    scale = prop_def(STEP)
    query_step = prop_def(STEP)
    key_steps = prop_def(_STEPS)
    score_step = prop_def(STEP)
    score_multipliers = prop_def(INTEGERS)
    score_shifts = prop_def(INTEGERS)
    share_steps = prop_def(_STEPS)
    share_multipliers = prop_def(INTEGERS)
    share_shifts = prop_def(INTEGERS)
    value_steps = prop_def(_STEPS)
    result_steps = prop_def(_STEPS)
    result_multipliers = prop_def(INTEGERS)
    result_shifts = prop_def(INTEGERS)
    table = prop_def(DenseIntOrFPElementsAttr)

    @property
    def heads(self) -> int:
        """H."""
        return len(_reals_of(self.key_steps))

    @property
    @abstractmethod
    def features(self) -> int:
        """D, those of a head; -1 if they are not known."""

    @abstractmethod
    def extents(self, most: int) -> tuple[int, int, int]:
        """H, D, and S of at most so many tokens.

        Raises:
            ValueError: the heads' features are not known.
        """

    def seen(self, operands: Operands) -> tuple[int, int]:
        """The queries of a token, 0 if attention is not causal, and those before the first one."""
        return 0, 0

    @abstractmethod
    def integers(self, queries: NDArray[np.int8], operands: Operands) -> NDArray[np.int8]:
        """What the array makes of rows of queries [L, H·D] and a sequence: int8 [L, H·D]."""

    def steps(self) -> Scales:
        """What int8 steps are worth."""
        return Scales(
            queries=self.query_step.value.data,
            scores=self.score_step.value.data,
            keys=_reals_of(self.key_steps),
            shares=_reals_of(self.share_steps),
            values=_reals_of(self.value_steps),
            results=_reals_of(self.result_steps),
        )

    def factors(self) -> dict[str, Factors]:
        """Multipliers and shifts [H] of `scores`, `shares` and `results`."""
        return {
            "scores": _factors(self.score_multipliers, self.score_shifts),
            "shares": _factors(self.share_multipliers, self.share_shifts),
            "results": _factors(self.result_multipliers, self.result_shifts),
        }

    def channel_factors(self, keys: int) -> dict[str, Factors]:
        """The same for each channel: [H·S] of scores and shares, [H·D] of results."""
        counts = {"scores": keys, "shares": keys, "results": self.features}
        return {name: part.repeated(counts[name]) for name, part in self.factors().items()}

    def exponentials(self) -> NDArray[np.int8]:
        """The table [256]."""
        return to_array(self.table)

    def most_bias(self) -> NDArray[np.int64]:
        """What a mask takes from sums at most, [H]: so much is below any score."""
        scores = self.factors()["scores"]
        return _BEYOND * (1 << scores.shifts) // scores.multipliers + 1

    def require_integers(self) -> None:
        """Check the numbers.

        Raises:
            VerifyException: some are out of range, or not as many as there are heads.
        """
        require(self.heads > 0, "attention of no heads")
        levels = self.levels.value.data
        require(0 < levels <= LEVEL_MAX, f"levels are 1..{LEVEL_MAX}, not {levels}")
        scale = self.scale.value.data
        require(math.isfinite(scale) and scale > 0, f"a scale is a positive number, not {scale}")
        self._require_factors()
        table = self.table
        require(
            table.get_element_type() == i8
            and table.get_shape() == (TABLE_SIZE,)
            and table.shape_is_complete
            and (self.exponentials() >= 0).all(),
            f"the table has {TABLE_SIZE} i8 entries, none below 0",
        )

    def _require_factors(self) -> None:
        """Check the numbers of each head."""
        heads = self.heads
        for name, found in asdict(self.steps()).items():
            expected = heads if np.ndim(found) else 1
            steps = np.asarray(found, np.float64)
            require(
                steps.size == expected and np.all(np.isfinite(steps) & (steps > 0)),
                f"{name} need {expected} positive steps, of {heads} heads",
            )
        for name, part in self.factors().items():
            for what, numbers, low, high in (
                ("multipliers", part.multipliers, 1, MULTIPLIER_MAX),
                ("shifts", part.shifts, SHIFT_MIN, SHIFT_MAX),
            ):
                require(
                    len(numbers) == heads and np.all((low <= numbers) & (numbers <= high)),
                    f"{what} of {name} are of {low}..{high}, one for each of {heads} heads",
                )


@irdl_op_definition
class AttentionOp(IntegerAttention):
    """`softmax(q·k·scale + mask)·v` for each head, in int8: [B, H, L, D] → [B, H, L, D].

    Keys are [B, H, D, S] and values [B, H, S, D]. The mask is the same for all queries,
    [B, 1 or H, 1, S]. For the properties see `IntegerAttention`.

    Vaswani et al., "Attention Is All You Need", 2017.

    ```mlir
    %y = nn.attention %q, %k, %v mask %m {levels = 15 : i64, scale = 0.5 : f64,
        query_step = 0.5 : f64, key_steps = array<f64: 0.5>,
        score_step = 1.0 : f64, score_multipliers = array<i64: 3>, score_shifts = array<i64: 6>,
        share_steps = array<f64: 0.5>, share_multipliers = array<i64: 4>,
        share_shifts = array<i64: 7>, value_steps = array<f64: 0.5>,
        result_steps = array<f64: 0.5>, result_multipliers = array<i64: 5>,
        result_shifts = array<i64: 8>, table = dense<1> : tensor<256xi8>}
      : (tensor<?x1x?x4xf32>, tensor<?x1x4x?xf32>, tensor<?x1x?x4xf32>, tensor<?x1x1x?xf32>)
      -> tensor<?x1x?x4xf32>
    ```
    """

    name = "nn.attention"

    queries = operand_def(SINGLES)
    keys = operand_def(SINGLES)
    values = operand_def(SINGLES)
    mask = opt_operand_def(SINGLES)
    result = result_def(SINGLES)

    assembly_format = (
        "$queries `,` $keys `,` $values (`mask` $mask^)? attr-dict `:` "
        "functional-type(operands, results)"
    )

    def __init__(
        self,
        queries: SSAValue,
        keys: SSAValue,
        values: SSAValue,
        mask: SSAValue | None,
        *,
        scale: float,
        levels: int,
        steps: Scales,
        factors: Mapping[str, Factors],
        table: NDArray[np.int8],
        result: Attribute,
    ):
        super().__init__(
            operands=[queries, keys, values, mask],
            properties=integer_properties(scale, levels, steps, factors, table),
            result_types=[result],
        )

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

    @property
    @override
    def features(self) -> int:
        shape = shape_of(self.keys)
        return DYNAMIC_INDEX if shape is None else shape[2]

    @override
    def extents(self, most: int) -> tuple[int, int, int]:
        shape = shape_of(self.keys)
        if shape is None or shape[2] == DYNAMIC_INDEX:
            raise ValueError(UNKNOWN_HEADS)
        return self.heads, shape[2], most if shape[3] == DYNAMIC_INDEX else shape[3]

    @override
    def integers(self, queries: NDArray[np.int8], operands: Operands) -> NDArray[np.int8]:
        return numerics.attend(
            queries,
            operands.keys,
            operands.values,
            self.channel_factors(operands.keys.shape[2]),
            self.exponentials(),
            operands.bias.reshape(-1),
            operands.offset.reshape(-1),
        )

    def verify_(self) -> None:
        self.require_integers()
        require_product(self.queries, self.keys)
        self._require_shapes()

    def _require_shapes(self) -> None:
        """Check the extents, as far as they are known."""
        heads = self.heads
        queries, keys, values, result = (
            shape_of(value) for value in (self.queries, self.keys, self.values, self.result)
        )
        for shape in (queries, keys, values, result):
            require(
                shape is None or (len(shape) == 4 and not differ(shape[1], heads)),
                f"attention of {heads} heads is over tensors [B, {heads}, …]",
            )
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


def _reals(values: NDArray[np.float64]) -> DenseArrayBase[Float64Type]:
    """`array<f64: …>`."""
    return DenseArrayBase.from_list(f64, values.tolist())


def _reals_of(attribute: DenseArrayBase[Float64Type]) -> NDArray[np.float64]:
    return np.frombuffer(attribute.data.data, "<f8")


def _factors(
    multipliers: DenseArrayBase[IntegerType], shifts: DenseArrayBase[IntegerType]
) -> Factors:
    return Factors(*(np.array(integers_of(part), np.int64) for part in (multipliers, shifts)))
