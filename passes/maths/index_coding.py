# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Coding the indices of streams whose place is the value, and what each coding takes.

Within a magnitude the items of an output are sorted by row, so an item needs only the distance
to the item before it: fewer bits, the more items a magnitude has. `encode` makes such a stream,
`decode` is what the hardware makes of it:

- An item is a field `delta` of D bits and its sign `negative`. A PE keeps a base, an activation
  address. An item adds its delta to the base and reads the row there.
- `delta` = 0 is a null item: it reads the row of zeros, and its sign does not reach the lanes
  (the ones' complement of 0 is -1). With the sign set it is an escape and adds 2^D - 1.
- The items of a word count one after another: with deltas a, b from base B they read B + a and
  B + a + b, and the second is the new base.
- A word with `step` sets the base to all ones, after its items; so does the start of a run. The
  first item of a magnitude then has its row plus 1 as delta, and no state crosses outputs: the
  words of an output are the same wherever the schedule puts it.

In hardware, per PE and nothing per lane, between the stream memory and the activation memory:
one register of A address bits (the base), for each item an OR of D bits (is it null), D gates
(the escape's ones) and A gates (all ones as the address of a null item), and adders of A bits.
For two items a stage of its own, after the word's register, holds a and a + b (one adder of
D + 1 bits); the next has B + a and B + (a + b) as addresses of the two ports and the latter as
new base, two adders side by side. Four items take the prefix sums of four deltas in the first
stage. Every register there moves with the element's `enable`; base also on `start`.

The words are those of `joining`, whose steps follow the items beside them. No array decodes them
yet; in the running-sum family's own words the step comes first, and would set the base before
the items.

The alternatives that `measure` counts: a base for each port; bases that wrap around modulo 2^A
instead of being set, which costs a turn of 2^A for each magnitude where setting costs nothing;
and windows, whose escapes count one window up and which need no adder, but an escape wherever
two items lie on both sides of a boundary.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daqkf.passes.maths.grouping import Groups, ranks
from daqkf.passes.maths.joining import group
from daqkf.passes.maths.running_sum import ITEMS, Stream, parts

type Ints = NDArray[np.int64]

FORMS = ("absolute", "order", "ports", "order wrapping", "ports wrapping", "windows")
"""Codings of the indices of a running-sum stream."""

_CONTROL = 3
"""Bits of a word's step, last and end."""


@dataclass(frozen=True)
class Coding:
    """A coding of a stream's indices, with the bits of an index that make it smallest."""

    bits: int
    """Of an index field."""
    word: int
    """Bits of a stream word."""
    words: Ints
    """[N] stream words of each output."""

    @property
    def total(self) -> int:
        """Bits of all words."""
        return self.word * int(self.words.sum())


@dataclass(frozen=True)
class Measure:
    """Bits of a matrix of levels, all of it: divide by `nonzeros` for bits per weight."""

    nonzeros: int
    codings: dict[str, Coding]
    """By `FORMS`."""
    bitmap: float
    """A bit for every weight, and for each non-zero its value: a sign and a magnitude's number."""
    csr: float
    """For each non-zero a row of ceil(log2 K) bits and its value; a pointer for each output."""
    bound: float
    """Entropy of a uniform choice among all matrices that have as many weights of each magnitude
    in each output, with any signs; what tells the counts themselves is left out."""


def measure(levels: NDArray[np.int8], max_shift: int, items: int = ITEMS) -> Measure:
    """What every coding takes for levels int8 [K, N]."""
    rows, outputs = levels.shape
    groups = group(levels)
    nonzeros = len(groups.index)
    real = groups.items > 0
    magnitudes = np.bincount(groups.column[real], minlength=outputs)
    value = 1 + _index_bits(max(int(magnitudes.max()), 1))
    return Measure(
        nonzeros=nonzeros,
        codings={form: smallest(groups, levels.shape, form, max_shift, items) for form in FORMS},
        bitmap=float(rows * outputs + nonzeros * value),
        csr=float(
            nonzeros * (_index_bits(rows) + value) + (outputs + 1) * _index_bits(nonzeros + 1)
        ),
        bound=_arrangements(rows, groups, outputs) + nonzeros,
    )


def smallest(
    groups: Groups,
    shape: tuple[int, int],
    form: str,
    max_shift: int,
    items: int = ITEMS,
    slowdown: float = np.inf,
) -> Coding:
    """The field width of a form that makes the stream of [K, N] levels smallest.

    Args:
        groups: the levels, grouped.
        shape: K and N.
        form: one of `FORMS`.
        max_shift: of the array.
        items: of a word.
        slowdown: the share of words that escapes may add at most.

    Raises:
        ValueError: an unknown form.
    """
    if form not in FORMS:
        raise ValueError(f"unknown coding '{form}' (known: {', '.join(FORMS)})")
    rows, outputs = shape
    address = _index_bits(rows + 1)  # one row more, of zeros
    control = max_shift.bit_length() + _CONTROL

    steps = parts(groups.gap, max_shift)

    def coding(bits: int, distances: _Distances) -> Coding:
        words = np.maximum(distances.words(bits), 1) + steps - 1
        each = np.bincount(groups.column, words, outputs).astype(np.int64)
        return Coding(bits, items * (bits + 1) + control, each)

    plain = coding(address, _Distances.of(groups, "absolute", address, items))
    if form == "absolute":
        return plain
    most = plain.words.sum() * (1 + slowdown)
    distances = _Distances.of(groups, form, address, items)
    found = [coding(bits, distances) for bits in range(1, address)]
    return min(
        (c for c in [*found, plain] if c.words.sum() <= most), key=lambda coding: coding.total
    )


def encode(stream: Stream, bits: int, items: int = ITEMS) -> Stream:
    """A stream whose fields `index0` … have become `delta0` … of `bits` bits.

    Escapes can add words, in front of those that step.

    Raises:
        ValueError: no bits, a stream that does not end with a step, or items between two steps
            whose rows do not ascend.
    """
    fields = stream.fields
    if bits < 1:
        raise ValueError(f"a delta has at least 1 bit, not {bits}")
    stepping = np.flatnonzero(fields["step"])
    if not len(stepping) or stepping[-1] != len(fields["step"]) - 1:
        raise ValueError("the stream does not end with a step")
    segment = np.cumsum(fields["step"]) - fields["step"]
    index, negative = (
        np.stack([fields[f"{name}{item}"] for item in range(items)], axis=1).ravel()
        for name in ("index", "negative")
    )
    real = index >= 0
    index, negative, of = index[real], negative[real], np.repeat(segment, items)[real]
    first = np.diff(of, prepend=-1) != 0
    delta = np.where(first, index + 1, np.diff(index, prepend=0))
    if (delta < 1).any():
        bad = int(index[delta < 1][0])
        raise ValueError(f"the item of row {bad} follows one of the same or a later row")

    escape = (1 << bits) - 1
    escapes = (delta - 1) // escape
    slots = np.bincount(of, escapes + 1, len(stepping)).astype(np.int64)
    words = np.maximum(-(-slots // items), 1)
    ends = np.cumsum(words)
    total = int(ends[-1])
    deltas, signs = np.zeros(total * items, np.int64), np.zeros(total * items, np.int64)
    # An item's place: behind its segment's items so far, and behind its own escapes.
    taken = np.cumsum(escapes + 1)
    place = (ends - words)[of] * items + taken - 1 - (np.cumsum(slots) - slots)[of]
    deltas[place], signs[place] = delta - escapes * escape, negative
    signs[np.repeat(place - escapes, escapes) + ranks(escapes)] = 1

    coded = {name: np.zeros(total, np.int64) for name in ("shift", "step", "last")}
    for name, values in coded.items():
        values[ends - 1] = fields[name][stepping]
    for item in range(items):
        coded |= {f"delta{item}": deltas[item::items], f"negative{item}": signs[item::items]}
    return Stream(coded, np.concatenate(([0], np.flatnonzero(coded["last"]) + 1)))


def decode(stream: Stream, bits: int, items: int = ITEMS) -> Stream:
    """The stream that the hardware plays for one that `encode` made; null items have index -1."""
    fields = stream.fields
    delta, negative = (
        np.stack([fields[f"{name}{item}"] for item in range(items)], axis=1).ravel()
        for name in ("delta", "negative")
    )
    null = delta == 0
    base = np.cumsum(np.where(null & (negative != 0), (1 << bits) - 1, delta))
    # What was added before the segment began, that is up to the step before it.
    steps = np.flatnonzero(fields["step"])
    before = np.concatenate(([0], base[(steps + 1) * items - 1]))
    segment = np.cumsum(fields["step"]) - fields["step"]
    index = np.where(null, -1, base - before[np.repeat(segment, items)] - 1)
    negative = np.where(null, 0, negative)
    played = {name: fields[name] for name in ("shift", "step", "last")}
    for item in range(items):
        played |= {f"index{item}": index[item::items], f"negative{item}": negative[item::items]}
    return Stream(played, stream.starts)


def _index_bits(count: int) -> int:
    """Bits that tell `count` things apart."""
    return (count - 1).bit_length()


@dataclass(frozen=True)
class _Distances:
    """What is between the items of each group and the ones before them."""

    form: str
    items: int
    row: Ints
    """[nnz] of each item."""
    delta: Ints
    """[nnz] from the item before."""
    queue: Ints
    """[nnz] the group of each item, or the port of its group."""
    groups: int

    @classmethod
    def of(cls, groups: Groups, form: str, address: int, items: int) -> "_Distances":
        count = len(groups.items)
        queue, rank = np.repeat(np.arange(count), groups.items), ranks(groups.items)
        apart = items if form.startswith("ports") else 1
        previous = np.full(len(queue), -1, np.int64)
        previous[apart:] = groups.index[:-apart]
        if "wrapping" in form:
            delta = (groups.index - previous - 1) % (1 << address) + 1
        else:
            delta = groups.index - np.where(rank < apart, -1, previous)
        if apart > 1:
            queue = queue * items + rank % items
        return cls(form, items, groups.index, delta, queue, count)

    def words(self, bits: int) -> Ints:
        """[G] words that the items of each group take with their escapes."""
        escape = (1 << bits) - 1
        if self.form == "absolute":
            escapes = np.zeros(len(self.row), np.int64)
        elif self.form == "windows":
            # One code is the null item's, so a window has 2^D - 1 rows.
            before = np.maximum(self.row - self.delta, 0)
            escapes = self.row // escape - before // escape
        else:
            escapes = (self.delta - 1) // escape
        ports = self.items if self.form.startswith("ports") else 1
        slots = np.bincount(self.queue, escapes + 1, self.groups * ports).astype(np.int64)
        if ports > 1:
            return slots.reshape(-1, ports).max(axis=1)
        return -(-slots // self.items)


def _arrangements(rows: int, groups: Groups, outputs: int) -> float:
    """Σ log2 (K! / ((K - nnz)! · Π c!)) over outputs, c being the counts of their magnitudes."""
    from scipy.special import gammaln  # pyright: ignore[reportMissingTypeStubs]

    nonzeros = np.bincount(groups.column, groups.items, outputs)
    logs = outputs * gammaln(rows + 1) - gammaln(rows - nonzeros + 1).sum()
    return float((logs - gammaln(groups.items + 1).sum()) / np.log(2))
