# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A dense code for streams of ordered-sum words: gaps between rows, in as few bits as they need.

It is a group code, as Group Varint (Dean, WSDM 2009) and Stream VByte (Lemire et al., Information
Processing Letters, 2018), by bits in place of bytes: what says how long the numbers of a word are
stands apart from the numbers, and ahead of them. So a decoder knows where a word begins before it
has the one in front of it, and takes a word a cycle at the clock of an adder.

A number is the gap from an item's row to that of the item before in its run, less 1, or of the
first one of a run, its row. Of a run, whose gaps are about as long, there are `low_bits` k. A gap v
below 2^k is short, and takes k bits. A long one takes two more: v = (1 + extra)·2^k + low. The
largest, 5·2^k - 1, is that of a null item, which leads 5·2^k - 1 rows on.

The bits of a stream are a packet for each word, the lowest bits first. The packet of word w has

    final     1 bit: whether word w + 3·AHEAD is the last one of its run
    count     3 bits, only if word w + 2·AHEAD is the last one of its run: how many flags it has
    kind      2 bits, only if word w + AHEAD is the first one of its run: how k differs from that
              of the run before, one of `STEPS`; or `SPECIAL`
    extras    2 bits for each long item of word w
    flags     a bit for each item of word w + AHEAD: which ones are long
    items     for each item of word w its sign, which is 1 if it is subtracted, and k bits

The last word of a run has fewer items than there are places; all others have an item in each. A
last word without items that is not the first one, either, is no word, and only tells that the one
before it was the last. A special word has no items, but five flags, and is alone in its run. It is
that of an output's last step, or ends a PE's stream: the flags are `last`, `end`, and the three
bits of k - base of the run before the next one, as it were. In front of word 0 and behind the end
there are runs of no items, which no output begins with, and they are no words, either.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.families.descriptor import Words
from daqkf.hw_targets.shape import ElementShape

Ints = NDArray[np.int64]
Bits = NDArray[np.uint8]

AHEAD = 6
"""Words that a word's flags are ahead of its items, its number of flags of these, and the end of
its run of that: the cycles of a decoder from the bits of a packet to the length of the packet that
depends on them."""

TRAILING = 10
"""Packets behind the last word: those in a decoder when the word leaves it, and one more."""

LEADING = 3 * AHEAD
"""Packets in front of that of word 0."""

COUNT_BITS, KIND_BITS, EXTRA_BITS = 3, 2, 2

STEPS = (0, 1, -1)
"""By how much the k of a run is more than that of the run before."""

SPECIAL = 3
"""What stands in place of a step's number for a special word."""

KINDS = range(1, 7)
"""k - base of runs."""

FIRST_KIND = 4
"""k - base of the runs in front of word 0."""

OWN_KIND_BITS = 3
"""Bits of k - base, where it is told by itself."""

SPECIAL_FLAGS = 2 + OWN_KIND_BITS
"""Flags of a special word."""

BASE_ADDRESS_BITS = 11
"""Addresses of more bits have as many more `low_bits` at least, since gaps are longer."""


class Layout(NamedTuple):
    """The code of an array's streams."""

    items: int
    null_address: int
    base: int
    """k - kind."""

    @classmethod
    def of(cls, shape: ElementShape) -> "Layout":
        """That of elements of this shape."""
        base = max(0, shape.address_width - BASE_ADDRESS_BITS)
        return cls(shape.items, shape.null_address, base)

    @property
    def low_bits(self) -> int:
        """The most that a run has."""
        return self.base + KINDS[-1]

    @property
    def flags(self) -> int:
        """The most that a word has, also in a damaged code."""
        return max(self.items, (1 << COUNT_BITS) - 1)

    @property
    def front(self) -> int:
        """Bits of the longest packet in front of its items."""
        return 1 + COUNT_BITS + KIND_BITS + EXTRA_BITS * self.items + self.flags

    @property
    def longest(self) -> int:
        """Bits of the longest packet."""
        return self.front + self.items * (1 + self.low_bits)


def reach[T: (int, Ints)](low_bits: T) -> T:
    """Rows that a null item leads on; the gaps of other items are shorter."""
    return (5 << low_bits) - 1


def gap_bits(gap: Ints, low_bits: int) -> Ints:
    """Bits of the gaps of items, with their nulls, apart from flags."""
    nulls, rest = np.divmod(gap, reach(low_bits))
    each = 1 + low_bits + EXTRA_BITS
    return nulls * (each + 1) + np.where(rest >> low_bits > 0, each, each - EXTRA_BITS)


