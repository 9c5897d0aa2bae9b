# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_queue_reads`: what a queue reads of external memory, over one AXI4 read channel.

    descriptors, programs, activations → bursts → AXI4 → words of programs, rows of activations

The three share the channel burst by burst. All that is asked for has a place to go to, so that
`rready` is always high, and none of them waits for another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.descriptors import DESCRIPTOR_BYTES, ROW_COUNT_BITS
from daqkf.hw_targets.words import ADDRESS_BITS
from daqkf.lowering.hdl.bundle import Bundle, inputs, outputs
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, Wire, concat, mux, named
from daqkf.lowering.hdl.fsm import Enumeration
from daqkf.lowering.rtl.queue_feed import build_feed

BURST_BEATS = 16
"""Beats of a burst: 1 KiB of the widest port."""

PROGRAM_BEATS, ACTIVATION_BEATS = 32, 64
"""Beats that the FIFOs hold. Those of activations are as many as memory may take cycles to answer
without a pause of a port that is as wide as a row."""

BLOCK_BITS = ADDRESS_BITS - (DESCRIPTOR_BYTES - 1).bit_length()
"""Bits of the address of a block of `DESCRIPTOR_BYTES`."""

OWED_BITS = 8
"""Bits of the count of beats that memory owes, of which the highest one stops further bursts. They
are more than the FIFOs hold only if the queue was reset while many were on their way."""

TAGS = 8
"""Bursts that have a place here while they are on their way. No more than 7 can be: a descriptor's,
and as many as FIFOs have room for, which are 2 of a program and 4 of activations, as only the first
and the last burst of a job can be short."""


class Reader(IntEnum):
    """Who a burst is for."""

    DESCRIPTOR = 0
    PROGRAM = 1
    ACTIVATIONS = 2


type _Readers = Enumeration[Reader]
_TAG_BITS = max(Reader).bit_length()

READ_CHANNEL = {"arready": 1, "rvalid": 1, "rresp": 2, "rlast": 1}
"""The inputs of the channel beside `rdata`, and their bits."""


