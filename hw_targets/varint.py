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

    final     1 bit: whether word w + AHEAD + FINAL_AHEAD is the last one of its run
    kind      3 bits, only if word w + AHEAD is the first one of its run: k - base, or `SPECIAL`
    flags     a bit for each item of word w + AHEAD: which ones are long. The last word of a run has
              n items, fewer than there are places: n bits, then a 1 and zeros.
    extras    2 bits for each long item of word w
    items     for each item of word w its sign, which is 1 if it is subtracted, and k bits

A special word has no items, and is alone in its run. It is that of an output's last step, or ends
a PE's stream: bit 0 of its flags is `last`, bit 1 `end`. A last word of a run without items
that is not the first one, either, is no word, and only tells that the one before it was the last.
In front of word 0 and behind the end there are runs of no items, which no output begins with, and
they are no words, either.
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
"""Words that a word's flags are ahead of its items: the cycles of a decoder from the bits of a
packet to the length of the packet that they are for."""

FINAL_AHEAD = 4
"""Words that the ends of runs are ahead of that: they say how long the part in front is."""

TRAILING = 10
"""Packets behind the last word: those in a decoder when the word leaves it, and one more."""

LEADING = AHEAD + FINAL_AHEAD
"""Packets in front of that of word 0."""

KIND_BITS, EXTRA_BITS = 3, 2
SPECIAL = 0
MOST_KIND = 6
"""The kinds of runs with items are 1..6: k - base."""

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
        return self.base + MOST_KIND

    @property
    def front(self) -> int:
        """Bits of the longest packet up to its extras."""
        return 1 + KIND_BITS + self.items

    @property
    def longest(self) -> int:
        """Bits of the longest packet."""
        return self.front + self.items * (EXTRA_BITS + 1 + self.low_bits)


def reach[T: (int, Ints)](low_bits: T) -> T:
    """Rows that a null item leads on; the gaps of other items are shorter."""
    return (5 << low_bits) - 1


def gap_bits(gap: Ints, low_bits: int) -> Ints:
    """Bits of the gaps of items, with their nulls, apart from flags."""
    nulls, rest = np.divmod(gap, reach(low_bits))
    each = 1 + low_bits + EXTRA_BITS
    return nulls * (each + 1) + np.where(rest >> low_bits > 0, each, each - EXTRA_BITS)


def best_low_bits(gap: Ints, run: Ints, runs: int, layout: Layout) -> Ints:
    """[runs] the k of each run for which its items, of these gaps, take the fewest bits.

    Nulls are put where gaps are too long. `gap` and `run` are [items].
    """
    totals = [
        np.bincount(run, gap_bits(gap, layout.base + kind), runs)
        for kind in range(1, MOST_KIND + 1)
    ]
    return layout.base + 1 + np.argmin(totals, axis=0)


@dataclass(frozen=True)
class _Packets:
    """The words of a stream with those that are none, as they are in the code; all [words]."""

    source: Ints
    """The word's number; -1 for what is none."""
    final: NDArray[np.bool]
    """The last one of its run."""
    begins: NDArray[np.bool]
    kind: Ints
    flags: Ints
    items: Ints


def encode(words: Words, shape: ElementShape) -> Bits:
    """The bits of a PE's stream, each in a byte.

    Args:
        words: the fields [rows] of its words, with whole addresses.
        shape: of the element.

    Raises:
        ValueError: words that the code does not have: a gap too long for its nulls, items out of
            the order of their rows, or a word with room in the middle of a run.
    """
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
    gap, low_bits = _gaps(index, filled, present, run, layout)
    wide = np.where(special, 0, low_bits[run])
    long = present & (gap >> wide[:, np.newaxis] > 0)

    packets = _packets(words, final, begins, wide, long, count, layout)
    fields = _fields(packets, gap, negative, wide, long, present, layout)
    return _spread(*fields)


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
    best = np.full(runs, np.iinfo(np.int64).max)
    low_bits = np.full(runs, layout.base + 1)
    for kind in range(1, MOST_KIND + 1):
        k = layout.base + kind
        rest = (flat - before - 1 - nulls * reach(k))[items]
        bad = np.bincount(of_run[items], (rest < 0) | (rest >= reach(k)), runs) > 0
        cost = np.bincount(of_run[items], gap_bits(np.maximum(rest, 0), k), runs)
        cost += np.bincount(of_run[used & ~real], minlength=runs) * (k + 1 + EXTRA_BITS)
        better = ~bad & (cost < best)
        best = np.where(better, cost, best)
        low_bits = np.where(better, k, low_bits)
    if (best == np.iinfo(np.int64).max).any():
        word = int(np.searchsorted(run, int(best.argmax())))
        raise ValueError(f"rows that the code does not have, of the run at word {word}")
    k = low_bits[of_run]
    gap = np.where(real, flat - before - 1 - nulls * reach(k), reach(k))
    return np.where(used, gap, 0).reshape(shape), low_bits


