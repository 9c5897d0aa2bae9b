# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Beats of external memory that become the words or rows of a stream.

    beats → FIFO → parts of a beat, or several beats side by side

What has been asked for always has room in the FIFO, so that a beat never waits.
"""

from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux, named
from daqkf.lowering.hdl.select import choose, index_bits, turns


def build_feed(name: str, beat_bits: int, part_bits: int, depth: int) -> Circuit:
    """A FIFO of `depth` beats, and what leaves it in parts; both widths are powers of two.

    `write` brings a beat. A part is offered while `valid`, and gone after `take`. With `last`, that
    only narrow parts have, it is the last one of its stream: what is left of its beat is padding.
    `freed` says that a beat has left. `flush` empties all.
    """
    c = Circuit(name, "beats of external memory become the parts of a stream.")
    c.clock("clk")
    flush = c.input("flush", 1)
    c.reset(flush)
    data, write = c.input("data", beat_bits), c.input("write", 1)
    take = c.input("take", 1)
    pops = c.wire("pops", 1)
    beat, there = place_fifo(c, "beats", depth, (data, write), pops)

    if part_bits <= beat_bits:
        parts = [beat[low : low + part_bits] for low in range(0, beat_bits, part_bits)]
        final, part = c.const(1, 1), parts[0]
        if len(parts) > 1:
            c.section("The beat's parts, in turns.")
            index = c.register("index", index_bits(len(parts)), reset=0)
            ends = named(index.eq(len(parts) - 1) | c.input("last", 1), "beat_ends")
            index.drive(mux(ends, c.const(0, index.width), index + 1), enable=take)
            final, part = ends, choose(index, parts)
        pops.drive(take & final)
        c.output("part", part)
        c.output("valid", there)
    else:
        c.section("The beats of a part: all but the last one wait here.")
        count = part_bits // beat_bits
        collects = c.wire("collects", 1)
        _, whole = turns(c, "collected", count, collects | take)
        collects.drive(there & ~whole)
        pops.drive(collects | take)
        held = c.register("held", part_bits - beat_bits)
        shifted = beat if count == 2 else concat(beat, held[beat_bits:])
        held.drive(shifted, enable=collects)
        c.output("part", concat(beat, held))
        c.output("valid", there & whole)
    c.output("freed", pops)
    c.finish()
    return c


def place_fifo(
    c: Circuit,
    name: str,
    depth: int,
    arriving: tuple[Signal, Signal],
    pops: Signal,
    clear: Signal | None = None,
) -> tuple[Signal, Signal]:
    """A FIFO whose first row stands in a register: the row, and whether there is one.

    Args:
        c: the circuit, whose reset empties it, too.
        name: of its memory.
        depth: its rows, a power of two.
        arriving: a row, and whether it comes. There has to be room.
        pops: the first row leaves.
        clear: empties it.
    """
    c.section("The FIFO. Its first row stands in the memory's output register.")
    data, write = arriving
    bits = index_bits(depth)
    # A bit more than an address tells a full FIFO from an empty one.
    written, read, there = (
        c.register(f"{name}_{what}", width, reset=0, clear=clear)
        for what, width in (("in", bits + 1), ("out", bits + 1), ("there", 1))
    )
    fetches = named(written.ne(read) & (~there | pops), f"{name}_fetches")
    memory = c.memory(name, depth, data.width, style="distributed")
    memory.write(written[:bits], data, write)
    row = memory.read(read[:bits], fetches, f"{name}_row")
    written.drive(written + 1, enable=write)
    read.drive(read + 1, enable=fetches)
    there.drive(fetches | (there & ~pops))
    return row, there
