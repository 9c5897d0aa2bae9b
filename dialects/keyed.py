# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Attributes whose parameters are a frozen dataclass, spelled `<name = value, …>`."""

import dataclasses
from functools import partial
from typing import Any, ClassVar, cast, get_type_hints

from xdsl.ir import Data
from xdsl.parser import AttrParser
from xdsl.printer import Printer


class KeyedData[T](Data[T]):
    """Base of attributes over a dataclass of integers, truth values, strings or tuples of one.

    A subclass names the dataclass as `record`; the order of its fields is the order of
    the text, and a ValueError from its `__post_init__` is a parse error at its place. Fields
    with defaults follow the others, and stay away where they have them. Words in a tuple are
    bare identifiers.
    """

    record: ClassVar[type]

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Any:
        kinds = get_type_hints(cls.record)
        values: dict[str, Any] = {}
        start = parser.pos

        def parse_value(name: str) -> None:
            parser.parse_punctuation("=")
            values[name] = _parse(parser, kinds[name])

        with parser.in_angle_brackets():
            required, optional = _fields(cls.record)
            for position, name in enumerate(required):
                if position:
                    parser.parse_punctuation(",")
                parser.parse_characters(name)
                parse_value(name)
            while optional and parser.parse_optional_punctuation(",") is not None:
                place = parser.pos
                name = parser.parse_identifier()
                if name not in optional or name in values:
                    expected = ", ".join(name for name in optional if name not in values)
                    parser.raise_error(f"expected one of {expected}", place, parser.pos)
                parse_value(name)
        try:
            return cls.record(**values)
        except ValueError as error:
            parser.raise_error(str(error), start, parser.pos)

    def print_parameter(self, printer: Printer) -> None:
        required, optional = _fields(self.record)
        stated = [
            *required,
            *(name for name, default in optional.items() if getattr(self.data, name) != default),
        ]
        with printer.in_angle_brackets():
            for position, name in enumerate(stated):
                printer.print_string(", " if position else "")
                printer.print_string(f"{name} = ")
                _print(printer, getattr(self.data, name))


def _fields(record: type) -> tuple[list[str], dict[str, Any]]:
    """The fields without a default, and the others with theirs."""
    fields = dataclasses.fields(record)
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    return required, {f.name: f.default for f in fields if f.name not in required}


def _parse(parser: AttrParser, kind: Any) -> Any:
    if kind is bool:
        return parser.parse_boolean()
    if kind is int:
        return parser.parse_integer(allow_boolean=False)
    if kind is str:
        return parser.parse_str_literal()
    element = parser.parse_identifier if kind == tuple[str, ...] else partial(_parse, parser, int)
    return tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, element))


def _print(printer: Printer, value: Any) -> None:
    if isinstance(value, tuple):
        parts = cast(tuple[Any, ...], value)
        with printer.in_square_brackets():
            printer.print_list(parts, lambda part: printer.print_string(str(part)))
    elif isinstance(value, bool):
        printer.print_string(str(value).lower())
    elif isinstance(value, int):
        printer.print_int(value)
    else:
        printer.print_string_literal(value)
