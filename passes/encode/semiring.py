# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Sparse products over any semiring, as streams of the running-sum array.

(max, +) walks an output's weights from the largest down. An offset, which a lane adds to its
items before it joins them, begins at 0 and falls at every step from one weight to the next,
so that `A = max(x + w) - w₁`, and the largest weight w₁ is a constant for the bias. (min, +)
is the same of the complements, `min(x + w) = ~max(~x - w)`, from the smallest weight up.
(or, and) joins its items and takes no steps.

A join is idempotent: an item counts the same however often it is joined. So a word without
enough items repeats one, and needs no null item, which would have to be the semiring's zero.

A step includes the items beside it, unlike in the words of the running-sum family.
"""

from dataclasses import dataclass, replace
from typing import override

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets import numerics
from daqkf.hw_targets.families.semiring import SEMIRINGS
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.semirings import INFINITY, Semiring
from daqkf.passes.encode import running_sum
from daqkf.passes.encode.coding import Coding, Ints, Levels, Stream
from daqkf.passes.encode.gap_steps import parts, step_shifts
from daqkf.passes.encode.grouping import Groups, group_sorted, ranks
from daqkf.passes.encode.running_sum import ITEMS
from daqkf.passes.encode.splitting import Items


def group(levels: Levels, semiring: Semiring) -> Groups:
    """Sort and group the stored entries of [K, N] in the order in which they are walked."""
    if semiring is Semiring.PLUS_TIMES:
        return running_sum.group(Items.of(levels), levels.shape[1])
    column, index = np.nonzero((levels != semiring.zero).T)
    height = _heights(levels, semiring)[index, column]
    order = np.lexsort((index, -height, column))
    negative = np.full(len(index), semiring is Semiring.MIN_PLUS)
    return group_sorted(
        column[order], height[order], index[order], negative, levels.shape[1], to_zero=False
    )


def _heights(levels: Levels, semiring: Semiring) -> NDArray[np.int64]:
    """What the walk descends, [K, N]: weights, negated ones, or nothing."""
    sign = {Semiring.MAX_PLUS: 1, Semiring.MIN_PLUS: -1}.get(semiring, 0)
    return sign * levels.astype(np.int64)


def cost(
    levels: Levels, max_shift: int, semiring: Semiring, items: int = ITEMS
) -> NDArray[np.int64]:
    """Words, which are cycles of a PE, of each output channel [N] of levels [K, N]."""
    return _lengths(group(levels, semiring), max_shift, items)


def stream(levels: Levels, max_shift: int, semiring: Semiring, items: int = ITEMS) -> Stream:
    """Lay out levels int8 [K, N] as words of this semiring, channel after channel."""
    words = _lay_out(group(levels, semiring), max_shift, items)
    return words if semiring is Semiring.PLUS_TIMES else _repeated(words, semiring)


def _repeated(words: Stream, semiring: Semiring) -> Stream:
    """Let words repeat the last item before, where they lack one.

    Its offset has only fallen since, so that it changes nothing. A channel without entries
    keeps its null items.
    """
    names = [name for name in words.fields if name.startswith("index")]
    index = np.stack([words.fields[name] for name in names], axis=1)
    flat = index.reshape(-1)
    first = np.repeat(len(names) * words.starts[:-1], len(names) * np.diff(words.starts))
    latest = np.maximum.accumulate(np.where(flat >= 0, np.arange(len(flat)), -1))
    index = np.where(latest >= first, flat[np.maximum(latest, 0)], -1).reshape(index.shape)
    negative = np.full(len(index), int(semiring is Semiring.MIN_PLUS))
    fields = dict(words.fields)
    for item, name in enumerate(names):
        fields |= {name: index[:, item], name.replace("index", "negative"): negative}
    return replace(words, fields=fields)


def _ends(levels: Levels, semiring: Semiring) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The largest and the least height of each channel [N]; 0 where there are no entries."""
    stored, heights = levels != semiring.zero, _heights(levels, semiring)
    filled = stored.any(axis=0)
    beyond = 1 << numerics.ACTIVATION_BITS
    top = np.where(stored, heights, -beyond).max(axis=0)
    bottom = np.where(stored, heights, beyond).min(axis=0)
    return np.where(filled, top, 0), np.where(filled, bottom, 0)


def correction(levels: Levels, semiring: Semiring) -> NDArray[np.int64]:
    """What the bias of each channel [N] adds to a lane's sum.

    The weight that the walk begins with; the sum's zero, where there are no entries.
    """
    if semiring is Semiring.PLUS_TIMES:
        return _complements(levels)
    top, _ = _ends(levels, semiring)
    first = -top if semiring is Semiring.MIN_PLUS else top
    return np.where((levels != semiring.zero).any(axis=0), first, semiring.sum_zero)


