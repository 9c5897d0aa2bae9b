# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The words of a program image in the loader: where it stands, and what commands say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fields import IMAGE_WORD_BITS, Fields
from daqkf.hw_targets.image_format import (
    COMMAND_OP_SHIFT,
    KERNEL_ADDS,
    KERNEL_ATTENDS,
    KERNEL_KEEPS,
    KERNEL_TOP_K,
    KERNEL_WIDE,
    MAX_TILES,
    Command,
    Header,
)
from daqkf.hw_targets.results import result_rows
from daqkf.hw_targets.words import (
    chain_row,
    dispatch_row,
    memory_row,
    parameter_row,
    parameters_together,
    stream_words,
    table_row,
    table_rows,
)
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, mux, named
from daqkf.lowering.hdl.fsm import Decoded, Enumeration, StateMachine
from daqkf.lowering.hdl.select import index_bits


class State(IntEnum):
    """What the next word of an image is."""

    HEADER = 0
    COMMAND = 1
    COUNT = 2
    ROWS = 3
    OUTPUTS = 4
    FAILED = 5


@dataclass(frozen=True)
class Word:
    """The word that arrives, and a cycle later acts. It is the first one of a beat."""

    circuit: Circuit
    arriving_beat: Signal
    arriving_valid: Signal
    beat: Signal
    valid: Signal
    """The beat acts."""
    empty: Signal
    """Its first word is 0."""

    @classmethod
    def receive(cls, c: Circuit, arriving: Signal, valid: Signal) -> "Word":
        """The registers for a beat of the stream."""
        c.section("The word that acts, a cycle after it arrived.")
        current, acting = c.delay(arriving, "current"), c.delay(valid, "acting", reset=0)
        empty = c.delay(~arriving[:IMAGE_WORD_BITS].any(), "empty")
        return cls(c, arriving, valid, current, acting, empty)

    @property
    def arriving(self) -> Signal:
        """The first word of the beat that arrives."""
        return self.arriving_beat[:IMAGE_WORD_BITS]

    @property
    def current(self) -> Signal:
        """The first word of the beat that acts."""
        return self.beat[:IMAGE_WORD_BITS]

    @property
    def beat_words(self) -> int:
        """Words of a beat."""
        return self.beat.width // IMAGE_WORD_BITS

    def header(self, field: Header, beat: Signal) -> Signal:
        """A field of the header, if it is in this beat."""
        low = field % self.beat_words * IMAGE_WORD_BITS
        return beat[low : low + IMAGE_WORD_BITS]

    def known(self, condition: Signal, name: str) -> Signal:
        """A condition of `arriving` when that acts: what a word alone says is found early."""
        return self.circuit.delay(condition, name)


