# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`dfke-specialize-bitwidth`: give every sum of a kernel its exact width."""

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import IntegerType, ModuleOp
from xdsl.ir import Operation, OpResult
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.rewriter import Rewriter

from daqkf.dialects.dense import to_array
from daqkf.dialects.dfke import KernelOp, RegionOperation, RowOperation
from daqkf.dialects.spaq.checks import features, width
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets import numerics
from daqkf.passes.diagnostics import fail
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
        patterns = GreedyRewritePatternApplier(
            [NarrowKernel(), NarrowRowOperation()], dce_enabled=False
        )
        PatternRewriteWalker(patterns, apply_recursively=False).rewrite_module(op)


class NarrowKernel(RewritePattern):
    """Give the sums of a kernel the widths that its weights and biases need."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: KernelOp, rewriter: PatternRewriter) -> None:
        """Retype product, sum and residual, and set `running_sum`."""
        body = op.parts()
        levels = body.weights.array()
        bias = np.zeros(levels.shape[1], np.int64)
        if body.bias is not None:
            bias = body.bias.array().astype(np.int64)
        reach = ranges(levels, bias, body.matmul.semiring.data)
        # An empty kernel still holds activations, and no sum is narrower than its terms.
        running_sum = max(numerics.signed_bits(*reach.running), numerics.ACTIVATION_BITS + 1)
        accumulator = max(numerics.signed_bits(*reach.accumulator), running_sum)
        sums = max(numerics.signed_bits(*reach.total), accumulator)
        total, added = sums, 0
        if body.residual is not None and body.residual.multiplier is not None:
            added = -numerics.ACTIVATION_MIN * int(to_array(body.residual.multiplier).max())
            low, high = reach.total
            total = max(numerics.signed_bits(low - added, high + added), sums)
        scaled = accumulator
        if body.scale is not None:
            # Biases and what else is added come on top of products that are scaled.
            reach_bits = body.scale.reach.value.data
            low, high = ranges(levels, 0 * bias, body.matmul.semiring.data).total
            low, high = low << reach_bits, high << reach_bits
            scaled = max(numerics.signed_bits(low, high), accumulator + reach_bits)
            low, high = low + int(bias.min(initial=0)), high + int(bias.max(initial=0))
            total = max(numerics.signed_bits(low - added, high + added), scaled)
            sums = total
        _require_width(op, total)
        op.running_sum = IntegerType(running_sum)
        # The array adds the weight that a semiring's walk begins with, also where no bias is added.
        plain = body.add is None and body.scale is None
        _retype(body.matmul.result, sums if plain else accumulator)
        if body.scale is not None:
            _retype(body.scale.result, scaled)
        if body.add is not None:
            _retype(body.add.result, sums)
        if body.residual is not None:
            _retype(body.residual.result, total)
        rewriter.notify_op_modified(op)


class NarrowRowOperation(RewritePattern):
    """Give the biased results of a kernel of the row unit the width that the biases need."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        """Retype the sum, if there is one."""
        if not isinstance(op, RowOperation):
            return
        body = op.parts()
        if body.reach is not None:
            # What is added is scaled, too.
            least = numerics.GATED_BITS + body.reach
            if body.bias is not None:
                most = int(np.abs(body.bias.array().astype(np.int64)).max())
                least = numerics.width_for((1 << numerics.GATED_BITS - 1) + most) + body.reach
            _require_width(op, least)
        if body.add is not None and body.bias is not None:
            bits = width(body.first.results[0])
            bias, reach = body.bias.array().astype(np.int64), 1 << (bits - 1)
            low, high = int(bias.min()) - reach, int(bias.max()) + reach - 1
            total = max(numerics.signed_bits(low, high), bits)
            _require_width(op, total)
            _retype(body.add.result, total)
            rewriter.notify_op_modified(op)


def _require_width(op: RegionOperation, bits: int) -> None:
    """Fail at a kernel whose sums are wider than the array's can be."""
    if bits > numerics.ACCUMULATOR_MAX_BITS:
        fail(
            op,
            DfkeSpecializeBitwidthPass.name,
            f"the sums of a kernel with {features(op.input)} features need {bits} bits, more than "
            f"{numerics.ACCUMULATOR_MAX_BITS}",
        )


def _retype(value: OpResult, width: int) -> None:
    Rewriter.replace_value_with_new_type(value, activations(features(value), IntegerType(width)))
