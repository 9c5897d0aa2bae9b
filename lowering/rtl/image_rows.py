# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The rows of a program image: beats become rows, and rows go to the memories."""

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fields import Fields
from daqkf.hw_targets.image_format import Command, beat_words
from daqkf.hw_targets.words import parameters_together
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, concat, mux, named
from daqkf.lowering.hdl.select import index_bits
from daqkf.lowering.rtl.image_words import Cursor, Instruction, Limits, State, Word


def place_rows(
    c: Circuit, config: ArrayConfig, word: Word, cursor: Cursor, instruction: Instruction
) -> Signal:
    """Gather beats until a row is whole, and write it to the memory of its command.

    The signal is high when the last row of a command is whole.
    """
    c.section("Rows: words gather until a row is whole.")
    limits, bits = Limits.of(config), config.program_bits
    most_beats = max(_beats(config, layout) for layout, _ in limits.memories.values())
    whole = word.beat
    if most_beats > 1:
        earlier = c.register("earlier", bits * (most_beats - 1))
        whole = concat(whole, earlier)
        earlier.drive(whole[bits:], enable=word.valid)
    most_rows = max(depth for _, depth in limits.memories.values())
    left = c.register("left", index_bits(max(limits.counts.values()) + 1))
    address = c.register("address", index_bits(most_rows))
    part = c.register("part", index_bits(most_beats))
    row_done = c.const(0, 1)
    ends = {
        beats: named(part.eq(beats - 1), f"part_is_{beats - 1}")
        for beats in range(1, most_beats + 1)
    }
    for code, (layout, _) in limits.memories.items():
        row_done = row_done | (instruction.op.at(code) & ends[_beats(config, layout)])
    row_done = named(row_done, "row_done")
    counted = cursor.counted
    in_rows = named(word.valid & cursor.at(State.ROWS), "in_rows")
    writing = named(in_rows & row_done, "row_write")
    begins = counted | writing
    left.drive(mux(counted, word.current[: left.width], left - 1), enable=begins)
    address.drive(mux(counted, c.const(0, address.width), address + 1), enable=begins)
    part.drive(mux(counted | row_done, c.const(0, part.width), part + 1), enable=counted | in_rows)
    _write_ports(c, config, limits, instruction, (address, whole, writing))
    return cursor.at(State.ROWS) & row_done & left.eq(1)


def _write_ports(
    c: Circuit,
    config: ArrayConfig,
    limits: Limits,
    instruction: Instruction,
    write: tuple[Register, Signal, Signal],
) -> None:
    """A register on the way to memories, which may be far: the ports of each."""
    c.section("The write ports of the memories.")
    address, whole, writing = write
    row_address = c.delay(address, "row_address")
    bank = [c.input("bank", 1)] if config.double_buffered else []
    for code, (layout, depth) in limits.memories.items():
        name = code.name.lower()
        if code is not Command.MEMORY:
            c.output(f"{name}_address", concat(*bank, row_address[: index_bits(depth)]))
        together = parameters_together(config) if code is Command.PARAMETERS else 1
        row = _row(config, whole, layout, together)
        c.output(f"{name}_data", c.delay(row, f"{name}_row"))
        own = writing & instruction.op.at(code)
        if code in (Command.STREAM, Command.MEMORY):
            own = named(own, f"{name}_write")
            for unit in range(limits.units[code]):
                enable = own & instruction.unit.eq(unit)
                c.output(f"{name}_write{unit}", c.delay(enable, f"{name}_write{unit}", reset=0))
        else:
            c.output(f"{name}_write", c.delay(own, f"{name}_write", reset=0))


def _beats(config: ArrayConfig, layout: Fields) -> int:
    """Beats of a row of this layout."""
    return -(-layout.words // beat_words(config))


def _row(config: ArrayConfig, whole: Signal, layout: Fields, together: int) -> Signal:
    """A row of this layout, whose last beat is the highest of `whole`, or those of one beat."""
    low = whole.width - config.program_bits * _beats(config, layout)
    if together == 1:
        return whole[low : low + layout.width]
    places = range(low, whole.width, config.program_bits // together)
    return concat(*(whole[place : place + layout.width] for place in reversed(places)))
