# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `rpea`: an array, programs for it, and variants of them."""

from collections.abc import Iterator, Sequence
from typing import Protocol, cast

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
from daqkf.dialects.rpea.checks import (
    require,
    require_bias,
    require_length,
    require_range,
    require_tensor,
)
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.families.descriptor import Words
from daqkf.hw_targets.numerics import (
    IDENTITY,
    MULTIPLIER_MAX,
    SHIFT_MAX,
    SHIFT_MIN,
    TABLE_SIZE,
    TOP_K_COLUMNS,
)
from daqkf.hw_targets.results import result_rows
from daqkf.hw_targets.streams import kernel_beats, memory_rows
from daqkf.hw_targets.words import BEAT_BITS, stream_row_words, stream_word


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


def require_post(op: Operation, channels: int, bias: str = "bias") -> None:
    """Check what the post unit gets: bias, multiplier, shift [N] and the table.

    `bias` is the name of the property.

    Raises:
        VerifyException: another type or length, or a value that is out of range.
    """
    for name in (bias, "multiplier", "shift"):
        require_tensor(name, op.properties[name], i32, channels)
    require_tensor("table", op.properties["table"], i8, TABLE_SIZE)
    multiplier, shift = (
        cast(DenseIntOrFPElementsAttr, op.properties[name]) for name in ("multiplier", "shift")
    )
    require_range("multipliers", multiplier, 1, MULTIPLIER_MAX)
    require_range("shifts", shift, SHIFT_MIN, SHIFT_MAX)


class _UsesArray(SymbolUserOpInterface):
    def verify(self, op: Operation) -> None:
        assert isinstance(op, ProgramOp)
        op.verify_parts()
        op.verify_against(op.target().config.data)


