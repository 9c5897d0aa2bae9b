# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `rpea`: an array, programs for it, variants and chains of them, and the call."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    FlatSymbolRefAttr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
    TensorType,
    UnitAttr,
    i8,
    i32,
    i64,
)
from xdsl.ir import Operation
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    traits_def,
)
from xdsl.traits import SymbolOpInterface, SymbolTable, SymbolUserOpInterface
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import to_array
from daqkf.dialects.dfke.attributes import DecisionAttr
from daqkf.dialects.rpea.attributes import ConfigAttr
from daqkf.dialects.rpea.families import FAMILIES, Words
from daqkf.dialects.rpea.layout import ArrayConfig
from daqkf.dialects.spaq.numerics import (
    MULTIPLIER_MAX,
    SHIFT_MAX,
    SHIFT_MIN,
    TABLE_SIZE,
)


def require(condition: object, message: str) -> None:
    """Raise a VerifyException with the message unless the condition holds."""
    if not condition:
        raise VerifyException(message)


@irdl_op_definition
class ArrayOp(IRDLOperation):
    """An array of processing elements, of which `lower-rpea-to-hw` makes the circuit.

    ```mlir
    rpea.array @array #rpea.config<pes = 4, lanes = 8, …>
    ```
    """

    name = "rpea.array"

    sym_name = prop_def(SymbolNameConstraint())
    config = prop_def(ConfigAttr)

    traits = traits_def(SymbolOpInterface())
    assembly_format = "$sym_name $config attr-dict"

    def __init__(self, name: str, config: ArrayConfig):
        super().__init__(properties={"sym_name": StringAttr(name), "config": ConfigAttr(config)})


class _UsesArray(SymbolUserOpInterface):
    def verify(self, op: Operation) -> None:
        assert isinstance(op, ProgramOp)
        op.verify_shapes()
        op.verify_against(op.target().config.data)


