# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`dfke-chain`: keep the results between kernels on the array."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from daqkf.dialects.dense import to_array
from daqkf.dialects.dfke import KernelOp
from daqkf.dialects.dfke.ops import chain_kernels
from daqkf.dialects.rpea.layout import MAX_KERNELS
from daqkf.dialects.spaq import DequantizeOp, QuantizeOp
from daqkf.dialects.spaq.ops import features

_SAME_SCALE = 2.0**-20
"""Relative difference of scales that no value of a few int8 columns can tell."""


@dataclass(frozen=True)
class DfkeChainPass(ModulePass):
    """Make a `dfke.chain` of scheduled kernels that nothing but one another's results joins.

    First, int8 columns that are scaled up and quantised to the same columns again are taken as
    they are: `spaq.dequantize` and `spaq.quantize` of the same scales and extra columns fall
    out between kernels. The sums of the next kernel stay exactly what they were.

    A chain moves an output and an input of the array less for each feature between its
    kernels, and costs nothing but room: it ends where the streams or the outputs of a PE would
    not fit the target's memories together.
    """

    name = "dfke-chain"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for quantize in [found for found in op.walk() if isinstance(found, QuantizeOp)]:
            _take_columns(quantize)
        for block in {
            kernel.parent_block() for kernel in op.walk() if isinstance(kernel, KernelOp)
        }:
            if block is not None and not isinstance(block.parent_op(), KernelOp):
                _chain_in(block)


def _take_columns(quantize: QuantizeOp) -> None:
    """Let kernels read a kernel's columns in place of the same ones scaled up and down."""
    dequantize = quantize.input.owner
    if not isinstance(dequantize, DequantizeOp):
        return
    kernel, readers = dequantize.input.owner, [use.operation for use in quantize.result.uses]
    split = quantize.columns()
    if (
        isinstance(kernel, KernelOp)
        and np.array_equal(split, dequantize.columns())
        and np.allclose(quantize.scales(), dequantize.scales(), rtol=_SAME_SCALE, atol=0)
        and all(isinstance(reader, KernelOp) and _repeats(reader, split) for reader in readers)
    ):
        quantize.result.replace_all_uses_with(dequantize.input)
        Rewriter.erase_op(quantize)
        if not dequantize.result.uses:
            Rewriter.erase_op(dequantize)


def _repeats(kernel: KernelOp, split: np.ndarray) -> bool:
    """Whether extra columns meet the weights of their features.

    Only the sum of a feature's columns is sure to be the same after it was scaled up and down.
    """
    weights = kernel.parts().weights.array()
    return np.array_equal(weights[features(kernel.input) - len(split) :], weights[split])


def _chain_in(block: Block) -> None:
    taken: set[Operation] = set()
    for kernel in [op for op in block.ops if isinstance(op, KernelOp)]:
        if kernel in taken or kernel.schedule is None:
            continue
        kernels = [kernel]
        while (following := _only_reader(kernels[-1])) and _fits([*kernels, following]):
            kernels.append(following)
        if len(kernels) > 1:
            taken.update(kernels)
            _replace(kernels)


def _only_reader(kernel: KernelOp) -> KernelOp | None:
    """The kernel of the same block that alone reads this one's result."""
    readers = [use.operation for use in kernel.result.uses]
    if len(readers) != 1 or not isinstance(readers[0], KernelOp):
        return None
    return readers[0] if readers[0].parent_block() is kernel.parent_block() else None


def _fits(kernels: Sequence[KernelOp]) -> bool:
    """Whether the kernels share an organisation, and the target's memories."""
    schedules = [kernel.schedule for kernel in kernels if kernel.schedule is not None]
    machine = schedules[0].machine.data
    if len(schedules) != len(kernels) or len(kernels) > MAX_KERNELS:
        return False
    words = sum(int(to_array(schedule.words).max()) for schedule in schedules)
    outputs = sum(int(to_array(schedule.counts).max()) for schedule in schedules)
    return (
        all(schedule.machine.data == machine for schedule in schedules)
        and words <= machine.stream_depth
        and outputs <= machine.parameter_depth
    )


def _replace(kernels: Sequence[KernelOp]) -> None:
    last = kernels[-1]
    copies = [kernel.clone() for kernel in kernels]
    chain = chain_kernels(copies)
    chain.result.name_hint = last.result.name_hint
    Rewriter.insert_op(chain, InsertPoint.before(last))
    last.result.replace_all_uses_with(chain.result)
    for kernel in reversed(kernels):
        Rewriter.erase_op(kernel)