def best_low_bits(gap: Ints, run: Ints, fresh: NDArray[np.bool], far: Ints, layout: Layout) -> Ints:
    """[runs] the k of each run with which the items of an output take the fewest bits.

    Nulls are put where gaps are too long.

    Args:
        gap: [items] of each.
        run: [items] the run that it is of.
        fresh: [runs] whether a run is the first one of its output.
        far: [runs] by how much its k may differ from that of the run before: by 1, and 1 more for
            each run without items between them.
        layout: of the code.
    """
    totals = [np.bincount(run, gap_bits(gap, layout.base + kind), len(fresh)) for kind in KINDS]
    return layout.base + KINDS[0] + _least(np.stack(totals, axis=1), fresh, far)


def _least(costs: NDArray[np.float64], fresh: NDArray[np.bool], far: Ints) -> Ints:
    """[runs] the choices of each output that cost least, among those that may follow one another.

    Viterbi's algorithm for all outputs at once.

    Args:
        costs: [runs, choices] of a run's choice; infinite if it has none.
        fresh: [runs] whether a run is the first one of its output.
        far: [runs] by how much its choice may differ from that of the run before.
    """
    firsts = np.flatnonzero(fresh)
    lengths = np.diff(np.append(firsts, len(fresh)))
    choices = np.arange(int(costs.shape[1]))
    apart = np.abs(choices[:, np.newaxis] - choices)
    found = np.zeros(len(fresh), np.int64)
    came = np.zeros(costs.shape, np.int64)
    best = costs.astype(np.float64)
    for place in range(1, int(lengths.max(initial=0))):
        own = firsts[lengths > place] + place
        barred = apart > far[own][:, np.newaxis, np.newaxis]
        paths = np.where(barred, np.inf, best[own - 1][:, :, np.newaxis])
        came[own] = paths.argmin(axis=1)
        best[own] += paths.min(axis=1)
    lasts = firsts + lengths - 1
    found[lasts] = best[lasts].argmin(axis=1)
    for place in range(int(lengths.max(initial=0)) - 1, 0, -1):
        own = firsts[lengths > place] + place
        found[own - 1] = came[own, found[own]]
    return found


@dataclass(frozen=True)
class _Packets:
    """The words of a stream with those that are none, as they are in the code; all [words]."""

    source: Ints
    """The word's number; -1 for what is none."""
    final: NDArray[np.bool]
    """The last one of its run."""
    begins: NDArray[np.bool]
    kind: Ints
    """Of the first word of a run: what says its k."""
    count: Ints
    """How many flags it has."""
    flags: Ints


def encode(words: Words, shape: ElementShape) -> Bits:
    """The bits of a PE's stream, each in a byte.

    Args:
        words: the fields [rows] of its words, with whole addresses.
        shape: of the element.

    Raises:
        ValueError: words that the code does not have: a gap too long for its nulls, items out of
            the order of their rows, or a word with room in the middle of a run.
    """
    _, values, widths = _coded(words, shape)
    return _spread(values.reshape(-1), widths.reshape(-1))


def output_bits(words: Words, shape: ElementShape) -> Ints:
    """[outputs] the bits of a PE's stream that each of its outputs takes, in order.

    What is in front of the first one and behind the last one is theirs. See `encode`.
    """
    packets, _, widths = _coded(words, shape)
    ended = np.cumsum(words["last"]).astype(np.int64)
    own = np.minimum(ended - words["last"], ended[-1] - 1)
    # What is no word belongs to the one before.
    word = np.maximum(np.maximum.accumulate(packets.source[: len(widths)]), 0)
    found = np.bincount(own[word], widths.sum(axis=1), int(ended[-1]))
    return found.astype(np.int64)


def _coded(words: Words, shape: ElementShape) -> tuple[_Packets, Ints, Ints]:
    """The packets of a stream, and the values and the widths [packets, fields] of their fields."""
    layout = Layout.of(shape)
    index = np.stack([words[f"index{item}"] for item in range(layout.items)], axis=1)
    negative = np.stack([words[f"negative{item}"] for item in range(layout.items)], axis=1)
    special = (words["last"] | words["end"]) > 0
    begins = (words["step"] > 0) | special | np.append(True, special[:-1])
    final = np.append(begins[1:], True)
    if words.get("shift", np.zeros(1)).any():
        raise ValueError("a step of several levels")
    filled = index != layout.null_address
    count = layout.items - np.argmax(filled[:, ::-1], axis=1)
    count = np.where(final, np.where(filled.any(axis=1), count, 0), layout.items)
    _require_words(words, special, begins, count)

    run = np.cumsum(begins) - 1
    present = np.arange(layout.items) < count[:, np.newaxis]
    gap, low_bits = _gaps(index, filled, present, run, special[begins], layout)
    wide = np.where(special, 0, low_bits[run])
    long = present & (gap >> wide[:, np.newaxis] > 0)

    packets = _packets(words, begins, low_bits - layout.base, long, count, layout)
    return packets, *_fields(packets, gap, negative, wide, long, present, layout)


