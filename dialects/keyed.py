# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Attributes whose parameters are a frozen dataclass, spelled `<name = value, …>`."""

import dataclasses
from typing import Any, ClassVar, get_type_hints

from xdsl.ir import Data
from xdsl.parser import AttrParser
from xdsl.printer import Printer


class KeyedData[T](Data[T]):
    """Base of attributes over a dataclass with `int`, `str` and `tuple[int, ...]` fields.

    A subclass names the dataclass as `record`; the order of its fields is the order of
    the text, and a ValueError from its `__post_init__` is a parse error at its place. The
    last fields stay away where they have their defaults.
    """

    record: ClassVar[type]

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Any:
        kinds = get_type_hints(cls.record)
        values: dict[str, Any] = {}
        start = parser.pos
        with parser.in_angle_brackets():
            for position, field in enumerate(dataclasses.fields(cls.record)):
                optional = field.default is not dataclasses.MISSING
                if optional and parser.parse_optional_punctuation(",") is None:
                    break
                if position and not optional:
                    parser.parse_punctuation(",")
                parser.parse_characters(field.name)
                parser.parse_punctuation("=")
                if kinds[field.name] is int:
                    values[field.name] = parser.parse_integer(allow_boolean=False)
                elif kinds[field.name] == tuple[int, ...]:
                    values[field.name] = tuple(
                        parser.parse_comma_separated_list(
                            parser.Delimiter.SQUARE,
                            lambda: parser.parse_integer(allow_boolean=False),
                        )
                    )
                else:
                    values[field.name] = parser.parse_str_literal()
        try:
            return cls.record(**values)
        except ValueError as error:
            parser.raise_error(str(error), start, parser.pos)

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            for position, (name, value) in enumerate(self._stated().items()):
                printer.print_string(", " if position else "")
                printer.print_string(f"{name} = ")
                if isinstance(value, int):
                    printer.print_int(value)
                elif isinstance(value, tuple):
                    with printer.in_square_brackets():
                        printer.print_list(value, printer.print_int)
                else:
                    printer.print_string_literal(value)

    def _stated(self) -> dict[str, Any]:
        """The fields that the text needs: without the last ones that have their defaults."""
        fields = dataclasses.fields(self.record)
        values = {field.name: getattr(self.data, field.name) for field in fields}
        for field in reversed(fields):
            if values[field.name] != field.default:
                break
            del values[field.name]
        return values
