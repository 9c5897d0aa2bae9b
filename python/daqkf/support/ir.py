# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Reading and printing IR of every level."""

from collections.abc import Callable, Mapping
from functools import cache
from io import StringIO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Dialect
from xdsl.universe import Universe

from daqkf.dialects import DIALECTS
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.xdsl_patches import Parser, Printer


@cache
def _dialects() -> Mapping[str, Callable[[], Dialect]]:
    """All dialects by name. What packages have entry points for takes xDSL a while to find."""
    return Universe.get_multiverse().all_dialects | DIALECTS


def register_dialects(context: Context) -> None:
    """Register xDSL's dialects and DAQKF's; each is imported when it is first met."""
    for name, factory in _dialects().items():
        context.register_dialect(name, factory)


def make_context() -> Context:
    """A context that knows every dialect."""
    context = Context()
    register_dialects(context)
    return context


def parse_module(context: Context, text: str | bytes, name: str) -> ModuleOp:
    """Parse and verify a module.

    Raises:
        ParseError, VerifyException: malformed IR; the message names the place and the operation.
        ValueError: bytes that are no text; the message names the file.
    """
    module = Parser(context, text, name).parse_module()
    verify(module)
    return module


def module_text(module: ModuleOp) -> str:
    """The text of a module, as `parse_module` reads it."""
    text = StringIO()
    Printer(stream=text).print_op(module)
    text.write("\n")
    return text.getvalue()
