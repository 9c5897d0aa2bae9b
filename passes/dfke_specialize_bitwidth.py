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

from daqkf.dialects.dense import to_array
from daqkf.dialects.dfke import KernelOp, RowOperation
from daqkf.dialects.spaq.checks import features, width
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets import numerics
from daqkf.passes.encode.semiring import ranges


@dataclass(frozen=True)
class DfkeSpecializeBitwidthPass(ModulePass):
    """Narrow the sums of each kernel to what its real weights can reach.

    For any int8 activations; `ranges` says what they reach. The product's and the
    sums' types become those widths, and `running_sum` is set. Fails where a sum would need
    more than 32 bits.
    """

    name = "dfke-specialize-bitwidth"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for found in op.walk():
            if isinstance(found, KernelOp):
                self._narrow(found)
            elif isinstance(found, RowOperation):
                self._narrow_row(found)

    def _narrow(self, kernel: KernelOp) -> None:
        body = kernel.parts()
        levels = body.weights.array()
        bias = np.zeros(levels.shape[1], np.int64)
        if body.bias is not None:
            bias = body.bias.array().astype(np.int64)
        reach = ranges(levels, bias, body.matmul.semiring.data)
        # An empty kernel still holds activations, and no sum is narrower than its terms.
        running_sum = max(numerics.signed_bits(*reach.running), numerics.ACTIVATION_BITS + 1)
        accumulator = max(numerics.signed_bits(*reach.accumulator), running_sum)
        sums = max(numerics.signed_bits(*reach.total), accumulator)
        total = sums
        if body.residual is not None and body.residual.multiplier is not None:
            added = -numerics.ACTIVATION_MIN * int(to_array(body.residual.multiplier).max())
            low, high = reach.total
            total = max(numerics.signed_bits(low - added, high + added), sums)
        self._check(total, levels.shape[0])
        kernel.running_sum = IntegerType(running_sum)
        _retype(body.matmul.result, accumulator)
        if body.add is not None:
            _retype(body.add.result, sums)
        if body.residual is not None:
            _retype(body.residual.result, total)

    def _narrow_row(self, row: RowOperation) -> None:
        body = row.parts()
        if body.add is not None and body.bias is not None:
            bits = width(body.first.results[0])
            bias, reach = body.bias.array().astype(np.int64), 1 << (bits - 1)
            low, high = int(bias.min()) - reach, int(bias.max()) + reach - 1
            total = max(numerics.signed_bits(low, high), bits)
            self._check(total, features(row.input))
            _retype(body.add.result, total)

    def _check(self, bits: int, count: int) -> None:
        if bits > numerics.ACCUMULATOR_MAX_BITS:
            raise PassFailedException(
                f"{self.name}: the sums of a kernel with {count} features need {bits} bits, more "
                f"than {numerics.ACCUMULATOR_MAX_BITS}"
            )


def _retype(value: OpResult, width: int) -> None:
    Rewriter.replace_value_with_new_type(value, activations(features(value), IntegerType(width)))