def _require_words(
    words: Words, special: NDArray[np.bool], begins: NDArray[np.bool], count: Ints
) -> None:
    """Check what a decoder takes for granted.

    Raises:
        ValueError: words that no stream of the family has.
    """
    after = np.append(True, special[:-1])
    wrong = {
        "an output's last word with items": special & (count > 0),
        "an output that begins with a step": after & (words["step"] > 0),
        "an output that begins without items": after & ~special & (count == 0),
        "a level that goes on without items": ~begins & (count == 0),
    }
    # The last word of an output without items has no step.
    wrong["an output that ends without a step"] = special & ~after & (words["step"] == 0)
    ends = np.flatnonzero(words["end"])
    if ends.tolist() != [len(special) - 1]:
        raise ValueError("a stream with other than one end")
    for what, where in wrong.items():
        if where.any():
            raise ValueError(f"{what}, word {int(np.flatnonzero(where)[0])}")


def _gaps(
    index: Ints,
    filled: NDArray[np.bool],
    present: NDArray[np.bool],
    run: Ints,
    special: NDArray[np.bool],
    layout: Layout,
) -> tuple[Ints, Ints]:
    """The number of each place [words, items], and the k of each run.

    Raises:
        ValueError: no k is right for a run.
    """
    runs = int(run[-1]) + 1
    shape = index.shape
    flat, real, used = index.reshape(-1), filled.reshape(-1), present.reshape(-1)
    of_run = np.repeat(run, shape[1])
    place = np.arange(len(flat))
    known = np.append(-1, np.maximum.accumulate(np.where(real, place, -1))[:-1])
    first = np.searchsorted(of_run, np.arange(runs))[of_run]
    inside = known >= first
    before = np.where(inside, flat[known], -1)
    nulls = place - np.where(inside, known + 1, first)
    items = np.flatnonzero(real)
    costs = np.zeros((runs, len(KINDS)))
    for number, kind in enumerate(KINDS):
        k = layout.base + kind
        rest = (flat - before - 1 - nulls * reach(k))[items]
        bad = np.bincount(of_run[items], (rest < 0) | (rest >= reach(k)), runs) > 0
        cost = np.bincount(of_run[items], gap_bits(np.maximum(rest, 0), k), runs)
        cost += np.bincount(of_run[used & ~real], minlength=runs) * (k + 1 + EXTRA_BITS)
        costs[:, number] = np.where(bad, np.inf, cost)
    low_bits = layout.base + _kinds(costs, run, special)
    k = low_bits[of_run]
    gap = np.where(real, flat - before - 1 - nulls * reach(k), reach(k))
    return np.where(used, gap, 0).reshape(shape), low_bits


def _kinds(costs: NDArray[np.float64], run: Ints, special: NDArray[np.bool]) -> Ints:
    """[runs] k - base, by what the kinds of each cost [runs, kinds]; of special words, any.

    Raises:
        ValueError: no k is right for a run.
    """
    own = np.flatnonzero(~special)
    fresh = np.append(True, special[:-1])[own]
    far = np.ones(len(own), np.int64)
    chosen = _least(costs[own], fresh, far)
    wrong = np.isinf(costs[own, chosen])
    wrong |= ~fresh & (np.abs(np.diff(chosen, prepend=0)) > far)
    if wrong.any():
        word = int(np.searchsorted(run, int(own[wrong.argmax()])))
        raise ValueError(f"rows that the code does not have, of the run at word {word}")
    kinds = np.full(len(special), FIRST_KIND)
    kinds[own] = KINDS[0] + chosen
    return kinds


