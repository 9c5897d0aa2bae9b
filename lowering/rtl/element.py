# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A processing element, which runs its stream on T lanes.

    fetch → word (→ addresses) (→ gates) → operands → the family's datapath → held sum

One word enters in each cycle. What a memory has read is registered before it is used: block RAM
is slow to give it out, and several blocks may be put together there. A finished sum moves to the
holding register, where the post unit takes it lane by lane while the next output is summed; only
if that register is still taken does the whole element wait. A family that completes two outputs
at once has two holding registers, which the unit takes in two turns.
"""

from collections.abc import Sequence

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.words import stream_words
from daqkf.lowering.hdl.bundle import inputs
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux, named
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
    c = Circuit(f"daqkf_{family}_element", f"an element of the family {family}.")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    start = c.input("start", 1)
    # Stalling stops every stage at once, memories included.
    enable = c.wire("enable", 1)
    if config.memory_bits:
        word, valid = _fetch_from_fifo(c, config, family, rst, start, enable)
    else:
        word, valid = _fetch(c, config, family, start, enable)
    if config.index_bits:
        c.section("Addresses: what the word's indices stand for.")
        word, valid = locate(c, config, family, word, valid, start, enable)
    if config.operand_depth:
        c.section("Operands: the bits that gate the word's items.")
        word, valid = gate(c, config, word, valid, start, enable)

    c.section("Activations: the rows of T activations that the word names.")
    addresses = FAMILIES[family].word.addresses(config)
    rows = _read_rows(c, config, family, [word[name] for name in addresses], enable)
    valid = delayed(c, valid, "operand_valid", READING, enable=enable, reset=0)
    fields = {
        name: delayed(c, word[name], f"operand_{name}", READING, enable=enable)
        for name in word
        if name not in (*addresses, "end")
    }

    c.section("The datapath: the sums of all lanes.")
    hold_enable = c.wire("hold_enable", 1)
    datapath = datapath_of(family).build(
        c, config, Operands(start, enable, valid, fields, rows, hold_enable)
    )
    full = hold(c, config, datapath, enable)
    enable.drive(~named(datapath.finished & full, "stalled"))
    hold_enable.drive(datapath.finished & enable)
    c.finish()
    return c


def _fetch(
    c: Circuit, config: ArrayConfig, family: str, start: Signal, enable: Signal
) -> tuple[dict[str, Signal], Signal]:
    """A word in each cycle, from the program's first one to the one that carries the end."""
    c.section("Fetch: a word of the stream in each cycle, until the one that carries the end.")
    layout = stream_words(config)[family]
    depth = config.banks * config.stream_depth
    pc_bits = index_bits(depth)
    stream_start = c.input("stream_start", pc_bits) if config.relocates else c.const(0, pc_bits)
    write = inputs(c, "stream", {"address": pc_bits, "data": layout.width, "write": 1})
    word_valid = c.register("word_valid", 1, reset=0)
    fetched = c.register("fetched", 1, reset=0)
    fetching = c.register("fetching", 1, reset=0)
    pc = c.register("pc", pc_bits, reset=0)
    stream = c.memory("stream", depth, layout.width)
    stream.write(*write.values())
    word = unpack(layout, c.delay(stream.read(pc, enable, "stream_row"), "word", enable=enable))
    ending = named(word_valid & word["end"], "ending")
    fetching.drive(start | (fetching & ~(enable & ending)))
    pc.drive(mux(start, stream_start, pc + (enable & fetching).zext(pc.width)))
    fetched.drive(fetching & ~ending, enable=enable)
    word_valid.drive(fetched & ~ending, enable=enable)
    return word, word_valid


def _fetch_from_fifo(
    c: Circuit, config: ArrayConfig, family: str, rst: Signal, start: Signal, enable: Signal
) -> tuple[dict[str, Signal], Signal]:
    """A word in each cycle in which the FIFO has one, until the one that carries the end.

    Words of the next kernel may be behind that one. When it is seen, two of them may have been
    read; they stay, as `taken` and not `pc` says what has left the FIFO.
    """
    c.section("Fetch: a word of the FIFO in each cycle, until the one that carries the end.")
    # The FIFO may be emptied in the cycle after `start`.
    start = c.delay(start, "begins", reset=0)
    layout, depth = stream_words(config)[family], config.stream_depth
    bits = index_bits(depth)
    write = inputs(c, "stream", {"data": layout.width, "write": 1, "flush": 1})
    flush = named(rst | write["flush"], "empties")
    word_valid = c.register("word_valid", 1, reset=0)
    fetched = c.register("fetched", 1, reset=0)
    fetching = c.register("fetching", 1, reset=0)
    # A bit more than an address tells a full FIFO from an empty one.
    pc, written, taken = (
        c.register(name, bits + 1, reset=0, clear=flush) for name in ("pc", "written", "taken")
    )
    stream = c.memory("stream", depth, layout.width)
    stream.write(written[:bits], write["data"], write["write"])
    row = stream.read(pc[:bits], enable, "stream_row")
    word = unpack(layout, c.delay(row, "word", enable=enable))
    ending = named(word_valid & word["end"], "ending")
    reads = named(fetching & pc.ne(written) & ~ending, "reads")
    following = taken + 1
    fetching.drive(start | (fetching & ~(enable & ending)))
    pc.drive(mux(ending, following, pc + reads.zext(pc.width)), enable=enable)
    taken.drive(following, enable=enable & word_valid)
    written.drive(written + 1, enable=write["write"])
    fetched.drive(reads, enable=enable)
    word_valid.drive(fetched & ~ending, enable=enable)
    # The reader may write two more words before it sees this.
    level = named(written - taken, "level")
    c.output("stream_full", c.delay(~level.ult(depth - 2), "stream_full", reset=0))
    return word, word_valid


def hold(c: Circuit, config: ArrayConfig, datapath: Datapath, enable: Signal) -> Signal:
    """The end of an element: whether its holding registers are full, and their way out."""
    c.section("Holding: a finished sum waits for the post unit.")
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
    family: str,
    addresses: Sequence[Signal],
    enable: Signal,
) -> list[Signal]:
    """The rows at these addresses two cycles later, from as many memories as it takes.

    A block RAM has two ports. Loading uses the first one of each memory, as the element does
    not read meanwhile.
    """
    widths = {"address": config.address_width, "data": config.row_bits, "write": 1}
    write_address, data, writing = inputs(c, "activation", widths).values()
    data = named(datapath_of(family).stored(data), "stored_row")
    reading = named(enable & ~writing, "reading")
    rows: list[Signal] = []
    for first in range(0, len(addresses), 2):
        memory = c.memory(
            f"activations{first // 2}",
            config.activation_depth,
            config.row_bits,
            style=config.activation_memory,
        )
        own = named(mux(writing, write_address, addresses[first]), f"{memory.name}_address")
        memory.write(own, data, writing)
        for number, address in enumerate((own, *addresses[first + 1 : first + 2]), first):
            row = memory.read(address, reading, f"activations_row{number}")
            rows.append(c.delay(row, f"row{number}", enable=enable))
    return rows
