# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Run IR of any level above the circuit, over NumPy arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp, TensorType, UnrankedTensorType
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.interpreter import (
    Interpreter,
    InterpreterFunctions,
    OpImplResult,
    PythonValues,
    ReturnedValues,
    impl,
    impl_callable,
    impl_terminator,
    register_impls,
)
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.dfke.interpreter import DfkeFunctions
from daqkf.dialects.nn.interpreter import NnFunctions
from daqkf.dialects.nn.operators import OnnxType
from daqkf.dialects.rpea.interpreter import RpeaFunctions
from daqkf.dialects.spaq.interpreter import SpaqFunctions
from daqkf.dialects.spaq.prepared import Prepared

ENTRY = "main"
"""The function of a network that has kernels as functions, too."""


@register_impls
class FuncFunctions(InterpreterFunctions):
    """How the operations of `func` run.

    xDSL has the same in `xdsl.interpreters`, a package that loads every dialect of xDSL that can
    run, which takes longer than most passes do.
    """

    @impl_callable(FuncOp)
    def function(self, interpreter: Interpreter, op: FuncOp, args: tuple[Any, ...]) -> PythonValues:
        """The results of a function's body."""
        return interpreter.run_ssacfg_region(op.body, args, op.sym_name.data)

    @impl(CallOp)
    def call(self, interpreter: Interpreter, op: CallOp, args: tuple[Any, ...]) -> PythonValues:
        """The results of the function that is called."""
        return interpreter.call_op(op.callee, args)

    @impl_terminator(ReturnOp)
    def terminate(
        self, interpreter: Interpreter, op: ReturnOp, args: tuple[Any, ...]
    ) -> tuple[ReturnedValues, PythonValues]:
        """The end of a body, which gives back what the operation names."""
        return ReturnedValues(args), ()


@dataclass(eq=False)
class Lifetimes:
    """Where values of functions are read last, so that a run can forget them there.

    Found once for each function, and right while the IR stays the same.
    """

    _last: dict[FuncOp, dict[Operation, list[SSAValue]]] = field(
        default_factory=dict[FuncOp, dict[Operation, list[SSAValue]]]
    )

    def of(self, function: FuncOp) -> dict[Operation, list[SSAValue]]:
        """The values of the function's block that each of its operations is the last to read."""
        if function not in self._last:
            last: dict[Operation, list[SSAValue]] = {}
            block, seen = function.body.block, set[SSAValue]()
            for op in reversed(list(block.ops)):
                read = {value for inner in op.walk() for value in inner.operands} - seen
                seen |= read
                last[op] = [value for value in read if value.owner is block or _in(value, block)]
            self._last[function] = last
        return self._last[function]


def _in(value: SSAValue, block: Block) -> bool:
    return isinstance(value.owner, Operation) and value.owner.parent is block


@dataclass
class _Forgetful(Interpreter):
    """An interpreter that forgets the values of a function that nothing reads any more.

    Their memory serves the values that follow, while it is still in a cache.
    """

    last: dict[Operation, list[SSAValue]] = field(default_factory=dict[Operation, list[SSAValue]])

    def _run_op(self, op: Operation, inputs: tuple[Any, ...]) -> OpImplResult:
        result = super()._run_op(op, inputs)
        values = self._ctx.local_scope
        assert isinstance(values, dict)
        for value in self.last.get(op, ()):
            values.pop(value, None)
        return result


def only_function(module: ModuleOp) -> FuncOp:
    """The module's one function.

    Raises:
        InterpretationError: it has none, or several.
    """
    functions = [op for op in module.ops if isinstance(op, FuncOp)]
    if len(functions) != 1:
        raise InterpretationError(f"expected one func.func in the module, not {len(functions)}")
    return functions[0]


def entry(module: ModuleOp) -> FuncOp:
    """The function that a network begins with: its only one, or the one called `main`.

    Raises:
        InterpretationError: there is none.
    """
    functions = [op for op in module.ops if isinstance(op, FuncOp)]
    mains = [op for op in functions if op.sym_name.data == ENTRY]
    return mains[0] if mains else only_function(module)


