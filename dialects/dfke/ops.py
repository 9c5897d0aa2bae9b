# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `dfke`."""

from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerType, TensorType
from xdsl.dialects.utils import AbstractYieldOperation
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    lazy_traits_def,
    operand_def,
    opt_prop_def,
    region_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import HasParent, IsolatedFromAbove, IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dfke.attributes import ScheduleAttr
from daqkf.dialects.spaq import (
    ActivationOp,
    AddOp,
    ConstantOp,
    MatmulOp,
    RequantizeOp,
)
from daqkf.dialects.spaq.ops import chain, defining_constant, features

STAGES: tuple[type[Operation], ...] = (AddOp, RequantizeOp, ActivationOp)
"""What may follow the product inside a kernel, in this order, each at most once."""


@irdl_op_definition
class YieldOp(AbstractYieldOperation[Attribute]):
    """Ends a kernel's body with its result."""

    name = "dfke.yield"

    traits = lazy_traits_def(lambda: (IsTerminator(), HasParent(KernelOp), Pure()))


@dataclass(frozen=True)
class Body:
    """The operations of a kernel's body `act(requantize(x·W + b))`."""

    weights: ConstantOp
    matmul: MatmulOp
    add: AddOp | None
    bias: ConstantOp | None
    requantize: RequantizeOp
    activation: ActivationOp | None


