# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `spaq` on sequences: attention, in which tokens meet one another."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerAttr,
    f32,
    f64,
    i8,
    i32,
    i64,
)
from xdsl.ir import SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure

from daqkf.dialects.dense import from_array, to_array
from daqkf.dialects.spaq.checks import (
    element,
    features,
    require,
    require_within,
)
from daqkf.dialects.spaq.ops import activations
from daqkf.dialects.spaq.types import SAME_LEVELS
from daqkf.hw_targets.numerics import (
    ACTIVATION_MIN,
    MULTIPLIER_MAX,
    NORMALIZED_FEATURES,
    SHARE_MULTIPLIER,
    SHARE_SHIFT,
    SHIFT_MAX,
    SHIFT_MIN,
    TABLE_SIZE,
)


class Factors(NamedTuple):
    """What levels are requantised by, one of each for a head or a channel."""

    multipliers: NDArray[np.int64]
    shifts: NDArray[np.int64]

    def repeated(self, count: int) -> "Factors":
        """Each so many times, one after another."""
        return Factors(np.repeat(self.multipliers, count), np.repeat(self.shifts, count))


class SequenceOperation(IRDLOperation):
    """Attention of queries, keys and values [T, N], in `heads` of neighbouring features.

    All tokens are one sequence, of at most `tokens`.
    """

    queries = operand_def(SAME_LEVELS)
    keys = operand_def(SAME_LEVELS)
    values = operand_def(SAME_LEVELS)
    heads = prop_def(IntegerAttr.constr(i64))
    tokens = prop_def(IntegerAttr.constr(i64))
    result = result_def(SAME_LEVELS)

    traits = traits_def(Pure())

    def require_heads(self) -> None:
        """Hold features, heads and tokens against one another.

        Raises:
            VerifyException: they do not agree.
        """
        count, heads = features(self.queries), self.heads.value.data
        require(heads > 0 and count % heads == 0, f"{count} features are not of {heads} heads")
        require(
            0 < self.tokens.value.data <= NORMALIZED_FEATURES,
            f"sequences of {self.tokens.value.data} tokens; there can be 1..{NORMALIZED_FEATURES}",
        )


@irdl_op_definition
class AttentionOp(SequenceOperation):
    """`softmax(q·kᵀ·scale)·v` for each head, over f32.

    `scores` is the range of the scores before the softmax, as far as they have a share of it;
    `spaq-calibrate` states it. Vaswani et al., "Attention Is All You Need", 2017.

    ```mlir
    %y = spaq.attention %q, %k, %v heads 2 tokens 16 scale 5.000000e-01
      : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
    ```
    """

    name = "spaq.attention"

    scale = prop_def(FloatAttr.constr(f64))
    scores = opt_prop_def(FloatAttr.constr(f64))

    assembly_format = (
        "$queries `,` $keys `,` $values `heads` $heads `tokens` $tokens `scale` $scale "
        "(`scores` $scores^)? attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        queries: SSAValue,
        keys: SSAValue,
        values: SSAValue,
        *,
        heads: int,
        tokens: int,
        scale: float,
    ):
        super().__init__(
            operands=[queries, keys, values],
            properties={
                "heads": IntegerAttr(heads, i64),
                "tokens": IntegerAttr(tokens, i64),
                "scale": FloatAttr(scale, f64),
            },
            result_types=[queries.type],
        )

    def verify_(self) -> None:
        self.require_heads()
        require(element(self.result) == f32, "attention is over f32; spaq.attend is over i8")
        for name, value in (("scale", self.scale), ("scores", self.scores)):
            found = 1.0 if value is None else value.value.data
            require(np.isfinite(found) and found > 0, f"{name} is a positive number, not {found}")


@irdl_op_definition
class AttendOp(SequenceOperation):
    """The same over i8, exactly as the array computes it (`numerics.attend`).

    `score_multiplier` and `score_shift` requantise the scores of each head, `multiplier` and
    `shift` the results of each feature; `table` has the exponentials.

    ```mlir
    %y = spaq.attend %q, %k, %v heads 2 tokens 16 scores by dense<900> : tensor<2xi32>
      shift dense<20> : tensor<2xi32> table dense<0> : tensor<256xi8>
      results by dense<300> : tensor<8xi32> shift dense<15> : tensor<8xi32>
      : (tensor<?x8xi8>, tensor<?x8xi8>, tensor<?x8xi8>) -> tensor<?x8xi8>
    ```
    """

    name = "spaq.attend"

    score_multiplier = prop_def(DenseIntOrFPElementsAttr)
    score_shift = prop_def(DenseIntOrFPElementsAttr)
    table = prop_def(DenseIntOrFPElementsAttr)
    multiplier = prop_def(DenseIntOrFPElementsAttr)
    shift = prop_def(DenseIntOrFPElementsAttr)

    assembly_format = (
        "$queries `,` $keys `,` $values `heads` $heads `tokens` $tokens "
        "`scores` `by` $score_multiplier `shift` $score_shift `table` $table "
        "`results` `by` $multiplier `shift` $shift attr-dict `:` "
        "functional-type(operands, results)"
    )

    def __init__(
        self,
        queries: SSAValue,
        keys: SSAValue,
        values: SSAValue,
        *,
        heads: int,
        tokens: int,
        scores: Factors,
        table: NDArray[np.int8],
        results: Factors,
    ):
        properties = {
            "heads": IntegerAttr(heads, i64),
            "tokens": IntegerAttr(tokens, i64),
            "table": from_array(table, i8),
        }
        for prefix, factors in (("score_", scores), ("", results)):
            properties[f"{prefix}multiplier"] = from_array(factors.multipliers, i32)
            properties[f"{prefix}shift"] = from_array(factors.shifts, i32)
        super().__init__(
            operands=[queries, keys, values],
            properties=properties,
            result_types=[activations(features(queries), i8)],
        )

    def channel_factors(self, keys: int) -> dict[str, Factors]:
        """Multipliers and shifts of `scores` and `shares`, [H·S] of S keys, and `results`, [N]."""
        count = self.heads.value.data * keys
        scores = Factors(to_array(self.score_multiplier), to_array(self.score_shift))
        return {
            "scores": scores.repeated(keys),
            "shares": Factors(np.full(count, SHARE_MULTIPLIER), np.full(count, SHARE_SHIFT)),
            "results": Factors(to_array(self.multiplier), to_array(self.shift)),
        }

    def verify_(self) -> None:
        self.require_heads()
        require(element(self.result) == i8, "attend is over i8; spaq.attention is over f32")
        heads = self.heads.value.data
        for name, found, low, high in (
            ("multipliers", self.score_multiplier, 1, MULTIPLIER_MAX),
            ("shifts", self.score_shift, SHIFT_MIN, SHIFT_MAX),
        ):
            values = to_array(found)
            require(
                found.get_element_type() == i32
                and values.shape == (heads,)
                and low <= values.min()
                and values.max() <= high,
                f"{name} of scores are i32 of {low}..{high}, one for each of {heads} heads",
            )
        require_within(self, "multiplier", self.multiplier, 1, MULTIPLIER_MAX)
        require_within(self, "shift", self.shift, SHIFT_MIN, SHIFT_MAX)
        table = to_array(self.table)
        require(
            self.table.get_element_type() == i8
            and table.shape == (TABLE_SIZE,)
            and (table >= 0).all()
            and table[ACTIVATION_MIN] == 0,
            f"the table has {TABLE_SIZE} i8 entries, none below 0, and 0 for {ACTIVATION_MIN}",
        )
