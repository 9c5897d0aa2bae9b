# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_stream_decoder`: the words of an element, from the dense code that memory holds.

    FIFO of slots → two slots → the front part of a packet → lengths of the packet AHEAD
                              ↘ the items of a packet → gaps → rows → a word

`hw_targets/varint.py` has the code. A packet's length is known before the packet comes, so that the
only loop is an adder: where the next one begins. All else is a pipeline, which stops as a whole
while a packet is not there yet, or its last stage holds a word that nobody takes.

A kernel's code begins with a slot of its own. What is behind its end is dropped, up to the slot
that the reader has marked as the kernel's last one. If a packet goes on past that one, the code is
cut or damaged: `fault` then stays until `rst`, and no more words come.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.streams import slot_bits
from daqkf.hw_targets.varint import (
    AHEAD,
    COUNT_BITS,
    EXTRA_BITS,
    FIRST_KIND,
    KIND_BITS,
    KINDS,
    OWN_KIND_BITS,
    SPECIAL,
    SPECIAL_FLAGS,
    STEPS,
    Layout,
)
from daqkf.lowering.hdl.bundle import inputs, outputs
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, Wire, concat, mux, named
from daqkf.lowering.hdl.select import choose, count_ones, index_bits
from daqkf.lowering.rtl.indices import RUN_STAGES, null_or_row, sum_up
from daqkf.lowering.rtl.stream_reader import nearly_full

_SHIFT_STAGES = ((5, 7), (3, 5), (0, 3))
"""Which bits of a place each stage of a shifter takes. Two of them are the inputs of a LUT beside
the four bits that they choose from; of four bits at once, synthesis makes more LUTs."""

_HIGH_BITS = EXTRA_BITS + 1
"""Bits of how many times 2^k there are in a gap."""

_WORD_STAGES = 2 + RUN_STAGES
"""Cycles from the items of a packet to its word."""


def build_stream_decoder(config: ArrayConfig) -> Circuit:
    """The decoder of an element and its FIFO.

    With `stream_write` a slot goes to the FIFO, also in the two cycles after it says that it is
    `full`; above its bits there is one that marks a kernel's last slot. While `valid`, there is a
    word at `word_…`, until `take` takes it. `rst` forgets everything.
    """
    c = Circuit("daqkf_stream_decoder", "words of an element, from a dense code of them.")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    frame = _Frame(
        c,
        config,
        Layout.of(config),
        rst,
        go=c.wire("go", 1),
        restart=c.wire("restart", 1),
        comes=c.wire("word_comes", 1),
        draining=c.register("draining", 1, reset=0),
    )
    slots = _Slots.declare(frame)
    packet = _find_packets(frame, slots)
    front = _Front.read(frame, packet)
    control = _look_ahead(frame, front, packet)
    end_comes = _give_words(frame, control, front, packet.items)
    frame.draining.drive((end_comes & frame.go) | (frame.draining & ~frame.restart))
    c.finish()
    return c


@dataclass(frozen=True)
class _Frame:
    """The decoder under construction."""

    c: Circuit
    config: ArrayConfig
    layout: Layout
    rst: Signal
    go: Wire
    """All stages move, and a packet enters the first one."""
    restart: Wire
    """A kernel's last slot leaves, and what is in the stages is behind the end; or a reset."""
    comes: Wire
    """There is a word in the stage before the last one."""
    draining: Register
    """The end has been seen, and slots are dropped."""

    def state(self, name: str, width: int, reset: int) -> Register:
        """A register that begins again with each kernel."""
        return self.c.register(name, width, reset=reset, clear=self.restart)

    def stage(self, signal: Signal, name: str, reset: int = 0, stages: int = 1) -> Signal:
        """The signal so many stages later, in registers that begin again with each kernel."""
        for number in range(stages):
            register = self.state(f"{name}_{number}" if stages > 1 else name, signal.width, reset)
            register.drive(signal, enable=self.go)
            signal = register
        return signal

    def history(self, signal: Signal, name: str, stages: int, reset: int) -> list[Signal]:
        """The signal as it is, and as it was each of so many stages before."""
        found = [signal]
        for number in range(stages):
            found.append(self.stage(found[-1], f"{name}_ago{number + 1}", reset))
        return found

    def data(self, signal: Signal, name: str, stages: int = 1) -> Signal:
        """The same without a reset, where one is not needed.

        Without one, synthesis makes LUTs of several stages, of which there are fewer than of
        registers.
        """
        if stages > 1:
            return self.stage(signal, name, stages=stages)
        return self.c.delay(signal, name, enable=self.go)


