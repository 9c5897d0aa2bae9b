# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_queue`: jobs for the array from a queue in external memory, without a host in between.

    AXI4 reads → descriptors, programs, activations → array → results → AXI4 writes

hw_targets/descriptors.py has what describes a job. It is the *next* one while its program is loaded
into the array's other bank, all but the last word, with which the banks would change. It is the
one of *now* while its activations go into the array. Then its results wait for those of the job
before to be written, and are written themselves. So while one job runs, the next one's program is
already there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.descriptors import (
    ADDRESSES,
    COUNT_BITS,
    DESCRIPTOR,
    DESCRIPTOR_BYTES,
    QUEUE_ERROR_BITS,
    RESERVED,
    ROW_COUNT_BITS,
    SIZE_BITS,
    JobFlags,
    QueueError,
)
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.image_format import beat_words
from daqkf.hw_targets.streams import WATCHDOG_BITS
from daqkf.hw_targets.words import ADDRESS_BITS
from daqkf.lowering.hdl.bundle import Bundle, inputs, outputs, part, ports
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, Wire, concat, mux, named
from daqkf.lowering.hdl.fsm import Enumeration
from daqkf.lowering.hdl.select import turns
from daqkf.lowering.rtl.queue_reads import (
    BLOCK_BITS,
    READ_CHANNEL,
    beats_of,
    build_queue_reads,
)
from daqkf.lowering.rtl.queue_writes import WRITE_CHANNEL, build_queue_writes

_LOW = ADDRESS_BITS - BLOCK_BITS
"""Bits of an address within a block of `DESCRIPTOR_BYTES`."""

CONTROL = {"base": ADDRESS_BITS, "size": SIZE_BITS, "tail": COUNT_BITS, "ring": 1}
"""What registers tell the queue, and its bits."""

ARRAY = {
    "prog_tready": 1,
    "x_tready": 1,
    "y_tvalid": 1,
    "y_tlast": 1,
    "loaded": 1,
    "refused": 1,
    "computes": 1,
    "failed": 1,
}
"""What the array tells the queue beside `y_tdata`, and its bits."""


def memory_port(config: ArrayConfig) -> dict[str, int]:
    """The inputs of the port to external memory, and their bits."""
    return {**READ_CHANNEL, "rdata": config.memory_bits, **WRITE_CHANNEL}


def build_queue(config: ArrayConfig) -> Circuit:
    """The queue in front of an array of this config.

    A pulse of `control_ring` says that there are as many jobs as `control_tail` counts, in a ring
    of `control_size` descriptors from the address `control_base` on. `status_head` counts the jobs
    that are done, `status_active` says that some are not. Both counts are modulo twice the size.
    With a `status_error`, nothing more is done until `rst`, which forgets all jobs.
    `done` pulses when a job is done that has the flag INTERRUPT, `stopped` with an error.

    `rst` is for all but what memory still owes and what it has been offered, which only
    `memory_rst` forgets. A `memory_rst` without `rst` is none.
    """
    c = Circuit("daqkf_queue", "runs jobs that a queue in external memory describes.")
    c.clock("clk")
    memory_rst, rst = c.input("memory_rst", 1), c.input("rst", 1)
    c.reset(rst)
    control, array = inputs(c, "control", CONTROL), inputs(c, "array", ARRAY)
    array = {**array, "y_tdata": c.input("array_y_tdata", config.row_bits)}
    memory = inputs(c, "axi", memory_port(config))
    frame = _Frame.open(c, config, rst, control, array, memory)

    ring = _Ring.declare(frame)
    following = _fetch(frame, ring)
    program = _Program.declare(frame, following)
    now = _Now.declare(frame, following, program)
    results = _Results.declare(frame, following, now)
    moves = program.there & ~now.valid & ~results.waits & ~frame.stops
    following.moves.drive(moves)
    _place(frame, memory_rst, ring, program, now, results)

    busy = following.busy | now.valid | results.waits | frame.writes["busy"]
    ring.show(frame, results, busy)
    late = _watch(frame, busy, (program.taken, now.taken, frame.writes["y_taken"]))
    owes = frame.reads["owes"] | frame.writes["owes"]
    _judge(
        frame,
        {
            QueueError.DOORBELL: ring.beyond,
            QueueError.OVERRUN: ring.overrun,
            QueueError.ADDRESS: ring.misplaced | following.misplaced,
            QueueError.DESCRIPTOR: following.wrong,
            QueueError.TILES: program.limited,
            QueueError.RESULTS: results.wrong,
            QueueError.PROGRAM: array["refused"],
            QueueError.ARRAY: array["failed"],
            QueueError.TIMEOUT: late & owes,
            QueueError.STALLED: late & ~owes,
            QueueError.WRITE: frame.writes["error"],
            QueueError.READ: frame.reads["error"],
        },
    )
    c.finish()
    return c


