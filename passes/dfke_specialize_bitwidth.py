# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`dfke-specialize-bitwidth`: give every sum of a kernel its exact width."""

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import IntegerType, ModuleOp
from xdsl.ir import OpResult
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter
from xdsl.utils.exceptions import PassFailedException

from daqkf.dialects.dfke import KernelOp
from daqkf.dialects.spaq import numerics
from daqkf.dialects.spaq.ops import activations, features


@dataclass(frozen=True)
class DfkeSpecializeBitwidthPass(ModulePass):
    """Narrow the sums of each kernel to what its real weights can reach.

    For any int8 activations: |R| ≤ 128·nnz of a channel, |A| ≤ 128·Σ|w|, and the complete
    sum adds |bias|. The product's and the sum's types become those widths, and
    `running_sum` is set. Fails where a sum would need more than 32 bits.
    """

    name = "dfke-specialize-bitwidth"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in (op for op in op.walk() if isinstance(op, KernelOp)):
            self._narrow(kernel)

    def _narrow(self, kernel: KernelOp) -> None:
        body = kernel.parts()
        levels = body.weights.array()
        reach = numerics.accumulator_bound(levels)
        running_sum = numerics.width_for(int(numerics.running_sum_bound(levels).max()))
        # An empty kernel still holds activations, and no sum is narrower than its terms.
        running_sum = max(running_sum, numerics.ACTIVATION_BITS + 1)
        accumulator = max(numerics.width_for(int(reach.max())), running_sum)
        total = accumulator
        if body.bias is not None:
            bound = reach + np.abs(body.bias.array().astype(np.int64))
            total = max(numerics.width_for(int(bound.max())), accumulator)
        if total > numerics.ACCUMULATOR_MAX_BITS:
            raise PassFailedException(
                f"{self.name}: the sums of a kernel with {levels.shape[0]} features need {total} "
                f"bits, more than {numerics.ACCUMULATOR_MAX_BITS}"
            )
        kernel.running_sum = IntegerType(running_sum)
        _retype(body.matmul.result, accumulator)
        if body.add is not None:
            _retype(body.add.result, total)


def _retype(value: OpResult, width: int) -> None:
    Rewriter.replace_value_with_new_type(value, activations(features(value), IntegerType(width)))
