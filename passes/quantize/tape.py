# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Reverse-mode gradients of float networks in `nn`.

`Tape.record` runs a network and keeps what every operation read and gave. `Tape.backward` goes
through the operations in reverse, with the products of `gradients`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.interpreter import Interpreter
from xdsl.ir import Block, Operation, SSAValue
from xdsl.traits import SymbolTable

from daqkf.dialects import nn, spaq
from daqkf.dialects.interpreting import entry
from daqkf.dialects.nn.interpreter import NnFunctions, tokens_of
from daqkf.dialects.nn.ops import attends
from daqkf.dialects.spaq.interpreter import SpaqFunctions
from daqkf.passes.quantize.gradients import (
    Array,
    Gradients,
    NoGradientError,
    Values,
    gradients_of,
)


@dataclass
class KernelCall:
    """A run of a kernel's function: which rows it got, and what it made of them."""

    function: FuncOp
    there: Any
    """An index of the rows [T] of the caller's that the kernel got."""
    lengths: Sequence[int]
    """Tokens of each sequence, where the kernel has attention."""
    values: dict[SSAValue, Array] = field(default_factory=dict[SSAValue, Array])

    @property
    def rows(self) -> Array:
        """What the kernel read [T, K]."""
        return self.values[self.function.body.block.args[0]]

    @property
    def results(self) -> Array:
        """What it gave [T, N]."""
        return self.values[_returned(self.function.body.block)[0]]


