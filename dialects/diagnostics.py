# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Where in a file an operation is from, and verifier errors that say so."""

from collections.abc import Iterator

from xdsl.dialects.builtin import FileLineColLoc, ModuleOp
from xdsl.ir import Operation
from xdsl.utils.exceptions import VerifyException


def place(op: Operation) -> str:
    """`file:line:column` of an operation, or nothing if no text is known to be behind it.

    What a pass has made is where the first operation inside it is from that has a place, or else
    where the nearest one around it is from.
    """
    for candidate in _candidates(op):
        location = candidate.location
        if isinstance(location, FileLineColLoc):
            return f"{location.filename.data}:{location.line.data}:{location.column.data}"
    return ""


def _candidates(op: Operation) -> Iterator[Operation]:
    yield from op.walk()
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, ModuleOp):
        yield parent
        parent = parent.parent_op()


def message(op: Operation, text: str) -> str:
    """`file:line:column: operation: text`, in one line; a text that begins so has the name."""
    line = " ".join(text.split())
    name = "" if line.startswith(f"{op.name} ") else op.name
    return ": ".join(part for part in (place(op), name, line) if part)


def verify(module: ModuleOp) -> None:
    """Verify a module.

    Raises:
        VerifyException: naming the place and the operation that does not verify.
    """
    try:
        module.verify()
    except VerifyException as error:
        raise located(module, error) from None


def located(module: Operation, error: VerifyException) -> VerifyException:
    """An error of `module.verify()`, naming the place and the operation that it is about."""
    for op in module.walk(region_first=True):
        try:
            op.verify(verify_nested_ops=False)
        except VerifyException as found:
            if found.args == error.args:
                return VerifyException(message(op, str(found)))
    return VerifyException(message(module, str(error)))
