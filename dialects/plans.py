# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Functions of IR as plans: lists of steps for runs of the same function again and again.

The interpreter finds out at every run what runs an operation, which attributes it has, and where
its operands are. A plan finds that out once, and makes a Python function of it, a line for each
step: to look up where the operands of a step are takes longer than to compute with those of one
token. Both compute the same: a step is what the interpreter calls for an operation, or what
`prepare` of its functions has made of that.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.interpreter import Interpreter, InterpreterFunctions
from xdsl.ir import Operation, SSAValue
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.errors import DaqkfError
from daqkf.dialects.interpreting import implementations, require_arguments
from daqkf.dialects.nn.base import node_name
from daqkf.dialects.nn.interpreter import NnFunctions
from daqkf.dialects.spaq.interpreter import SpaqFunctions
from daqkf.dialects.spaq.prepared import Prepared

Values = tuple[Any, ...]

Call = Callable[..., Values]
"""The results of an operation for its operands."""


@dataclass(frozen=True)
class _Step:
    """An operation that runs, with the places of its operands and results."""

    op: Operation
    call: Call
    operands: tuple[int, ...]
    results: tuple[int, ...]
    done: tuple[int, ...]
    """The places that nothing reads any more."""


class Plan:
    """The block of a function, to be run many times while the IR stays the same.

    Operations without operands are constants, and run once, when the plan is made. Their results
    and what operations were prepared for stay in memory with the plan. Several threads may run it
    at once: each has an interpreter of its own, since that keeps the values of a called function
    until it returns.
    """

    def __init__(
        self,
        module: ModuleOp,
        function: FuncOp,
        host: NnFunctions | None = None,
        prepared: Prepared | None = None,
        cut: SSAValue | None = None,
    ):
        """The plan of a function of a module.

        Args:
            module: it has the functions that are called.
            function: of one block that returns.
            host: how operations of `nn` run.
            prepared: for operations of `spaq`; see there.
            cut: a value of which a run may keep some rows alone.
        """
        self._function = function
        self._module, self._own = module, threading.local()
        self._implementations = implementations(SpaqFunctions(prepared=prepared), host)
        self._functions: dict[type[Operation], tuple[InterpreterFunctions, Any]] = {}
        for functions in self._implementations:
            own = functions._impls()  # pyright: ignore[reportPrivateUsage]
            self._functions |= {kind: (functions, run) for kind, run in own}
        places: dict[SSAValue, int] = {value: i for i, value in enumerate(function.body.block.args)}
        constants: list[tuple[int, Any]] = []
        steps: list[_Step] = []
        last: dict[int, int] = {}
        for op in function.body.block.ops:
            operands = tuple(places[value] for value in op.operands)
            last |= dict.fromkeys(operands, len(steps))
            if isinstance(op, ReturnOp):
                self._returned = operands
                break
            for value in op.results:
                places[value] = len(places)
            results = tuple(places[value] for value in op.results)
            call = self._call(op)
            if not op.operands:
                constants += zip(results, call(), strict=True)
                continue
            steps.append(_Step(op, call, operands, results, ()))
        kept = {place for place, _ in constants} | set(self._returned)
        done: dict[int, list[int]] = {}
        for place, step in last.items():
            if place not in kept:
                done.setdefault(step, []).append(place)
        steps = [
            _Step(step.op, step.call, step.operands, step.results, tuple(done.get(i, ())))
            for i, step in enumerate(steps)
        ]
        self._cut = None if cut is None else places[cut]
        first = 0
        if self._cut is not None:
            made = (i + 1 for i, step in enumerate(steps) if self._cut in step.results)
            first = next(made, 0)
        self._halves = _Run(steps[:first]), _Run(steps[first:])
        self._values: list[Any] = [None] * len(places)
        for place, value in constants:
            self._values[place] = value

    def _call(self, op: Operation) -> Call:
        """What runs an operation."""
        functions, run = self._functions[type(op)]
        if isinstance(functions, SpaqFunctions | NnFunctions):
            made = functions.prepare(self._interpreter, op)
            if made is not None:
                return made
        return lambda *args: run(functions, self._interpreter, op, args).values

    @property
    def _interpreter(self) -> Interpreter:
        """That of this thread."""
        found = getattr(self._own, "interpreter", None)
        if found is None:
            found = self._own.interpreter = Interpreter(self._module)
            for functions in self._implementations:
                found.register_implementations(functions)
        return found

    def __call__(self, *arguments: Any, rows: Any = None) -> Values:
        """The function's results; `rows` is what indexes the rows that are kept of the `cut`.

        Raises:
            InterpretationError: an argument's shape does not fit, or a sum leaves its type.
        """
        require_arguments(self._function, arguments)
        values = self._values.copy()
        values[: len(arguments)] = arguments
        first, second = self._halves
        first(values)
        if rows is not None and self._cut is not None:
            values[self._cut] = values[self._cut][rows]
        second(values)
        return tuple(values[place] for place in self._returned)


class _Run:
    """Steps that run one after another, on the list of the values of all places."""

    def __init__(self, steps: Sequence[_Step]):
        """The function of these steps; its source has no names but numbers."""
        self._ops = [step.op for step in steps]
        lines = ["def run(v):", *map(_line, range(len(steps)), steps), " return"]
        scope: dict[str, Any] = {f"call{number}": step.call for number, step in enumerate(steps)}
        exec(compile("\n".join(lines), "<plan>", "exec"), scope)
        self._run: Callable[[list[Any]], None] = scope["run"]

    def __call__(self, values: list[Any]) -> None:
        """Take the steps.

        Raises:
            InterpretationError: a step cannot compute with its operands; says which one.
        """
        try:
            self._run(values)
        except DaqkfError:
            raise
        except (ValueError, IndexError) as error:
            raise InterpretationError(f"{node_name(self._failed(error))}: {error}") from None

    def _failed(self, error: Exception) -> Operation:
        """The operation on whose line the steps ended."""
        trace = error.__traceback__
        assert trace is not None and trace.tb_next is not None
        # The first line has the name of the function.
        return self._ops[trace.tb_next.tb_lineno - 2]


def _line(number: int, step: _Step) -> str:
    """A step as a line: its results are put in their places, and what nothing reads is let go."""
    results = "".join(f"v[{place}], " for place in step.results)
    operands = ", ".join(f"v[{place}]" for place in step.operands)
    done = "".join(f"v[{place}] = " for place in step.done)
    taken = f" {results}= call{number}({operands})" if results else f" call{number}({operands})"
    return f"{taken}; {done}None" if done else taken