@dataclass(frozen=True)
class Cursor:
    """Where the loader stands in an image."""

    state: StateMachine[State]
    index: Register
    """Of a beat of the header."""
    final_header: Signal
    first_header: Signal
    in_header: Signal
    """A word of the header acts."""
    counted: Signal
    """A command's count, or K, acts."""

    @classmethod
    def declare(cls, c: Circuit, word: Word) -> "Cursor":
        """The registers, to be driven by `drive`."""
        c.section("Where the loader stands in the image.")
        state = StateMachine(c, "state", State, reset=State.HEADER)
        beats = -(-len(Header) // word.beat_words)
        index = c.register("index", index_bits(beats), reset=0)
        return cls(
            state=state,
            index=index,
            final_header=named(index.eq(beats - 1), "final_header"),
            first_header=named(index.eq(0), "first_header"),
            in_header=named(word.valid & state.at(State.HEADER), "in_header"),
            counted=named(word.valid & state.at(State.COUNT), "counted"),
        )

    def at(self, state: State) -> Signal:
        """Whether it is the turn of such a word."""
        return self.state.at(state)

    def gives(self, word: Word, field: Header) -> Signal:
        """Whether the next beat of the header is the one with this field."""
        return self.index.eq(field // word.beat_words)

    def drive(self, word: Word, transitions: Sequence[tuple[Signal, State]], last: Signal) -> None:
        """Say where a word leads, and that the `last` one of an image leads to the next header."""
        self.state.drive(transitions, enable=word.valid)
        index = self.index
        index.drive(
            mux(self.final_header | last, word.circuit.const(0, index.width), index + 1),
            enable=self.in_header | last,
        )


@dataclass(frozen=True)
class Limits:
    """What commands may say to an array of this config."""

    memories: Mapping[Command, tuple[Fields, int]]
    """The rows of the memory that a command fills, and how many it has in a bank."""
    units: Mapping[Command, int]
    """How many units there are, for commands that name one."""
    counts: Mapping[Command, int]
    """The largest second word of each command that there is."""

    @classmethod
    def of(cls, config: ArrayConfig) -> "Limits":
        """Those of an array."""
        widest = max(stream_words(config).values(), key=lambda word: word.width)
        parameters = config.parameter_depth * config.parameter_stride
        memories = {
            Command.PARAMETERS: (
                parameter_row(config),
                parameters // parameters_together(config),
            ),
            Command.TABLE: (table_row(config), table_rows(config)),
        }
        units: dict[Command, int] = {}
        if config.memory_bits:
            memories[Command.MEMORY] = memory_row(config), 1
            units[Command.MEMORY] = config.memory_ports
        else:
            memories = {Command.STREAM: (widest, config.stream_depth), **memories}
            units[Command.STREAM] = config.pes
        if config.dispatches:
            memories[Command.DISPATCH] = dispatch_row(config), config.buckets
            units[Command.DISPATCH] = config.zeros_width
        if config.chains:
            memories[Command.CHAIN] = chain_row(config), config.kernels
        counts = {code: depth for code, (_, depth) in memories.items()}
        counts[Command.KERNEL] = config.most_features
        counts[Command.END] = MAX_TILES if config.double_buffered else 0
        return cls(memories, units, counts)


@dataclass(frozen=True)
class Instruction:
    """The command that is followed, and whether what it says can be."""

    op: Decoded[Command]
    unit: Register
    flags: Mapping[str, int]
    """Bits beside N that the array knows, by name."""
    known: Signal
    """There are such a command and such a unit."""
    fits: Signal
    """Its count does."""
    outputs_fit: Signal
    """N does."""

    @classmethod
    def decode(cls, c: Circuit, config: ArrayConfig, word: Word, cursor: Cursor) -> "Instruction":
        """The registers of a command, and the checks of the words that it consists of."""
        c.section("The command: its operation and its unit, and whether they and its count fit.")
        limits = Limits.of(config)
        op = c.register("op", IMAGE_WORD_BITS - COMMAND_OP_SHIFT)
        unit_bits = index_bits(config.pes)
        if config.dispatches:
            unit_bits = max(unit_bits, index_bits(config.zeros_width))
        unit = c.register("unit", unit_bits)
        begin = word.valid & cursor.at(State.COMMAND)
        op.drive(word.current[COMMAND_OP_SHIFT:], enable=begin)
        unit.drive(word.current[:unit_bits], enable=begin)
        codes = Enumeration(c, Command, width=op.width, prefix="OP_")
        decoded = Decoded(c, op, "op", codes)
        flags = {
            **({"attends": KERNEL_ATTENDS} if config.operand_depth else {}),
            **({"adds": KERNEL_ADDS, "keeps": KERNEL_KEEPS} if config.accumulates else {}),
            **({"wide": KERNEL_WIDE} if config.wide_results else {}),
            **({"top_k": KERNEL_TOP_K} if config.top_k else {}),
        }
        return cls(
            op=decoded,
            unit=unit,
            flags=flags,
            known=word.known(_is_known(word, limits, codes), "command"),
            fits=_fits(word, limits, decoded),
            outputs_fit=word.known(_outputs_fit(config, word, flags), "outputs_fit"),
        )

    def wrong(self, cursor: Cursor) -> Signal:
        """Whether the word that acts says something that the array cannot do."""
        return named(
            (cursor.at(State.COMMAND) & ~self.known)
            | (cursor.at(State.COUNT) & ~self.fits)
            | (cursor.at(State.OUTPUTS) & ~self.outputs_fit),
            "wrong_command",
        )


def _is_known(word: Word, limits: Limits, codes: Enumeration[Command]) -> Signal:
    """Whether the arriving word is a command of this array, for a unit that there is."""
    op, unit = word.arriving[COMMAND_OP_SHIFT:], word.arriving[:COMMAND_OP_SHIFT]
    most_units = word.circuit.const(1, unit.width)
    for code, most in limits.units.items():
        most_units = mux(op.eq(codes[code]), word.circuit.const(most, unit.width), most_units)
    known = op.ule(max(limits.counts)) & unit.ult(most_units)
    for code in set(range(max(limits.counts))) - set(limits.counts):
        known = known & op.ne(code)
    return known


def _fits(word: Word, limits: Limits, op: Decoded[Command]) -> Signal:
    """Whether the count that acts is one for its command."""
    fits = ~(op.at(Command.KERNEL) & word.empty)
    for code, most in limits.counts.items():
        small = word.known(word.arriving.ule(most), f"{code.name.lower()}_fits")
        fits = fits & (~op.at(code) | small)
    return fits


def _outputs_fit(config: ArrayConfig, word: Word, flags: Mapping[str, int]) -> Signal:
    """Whether N, beside which there may be flags, is one for this array as it arrives."""
    number = word.arriving
    if flags:
        plain = ~sum(flags.values()) & (1 << IMAGE_WORD_BITS) - 1
        number = number & plain
    fit = number.ule(config.result_depth)
    if "wide" in flags:
        wide = word.arriving[flags["wide"].bit_length() - 1]
        fit = fit & (~wide | number.ule(config.result_depth // result_rows(1, True)))
        if "top_k" in flags:
            fit = fit & (wide | ~word.arriving[flags["top_k"].bit_length() - 1])
    return number.any() & fit
