# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Words whose step includes the items beside it, as the semiring family plays them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daqkf.passes.maths.running_sum import Stream, parts, ranks, step_shifts


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


def _words(groups: Groups, max_shift: int, items: int) -> NDArray[np.int64]:
    """[G] words of each group: its items, and the steps its last word does not carry."""
    steps = np.maximum(parts(groups.gap, max_shift), 1)
    return np.maximum(-(-groups.items // items), 1) + steps - 1


def lengths(groups: Groups, max_shift: int, items: int) -> NDArray[np.int64]:
    """Words of each output channel [N] of grouped levels."""
    return np.bincount(groups.column, _words(groups, max_shift, items)).astype(np.int64)


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
    at = np.repeat(ends - steps, steps) + ranks(steps)
    step = np.zeros(total, np.int64)
    shifts = np.zeros(total, np.int64)
    step[at], shifts[at] = 1, step_shifts(groups.gap, steps, max_shift)

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
