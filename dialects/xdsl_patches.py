# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What DAQKF needs of xDSL's parser and printer and does not find there.

Everything is a subclass: xDSL itself stays as it is. `test/unit/test_xdsl_patches.py` holds xDSL's
own behaviour for each part, and fails as soon as xDSL can do without it.
"""

import math
import re
import struct
from bisect import bisect_right
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import xdsl.parser
import xdsl.printer
from xdsl.context import Context
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    AnyDenseElement,
    AnyFloat,
    ComplexType,
    DenseIntOrFPElementsAttr,
    FileLineColLoc,
    IndexType,
    IntAttr,
    IntegerType,
    ModuleOp,
    RankedStructure,
    StringAttr,
    UnknownLoc,
)
from xdsl.ir import Attribute, Operation
from xdsl.irdl import AttrConstraint, base
from xdsl.parser import AttrParser
from xdsl.parser.generic_parser import ParserState
from xdsl.utils.exceptions import ParseError, VerifyException
from xdsl.utils.lexer import Input, Span
from xdsl.utils.mlir_lexer import MLIRLexer, MLIRToken, MLIRTokenKind, StringLiteral

from daqkf.dialects.memory import require_memory


class Lexer(MLIRLexer):
    """A lexer that takes linear time over a string that is never closed, and knows UTF-8.

    xDSL's pattern takes exponential time. This one matches the same strings; its possessive
    quantifiers do not try a second time.

    xDSL prints what is not ASCII as escaped bytes, but takes escaped bytes beyond ASCII for bytes
    and not for a text when it reads them: a name such as `π` would not come back.
    """

    _unescaped_characters_regex = re.compile(r'"(?:[^"\\\n\v\f]++|\\(?:["nt\\]|[0-9A-Fa-f]{2}))*+"')

    def _lex_string_literal(self, start_pos: int) -> MLIRToken:
        if (end := _plain_end(self.input.content, start_pos)) is not None:
            self.pos = end
            return MLIRToken(MLIRTokenKind.STRING_LIT, Span(start_pos, end, self.input))
        token = super()._lex_string_literal(start_pos)
        if token.kind is MLIRTokenKind.BYTES_LIT:
            try:
                StringLiteral.from_span(token.span).bytes_contents.decode()
            except UnicodeDecodeError:
                return token
            return MLIRToken(MLIRTokenKind.STRING_LIT, token.span)
        return token


def _plain_end(text: str, start: int) -> int | None:
    """Where a string that begins like a constant's bytes ends, if every character is itself.

    A pattern looks at each character, and a language model's constants have hundreds of millions.
    """
    if not text.startswith('"0x', start):
        return None
    end = text.find('"', start + 1)
    if end < 0 or any(text.find(other, start, end) >= 0 for other in _NOT_PLAIN):
        return None
    return end + 1


_NOT_PLAIN = "\\\n\v\f"
"""Characters that strings do not have, or have something else for."""


class TensorElement(AttrParser._TensorLiteralElement):  # pyright: ignore[reportPrivateUsage]
    """An element of a dense constant, which is a float's bits if it is hexadecimal.

    xDSL prints what is not finite as hexadecimal digits, as MLIR does, but takes them for an
    integer when it reads them: an infinity would come back as 4286578688.
    """

    def to_complex(
        self, parser: AttrParser, type: ComplexType
    ) -> tuple[float, float] | tuple[int, int]:
        """As xDSL's, which asserts that there are two numbers."""
        if not isinstance(self.value, tuple):
            parser.raise_error("expected a pair of numbers", at_position=self.span)
        return super().to_complex(parser, type)

    def to_type(self, parser: AttrParser, type: Any) -> Any:
        """The value as one of this type.

        Raises:
            ParseError: the digits are more bits than the type has.
        """
        if not (isinstance(type, AnyFloat) and self.span.text[:2].lower() == "0x"):
            return super().to_type(parser, type)
        try:
            raw = int(self.to_int(parser)).to_bytes(type.compile_time_size, "little")
        except OverflowError:
            parser.raise_error(f"more bits than {type} has", at_position=self.span)
        return next(type.iter_unpack(raw))


@cache
def _literal_types() -> AttrConstraint[Any]:
    """The types that a dense constant can have. xDSL makes this anew for each, in milliseconds."""
    return base(RankedStructure[IntegerType | IndexType | AnyFloat | ComplexType])