def _words(groups: Groups, max_shift: int, items: int) -> NDArray[np.int64]:
    """[G] words of each group: its items, and the steps its last word does not carry."""
    steps = np.maximum(parts(groups.gap, max_shift), 1)
    return np.maximum(-(-groups.items // items), 1) + steps - 1


def _lengths(groups: Groups, max_shift: int, items: int) -> NDArray[np.int64]:
    """Words of each output channel [N] of grouped levels."""
    return np.bincount(groups.column, _words(groups, max_shift, items)).astype(np.int64)


def _lay_out(groups: Groups, max_shift: int, items: int) -> Stream:
    """The words of grouped levels, channel after channel. A gap of 0 has no step."""
    words = _words(groups, max_shift, items)
    ends = np.cumsum(words)
    offsets = ends - words
    total = int(ends[-1])

    index = np.full((total, items), -1, np.int64)
    negative = np.zeros((total, items), np.int64)
    position = ranks(groups.items)
    word = np.repeat(offsets, groups.items) + position // items
    index[word, position % items] = groups.index
    negative[word, position % items] = groups.negative

    # The steps of a gap, the largest first, end with the group's last word.
    steps = parts(groups.gap, max_shift)
    at = np.repeat(ends - steps, steps) + ranks(steps)
    step = np.zeros(total, np.int64)
    shifts = np.zeros(total, np.int64)
    step[at], shifts[at] = 1, step_shifts(groups.gap, steps, max_shift)

    starts = np.concatenate(([0], np.cumsum(_lengths(groups, max_shift, items))))
    last = np.zeros(total, np.int64)
    last[starts[1:] - 1] = 1
    fields = {"shift": shifts, "step": step, "last": last}
    for item in range(items):
        fields |= {f"index{item}": index[:, item], f"negative{item}": negative[:, item]}
    return Stream(fields, starts)


def _complements(levels: Levels) -> NDArray[np.int64]:
    """Σ_{w<0} |w| of each channel [N]: what A misses when -x is taken as its ones' complement.

    `~x = -x - 1` saves the carry of every negation; the array gets it back in the bias.
    """
    return -np.minimum(levels.astype(np.int64), 0).sum(axis=0)


Range = tuple[int, int]


@dataclass(frozen=True)
class Ranges:
    """The lowest and the highest that a kernel's sums reach, for any int8 activations."""

    running: Range
    """Of what a lane joins."""
    accumulator: Range
    """Of the accumulator, and of the product itself."""
    total: Range
    """Of the sum with its bias."""


def ranges(levels: Levels, bias: NDArray[np.int64], semiring: Semiring) -> Ranges:
    """The ranges of a kernel of levels [K, N] and a bias [N].

    In (+, ×), |R| ≤ 128·nnz of a channel, |A| ≤ 128·Σ|w|, and the complete sum adds |bias|.
    In (max, +), R and A are items less the span of the weights, or infinity less that.
    """
    low, high = numerics.ACTIVATION_MIN, numerics.ACTIVATION_MAX
    if semiring is Semiring.PLUS_TIMES:
        reach = numerics.accumulator_bound(levels)
        bounds = numerics.running_sum_bound(levels), reach, reach + np.abs(bias)
        return Ranges(*((-int(bound.max()), int(bound.max())) for bound in bounds))
    if semiring is Semiring.OR_AND:
        return Ranges((low, high), (low, high), (low + int(bias.min()), high + int(bias.max())))
    # In the direction of max; a min is the complement throughout.
    minimum = semiring is Semiring.MIN_PLUS
    top, bottom = _ends(levels, semiring)
    bias = -bias if minimum else bias
    lane = -INFINITY - int((top - bottom).max()), high
    product = -INFINITY, 2 * high + 1
    accumulator = lane[0], max(lane[1], product[1])
    total = (
        -INFINITY + int((np.minimum(bottom, 0) + bias).min()),
        product[1] + int(bias.max()),
    )
    if minimum:
        accumulator, total = (~accumulator[1], ~accumulator[0]), (~total[1], ~total[0])
    return Ranges(lane, accumulator, total)


@dataclass(frozen=True)
class SemiringCoding(Coding):
    """Items in the order of their weights."""

    semiring: Semiring = Semiring.PLUS_TIMES

    @override
    def over(self, semiring: Semiring) -> Coding:
        return SemiringCoding(semiring)

    @override
    def most(self, machine: Machine) -> int:
        return 128

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        return cost(levels, machine.max_shift, self.semiring, machine.items)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        words = stream(levels, machine.max_shift, self.semiring, machine.items)
        code = np.full(int(words.starts[-1]), SEMIRINGS.index(self.semiring))
        return replace(
            words,
            fields={"semiring": code, **words.fields},
            correction=correction(levels, self.semiring),
        )


CODING = SemiringCoding()