@dataclass(frozen=True)
class _Frame:
    """The queue under construction, and what all of its parts see."""

    c: Circuit
    config: ArrayConfig
    rst: Signal
    halted: Wire
    """There has been an error."""
    stops: Signal
    """Jobs are forgotten: after an error, or in a reset."""
    control: Bundle
    array: Bundle
    memory: Bundle
    reads: Mapping[str, Wire]
    """The outputs of the reading side."""
    writes: Mapping[str, Wire]

    @classmethod
    def open(
        cls,
        c: Circuit,
        config: ArrayConfig,
        rst: Signal,
        control: Bundle,
        array: Bundle,
        memory: Bundle,
    ) -> "_Frame":
        reads = {
            "descriptor_write": 1,
            "program_part": config.program_bits,
            "program_valid": 1,
            "activations_part": config.row_bits,
            "activations_valid": 1,
            **dict.fromkeys(("error", "owes", "moves"), 1),
        }
        writes = ("y_taken", "last", "busy", "finished", "error", "owes", "moves")
        halted = c.wire("halted", 1)
        return cls(
            c=c,
            config=config,
            rst=rst,
            halted=halted,
            stops=named(rst | halted, "stops"),
            control=control,
            array=array,
            memory=memory,
            reads={name: c.wire(f"reads_{name}", width) for name, width in reads.items()},
            writes={name: c.wire(f"writes_{name}", 1) for name in writes},
        )


@dataclass(frozen=True)
class _Ring:
    """Where the descriptors are, and which of them are due."""

    head: Register
    """Jobs that are done, modulo twice the size."""
    pending: Register
    """Jobs that are not."""
    added: Signal
    """Those that the doorbell has just brought, or none."""
    rung: Signal
    """It is looked at."""
    asks: Wire
    """A descriptor is asked for."""
    block: Signal
    """It is there."""
    due: Signal
    """There is one that has not been asked for."""
    beyond: Signal
    overrun: Signal
    misplaced: Signal

    @classmethod
    def declare(cls, frame: _Frame) -> "_Ring":
        c, control = frame.c, frame.control
        c.section("The doorbell: how many jobs it brings, and in the next cycle, if they fit.")
        size, base = control["size"], control["base"]
        twice = named(concat(size, c.const(0, 1)), "twice_the_size")
        ring = named(control["ring"] & ~frame.halted, "doorbell_rings")
        told, tail, fetched = (
            c.register(name, COUNT_BITS, reset=0) for name in ("told", "tail", "fetched")
        )
        told.drive(control["tail"], enable=ring)
        more = control["tail"] - told
        more = mux(control["tail"].ult(told), more + twice, more)
        rung = c.delay(ring, "rung", reset=0)
        added = c.delay(more, "jobs_added", enable=ring) & rung.replicate(COUNT_BITS)
        pending = c.register("pending", COUNT_BITS, reset=0, clear=frame.stops)
        whole = added.zext(COUNT_BITS + 1) + pending.zext(COUNT_BITS + 1)
        tail.drive(told, enable=rung)

        c.section("The ring of descriptors.")
        slot = c.register("slot", SIZE_BITS, reset=0)
        asks = c.wire("asks", 1)
        fetched.drive(_next(fetched, twice), enable=asks)
        slot.drive(_next(slot, size), enable=asks)
        return cls(
            head=c.register("head", COUNT_BITS, reset=0),
            pending=pending,
            added=added,
            rung=rung,
            asks=asks,
            block=base[_LOW:] + slot.zext(BLOCK_BITS),
            due=named(fetched.ne(tail), "descriptor_is_due"),
            beyond=named(ring & ~control["tail"].ult(twice), "tail_is_beyond"),
            overrun=named(rung & ~whole.ule(size.zext(COUNT_BITS + 1)), "queue_overruns"),
            misplaced=named(ring & base[:_LOW].any(), "queue_is_misplaced"),
        )

    def show(self, frame: _Frame, results: "_Results", busy: Signal) -> None:
        """Count the jobs that are done, and say so."""
        c, done = frame.c, results.done
        c.section("The jobs that are done.")
        twice = concat(frame.control["size"], c.const(0, 1))
        self.head.drive(_next(self.head, twice), enable=done)
        self.pending.drive(self.pending + self.added - done.zext(COUNT_BITS))
        c.output("status_head", self.head)
        active = (busy | self.due | self.rung) & ~frame.halted
        c.output("status_active", named(active, "active"))
        c.output("done", named(done & results.interrupts, "says_done"))