def _packets(
    words: Words,
    begins: NDArray[np.bool],
    kinds: Ints,
    long: NDArray[np.bool],
    count: Ints,
    layout: Layout,
) -> _Packets:
    """All words, with those that are none: behind full ones that end runs, in front and behind."""
    special = (words["last"] | words["end"]) > 0
    final = np.append(begins[1:], True)
    flags = (long.astype(np.int64) << np.arange(layout.items)).sum(axis=1)
    following = np.append(kinds[1:], FIRST_KIND)[np.cumsum(begins) - 1]
    flags = np.where(special, words["last"] | words["end"] << 1 | following << 2, flags)
    full = final & (count == layout.items)
    kind = np.zeros(len(final), np.int64)
    kind[begins], leading = _steps(kinds, special[begins])
    at = np.flatnonzero(full) + 1
    # Runs without items stand in front and behind.
    at = np.concatenate((np.zeros(LEADING, np.int64), at))

    def extended[T: np.generic](values: NDArray[T], inserted: int, closing: int) -> NDArray[T]:
        new = np.repeat(np.array([closing, inserted]), [LEADING, len(at) - LEADING])
        whole = np.insert(values, at, new.astype(values.dtype))
        return np.append(whole, np.full(TRAILING + LEADING, closing, values.dtype))

    kind = extended(kind, 0, 0)
    kind[:LEADING] = leading
    return _Packets(
        source=extended(np.arange(len(final)), -1, -1),
        final=extended(final & ~full, 1, 1),
        begins=extended(begins, 0, 1),
        kind=kind,
        count=extended(np.where(special, SPECIAL_FLAGS, count), 0, 0),
        flags=extended(flags, 0, 0),
    )


def _steps(kinds: Ints, special: NDArray[np.bool]) -> tuple[Ints, Ints]:
    """What says the kinds [runs], and those of the runs in front [LEADING]."""
    number = np.zeros(len(STEPS), np.int64)
    number[list(STEPS)] = np.arange(len(STEPS))
    # A special word has the kind behind it as its own, from which it is no step to that.
    before = np.append(kinds[0], np.where(special, np.append(kinds[1:], 0), kinds)[:-1])
    found = np.where(special, SPECIAL, number[np.where(special, 0, kinds - before)])
    towards = int(kinds[0]) - FIRST_KIND
    leading = np.zeros(LEADING, np.int64)
    leading[LEADING - abs(towards) :] = number[np.sign(towards)]
    return found, leading


def _fields(
    packets: _Packets,
    gap: Ints,
    negative: Ints,
    wide: Ints,
    long: NDArray[np.bool],
    present: NDArray[np.bool],
    layout: Layout,
) -> tuple[Ints, Ints]:
    """The values and the widths of all fields, in order: [packets, fields]."""
    last = len(packets.source) - LEADING
    far, near, ahead, own = (slice(n * AHEAD, n * AHEAD + last) for n in (3, 2, 1, 0))
    source, items = packets.source[own], layout.items
    known = source >= 0
    k = np.where(known, wide[source], 0)[:, np.newaxis]
    here = present[source] & known[:, np.newaxis]
    number = gap[source]
    extra = np.where(here & long[source], (number >> k) - 1, 0)
    low = (number & ((1 << k) - 1)) << 1 | negative[source]
    counted = packets.final[near]
    columns = [
        (packets.final[far].astype(np.int64), np.ones(last, np.int64)),
        (packets.count[near], COUNT_BITS * counted),
        (packets.kind[ahead], KIND_BITS * packets.begins[ahead]),
        *((extra[:, i], EXTRA_BITS * (here & long[source])[:, i]) for i in range(items)),
        (packets.flags[ahead], packets.count[ahead]),
        *((low[:, i], np.where(here[:, i], 1 + k[:, 0], 0)) for i in range(items)),
    ]
    values = np.stack([value for value, _ in columns], axis=1)
    return values, np.stack([width.astype(np.int64) for _, width in columns], axis=1)


def _spread(values: Ints, widths: Ints) -> Bits:
    """The bits of fields one after another, the lowest first."""
    ends = np.cumsum(widths)
    place = np.arange(int(ends[-1])) - np.repeat(ends - widths, widths)
    return (np.repeat(values, widths) >> place & 1).astype(np.uint8)