@dataclass(frozen=True)
class _Slots:
    """The two slots that packets are in."""

    window: Signal
    """Their bits, those of the first one lowest."""
    valid: Sequence[Signal]
    last: Signal
    """The first one is a kernel's last slot."""
    drops: Wire
    """The second one takes the place of the first."""

    @classmethod
    def declare(cls, frame: _Frame) -> "_Slots":
        """The FIFO, from which slots move up as soon as there is room."""
        c = frame.c
        c.section("The FIFO of slots, and the two that packets are in.")
        width, depth = slot_bits(frame.config), frame.config.stream_depth
        bits = index_bits(depth)
        write = inputs(c, "stream", {"data": width + 1, "write": 1})
        # A bit more than an address tells a full FIFO from an empty one.
        written, pc = (c.register(name, bits + 1, reset=0) for name in ("written", "pc"))
        written.drive(written + 1, enable=write["write"])
        style = frame.config.stream_memory
        memory = c.memory("stream", depth, width + 1, style=style)
        memory.write(written[:bits], write["data"], write["write"])
        read_valid, second_valid, first_valid = (
            c.register(f"{name}_valid", 1, reset=0) for name in ("read", "second", "first")
        )
        drops = c.wire("drops", 1)
        first_moves = named(~first_valid | drops, "first_moves")
        second_moves = named(~second_valid | first_moves, "second_moves")
        read_moves = named(~read_valid | second_moves, "read_moves")
        reads = named(read_moves & pc.ne(written), "reads")
        pc.drive(pc + reads.zext(pc.width))
        row = memory.read(pc[:bits], read_moves, "stream_row")
        read_valid.drive(reads, enable=read_moves)
        second = c.delay(row, "second_slot", enable=second_moves)
        second_valid.drive(read_valid, enable=second_moves)
        first = c.delay(second, "first_slot", enable=first_moves)
        first_valid.drive(second_valid, enable=first_moves)
        level = named(written - pc, "level")
        c.output("full", nearly_full(c, level, depth))
        window = concat(second[:width], first[:width])
        return cls(window, (first_valid, second_valid), first[width], drops)


@dataclass(frozen=True)
class _Packet:
    """A packet, some stages behind its place."""

    front: Signal
    """What is in front of its items."""
    items: Signal
    valid: Signal
    """It is one: the stages are no longer empty."""
    front_bits: Wire
    """Bits of the front part of the packet that enters."""
    bits: Wire
    """Bits of the whole packet."""
    longs: Wire
    """How many long items the packet's own word has."""
    past: Wire
    """Bits of the packet less those of a slot, in two's complement."""


