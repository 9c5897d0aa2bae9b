# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_stream_reader`: streams of elements, from external memory to their FIFOs.

    AXI4 read address ← bursts        AXI4 read data → rows → a FIFO in each element

It reads the beats of a port one after another (hw_targets/streams.py), begins again behind the last
one, and so is ahead of the elements by as much as their FIFOs hold: by default the kernel that
follows in memory follows in time. If another one starts, it empties the FIFOs and goes on there.
What memory still answers to reads from before is dropped.

If it reads ahead (`Machine.reads_ahead`), it does not begin again behind the last tile that a
program is for, but goes on with the streams of the next program, once that is there. So the FIFOs
are full when it begins.

Nothing here takes longer than an addition of addresses: what the FIFOs, a kernel's place and the
burst that comes next say is registered first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from daqkf.hw_targets.config import FIFO_SLACK, ArrayConfig
from daqkf.hw_targets.image_format import MAX_TILES
from daqkf.hw_targets.status import ERROR_BITS, LoadError
from daqkf.hw_targets.streams import (
    CHECKSUM_BITS,
    ROWS_BITS,
    WATCHDOG_BITS,
    gearbox_grains,
    is_coded,
    port_pes,
    rotation,
    row_bits,
    slot_bits,
)
from daqkf.hw_targets.words import ADDRESS_BITS, BEAT_BITS, memory_row, stream_word
from daqkf.lowering.hdl.bundle import Bundle, inputs, outputs
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, Wire, concat, mux, named
from daqkf.lowering.hdl.fsm import Enumeration
from daqkf.lowering.hdl.select import unpack

BURST_BEATS = 32
"""Beats of a burst: 2 KiB of the widest port."""

OUTSTANDING_BITS = 7
"""Bits of the count of beats that memory has been asked for and not given. A burst is only asked
for while its highest bit is 0, so 64 to 95 beats are on their way: enough for a latency of 64
cycles, and few enough to be dropped soon when another kernel starts than the one that was read
ahead."""

MANAGER = {"arready": 1, "rvalid": 1, "rresp": 2}
"""What a memory port gets beside `rdata`. AXI4 lets a manager do without `rlast`."""


def read_port(config: ArrayConfig) -> dict[str, int]:
    """The inputs of a memory port, and their bits."""
    return {**MANAGER, "rdata": config.memory_bits}


def build_stream_reader(config: ArrayConfig, port: int) -> Circuit:
    """The reader of a memory port.

    `region_write` brings the row of MEMORY; a pulse of `begin` says that it holds from now on. Its
    streams are to be read as often as `tiles` says, or until there are others if that is 0. While
    it is `pending`, nothing else can come before it.
    `start` pulses when the elements start with the kernel that begins at beat `stream_start`.
    With `write{p}` the word `data{p}` goes to the FIFO of the port's element p. When that becomes
    `full{p}` (`nearly_full`), words may follow in this cycle and in the next two. `flush` empties
    all FIFOs, a cycle after `start`. Of coded streams a word is a slot, whose highest bit marks the
    last one of a kernel; `fault{p}` says that the element's decoder has found it cut. `error` is a
    code of `LoadError` that stays until `rst`.

    `rst` is for all but what memory still owes, which only `memory_rst` forgets. A `memory_rst`
    without `rst` is none.
    """
    c = Circuit(f"daqkf_stream_reader{port}", "reads streams of elements from external memory.")
    c.clock("clk")
    c.reset(c.input("memory_rst", 1))
    rst = c.input("rst", 1)
    region = _Region.declare(c, config, rst)
    start, place = c.input("start", 1), c.input("stream_start", BEAT_BITS)
    queue = _Queue.declare(c, rst, region.begin, start, place)
    memory = inputs(c, "axi", read_port(config))
    frame = _Frame(c, config, rst, memory, queue, named(queue.restart | rst, "stops"))

    bursts = _Bursts.declare(frame, region)
    box = _Gearbox.declare(frame, bursts)
    wrong_rows = _give_slots(frame, box) if is_coded(config) else _give_rows(frame, port, box)
    wrong_beat = _follow(frame, region, box)
    _judge(
        frame,
        {
            LoadError.STREAM: wrong_beat | wrong_rows,
            LoadError.TIMEOUT: bursts.late,
            LoadError.MEMORY: c.delay(
                box.accepted & memory["rresp"].any(), "wrong_response", reset=0
            ),
        },
    )
    c.output("flush", queue.restart)
    c.finish()
    return c


