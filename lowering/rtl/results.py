# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The result memory of an array, in two halves: one is written while the other one leaves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fan_out import result_groups, tree_stages
from daqkf.hw_targets.status import Phase
from daqkf.lowering.hdl.bundle import Bundle
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, concat, mux, named
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import ceil_shift, choose, index_bits
from daqkf.lowering.rtl.fan_out import fan_out
from daqkf.lowering.rtl.frame import Frame
from daqkf.lowering.rtl.programs import Programs
from daqkf.lowering.rtl.result_lanes import READING, ROOM, build_result_lanes


@dataclass(frozen=True)
class Halves:
    """The half of the memory that is written, the one that leaves, and which are full."""

    writing: Register
    leaving: Register
    full: Sequence[Register]
    storing: Signal
    """Results are leaving."""

    @classmethod
    def declare(cls, c: Circuit) -> "Halves":
        """The registers, to be driven by `drive`."""
        c.section("The halves of the result memory, which take turns.")
        writing, leaving = c.register("writing", 1, reset=0), c.register("leaving", 1, reset=0)
        full = [c.register(f"results{half}_full", 1, reset=0) for half in range(2)]
        return cls(writing, leaving, full, named(full[0] | full[1], "storing"))

    @property
    def occupied(self) -> Signal:
        """Whether the half to be written is still leaving."""
        return choose(self.writing, self.full)

    def drive(self, produced: Signal, left: Signal) -> None:
        """`produced` pulses when a tile's results are written, `left` when they have left."""
        self.writing.drive(~self.writing, enable=produced)
        self.leaving.drive(~self.leaving, enable=left)
        for half, register in enumerate(self.full):
            filled, emptied = produced & self.writing.eq(half), left & self.leaving.eq(half)
            register.drive(filled | (register & ~emptied))


def count_results(frame: Frame, chain: Bundle, outputs: Signal, stored: Signal) -> None:
    """Drive `ran`, a cycle after the last of so many rows of `outputs` of a kernel is `stored`.

    If these went by for the exponents of rows, `sought` is driven instead.
    """
    c, seeks = frame.c, frame.sought is not None
    complete = c.wire("complete", 1) if seeks else frame.ran
    c.section("The results of a kernel, counted as they are written.")
    written = frame.phase.at(Phase.RUNNING) & stored
    count = c.register("count", outputs.width, reset=0, clear=frame.rst | complete)
    following = count + 1
    count.drive(following, enable=written)
    complete.drive(c.delay(written & following.eq(outputs), "finishing", reset=0))
    if frame.sought is not None:
        frame.ran.drive(complete & ~chain["seeking"])
        frame.sought.drive(complete & chain["seeking"])


@dataclass(frozen=True)
class Units:
    """The outputs of the units around the result memory; those that there are not have none."""

    post: Bundle
    chain: Bundle
    rows: Bundle


@dataclass(frozen=True)
class Leaving:
    """The result stream, and the port by which others read the memory."""

    data: Signal
    valid: Signal
    last: Signal
    left: Signal
    """Pulses when the last row of a tile has been taken."""
    exponent: Signal | None = None
    """What is stored beside a row for the row unit."""


def store_results(
    frame: Frame,
    halves: Halves,
    programs: Programs,
    produced: Signal,
    ready: Signal,
    units: Units,
) -> Leaving:
    """The memory: once all N rows of a tile are written they leave in order.

    While none leave, the chain reads rows of the half that is written.

    Args:
        frame: the array.
        halves: of the memory.
        programs: of which one's results leave.
        produced: pulses when all results of a tile have been written.
        ready: whether the stream takes a row.
        units: the post unit that writes, the chain and the row unit that read.
    """
    config, post, chain, rows = frame.config, units.post, units.chain, units.rows
    beside = [post["result_exponent"]] if config.normalizes else []
    row, stores = concat(*beside, post["result_data"]), post["result_write"]
    if config.row_exponents:
        stores = named(stores & ~chain["seeking"], "stores_result")
    write = {
        "address": concat(halves.writing, post["result_address"]),
        "data": row,
        "write": stores,
    }
    outputs = _leaving_outputs(frame, halves, programs, produced)
    leave = _leave_through_tree if tree_stages(config) else _leave_at_once
    result, leaving = leave(frame, halves, outputs, write, ready, chain, rows)
    frame.result_row.drive(result[: config.row_bits])
    exponent = result[config.row_bits :] if beside else None
    return replace(leaving, exponent=exponent)


