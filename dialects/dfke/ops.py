# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `dfke`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, IntegerType, i32
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.printer import Printer
from xdsl.traits import HasCanonicalizationPatternsTrait
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import to_array
from daqkf.dialects.dfke.attributes import DecisionAttr, ScheduleAttr, TilesAttr
from daqkf.dialects.dfke.region import RegionOperation, YieldOp, first_of
from daqkf.dialects.spaq import (
    ActivationOp,
    AddOp,
    ConstantOp,
    GatherOp,
    MatmulOp,
    RequantizeOp,
    ResidualOp,
    ScaleRowsOp,
)
from daqkf.dialects.spaq.checks import features, is_wide
from daqkf.dialects.spaq.ops import chain, defining_constant
from daqkf.dialects.spaq.types import INT8_ACTIVATIONS, RESULT_ACTIVATIONS
from daqkf.hw_targets import numerics
from daqkf.hw_targets.decision import Decision
from daqkf.hw_targets.semirings import Semiring

STAGES: tuple[type[Operation], ...] = (
    ScaleRowsOp,
    AddOp,
    ResidualOp,
    RequantizeOp,
    ActivationOp,
)
"""What may follow the product inside a kernel, in this order, each at most once."""


@dataclass(frozen=True)
class Body:
    """The operations of a kernel's body `act(requantize(x·W·2^e + b + r))`."""

    gather: GatherOp | None
    weights: ConstantOp
    matmul: MatmulOp
    scale: ScaleRowsOp | None
    add: AddOp | None
    bias: ConstantOp | None
    residual: ResidualOp | None
    requantize: RequantizeOp
    activation: ActivationOp | None


