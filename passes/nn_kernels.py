# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Kernels of a network: how their functions are made, named, called, read and removed.

A kernel is a function of [T, K] → [T, N] in `spaq`, which `nn.linear` calls. The `nn` passes that
cut kernels out of a network and that put several together share what is here.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import FunctionType, ModuleOp, StringAttr, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.pattern_rewriter import PatternRewriter
from xdsl.rewriter import InsertPoint
from xdsl.traits import SymbolTable
from xdsl.transforms.dead_code_elimination import is_trivially_dead

from daqkf.dialects.dense import from_array
from daqkf.dialects.interpreting import entry
from daqkf.dialects.nn import LinearOp
from daqkf.dialects.nn.base import EXACT, NODE, RANKED
from daqkf.dialects.spaq import (
    ActivationOp,
    AddOp,
    ConstantOp,
    DequantizeOp,
    MatmulOp,
    QuantizeOp,
)
from daqkf.dialects.spaq.checks import element
from daqkf.dialects.spaq.ops import activations, chain, defining_constant


def module_of(op: Operation) -> ModuleOp:
    """The module that an operation is in."""
    module = op.get_toplevel_object()
    assert isinstance(module, ModuleOp)
    return module


def kernel_of(call: LinearOp) -> FuncOp:
    """The function that is called."""
    function = SymbolTable.lookup_symbol(call, call.callee)
    assert isinstance(function, FuncOp)
    return function


_LETTERS = re.compile(r"[^A-Za-z0-9_.]+")
"""What symbols have none of."""

_LONGEST = 128
"""Characters of a symbol that stands for a name."""

_TAKEN = ("array", "_program")
"""The array's symbol, and what the symbols of all its programs have in them."""


def symbol_of(name: str) -> str:
    """A symbol for a name from a file, which may have any length and any characters.

    It has ASCII letters, digits, `_` and `.` alone. Names that have no others stay as they are,
    unless they are long, or could be taken for the array or for a program of it.
    """
    found = _LETTERS.sub("_", name)
    if len(found) > _LONGEST:
        digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()
        found = f"{found[: _LONGEST - 9]}_{digest[:8]}"
    array, program = _TAKEN
    found = found.replace(program, program.replace("_", "."))
    return f"{found}.kernel" if found == array else found or "kernel"


def kernel_name(function: FuncOp) -> str:
    """What a kernel is called in the file: its symbol, or the name that the symbol stands for."""
    name = function.attributes.get(NODE)
    return name.data if isinstance(name, StringAttr) else function.sym_name.data


def matches(function: FuncOp, patterns: Sequence[str]) -> bool:
    """Whether a kernel's symbol, or what it is called in the file, is of one of the patterns.

    `*` in a pattern stands for any characters.
    """
    names = {function.sym_name.data, kernel_name(function)}
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def free_name(module: ModuleOp, name: str) -> str:
    """The name, or with a number behind it if a function has it already."""
    used = {op.sym_name.data for op in module.ops if isinstance(op, FuncOp)}
    number, found = 1, name
    while found in used:
        number, found = number + 1, f"{name}.{number}"
    return found


def joined(functions: Sequence[FuncOp]) -> str:
    """One name for kernels that were several: what they share, then what tells them apart."""
    names = [kernel_name(function) for function in functions]
    parts = [re.split(r"(?<=[./])", name) for name in names]
    same = 0
    while all(len(part) > same + 1 and part[same] == parts[0][same] for part in parts):
        same += 1
    shared = "".join(parts[0][:same])
    return shared + "_".join(name.removeprefix(shared) for name in names)


@dataclass(frozen=True)
class Layer:
    """A call of a kernel that is a single layer."""

    call: LinearOp
    function: FuncOp
    weights: NDArray[np.float32]
    """[K, N]."""
    bias: NDArray[np.float32] | None
    """[N]."""
    activation: str | None

    @property
    def channels(self) -> int:
        """Outputs."""
        return self.weights.shape[1]

    @property
    def offsets(self) -> NDArray[np.float32]:
        """The bias [N], zeros if there is none."""
        return np.zeros(self.channels, np.float32) if self.bias is None else self.bias

    @classmethod
    def of(cls, call: LinearOp) -> "Layer | None":
        """The layer that is called, if it is one."""
        function = kernel_of(call)
        product = function.body.block.args[0].get_user_of_unique_use()
        if not isinstance(product, MatmulOp) or element(product.result) != f32:
            return None
        weights = defining_constant(product.weights)
        bias = activation = None
        last: Operation = product
        for last in chain(product, (AddOp, ActivationOp)):
            if isinstance(last, AddOp):
                bias = defining_constant(last.bias)
                if bias is None:
                    return None
            elif isinstance(last, ActivationOp):
                activation = last.function.data
        if weights is None or not isinstance(last.results[0].get_user_of_unique_use(), ReturnOp):
            return None
        offsets = None if bias is None else bias.array()
        return cls(call, function, weights.array(), offsets, activation)