def _leave_at_once(
    frame: Frame,
    halves: Halves,
    outputs: Signal,
    write: Bundle,
    ready: Signal,
    chain: Bundle,
    rows: Bundle,
) -> tuple[Signal, Leaving]:
    """One memory, whose row that has been read is the one of the stream."""
    c, config = frame.c, frame.config
    c.section("The result memory, and the stream by which results leave.")
    beats = ceil_shift(outputs, config.place_width)
    valid = c.register("y_valid", 1, reset=0)
    advance = named(~valid | ready, "y_advance")
    number = c.register("leaving_beat", beats.width, reset=0)
    following = named(number + 1, "leaving_beat_following")
    more = choose(halves.leaving, halves.full) & number.ne(beats)
    final = following.eq(beats)
    last = c.delay(final, "y_last", enable=advance)
    valid.drive(more, enable=advance)
    places = config.result_depth // config.features_together
    source = concat(halves.leaving, number[: index_bits(places)])
    if chain:
        source = mux(chain["read"], concat(halves.writing, chain["source"]), source)
    moves = advance & ~rows["holds"] if rows else advance
    result = _read_beat(c, config, outputs, final, write, source, moves)
    left = named(valid & ready & last, "tile_left")
    number.drive(mux(left, c.const(0, number.width), following), enable=(more & advance) | left)
    return result, Leaving(result[: config.beat_bits], valid, last, left)


def _read_beat(
    c: Circuit,
    config: ArrayConfig,
    outputs: Signal,
    final: Signal,
    write: Bundle,
    source: Signal,
    moves: Signal,
) -> Signal:
    """The rows of a beat, which is read if it `moves`: each from a memory of its own, as the post
    unit writes them one by one. Behind the last row of a tile, the `final` beat has zeros."""
    together, low = config.features_together, config.place_width
    depth, address = 2 * config.result_depth // together, write["address"]
    parts: list[Signal] = []
    for place in range(together):
        of = str(place) if low else ""
        memory = c.memory(f"results{of}", depth, write["data"].width, style=config.result_memory)
        writes = write["write"] & address[:low].eq(place) if low else write["write"]
        memory.write(address[low:], write["data"], writes)
        row = memory.read(source, moves, f"y_row{of}")
        if place:
            rest = outputs[:low]
            beyond = rest.ult(place + 1) if place + 1 < together else c.const(1, 1)
            fills = final & rest.any() & beyond
            row = row & ~c.delay(fills, f"fills{of}", enable=moves).replicate(row.width)
        parts.append(row)
    return concat(*reversed(parts)) if low else parts[0]


def _leave_through_tree(
    frame: Frame,
    halves: Halves,
    outputs: Signal,
    write: Bundle,
    ready: Signal,
    chain: Bundle,
    rows: Bundle,
) -> tuple[Signal, Leaving]:
    """A memory for each group of lanes, which its addresses reach through a tree of registers.

    Nothing behind an address ever stops: a row is only read if the FIFO will have room for it.
    A row that the row unit takes some time for stays, as no other is read meanwhile.
    """
    c, config = frame.c, frame.config
    c.section("The rows of results that are to leave: as many as there is room for.")
    number = c.register("leaving_row", outputs.width, reset=0)
    following = named(number + 1, "leaving_row_following")
    under_way = c.register("under_way", ROOM.bit_length(), reset=0)
    more = choose(halves.leaving, halves.full) & number.ne(outputs)
    leaves = named(more & ~under_way[under_way.width - 1], "row_leaves")
    source = concat(halves.leaving, number[: index_bits(config.result_depth)])
    reads = leaves
    if chain:
        # The chain only reads while nothing leaves.
        source = mux(halves.storing, source, concat(halves.writing, chain["source"]))
        reads = reads | chain["read"]

    c.section("The result memory, and the stream by which results leave, group by group.")
    stages, groups = tree_stages(config), result_groups(config)
    told = {
        "read_address": source,
        "read": reads,
        "write_address": write["address"],
        "write": write["write"],
        "leaves": delayed(c, leaves, "leaves", READING, reset=0),
    }
    last = delayed(c, following.eq(outputs), "last", READING + stages)
    data = delayed(c, write["data"], "stored_row", stages)
    kinds: dict[tuple[int, bool], Circuit] = {}
    parts: list[Bundle] = []
    for bits, own in zip(groups, fan_out(c, told, stages, len(groups)), strict=True):
        kind = bits.stop - bits.start, not parts
        kinds[kind] = kinds.get(kind) or build_result_lanes(config, *kind)
        feeds = {**own, "rst": frame.rst, "ready": ready, **({} if parts else {"last": last})}
        name, stored = f"results{len(parts)}", data[bits.start : bits.stop]
        parts.append(c.instance(name, kinds[kind], clk=c.clk, write_data=stored, **feeds))
    one = parts[0]
    left = named(one["y_valid"] & ready & one["y_last"], "tile_left")
    number.drive(mux(left, c.const(0, number.width), following), enable=leaves | left)
    change = leaves.zext(under_way.width) - one["moves"].zext(under_way.width)
    under_way.drive(under_way + change)
    row, data = (concat(*(part[name] for part in reversed(parts))) for name in ("row", "y_data"))
    return row, Leaving(data, one["y_valid"], one["y_last"], left)


def _leaving_outputs(frame: Frame, halves: Halves, programs: Programs, produced: Signal) -> Signal:
    """Rows of the tile that leaves."""
    outputs = programs.result_rows(frame.config, programs.program["outputs"], {})
    if not frame.config.double_buffered:
        return outputs
    # Those of the program before may still leave.
    both = [
        frame.c.delay(outputs, f"outputs{half}", enable=produced & halves.writing.eq(half))
        for half in range(2)
    ]
    return named(choose(halves.leaving, both), "leaving_outputs")
