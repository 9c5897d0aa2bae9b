# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Reading and printing IR of every level."""

import re
from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import AnyFloat, ModuleOp
from xdsl.parser import AttrParser, Parser
from xdsl.universe import Universe
from xdsl.utils.mlir_lexer import MLIRLexer

from daqkf.dialects import DIALECTS

# xDSL's own pattern takes exponential time over a string that is never closed. This one matches
# the same strings; its possessive quantifiers do not try a second time.
MLIRLexer._unescaped_characters_regex = re.compile(  # pyright: ignore[reportPrivateUsage]
    r'"(?:[^"\\\n\v\f]++|\\(?:["nt\\]|[0-9A-Fa-f]{2}))*+"'
)

# xDSL prints what is not finite in a dense constant as hexadecimal digits, as MLIR does, but takes
# them for an integer when it reads them: an infinity would come back as 4286578688.
_Element = AttrParser._TensorLiteralElement  # pyright: ignore[reportPrivateUsage]
_to_type = _Element.to_type


def _to_type_by_bits(self: _Element, parser: AttrParser, type: Any) -> Any:
    """As `_to_type`, but hexadecimal digits are the bits of a float, as MLIR has it."""
    if not (isinstance(type, AnyFloat) and self.span.text[:2].lower() == "0x"):
        return _to_type(self, parser, type)
    try:
        raw = int(self.to_int(parser)).to_bytes(type.compile_time_size, "little")
    except OverflowError:
        parser.raise_error(f"more bits than {type} has", at_position=self.span)
    return next(type.iter_unpack(raw))


_Element.to_type = _to_type_by_bits


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