def _packets(
    words: Words,
    final: NDArray[np.bool],
    begins: NDArray[np.bool],
    wide: Ints,
    long: NDArray[np.bool],
    count: Ints,
    layout: Layout,
) -> _Packets:
    """All words, with those that are none: behind full ones that end runs, in front and behind."""
    special = (words["last"] | words["end"]) > 0
    flags = (long.astype(np.int64) << np.arange(layout.items)).sum(axis=1)
    flags = np.where(final & (count < layout.items), flags | 1 << count, flags)
    flags = np.where(special, words["last"] | words["end"] << 1, flags)
    full = final & (count == layout.items)
    at = np.flatnonzero(full) + 1
    # Runs without items stand in front and behind.
    at = np.concatenate((np.zeros(LEADING, np.int64), at))

    def extended[T: np.generic](values: NDArray[T], inserted: int, closing: int) -> NDArray[T]:
        new = np.repeat(np.array([closing, inserted]), [LEADING, len(at) - LEADING])
        whole = np.insert(values, at, new.astype(values.dtype))
        return np.append(whole, np.full(TRAILING + LEADING, closing, values.dtype))

    return _Packets(
        source=extended(np.arange(len(final)), -1, -1),
        final=extended(final & ~full, 1, 1),
        begins=extended(begins, 0, 1),
        kind=extended(np.where(special, SPECIAL, wide - layout.base), 0, 1),
        flags=extended(flags, 1, 1),
        items=extended(count, 0, 0),
    )


def _fields(
    packets: _Packets,
    gap: Ints,
    negative: Ints,
    wide: Ints,
    long: NDArray[np.bool],
    present: NDArray[np.bool],
    layout: Layout,
) -> tuple[Ints, Ints]:
    """The values and the widths of all fields, in order: [fields]."""
    last = len(packets.source) - LEADING
    ahead, own = slice(AHEAD, AHEAD + last), slice(0, last)
    source, items = packets.source[own], layout.items
    known = source >= 0
    k = np.where(known, wide[source], 0)[:, np.newaxis]
    here = present[source] & known[:, np.newaxis]
    number = gap[source]
    extra = np.where(here & long[source], (number >> k) - 1, 0)
    low = (number & ((1 << k) - 1)) << 1 | negative[source]
    columns = [
        (packets.final[LEADING : LEADING + last].astype(np.int64), np.ones(last, np.int64)),
        (packets.kind[ahead], KIND_BITS * packets.begins[ahead]),
        (packets.flags[ahead], np.full(last, items)),
        *((extra[:, i], EXTRA_BITS * (here & long[source])[:, i]) for i in range(items)),
        *((low[:, i], np.where(here[:, i], 1 + k[:, 0], 0)) for i in range(items)),
    ]
    values = np.stack([value for value, _ in columns], axis=1).reshape(-1)
    widths = np.stack([width.astype(np.int64) for _, width in columns], axis=1).reshape(-1)
    return values, widths


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
    at = control.extras + EXTRA_BITS * long.sum(axis=1)
    at = at[:, np.newaxis] + (1 + k) * slot
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
    count: Ints
    low_bits: Ints
    flags: Ints
    begins: NDArray[np.bool]
    special: NDArray[np.bool]

    @classmethod
    def read(cls, bits: Bits, layout: Layout) -> "_Control":
        """Follow the packets up to the end."""
        items, front = layout.items, layout.front
        padded = np.append(bits, np.zeros(front, np.uint8)).astype(np.int64)
        windows = sum(
            (padded[bit : len(padded) - front + bit] << bit for bit in range(front)),
            np.zeros(len(bits), np.int64),
        ).tolist()
        mask = (1 << items) - 1
        place, k, fresh = 0, 0, True
        # The words between those whose packet comes and those of which ends of runs are known.
        begins = [True] * (FINAL_AHEAD + 1)
        queue = [(0, 1, 0, True, False)] * AHEAD
        rows: list[tuple[int, int, int, int, bool, bool]] = []
        while True:
            if place >= len(windows):
                raise ValueError("a stream that ends before its last word")
            window = windows[place]
            beginning = begins[0]
            final = window & 1
            begins = [*begins[1:], final > 0]
            flags = window >> (1 + KIND_BITS * beginning) & mask
            if beginning:
                k = window >> 1 & ((1 << KIND_BITS) - 1)
            place += 1 + KIND_BITS * beginning + items
            special = beginning and k == SPECIAL
            if special:
                count = 0
            elif begins[0]:
                count = max(flags.bit_length() - 1, 0)
            else:
                count = items
            queue.append((count, flags, k, beginning, special))
            count, flags, kind, beginning_now, special = queue.pop(0)
            if special or count or (beginning_now and not fresh):
                rows.append((place, count, kind, flags, beginning_now, special))
                if special and flags & 2:
                    break
                fresh = special
            long = (flags & ((1 << count) - 1)).bit_count()
            place += EXTRA_BITS * long + count * (1 + layout.base + kind)
        columns = np.array(rows, np.int64).reshape(-1, 6).T
        count, kind, flags = columns[1], columns[2], columns[3]
        low_bits = np.where(count > 0, layout.base + kind, 0)
        return cls(columns[0], count, low_bits, flags, columns[4] > 0, columns[5] > 0)