def _find_packets(frame: _Frame, slots: _Slots) -> _Packet:
    """The place of a packet, and its two parts moved down from there."""
    c, layout, slot = frame.c, frame.layout, slot_bits(frame.config)
    c.section("The place of a packet in the two slots: the only loop.")
    bits = c.wire("packet_bits", layout.longest.bit_length())
    place = frame.state("place", index_bits(slot), reset=0)
    wide = index_bits(slot) + 1
    past = c.wire("packet_past", wide)
    after = named(place.zext(wide) + bits.zext(wide), "place_after")
    wrapped = named(place.zext(wide) + past, "place_wrapped")
    inside = named(wrapped[wide - 1], "inside_first")
    place.drive(mux(inside, after[: place.width], wrapped[: place.width]), enable=frame.go)
    first, second = slots.valid
    fault = c.register("broken", 1, reset=0)
    cut = named(first & slots.last & ~inside & ~frame.draining, "cut")
    fault.drive(fault | cut)
    c.output("fault", fault)
    whole = named(first & (second | inside) & ~cut & ~frame.draining & ~fault, "packet_is_whole")
    free = c.wire("word_leaves", 1)
    frame.go.drive(whole & free)
    out_valid, take = c.register("valid_word", 1, reset=0), c.input("take", 1)
    free.drive(~out_valid | take)
    out_valid.drive(mux(frame.go, frame.comes, out_valid & ~take))
    c.output("valid", out_valid)
    slots.drops.drive((frame.go & ~inside) | (frame.draining & first))
    frame.restart.drive(frame.rst | (frame.draining & first & slots.last))
    return _moved_down(frame, slots, place, (bits, past))


def _moved_down(frame: _Frame, slots: _Slots, place: Signal, lengths: tuple[Wire, Wire]) -> _Packet:
    """The two parts of a packet, each by a shifter."""
    c, layout = frame.c, frame.layout
    c.section("The packet, moved down to bit 0 in three stages.")
    front_bits = c.wire("front_bits", layout.front.bit_length())
    items_place = place.zext(place.width + 1) + front_bits.zext(place.width + 1)
    found: list[Signal] = []
    for name, begin, width in (
        ("front", place, layout.front),
        ("items", items_place, layout.items * (1 + layout.low_bits)),
    ):
        begin, part = named(begin, f"{name}_place"), slots.window
        for stage, (low, high) in enumerate(_SHIFT_STAGES):
            part = shifted_down(part, begin, (low, high), width + (1 << low) - 1)
            part = frame.data(part, f"{name}_part{stage}")
            begin = frame.data(begin[:low], f"{name}_place{stage}") if low else begin
        found.append(part)
    valid = frame.stage(c.const(1, 1), "packet_valid", stages=len(_SHIFT_STAGES))
    longs = c.wire("own_longs", layout.items.bit_length())
    return _Packet(found[0], found[1], valid, front_bits, lengths[0], longs, lengths[1])


def shifted_down(value: Signal, amount: Signal, bits: tuple[int, int], width: int) -> Signal:
    """`width` bits of a value from that bit on which these bits of an amount say."""
    low, high = bits[0], min(bits[1], amount.width)
    while high > low:
        # Two bits at once; of an odd number, the lowest alone.
        place = max(low, high - 2)
        wanted = width + (1 << place) - (1 << low)
        options = [_bits(value, n << place, wanted) for n in range(1 << (high - place))]
        value, high = choose(amount[place:high], options), place
    return _bits(value, 0, width)


def _bits(value: Signal, place: int, width: int) -> Signal:
    """`width` bits of a value, beyond which there are zeros."""
    if place >= value.width:
        return value.circuit.const(0, width)
    part = value[place : min(place + width, value.width)]
    return part.zext(width)


_HEAD_BITS = 1 + COUNT_BITS + KIND_BITS
"""The most that a packet has in front of its extras; in front of a stream, each has all of them."""