def _word_bits(config: ArrayConfig) -> int:
    """Bits of the number of a word in a beat of a program image."""
    return (beat_words(config) - 1).bit_length()


def _next(index: Register, size: Signal) -> Signal:
    """The index behind this one in a ring."""
    following = index + 1
    return mux(following.eq(size), index.circuit.const(0, index.width), following)


@dataclass(frozen=True)
class _Following:
    """The next job: what its descriptor says."""

    fields: Bundle
    """Addresses are those of blocks, and a program's words are beats of an image."""
    valid: Register
    busy: Signal
    """It is there, or on its way."""
    moves: Wire
    """It becomes the one of now."""
    misplaced: Signal
    wrong: Signal

    def flag(self, flag: JobFlags) -> Signal:
        """A flag of it."""
        return self.fields["flags"][flag.bit_length() - 1]


def _fetch(frame: _Frame, ring: _Ring) -> _Following:
    """Read the next descriptor as soon as the one before has become a job."""
    c, data, width = frame.c, frame.memory["rdata"], frame.config.memory_bits
    c.section("The next job: its descriptor, beat by beat.")
    write = frame.reads["descriptor_write"]
    beat, final = turns(c, "descriptor_beat", 8 * DESCRIPTOR_BYTES // width, write)

    beats = {place // width for place in DESCRIPTOR.offsets.values()}
    comes = {number: named(write & beat.eq(number), f"beat{number}_comes") for number in beats}

    def arriving(name: str) -> tuple[Signal, Signal]:
        """A field's bits of the beat, and whether the beat has them."""
        number, low = divmod(DESCRIPTOR.offsets[name], width)
        return data[low : low + DESCRIPTOR.widths[name]], comes[number]

    fields: dict[str, Signal] = {}
    low_bits = dict.fromkeys(ADDRESSES, _LOW) | {"program_words": _word_bits(frame.config)}
    for name in (name for name in DESCRIPTOR.widths if name not in RESERVED):
        bits, here = arriving(name)
        bits = bits[low_bits.get(name, 0) :]
        fields[name] = c.delay(bits, f"next_{name}", enable=here)

    c.section("Whether it is one.")
    wrong = {"misplaced": c.const(0, 1), "malformed": c.const(0, 1)}
    for name in (*ADDRESSES, *RESERVED):
        bits, here = arriving(name)
        kind = "misplaced" if name.removesuffix("_reserved") in ADDRESSES else "malformed"
        wrong[kind] = wrong[kind] | (here & (bits if name in RESERVED else bits[:_LOW]).any())
    if low := low_bits["program_words"]:
        bits, here = arriving("program_words")
        wrong["malformed"] = wrong["malformed"] | (here & bits[:low].any())
    arrived = c.delay(write & final, "descriptor_arrived", reset=0)
    found: dict[str, Signal] = {}
    for kind, condition in wrong.items():
        seen = c.register(f"descriptor_{kind}", 1, reset=0, clear=ring.asks)
        seen.drive(seen | condition)
        found[kind] = arrived & seen
    empty = arrived & ~fields["activation_rows"].any()

    c.section("What becomes of it.")
    asked = c.register("descriptor_asked", 1, reset=0, clear=frame.stops)
    valid = c.register("next_valid", 1, reset=0, clear=frame.stops)
    moves = c.wire("next_moves", 1)
    asked.drive(ring.asks | (asked & ~arrived))
    valid.drive(arrived | (valid & ~moves))
    ring.asks.drive(ring.due & ~asked & ~valid & ~frame.stops)
    return _Following(
        fields=fields,
        valid=valid,
        busy=asked | valid,
        moves=moves,
        misplaced=named(found["misplaced"], "job_is_misplaced"),
        wrong=named(found["malformed"] | empty, "job_is_wrong"),
    )


@dataclass(frozen=True)
class _Program:
    """The program of the next job, on its way to the array's other bank, in beats of images."""

    start: Signal
    block: Signal
    beats: Signal
    left: Register
    """Beats that have not been taken."""
    there: Signal
    """It has been loaded, but for its last beat."""
    last: Signal
    """That beat is the next one."""
    valid: Wire
    """A beat is offered."""
    taken: Signal
    limited: Signal
    """It has been loaded, and says for how many tiles it is."""

    @classmethod
    def declare(cls, frame: _Frame, following: _Following) -> "_Program":
        c, array = frame.c, frame.array
        c.section("The program of the next job, all but its last word.")
        fields = following.fields
        beats = fields["program_words"].zext(ROW_COUNT_BITS)
        left = c.register("left_words", ROW_COUNT_BITS, reset=0, clear=frame.stops)
        begun = c.register("program_begun", 1, reset=0, clear=frame.stops)
        start = named(following.valid & ~begun & ~left.any(), "program_begins")
        begun.drive((start | begun) & ~following.moves)
        last, valid = named(left.eq(1), "word_is_last"), c.wire("word_offered", 1)
        taken = named(valid & array["prog_tready"], "word_taken")
        left.drive(mux(start, beats, left - 1), enable=start | taken)
        word = frame.reads["program_part"]
        outputs(c, "array_prog", {"tdata": word, "tvalid": valid, "tlast": last})
        return cls(
            start=start,
            block=fields["program"],
            beats=beats,
            left=left,
            there=following.valid & begun & left.ule(1),
            last=last,
            valid=valid,
            taken=taken,
            limited=array["loaded"]
            & c.delay(word[:IMAGE_WORD_BITS].any(), "ends_limited", enable=taken & last),
        )

    def wanted(self, frame: _Frame) -> dict[str, Signal]:
        """What the reading side has to know."""
        narrow = frame.config.program_bits < frame.config.memory_bits
        return {
            "start": self.start,
            "block": self.block,
            "beats": beats_of(frame.config, self.beats, frame.config.program_bits),
            "take": self.taken,
            **({"last": self.last} if narrow else {}),
        }


@dataclass(frozen=True)
class _Now:
    """The job whose activations go into the array."""

    valid: Register
    start: Signal
    fields: Bundle
    hold: Signal
    """They may be results that are not written yet."""
    last: Signal
    taken: Signal

    @classmethod
    def declare(cls, frame: _Frame, following: _Following, program: _Program) -> "_Now":
        c, array, start = frame.c, frame.array, following.moves
        c.section("The job of now: its activations, once its program has been loaded.")
        valid = c.register("now_valid", 1, reset=0, clear=frame.stops)
        loads = c.register("now_loads", 1, reset=0, clear=frame.stops)
        loads.drive((start & program.last) | (loads & ~array["loaded"]))
        more = ~program.last | loads
        offered = frame.reads["program_valid"] & program.left.any() & more & ~frame.stops
        program.valid.drive(offered)
        left = c.register("left_activations", ROW_COUNT_BITS)
        last = named(left.eq(1), "activations_are_last")
        comes = frame.reads["activations_valid"] & valid & ~loads & ~frame.stops
        comes = named(comes, "activations_offered")
        taken = named(comes & array["x_tready"], "activations_taken")
        left.drive(mux(start, following.fields["activation_rows"], left - 1), enable=start | taken)
        valid.drive(start | (valid & ~(taken & last)))
        independent = c.delay(
            following.flag(JobFlags.INDEPENDENT), "now_is_independent", enable=start
        )
        outputs(c, "array_x", {"tdata": frame.reads["activations_part"], "tvalid": comes})
        return cls(valid, start, following.fields, ~independent, last, taken)

    def wanted(self, frame: _Frame, results: "_Results") -> dict[str, Signal]:
        """What the reading side has to know."""
        rows, width = self.fields["activation_rows"], frame.config.row_bits
        narrow = {"last": self.last} if width < frame.config.memory_bits else {}
        return {
            "start": self.start,
            "block": self.fields["activations"],
            "beats": beats_of(frame.config, rows, width),
            "hold": self.hold & results.waits,
            "take": self.taken,
            **narrow,
        }


@dataclass(frozen=True)
class _Results:
    """The job whose results are written, and the one behind it."""

    waits: Register
    """Those of the job of now wait for those of the job before."""
    start: Signal
    """They no longer do."""
    block: Signal
    rows: Signal
    done: Signal
    interrupts: Register
    """The job whose results are written has an interrupt at its end."""
    wrong: Signal

    @classmethod
    def declare(cls, frame: _Frame, following: _Following, now: _Now) -> "_Results":
        c, fields, writes = frame.c, following.fields, frame.writes
        c.section("Results: of the job of now, which may wait for those of the one before.")
        moves = following.moves
        waits = c.register("results_wait", 1, reset=0, clear=frame.stops)
        start = named(waits & ~writes["busy"] & ~frame.stops, "results_begin")
        waits.drive(moves | (waits & ~start))
        flag = c.delay(following.flag(JobFlags.INTERRUPT), "waiting_interrupts", enable=moves)
        # If another job is behind, then this one has had all of its activations.
        given = waits | ~now.valid
        ends = ~frame.array["y_tlast"]
        return cls(
            waits=waits,
            start=start,
            block=c.delay(fields["results"], "waiting_block", enable=moves),
            rows=c.delay(fields["result_rows"], "waiting_rows", enable=moves),
            done=named(writes["finished"] & given & ~frame.stops, "job_is_done"),
            interrupts=c.delay(flag, "interrupts", enable=start),
            wrong=named(writes["y_taken"] & writes["last"] & ends, "results_are_wrong"),
        )

    def wanted(self, frame: _Frame) -> dict[str, Signal]:
        """What the writing side has to know."""
        return {
            "start": self.start,
            "release": self.done,
            "block": self.block,
            "rows": self.rows,
            "y_data": frame.array["y_tdata"],
            "y_valid": frame.array["y_tvalid"],
        }


def _place(
    frame: _Frame,
    memory_rst: Signal,
    ring: _Ring,
    program: _Program,
    now: _Now,
    results: _Results,
) -> None:
    """The two sides of the port to external memory."""
    c, config = frame.c, frame.config
    c.section("External memory: what is read of it, and what is written to it.")
    common = {"clk": c.clk, "memory_rst": memory_rst, "stops": frame.stops}
    reads = c.instance(
        "reads",
        build_queue_reads(config),
        **common,
        **ports("axi", {name: frame.memory[name] for name in (*READ_CHANNEL, "rdata")}),
        **ports("descriptor", {"start": ring.asks, "block": ring.block}),
        **ports("program", program.wanted(frame)),
        **ports("activations", now.wanted(frame, results)),
    )
    writes = c.instance(
        "writes",
        build_queue_writes(config),
        **common,
        **ports("axi", {name: frame.memory[name] for name in WRITE_CHANNEL}),
        **results.wanted(frame),
    )
    for wires, found in ((frame.reads, reads), (frame.writes, writes)):
        for name, wire in wires.items():
            wire.drive(found[name])
    outputs(c, "axi", {**part(reads, "axi"), **part(writes, "axi")})
    c.output("array_y_tready", writes["y_taken"])


def _watch(frame: _Frame, busy: Signal, moves: Sequence[Signal]) -> Signal:
    """Whether nothing has moved for too long."""
    c = frame.c
    c.section("The watchdog: memory has to answer, and the streams have to move.")
    owes = frame.reads["owes"] | frame.writes["owes"]
    moved = reduce(Signal.__or__, (*moves, frame.reads["moves"], frame.writes["moves"]))
    counts = owes | (busy & ~frame.array["computes"])
    waits = c.register("waits", WATCHDOG_BITS, reset=0, clear=named(moved | ~counts, "moved"))
    waits.drive(waits + 1)
    return named(waits.all(), "nothing_moves")


def _judge(frame: _Frame, wrong: Mapping[QueueError, Signal]) -> None:
    """The register and the port of the first error; of several in one cycle, the last of these."""
    c = frame.c
    c.section("Why the queue has stopped.")
    errors = Enumeration(c, QueueError, width=QUEUE_ERROR_BITS, prefix="ERROR_")
    error = c.register("error", errors.width, reset=errors[QueueError.NONE])
    code: Signal = error
    for kind, condition in wrong.items():
        code = mux(condition, errors[kind], code)
    error.drive(code, enable=~frame.halted)
    frame.halted.drive(error.any())
    c.output("status_error", error)
    c.output("stopped", frame.halted & ~c.delay(frame.halted, "halted_before", reset=0))