@irdl_op_definition
class KernelOp(RegionOperation):
    """One fused kernel: integer activations in, integer activations out, nothing between.

    The body is optionally `spaq.gather` of what it reads, `spaq.matmul`, then optionally
    `spaq.scale_rows` by an operand, the exponents that its rows share, `spaq.add` of a bias and
    `spaq.residual` of another operand, `spaq.requantize`, and optionally `spaq.activation`;
    weights and bias are constants of the body. A kernel with exponents or a residual runs
    on the array in a chain; one with wide results alone, or at the end of a chain. The types of the
    sums are their exact widths once `dfke-specialize-bitwidth` has run, which also sets
    `running_sum`; `dfke-schedule` sets `schedule`, or `tiles` where the kernel is too large for
    the machine.

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

    MOST_OPERANDS: ClassVar = 3

    irdl_options = (AttrSizedOperandSegments(as_property=True),)

    input = operand_def(INT8_ACTIVATIONS)  # once more, as it comes before the other one
    kept = opt_operand_def(INT8_ACTIVATIONS)
    exponents = opt_operand_def(INT8_ACTIVATIONS)
    running_sum = opt_prop_def(IntegerType)
    schedule = opt_prop_def(ScheduleAttr)
    tiles = opt_prop_def(TilesAttr)
    result = result_def(RESULT_ACTIVATIONS)

    def __init__(
        self,
        value: SSAValue,
        result_type: Attribute,
        body: Region,
        running_sum: IntegerType | None = None,
        schedule: ScheduleAttr | None = None,
        tiles: TilesAttr | None = None,
        kept: SSAValue | None = None,
        exponents: SSAValue | None = None,
    ):
        super().__init__(
            operands=[value, kept, exponents],
            result_types=[result_type],
            properties={"running_sum": running_sum, "schedule": schedule, "tiles": tiles},
            regions=[body],
        )

    @classmethod
    def segments(cls, body: Block) -> dict[str, Attribute]:
        """What is kept comes before exponents, if there are both."""
        counts = [1, 0, 0]
        for argument in body.args[1:]:
            scales = isinstance(argument.get_user_of_unique_use(), ScaleRowsOp)
            counts[2 if scales else 1] += 1
        return {"operandSegmentSizes": DenseArrayBase.from_list(i32, counts)}

    @classmethod
    def parse_properties(cls, parser: Parser) -> dict[str, Attribute]:
        """`running_sum type`, `schedule attribute`, `tiles attribute`, each if there is one."""
        found: dict[str, Attribute] = {}
        for name, kind, read, expected in (
            ("running_sum", IntegerType, parser.parse_type, "the running sum is an integer"),
            ("schedule", ScheduleAttr, parser.parse_attribute, "expected a #dfke.schedule"),
            ("tiles", TilesAttr, parser.parse_attribute, "expected #dfke.tiles"),
        ):
            start = parser.pos
            if parser.parse_optional_keyword(name) is not None:
                found[name] = read()
                if not isinstance(found[name], kind):
                    parser.raise_error(expected, start, parser.pos)
        return found

    def print_properties(self, printer: Printer) -> None:
        """What `parse_properties` reads."""
        for name in ("running_sum", "schedule", "tiles"):
            if name in self.properties:
                printer.print_string(f" {name} ")
                printer.print_attribute(self.properties[name])

    def verify_(self) -> None:
        self.verify_region()
        if [value.type for value in self.yielded()] != [self.result.type]:
            raise VerifyException("the body ends with a dfke.yield of the kernel's result")
        self._verify_body()
        _verify_semiring(self.parts())
        outputs = None if self.schedule is None else self.schedule.outputs.get_shape()
        if outputs is not None and outputs != (features(self.result),):
            raise VerifyException(
                f"the schedule has {outputs[0]} outputs, the kernel {features(self.result)}"
            )
        if self.tiles is not None:
            self._verify_tiles(self.tiles)

    def _verify_tiles(self, tiles: TilesAttr) -> None:
        if self.schedule is not None:
            raise VerifyException("a kernel has a schedule or tiles, not both")
        found = sum(tiles.parts()), sum(tiles.groups())
        if found != (features(self.input), features(self.result)):
            raise VerifyException(
                f"the tiles are of {found[0]} features and {found[1]} outputs, the kernel of "
                f"{features(self.input)} and {features(self.result)}"
            )

    @property
    def wide(self) -> bool:
        """Whether its results are wide."""
        return is_wide(self.result)

    def parts(self) -> Body:
        """The stages of the body, of a kernel that verifies."""
        block = self.body.block
        matmul, requantize = first_of(block, MatmulOp), first_of(block, RequantizeOp)
        assert matmul is not None and requantize is not None
        add, weights = first_of(block, AddOp), defining_constant(matmul.weights)
        assert weights is not None
        return Body(
            first_of(block, GatherOp),
            weights,
            matmul,
            first_of(block, ScaleRowsOp),
            add,
            None if add is None else defining_constant(add.bias),
            first_of(block, ResidualOp),
            requantize,
            first_of(block, ActivationOp),
        )

    def _verify_body(self) -> None:
        """Check that the body is act(requantize(x·W·2^e + b + r)) over constants.

        Raises:
            VerifyException: it is not.
        """
        block = self.body.block
        x, *others = block.args
        reader = x.get_user_of_unique_use()
        gather = reader if isinstance(reader, GatherOp) else None
        if gather is not None:
            x, reader = gather.result, gather.result.get_user_of_unique_use()
        matmul = reader
        if not isinstance(matmul, MatmulOp) or matmul.input is not x:
            raise VerifyException("a kernel's input goes to one spaq.matmul, as its activations")
        stages = chain(matmul, STAGES)
        by_kind = {type(stage): stage for stage in stages}
        if RequantizeOp not in by_kind:
            raise VerifyException("a kernel has a spaq.requantize after its product")
        last = stages[-1].results[0]
        terminator = block.last_op
        if terminator is None or last not in terminator.operands:
            raise VerifyException(
                "a kernel is spaq.matmul, spaq.scale_rows, spaq.add, spaq.residual, "
                "spaq.requantize and spaq.activation, in this order"
            )
        add = by_kind.get(AddOp)
        add = add if isinstance(add, AddOp) else None
        readers = [by_kind[kind] for kind in (ResidualOp, ScaleRowsOp) if kind in by_kind]
        if [value.get_user_of_unique_use() for value in others] != readers:
            raise VerifyException(
                "a kernel's other operands go to one spaq.residual, and then one spaq.scale_rows"
            )
        if dict(self.segments(block)) != {
            "operandSegmentSizes": self.properties["operandSegmentSizes"]
        }:
            raise VerifyException("a kernel's operands are not those of its body")
        weights = defining_constant(matmul.weights)
        bias = defining_constant(add.bias) if add else None
        if weights is None or (add is not None and bias is None):
            raise VerifyException("a kernel's weights and bias are spaq.constant")
        used = {gather, matmul, weights, bias, terminator, *stages}
        stray = next((op for op in block.ops if op not in used), None)
        if stray is not None:
            raise VerifyException(f"a kernel has no place for {stray.name}")


def _verify_semiring(body: Body) -> None:
    """Check what an array needs of a product that is not over (+, ×)."""
    semiring, weights = body.matmul.semiring.data, body.weights.array()
    if semiring is not Semiring.PLUS_TIMES and body.scale is not None:
        raise VerifyException(f"rows of a {semiring} kernel share no exponents")
    if semiring is not Semiring.PLUS_TIMES and body.requantize.wide:
        raise VerifyException(f"results of a {semiring} kernel are i8, as its activations are")
    if semiring is Semiring.OR_AND and not np.isin(weights, (0, -1)).all():
        raise VerifyException("the weights of an or_and kernel are 0 or -1")
    if semiring.tropical:
        # A lane's infinity has a weight added to it, and must come out as infinity all the same.
        bias = 0 if body.bias is None else body.bias.array().astype(np.int64)
        nearest = np.broadcast_to(semiring.sum_zero + ~semiring.zero + bias, weights.shape[1:])
        levels = numerics.requantize(
            nearest[np.newaxis],
            to_array(body.requantize.multiplier),
            to_array(body.requantize.shift),
        )[0]
        finite = np.flatnonzero(levels != semiring.zero)
        if len(finite):
            raise VerifyException(
                f"channel {finite[0]} of a {semiring} kernel requantises infinity to "
                f"{levels[finite[0]]}, not {semiring.zero}"
            )


class DispatchPatterns(HasCanonicalizationPatternsTrait):
    """The canonicalisation of `dfke.dispatch`."""

    @classmethod
    def get_canonicalization_patterns(cls) -> tuple[RewritePattern, ...]:
        """The patterns."""
        return (DispatchToOne(),)


@irdl_op_definition
class DispatchOp(RegionOperation):
    """Variants of one kernel, among which each tile of activations picks by its zeros.

    The body has a `dfke.kernel` for each variant, all of the dispatch's input, and yields
    their results in the order in which the decision counts them. What a tile gives is what
    its variant gives. The decision says how many tokens make a tile (`Decision`).

    ```mlir
    %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 2, shift = 1, table = [0, 1]>
        : tensor<?x2xi8> -> tensor<?x2xi8> {
      %0 = dfke.kernel(%a = %k) : tensor<?x2xi8> -> tensor<?x2xi8> { … }
      %1 = dfke.kernel(%a = %k) : tensor<?x2xi8> -> tensor<?x2xi8> { … }
      dfke.yield %0, %1 : tensor<?x2xi8>, tensor<?x2xi8>
    }
    ```
    """

    name = "dfke.dispatch"

    decision = prop_def(DecisionAttr)

    traits = traits_def(DispatchPatterns())

    def __init__(
        self, value: SSAValue, result_type: Attribute, body: Region, decision: DecisionAttr
    ):
        super().__init__(
            operands=[value],
            result_types=[result_type],
            properties={"decision": decision},
            regions=[body],
        )

    @classmethod
    def parse_properties(cls, parser: Parser) -> dict[str, Attribute]:
        """The decision."""
        start = parser.pos
        decision = parser.parse_attribute()
        if not isinstance(decision, DecisionAttr):
            parser.raise_error("expected a #dfke.decision", start, parser.pos)
        return {"decision": decision}

    def print_properties(self, printer: Printer) -> None:
        """What `parse_properties` reads."""
        printer.print_string(" ")
        printer.print_attribute(self.decision)

    def verify_(self) -> None:
        self.verify_region()
        block, kernels = self.body.block, self.variants()
        if len(kernels) + 1 != len(block.ops) or any(
            kernel.input is not block.args[0] for kernel in kernels
        ):
            raise VerifyException("a dispatch has kernels of its input and a dfke.yield alone")
        if self.yielded() != tuple(kernel.result for kernel in kernels):
            raise VerifyException("a dispatch yields the result of each of its kernels, in order")
        if any(kernel.result.type != self.result.type for kernel in kernels):
            raise VerifyException("the variants of a dispatch differ in the type of their result")
        if max(self.decision.data.table) >= len(kernels):
            raise VerifyException(
                f"the decision names variant {max(self.decision.data.table)}, but there are "
                f"{len(kernels)}"
            )

    def variants(self) -> list[KernelOp]:
        """The kernels, by their number in the decision."""
        return [op for op in self.body.block.ops if isinstance(op, KernelOp)]


class DispatchToOne(RewritePattern):
    """A dispatch whose decision is always the same → that variant alone."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: DispatchOp, rewriter: PatternRewriter) -> None:
        """Put the variant in the place of the dispatch."""
        chosen = set(op.decision.data.table)
        if len(chosen) == 1:
            variant = op.variants()[chosen.pop()]
            rewriter.replace(op, variant.clone({op.body.block.args[0]: op.input}))