@dataclass(frozen=True)
class _Region:
    """The streams that the reader goes through, again and again."""

    address: Signal
    beats: Signal
    active: Signal
    """There are any, and they are to be read."""
    begin: Signal
    """They begin, whatever has been read before."""
    follows: Signal
    """Those of the next program follow, of which nothing has been asked for."""
    again: Wire
    """All of them have been asked for, so what comes next is the first one again."""
    owes: Wire
    """Memory has not given all that it has been asked for."""

    @classmethod
    def declare(cls, c: Circuit, config: ArrayConfig, rst: Signal) -> "_Region":
        """Those that a program brings before it begins; `again` and `owes` are to be driven."""
        c.section("The streams of the program: where they are.")
        row, begin = memory_row(config), c.delay(c.input("begin", 1), "begins", reset=0)
        write = inputs(c, "region", {"data": row.width, "write": 1})
        coming = unpack(row, c.delay(write["data"], "coming", enable=write["write"]))
        active = c.register("active", 1, reset=0, clear=rst)
        active.drive(active | begin)
        again, owes = c.wire("region_ends", 1), c.wire("owes", 1)
        complete = follows = c.const(0, 1)
        if config.reads_ahead:
            begin, follows, complete = _read_ahead(c, rst, begin, again, owes)
        takes = begin | follows
        return cls(
            address=c.delay(coming["address"], "region_address", enable=takes),
            beats=c.delay(coming["beats"], "region_beats", enable=takes),
            active=active & ~complete,
            begin=begin,
            follows=follows,
            again=again,
            owes=owes,
        )


def _read_ahead(
    c: Circuit, rst: Signal, begins: Signal, again: Signal, owes: Signal
) -> tuple[Signal, Signal, Signal]:
    """Whether the region begins anew, as it has not been read ahead; whether the next one follows;
    and whether this one has been asked for as often as it is to be read."""
    c.section("How often the streams are to be read, and whether they are those that come next.")
    tiles = c.input("tiles", MAX_TILES.bit_length())
    left = c.register("left_tiles", tiles.width)
    complete, ahead = (c.register(name, 1, reset=0, clear=rst) for name in ("complete", "ahead"))
    anew = named(begins & ~ahead, "begins_anew")
    follows = named(complete & ~owes & ~ahead & c.input("pending", 1), "follows")
    takes = named(anew | follows, "takes_region")
    ahead.drive((ahead | follows) & ~begins)
    # Any number of tiles is 0, and stays that.
    left.drive(mux(takes, tiles, left - 1), enable=takes | (again & left.any()))
    complete.drive((complete | (again & left.eq(1))) & ~takes)
    return anew, follows, complete


@dataclass(frozen=True)
class _Queue:
    """Where the kernels begin whose words are in the FIFOs, but which have not started."""

    restart: Signal
    """The reader goes on elsewhere, and drops all that it has."""
    target: Signal
    """There."""
    full: Signal
    followed: Wire
    """A kernel has been read as a whole."""
    following: Wire
    """Where the next one begins."""

    @classmethod
    def declare(
        cls, c: Circuit, rst: Signal, begin: Signal, start: Signal, place: Signal
    ) -> "_Queue":
        """Two places, of which the first one is next to start.

        `start` is when one does, and `place` where it begins.
        """
        c.section("The kernels that are read ahead: where they begin.")
        followed, following = c.wire("followed", 1), c.wire("following", BEAT_BITS)
        head, tail = c.register("head", BEAT_BITS), c.register("tail", BEAT_BITS)
        first = c.register("head_valid", 1, reset=0, clear=rst)
        second = c.register("tail_valid", 1, reset=0, clear=rst)
        # The kernel before has been read as a whole long before this one starts.
        expected = c.delay(first & head.eq(place), "expected")
        place = c.delay(place, "place")
        start = c.delay(start, "starts", reset=0)
        other = named(start & ~expected, "starts_elsewhere")
        restart = named(begin | other, "restart")
        # A kernel that starts leaves its place to the one behind it.
        waiting = named(mux(start, second, first), "waiting")
        stays = mux(start, tail, head)
        head.drive(mux(begin, c.const(0, BEAT_BITS), mux(waiting, stays, following)))
        first.drive(begin | ((waiting | followed) & ~other))
        tail.drive(following, enable=followed)
        second.drive(mux(start, second & followed, second | (first & followed)) & ~restart)
        target = named(mux(begin, c.const(0, BEAT_BITS), place), "target")
        return cls(restart, target, second, followed, following)


