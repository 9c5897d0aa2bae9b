# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-outline`: cut the products with constant weights out of a network, as kernels."""

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, StringAttr, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.transforms.dead_code_elimination import dce
from xdsl.utils.exceptions import PassFailedException

from daqkf.dialects.dense import from_array
from daqkf.dialects.interpreting import entry
from daqkf.dialects.nn import ConstantOp, ElementwiseOp, LinearOp, MatmulOp
from daqkf.dialects.nn.base import NODE
from daqkf.dialects.spaq import ActivationOp, AddOp
from daqkf.dialects.spaq import ConstantOp as WeightsOp
from daqkf.dialects.spaq import MatmulOp as KernelMatmulOp
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.functions import FUNCTIONS

_SUFFIXES = (".weight", ".product", "/MatMul", "/Gemm")
"""What a layer's name ends with in the names of its parts."""


@dataclass(frozen=True)
class NnOutlinePass(ModulePass):
    """Make a kernel of each product with a constant matrix, its bias and its function.

    The kernel is a function of [T, K] → [T, N] in `spaq`, over f32; `nn.linear` calls it. Its name
    is that of the weights in the file, as far as that is one kernel's alone.

    - `least`: products with fewer weights stay on the host.
    """

    name = "nn-outline"

    least: int = 1

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for matmul in [found for found in op.walk() if isinstance(found, MatmulOp)]:
            weights = _constant(matmul.rhs)
            if weights is None or weights.ndim != 2 or weights.size < self.least:
                continue
            if weights.dtype != np.float32 or not weights.size:
                continue
            _outline(op, matmul, weights)
        dce(op)


def _constant(value: SSAValue) -> np.ndarray | None:
    return value.owner.array() if isinstance(value.owner, ConstantOp) else None


def _name(matmul: MatmulOp) -> str:
    """What a layer is called in the file."""
    for op in (matmul.rhs.owner, matmul):
        node = op.attributes.get(NODE) if isinstance(op, Operation) else None
        if isinstance(node, StringAttr) and node.data:
            return next(
                (node.data.removesuffix(end) for end in _SUFFIXES if node.data.endswith(end)),
                node.data,
            )
    return "kernel"


def _only_reader(value: SSAValue, kind: str) -> ElementwiseOp | None:
    """The function of this kind that alone reads a value."""
    reader = value.get_user_of_unique_use()
    if isinstance(reader, ElementwiseOp) and reader.kind.data == kind:
        return reader
    return None


def _bias(product: SSAValue, channels: int) -> tuple[ElementwiseOp, np.ndarray] | None:
    """The addition of a constant [N] that follows, and the constant."""
    addition = _only_reader(product, "add")
    if addition is None:
        return None
    for value in addition.inputs:
        vector = _constant(value)
        if vector is not None and vector.size in (1, channels) and vector.ndim <= 1:
            return addition, np.broadcast_to(vector, (channels,)).astype(np.float32)
    return None


def _outline(module: ModuleOp, matmul: MatmulOp, weights: np.ndarray) -> None:
    channels = weights.shape[1]
    _require_finite(matmul, "weights", weights)
    taken: list[Operation] = [matmul]
    bias = None
    if found := _bias(matmul.result, channels):
        addition, bias = found
        _require_finite(matmul, "a bias", bias)
        taken.append(addition)
    block, inside = layer_block(weights, bias)
    reader = taken[-1].results[0].get_user_of_unique_use()
    if isinstance(reader, ElementwiseOp) and reader.kind.data in FUNCTIONS:
        inside = ActivationOp(reader.kind.data, inside.results[0])
        block.add_op(inside)
        taken.append(reader)
    name = insert_kernel(module, _name(matmul), block, inside)
    last = taken[-1]
    call = kernel_call(name, matmul.lhs, last.results[0])
    Rewriter.insert_op(call, InsertPoint.before(last))
    last.results[0].replace_all_uses_with(call.result)
    for op in reversed(taken):
        Rewriter.erase_op(op)


def _require_finite(matmul: MatmulOp, what: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        name = _name(matmul)
        raise PassFailedException(f"{NnOutlinePass.name}: {name} has {what} beyond finite numbers")


def free_name(module: ModuleOp, name: str) -> str:
    """The name, or with a number behind it if a function has it already."""
    used = {op.sym_name.data for op in module.ops if isinstance(op, FuncOp)}
    number, found = 1, name
    while found in used:
        number, found = number + 1, f"{name}.{number}"
    return found


def layer_block(weights: np.ndarray, bias: np.ndarray | None) -> tuple[Block, Operation]:
    """A block of `x·W + b` over f32, weights [K, N] and bias [N], and its last operation."""
    features, channels = weights.shape
    block = Block(arg_types=[activations(features, f32)])
    block.args[0].name_hint = "x"
    matrix = WeightsOp(from_array(weights, f32))
    matrix.result.name_hint = "weights"
    last: Operation = KernelMatmulOp(block.args[0], matrix.result, activations(channels, f32))
    block.add_ops([matrix, last])
    if bias is not None:
        vector = WeightsOp(from_array(bias, f32))
        vector.result.name_hint = "bias"
        last = AddOp(last.results[0], vector.result)
        block.add_ops([vector, last])
    return block, last


def insert_kernel(module: ModuleOp, name: str, block: Block, last: Operation) -> str:
    """Put a kernel that returns its last operation's result before the network, behind the kernels
    that are there; its name, which is the one given if that is free."""
    value = last.results[0]
    block.add_op(ReturnOp(value))
    kind = FunctionType.from_lists(list(block.arg_types), [value.type])
    name = free_name(module, name)
    insert_function(module, FuncOp(name, kind, Region(block)))
    return name


def insert_function(module: ModuleOp, function: FuncOp) -> None:
    """Put a kernel in front of the network, behind the kernels that are there."""
    Rewriter.insert_op(function, InsertPoint.before(entry(module)))


def kernel_call(
    name: str, value: SSAValue, like: SSAValue, mask: SSAValue | None = None
) -> LinearOp:
    """A call of a kernel, for a result that is named and typed like another value."""
    call = LinearOp(name, value, like.type, mask)
    call.attributes[NODE] = StringAttr(name)
    call.result.name_hint = like.name_hint
    return call