@dataclass(frozen=True)
class _Front:
    """What the front part of a packet says: of its own word, and of the one that is AHEAD."""

    begins: Signal
    special: Signal
    kind: Signal
    """k less what all have; of words without items, anything."""
    count: Signal
    """How many items it has."""
    present: Sequence[Signal]
    """Which items it has: the lowest ones."""
    long: Sequence[Signal]
    """Which of them are long."""
    flags: Signal
    extras: Signal
    """Of the packet itself."""
    following: Signal
    """Bits of the front part of the packet that is AHEAD, but for its extras."""

    @classmethod
    def read(cls, frame: _Frame, packet: _Packet) -> "_Front":
        """Take it apart."""
        c, layout = frame.c, frame.layout
        c.section("The front part of a packet: the ends of runs, and what words are AHEAD.")
        final = named(packet.front[0] | ~packet.valid, "final")
        finals = frame.history(final, "final", 2 * AHEAD + 1, reset=1)
        counted, begins = finals[AHEAD], finals[2 * AHEAD + 1]
        width = max(layout.items.bit_length(), COUNT_BITS)
        told = (packet.front[1 : 1 + COUNT_BITS] & packet.valid.replicate(COUNT_BITS)).zext(width)
        coming = named(mux(counted, told, c.const(layout.items, width)), "coming_flags")
        number = frame.history(coming, "flags", AHEAD, reset=0)[AHEAD]
        following = _head_bits(frame, final, finals[AHEAD + 1]) + coming.zext(
            packet.front_bits.width
        )

        rest = named(
            choose(
                concat(begins, counted),
                [
                    _bits(packet.front, place, EXTRA_BITS * layout.items + layout.flags)
                    for place in (1, 1 + COUNT_BITS, 1 + KIND_BITS, _HEAD_BITS)
                ],
            ),
            "behind_head",
        )
        extras = rest[: EXTRA_BITS * layout.items]
        by = concat(packet.longs, c.const(0, 1))
        flags = named(shifted_down(rest, by, (1, by.width), layout.flags), "flags")
        kind, special = _own_kind(frame, packet, (begins, counted), flags)
        count = number & (~special).replicate(width)
        present = [named(~count.ult(item + 1), f"present{item}") for item in range(layout.items)]
        long = [here & flags[item] for item, here in enumerate(present)]
        return cls(begins, special, kind, count, present, long, flags, extras, following)


def _head_bits(frame: _Frame, counted: Signal, begins: Signal) -> Signal:
    """Bits of a packet in front of its extras, as it tells a number of flags, or a kind."""
    width = frame.layout.front.bit_length()
    places = [1, 1 + COUNT_BITS, 1 + KIND_BITS, _HEAD_BITS]
    return choose(concat(begins, counted), [frame.c.const(place, width) for place in places])


def _own_kind(
    frame: _Frame, packet: _Packet, place: tuple[Signal, Signal], flags: Signal
) -> tuple[Signal, Signal]:
    """The kind of the word AHEAD, and whether it is special.

    `place` says whether it begins a run, and whether a number of flags stands in front of its kind.
    """
    c, (begins, counted) = frame.c, place
    step = mux(counted, packet.front[1 + COUNT_BITS : _HEAD_BITS], packet.front[1 : 1 + KIND_BITS])
    special = named(begins & step.eq(SPECIAL) & packet.valid, "special")
    kind = frame.state("kind", OWN_KIND_BITS, reset=FIRST_KIND)
    by = choose(step, [c.const(by % (1 << OWN_KIND_BITS), OWN_KIND_BITS) for by in STEPS])
    moves = (begins & packet.valid).replicate(OWN_KIND_BITS)
    own_kind = named(kind + (by & moves), "own_kind")
    told = flags[SPECIAL_FLAGS - OWN_KIND_BITS : SPECIAL_FLAGS]
    kind.drive(mux(special, told, own_kind), enable=frame.go)
    return own_kind, special


@dataclass(frozen=True)
class _Control:
    """What is known of a word when its packet comes."""

    begins: Signal
    special: Signal
    kind: Signal
    present: Sequence[Signal]
    long: Sequence[Signal]
    before: Sequence[Signal]
    """How many long items there are before each."""
    flags: Signal


