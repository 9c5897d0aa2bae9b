# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`dfke-fuse`: gather a product and what follows it into one kernel."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, i8
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from daqkf.dialects.dfke import KernelOp
from daqkf.dialects.dfke.ops import STAGES, kernel
from daqkf.dialects.spaq import RequantizeOp
from daqkf.dialects.spaq.ops import chain
from daqkf.passes.weights import products


@dataclass(frozen=True)
class DfkeFusePass(ModulePass):
    """Make a `dfke.kernel` of each integer product by constants and its followers.

    A kernel takes `spaq.matmul`, `spaq.add`, `spaq.requantize` and `spaq.activation`, as far
    as each has no other user. A product that is not requantised is left alone: its sums
    would have to leave the array.
    """

    name = "dfke-fuse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for matmul, constant in products(op):
            if constant.value.get_element_type() != i8 or isinstance(matmul.parent_op(), KernelOp):
                continue
            stages = [matmul, *chain(matmul, STAGES)]
            if not any(isinstance(stage, RequantizeOp) for stage in stages):
                continue
            fused = kernel(matmul.input, stages)
            fused.result.name_hint = stages[-1].results[0].name_hint
            Rewriter.replace_op(stages[-1], fused)
            for stage in reversed(stages[:-1]):
                constants = stage.operands[1:]
                Rewriter.erase_op(stage)
                for value in constants:
                    if not value.uses and value.owner is not None:
                        Rewriter.erase_op(value.owner)
