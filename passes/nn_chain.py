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


@dataclass(frozen=True)
class NnChainPass(ModulePass):
    """Vertical fusion: one function of `nn.linear`s of which each alone reads the one before.

    What is between them then stays int8 and on the array: an output and an input less for each
    feature there. Whether the array chains them is for `dfke-chain` to say, which knows the
    schedules.

    - `target`: the target whose memories have to hold what is between the layers.
    """

    name = "nn-chain"

    target: str = "generic"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = target_machine(self, self.target)
        most = min(machine.activation_depth - 1, machine.result_depth)
        rewrite_once(self, op, _ChainReaders(most))


@dataclass(frozen=True)
class _ChainReaders(RewritePattern):
    """A call and those behind it, put together."""

    most: int
    """Features that may be between two layers."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: LinearOp, rewriter: PatternRewriter) -> None:
        """Join a call with as many as follow it, of which each alone reads the one before."""
        calls = [op]
        while len(calls) < MAX_KERNELS and (reader := self._only_reader(calls[-1])):
            calls.append(reader)
        if len(calls) > 1:
            _join(rewriter, calls)

    def _only_reader(self, call: LinearOp) -> LinearOp | None:
        reader = call.result.get_user_of_unique_use()
        (between,) = kernel_of(call).function_type.outputs
        fits = isinstance(between, TensorType) and between.get_shape()[1] <= self.most
        if not isinstance(reader, LinearOp) or attends(kernel_of(reader)):
            # Attention is what a chain begins with.
            return None
        return reader if fits else None


def _join(rewriter: PatternRewriter, calls: Sequence[LinearOp]) -> None:
    first, last, module = calls[0], calls[-1], module_of(calls[0])
    functions = [kernel_of(call) for call in calls]
    block, result = _behind_one_another(functions)
    name = insert_kernel(first, rewriter, joined(functions), block, result)
    rewriter.replace(last, kernel_call(name, first.input, last.result, first.mask))
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