@irdl_op_definition
class ProgramOp(IRDLOperation):
    """A kernel as an array plays it: a stream for each PE, and what the post unit needs.

    All properties are byte-backed constants. The streams of the PEs follow one another in
    `stream`, packed by `ArrayConfig.stream_words`; `outputs` names the channel of each output
    in the order in which PE 0, PE 1, … complete them. `bias`, `multiplier` and `shift` go by
    channel; the bias includes the correction of the ones' complement items.

    A part of an `rpea.tiled` may go on from partial sums, `adds`, and leave its sums as such,
    `keeps`, in place of results.
    """

    name = "rpea.program"

    sym_name = prop_def(SymbolNameConstraint())
    array = prop_def(FlatSymbolRefAttr)
    features = prop_def(IntegerAttr.constr(i64))
    stream = prop_def(DenseIntOrFPElementsAttr)
    rows = prop_def(DenseIntOrFPElementsAttr)
    outputs = prop_def(DenseIntOrFPElementsAttr)
    counts = prop_def(DenseIntOrFPElementsAttr)
    bias = prop_def(DenseIntOrFPElementsAttr)
    multiplier = prop_def(DenseIntOrFPElementsAttr)
    shift = prop_def(DenseIntOrFPElementsAttr)
    table = prop_def(DenseIntOrFPElementsAttr)
    adds = opt_prop_def(UnitAttr)
    keeps = opt_prop_def(UnitAttr)

    traits = traits_def(SymbolOpInterface(), _UsesArray())
    assembly_format = (
        "$sym_name `on` $array `features` $features `stream` $stream `rows` $rows "
        "`outputs` $outputs `counts` $counts `bias` $bias `multiplier` $multiplier "
        "`shift` $shift `table` $table (`adds` $adds^)? (`keeps` $keeps^)? attr-dict"
    )

    def __init__(
        self,
        name: str,
        array: str,
        features: int,
        *,
        adds: bool = False,
        keeps: bool = False,
        **data: DenseIntOrFPElementsAttr,
    ):
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "array": SymbolRefAttr(array),
                "features": IntegerAttr(features, i64),
                "adds": UnitAttr() if adds else None,
                "keeps": UnitAttr() if keeps else None,
                **data,
            }
        )

    def target(self) -> ArrayOp:
        """The array this program is for.

        Raises:
            VerifyException: the symbol names no rpea.array.
        """
        array = SymbolTable.lookup_symbol(self, self.array)
        if not isinstance(array, ArrayOp):
            raise VerifyException(f"{self.array} is not an rpea.array")
        return array

    @property
    def channels(self) -> int:
        """Output channels N."""
        return self.outputs.get_shape()[0]

    def packed_stream(self) -> NDArray[np.uint32]:
        """[rows, words] packed stream words of all PEs."""
        return to_array(self.stream).view("<u4")

    def streams(self) -> Iterator[Words]:
        """The words of each PE's stream, as fields [rows], with those that the array supplies."""
        config, features = self.target().config.data, self.features.value.data
        ends, counts = np.cumsum(to_array(self.rows)), to_array(self.counts)
        for pe, rows in enumerate(np.split(self.packed_stream(), ends[:-1])):
            family = FAMILIES[config.family(pe)]
            supplied = family.supplied(len(rows), features, int(counts[pe]))
            yield {**family.played(config.stream_word(pe).unpack(rows), config), **supplied}

    def verify_shapes(self) -> None:
        """Hold the properties against one another.

        Raises:
            VerifyException: shapes, ranges or counts that do not agree.
        """
        channels = self.channels
        for name, kind, shape in (
            ("rows", i32, self.rows.get_shape()),
            ("outputs", i32, (channels,)),
            ("counts", i32, self.rows.get_shape()),
            ("bias", i32, (channels,)),
            ("multiplier", i32, (channels,)),
            ("shift", i32, (channels,)),
            ("table", i8, (TABLE_SIZE,)),
        ):
            attribute = self.properties[name]
            assert isinstance(attribute, DenseIntOrFPElementsAttr)
            require(
                attribute.get_shape() == shape
                and attribute.get_element_type() == kind
                and attribute.shape_is_complete
                and len(shape) == 1,
                f"{name} must be {TensorType(kind, shape)}",
            )
        multiplier, shift = to_array(self.multiplier), to_array(self.shift)
        require(
            multiplier.min() >= 1 and multiplier.max() <= MULTIPLIER_MAX,
            f"multipliers must be 1..{MULTIPLIER_MAX}",
        )
        require(
            shift.min() >= SHIFT_MIN and shift.max() <= SHIFT_MAX,
            f"shifts must be {SHIFT_MIN}..{SHIFT_MAX}",
        )
        outputs, counts = to_array(self.outputs), to_array(self.counts)
        require(
            np.array_equal(np.sort(outputs), np.arange(channels)),
            "outputs must name each channel exactly once",
        )
        require(counts.min() >= 0 and counts.sum() == channels, "counts must add up to outputs")

    def verify_against(self, config: ArrayConfig) -> None:
        """Hold the program against the array it is for.

        Raises:
            VerifyException: it does not fit, or a stream is malformed or truncated.
        """
        require(self.rows.get_shape() == (config.pes,), f"{config.pes} PEs need as many streams")
        count = self.features.value.data
        require(
            0 < count <= config.null_address,
            f"{count} features; the activation memory holds 1..{config.null_address}",
        )
        rows, counts = to_array(self.rows), to_array(self.counts)
        for what, value, limit in (
            ("stream words of a PE", rows.max(), config.stream_depth),
            ("outputs of a PE", counts.max(), config.parameter_depth),
            ("outputs", self.channels, config.result_depth),
        ):
            require(value <= limit, f"{value} {what}; the array holds {limit}")
        if self.adds or self.keeps:
            require(
                self.channels <= config.partial_depth,
                f"{self.channels} partial sums; the array holds {config.partial_depth}",
            )
        limit = 1 << (config.sum_width - 1)
        bias = to_array(self.bias)
        require(
            -limit <= bias.min() and bias.max() < limit,
            f"a bias does not fit the array's sums of {config.sum_width} bits",
        )
        shape = int(rows.sum()), config.stream_row_words
        require(
            self.stream.get_element_type() == i32
            and self.stream.get_shape() == shape
            and self.stream.shape_is_complete,
            f"the stream must be {TensorType(i32, shape)}",
        )
        require(rows.min() > 0, "every PE needs a stream of at least one word")
        if config.lockstep:
            spread = np.bincount(np.arange(self.channels) % config.pes, minlength=config.pes)
            require(
                np.array_equal(counts, spread),
                f"elements in step share {self.channels} outputs as {spread.tolist()}",
            )
        for pe, words in enumerate(self.streams()):
            family = FAMILIES[config.family(pe)]
            for name in family.addresses(config):
                outside = (words[name] >= count) & (words[name] != config.null_address)
                require(
                    not outside.any(),
                    f"word {int(outside.argmax())} of PE {pe} reads a feature beyond {count}",
                )
            require(
                np.array_equal(np.flatnonzero(words["end"]), [rows[pe] - 1]),
                f"exactly the final word of a stream carries its end; PE {pe} has another",
            )
            require(
                family.completed(words) == counts[pe],
                f"the stream of PE {pe} completes other numbers of outputs than the counts say",
            )


