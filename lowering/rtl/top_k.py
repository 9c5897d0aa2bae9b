# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_top_k`: finds the largest wide results of each lane, which leave in place of all.

A lane has as many entries as results are wanted, the largest first (`numerics.top_k`). A result
that comes takes the place of the first entry that it is larger than, and those behind it move on.
Entries are ordered as unsigned numbers: above, the result with its sign turned around, and below,
the complement of its number, so that of equal results the one of the lower number is larger.

The lanes of a group come one after another, low bytes before high ones, so the entries of the lanes
of a group are a row of a memory. When all outputs have come, the entries leave as rows of results.
"""

from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_BITS, WIDE_BITS
from daqkf.hw_targets.results import WIDE_ROWS, top_k_rows
from daqkf.lowering.hdl.bundle import outputs
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux, named
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose, index_bits, turns

READING = 2
"""Cycles from the place of an entry to its byte."""


def build_top_k(config: ArrayConfig) -> Circuit:
    """The unit.

    After `start`, groups of lanes come that are `valid`, all of a row one after another: the bytes
    `values` of output `number`, of which the `high` ones are the second row. Behind the last of so
    many `outputs`, groups of rows leave as the bundle `found`: those of the row `address`, which
    the `final` one completes.
    """
    c = Circuit("daqkf_top_k", "finds the largest results of each lane.")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    coming = _Coming.receive(c, config, rst)
    leaving = _Leaving.drive(c, config, coming.complete)
    place, found = c.delay(leaving.row, "place"), list[Signal]()
    for v in range(config.post_lanes):
        c.section(f"The entries of the lanes {v} of all groups.")
        candidate = named(coming.candidate(v), f"candidate{v}")
        width, depth = candidate.width, config.lanes // config.post_lanes
        memory = c.memory(f"entries{v}", depth, width * config.top_k, style="distributed")
        address = mux(leaving.gives, leaving.group, coming.group)
        stored = memory.read(address, coming.takes | leaving.gives, f"stored{v}")
        entries = [stored[width * n : width * (n + 1)] for n in range(config.top_k)]
        # Nothing is smaller than an entry of zeros.
        kept = [entry & ~coming.first.replicate(width) for entry in entries]
        inserted = _insert(candidate, kept, f"larger{v}_")
        memory.write(coming.taken, concat(*reversed(inserted)), coming.taking)
        found.append(c.delay(_byte(entries, place, coming.below.width), f"byte{v}"))
    leaving.show(c, config, found)
    c.finish()
    return c


@dataclass(frozen=True)
class _Coming:
    """The group that comes, and a cycle later what its entries are held against."""

    group: Signal
    takes: Signal
    """It has the high bytes of a row."""
    taken: Signal
    """The group, a cycle later."""
    taking: Signal
    low: Signal
    """The low bytes of its lanes, a cycle later, as the next three are."""
    upper: Signal
    below: Signal
    """The complement of the number."""
    first: Signal
    """It is of the first output of a tile."""
    complete: Signal
    """All outputs of the tile have come."""

    @classmethod
    def receive(cls, c: Circuit, config: ArrayConfig, rst: Signal) -> "_Coming":
        """The inputs, and what is counted of them."""
        start = c.input("start", 1)
        total = c.input("outputs", index_bits(config.result_depth + 1))
        valid, high = c.input("valid", 1), c.input("high", 1)
        number = c.input("number", index_bits(config.result_depth) - 1)
        values = c.input("values", ACTIVATION_BITS * config.post_lanes)
        c.section("The group that comes: low bytes wait for the high ones.")
        groups = config.lanes // config.post_lanes
        group, final = turns(c, "group", groups, valid)
        takes = named(valid & high, "takes")
        lows = c.memory("lows", groups, values.width, style="distributed")
        lows.write(group, values, valid & ~high)

        c.section("The outputs that have come.")
        done = named(takes & final, "output_done")
        fresh = c.register("fresh", 1, reset=0)
        fresh.drive(start | (fresh & ~done))
        count = c.register("count", total.width, reset=0, clear=named(rst | start, "begins"))
        following = count + 1
        count.drive(following, enable=done)
        return cls(
            group=group,
            takes=takes,
            taken=c.delay(group, "taken_group"),
            taking=c.delay(takes, "taking", reset=0),
            low=lows.read(group, takes, "low"),
            upper=c.delay(values, "upper"),
            below=c.delay(~number, "number_complement"),
            first=c.delay(fresh, "first_output"),
            complete=c.delay(done & following.eq(total), "complete", reset=0),
        )

    def candidate(self, v: int) -> Signal:
        """The entry that the result of lane `v` of the group would be."""
        lane = slice(ACTIVATION_BITS * v, ACTIVATION_BITS * (v + 1))
        value = concat(self.upper[lane], self.low[lane])
        sign = value.width - 1
        return concat(~value[sign], value[:sign], self.below)


@dataclass(frozen=True)
class _Leaving:
    """The rows that leave, group by group."""

    gives: Signal
    group: Signal
    final: Signal
    row: Signal

    @classmethod
    def drive(cls, c: Circuit, config: ArrayConfig, complete: Signal) -> "_Leaving":
        """They begin a cycle after all outputs are `complete`."""
        c.section("The rows that leave.")
        gives = c.register("gives", 1, reset=0)
        group, final = turns(c, "given_group", config.lanes // config.post_lanes, gives)
        done = named(gives & final, "row_done")
        row, row_final = turns(c, "given_row", top_k_rows(config.top_k), done)
        gives.drive(complete | (gives & ~(final & row_final)))
        return cls(gives, group, final, row)

    def show(self, c: Circuit, config: ArrayConfig, found: list[Signal]) -> None:
        """The ports of the group that leaves, with the bytes of its lanes."""
        c.section("The group that leaves.")
        address = delayed(c, self.row, "given_address", READING)
        group = {
            "valid": delayed(c, self.gives, "given_valid", READING, reset=0),
            "final": delayed(c, self.final, "given_final", READING),
            "address": address.zext(index_bits(config.result_depth)),
            "values": concat(*reversed(found)),
        }
        outputs(c, "found", group)


def _insert(candidate: Signal, entries: list[Signal], name: str) -> list[Signal]:
    """The entries, in order, with a candidate among them, and without the smallest of all."""
    larger = [named(entry.ult(candidate), f"{name}{n}") for n, entry in enumerate(entries)]
    inserted = [mux(larger[0], candidate, entries[0])]
    for n in range(1, len(entries)):
        moved = mux(larger[n - 1], entries[n - 1], candidate)
        inserted.append(mux(larger[n], moved, entries[n]))
    return inserted


def _byte(entries: list[Signal], place: Signal, bits: int) -> Signal:
    """The byte of a row: of the number of an entry, `bits` wide, or of its result."""
    low = (2 * WIDE_ROWS - 1).bit_length()
    entry = choose(place[low:], entries) if len(entries) > 1 else entries[0]
    sign = entry.width - 1
    pair = (~entry[:bits]).zext(WIDE_BITS), concat(~entry[sign], entry[bits:sign])
    halves = (slice(0, ACTIVATION_BITS), slice(ACTIVATION_BITS, WIDE_BITS))
    return choose(place[:low], [value[half] for value in pair for half in halves])