def layer_block(
    weights: NDArray[Any], bias: NDArray[Any] | None, scale: float | None = None
) -> tuple[Block, Operation]:
    """A block of `x·W + b` over f32, weights [K, N] and bias [N], and its last operation.

    With a `scale`, x is rounded to multiples of it first, in the range of int8.
    """
    features, channels = weights.shape
    block = Block(arg_types=[activations(features, f32)])
    block.args[0].name_hint = "x"
    value: SSAValue = block.args[0]
    if scale is not None:
        value = add_rounding(block, value, scale).results[0]
    matrix = ConstantOp(from_array(weights, f32))
    matrix.result.name_hint = "weights"
    last: Operation = MatmulOp(value, matrix.result, activations(channels, f32))
    block.add_ops([matrix, last])
    if bias is not None:
        vector = ConstantOp(from_array(bias, f32))
        vector.result.name_hint = "bias"
        last = AddOp(last.results[0], vector.result)
        block.add_ops([vector, last])
    return block, last


def add_rounding(block: Block, value: SSAValue, scale: float) -> Operation:
    """Round a value to multiples of a scale, in the range of int8, at the end of a block."""
    integers = QuantizeOp(value, scale)
    rounded = DequantizeOp(integers.result, scale)
    block.add_ops([integers, rounded])
    return rounded


def insert_kernel(
    origin: Operation, rewriter: PatternRewriter, name: str, block: Block, last: Operation
) -> str:
    """Make a kernel of a block, which returns its last operation's result.

    The kernel does what the operation `origin` of the network did, and is from the same place.
    Gives its symbol, which is the name that is asked for if it can be one, and if no other
    function has it. Otherwise the function has the name in its attribute `node`.

    Raises:
        InterpretationError: the module has no network that the kernel belongs to.
    """
    module, value = module_of(origin), last.results[0]
    block.add_op(ReturnOp(value))
    kind = FunctionType.from_lists(list(block.arg_types), [value.type])
    symbol = free_name(module, symbol_of(name))
    function = FuncOp(symbol, kind, Region(block))
    if symbol != name:
        function.attributes[NODE] = StringAttr(name)
    for name in (EXACT, RANKED):
        if (said := origin.attributes.get(name)) is not None:
            function.attributes[name] = said
    function.location = origin.location
    insert_function(module, rewriter, function)
    return symbol


def insert_function(module: ModuleOp, rewriter: PatternRewriter, function: FuncOp) -> None:
    """Put a kernel in front of the network, behind the kernels that are there."""
    rewriter.insert(function, InsertPoint.before(entry(module)))


def kernel_call(
    name: str, value: SSAValue, like: SSAValue, mask: SSAValue | None = None
) -> LinearOp:
    """A call of a kernel, for a result that is named and typed like another value."""
    call = LinearOp(name, value, like.type, mask)
    call.attributes[NODE] = StringAttr(name)
    call.result.name_hint = like.name_hint
    if isinstance(like.owner, Operation):
        call.location = like.owner.location
    return call


def erase_chain(rewriter: PatternRewriter, ops: Sequence[Operation]) -> None:
    """Erase operations, each of which nothing but the next one reads."""
    for op in reversed(ops):
        rewriter.erase(op)


def erase_dead(rewriter: PatternRewriter, op: Operation) -> None:
    """Erase an operation that nothing reads, and what nothing but that has read."""
    if not is_trivially_dead(op):
        return
    sources = dict.fromkeys(value.owner for value in op.operands)
    rewriter.erase(op)
    for source in sources:
        if isinstance(source, Operation):
            erase_dead(rewriter, source)


def remove_unused(module: ModuleOp, rewriter: PatternRewriter, functions: Sequence[FuncOp]) -> None:
    """Erase functions that no `nn.linear` calls any more."""
    called = {op.callee.root_reference.data for op in module.walk() if isinstance(op, LinearOp)}
    for function in dict.fromkeys(functions):
        if function.sym_name.data not in called:
            rewriter.erase(function)