class _UsesVariants(SymbolUserOpInterface):
    def verify(self, op: Operation) -> None:
        assert isinstance(op, DispatchOp)
        op.verify_variants()
        op.verify_against(op.target().config.data)


@irdl_op_definition
class DispatchOp(IRDLOperation):
    """Variants of one program, among which the array's SPAQ unit picks one for each tile.

    `variants` are programs for one array, of the same shape and the same activation table,
    by their number in the decision. They share the array's memories: one after another, each
    begins at the same address in every PE's stream memory, and at a slot of its own in the
    parameter memory.

    ```mlir
    rpea.dispatch @both of [@fine, @coarse] by <lanes = 2, shift = 1, table = [0, 1]>
    ```
    """

    name = "rpea.dispatch"

    sym_name = prop_def(SymbolNameConstraint())
    programs = prop_def(ArrayAttr[FlatSymbolRefAttr])
    decision = prop_def(DecisionAttr)

    traits = traits_def(SymbolOpInterface(), _UsesVariants())
    assembly_format = "$sym_name `of` $programs `by` $decision attr-dict"

    def __init__(self, name: str, programs: Sequence[ProgramOp], decision: DecisionAttr):
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "programs": ArrayAttr(SymbolRefAttr(program.sym_name) for program in programs),
                "decision": decision,
            }
        )

    def variants(self) -> list[ProgramOp]:
        """The programs.

        Raises:
            VerifyException: a symbol names no rpea.program.
        """
        return [program_of(self, symbol) for symbol in self.programs]

    def target(self) -> ArrayOp:
        """The array that the variants are for."""
        return self.variants()[0].target()

    @property
    def features(self) -> IntegerAttr:
        """Input features K."""
        return self.variants()[0].features

    @property
    def channels(self) -> int:
        """Output channels N."""
        return self.variants()[0].channels

    def verify_variants(self) -> None:
        """Hold the variants against one another and against the decision.

        Raises:
            VerifyException: other arrays, shapes or tables, or a variant that is not there.
        """
        require(self.programs.data, "a dispatch needs variants")
        first, *others = self.variants()
        for other in others:
            for name in ("array", "features", "table"):
                require(
                    other.properties[name] == first.properties[name],
                    f"@{other.sym_name.data} and @{first.sym_name.data} differ in their {name}",
                )
            require(
                other.channels == first.channels,
                f"@{other.sym_name.data} and @{first.sym_name.data} differ in their outputs",
            )
        named, count = max(self.decision.data.table), len(self.programs)
        require(named < count, f"the decision names variant {named}, but there are {count}")

    def verify_against(self, config: ArrayConfig) -> None:
        """Hold the dispatch against the array.

        Raises:
            VerifyException: it does not fit.
        """
        decision = self.decision.data
        require(
            decision.lanes == config.lanes,
            f"a decision over tiles of {decision.lanes} tokens; the array has {config.lanes} lanes",
        )
        require(
            len(decision.table) <= config.buckets,
            f"a decision of {len(decision.table)} buckets; the array has {config.buckets}",
        )
        require(
            decision.shift < config.zeros_width,
            f"a decision's shift of {decision.shift}; the array counts zeros in "
            f"{config.zeros_width} bits",
        )
        _require_room(self.variants(), config, "variants")