@dataclass(frozen=True)
class _Frame:
    """The reader under construction, and what all of its parts see."""

    c: Circuit
    config: ArrayConfig
    rst: Signal
    memory: Bundle
    """The inputs of the port."""
    queue: _Queue
    stops: Signal
    """What was asked for and has been read counts no longer: a restart, or a reset."""


@dataclass(frozen=True)
class _Bursts:
    """The reads that memory has been asked for."""

    dropping: Signal
    """The beat that comes was asked for before a restart."""
    received: Wire
    """A beat is taken."""
    late: Signal
    """Memory has given nothing for too long."""

    @classmethod
    def declare(cls, frame: _Frame, region: _Region) -> "_Bursts":
        """Ask for burst after burst, each up to a multiple of its length or to the region's end."""
        c, memory, queue = frame.c, frame.memory, frame.queue
        c.section("Bursts: what memory is asked for.")
        low = (BURST_BEATS - 1).bit_length()
        asked = c.register("asked", BEAT_BITS)
        changes = c.wire("plan_changes", 1)
        left = c.delay(region.beats - asked, "left_beats")
        aligned = c.delay(
            c.const(BURST_BEATS, low + 1) - asked[:low].zext(low + 1), "aligned_beats"
        )
        final = c.delay(left.ule(aligned.zext(BEAT_BITS)), "final_burst")
        length = c.delay(
            mux(left.ule(aligned.zext(BEAT_BITS)), left[: low + 1], aligned), "burst_beats"
        )
        # What is left and how long the burst is are known two cycles after `asked`.
        settles = c.delay(~changes, "settles", reset=0)
        planned = c.delay(settles & ~changes, "planned", reset=0)
        following = mux(final, c.const(0, BEAT_BITS), asked + length.zext(BEAT_BITS))

        owed = c.register("owed", OUTSTANDING_BITS, reset=0)
        offered = c.register("offered", 1, reset=0)
        free = (~offered | memory["arready"]) & ~owed[OUTSTANDING_BITS - 1]
        issue = named(region.active & planned & free & ~frame.stops, "issues")
        moves = named(queue.restart | issue, "asked_changes")
        changes.drive(moves | region.follows)
        region.again.drive(issue & final)
        region.owes.drive(owed.any())
        asked.drive(mux(queue.restart, queue.target, following), enable=moves)
        offered.drive(issue | (offered & ~memory["arready"]))
        bytes_bits = (frame.config.memory_bits // 8 - 1).bit_length()
        offset = concat(asked, c.const(0, bytes_bits))
        address = c.delay(region.address + offset.zext(ADDRESS_BITS), "address", enable=issue)
        beats = c.delay((length - 1)[:low].zext(8), "beats_minus_1", enable=issue)
        outputs(c, "axi", {"araddr": address, "arlen": beats, "arvalid": offered})

        c.section("What memory owes, of which what was asked for before a restart is dropped.")
        received = c.wire("received", 1)
        more = length.zext(OUTSTANDING_BITS) & issue.replicate(OUTSTANDING_BITS)
        owing = named(owed + more - received.zext(OUTSTANDING_BITS), "owing")
        owed.drive(owing)
        # None is asked for in the cycle in which reading stops.
        stale = c.register("stale", OUTSTANDING_BITS, reset=0)
        dropping = c.register("dropping", 1, reset=0)
        counted = mux(frame.stops, owed, stale)
        one = c.const(1, OUTSTANDING_BITS)
        more_stale = one.ult(counted) | (counted.eq(one) & ~received)
        dropping.drive(more_stale)
        stale.drive(counted - (received & (frame.stops | dropping)).zext(OUTSTANDING_BITS))
        waits = c.register("waits", WATCHDOG_BITS, reset=0, clear=frame.rst | memory["rvalid"])
        waits.drive(waits + 1, enable=owed.any())
        late = c.delay(waits.eq((1 << WATCHDOG_BITS) - 1), "late", reset=0)
        return cls(dropping, received, late)


@dataclass(frozen=True)
class _Gearbox:
    """Beats of the port that become rows."""

    row: Signal
    heading: Register
    """The beat that comes is the first one of a kernel."""
    whole: Signal
    """There is a row."""
    gives: Wire
    """It is taken."""
    last: Wire
    """It is the last one of a kernel, behind which the rest of a beat is padding."""
    accepted: Signal
    """A beat comes."""
    rows: Signal
    """The rows that it says, if it is the first one of a kernel."""

    @classmethod
    def declare(cls, frame: _Frame, bursts: _Bursts) -> "_Gearbox":
        """A register from which rows leave at the bottom, and in which beats stand above."""
        c, memory = frame.c, frame.memory
        c.section("The gearbox: beats become rows.")
        row_width, beat = row_bits(frame.config), memory["rdata"]
        grain, most, most_entering = gearbox_grains(frame.config)
        row_grains, beat_grains = row_width // grain, beat.width // grain
        held = c.register("held", most * grain)
        filled = c.register("filled", most.bit_length(), reset=0, clear=frame.stops)
        whole = c.register("row_is_whole", 1, reset=0, clear=frame.stops)
        gives, last = c.wire("gives", 1), c.wire("last_row", 1)
        above = filled - row_grains
        left = mux(gives, above, filled)
        ends = named(gives & last, "kernel_ends")
        wants = named(mux(gives, above.ult(row_grains) & ~last, ~whole), "wants_beat")
        ready = wants | bursts.dropping
        taken = named(memory["rvalid"] & ready, "beat_taken")
        bursts.received.drive(taken)
        accepted = named(taken & ~bursts.dropping, "accepted")
        heading = c.register("heading", 1, reset=1)
        heading.drive(frame.stops | ends | (heading & ~accepted))
        enters = named(accepted & ~heading, "beat_enters")
        entered = left + mux(enters, c.const(beat_grains, filled.width), 0)
        filled.drive(mux(ends, c.const(0, filled.width), entered))
        enough = ~left.ult(max(0, row_grains - beat_grains))
        whole.drive(~ends & (~left.ult(row_grains) | (enters & enough)))

        # What is above the rows is always zero, so that beats can be or-ed in. Whether a row leaves
        # is known last, so it only chooses between what is held then and what is held otherwise.
        shifted = beat.zext((most_entering + beat_grains) * grain)
        for bit in range(most_entering.bit_length()):
            amount = grain << bit
            higher = concat(shifted[: shifted.width - amount], c.const(0, amount))
            shifted = mux(filled[bit], higher, shifted)
        arrives = named(memory["rvalid"] & ~bursts.dropping & ~heading, "beat_arrives")
        stays = held | _gated(shifted[: held.width], arrives & ~whole)
        above_row = held[row_width:] if row_width < held.width else c.const(0, 1)
        fits = arrives & above.ult(row_grains)
        moves = above_row.zext(held.width) | _gated(shifted[row_width:], fits).zext(held.width)
        chosen = mux(gives, _gated(moves, ~last), stays)
        held.drive(_gated(chosen, ~frame.stops))
        c.output("axi_rready", ready)
        return cls(
            row=held[:row_width],
            heading=heading,
            whole=whole,
            gives=gives,
            last=last,
            accepted=accepted,
            rows=beat[:ROWS_BITS],
        )


def nearly_full(c: Circuit, level: Signal, depth: int) -> Signal:
    """What a FIFO of so many words says to its reader, a cycle after it had so many in it."""
    return c.delay(~level.ult(depth - FIFO_SLACK), "nearly_full", reset=0)


def _gated(value: Signal, condition: Signal) -> Signal:
    """The value while a condition holds, and 0 otherwise."""
    return value & condition.replicate(value.width)


def _count_rows(frame: _Frame, box: _Gearbox) -> Signal:
    """Say when a row is given to all FIFOs; whether it is a kernel's last one."""
    c, queue = frame.c, frame.queue
    left = c.register("left_rows", ROWS_BITS)
    counts = named((box.heading & box.accepted) | box.gives, "counts_rows")
    left.drive(mux(box.heading, box.rows, left - 1), enable=counts)
    last = c.delay(mux(box.heading, box.rows.eq(1), left.eq(2)), "left_is_1", enable=counts)
    box.last.drive(last)
    full = c.const(0, 1)
    for p in range(port_pes(frame.config)):
        full = full | c.input(f"full{p}", 1)
    # A FIFO's register, the first one here, which is where it has to be, and one near the gearbox:
    # these are the cycles of FIFO_SLACK.
    full = c.delay(c.delay(full, "any_full", reset=0), "rows_wait", reset=0)
    box.gives.drive(box.whole & ~(full | (last & queue.full)))
    queue.followed.drive(box.gives & last)
    return last


def _give_slots(frame: _Frame, box: _Gearbox) -> Signal:
    """Give slots of a code to all FIFOs; whether they are not those of the kernel's checksum, or a
    decoder has found that they are none."""
    c, slot = frame.c, slot_bits(frame.config)
    c.section("Rows: slots go to the FIFOs, with a mark of the last one.")
    last = _count_rows(frame, box)
    for p in range(port_pes(frame.config)):
        c.output(f"write{p}", box.gives)
        c.output(f"data{p}", concat(last, box.row[p * slot : (p + 1) * slot]))

    c.section("The checksum of the beats behind the first one.")
    beat, first = frame.memory["rdata"], box.heading & box.accepted
    expected = c.delay(beat[CHECKSUM_BITS : 2 * CHECKSUM_BITS], "expected_sum", enable=first)
    register = c.register("checksum", CHECKSUM_BITS)
    found = _rotated(register, 1)
    for lane in range(beat.width // CHECKSUM_BITS):
        own = beat[lane * CHECKSUM_BITS : (lane + 1) * CHECKSUM_BITS]
        found = found ^ _rotated(own, rotation(lane))
    rows = box.rows.zext(CHECKSUM_BITS)
    register.drive(mux(box.heading, rows, found), enable=box.accepted)
    fault = frame.queue.followed & register.ne(expected)
    for p in range(port_pes(frame.config)):
        fault = fault | c.input(f"fault{p}", 1)
    return named(fault, "wrong_code")


def _rotated(word: Signal, bits: int) -> Signal:
    """Rotated towards the most significant bit."""
    return concat(word[: word.width - bits], word[word.width - bits :]) if bits else word


def _give_rows(frame: _Frame, port: int, box: _Gearbox) -> Signal:
    """Give rows to all FIFOs at once; whether the last one comes before the streams end."""
    c, config, queue = frame.c, frame.config, frame.queue
    c.section("Rows: words go to the FIFOs, until their streams end.")
    _count_rows(frame, box)
    pes, slot = port_pes(config), slot_bits(config)
    complete = c.const(1, 1)
    for p in range(pes):
        layout = stream_word(config, port * pes + p)
        word = unpack(layout, box.row[p * slot : p * slot + layout.width])
        write: Signal = box.gives
        if not config.lockstep:  # Elements in step take every row.
            ended = c.register(f"ended{p}", 1, reset=0, clear=frame.stops | queue.followed)
            ended.drive(ended | (box.gives & word["end"]))
            complete = complete & (ended | word["end"])
            write = box.gives & ~ended
        c.output(f"write{p}", write)
        c.output(f"data{p}", box.row[p * slot : p * slot + layout.width])
    return c.delay(queue.followed & ~complete, "wrong_rows", reset=0)


def _follow(frame: _Frame, region: _Region, box: _Gearbox) -> Signal:
    """Count the beats, for where kernels begin; whether one goes on at the region's end, or has
    no rows."""
    c, queue = frame.c, frame.queue
    c.section("The beat that comes next.")
    beat = c.register("beat", BEAT_BITS)
    following = beat + 1
    # After a restart, no beat comes before these are right.
    last = c.delay(region.beats - 1, "last_beat")
    wraps = c.register("wraps", 1)
    next_wraps = mux(wraps, last.eq(0), following.eq(last))
    wraps.drive(mux(box.accepted, next_wraps, beat.eq(last)))
    following = mux(wraps, c.const(0, BEAT_BITS), following)
    beat.drive(mux(queue.restart, queue.target, following), enable=queue.restart | box.accepted)
    queue.following.drive(beat)
    inside = ~box.heading & ~beat.any()
    empty = box.heading & ~box.rows.any()
    return c.delay(box.accepted & (inside | empty), "wrong_beat", reset=0)


def _judge(frame: _Frame, wrong: Mapping[LoadError, Signal]) -> None:
    """The register and the port of the first error."""
    c = frame.c
    c.section("Why reading failed.")
    errors = Enumeration(c, LoadError, width=ERROR_BITS, prefix="ERROR_")
    error = c.register("error", errors.width, reset=errors[LoadError.NONE], clear=frame.rst)
    code = error
    for kind, condition in wrong.items():
        code = mux(condition, errors[kind], code)
    error.drive(code, enable=~error.any())
    c.output("error", error)
