# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-chain`: kernels that follow one another become one, layer behind layer."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)

from daqkf.dialects.nn import LinearOp
from daqkf.dialects.nn.ops import attends
from daqkf.hw_targets.config import MAX_KERNELS
from daqkf.passes.nn_kernels import (
    erase_chain,
    insert_kernel,
    joined,
    kernel_call,
    kernel_of,
    module_of,
    remove_unused,
)
from daqkf.passes.nn_options import target_machine
from daqkf.passes.rewriting import rewrite_once

MAX_QUEUED = 1024
"""Calls that are put together for a queue, which has a program for each if need be."""


@dataclass(frozen=True)
class NnChainPass(ModulePass):
    """Vertical fusion: one function of `nn.linear`s of which each alone reads the one before.

    What is between them then stays int8 and on the array: an output and an input less for each
    feature there. Whether the array chains them is for `dfke-chain` to say, which knows the
    schedules. Attention is what a chain begins with, and so does its function; but on a target
    with a queue, which runs chain after chain without the host, it may follow others if its mask
    is theirs.

    - `target`: the target whose memories have to hold what is between the layers.
    """

    name = "nn-chain"

    target: str = "generic"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = target_machine(self, self.target)
        most = min(machine.most_features, machine.result_depth)
        rewrite_once(self, op, _ChainReaders(None if machine.queue else most, machine.queue))


@dataclass(frozen=True)
class _ChainReaders(RewritePattern):
    """A call and those behind it, put together."""

    most: int | None
    """Features that may be between two layers, if anything limits them."""
    queue: bool
    """Whether programs follow one another without the host."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: LinearOp, rewriter: PatternRewriter) -> None:
        """Join a call with as many as follow it, of which each alone reads the one before."""
        calls = [op]
        most = MAX_QUEUED if self.queue else MAX_KERNELS
        while len(calls) < most and (reader := self._only_reader(calls)):
            calls.append(reader)
        if len(calls) > 1:
            _join(rewriter, calls)

    def _only_reader(self, calls: Sequence[LinearOp]) -> LinearOp | None:
        call = calls[-1]
        reader = call.result.get_user_of_unique_use()
        (between,) = kernel_of(call).function_type.outputs
        fits = isinstance(between, TensorType) and (
            self.most is None or between.get_shape()[1] <= self.most
        )
        if not isinstance(reader, LinearOp) or not fits:
            return None
        if attends(kernel_of(reader)):
            # Attention is what a chain begins with; a queue has further chains, of the same tokens.
            before = _attending(calls)
            same = before is None or before.mask is reader.mask
            return reader if self.queue and same else None
        return reader


def _attending(calls: Sequence[LinearOp]) -> LinearOp | None:
    """The first call with attention; all have the same mask."""
    return next((call for call in calls if attends(kernel_of(call))), None)


def _join(rewriter: PatternRewriter, calls: Sequence[LinearOp]) -> None:
    first, last, module = calls[0], calls[-1], module_of(calls[0])
    functions = [kernel_of(call) for call in calls]
    block, result = _behind_one_another(functions)
    name = insert_kernel(first, rewriter, joined(functions), block, result)
    attending = _attending(calls)
    mask = None if attending is None else attending.mask
    rewriter.replace(last, kernel_call(name, first.input, last.result, mask))
    erase_chain(rewriter, calls[:-1])
    remove_unused(module, rewriter, functions)


def _behind_one_another(functions: Sequence[FuncOp]) -> tuple[Block, Operation]:
    """A block of copies of the functions' operations, and what makes the last one's result."""
    block = Block(arg_types=[functions[0].function_type.inputs.data[0]])
    value: SSAValue = block.args[0]
    for function in functions:
        copy = function.clone().body.block
        copy.args[0].replace_all_uses_with(value)
        for op in list(copy.ops):
            op.detach()
            if isinstance(op, ReturnOp):
                value = op.arguments[0]
                op.drop_all_references()
            else:
                block.add_op(op)
    assert isinstance(value.owner, Operation)
    return block, value.owner
