# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the command lines share: the context, reading IR, writing files, one-line errors."""

import os
import re
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.universe import Universe
from xdsl.utils.exceptions import (
    ArgSpecParseError,
    DiagnosticException,
    InvalidIRException,
    ParseError,
    UnregisteredConstructException,
)

from daqkf.dialects import DIALECTS


def register_dialects(context: Context) -> None:
    """Register xDSL's dialects and DAQKF's; each is imported when it is first met."""
    for name, factory in (Universe.get_multiverse().all_dialects | DIALECTS).items():
        context.register_dialect(name, factory)


def make_context() -> Context:
    """A context that knows every dialect."""
    context = Context()
    register_dialects(context)
    return context


def parse_module(context: Context, text: str, name: str) -> ModuleOp:
    """Parse and verify a module.

    Raises:
        ParseError, VerifyException: malformed IR.
    """
    module = Parser(context, text, name).parse_module()
    module.verify()
    return module


def module_text(module: ModuleOp) -> str:
    """The text of a module, as `parse_module` reads it."""
    return f"{module!s}\n"


def read_text(path: str | None) -> tuple[str, str]:
    """The text of a file, or of standard input for None or `-`, and a name for messages."""
    if path is None or path == "-":
        return sys.stdin.read(), "<stdin>"
    return Path(path).read_text(encoding="utf-8"), path


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it into place.

    What exists and is no regular file, like a pipe or a terminal, is written to directly.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def describe(error: BaseException) -> str:
    """One line for an error: where it is, if known, and what."""
    if isinstance(error, ParseError):
        return f"{error.span.get_location()}: {' '.join(error.msg.split())}"
    if isinstance(error, ArgSpecParseError):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"pass pipeline: {lines[-1]} (at '{lines[-3]}')"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    message = next((line for line in str(error).splitlines() if line.strip()), "")
    message = message.strip() or type(error).__name__
    operation = _failing_operation(error)
    return f"{operation}: {message}" if operation and operation not in message else message


def _failing_operation(error: BaseException) -> str | None:
    """The name of the operation that a verifier's note points at."""
    for note in getattr(error, "__notes__", ()):
        lines = note.splitlines()
        for line, below in pairwise(lines):
            if below.strip().startswith("^^") and (found := _OPERATION.search(line)):
                return found.group(1)
    return None


_OPERATION = re.compile(r'"([a-z_]+\.[\w.]+)"\(')

EXPECTED = (
    ArgSpecParseError,
    DiagnosticException,
    InvalidIRException,
    OSError,
    ParseError,
    RuntimeError,
    UnregisteredConstructException,
    ValueError,
)
"""What bad input can raise; anything else is a bug and keeps its traceback."""


def guarded(tool: str, main: Callable[[], int]) -> int:
    """Run a command line's body; errors of its input become one line and exit code 1."""
    try:
        code = main()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output has gone, which is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"{tool}: interrupted", file=sys.stderr)
        return 130
    except EXPECTED as error:
        print(f"{tool}: {describe(error)}", file=sys.stderr)
        return 1
