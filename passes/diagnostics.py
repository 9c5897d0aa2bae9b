# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How passes fail: naming the place and the operation."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation
from xdsl.utils.exceptions import InterpretationError, PassFailedException, VerifyException

from daqkf.dialects.diagnostics import message


def fail(op: Operation, pass_name: str, text: str) -> NoReturn:
    """End a pass because of an operation.

    Raises:
        PassFailedException: `file:line:column: operation: pass: text`.
    """
    raise PassFailedException(message(op, f"{pass_name}: {text}"))


class OperationError(ValueError):
    """What is wrong with an operation, whatever pass or caller finds it."""

    def __init__(self, op: Operation, text: str):
        super().__init__(text)
        self.op = op


def function_of(module: ModuleOp) -> Operation:
    """What errors of a module as a whole are about: its first function, if it has one."""
    return next((op for op in module.ops if isinstance(op, FuncOp)), module)


@contextmanager
def about(op: Operation) -> Generator[None]:
    """What goes wrong inside is because of this operation.

    Raises:
        OperationError: for a ValueError.
    """
    try:
        yield
    except OperationError:
        raise
    except ValueError as error:
        raise OperationError(op, str(error)) from None


@contextmanager
def failing(pass_name: str) -> Generator[None]:
    """What goes wrong inside is a failure of the pass, at an operation if one is known.

    Raises:
        PassFailedException: for an OSError or a ValueError.
    """
    try:
        yield
    except OperationError as error:
        fail(error.op, pass_name, str(error))
    except (OSError, ValueError) as error:
        raise PassFailedException(f"{pass_name}: {error}") from None


@contextmanager
def failing_at(op: Operation, pass_name: str) -> Generator[None]:
    """What goes wrong inside is a failure of the pass at this operation.

    Raises:
        PassFailedException: for a ValueError, an InterpretationError or a VerifyException.
    """
    try:
        yield
    except (ValueError, InterpretationError, VerifyException) as error:
        raise PassFailedException(message(op, f"{pass_name}: {error}")) from None
