# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of CIRCT's `sv`, `seq` and `hw` dialects that xDSL does not ship.

Spelled as CIRCT spells them, so that each side reads what the other prints. `HW` and `SEQ`
are xDSL's dialects with these added and take the place of the stock ones.

See https://circt.llvm.org/docs/Dialects/SV/ and https://circt.llvm.org/docs/Dialects/Seq/.
"""

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects import hw, seq
from xdsl.dialects.builtin import IntAttr, IntegerAttr, IntegerType, StringAttr, i1
from xdsl.ir import (
    Attribute,
    Dialect,
    ParametrizedAttribute,
    Region,
    SSAValue,
    TypeAttribute,
)
from xdsl.irdl import (
    AnyAttr,
    AttrSizedOperandSegments,
    IRDLOperation,
    ParsePropInAttrDict,
    VarConstraint,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import AttrParser, Parser
from xdsl.printer import Printer
from xdsl.traits import NoTerminator
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import integer_bits


@irdl_attr_definition
class UnpackedArrayType(ParametrizedAttribute, TypeAttribute):
    """`!hw.uarray<1024xi16>`: an unpacked array, what memories are made of."""

    name = "hw.uarray"

    size: IntAttr
    element_type: Attribute

    def __init__(self, size: int, element_type: Attribute):
        super().__init__(IntAttr(size), element_type)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            size = parser.parse_integer(allow_boolean=False, allow_negative=False)
            parser.parse_shape_delimiter()
            return IntAttr(size), parser.parse_type()

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(f"{self.size.data}x")
            printer.print_attribute(self.element_type)


@irdl_attr_definition
class InOutType(ParametrizedAttribute, TypeAttribute):
    """`!hw.inout<i8>`: a place that can be assigned and read; an array inside has no `!hw.`."""

    name = "hw.inout"

    element_type: Attribute

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            if parser.parse_optional_keyword("uarray") is not None:
                return (UnpackedArrayType.new(UnpackedArrayType.parse_parameters(parser)),)
            return (parser.parse_type(),)

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            if isinstance(self.element_type, UnpackedArrayType):
                printer.print_string("uarray")
                self.element_type.print_parameters(printer)
            else:
                printer.print_attribute(self.element_type)


@irdl_attr_definition
class SVAttributeAttr(ParametrizedAttribute):
    """`#sv.attribute<"ram_style" = "\\22block\\22">`: a Verilog attribute and its expression."""

    name = "sv.attribute"

    attribute_name: StringAttr
    expression: StringAttr

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            name = parser.parse_str_literal()
            parser.parse_punctuation("=")
            return StringAttr(name), StringAttr(parser.parse_str_literal())

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string_literal(self.attribute_name.data)
            printer.print_string(" = ")
            printer.print_string_literal(self.expression.data)


def _target_type(value: SSAValue, op: IRDLOperation) -> Attribute:
    if not isinstance(value.type, InOutType):
        raise VerifyException(f"{op.name} needs an !hw.inout, not {value.type}")
    return value.type.element_type


@irdl_op_definition
class RegOp(IRDLOperation):
    """Declares a variable, named like its result: `%m = sv.reg : !hw.inout<i8>`."""

    name = "sv.reg"

    result = result_def(InOutType)

    assembly_format = "attr-dict `:` type($result)"

    def __init__(self, kind: Attribute, attributes: dict[str, Attribute] | None = None):
        super().__init__(result_types=[InOutType(kind)], attributes=attributes or {})


@irdl_op_definition
class ReadInOutOp(IRDLOperation):
    """The value of a place."""

    name = "sv.read_inout"

    input = operand_def(InOutType)
    result = result_def()

    def __init__(self, place: SSAValue):
        kind = place.type
        assert isinstance(kind, InOutType)
        super().__init__(operands=[place], result_types=[kind.element_type])

    @classmethod
    def parse(cls, parser: Parser) -> "ReadInOutOp":
        place = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        start = parser.pos
        kind = parser.parse_type()
        if not isinstance(kind, InOutType):
            parser.raise_error("expected an !hw.inout", start, parser.pos)
        op = cls(parser.resolve_operand(place, kind))
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.input)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.input.type)

    def verify_(self) -> None:
        if _target_type(self.input, self) != self.result.type:
            raise VerifyException("the result is not of the place's type")


@irdl_op_definition
class ArrayIndexInOutOp(IRDLOperation):
    """The place of one element of an unpacked array."""

    name = "sv.array_index_inout"

    input = operand_def(InOutType)
    index = operand_def(IntegerType)
    result = result_def(InOutType)

    def __init__(self, array: SSAValue, index: SSAValue):
        kind = array.type
        assert isinstance(kind, InOutType) and isinstance(kind.element_type, UnpackedArrayType)
        super().__init__(
            operands=[array, index], result_types=[InOutType(kind.element_type.element_type)]
        )

    @classmethod
    def parse(cls, parser: Parser) -> "ArrayIndexInOutOp":
        array = parser.parse_unresolved_operand()
        with parser.in_square_brackets():
            index = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        start = parser.pos
        kind = parser.parse_type()
        if not isinstance(kind, InOutType) or not isinstance(kind.element_type, UnpackedArrayType):
            parser.raise_error("expected an !hw.inout<uarray<…>>", start, parser.pos)
        parser.parse_punctuation(",")
        index_type = parser.parse_type()
        op = cls(parser.resolve_operand(array, kind), parser.resolve_operand(index, index_type))
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.input)
        with printer.in_square_brackets():
            printer.print_ssa_value(self.index)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.input.type)
        printer.print_string(", ")
        printer.print_attribute(self.index.type)

    def verify_(self) -> None:
        array = _target_type(self.input, self)
        if not isinstance(array, UnpackedArrayType):
            raise VerifyException(f"{array} has no elements")
        if self.result.type != InOutType(array.element_type):
            raise VerifyException("the result is not the place of an element")
        index = self.index.type
        bits = integer_bits(index)
        assert bits is not None
        if (array.size.data - 1).bit_length() > bits:
            raise VerifyException(f"an index of {index} does not reach {array.size.data} elements")


@irdl_op_definition
class PAssignOp(IRDLOperation):
    """A non-blocking assignment, `<=`."""

    name = "sv.passign"

    dest = operand_def(InOutType)
    src = operand_def()

    def __init__(self, place: SSAValue, value: SSAValue):
        super().__init__(operands=[place, value])

    @classmethod
    def parse(cls, parser: Parser) -> "PAssignOp":
        place = parser.parse_unresolved_operand()
        parser.parse_punctuation(",")
        value = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        kind = parser.parse_type()
        op = cls(
            parser.resolve_operand(place, InOutType(kind)), parser.resolve_operand(value, kind)
        )
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.dest)
        printer.print_string(", ")
        printer.print_ssa_value(self.src)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.src.type)

    def verify_(self) -> None:
        if _target_type(self.dest, self) != self.src.type:
            raise VerifyException("the value is not of the place's type")


@irdl_op_definition
class AlwaysFFOp(IRDLOperation):
    """`sv.alwaysff(posedge %clk) {…}`: what happens at each rising edge."""

    name = "sv.alwaysff"

    clock = operand_def(i1)
    body = region_def("single_block")

    traits = traits_def(NoTerminator())
    assembly_format = "`(` `posedge` $clock `)` $body attr-dict"

    def __init__(self, clock: SSAValue, body: Region):
        super().__init__(operands=[clock], regions=[body])


@irdl_op_definition
class IfOp(IRDLOperation):
    """`sv.if %condition {…}`, inside a procedure."""

    name = "sv.if"

    cond = operand_def(i1)
    then_region = region_def("single_block")

    traits = traits_def(NoTerminator())
    assembly_format = "$cond $then_region attr-dict"

    def __init__(self, condition: SSAValue, body: Region):
        super().__init__(operands=[condition], regions=[body])

    def verify_(self) -> None:
        if not isinstance(self.parent_op(), AlwaysFFOp | IfOp):
            raise VerifyException("sv.if belongs into a procedure")


@irdl_op_definition
class FromClockOp(IRDLOperation):
    """A clock as a plain signal."""

    name = "seq.from_clock"

    input = operand_def(seq.clock)
    result = result_def(i1)

    assembly_format = "$input attr-dict"

    def __init__(self, clock: SSAValue):
        super().__init__(operands=[clock], result_types=[i1])


@irdl_op_definition
class CompRegClockEnabledOp(IRDLOperation):
    """A register that takes its input only in cycles in which it is enabled, or reset."""

    name = "seq.compreg.ce"

    DATA_TYPE: ClassVar = VarConstraint("DataType", AnyAttr())

    inner_sym = opt_prop_def(hw.InnerSymAttr)
    input = operand_def(DATA_TYPE)
    clk = operand_def(seq.clock)
    clock_enable = operand_def(i1)
    reset = opt_operand_def(i1)
    reset_value = opt_operand_def(DATA_TYPE)
    initial_value = opt_operand_def()
    """What the register holds before the first clock edge, a `!seq.immutable`. Circuits here have
    none; CIRCT counts it among the operands."""
    data = result_def(DATA_TYPE)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "(`sym` $inner_sym^)? $input `,` $clk `,` $clock_enable "
        "(`reset` $reset^ `,` $reset_value)? (`initial` $initial_value^ `:` type($initial_value))? "
        "attr-dict `:` type($input)"
    )

    def __init__(
        self,
        value: SSAValue,
        clock: SSAValue,
        enable: SSAValue,
        reset: tuple[SSAValue, SSAValue] | None = None,
    ):
        super().__init__(
            operands=[value, clock, enable, *(reset or (None, None)), None],
            result_types=[value.type],
        )

    def verify_(self) -> None:
        if (self.reset is None) != (self.reset_value is None):
            raise VerifyException("a reset and its value come together")


@irdl_op_definition
class VerbatimOp(IRDLOperation):
    """Lines of SystemVerilog in its own words, such as a comment: `sv.verbatim "// Fetch."`."""

    name = "sv.verbatim"

    format_string = prop_def(StringAttr)

    assembly_format = "$format_string attr-dict"

    def __init__(self, text: str):
        super().__init__(properties={"format_string": StringAttr(text)})


@irdl_op_definition
class LocalParamOp(IRDLOperation):
    """A constant with a name: `%a = sv.localparam {name = "READY", value = 2 : i3} : i3`."""

    name = "sv.localparam"

    value = prop_def(IntegerAttr[IntegerType])
    local_name = prop_def(StringAttr, prop_name="name")
    result = result_def(IntegerType)

    assembly_format = "attr-dict `:` type($result)"

    irdl_options = (ParsePropInAttrDict(),)

    def __init__(self, name: str, value: int, width: int):
        super().__init__(
            properties={"value": IntegerAttr(value, width), "name": StringAttr(name)},
            result_types=[IntegerType(width)],
        )

    def verify_(self) -> None:
        if self.value.type != self.result.type:
            raise VerifyException("the value is not of the result's type")


@irdl_op_definition
class VerbatimExprOp(IRDLOperation):
    """An expression in SystemVerilog's own words; `{{0}}` stands for the first operand.

    `sv.verbatim.expr "($signed({{0}}) * $signed({{1}}))"(%a, %b) : (i16, i16) -> i16`
    """

    name = "sv.verbatim.expr"

    format_string = prop_def(StringAttr)
    substitutions = var_operand_def(IntegerType)
    result = result_def(IntegerType)

    assembly_format = (
        "$format_string `(` $substitutions `)` `:` functional-type($substitutions, $result) "
        "attr-dict"
    )

    def __init__(self, text: str, operands: Sequence[SSAValue], kind: IntegerType):
        super().__init__(
            operands=[operands],
            properties={"format_string": StringAttr(text)},
            result_types=[kind],
        )


HW = Dialect("hw", [*hw.HW.operations], [*hw.HW.attributes, InOutType, UnpackedArrayType])

SEQ = Dialect(
    "seq",
    [*seq.Seq.operations, CompRegClockEnabledOp, FromClockOp],
    [*seq.Seq.attributes],
)

SV = Dialect(
    "sv",
    [
        AlwaysFFOp,
        ArrayIndexInOutOp,
        IfOp,
        LocalParamOp,
        PAssignOp,
        ReadInOutOp,
        RegOp,
        VerbatimExprOp,
        VerbatimOp,
    ],
    [SVAttributeAttr],
)
