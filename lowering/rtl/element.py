# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A processing element, which runs its stream on T lanes.

    fetch → word (→ addresses) (→ gates) → operands → the family's datapath → held sum

One word enters in each cycle. What a memory has read is registered before it is used: block RAM
is slow to give it out, and several blocks may be put together there. A finished sum moves to the
holding register, where the post unit takes it lane by lane while the next output is summed; only
if that register is still taken does the whole element wait. A family that completes two outputs
at once has two holding registers, which the unit takes in two turns.

In an element of many lanes, addresses and control go to groups of lanes through a tree of
registers, of which each group has leaves of its own (hw_targets/fan_out.py). To stop all stages at
once is what a single net would have to do. So there only the fetch waits, while two outputs are
on their way to the post unit: one that is held, and one that is complete or will be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.fan_out import fan_out_stages, lane_groups, read_cycles, tree_stages
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.hw_targets.streams import is_coded, slot_bits
from daqkf.hw_targets.words import stream_words
from daqkf.lowering.hdl.bundle import inputs, part, ports
from daqkf.lowering.hdl.circuit import Circuit, Signal, Wire, concat, mux, named
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose, index_bits, unpack
from daqkf.lowering.rtl.families import datapath_of
from daqkf.lowering.rtl.families.stage import Datapath, Operands
from daqkf.lowering.rtl.fan_out import fan_out
from daqkf.lowering.rtl.indices import locate
from daqkf.lowering.rtl.operands import gate
from daqkf.lowering.rtl.stream_decoder import build_stream_decoder
from daqkf.lowering.rtl.stream_reader import nearly_full

_WRITING = 2
"""Cycles from the start of a kernel until its activations are written."""


def build_element(config: ArrayConfig, family: str) -> Circuit:
    """The element: its stream memory, its activation memory, its control and its lanes.

    `stream_data` is a row for any family of the array; the element takes the bits of its word.
    """
    c = Circuit(f"daqkf_{family}_element", f"an element of the family {family}.")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    start = c.input("start", 1)
    stages, groups = fan_out_stages(config, family), lane_groups(config, family)
    # Stalling stops every stage at once, memories included, or those before the tree.
    enable = c.wire("enable", 1)
    word, valid = _fetch(c, config, family, rst, start, enable)
    if config.index_bits:
        c.section("Addresses: what the word's indices stand for.")
        word, valid = locate(c, config, family, word, valid, start, enable)
    if config.operand_depth:
        c.section("Operands: the bits that gate the word's items.")
        word, valid = gate(c, config, word, valid, start, enable)

    turns: _Turns | None = None
    flow: Signal = enable
    if stages:
        turns = _Turns.declare(c, enable, valid & word["last"])
        valid, flow = valid & enable, c.const(1, 1)
    c.section("Activations: the rows of T activations that the word names.")
    addresses = FAMILIES[family].word.addresses(config)
    port = _WritePort.declare(c, config, family)
    reads = [{**port.signals, **{name: word[name] for name in addresses}}]
    if stages:
        reads = fan_out(c, reads[0], stages, len(groups))
    data = delayed(c, port.data, "stored", stages)
    parts = [
        _read_rows(c, config, family, group, data, own, flow)
        for group, own in zip(groups, reads, strict=True)
    ]
    rows = [concat(*reversed(part)) if stages else part[0] for part in zip(*parts, strict=True)]
    reading = read_cycles(config, family)
    valid = delayed(c, valid, "operand_valid", reading, enable=flow, reset=0)
    fields = {
        name: delayed(c, word[name], f"operand_{name}", reading, enable=flow)
        for name in word
        if name not in (*addresses, "end")
    }

    c.section("The datapath: the sums of all lanes.")
    hold_enable = c.wire("hold_enable", 1)
    operands = Operands(start, flow, valid, fields, rows, hold_enable, groups, stages)
    datapath = datapath_of(family).build(c, config, operands)
    holds = datapath.finished & enable
    if turns is not None:
        holds = turns.hold(c, datapath.finished)
    held = delayed(c, holds, "holds", stages, reset=0)
    full = hold(c, config, datapath, held, turns and turns.take, groups)
    hold_enable.drive(holds)
    if turns is None:
        enable.drive(~named(datapath.finished & full, "stalled"))
    c.finish()
    return c