def places(programs: Sequence[ProgramOp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each of several programs begins in the streams and in the slots, and both ends.

    They stand one after another in the memories: [V + 1] each.
    """
    streams = [int(to_array(program.rows).max()) for program in programs]
    slots = [int(to_array(program.counts).max()) for program in programs]
    return np.cumsum([0, *streams]), np.cumsum([0, *slots])


def _require_room(programs: Sequence[ProgramOp], config: ArrayConfig, what: str) -> None:
    streams, slots = places(programs)
    for kind, value, limit in (
        ("stream words of a PE", streams[-1], config.stream_depth),
        ("outputs of a PE", slots[-1], config.parameter_depth),
    ):
        require(value <= limit, f"{value} {kind} in all {what}; the array holds {limit}")


class _UsesKernels(SymbolUserOpInterface):
    def verify(self, op: Operation) -> None:
        assert isinstance(op, ChainOp)
        op.verify_kernels()
        op.verify_against(op.target().config.data)


@irdl_op_definition
class ChainOp(IRDLOperation):
    """Programs that an array plays one after another, each on the results of the one before.

    They share the array's memories as the variants of a dispatch do; each has an activation
    table of its own.

    ```mlir
    rpea.chain @block of [@up, @down]
    ```
    """

    name = "rpea.chain"

    sym_name = prop_def(SymbolNameConstraint())
    programs = prop_def(ArrayAttr[FlatSymbolRefAttr])

    traits = traits_def(SymbolOpInterface(), _UsesKernels())
    assembly_format = "$sym_name `of` $programs attr-dict"

    def __init__(self, name: str, programs: Sequence[ProgramOp]):
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "programs": ArrayAttr(SymbolRefAttr(program.sym_name) for program in programs),
            }
        )

    def kernels(self) -> list[ProgramOp]:
        """The programs, in order.

        Raises:
            VerifyException: a symbol names no rpea.program.
        """
        return [program_of(self, symbol) for symbol in self.programs]

    def target(self) -> ArrayOp:
        """The array that the programs are for."""
        return self.kernels()[0].target()

    @property
    def features(self) -> IntegerAttr:
        """Input features K of the first program."""
        return self.kernels()[0].features

    @property
    def channels(self) -> int:
        """Output channels N of the last program."""
        return self.kernels()[-1].channels

    def verify_kernels(self) -> None:
        """Hold the programs against one another.

        Raises:
            VerifyException: other arrays, or shapes that do not follow.
        """
        require(self.programs.data, "a chain needs programs")
        programs = self.kernels()
        for one, other in pairwise(programs):
            names = f"@{one.sym_name.data} and @{other.sym_name.data}"
            require(one.array == other.array, f"{names} are for different arrays")
            require(
                other.features.value.data == one.channels,
                f"{names} do not follow: {one.channels} outputs, "
                f"{other.features.value.data} features",
            )

    def verify_against(self, config: ArrayConfig) -> None:
        """Hold the chain against the array.

        Raises:
            VerifyException: it does not fit.
        """
        count = len(self.programs)
        require(count <= config.kernels, f"{count} kernels; the array chains {config.kernels}")
        _require_room(self.kernels(), config, "kernels")


Playable = ProgramOp | DispatchOp | ChainOp
"""What an array can be loaded with."""


def program_of(user: Operation, symbol: SymbolRefAttr) -> ProgramOp:
    """The program of this name.

    Raises:
        VerifyException: there is none.
    """
    program = SymbolTable.lookup_symbol(user, symbol)
    if not isinstance(program, ProgramOp):
        raise VerifyException(f"{symbol} is not an rpea.program")
    return program