class Parser(xdsl.parser.Parser):
    """xDSL's parser, whose operations know where they are from, and whose errors name them.

    An operation without a `loc(…)` of its own gets the place of its text as its location. Errors
    begin with the name of the operation they are found in. Of a text that is cut out of a file,
    `first_line` is the number of lines before it.

    Raises:
        ValueError: bytes that are no text.
    """

    _TensorLiteralElement = TensorElement

    def __init__(self, context: Context, text: str | bytes, name: str, first_line: int = 0):
        super().__init__(context, "", name)
        try:
            decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        except UnicodeDecodeError:
            raise ValueError(f"{name}: not a text file") from None
        self._parser_state = ParserState(Lexer(Input(decoded, name)))
        self._first_line = first_line
        self._names: list[str] = []
        self._starts = [0]
        while (end := decoded.find("\n", self._starts[-1])) >= 0:
            self._starts.append(end + 1)

    def location(self, position: int) -> FileLineColLoc:
        """The place of a position in the text."""
        line = bisect_right(self._starts, position)
        column = position - self._starts[line - 1] + 1
        name = StringAttr(self.lexer.input.name)
        return FileLineColLoc(name, IntAttr(self._first_line + line), IntAttr(column))

    def parse_operation(self) -> Operation:
        """As xDSL's; the operation has a location.

        Raises:
            ParseError: naming the operation that it is in, if that is known.
            VerifyException: of an attribute; naming the place and the operation.
        """
        start, depth = self.pos, len(self._names)
        self._names.append("")
        try:
            with self._refusing(start):
                op = super().parse_operation()
        except (ParseError, VerifyException) as error:
            name = self._names[depth]
            if name and not getattr(error, "names_operation", False):
                _name(error, name, self.location(start))
            raise
        finally:
            del self._names[depth:]
        if isinstance(op.location, UnknownLoc):
            op.location = self.location(start)
        return op

    def parse_module(self, allow_implicit_module: bool = True) -> ModuleOp:
        """As xDSL's.

        Raises:
            ParseError, VerifyException: the text is no module.
        """
        with self._refusing(self.pos):
            return super().parse_module(allow_implicit_module)

    @contextmanager
    def _refusing(self, start: int) -> Generator[None]:
        """What Python raises at numbers and texts that it cannot take, as errors of their place."""
        try:
            yield
        except IndexError:  # of xDSL's named operations
            self.raise_error("an operation that lacks operands", start, self.pos)
        except RecursionError:
            self.raise_error("nested too deeply", start, self.pos)
        except MemoryError:
            self.raise_error("more memory than there is", start, self.pos)
        except (NotImplementedError, OverflowError, ValueError, struct.error) as error:
            self.raise_error(str(error), start, self.pos)

    def _consume_token(self, expected_kind: MLIRTokenKind | None = None) -> MLIRToken:
        """As xDSL's, which asserts what a text says of the parts of a complex number."""
        token = self._current_token
        if expected_kind is not None and token.kind is not expected_kind:
            self.raise_error(f"expected '{expected_kind.value}', got '{token.text}'", token.span)
        return super()._consume_token(expected_kind)

    def parse_optional_str_literal(self) -> str | None:
        """As xDSL's, which encodes the text of a constant and decodes it again."""
        token = self._current_token
        if token.kind is MLIRTokenKind.STRING_LIT:
            text, span = self.lexer.input.content, token.span
            if _plain_end(text, span.start) == span.end:
                self._consume_token(MLIRTokenKind.STRING_LIT)
                return text[span.start + 1 : span.end - 1]
        return super().parse_optional_str_literal()

    def parse_dense_int_or_fp_elements_attr(
        self, type: RankedStructure[AnyDenseElement] | None
    ) -> DenseIntOrFPElementsAttr:
        """As xDSL's; constants that are larger than may be are refused before they are made.

        Raises:
            ParseError: a malformed constant, or numbers that its type does not have.
        """
        with self._refusing(self.pos):
            return super().parse_dense_int_or_fp_elements_attr(type)

    def _parse_dense_literal_type(self) -> Any:
        kind = self.expect(self.parse_optional_type, "expected the type of a dense constant")
        if not _literal_types().verifies(kind):
            self.raise_error("expected a tensor, memref or vector of numbers")
        if DYNAMIC_INDEX in kind.get_shape():
            self.raise_error("expected a dense constant of a static shape")
        # xDSL makes a list of Python's numbers of what is not hexadecimal.
        size = math.prod(kind.get_shape()) * (kind.element_type.compile_time_size + 8)
        require_memory(size, "a constant of this type")
        return kind

    def _get_op_by_name(self, name: str) -> type[Operation]:
        self._names[-1] = name
        return super()._get_op_by_name(name)


class Printer(xdsl.printer.Printer):
    """xDSL's printer, which never makes Python numbers of the elements of a large constant.

    xDSL does that twice for each, only to see whether all elements are the same.
    """

    def print_attribute(self, attribute: Attribute) -> None:
        """As xDSL's, in the same text."""
        if isinstance(attribute, DenseIntOrFPElementsAttr):
            dense = cast(DenseIntOrFPElementsAttr, attribute)
            data, count = dense.data.data, len(dense)
            size = len(data) // max(count, 1)
            # Elements are all the same if what follows each is what it is itself.
            if count > _LISTED and memoryview(data)[size:] != memoryview(data)[:-size]:
                self.print_string(f'dense<"0x{data.hex().upper()}"> : ')
                self.print_attribute(dense.get_type())
                return
        super().print_attribute(cast(Attribute, attribute))


_LISTED = 100
"""Elements up to which xDSL prints constants as lists."""


def _name(error: ParseError | VerifyException, name: str, place: FileLineColLoc) -> None:
    """Put an operation's name, and its place where the error has none, before the message."""
    error.names_operation = True  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(error, VerifyException):
        where = f"{place.filename.data}:{place.line.data}:{place.column.data}"
        error.args = (f"{where}: {name}: {error}",)
    elif name not in error.msg:
        error.msg = f"{name}: {error.msg}"