def beats_bits(config: ArrayConfig, part_bits: int) -> int:
    """Bits of the beats that up to 2^ROW_COUNT_BITS parts take."""
    return ROW_COUNT_BITS + max(0, (part_bits // config.memory_bits).bit_length() - 1)


def beats_of(config: ArrayConfig, parts: Signal, part_bits: int) -> Signal:
    """The beats that so many parts take, the last one perhaps not as a whole."""
    width = beats_bits(config, part_bits)
    if part_bits >= config.memory_bits:
        more = width - ROW_COUNT_BITS
        return concat(parts, parts.circuit.const(0, more)) if more else parts
    low = (config.memory_bits // part_bits).bit_length() - 1
    return parts[low:].zext(width) + parts[:low].any().zext(width)


def first_beat(config: ArrayConfig, block: Signal) -> Signal:
    """The number of the first beat of a block."""
    beats = 8 * DESCRIPTOR_BYTES // config.memory_bits
    more = beats.bit_length() - 1
    return concat(block, block.circuit.const(0, more)) if more else block


def burst_of(place: Signal, left: Signal) -> Signal:
    """The beats of a burst up to a multiple of its length, or to the end if that is nearer."""
    low, c = (BURST_BEATS - 1).bit_length(), place.circuit
    aligned = c.const(BURST_BEATS, low + 1) - place[:low].zext(low + 1)
    return mux(left.ule(aligned.zext(left.width)), left[: low + 1], aligned)


def build_queue_reads(config: ArrayConfig) -> Circuit:
    """The reading side of the queue.

    A pulse of `…_start` has `…_beats` beats read from the `…_block` on, after those from before
    have arrived; those of a descriptor are as many as it has. `activations_hold` keeps the channel
    from reading activations. `descriptor_write` says that the beat on `axi_rdata` is a
    descriptor's; words and rows are offered as by `queue_feed.build_feed`. `stops` forgets
    everything but what memory still owes, which only `memory_rst` does. `error` says that a beat
    came with an error, `moves` that memory took or gave something.
    """
    c = Circuit("daqkf_queue_reads", "reads descriptors, programs and activations.")
    c.clock("clk")
    c.reset(c.input("memory_rst", 1))
    stops = c.input("stops", 1)
    memory = inputs(c, "axi", {**READ_CHANNEL, "rdata": config.memory_bits})
    freed = {reader: c.wire(f"{reader.name.lower()}_freed", 1) for reader in list(Reader)[1:]}
    spans = _spans(c, config, stops, freed)
    readers = Enumeration(c, Reader, prefix="READS_")
    owed = _Owed.declare(c, stops)
    offered = c.register("offered", 1, reset=0)
    burst = _choose(c, stops, spans, owed.free & (~offered | memory["arready"]), readers)
    _offer(c, config, burst, offered, memory["arready"])
    accepted, owner = owed.receive(c, stops, burst, memory)
    writes = {
        reader: named(accepted & owner.eq(readers[reader]), f"writes_{reader.name.lower()}")
        for reader in Reader
    }
    _feed(c, config, stops, memory, writes, freed)
    c.output("descriptor_write", writes[Reader.DESCRIPTOR])
    c.output("error", accepted & memory["rresp"].any())
    c.output("owes", owed.owed.any() | offered)
    c.output("moves", memory["rvalid"] | (offered & memory["arready"]))
    c.finish()
    return c


def _feed(
    c: Circuit,
    config: ArrayConfig,
    stops: Signal,
    memory: Bundle,
    writes: Mapping[Reader, Signal],
    freed: Mapping[Reader, Wire],
) -> None:
    """The words of programs and the rows of activations."""
    parts = {
        Reader.PROGRAM: ("words", config.program_bits, PROGRAM_BEATS),
        Reader.ACTIVATIONS: ("rows", config.row_bits, ACTIVATION_BEATS),
    }
    for reader, (what, width, depth) in parts.items():
        name = reader.name.lower()
        c.section(f"The {what} that leave.")
        narrow = width < config.memory_bits
        taken = inputs(c, name, {"take": 1, **({"last": 1} if narrow else {})})
        feed = c.instance(
            what,
            build_feed(f"daqkf_queue_{what}", config.memory_bits, width, depth),
            clk=c.clk,
            flush=stops,
            data=memory["rdata"],
            write=writes[reader],
            **taken,
        )
        freed[reader].drive(feed["freed"])
        outputs(c, name, {"part": feed["part"], "valid": feed["valid"]})


@dataclass(frozen=True)
class _Span:
    """What is still to be asked for, for one reader."""

    place: Register
    """The beat that is next."""
    left: Register
    """How many there are."""
    asks: Signal
    """There is something to ask for, and room for a burst of it."""
    start: Signal
    first: Signal
    """The first beat of what is to be read from now on."""
    beats: Signal
    more: Wire
    """The beats of a burst that is asked for now, or 0."""


def _spans(
    c: Circuit, config: ArrayConfig, stops: Signal, freed: Mapping[Reader, Signal]
) -> dict[Reader, _Span]:
    """The registers of each reader, and whether there is room in its FIFO."""
    spans: dict[Reader, _Span] = {}
    lengths = {Reader.PROGRAM: config.program_bits, Reader.ACTIVATIONS: config.row_bits}
    depths = {Reader.PROGRAM: PROGRAM_BEATS, Reader.ACTIVATIONS: ACTIVATION_BEATS}
    bits = (BURST_BEATS - 1).bit_length() + 1
    for reader in Reader:
        name = reader.name.lower()
        c.section(f"What is to be read: {name}.")
        start, block = c.input(f"{name}_start", 1), c.input(f"{name}_block", BLOCK_BITS)
        if reader is Reader.DESCRIPTOR:
            count = 8 * DESCRIPTOR_BYTES // config.memory_bits
            beats = c.const(count, count.bit_length())
        else:
            beats = c.input(f"{name}_beats", beats_bits(config, lengths[reader]))
        place = c.register(f"{name}_place", first_beat(config, block).width)
        left = c.register(f"{name}_left", beats.width, reset=0, clear=stops)
        more, asks = c.wire(f"{name}_more", bits), left.any()
        if reader in freed:
            depth = depths[reader]
            held = c.register(f"{name}_held", depth.bit_length(), reset=0, clear=stops)
            held.drive(held + more.zext(held.width) - freed[reader].zext(held.width))
            asks = asks & held.ule(depth - BURST_BEATS)
        if reader is Reader.ACTIVATIONS:
            asks = asks & ~c.input(f"{name}_hold", 1)
        asks, first = named(asks, f"{name}_asks"), first_beat(config, block)
        spans[reader] = _Span(place, left, asks, start, first, beats, more)
    return spans


@dataclass(frozen=True)
class _Burst:
    """The burst that memory is asked for."""

    issue: Signal
    reader: Signal
    length: Signal
    place: Signal
    """Its first beat."""


def _choose(
    c: Circuit, stops: Signal, spans: Mapping[Reader, _Span], free: Signal, readers: _Readers
) -> _Burst:
    """In one cycle choose the first reader of those that ask, in the next one ask for its burst.

    `free` says that the address of a burst can be offered in the cycle after.
    """
    c.section("Whose burst comes next.")
    asks, reader = c.const(0, 1), readers[Reader.DESCRIPTOR]
    widest = max(span.left.width for span in spans.values())
    place, left = spans[Reader.DESCRIPTOR].place, c.const(0, widest)
    for kind in (Reader.PROGRAM, Reader.ACTIVATIONS, Reader.DESCRIPTOR):
        span = spans[kind]
        asks = asks | span.asks
        reader = mux(span.asks, readers[kind], reader)
        place = mux(span.asks, span.place, place)
        left = mux(span.asks, span.left.zext(widest), left)
    chosen = c.register("chosen", 1, reset=0, clear=stops)
    chooses = named(~chosen & free & asks, "chooses")
    chosen.drive(chooses)
    reader = c.delay(reader, "chosen_reader", enable=chooses)
    place = c.delay(place, "chosen_place", enable=chooses)
    left = c.delay(left, "chosen_left", enable=chooses)

    c.section("How long it is.")
    length, issue = named(burst_of(place, left), "burst_beats"), named(chosen & ~stops, "issues")
    following, rest = place + length.zext(place.width), left - length.zext(widest)
    for kind, span in spans.items():
        own = named(issue & reader.eq(readers[kind]), f"issues_{kind.name.lower()}")
        changes = span.start | own
        span.more.drive(length & own.replicate(length.width))
        span.place.drive(mux(span.start, span.first, following), enable=changes)
        span.left.drive(mux(span.start, span.beats, rest[: span.left.width]), enable=changes)
    return _Burst(issue, reader, length, place)


def _offer(c: Circuit, config: ArrayConfig, burst: _Burst, offered: Register, taken: Signal):
    """Offer the address of a burst until it is taken."""
    offered.drive(burst.issue | (offered & ~taken))
    low = (config.memory_bits // 8 - 1).bit_length()
    address = concat(burst.place, c.const(0, low))
    outputs(
        c,
        "axi",
        {
            "araddr": c.delay(address, "address", enable=burst.issue),
            "arlen": c.delay((burst.length - 1).zext(8), "beats_minus_1", enable=burst.issue),
            "arvalid": offered,
        },
    )


@dataclass(frozen=True)
class _Owed:
    """What memory owes: bursts in their order, of which those from before a stop are dropped."""

    owed: Register
    count: Register
    free: Signal
    """Another burst can be on its way."""

    @classmethod
    def declare(cls, c: Circuit, stops: Signal) -> "_Owed":
        c.section("What memory owes, of which what was asked for before a stop is dropped.")
        owed = c.register("owed", OWED_BITS, reset=0)
        count = c.register("bursts", TAGS.bit_length(), reset=0, clear=stops)
        return cls(owed, count, ~owed[OWED_BITS - 1])

    def receive(
        self, c: Circuit, stops: Signal, burst: _Burst, memory: Bundle
    ) -> tuple[Signal, Signal]:
        """Whether the beat that comes is not dropped, and whose it is."""
        received, owed = memory["rvalid"], self.owed
        more = burst.length.zext(OWED_BITS) & burst.issue.replicate(OWED_BITS)
        owing = named(owed + more - received.zext(OWED_BITS), "owing")
        owed.drive(owing)
        stale = c.register("stale", OWED_BITS, reset=0)
        dropping = named(stale.any(), "dropping")
        stale.drive(mux(stops, owing, stale - (received & dropping).zext(OWED_BITS)))
        accepted = named(received & ~dropping & ~stops, "accepted")

        c.section("Whose bursts they are, the oldest one in the lowest bits.")
        tags = c.register("tags", TAGS * _TAG_BITS)
        leaves = named(accepted & memory["rlast"], "burst_leaves")
        rest = mux(leaves, concat(c.const(0, _TAG_BITS), tags[_TAG_BITS:]), tags)
        stay = named(self.count - leaves.zext(self.count.width), "bursts_that_stay")
        places = [
            mux(
                burst.issue & stay.eq(place),
                burst.reader,
                rest[place * _TAG_BITS : (place + 1) * _TAG_BITS],
            )
            for place in range(TAGS)
        ]
        tags.drive(concat(*reversed(places)))
        self.count.drive(stay + burst.issue.zext(stay.width))
        return accepted, tags[:_TAG_BITS]