def _look_ahead(frame: _Frame, front: _Front, packet: _Packet) -> _Control:
    """The lengths of a packet, in three stages from the one that is AHEAD of it."""
    c, layout = frame.c, frame.layout
    c.section("The length of the packet that is AHEAD, and what its word has.")
    present = frame.stage(concat(*reversed(front.present)), "ahead_present")
    long = frame.stage(concat(*reversed(front.long)), "ahead_long")
    begins = frame.stage(front.begins, "ahead_begins", reset=1)
    special = frame.stage(front.special, "ahead_special")
    count = frame.stage(front.count, "ahead_count")
    following = frame.stage(front.following, "following", reset=_HEAD_BITS)
    kind = frame.data(front.kind, "ahead_kind")
    flags = frame.data(front.flags[:2], "ahead_flags")

    longs = count_ones([long[item] for item in range(layout.items)])
    packet.longs.drive(frame.stage(longs, "longs", stages=AHEAD - 1))
    width = packet.front_bits.width
    own = following + concat(longs, c.const(0, 1)).zext(width)
    front_bits = frame.stage(own, "next_front_bits", reset=_HEAD_BITS)
    most = (layout.items * (1 + layout.low_bits)).bit_length()
    counted = choose(
        count,
        [
            choose(kind, [c.const(min(n, layout.items) * (1 + k), most) for k in _low_bits(layout)])
            for n in range(max(layout.items + 1, 1 << COUNT_BITS))
        ],
    )
    items_bits = frame.stage(counted, "next_items_bits")

    bits, slot = packet.bits.width, slot_bits(frame.config)
    total = front_bits.zext(bits) + items_bits.zext(bits)
    packet.bits.drive(frame.stage(named(total, "next_bits"), "bits", reset=_HEAD_BITS))
    wide = packet.past.width
    past = front_bits.zext(wide) + items_bits.zext(wide) - slot
    reset = (_HEAD_BITS - slot) % (1 << wide)
    packet.past.drive(frame.stage(past, "past", reset=reset))
    packet.front_bits.drive(frame.stage(front_bits, "bits_of_front", reset=_HEAD_BITS))
    # The word's items come as many stages behind its place as the packet's that is AHEAD of it.
    stages = AHEAD - 1
    present = frame.stage(present, "own_present", stages=stages)
    early = frame.stage(long, "early_long", stages=stages - 1)
    long = frame.stage(early, "own_long")
    before = [
        frame.data(count_ones([early[n] for n in range(item)]), f"long_before{item}")
        for item in range(1, layout.items)
    ]
    return _Control(
        begins=frame.stage(begins, "own_begins", reset=1, stages=stages),
        special=frame.stage(special, "own_special", stages=stages),
        kind=frame.data(kind, "kind_stage", stages),
        present=[present[item] for item in range(layout.items)],
        long=[long[item] for item in range(layout.items)],
        before=before,
        flags=frame.data(flags, "flags_stage", stages),
    )


def _low_bits(layout: Layout) -> list[int]:
    """The low bits that the items of a run have, by its kind; without items it is of any."""
    return [layout.base + max(kind, KINDS[0]) for kind in range(KINDS[-1] + 1)]


def _give_words(frame: _Frame, control: _Control, front: _Front, packed: Signal) -> Signal:
    """The word as ports; whether the one that comes is the end."""
    c = frame.c
    c.section("Gaps: the extra and the low bits of each item.")
    fresh = frame.state("fresh", 1, reset=1)
    step = named(control.begins & ~fresh, "steps")
    comes = named(control.special | control.present[0] | step, "is_word")
    fresh.drive(control.special, enable=frame.go & comes)
    gaps, nulls, negatives = _gaps(frame, control, front, packed)

    c.section("Rows: the gaps summed up.")
    begins, valid = (
        frame.stage(signal, name, stages=2)
        for signal, name in ((control.begins, "gap_begins"), (comes, "gap_valid"))
    )
    rows = sum_up(c, frame.config, gaps, (begins, valid), frame.go, base=1)
    nulls = [frame.data(null, f"null{item}", RUN_STAGES - 1) for item, null in enumerate(nulls)]
    c.section("The word.")
    word = null_or_row(c, frame.config, rows, nulls, frame.go)
    for item, negative in enumerate(negatives):
        negative = frame.data(negative, f"negative{item}", RUN_STAGES - 1)
        word[f"negative{item}"] = frame.data(negative, f"negative{item}_out")
    flags = {"step": step} | {
        name: control.special & control.flags[n] for n, name in enumerate(("last", "end"))
    }
    flags = {name: frame.data(flag, name, _WORD_STAGES - 1) for name, flag in flags.items()}
    # The last stage has no reset, since the end waits in it while another kernel begins.
    word |= {name: frame.data(flag, f"{name}_out") for name, flag in flags.items()}
    outputs(c, "word", word)
    coming = frame.stage(valid, "word_valid", stages=RUN_STAGES - 1)
    frame.comes.drive(coming)
    return named(coming & flags["end"], "end_comes")


