# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `spaq` on rows whose values share an exponent: block floating point, by token."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, Float32Type, IntegerAttr, i8, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure

from daqkf.dialects.dense import to_array
from daqkf.dialects.spaq.checks import element, features, require, require_within
from daqkf.dialects.spaq.ops import activations
from daqkf.dialects.spaq.types import ACCUMULATORS, INT8_ACTIVATIONS, SUMS, activations_of
from daqkf.hw_targets import numerics
from daqkf.hw_targets.numerics import MAX_REACH, MULTIPLIER_MAX, SHIFT_MAX, SHIFT_MIN


def _require_reach(reach: IntegerAttr, exponents: SSAValue) -> None:
    require(
        1 <= reach.value.data <= MAX_REACH,
        f"a reach of 1..{MAX_REACH} bits, not {reach.value.data}",
    )
    require(features(exponents) == 1, "a token has one exponent")


@irdl_op_definition
class RequantizeRowsOp(IRDLOperation):
    """Sums → i8 in steps that suit each token, and the exponents 0..reach that say which.

    A step is 2^(e - reach) times what the multipliers' scales are for
    (`numerics.requantize_rows`). Rouhani et al., "Pushing the Limits of Narrow Precision
    Inferencing at Cloud Scale with Microsoft Floating Point", NeurIPS 2020, have such blocks.

    ```mlir
    %q, %e = spaq.requantize_rows %0 multiplier dense<3> : tensor<2xi32>
      shift dense<9> : tensor<2xi32> reach 3
      : tensor<?x2xi16> -> tensor<?x2xi8>, tensor<?x1xi8>
    ```
    """

    name = "spaq.requantize_rows"

    input = operand_def(activations_of(ACCUMULATORS))
    multiplier = prop_def(DenseIntOrFPElementsAttr)
    shift = prop_def(DenseIntOrFPElementsAttr)
    reach = prop_def(IntegerAttr.constr(i64))
    result = result_def(INT8_ACTIVATIONS)
    exponents = result_def(INT8_ACTIVATIONS)

    traits = traits_def(Pure())
    assembly_format = (
        "$input `multiplier` $multiplier `shift` $shift `reach` $reach attr-dict "
        "`:` type($input) `->` type($result) `,` type($exponents)"
    )

    def __init__(
        self,
        value: SSAValue,
        multiplier: DenseIntOrFPElementsAttr,
        shift: DenseIntOrFPElementsAttr,
        reach: int,
    ):
        super().__init__(
            operands=[value],
            properties={
                "multiplier": multiplier,
                "shift": shift,
                "reach": IntegerAttr(reach, i64),
            },
            result_types=[activations(features(value), i8), activations(1, i8)],
        )

    def verify_(self) -> None:
        """Check the shapes and the numbers of each channel."""
        require(features(self.input) == features(self.result), "input and result differ in shape")
        require_within(self, "multiplier", self.multiplier, 1, MULTIPLIER_MAX)
        require_within(self, "shift", self.shift, SHIFT_MIN, SHIFT_MAX)
        _require_reach(self.reach, self.exponents)

    def run(self, sums: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
        """The results [T, N] of sums [T, N], and the exponents [T, 1]."""
        factors = to_array(self.multiplier), to_array(self.shift)
        return numerics.requantize_rows(sums, *factors, self.reach.value.data)


@irdl_op_definition
class ScaleRowsOp(IRDLOperation):
    """`x · 2^e`, with an exponent of 0..reach for each token: over f32, or over sums, which widen.

    ```mlir
    %1 = spaq.scale_rows %0, %e reach 3
      : (tensor<?x4xi20>, tensor<?x1xi8>) -> tensor<?x4xi23>
    ```
    """

    name = "spaq.scale_rows"

    input = operand_def(activations_of(SUMS))
    exponents = operand_def(INT8_ACTIVATIONS)
    reach = prop_def(IntegerAttr.constr(i64))
    result = result_def(activations_of(SUMS))

    traits = traits_def(Pure())
    assembly_format = (
        "$input `,` $exponents `reach` $reach attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        value: SSAValue,
        exponents: SSAValue,
        reach: int,
        result_type: Attribute | None = None,
    ):
        super().__init__(
            operands=[value, exponents],
            properties={"reach": IntegerAttr(reach, i64)},
            result_types=[result_type or value.type],
        )

    def verify_(self) -> None:
        """Check the shapes and the types."""
        require(features(self.input) == features(self.result), "input and result differ in shape")
        kinds = element(self.input), element(self.result)
        require(
            len({isinstance(kind, Float32Type) for kind in kinds}) == 1,
            "rows are scaled over f32 alone, or over integers of 8..32 bits",
        )
        _require_reach(self.reach, self.exponents)
