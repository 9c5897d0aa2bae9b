# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the operations of `dfke` with a region share: captures, the body's text and its yield."""

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar, Self

from xdsl.dialects.utils import AbstractYieldOperation
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    region_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.spaq.types import INT8_ACTIVATIONS


class RegionOperation(IRDLOperation, ABC):
    """An operation on activations whose region says what it does with them.

    The arguments of the region are the operands, and its `dfke.yield` gives the results. Apart from
    the captures, what is around an operation does not matter to it.
    """

    MOST_OPERANDS: ClassVar[int] = 1

    input = operand_def(INT8_ACTIVATIONS)
    body = region_def("single_block")
    result = result_def(INT8_ACTIVATIONS)

    traits = traits_def(IsolatedFromAbove(), Pure())

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        """`(%inside = %outside, …) properties attributes {…} : types -> types {…}`."""
        captures = parse_captures(parser, cls.MOST_OPERANDS)
        properties = cls.parse_properties(parser)
        attributes = parser.parse_optional_attr_dict_with_keyword()
        operands, result_types, body = parse_body(parser, captures)
        return cls.create(
            operands=operands,
            result_types=result_types,
            properties={**properties, **cls.segments(body.block)},
            attributes=attributes.data if attributes else {},
            regions=[body],
        )

    def print(self, printer: Printer) -> None:
        """What `parse` reads."""
        print_captures(printer, self)
        self.print_properties(printer)
        print_body(printer, self)

    @classmethod
    def segments(cls, body: Block) -> dict[str, Attribute]:
        """The property that says which of its operands an operation has, by its body."""
        return {}

    @classmethod
    def parse_properties(cls, parser: Parser) -> dict[str, Attribute]:
        """The properties between captures and types: none, unless an operation has some."""
        return {}

    def print_properties(self, printer: Printer) -> None:
        """What `parse_properties` reads."""

    def verify_region(self) -> None:
        """Check that the region is of the operands, and ends with a yield.

        Raises:
            VerifyException: it is not, or does not.
        """
        block = self.body.block
        if tuple(block.arg_types) != tuple(value.type for value in self.operands):
            raise VerifyException(f"the body of {self.name} takes its operands as its arguments")
        if not isinstance(block.last_op, YieldOp):
            raise VerifyException(f"the body of {self.name} ends with a dfke.yield")

    def yielded(self) -> tuple[SSAValue, ...]:
        """What the region gives; nothing if it has no end."""
        last = self.body.block.last_op
        return tuple(last.operands) if isinstance(last, YieldOp) else ()


@irdl_op_definition
class YieldOp(AbstractYieldOperation[Attribute]):
    """Ends a kernel or a chain with its result, or a dispatch with those of its variants."""

    name = "dfke.yield"

    traits = traits_def(IsTerminator(), Pure())

    def verify_(self) -> None:
        """Check that it is in a region of `dfke`."""
        if not isinstance(self.parent_op(), RegionOperation):
            raise VerifyException("a dfke.yield ends the region of an operation of dfke")


def first_of[Kind: Operation](block: Block, kind: type[Kind]) -> Kind | None:
    """The first operation of a kind in a block, if there is one."""
    return next((op for op in block.ops if isinstance(op, kind)), None)


Capture = tuple[Parser.UnresolvedArgument, UnresolvedOperand]


def parse_captures(parser: Parser, most: int) -> list[Capture]:
    """`(%inside = %outside, …)`, at most so many."""
    start = parser.pos

    def capture() -> Capture:
        argument = parser.parse_argument(expect_type=False)
        parser.parse_punctuation("=")
        return argument, parser.parse_unresolved_operand()

    captures = parser.parse_comma_separated_list(parser.Delimiter.PAREN, capture)
    if len(captures) > most:
        parser.raise_error(f"expected at most {most} operands", start, parser.pos)
    return captures


def parse_body(
    parser: Parser, captures: Sequence[Capture]
) -> tuple[Sequence[SSAValue], Sequence[Attribute], Region]:
    """`: input, … -> result, … {…}`; the inputs, the results' types and the body."""
    parser.parse_punctuation(":")
    types = [parser.parse_type()]
    for _ in captures[1:]:
        parser.parse_punctuation(",")
        types.append(parser.parse_type())
    parser.parse_punctuation("->")
    result_types = [parser.parse_type()]
    while parser.parse_optional_punctuation(",") is not None:
        result_types.append(parser.parse_type())
    body = parser.parse_region(
        [argument.resolve(kind) for (argument, _), kind in zip(captures, types, strict=True)]
    )
    operands = [
        parser.resolve_operand(operand, kind)
        for (_, operand), kind in zip(captures, types, strict=True)
    ]
    return operands, result_types, body


def print_captures(printer: Printer, op: Operation) -> None:
    """What `parse_captures` reads."""
    with printer.in_parens():
        pairs = zip(op.regions[0].block.args, op.operands, strict=True)
        for number, (argument, operand) in enumerate(pairs):
            printer.print_string(", " if number else "")
            printer.print_ssa_value(argument)
            printer.print_string(" = ")
            printer.print_ssa_value(operand)


def print_body(printer: Printer, op: Operation) -> None:
    """What `parse_body` reads, and attributes."""
    printer.print_op_attributes(op.attributes, print_keyword=True)
    printer.print_string(" : ")
    printer.print_list(op.operands, lambda value: printer.print_attribute(value.type))
    printer.print_string(" -> ")
    printer.print_list(op.results, lambda value: printer.print_attribute(value.type))
    printer.print_string(" ")
    printer.print_region(op.regions[0], print_entry_block_args=False)
