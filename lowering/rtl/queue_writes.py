# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_queue_writes`: rows of results become bursts to external memory, over AXI4.

    rows → beats → FIFO → bursts, each when all of it is there

A burst that has begun is finished whatever happens: after a stop, the rest of it writes no byte.
"""

from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.descriptors import ROW_COUNT_BITS
from daqkf.lowering.hdl.bundle import Bundle, inputs, outputs
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, Wire, concat, mux, named
from daqkf.lowering.hdl.select import choose, index_bits
from daqkf.lowering.rtl.queue_feed import place_fifo
from daqkf.lowering.rtl.queue_reads import (
    BLOCK_BITS,
    BURST_BEATS,
    beats_of,
    burst_of,
    first_beat,
)

RESULT_BEATS = 2 * BURST_BEATS
"""Beats of results that the FIFO holds: a burst is written while the next one is collected."""

ANSWERS_BITS = 4
"""Bits of the count of bursts that memory has not yet said to have written."""

WRITE_CHANNEL = {"awready": 1, "wready": 1, "bvalid": 1, "bresp": 2}
"""The inputs of the write channels, and their bits."""


def build_queue_writes(config: ArrayConfig) -> Circuit:
    """The writing side of the queue.

    A pulse of `start` begins with a job: so many `rows` of results, to be written from the `block`
    on. `last` says that only one row is left. When all has been written, `finished` is high until
    `release`; `busy` is high from `start` on until then. `stops` forgets the job, but not what
    memory has been offered, which only `memory_rst` does. `error` says that memory could not write
    what the job gave, `moves` that memory took or answered something.
    """
    c = Circuit("daqkf_queue_writes", "writes rows of results to external memory.")
    c.clock("clk")
    c.reset(c.input("memory_rst", 1))
    stops, start, release = (c.input(name, 1) for name in ("stops", "start", "release"))
    block, rows = c.input("block", BLOCK_BITS), c.input("rows", ROW_COUNT_BITS)
    y = inputs(c, "y", {"data": config.row_bits, "valid": 1})
    memory = inputs(c, "axi", WRITE_CHANNEL)

    busy = c.register("busy", 1, reset=0, clear=stops)
    busy.drive(start | (busy & ~release))
    pops = c.wire("pops", 1)
    beats = _collect(c, config, stops, (start, rows), y, pops)
    job = _Job.declare(c, config, stops, (start, block, rows))
    channel = _Channel.declare(c, stops, pops, memory)
    channel.issue(c, config, job, beats.count, memory)
    channel.write(c, config, job, beats, memory)
    c.output("busy", busy)
    c.output("finished", busy & ~beats.missing & ~job.left.any() & ~channel.owes)
    c.finish()
    return c


@dataclass(frozen=True)
class _Beats:
    """Beats that rows have become."""

    first: Signal
    there: Signal
    """There is one."""
    count: Signal
    """How many there are, some of which may not yet be `first`."""
    missing: Signal
    """Rows of the job have not yet come."""


def _collect(
    c: Circuit,
    config: ArrayConfig,
    stops: Signal,
    job: tuple[Signal, Signal],
    y: Bundle,
    pops: Signal,
) -> _Beats:
    """Rows of a job side by side in a register that holds a beat, or in parts."""
    c.section("Rows: they are collected until they are a beat.")
    start, rows = job
    left = c.register("left_rows", ROW_COUNT_BITS, reset=0, clear=stops)
    count = c.register("held_beats", RESULT_BEATS.bit_length(), reset=0, clear=stops)
    missing, last = named(left.any(), "rows_missing"), named(left.eq(1), "row_is_last")
    # Two more beats may be on their way to the FIFO.
    comes = named(y["valid"] & missing & count.ult(RESULT_BEATS - 1), "part_comes")
    taken, complete = comes, comes
    parts, row, width = 1, y["data"], min(config.row_bits, config.memory_bits)
    if config.row_bits < config.memory_bits:
        parts = config.memory_bits // config.row_bits
        index = c.register("index", index_bits(parts), reset=0, clear=stops)
        complete = named(comes & (index.eq(parts - 1) | last), "beat_completes")
        index.drive(mux(complete, c.const(0, index.width), index + 1), enable=comes)
        enables = [comes & index.eq(part) for part in range(parts)]
    else:
        enables = [comes]
        if config.row_bits > config.memory_bits:
            pieces = config.row_bits // config.memory_bits
            index = c.register("index", index_bits(pieces), reset=0, clear=stops)
            index.drive(index + 1, enable=comes)
            taken = comes & index.eq(pieces - 1)
            row = choose(index, [row[n * width : (n + 1) * width] for n in range(pieces)])
    held = [c.delay(row, f"held{n}", enable=enable) for n, enable in enumerate(enables)]
    taken = named(taken, "row_taken")
    left.drive(mux(start, rows, left - 1), enable=start | taken)
    c.output("y_taken", taken)
    c.output("last", last)
    arrives = c.register("beat_arrives", 1, reset=0, clear=stops)
    arrives.drive(complete)
    count.drive(count + arrives.zext(count.width) - pops.zext(count.width))
    beat = concat(*reversed(held))
    first, there = place_fifo(c, "beats", RESULT_BEATS, (beat, arrives), pops, stops)
    return _Beats(first, there, count, missing | arrives)


@dataclass(frozen=True)
class _Job:
    """What a job has still to write."""

    place: Register
    """The beat that is next."""
    left: Register
    """The beats for which there has been no burst."""
    rest: Signal | None
    """The rows of the last beat, 0 if it is full of them; none where beats always are."""
    start: Signal
    first: Signal
    beats: Signal

    @classmethod
    def declare(
        cls, c: Circuit, config: ArrayConfig, stops: Signal, job: tuple[Signal, Signal, Signal]
    ) -> "_Job":
        c.section("The job: where its results go.")
        start, block, rows = job
        first, beats = first_beat(config, block), beats_of(config, rows, config.row_bits)
        rest = None
        if config.row_bits < config.memory_bits:
            bits = (config.memory_bits // config.row_bits).bit_length() - 1
            rest = c.delay(rows[:bits], "rest_rows", enable=start)
        left = c.register("left_beats", beats.width, reset=0, clear=stops)
        return cls(c.register("place", first.width), left, rest, start, first, beats)


@dataclass(frozen=True)
class _Channel:
    """The channels AW, W and B. What they have begun survives a stop."""

    stops: Signal
    offered: Register
    """A burst's address."""
    writing: Register
    """Beats of the burst that are still to be offered."""
    valid: Register
    """A beat is offered."""
    free: Signal
    """The beat that is offered is taken, or there is none."""
    answers: Register
    """Bursts that have not been answered."""
    issues: Wire
    loads: Wire
    """A beat of the burst is offered from the next cycle on."""
    pops: Wire
    """It is the first one of the FIFO."""

    @property
    def owes(self) -> Signal:
        """Something is not written, or not known to be."""
        return self.offered | self.writing.any() | self.valid | self.answers.any()

    @classmethod
    def declare(cls, c: Circuit, stops: Signal, pops: Wire, memory: Bundle) -> "_Channel":
        c.section("The channels: what memory has been offered stays until it is taken.")
        bits = BURST_BEATS.bit_length()
        offered, valid = c.register("offered", 1, reset=0), c.register("valid", 1, reset=0)
        writing = c.register("writing", bits, reset=0)
        answers = c.register("answers", ANSWERS_BITS, reset=0)
        issues = c.wire("issues", 1)
        following = answers + issues.zext(ANSWERS_BITS) - memory["bvalid"].zext(ANSWERS_BITS)
        following = named(following, "answers_then")
        answers.drive(following)
        stale = c.register("stale", ANSWERS_BITS, reset=0)
        old = named(stale.any(), "answer_is_stale")
        fewer = stale - (memory["bvalid"] & old).zext(ANSWERS_BITS)
        stale.drive(mux(stops, following, fewer))
        free = named(~valid | memory["wready"], "beat_is_free")
        loads = c.wire("loads", 1)
        channel = cls(stops, offered, writing, valid, free, answers, issues, loads, pops)
        c.output("error", memory["bvalid"] & memory["bresp"].any() & ~old & ~stops)
        c.output("owes", channel.owes)
        moves = memory["bvalid"] | (offered & memory["awready"]) | (valid & memory["wready"])
        c.output("moves", moves)
        return channel

    def issue(
        self, c: Circuit, config: ArrayConfig, job: _Job, count: Signal, memory: Bundle
    ) -> None:
        """Offer the address of the next burst when all of its beats are there."""
        c.section("Bursts, each when all of its beats are there.")
        length = named(burst_of(job.place, job.left), "burst_beats")
        free = (~self.offered | memory["awready"]) & ~self.writing.any() & ~self.answers.all()
        there = job.left.any() & ~count.ult(length.zext(count.width))
        self.issues.drive(free & there & ~self.stops)
        issues = named(self.issues, "issues")
        self.offered.drive(issues | (self.offered & ~memory["awready"]))
        changes = job.start | issues
        following = job.place + length.zext(job.place.width)
        job.place.drive(mux(job.start, job.first, following), enable=changes)
        rest = job.left - length.zext(job.left.width)
        job.left.drive(mux(job.start, job.beats, rest), enable=changes)
        low = (config.memory_bits // 8 - 1).bit_length()
        address = concat(job.place, c.const(0, low))
        outputs(
            c,
            "axi",
            {
                "awaddr": c.delay(address, "address", enable=issues),
                "awlen": c.delay((length - 1).zext(8), "beats_minus_1", enable=issues),
                "awvalid": self.offered,
            },
        )
        changes = issues | self.loads
        left = self.writing - self.loads.zext(self.writing.width)
        self.writing.drive(mux(issues, length, left), enable=changes)

    def write(
        self, c: Circuit, config: ArrayConfig, job: _Job, beats: _Beats, memory: Bundle
    ) -> None:
        """Offer the beats of the burst, and the bytes of them that are to be written."""
        c.section("The beats of the burst. Those that a stop has lost write nothing.")
        begun = named(self.writing.any(), "burst_has_begun")
        lost = c.register("lost", 1, reset=0)
        lost.drive((lost | self.stops) & begun)
        void = named(lost | self.stops, "writes_nothing")
        loads = begun & self.free & (void | beats.there)
        self.loads.drive(loads)
        self.pops.drive(self.loads & ~void)
        self.valid.drive(self.loads | (self.valid & ~memory["wready"]))
        last = named(self.writing.eq(1), "beat_is_last")
        strobe = ~void
        if job.rest is not None:
            parts = config.memory_bits // config.row_bits
            whole = named(~last | job.left.any() | ~job.rest.any(), "beat_is_whole")
            strobe = concat(
                *(
                    (strobe & (whole | ~job.rest.ule(part))).replicate(config.lanes)
                    for part in reversed(range(parts))
                )
            )
        else:
            strobe = strobe.replicate(config.memory_bits // 8)
        outputs(
            c,
            "axi",
            {
                "wdata": c.delay(beats.first, "data", enable=self.loads),
                "wstrb": c.delay(strobe, "strobes", enable=self.loads),
                "wlast": c.delay(last, "last_beat", enable=self.loads),
                "wvalid": self.valid,
            },
        )
