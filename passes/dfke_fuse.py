# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`dfke-fuse`: gather a product and what follows it into one kernel."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, i8
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from daqkf.dialects.dfke import GatingOp, KernelOp, NormalizationOp, RowOperation
from daqkf.dialects.dfke.chaining import ROW_STAGES
from daqkf.dialects.dfke.ops import STAGES, body_of, kernel
from daqkf.dialects.spaq import (
    ConstantOp,
    GatherOp,
    MatmulOp,
    RequantizeOp,
    ResidualOp,
)
from daqkf.dialects.spaq.ops import chain
from daqkf.passes.quantize.weights import products


@dataclass(frozen=True)
class DfkeFusePass(ModulePass):
    """Make a `dfke.kernel` of each integer product by constants and its followers.

    A kernel takes `spaq.gather` in front, `spaq.matmul`, `spaq.add`, `spaq.residual`,
    `spaq.requantize` and `spaq.activation`, as far as each has no other user. A product that is not
    requantised is left alone: its sums would have to leave the array. `spaq.normalize` and what
    follows it become a `dfke.normalization`, `spaq.gate` and what follows it a `dfke.gating`.
    """

    name = "dfke-fuse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for matmul, constant in products(op):
            if constant.value.get_element_type() != i8 or isinstance(matmul.parent_op(), KernelOp):
                continue
            _fuse(matmul)
        for kind in (NormalizationOp, GatingOp):
            for first in [found for found in op.walk() if isinstance(found, kind.FIRST)]:
                if not isinstance(first.parent_op(), kind):
                    _fuse_row(first, kind)


def _requantized(stages: Sequence[Operation]) -> bool:
    return any(isinstance(stage, RequantizeOp) for stage in stages)


def _fuse(matmul: MatmulOp) -> None:
    stages = [matmul, *chain(matmul, STAGES)]
    if not _requantized(stages):
        return
    value, gather = matmul.input, matmul.input.owner
    if isinstance(gather, GatherOp) and gather.result.get_user_of_unique_use() is matmul:
        stages, value = [gather, *stages], gather.input
    kept = next((stage.kept for stage in stages if isinstance(stage, ResidualOp)), None)
    _replace(stages, kernel(value, stages, kept))


def _fuse_row(first: Operation, kind: type[RowOperation]) -> None:
    stages = [first, *chain(first, ROW_STAGES)]
    if _requantized(stages):
        value = first.operands[0]
        body = body_of([value.type], [value], stages)
        _replace(stages, kind(value, stages[-1].results[0].type, body))


def _replace(stages: Sequence[Operation], fused: Operation) -> None:
    """Put a fused operation in the place of its stages and their constants."""
    fused.results[0].name_hint = stages[-1].results[0].name_hint
    Rewriter.replace_op(stages[-1], fused)
    for stage in reversed(stages[:-1]):
        constants = stage.operands[1:]
        Rewriter.erase_op(stage)
        for value in constants:
            if not value.uses and isinstance(value.owner, ConstantOp):
                Rewriter.erase_op(value.owner)
