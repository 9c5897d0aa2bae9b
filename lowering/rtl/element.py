# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A processing element, which plays its stream into T lanes.

    fetch → word (→ addresses) (→ gates) → operands → the family's datapath → held sum

One word enters in each cycle. What a memory has read is registered before it is used: block RAM
is slow to give it out, and several blocks may be put together there. A finished sum moves to the
holding register, where the post unit takes it lane by lane while the next output is summed; only
if that register is still taken does the whole element wait. A family that completes two outputs
at once has two holding registers, which the unit takes in two turns.
"""

from collections.abc import Sequence

from daqkf.dialects.rpea import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.words import stream_words
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose, index_bits, unpack
from daqkf.lowering.rtl.families import datapath_of
from daqkf.lowering.rtl.families.stage import Datapath, Operands
from daqkf.lowering.rtl.indices import locate
from daqkf.lowering.rtl.operands import gate

READING = 2
"""Cycles from an address to the row: the memory, and the register behind it."""


def build_element(config: ArrayConfig, family: str) -> Circuit:
    """The element: its stream memory, its activation memory, its control and its lanes.

    `stream_data` is a row for any family of the array; the element takes the bits of its word.
    """
    c = Circuit(f"daqkf_{family}_element")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    layout = stream_words(config)[family]
    start = c.input("start", 1)
    pc_bits = index_bits(config.banks * config.stream_depth)
    stream_start = c.input("stream_start", pc_bits) if config.relocates else c.const(0, pc_bits)
    stream_write = (
        c.input("stream_address", pc_bits),
        c.input("stream_data", layout.width),
        c.input("stream_write", 1),
    )
    activation_write = (
        c.input("activation_address", config.address_width),
        c.input("activation_data", config.row_bits),
        c.input("activation_write", 1),
    )
    address, row, writing = activation_write
    activation_write = address, datapath_of(family).stored(row), writing
    # Stalling stops every stage at once, memories included.
    enable = c.wire("enable", 1)

    # Fetch: from the program's first word on, until the one that carries the end.
    word_valid = c.register("word_valid", 1, reset=0)
    fetched = c.register("fetched", 1, reset=0)
    fetching = c.register("fetching", 1, reset=0)
    pc = c.register("pc", pc_bits, reset=0)
    stream = c.memory("stream", config.banks * config.stream_depth, layout.width)
    stream.write(*stream_write)
    word = unpack(layout, c.delay(stream.read(pc, enable, "stream_row"), "word", enable=enable))
    ending = word_valid & word["end"]
    fetching.drive(start | (fetching & ~(enable & ending)))
    pc.drive(mux(start, stream_start, pc + (enable & fetching).zext(pc.width)))
    fetched.drive(fetching & ~ending, enable=enable)
    word_valid.drive(fetched & ~ending, enable=enable)

    # Operands: the rows of T activations that the word names.
    if config.index_bits:
        word, word_valid = locate(c, config, family, word, word_valid, start, enable)
    if config.operand_depth:
        word, word_valid = gate(c, config, word, word_valid, start, enable)
    addresses = FAMILIES[family].word.addresses(config)
    rows = _read_rows(c, config, activation_write, [word[name] for name in addresses], enable)
    operand_valid = delayed(c, word_valid, "operand_valid", READING, enable=enable, reset=0)
    fields = {
        name: delayed(c, word[name], f"operand_{name}", READING, enable=enable)
        for name in word
        if name not in (*addresses, "end")
    }

    # Holding: a finished sum waits for the post unit.
    hold_enable = c.wire("hold_enable", 1)
    datapath = datapath_of(family).build(
        c, config, Operands(start, enable, operand_valid, fields, rows, hold_enable)
    )
    full = hold(c, config, datapath, enable)
    enable.drive(~(datapath.finished & full))
    hold_enable.drive(datapath.finished & enable)
    c.finish()
    return c


def hold(c: Circuit, config: ArrayConfig, datapath: Datapath, enable: Signal) -> Signal:
    """The end of an element: whether its holding registers are full, and their way out."""
    groups = config.lanes // config.post_lanes
    group = c.input("group", index_bits(groups)) if groups > 1 else None
    take, hold_enable = c.input("take", 1), datapath.finished & enable
    full = c.register("full", 1, reset=0)
    held = _grouped(config, datapath.held, group)
    more = c.const(0, 1)
    if datapath.both is not None:
        # The post unit takes the second output in another turn.
        more = c.register("more", 1, reset=0)
        more.drive((hold_enable & datapath.both) | (more & ~take))
        second = c.register("second", 1, reset=0)
        second.drive(~hold_enable, enable=hold_enable | take)
        held = mux(second, _grouped(config, datapath.second_held, group), held)
    full.drive(hold_enable | (full & ~take) | more)
    c.output("full", full)
    c.output("sums", held)
    return full


def _grouped(config: ArrayConfig, held: Sequence[Signal], group: Signal | None) -> Signal:
    """The sums of the lanes that the post unit takes at once."""
    sums = [
        concat(*reversed(held[low : low + config.post_lanes]))
        for low in range(0, config.lanes, config.post_lanes)
    ]
    return sums[0] if group is None else choose(group, sums)


def _read_rows(
    c: Circuit,
    config: ArrayConfig,
    write: tuple[Signal, Signal, Signal],
    addresses: Sequence[Signal],
    enable: Signal,
) -> list[Signal]:
    """The rows at these addresses two cycles later, from as many memories as it takes.

    A block RAM has two ports. Loading uses the first one of each memory, as the element does
    not read meanwhile.
    """
    write_address, data, writing = write
    rows: list[Signal] = []
    for first in range(0, len(addresses), 2):
        memory = c.memory(f"activations{first // 2}", config.activation_depth, config.row_bits)
        own = mux(writing, write_address, addresses[first])
        memory.write(own, data, writing)
        for number, address in enumerate((own, *addresses[first + 1 : first + 2]), first):
            row = memory.read(address, enable & ~writing, f"activations_row{number}")
            rows.append(c.delay(row, f"row{number}", enable=enable))
    return rows