@dataclass(frozen=True)
class _Turns:
    """Who waits for whom in an element with a tree.

    The word behind the end of an output is only fetched once the sum of the output before that one
    has been taken. So the accumulators are never added to while a finished sum waits in them.
    """

    take: Signal

    @classmethod
    def declare(cls, c: Circuit, enable: Wire, ends: Signal) -> "_Turns":
        """Drive `enable`; `ends` says that the word that is there ends an output."""
        c.section("The outputs that are on their way to the post unit: at most two.")
        take = c.input("take", 1)
        outstanding = c.register("outstanding", 2, reset=0)
        enable.drive(~named(outstanding[1], "waits_for_turn"))
        leaves = named(enable & ends, "output_ends")
        outstanding.drive(outstanding + leaves.zext(2) - take.zext(2))
        return cls(take)

    def hold(self, c: Circuit, finished: Signal) -> Signal:
        """When a finished sum moves to the holding registers: as soon as they are free."""
        c.section("A finished sum waits in the accumulators until the one that is held is taken.")
        waiting, occupied = c.register("waiting", 1, reset=0), c.register("occupied", 1, reset=0)
        complete = named(finished | waiting, "complete")
        holds = named(complete & ~occupied, "moves_to_hold")
        waiting.drive(complete & occupied)
        occupied.drive(holds | (occupied & ~self.take))
        return holds


def _fetch(
    c: Circuit, config: ArrayConfig, family: str, rst: Signal, start: Signal, enable: Signal
) -> tuple[dict[str, Signal], Signal]:
    """The words of the stream, from where the array has it."""
    if is_coded(config):
        return _fetch_from_decoder(c, config, rst, start, enable)
    if config.memory_bits:
        return _fetch_from_fifo(c, config, family, rst, start, enable)
    return _fetch_from_memory(c, config, family, start, enable)


