# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`dfke-chain`: keep the results between kernels on the array."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.rewriter import InsertPoint

from daqkf.dialects.dense import to_array
from daqkf.dialects.dfke import GatingOp, KernelOp, NormalizationOp, RowOperation
from daqkf.dialects.dfke.chaining import Part, chain_parts, program_count, unsound
from daqkf.dialects.spaq import AttendOp, ConcatOp, DequantizeOp, GatherOp, QuantizeOp
from daqkf.dialects.spaq.checks import features
from daqkf.hw_targets.config import MAX_KERNELS
from daqkf.passes.encode.operands import attention_need
from daqkf.passes.rewriting import rewrite_once

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
    not fit the target's memories together, and behind a kernel with wide results. It has what the
    row unit does with its kernels' results, normalisations and gatings. What
    a kernel adds is what it, or one before it in the chain, reads, or comes in front of that
    (`spaq.concat`).

    `spaq.attend` of three kernels of one input, of a machine with operand memories, begins a chain
    with them.
    """

    name = "dfke-chain"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for pattern in (TakeColumns(), BringAlong(), ChainKernels()):
            rewrite_once(self, op, pattern)


class TakeColumns(RewritePattern):
    """Kernels read a kernel's columns in place of the same ones scaled up and down."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: QuantizeOp, rewriter: PatternRewriter) -> None:
        """Take what is dequantised as it is, if that changes no sum."""
        dequantize = op.input.owner
        if not isinstance(dequantize, DequantizeOp):
            return
        kernel, readers = dequantize.input.owner, [use.operation for use in op.result.uses]
        split = op.columns()
        if (
            isinstance(kernel, KernelOp)
            and not kernel.wide
            and np.array_equal(split, dequantize.columns())
            and np.allclose(op.scales(), dequantize.scales(), rtol=_SAME_SCALE, atol=0)
            and all(isinstance(reader, KernelOp) and _repeats(reader, split) for reader in readers)
        ):
            rewriter.replace_all_uses_with(op.result, dequantize.input)
            rewriter.erase(op)
            if not dequantize.result.uses:
                rewriter.erase(dequantize)


def _repeats(kernel: KernelOp, split: NDArray[Any]) -> bool:
    """Whether extra columns meet the weights of their features.

    Only the sum of a feature's columns is sure to be the same after it was scaled up and down.
    """
    weights = kernel.parts().weights.array()
    return np.array_equal(weights[features(kernel.input) - len(split) :], weights[split])


class ChainKernels(RewritePattern):
    """Scheduled kernels that nothing but one another's results joins become a `dfke.chain`."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: KernelOp, rewriter: PatternRewriter) -> None:
        """Chain a kernel, or the attention that it is of, with as many readers as fit."""
        if op.schedule is None or isinstance(op.parent_op(), Part):
            return
        parts = _attention(op) or [op]
        while (following := _reader(parts[-1])) and _fits([*parts, following]):
            parts.append(following)
        while len(parts) > 1 and unsound(op.input, parts):
            parts.pop()
        if len(parts) > 1:
            _replace(parts, rewriter)


def _attention(kernel: KernelOp) -> list[Part]:
    """The parts that a chain begins with where a kernel is of an attention that fits."""
    attend = kernel.result.get_user_of_unique_use()
    if not isinstance(attend, AttendOp) or attend.parent_block() is not kernel.parent_block():
        return []
    owners = [value.owner for value in (attend.keys, attend.values, attend.queries)]
    kernels = [owner for owner in owners if isinstance(owner, KernelOp)]
    parts: list[Part] = [*kernels, attend]
    sound = len(kernels) == len(owners) and not unsound(kernels[0].input, parts)
    return parts if sound and _fits(parts) else []


def _reader(part: Part) -> Part | None:
    """The one part of the same block that reads this one's result, other than to add it."""
    readers = [
        use.operation
        for use in part.result.uses
        if not (isinstance(use.operation, KernelOp) and use.index == 1)
    ]
    if len(readers) != 1 or not isinstance(readers[0], Part):
        return None
    return readers[0] if readers[0].parent_block() is part.parent_block() else None


def _fits(parts: Sequence[Part]) -> bool:
    """Whether the kernels share an organisation, and the target's memories."""
    kernels = [part for part in parts if isinstance(part, KernelOp)]
    schedules = [kernel.schedule for kernel in kernels if kernel.schedule is not None]
    machine = schedules[0].machine.data
    if len(schedules) != len(kernels) or program_count(parts) > MAX_KERNELS:
        return False
    words = sum(int(to_array(schedule.words).max()) for schedule in schedules)
    outputs = sum(int(to_array(schedule.counts).max()) for schedule in schedules)
    outputs += sum(
        machine.slots(features(part.result)) for part in parts if isinstance(part, RowOperation)
    )
    for attend in (part for part in parts if isinstance(part, AttendOp)):
        try:
            need = attention_need(attend, machine)
        except ValueError:
            return False
        rows = min(machine.result_depth, machine.most_features)
        if need.operands > machine.operand_depth or need.scores > rows:
            return False
        words, outputs = words + need.words, outputs + need.slots
    added = [features(kernel.result) for kernel in kernels if kernel.kept is not None]
    return (
        all(schedule.machine.data == machine for schedule in schedules)
        and words <= machine.stream_limit
        and outputs <= machine.parameter_depth
        and max(added, default=0) <= machine.residual_depth
        and (machine.normalizes or not any(isinstance(part, NormalizationOp) for part in parts))
        and (machine.gates or not any(isinstance(part, GatingOp) for part in parts))
        and all(
            part.parts().reach in (None, machine.row_exponents)
            for part in parts
            if isinstance(part, RowOperation)
        )
    )


def _replace(parts: Sequence[Part], rewriter: PatternRewriter) -> None:
    last = parts[-1]
    chain = chain_parts(parts)
    chain.result.name_hint = last.result.name_hint
    rewriter.insert(chain, InsertPoint.before(last))
    rewriter.replace_all_uses_with(last.result, chain.result)
    for part in reversed(parts):
        rewriter.erase(part)


class BringAlong(RewritePattern):
    """What a kernel adds comes in front of what it reads, if no kernel reads it anyway."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: KernelOp, rewriter: PatternRewriter) -> None:
        """Join both operands of a kernel, whose product then gathers its own columns."""
        kept = op.kept
        if kept is None or op.input is kept or op.exponents is not None:
            return
        if any(isinstance(use.operation, KernelOp) and use.index == 0 for use in kept.uses):
            return
        joined = ConcatOp([kept, op.input])
        new = op.clone()
        body, block = new.parts(), new.body.block
        old = list(block.args)
        x, added = (block.insert_arg(joined.result.type, number) for number in range(2))
        columns = np.arange(features(op.input)) if body.gather is None else body.gather.array()
        gather = GatherOp(x, features(kept) + columns)
        rewriter.insert(gather, InsertPoint.at_start(block))
        body.matmul.operands[0] = gather.result
        if body.gather is not None:
            rewriter.erase(body.gather)
        old[1].replace_all_uses_with(added)
        for argument in old:
            block.erase_arg(argument)
        new.operands = [joined.result, joined.result]
        new.result.name_hint = op.result.name_hint
        rewriter.replace(op, [joined, new], [new.result])