def kernel(value: SSAValue, stages: Sequence[Operation]) -> KernelOp:
    """A kernel whose body is a copy of `stages` and of the constants they use.

    `stages` start with a spaq.gather or spaq.matmul of `value` and follow each other by single
    uses; what a spaq.residual among them adds, and the exponents of a spaq.scale_rows, are its
    other operands.
    """
    kept = next((stage.kept for stage in stages if isinstance(stage, ResidualOp)), None)
    scales = next((stage.exponents for stage in stages if isinstance(stage, ScaleRowsOp)), None)
    body = body_of([value], stages, [other for other in (kept, scales) if other is not None])
    return KernelOp(value, stages[-1].results[0].type, body, kept=kept, exponents=scales)


def body_of(
    values: Sequence[SSAValue], stages: Sequence[Operation], others: Sequence[SSAValue] = ()
) -> Region:
    """A region whose arguments stand for values, and for `others` as second operands of stages.

    It yields all results of the last stage.
    """
    block = Block(arg_types=[value.type for value in (*values, *others)])
    mapping: dict[SSAValue, SSAValue] = dict(zip(values, block.args, strict=False))
    seconds = dict(zip(others, block.args[len(values) :], strict=True))
    for stage in stages:
        for operand in stage.operands:
            constant = defining_constant(operand)
            if constant is not None and operand not in mapping:
                block.add_op(constant.clone(mapping))
        copy = stage.clone(mapping)
        if isinstance(stage, ResidualOp | ScaleRowsOp) and stage.operands[1] in seconds:
            # The same value may be what the kernel reads, too.
            copy.operands[1] = seconds[stage.operands[1]]
        block.add_op(copy)
        mapping |= zip(stage.results, copy.results, strict=True)
    block.add_op(YieldOp(*(mapping[result] for result in stages[-1].results)))
    return Region(block)


def dispatch(value: SSAValue, kernels: Sequence[KernelOp], decision: Decision) -> DispatchOp:
    """A dispatch among kernels that stand in no block yet, as variants 0, 1, …"""
    block = Block(arg_types=[value.type])
    for variant in kernels:
        variant.operands[0] = block.args[0]
        block.add_op(variant)
    block.add_op(YieldOp(*(variant.result for variant in kernels)))
    return DispatchOp(value, kernels[0].result.type, Region(block), DecisionAttr(decision))