def _fetch_from_memory(
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
    stream = c.memory("stream", depth, layout.width, style=config.stream_memory)
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
    stream = c.memory("stream", depth, layout.width, style=config.stream_memory)
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
    level = named(written - taken, "level")
    c.output("stream_full", nearly_full(c, level, depth))
    return word, word_valid


def _fetch_from_decoder(
    c: Circuit, config: ArrayConfig, rst: Signal, start: Signal, enable: Signal
) -> tuple[dict[str, Signal], Signal]:
    """A word in each cycle in which the decoder has one, until the one that carries the end."""
    c.section("Fetch: a word of the decoder in each cycle, until the one that carries the end.")
    write = inputs(c, "stream", {"data": slot_bits(config) + 1, "write": 1, "flush": 1})
    fetching, take = c.register("fetching", 1, reset=0), c.wire("take_word", 1)
    found = c.instance(
        "decoder",
        build_stream_decoder(config),
        clk=c.clk,
        rst=named(rst | write["flush"], "empties"),
        stream_data=write["data"],
        stream_write=write["write"],
        take=take,
    )
    valid = named(fetching & found["valid"], "word_valid")
    take.drive(valid & enable)
    # The last activations are still written when a kernel starts.
    begins = delayed(c, start, "begins", _WRITING, reset=0)
    fetching.drive(begins | (fetching & ~(take & found["word_end"])))
    c.output("stream_full", found["full"])
    c.output("stream_fault", found["fault"])
    return dict(part(found, "word")), valid


def hold(
    c: Circuit,
    config: ArrayConfig,
    datapath: Datapath,
    hold_enable: Signal,
    take: Signal | None = None,
    groups: Sequence[range] = (),
) -> Signal:
    """The end of an element: whether its holding registers are full, and their way out, which
    `groups` of lanes have each for themselves where elements have a tree."""
    c.section("Holding: a finished sum waits for the post unit.")
    turns = config.lanes // config.post_lanes
    group = c.input("group", index_bits(turns)) if turns > 1 else None
    take = c.input("take", 1) if take is None else take
    full = c.register("full", 1, reset=0)
    more, second = c.const(0, 1), None
    if datapath.both is not None:
        # The post unit takes the second output in another turn.
        more = c.register("more", 1, reset=0)
        more.drive((hold_enable & datapath.both) | (more & ~take))
        second = c.register("second", 1, reset=0)
        second.drive(~hold_enable, enable=hold_enable | take)
    every = [datapath.held, *([] if second is None else [datapath.second_held])]
    if tree_stages(config):
        selects = _selects(c, config, groups, group)
        sums = [_gather(c, config, held, groups, selects) for held in every]
        second = None if second is None else delayed(c, second, "second_chosen", 2)
    else:
        starts = range(0, config.lanes, config.post_lanes)
        parts = [
            [concat(*reversed(held[low : low + config.post_lanes])) for low in starts]
            for held in every
        ]
        sums = [part[0] if group is None else choose(group, part) for part in parts]
    held = sums[0] if second is None else mux(second, sums[1], sums[0])
    full.drive(hold_enable | (full & ~take) | more)
    c.output("full", full)
    c.output("sums", held)
    return full


def _selects(
    c: Circuit, config: ArrayConfig, groups: Sequence[range], group: Signal | None
) -> list[list[Signal]]:
    """For each group of lanes, a cycle later, whether the post unit takes those of each turn."""
    if group is None:
        return [[c.const(1, 1)]] * len(groups)
    turns = [f"turn{n}" for n in range(config.lanes // config.post_lanes)]
    decoded = {turn: named(group.eq(n), f"takes_{turn}") for n, turn in enumerate(turns)}
    copies = fan_out(c, decoded, 1, len(groups))
    return [[copy[turn] for turn in turns] for copy in copies]


def _gather(
    c: Circuit,
    config: ArrayConfig,
    held: Sequence[Signal],
    groups: Sequence[range],
    selects: Sequence[Sequence[Signal]],
) -> Signal:
    """The sums of the lanes that the post unit takes at once, two cycles after it says which.

    Each group of lanes chooses among its own; an OR joins what they have chosen.
    """
    together, width = config.post_lanes, config.accumulator_width
    sums = [c.const(0, width)] * together
    for lanes, own in zip(groups, selects, strict=True):
        for v in range(together):
            mine = [lane for lane in lanes if lane % together == v]
            if mine:
                values = [held[n] & own[n // together].replicate(width) for n in mine]
                chosen = c.delay(reduce(or_, values), f"lane{mine[0]}_taken")
                sums[v] = sums[v] | chosen
    return concat(*reversed(sums))


@dataclass(frozen=True)
class _WritePort:
    """The port by which rows are written to all activation memories."""

    signals: Mapping[str, Signal]
    """`activation_address` and `activation_write`."""
    data: Signal
    """The row as the memories hold it."""

    @classmethod
    def declare(cls, c: Circuit, config: ArrayConfig, family: str) -> "_WritePort":
        """The inputs of an element."""
        widths = {"address": config.row_address_width, "data": config.beat_bits, "write": 1}
        port = inputs(c, "activation", widths)
        data = named(datapath_of(family).stored(port["data"]), "stored_row")
        return cls(ports("activation", {n: port[n] for n in ("address", "write")}), data)


def _read_rows(
    c: Circuit,
    config: ArrayConfig,
    family: str,
    lanes: range,
    data: Signal,
    port: Mapping[str, Signal],
    enable: Signal,
) -> list[Signal]:
    """Some lanes' parts of the rows, `read_cycles` later, from as many memories as it takes.

    A block RAM or an UltraRAM has two ports. Loading uses the first one of each memory, as the
    element does not read meanwhile. LUTs that store have a port that writes beside one that reads.

    Args:
        c: the element.
        config: of the array.
        family: the element's.
        lanes: whose memories these are.
        data: the row to be written.
        port: its address, whether it is written, and the addresses to be read.
        enable: whether they are read.
    """
    write_address, writing, *addresses = port.values()
    suffix = "" if len(lanes) == config.lanes else f"_lanes{lanes.start}"
    together, low = config.features_together, config.place_width
    width = ACTIVATION_BITS * len(lanes)
    own_bits = slice(
        ACTIVATION_BITS * lanes.start, ACTIVATION_BITS * lanes.start + together * width
    )
    apart = config.reads_together == 1
    reading = enable if apart else named(enable & ~writing, f"reading{suffix}")
    rows: list[Signal] = []
    for first in range(0, len(addresses), config.reads_together):
        memory = c.memory(
            f"activations{first // config.reads_together}{suffix}",
            config.activation_depth // together,
            together * width,
            style=config.activation_memory,
        )
        if apart:
            memory.write(write_address, data[own_bits], writing)
            read = [addresses[first][low:]]
        else:
            own = mux(writing, write_address, addresses[first][low:])
            own = named(own, f"{memory.name}_address")
            memory.write(own, data[own_bits], writing)
            read = [own, *(address[low:] for address in addresses[first + 1 : first + 2])]
        for number, address in enumerate(read, first):
            name, registers = f"row{number}{suffix}_", read_cycles(config, family) - 1
            row = memory.read(address, reading, f"activations_row{number}{suffix}")
            if low:
                row = c.delay(row, f"{name}features", enable=enable)
                place = delayed(c, addresses[number][:low], f"{name}place", 2, enable=enable)
                row = choose(place, [row[n : n + width] for n in range(0, row.width, width)])
                registers -= 1
            rows.append(delayed(c, row, name, registers, enable=enable))
    return rows
