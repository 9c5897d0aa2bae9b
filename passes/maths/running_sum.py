# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The running-sum form of a sparse integer matrix product.

Sort the non-zeros of an output by magnitude, the largest first. Add ±x of each to a running
sum R, and at every step from one magnitude down to the next do `A += R << s`: an item then
counts in A as often as its magnitude says, so A ends as Σ w·x without a multiplication.
Grouping an output's inputs by weight value is the factorisation of UCNN (Hegde et al., ISCA
2018); letting the order of the groups stand for the values is this project's.

A word holds a few items and at most one step, which includes the word's own items. So an
output costs, over its magnitudes m with c(m) items and gap g(m) to the next one below,
`Σ ceil(c/items) + parts(g) - 1` words, where parts counts the powers of two that make the gap.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ITEMS = 2
"""Items of a stream word unless a machine says otherwise: the ports of a block RAM."""


@dataclass(frozen=True)
class Groups:
    """The non-zeros of [K, N] levels, sorted by column and falling magnitude, and grouped.

    An all-zero column has one group without items, so that every column has an end.
    """

    column: NDArray[np.int64]
    """[G] output channel of each group, ascending."""
    items: NDArray[np.int64]
    """[G] items of each group."""
    gap: NDArray[np.int64]
    """[G] levels from this magnitude down to the column's next one, or to 0."""
    index: NDArray[np.int64]
    """[nnz] row k of each item, in the order of the groups."""
    negative: NDArray[np.bool]
    """[nnz] whether the item's weight is below zero."""


def group(levels: NDArray[np.int8]) -> Groups:
    """Sort and group the non-zeros of `levels` int8 [K, N]."""
    columns = levels.shape[1]
    column, index = np.nonzero(levels.T)
    weight = levels[index, column].astype(np.int64)
    magnitude = np.abs(weight)
    order = np.lexsort((index, -magnitude, column))
    column, index, weight, magnitude = (a[order] for a in (column, index, weight, magnitude))

    fresh = np.ones(len(column), bool)
    fresh[1:] = (np.diff(column) != 0) | (np.diff(magnitude) != 0)
    starts = np.flatnonzero(fresh)
    items = np.diff(np.append(starts, len(column)))
    group_column, group_magnitude = column[starts], magnitude[starts]

    below = np.zeros_like(group_magnitude)
    same = group_column[1:] == group_column[:-1]
    below[:-1][same] = group_magnitude[1:][same]

    empty = np.setdiff1d(np.arange(columns), group_column)
    place = np.searchsorted(group_column, empty)
    return Groups(
        column=np.insert(group_column, place, empty),
        items=np.insert(items, place, 0),
        gap=np.insert(group_magnitude - below, place, 1),
        index=index,
        negative=weight < 0,
    )


def parts(gap: NDArray[np.int64], max_shift: int) -> NDArray[np.int64]:
    """How many steps of 1, 2, 4 … 2^max_shift levels the gaps take at least."""
    whole = gap >> max_shift
    return whole + np.bitwise_count(gap - (whole << max_shift)).astype(np.int64)


def ranks(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, … count-1 for each of the counts, one after another."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _words(groups: Groups, max_shift: int, items: int) -> NDArray[np.int64]:
    """[G] words of each group: its items, and the steps its last word does not carry."""
    steps = np.maximum(parts(groups.gap, max_shift), 1)
    return np.maximum(-(-groups.items // items), 1) + steps - 1


def lengths(groups: Groups, max_shift: int, items: int) -> NDArray[np.int64]:
    """Words of each output channel [N] of grouped levels."""
    return np.bincount(groups.column, _words(groups, max_shift, items)).astype(np.int64)


def cost(levels: NDArray[np.int8], max_shift: int, items: int = ITEMS) -> NDArray[np.int64]:
    """Words, which are cycles of a PE, of each output channel [N] of levels [K, N]."""
    return lengths(group(levels), max_shift, items)


@dataclass(frozen=True)
class Stream:
    """Words of all output channels, one after another. Arrays are [words], int64.

    An item without a place has index -1.
    """

    fields: Mapping[str, NDArray[np.int64]]
    """By their names in the word, without `end`."""
    starts: NDArray[np.int64]
    """[N + 1] the first word of each channel, and the end."""


def stream(levels: NDArray[np.int8], max_shift: int, items: int = ITEMS) -> Stream:
    """Lay out levels int8 [K, N] as running-sum words, channel after channel."""
    return lay_out(group(levels), max_shift, items)


def lay_out(groups: Groups, max_shift: int, items: int) -> Stream:
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
    rank = ranks(steps)
    gap = np.repeat(groups.gap, steps)
    whole = gap >> max_shift
    rest = gap - (whole << max_shift)
    shift = np.full(len(gap), max_shift, np.int64)
    for _ in range(max_shift):  # peel the highest bit of what is left, one rank at a time
        partial = rank >= whole
        bit = np.frexp(np.maximum(rest, 1))[1] - 1
        shift = np.where(partial, bit, shift)
        rest = np.where(partial & (rank > whole), rest - (1 << bit), rest)
        rank = np.where(partial & (rank > whole), rank - 1, rank)
    at = np.repeat(ends - steps, steps) + ranks(steps)
    step = np.zeros(total, np.int64)
    shifts = np.zeros(total, np.int64)
    step[at], shifts[at] = 1, shift

    starts = np.concatenate(([0], np.cumsum(lengths(groups, max_shift, items))))
    last = np.zeros(total, np.int64)
    last[starts[1:] - 1] = 1
    fields = {"shift": shifts, "step": step, "last": last}
    for item in range(items):
        fields |= {f"index{item}": index[:, item], f"negative{item}": negative[:, item]}
    return Stream(fields, starts)


def correction(levels: NDArray[np.int8]) -> NDArray[np.int64]:
    """Σ_{w<0} |w| of each channel [N]: what A misses when -x is taken as its ones' complement.

    `~x = -x - 1` saves the carry of every negation; the array gets it back in the bias.
    """
    return -np.minimum(levels.astype(np.int64), 0).sum(axis=0)