@dataclass
class Tape:
    """A run of a network whose values were all kept."""

    block: Block
    values: dict[SSAValue, Array]
    calls: dict[nn.LinearOp, KernelCall]

    @classmethod
    def record(cls, module: ModuleOp, inputs: Sequence[Array]) -> "Tape":
        """Run the network of a module on its inputs, in order.

        Raises:
            InterpretationError: inputs that do not fit.
        """
        function = entry(module)
        block = function.body.block
        tape = cls(block, dict(zip(block.args, inputs, strict=True)), {})
        host = Interpreter(module)
        host.register_implementations(NnFunctions())
        for op in block.ops:
            if isinstance(op, ReturnOp):
                continue
            arguments = [tape.values[value] for value in op.operands]
            if isinstance(op, nn.LinearOp):
                results = (tape._called(module, op, arguments),)
            else:
                results = host.run_op(op, tuple(arguments))
            tape.values.update(zip(op.results, results, strict=True))
        return tape

    def _called(self, module: ModuleOp, op: nn.LinearOp, arguments: Values) -> Array:
        x, *mask = arguments
        function = SymbolTable.lookup_symbol(op, op.callee)
        assert isinstance(function, FuncOp)
        there, lengths = np.s_[:], list[int]()
        if attends(function):
            there, lengths = tokens_of(x, *mask)
        call = self.calls[op] = KernelCall(function, there, lengths)
        block = function.body.block
        call.values[block.args[0]] = x.reshape(-1, x.shape[-1])[there]
        interpreter = Interpreter(module)
        interpreter.register_implementations(SpaqFunctions(lengths))
        with np.errstate(all="ignore"):
            for inner in block.ops:
                if not isinstance(inner, ReturnOp):
                    read = tuple(call.values[value] for value in inner.operands)
                    results = interpreter.run_op(inner, read)
                    call.values.update(zip(inner.results, results, strict=True))
        y = call.results
        whole = np.zeros((int(np.prod(x.shape[:-1])), y.shape[1]), y.dtype)
        whole[there] = y
        return whole.reshape(*x.shape[:-1], y.shape[1])

    @property
    def outputs(self) -> list[Array]:
        """What the network gave."""
        return [self.values[value] for value in _returned(self.block)]

    def backward(
        self, seeds: Sequence[Array | None], visit: Callable[[spaq.MatmulOp, Array, Array], None]
    ) -> None:
        """Take gradients of the outputs back to the products of all kernels.

        Args:
            seeds: a gradient for each output, or None.
            visit: is told of each product of a kernel, of what it read [T, K], and of the gradient
                [T, N] of its results.

        Raises:
            NoGradientError: an operation on the way has no entry in `PRODUCTS`.
        """
        wanted = _dependent(self.block.ops, lambda op: isinstance(op, nn.LinearOp))
        self._back(seeds, visit, wanted)

    def gradients(
        self, seeds: Sequence[Array | None], values: Sequence[SSAValue]
    ) -> list[Array | None]:
        """Take gradients of the outputs back to values of the network, such as its constants.

        Args:
            seeds: a gradient for each output, or None.
            values: of the network, but not inside of its kernels; none of them depends on another.

        Returns:
            the gradient of each value; None if nothing flows to it.

        Raises:
            NoGradientError: as `backward`.
        """
        wanted = _dependent(self.block.ops, lambda _: False, values)
        found = self._back(seeds, lambda op, x, gradient: None, wanted)
        return [found.get(value) for value in values]

    def _back(
        self,
        seeds: Sequence[Array | None],
        visit: Callable[[spaq.MatmulOp, Array, Array], None],
        wanted: set[SSAValue],
    ) -> dict[SSAValue, Array]:
        """Take gradients of the outputs back to what is wanted, and to all kernels on the way."""
        found: dict[SSAValue, Array] = {}
        for value, seed in zip(_returned(self.block), seeds, strict=True):
            if seed is not None:
                _add(found, value, seed)
        for op in reversed(list(self.block.ops)):
            if isinstance(op, nn.OperatorOp):
                reached = any(value in found for value in op.results)
                if reached and any(value in wanted for value in op.operands):
                    raise NoGradientError(op.operator.data)
                continue
            if any(value in found for value in op.results[1:]):
                raise NoGradientError(op.name)  # products are of gradients of the first result
            if not op.results or op.results[0] not in found:
                continue
            needed = any(value in wanted for value in op.operands)
            if not (needed or isinstance(op, nn.LinearOp)):
                continue  # a value of its own, whose gradient may be asked for
            gradient = found.pop(op.results[0])
            if isinstance(op, nn.LinearOp):
                back = self._through(op, gradient, visit, op.input in wanted)
                gradients: Gradients = [back, *[None] * (len(op.operands) - 1)]
            else:
                read = [self.values[value] for value in op.operands]
                gradients = gradients_of(op, read, self.values[op.results[0]], gradient)
            for value, own in zip(op.operands, gradients, strict=True):
                if own is not None and value in wanted:
                    _add(found, value, own)
        return found

    def _through(
        self,
        op: nn.LinearOp,
        gradient: Array,
        visit: Callable[[spaq.MatmulOp, Array, Array], None],
        needed: bool,
    ) -> Array | None:
        """The gradient of what a kernel reads, if it is needed."""
        call = self.calls[op]
        block = call.function.body.block
        (result,) = _returned(block)
        found = {result: gradient.reshape(-1, gradient.shape[-1])[call.there]}
        wanted = _dependent(block.ops, lambda op: isinstance(op, spaq.MatmulOp))
        if needed:
            wanted |= _dependent(block.ops, lambda _: False, block.args)
        for inner in reversed(list(block.ops)):
            if not inner.results or inner.results[0] not in found:
                continue
            own = found.pop(inner.results[0])
            if isinstance(inner, spaq.MatmulOp):
                visit(inner, call.values[inner.operands[0]], own)
            if not any(value in wanted for value in inner.operands):
                continue
            read = [call.values[value] for value in inner.operands]
            result_of = call.values[inner.results[0]]
            gradients = gradients_of(inner, read, result_of, own, call.lengths)
            for value, part in zip(inner.operands, gradients, strict=True):
                if part is not None and value in wanted:
                    _add(found, value, part)
        back = found.get(block.args[0])
        if back is None:
            return None
        x = self.values[op.input]
        whole = np.zeros((int(np.prod(x.shape[:-1])), x.shape[-1]), back.dtype)
        whole[call.there] = back
        return whole.reshape(x.shape)


def _returned(block: Block) -> Sequence[SSAValue]:
    last = block.last_op
    assert isinstance(last, ReturnOp)
    return last.arguments


def _dependent(
    ops: Iterable[Operation],
    source: Callable[[Operation], bool],
    values: Iterable[SSAValue] = (),
) -> set[SSAValue]:
    """The values that depend on what some operations give, or on some values."""
    found = set(values)
    for op in ops:
        if source(op) or any(value in found for value in op.operands):
            found.update(op.results)
    return found


def _add(found: dict[SSAValue, Array], value: SSAValue, gradient: Array) -> None:
    found[value] = found[value] + gradient if value in found else gradient