def decode(bits: Bits, shape: ElementShape) -> Words:
    """The fields of a PE's words, from the bits that `encode` made of them or more.

    Raises:
        ValueError: they end before the stream does.
    """
    layout = Layout.of(shape)
    control = _Control.read(bits, layout)
    count, k = control.count[:, np.newaxis], control.low_bits[:, np.newaxis]
    slot = np.arange(layout.items)
    here = slot < count
    long = here & (control.flags[:, np.newaxis] >> slot & 1 > 0)
    padded = np.append(bits, np.zeros(layout.longest, np.uint8)).astype(np.int64)

    def taken(places: Ints, width: int) -> Ints:
        found = [padded[np.minimum(places + bit, len(padded) - 1)] << bit for bit in range(width)]
        return np.sum(found, axis=0)

    at = control.extras[:, np.newaxis] + EXTRA_BITS * (np.cumsum(long, axis=1) - long)
    extra = np.where(long, taken(at, EXTRA_BITS) + 1, 0)
    at = control.items[:, np.newaxis] + (1 + k) * slot
    item = np.where(here, taken(at, 1 + layout.low_bits), 0)
    gap = (item >> 1 & ((1 << k) - 1)) + (extra << k)
    null = ~here | (gap == reach(k))
    step = control.begins & ~np.append(True, control.special[:-1])
    run = np.maximum.accumulate(np.where(control.begins, np.arange(len(step)), 0))
    ahead = np.append(0, np.cumsum(np.where(here, gap + np.where(null, 0, 1), 0)))
    before = ahead[run * layout.items]
    row = (ahead[1:].reshape(null.shape) - before[:, np.newaxis] - 1) % (layout.null_address + 1)
    index = np.where(null, layout.null_address, row)
    fields: dict[str, Ints] = {}
    for number in range(layout.items):
        fields[f"index{number}"] = index[:, number]
        fields[f"negative{number}"] = np.where(here[:, number], item[:, number] & 1, 0)
    return fields | {
        "step": step.astype(np.int64),
        "last": (control.special & (control.flags & 1 > 0)).astype(np.int64),
        "end": (control.special & (control.flags & 2 > 0)).astype(np.int64),
    }


@dataclass(frozen=True)
class _Control:
    """What the front parts of packets say of the words; all [words]."""

    extras: Ints
    """Where a word's extras begin."""
    items: Ints
    """Where its items begin."""
    count: Ints
    low_bits: Ints
    flags: Ints
    begins: NDArray[np.bool]
    special: NDArray[np.bool]

    @classmethod
    def read(cls, bits: Bits, layout: Layout) -> "_Control":
        """Follow the packets up to the end."""
        front = layout.front
        padded = np.append(bits, np.zeros(front, np.uint8)).astype(np.int64)
        windows = sum(
            (padded[bit : len(padded) - front + bit] << bit for bit in range(front)),
            np.zeros(len(bits), np.int64),
        ).tolist()
        # Of the words from the one of the first packet on; those in front of what packets tell have
        # no items.
        final, count = [True] * (3 * AHEAD), [0] * (2 * AHEAD)
        ahead = [(0, KINDS[0], 0, True, False)] * AHEAD
        place, k, fresh = 0, FIRST_KIND, True
        rows: list[tuple[int, int, int, int, int, bool, bool]] = []
        for word in range(len(bits) + 1):
            if place >= len(windows):
                break
            window, taken = windows[place], 1
            final.append(window & 1 > 0)
            count.append(layout.items)
            if final[word + 2 * AHEAD]:
                count[-1] = window >> taken & ((1 << COUNT_BITS) - 1)
                taken += COUNT_BITS
            begins, special = final[word + AHEAD - 1], False
            if begins:
                step = window >> taken & ((1 << KIND_BITS) - 1)
                taken += KIND_BITS
                special = step == SPECIAL
                k = k if special else (k + STEPS[step]) % (1 << OWN_KIND_BITS)
            items, kind, own_flags, own_begins, own_special = ahead[word]
            extras = place + taken
            taken += EXTRA_BITS * (own_flags & ((1 << items) - 1)).bit_count()
            number = count[word + AHEAD]
            flags = window >> taken & ((1 << number) - 1)
            taken += number
            number = 0 if special else min(number, layout.items)
            # Of a damaged code k may be beyond those that there are.
            ahead.append((number, min(max(k, KINDS[0]), KINDS[-1]), flags, begins, special))
            k = flags >> 2 & ((1 << OWN_KIND_BITS) - 1) if special else k
            if own_special or items or (own_begins and not fresh):
                row = extras, place + taken, items, kind, own_flags, own_begins, own_special
                rows.append(row)
                if own_special and own_flags & 2:
                    return cls.of(rows, layout)
                fresh = own_special
            place += taken + items * (1 + layout.base + kind)
        raise ValueError("a stream that ends before its last word")

    @classmethod
    def of(
        cls, rows: list[tuple[int, int, int, int, int, bool, bool]], layout: Layout
    ) -> "_Control":
        """Of words in their order; see the fields, of which `low_bits` are k - base."""
        columns = np.array(rows, np.int64).T
        low_bits = np.where(columns[2] > 0, layout.base + columns[3], 0)
        first = columns[0], columns[1], columns[2], low_bits, columns[4]
        return cls(*first, columns[5] > 0, columns[6] > 0)