@irdl_op_definition
class KernelOp(IRDLOperation):
    """One fused kernel: integer activations in, integer activations out, nothing between.

    The body is `spaq.matmul`, then optionally `spaq.add` of a bias, `spaq.requantize`, and
    optionally `spaq.activation`; weights and bias are constants of the body. The types of the
    sums are their exact widths once `dfke-specialize-bitwidth` has run, which also sets
    `running_sum`; `dfke-schedule` sets `schedule`.

    ```mlir
    %y = dfke.kernel(%x = %0) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %w = spaq.constant dense<[[0, 2], [-1, 0]]> : tensor<2x2xi8>
      %1 = spaq.matmul %x, %w : (tensor<?x2xi8>, tensor<2x2xi8>) -> tensor<?x2xi32>
      %2 = spaq.requantize %1 multiplier … shift … : tensor<?x2xi32> -> tensor<?x2xi8>
      dfke.yield %2 : tensor<?x2xi8>
    }
    ```
    """

    name = "dfke.kernel"

    input = operand_def(TensorType)
    running_sum = opt_prop_def(IntegerType)
    schedule = opt_prop_def(ScheduleAttr)
    body = region_def("single_block")
    result = result_def(TensorType)

    traits = traits_def(IsolatedFromAbove(), Pure())

    def __init__(
        self,
        value: SSAValue,
        result_type: Attribute,
        body: Region,
        running_sum: IntegerType | None = None,
        schedule: ScheduleAttr | None = None,
    ):
        super().__init__(
            operands=[value],
            result_types=[result_type],
            properties={"running_sum": running_sum, "schedule": schedule},
            regions=[body],
        )

    @classmethod
    def parse(cls, parser: Parser) -> "KernelOp":
        with parser.in_parens():
            argument = parser.parse_argument(expect_type=False)
            parser.parse_punctuation("=")
            operand = parser.parse_unresolved_operand()
        running_sum = schedule = None
        start = parser.pos
        if parser.parse_optional_keyword("running_sum") is not None:
            running_sum = parser.parse_type()
            if not isinstance(running_sum, IntegerType):
                parser.raise_error("the running sum is an integer", start, parser.pos)
        start = parser.pos
        if parser.parse_optional_keyword("schedule") is not None:
            schedule = parser.parse_attribute()
            if not isinstance(schedule, ScheduleAttr):
                parser.raise_error("expected a #dfke.schedule", start, parser.pos)
        attributes = parser.parse_optional_attr_dict_with_keyword()
        parser.parse_punctuation(":")
        input_type = parser.parse_type()
        parser.parse_punctuation("->")
        result_type = parser.parse_type()
        body = parser.parse_region([argument.resolve(input_type)])
        value = parser.resolve_operand(operand, input_type)
        op = cls(value, result_type, body, running_sum, schedule)
        op.attributes |= attributes.data if attributes else {}
        return op

    def print(self, printer: Printer) -> None:
        with printer.in_parens():
            printer.print_ssa_value(self.body.block.args[0])
            printer.print_string(" = ")
            printer.print_ssa_value(self.input)
        if self.running_sum is not None:
            printer.print_string(" running_sum ")
            printer.print_attribute(self.running_sum)
        if self.schedule is not None:
            printer.print_string(" schedule ")
            printer.print_attribute(self.schedule)
        printer.print_op_attributes(self.attributes, print_keyword=True)
        printer.print_string(" : ")
        printer.print_attribute(self.input.type)
        printer.print_string(" -> ")
        printer.print_attribute(self.result.type)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)

    def verify_(self) -> None:
        block = self.body.block
        if tuple(block.arg_types) != (self.input.type,):
            raise VerifyException("the body takes the kernel's input as its one argument")
        if not isinstance(block.last_op, YieldOp) or tuple(
            value.type for value in block.last_op.operands
        ) != (self.result.type,):
            raise VerifyException("the body ends with a dfke.yield of the kernel's result")
        self.parts()
        if self.schedule is not None and self.schedule.outputs.get_shape() != (
            features(self.result),
        ):
            raise VerifyException(
                f"the schedule has {self.schedule.outputs.get_shape()[0]} outputs, the kernel "
                f"{features(self.result)}"
            )

    def parts(self) -> Body:
        """The stages of the body.

        Raises:
            VerifyException: the body is not act(requantize(x·W + b)) over constants.
        """
        block = self.body.block
        users = [use.operation for use in block.args[0].uses]
        matmul = users[0] if len(users) == 1 else None
        if not isinstance(matmul, MatmulOp) or matmul.input is not block.args[0]:
            raise VerifyException("a kernel's input goes to one spaq.matmul, as its activations")
        stages = chain(matmul, STAGES)
        by_kind = {type(stage): stage for stage in stages}
        requantize = by_kind.get(RequantizeOp)
        if not isinstance(requantize, RequantizeOp):
            raise VerifyException("a kernel has a spaq.requantize after its product")
        last = stages[-1].results[0]
        terminator = block.last_op
        if terminator is None or last not in terminator.operands:
            raise VerifyException(
                "a kernel is spaq.matmul, spaq.add, spaq.requantize and spaq.activation, in "
                "this order"
            )
        add = by_kind.get(AddOp)
        add = add if isinstance(add, AddOp) else None
        activation = by_kind.get(ActivationOp)
        weights = defining_constant(matmul.weights)
        bias = defining_constant(add.bias) if add else None
        if weights is None or (add is not None and bias is None):
            raise VerifyException("a kernel's weights and bias are spaq.constant")
        used = {matmul, weights, bias, terminator, *stages}
        stray = next((op for op in block.ops if op not in used), None)
        if stray is not None:
            raise VerifyException(f"a kernel has no place for {stray.name}")
        return Body(
            weights,
            matmul,
            add,
            bias,
            requantize,
            activation if isinstance(activation, ActivationOp) else None,
        )


def kernel(value: SSAValue, stages: list[Operation]) -> KernelOp:
    """A kernel whose body is a copy of `stages` and of the constants they use.

    `stages` start with a spaq.matmul of `value` and follow each other by single uses.
    """
    block = Block(arg_types=[value.type])
    mapping: dict[SSAValue, SSAValue] = {value: block.args[0]}
    for stage in stages:
        for operand in stage.operands:
            constant = defining_constant(operand)
            if constant is not None and operand not in mapping:
                block.add_op(constant.clone(mapping))
        block.add_op(stage.clone(mapping))
    result = mapping[stages[-1].results[0]]
    block.add_op(YieldOp(result))
    return KernelOp(value, result.type, Region(block))
