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
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.traits import SymbolTable

from daqkf.dialects.nn import LinearOp
from daqkf.dialects.nn.ops import attends
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import MAX_KERNELS
from daqkf.passes.nn_merge import joined, remove_unused
from daqkf.passes.nn_outline import insert_kernel, kernel_call


@dataclass(frozen=True)
class NnChainPass(ModulePass):
    """Vertical fusion: one function of `nn.linear`s of which each alone reads the one before.

    What is between them then stays int8 and on the array: an output and an input less for each
    feature there. Whether the array chains them is for `dfke-chain` to say, which knows the
    schedules.

    - `target`: whose memories what is between has to fit.
    """

    name = "nn-chain"

    target: str = "generic"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = load_target(self.target).machine
        most = min(machine.activation_depth - 1, machine.result_depth)
        taken: set[LinearOp] = set()
        for call in [found for found in op.walk() if isinstance(found, LinearOp)]:
            if call in taken:
                continue
            calls = [call]
            while len(calls) < MAX_KERNELS and (reader := _only_reader(calls[-1], most)):
                calls.append(reader)
            if len(calls) > 1:
                taken.update(calls)
                _join(op, calls)


def _kernel(call: LinearOp) -> FuncOp:
    function = SymbolTable.lookup_symbol(call, call.callee)
    assert isinstance(function, FuncOp)
    return function


def _only_reader(call: LinearOp, most: int) -> LinearOp | None:
    reader = call.result.get_user_of_unique_use()
    (between,) = _kernel(call).function_type.outputs
    fits = isinstance(between, TensorType) and between.get_shape()[1] <= most
    if not isinstance(reader, LinearOp) or attends(_kernel(reader)):
        # Attention is what a chain begins with.
        return None
    return reader if fits else None


def _join(module: ModuleOp, calls: Sequence[LinearOp]) -> None:
    functions = [_kernel(call) for call in calls]
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
    names = [function.sym_name.data for function in functions]
    assert isinstance(value.owner, Operation)
    name = insert_kernel(module, joined(names), block, value.owner)
    last = calls[-1]
    call = kernel_call(name, calls[0].input, last.result, calls[0].mask)
    Rewriter.insert_op(call, InsertPoint.before(last))
    last.result.replace_all_uses_with(call.result)
    for old in reversed(calls):
        Rewriter.erase_op(old)
    remove_unused(module, functions)