def run(
    module: ModuleOp,
    *arguments: NDArray[Any],
    listeners: tuple[Interpreter.Listener, ...] = (),
    sequences: Sequence[int] = (),
) -> NDArray[Any]:
    """Call the module's one function and give back its one result.

    Arguments are [T, K] float32 or int8, as the function's types say; to attention, all tokens are
    one sequence, or `sequences` of so many.

    Raises:
        InterpretationError: an argument's shape does not fit, or a sum leaves its type.
    """
    function = only_function(module)
    return call(module, function, arguments, listeners, sequences=sequences)[0]


def call(
    module: ModuleOp,
    function: FuncOp,
    arguments: Sequence[NDArray[Any]],
    listeners: tuple[Interpreter.Listener, ...] = (),
    host: NnFunctions | None = None,
    array: RpeaFunctions | None = None,
    sequences: Sequence[int] = (),
    prepared: Prepared | None = None,
    lifetimes: Lifetimes | None = None,
    spaq: SpaqFunctions | None = None,
) -> tuple[NDArray[Any], ...]:
    """The results of a function of the module; `host`, `array` and `spaq` may say how the
    operations of `nn`, `rpea` and `spaq` run.

    What is `prepared` for earlier calls, and the `lifetimes` of values by which they are forgotten,
    are not made again; the module must not have changed since.

    Raises:
        InterpretationError: an argument's shape does not fit, or a sum leaves its type.
    """
    require_arguments(function, arguments)
    last = {} if lifetimes is None else lifetimes.of(function)
    interpreter = _Forgetful(module, listeners=listeners, last=last)
    spaq = spaq or SpaqFunctions(sequences, prepared)
    _register(interpreter, implementations(spaq, host, array))
    return interpreter.call_op(function, tuple(arguments))


def interpreter_of(module: ModuleOp, sequences: Sequence[int] = ()) -> Interpreter:
    """What runs operations of a module one by one; `sequences` are those that attention is of."""
    interpreter = Interpreter(module)
    _register(interpreter, implementations(SpaqFunctions(sequences)))
    return interpreter


def implementations(
    spaq: SpaqFunctions,
    host: NnFunctions | None = None,
    array: RpeaFunctions | None = None,
) -> tuple[InterpreterFunctions, ...]:
    """What runs the operations of each dialect."""
    return (
        spaq,
        DfkeFunctions(),
        FuncFunctions(),
        host or NnFunctions(),
        array or RpeaFunctions(),
    )


def _register(interpreter: Interpreter, functions: Sequence[InterpreterFunctions]) -> None:
    for own in functions:
        interpreter.register_implementations(own)


def require_arguments(function: FuncOp, arguments: Sequence[NDArray[Any]]) -> None:
    """Check that a function takes these arguments.

    Raises:
        InterpretationError: it takes others.
    """
    types = function.function_type.inputs.data
    if len(types) != len(arguments):
        raise InterpretationError(f"the function takes {len(types)} arguments")
    for kind, argument in zip(types, arguments, strict=True):
        require_shape(argument, kind)


def require_shape(array: NDArray[Any], kind: Attribute) -> None:
    """Check that an array has the extents of a type; those of a foreign type are not known.

    Raises:
        InterpretationError: it has others, or the type is no tensor.
    """
    if isinstance(kind, OnnxType | UnrankedTensorType):
        return
    if not isinstance(kind, TensorType) or not _is(array.shape, kind.get_shape()):
        raise InterpretationError(f"an array of shape {array.shape} is not a {kind}")


def _is(shape: tuple[int, ...], kind: tuple[int, ...]) -> bool:
    return len(shape) == len(kind) and all(
        extent in (DYNAMIC_INDEX, own) for own, extent in zip(shape, kind, strict=True)
    )