@irdl_op_definition
class ProgramOp(IRDLOperation):
    """A kernel as an array runs it: a stream for each PE, and what the post unit needs.

    All properties are byte-backed constants. The streams of the PEs follow one another in
    `stream`, packed by `hw_targets.words.stream_words`; `outputs` names the channel of each output
    in the order in which PE 0, PE 1, … complete them. `bias`, `multiplier` and `shift` go by
    channel; the bias includes the correction of the ones' complement items. The words of the
    streams are checked by the pass `rpea-validate`, not by the verifier.

    A part of an `rpea.tiled` may go on from partial sums, `adds`, and leave its sums as such,
    `keeps`, in place of results. A kernel of an `rpea.chain` may add to its sums the activations
    that the chain keeps, each times the `residual` of the output of its number. It may also have
    words that are gated, by the `operands` of each PE from that word of its operand memory on.
    Behind a gating whose results share exponents, its sums lack the `correction`, and then are
    shifted by the exponents of their tokens; the bias and the residual come on top.

    The results of a `wide` program are i16. It has no activation table but the one that changes
    nothing, and runs alone, as a part of an `rpea.tiled` or at the end of an `rpea.chain`. With
    `top_k` it gives only the largest of them, as many as its array has a `top_k`, and their numbers
    (`numerics.top_k`); then it is no part of a chain.
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
    residual = opt_prop_def(DenseIntOrFPElementsAttr)
    correction = opt_prop_def(DenseIntOrFPElementsAttr)
    operands_from = opt_prop_def(IntegerAttr.constr(i64), prop_name="operands")
    adds = opt_prop_def(UnitAttr)
    keeps = opt_prop_def(UnitAttr)
    wide = opt_prop_def(UnitAttr)
    top_k = opt_prop_def(UnitAttr)

    traits = traits_def(SymbolOpInterface(), _UsesArray())
    assembly_format = (
        "$sym_name `on` $array `features` $features `stream` $stream `rows` $rows "
        "`outputs` $outputs `counts` $counts `bias` $bias `multiplier` $multiplier "
        "`shift` $shift `table` $table (`residual` $residual^)? (`correction` $correction^)? "
        "(`operands` $operands^)? (`adds` $adds^)? (`keeps` $keeps^)? (`wide` $wide^)? "
        "(`top_k` $top_k^)? attr-dict"
    )

    def __init__(
        self,
        name: str,
        array: str,
        features: int,
        *,
        adds: bool = False,
        keeps: bool = False,
        wide: bool = False,
        top_k: bool = False,
        operands_from: int | None = None,
        **data: DenseIntOrFPElementsAttr | None,
    ):
        place = None if operands_from is None else IntegerAttr(operands_from, i64)
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "array": SymbolRefAttr(array),
                "features": IntegerAttr(features, i64),
                "adds": UnitAttr() if adds else None,
                "keeps": UnitAttr() if keeps else None,
                "wide": UnitAttr() if wide else None,
                "top_k": UnitAttr() if top_k else None,
                "operands": place,
                **data,
            }
        )

    def target(self) -> ArrayOp:
        """The array this program is for."""
        return array_of(self, self.array)

    @property
    def channels(self) -> int:
        """Output channels N."""
        return self.outputs.get_shape()[0]

    @property
    def result_columns(self) -> int:
        """Columns of its results: its channels, or those of the largest of them."""
        if self.top_k is None:
            return self.channels
        return TOP_K_COLUMNS * self.target().config.data.top_k

    @property
    def result_rows(self) -> int:
        """Rows of its results, two of a wide one."""
        return result_rows(self.result_columns, self.wide is not None)

    @property
    def longest(self) -> int:
        """Words of the longest stream."""
        return int(to_array(self.rows).max())

    def memory_rows(self, config: ArrayConfig) -> int:
        """Rows of external memory that the streams take on each port of their array.

        Raises:
            VerifyException: the array's `stream_code` has no such words.
        """
        try:
            return memory_rows(self.packed_stream(), to_array(self.rows), config)
        except ValueError as error:
            raise VerifyException(f"{config.stream_code} streams: {error}") from None

    @property
    def slots(self) -> int:
        """Outputs of the element that has most."""
        return int(to_array(self.counts).max())

    def packed_stream(self) -> NDArray[np.uint32]:
        """[rows, words] packed stream words of all PEs."""
        return to_array(self.stream).view("<u4")

    def streams(self) -> Iterator[Words]:
        """The words of each PE's stream, as fields [rows], with those that the array supplies."""
        config, features = self.target().config.data, self.features.value.data
        ends, counts = np.cumsum(to_array(self.rows)), to_array(self.counts)
        for pe, rows in enumerate(np.split(self.packed_stream(), ends[:-1])):
            family = FAMILIES[config.family(pe)].word
            supplied = family.supplied(len(rows), features, int(counts[pe]))
            yield {**family.played(stream_word(config, pe).unpack(rows), config), **supplied}

    def verify_parts(self) -> None:
        """Find the array, and hold the properties against one another.

        Raises:
            VerifyException: no array; shapes, ranges or counts that do not agree.
        """
        require_array(self, self.array)
        channels = require_length("outputs", self.outputs)
        elements = require_length("rows", self.rows)
        for name, kind, length in (
            ("rows", i32, elements),
            ("outputs", i32, channels),
            ("counts", i32, elements),
        ):
            require_tensor(name, self.properties[name], kind, length)
        require_post(self, channels)
        if self.residual is not None:
            require_tensor("residual", self.residual, i32, channels)
            require_range("multipliers of a residual", self.residual, 0, MULTIPLIER_MAX)
        if self.correction is not None:
            require_tensor("correction", self.correction, i32, channels)
        if self.wide is not None:
            require(not self.keeps, "a program that keeps its sums has no wide results")
            plain = np.array_equal(to_array(self.table), IDENTITY)
            require(plain, "wide results are looked up in no activation table")
        require(self.wide or not self.top_k, "only of wide results are the largest found")
        outputs, counts = to_array(self.outputs), to_array(self.counts)
        require(
            np.array_equal(np.sort(outputs), np.arange(channels)),
            "outputs must name each channel exactly once",
        )
        require(counts.min() >= 0 and counts.sum() == channels, "counts must add up to outputs")

    def verify_against(self, config: ArrayConfig) -> None:
        """Hold the program against the array it is for.

        Raises:
            VerifyException: it does not fit. What the streams say is for `verify_streams`.
        """
        require(self.rows.get_shape() == (config.pes,), f"{config.pes} PEs need as many streams")
        count = self.features.value.data
        require(
            0 < count <= config.most_features,
            f"{count} features; the activation memory holds 1..{config.most_features}",
        )
        rows = result_rows(self.channels, self.wide is not None)
        for what, value, limit in (
            ("stream words of a PE", self.longest, config.stream_limit),
            ("outputs of a PE", self.slots, config.parameter_depth),
            ("rows of results" if self.wide else "outputs", rows, config.result_depth),
            ("beats of a memory port", *beats_of([self], config)),
        ):
            require(value <= limit, f"{value} {what}; the array holds {limit}")
        self._verify_extras(config)
        require_bias("a bias", self.bias, config)
        self._verify_extents(config)

    def _verify_extras(self, config: ArrayConfig) -> None:
        """Hold what only some programs have against the array."""
        if self.adds or self.keeps:
            require(
                self.channels <= config.partial_depth,
                f"{self.channels} partial sums; the array holds {config.partial_depth}",
            )
        if self.residual is not None:
            require(
                self.channels <= config.residual_depth,
                f"a residual of {self.channels} outputs; the array keeps {config.residual_depth}",
            )
        if self.correction is not None:
            require(config.row_exponents, "sums of rows that share exponents; the array has none")
            require_bias("a correction", self.correction, config)
        require(
            self.wide is None or config.wide_results,
            "results of i16; the array gives i8 alone",
        )
        if self.top_k is not None:
            require(config.top_k, "the largest results; the array gives all of them alone")
            require(
                self.channels >= config.top_k,
                f"the {config.top_k} largest of {self.channels} results",
            )
        if self.operands_from is not None:
            place = self.operands_from.value.data
            require(
                0 <= place < config.operand_depth,
                f"operands from word {place}; the array holds {config.operand_depth}",
            )

    def _verify_extents(self, config: ArrayConfig) -> None:
        """Hold the extent of the streams, and the outputs of each, against the array."""
        rows, counts = to_array(self.rows), to_array(self.counts)
        shape = int(rows.sum()), stream_row_words(config)
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

    def verify_streams(self) -> None:
        """Hold every word of the streams against the array, which takes time for each weight.

        Raises:
            VerifyException: a word reads what is not there, or a stream does not end where it
                should, or completes another number of outputs than it should.
        """
        config, count = self.target().config.data, self.features.value.data
        rows, counts = to_array(self.rows), to_array(self.counts)
        for pe, words in enumerate(self.streams()):
            family = FAMILIES[config.family(pe)].word
            for name in family.addresses(config):
                outside = (words[name] >= count) & (words[name] != config.null_address)
                require(
                    not outside.any(),
                    f"word {int(outside.argmax())} of PE {pe} reads a feature beyond {count}",
                )
            require(
                self.operands_from is not None or not words.get("gated", words["end"][:0]).any(),
                f"the stream of PE {pe} is gated by operands, and the program has none",
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
        op.verify_parts()
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
        """The programs."""
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

    def verify_parts(self) -> None:
        """Find the variants.

        Raises:
            VerifyException: there are none, or a symbol names no program, or one of a chain.
        """
        require(self.programs.data, "a dispatch needs variants")
        for symbol in self.programs:
            require_program(self, symbol)

    def verify_variants(self) -> None:
        """Hold the variants against one another and against the decision.

        Raises:
            VerifyException: other arrays, shapes or tables, or a variant that is not there.
        """
        first, *others = variants = self.variants()
        for variant in variants:
            require(
                variant.wide is None, f"@{variant.sym_name.data} has wide results, in a dispatch"
            )
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
        require_room(self.variants(), config, "variants")


class Loaded(Protocol):
    """What takes room in the memories of an array."""

    @property
    def longest(self) -> int:
        """Words of the longest stream."""
        ...

    def memory_rows(self, config: ArrayConfig) -> int:
        """Rows of external memory that the streams take."""
        ...

    @property
    def slots(self) -> int:
        """Slots of the parameter memory."""
        ...


def places(
    programs: Sequence[Loaded], config: ArrayConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each of several programs begins in the streams and in the slots, and both ends.

    They stand one after another in the memories: [V + 1] each. Streams in external memory are
    counted in beats of a port, those in the array in words.
    """
    lengths = [program.longest for program in programs]
    if config.memory_bits:
        lengths = [kernel_beats(config, program.memory_rows(config)) for program in programs]
    streams = np.cumsum([0, *lengths])
    return streams, np.cumsum([0, *(program.slots for program in programs)])


def beats_of(programs: Sequence[Loaded], config: ArrayConfig) -> tuple[int, int]:
    """Beats of a memory port that several programs take, and the most that a program can say."""
    if not config.memory_bits:
        return 0, 0
    beats = sum(kernel_beats(config, program.memory_rows(config)) for program in programs)
    return beats, (1 << BEAT_BITS) - 1


def require_room(programs: Sequence[Loaded], config: ArrayConfig, what: str) -> None:
    """Check that several programs fit the array's memories together.

    Raises:
        VerifyException: they do not.
    """
    words = sum(program.longest for program in programs)
    slots = sum(program.slots for program in programs)
    for kind, value, limit in (
        ("stream words of a PE", words, config.stream_limit),
        ("outputs of a PE", slots, config.parameter_depth),
        ("beats of a memory port", *beats_of(programs, config)),
    ):
        require(value <= limit, f"{value} {kind} in all {what}; the array holds {limit}")


def symbols_around(user: Operation) -> dict[str, Operation]:
    """The operations by symbol of the module around an operation.

    Looking up a symbol takes xDSL time in proportion to the module; this does it for all at once.
    """
    block = user.parent_block()
    while block is not None and (op := block.parent_op()) and not op.has_trait(SymbolTable):
        block = op.parent_block()
    names = ((op.properties.get("sym_name"), op) for op in (block.ops if block else ()))
    return {name.data: op for name, op in names if isinstance(name, StringAttr)}


def array_of(user: Operation, symbol: SymbolRefAttr) -> ArrayOp:
    """The array of this name, of an operation that verifies."""
    array = SymbolTable.lookup_symbol(user, symbol)
    assert isinstance(array, ArrayOp)
    return array


def program_of(user: Operation, symbol: SymbolRefAttr) -> ProgramOp:
    """The program of this name, of an operation that verifies."""
    program = SymbolTable.lookup_symbol(user, symbol)
    assert isinstance(program, ProgramOp)
    return program


def require_array(user: Operation, symbol: SymbolRefAttr) -> None:
    """Check that there is an array of this name.

    Raises:
        VerifyException: there is none.
    """
    array = SymbolTable.lookup_symbol(user, symbol)
    require(isinstance(array, ArrayOp), f"{symbol} is not an rpea.array")


def require_program(user: Operation, symbol: SymbolRefAttr) -> None:
    """Check that there is a program of this name, which needs nothing that only a chain has.

    Raises:
        VerifyException: there is none, or it adds a residual or has operands, or its own parts do
            not agree.
    """
    require_unchained(SymbolTable.lookup_symbol(user, symbol), symbol)


def require_unchained(program: Operation | None, symbol: SymbolRefAttr) -> None:
    """Check that what has this name is a program as `require_program` says.

    Raises:
        VerifyException: as there.
    """
    if not isinstance(program, ProgramOp):
        raise VerifyException(f"{symbol} is not an rpea.program")
    require(program.residual is None, f"{symbol} adds a residual, which only a chain keeps")
    require(program.operands_from is None, f"{symbol} has operands, which only a chain fills")
    program.verify_parts()