def _gaps(
    frame: _Frame, control: _Control, front: _Front, packed: Signal
) -> tuple[list[Signal], list[Signal], list[Signal]]:
    """The gap of each item, whether it is null, and whether it is negative, two stages later."""
    layout = frame.layout
    kind = frame.data(control.kind, "gap_kind")
    pairs = [front.extras[n * EXTRA_BITS : (n + 1) * EXTRA_BITS] for n in range(layout.items)]
    joining = _Joining(frame, kind)
    gaps: list[Signal] = []
    nulls: list[Signal] = []
    negatives: list[Signal] = []
    for item in range(layout.items):
        pair = choose(control.before[item - 1], pairs[: item + 1]) if item else pairs[0]
        times = pair.zext(_HIGH_BITS) + 1
        times = times & control.long[item].replicate(times.width)
        times = frame.data(named(times, f"times{item}"), f"times{item}_stage")
        field = _field(frame, control.kind, packed, item)
        low = frame.data(field[1:], f"low{item}")
        negative = frame.data(field[0] & control.present[item], f"sign{item}")
        absent = frame.data(~control.present[item], f"absent{item}")
        gap, null = joining.joined(times, low)
        gap = gap[: min(gap.width, frame.config.address_width)]
        gaps.append(frame.data(gap, f"gap{item}"))
        nulls.append(frame.data(null | absent, f"gap_null{item}"))
        negatives.append(frame.data(negative, f"gap_sign{item}"))
    return gaps, nulls, negatives


def _field(frame: _Frame, kind: Signal, packed: Signal, item: int) -> Signal:
    """An item's sign and its low bits, which are zero beyond those that its run has."""
    width = 1 + frame.layout.low_bits
    return choose(
        kind,
        [
            packed[item * (1 + k) : (item + 1) * (1 + k)].zext(width)
            for k in _low_bits(frame.layout)
        ],
    )


class _Joining:
    """Putting an item's high bits in front of its low bits, of which runs have different numbers.

    A bit is one of four, with the same choice for all items: the low bit, which is zero where the
    run has none, or one of the high bits.
    """

    def __init__(self, frame: _Frame, kind: Signal):
        self.layout, self.kind = frame.layout, kind
        self.wide = _HIGH_BITS + frame.layout.low_bits
        self.choices = [
            named(self._choice(frame.c, bit), f"choice{bit}") for bit in range(self.wide)
        ]

    def _choice(self, c: Circuit, bit: int) -> Signal:
        """Which of the high bits takes this place, plus one; 0 for the low bit."""
        places = [bit - k for k in _low_bits(self.layout)]
        numbers = [place + 1 if 0 <= place < _HIGH_BITS else 0 for place in places]
        return choose(self.kind, [c.const(number, 2) for number in numbers])

    def joined(self, high: Signal, low: Signal) -> tuple[Signal, Signal]:
        """The gap, which of a null item is one less, and whether it is one."""
        ones = choose(self.kind, [low[:k].all() for k in _low_bits(self.layout)])
        null = high[_HIGH_BITS - 1] & ones
        bits: list[Signal] = []
        for bit, choice in enumerate(self.choices):
            own = low[bit] if bit < low.width else low[0] & 0
            bits.append(choose(choice, [own, *(high[n] for n in range(_HIGH_BITS))]))
        return concat(*reversed(bits[1:]), bits[0] & ~null), null
