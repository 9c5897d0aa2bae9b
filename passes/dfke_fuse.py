# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`dfke-fuse`: gather a product and what follows it into one kernel."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, i8
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from daqkf.dialects.dfke import GatingOp, KernelOp, NormalizationOp, RowOperation
from daqkf.dialects.dfke.chaining import ROW_STAGES
from daqkf.dialects.dfke.ops import STAGES, body_of, kernel
from daqkf.dialects.spaq import (
    ConstantOp,
    GatherOp,
    MatmulOp,
    RequantizeOp,
    RequantizeRowsOp,
)
from daqkf.dialects.spaq.ops import chain, defining_constant


@dataclass(frozen=True)
class DfkeFusePass(ModulePass):
    """Make a `dfke.kernel` of each integer product by constants and its followers.

    A kernel takes `spaq.gather` in front, `spaq.matmul`, `spaq.scale_rows`, `spaq.add`,
    `spaq.residual`, `spaq.requantize` and `spaq.activation`, as far as each has no other user. A
    product that is not requantised is left alone: its sums would have to leave the array.
    `spaq.normalize` and what follows it become a `dfke.normalization`, `spaq.gate` and what follows
    it a `dfke.gating`.
    """

    name = "dfke-fuse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rows = [FuseRowOperation(kind) for kind in (NormalizationOp, GatingOp)]
        patterns = GreedyRewritePatternApplier([FuseProduct(), *rows], dce_enabled=False)
        PatternRewriteWalker(patterns, apply_recursively=False).rewrite_module(op)


class FuseProduct(RewritePattern):
    """An integer product by constants and what follows it → `dfke.kernel`."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatmulOp, rewriter: PatternRewriter) -> None:
        """Fuse a product that is requantised, and in no kernel yet."""
        weights = defining_constant(op.weights)
        stages = [op, *chain(op, STAGES)]
        if (
            weights is None
            or weights.value.get_element_type() != i8
            or isinstance(op.parent_op(), KernelOp)
            or not _requantized(stages)
        ):
            return
        value, gather = op.input, op.input.owner
        if isinstance(gather, GatherOp) and gather.result.get_user_of_unique_use() is op:
            stages, value = [gather, *stages], gather.input
        _replace(stages, kernel(value, stages), rewriter)


@dataclass(frozen=True)
class FuseRowOperation(RewritePattern):
    """What a kernel of the row unit begins with, and what follows it → that kernel."""

    kind: type[RowOperation]

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        """Fuse an operation whose results are requantised, and that is in no such kernel yet."""
        if not isinstance(op, self.kind.FIRST) or isinstance(op.parent_op(), self.kind):
            return
        stages = [op, *chain(op, ROW_STAGES)]
        if _requantized(stages):
            value, results = op.operands[0], [result.type for result in stages[-1].results]
            fused = self.kind(value, results, body_of([value], stages))
            _replace(stages, fused, rewriter)


def _requantized(stages: Sequence[Operation]) -> bool:
    return any(isinstance(stage, RequantizeOp | RequantizeRowsOp) for stage in stages)


def _replace(stages: Sequence[Operation], fused: Operation, rewriter: PatternRewriter) -> None:
    """Put a fused operation in the place of its stages and their constants."""
    fused.results[0].name_hint = stages[-1].results[0].name_hint
    fused.location = stages[0].location
    rewriter.replace(stages[-1], fused)
    for stage in reversed(stages[:-1]):
        constants = stage.operands[1:]
        rewriter.erase(stage)
        for value in constants:
            if not value.uses and isinstance(value.owner, ConstantOp):
                rewriter.erase(value.owner)
