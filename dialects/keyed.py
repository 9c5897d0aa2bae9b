# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Attributes whose parameters are a frozen dataclass, spelled `<name = value, …>`."""

import dataclasses
from typing import Any, ClassVar, get_type_hints

from xdsl.ir import Data
from xdsl.parser import AttrParser
from xdsl.printer import Printer


class KeyedData[T](Data[T]):
    """Base of attributes over a dataclass with `int` and `str` fields.

    A subclass names the dataclass as `record`; the order of its fields is the order of
    the text, and a ValueError from its `__post_init__` is a parse error at its place.
    """

    record: ClassVar[type]

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Any:
        kinds = get_type_hints(cls.record)
        values: dict[str, Any] = {}
        start = parser.pos
        with parser.in_angle_brackets():
            for position, field in enumerate(dataclasses.fields(cls.record)):
                if position:
                    parser.parse_punctuation(",")
                parser.parse_characters(field.name)
                parser.parse_punctuation("=")
                if kinds[field.name] is int:
                    values[field.name] = parser.parse_integer(allow_boolean=False)
                else:
                    values[field.name] = parser.parse_str_literal()
        try:
            return cls.record(**values)
        except ValueError as error:
            parser.raise_error(str(error), start, parser.pos)

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            fields = dataclasses.asdict(self.data)  # pyright: ignore[reportArgumentType]
            for position, (name, value) in enumerate(fields.items()):
                printer.print_string(", " if position else "")
                printer.print_string(f"{name} = ")
                if isinstance(value, int):
                    printer.print_int(value)
                else:
                    printer.print_string_literal(value)
