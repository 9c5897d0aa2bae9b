# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Words whose step includes the items beside it, as the semiring family plays them."""

import numpy as np
from numpy.typing import NDArray

from daqkf.passes.maths.grouping import Groups, group_sorted, ranks
from daqkf.passes.maths.running_sum import Stream, parts, step_shifts


def group(levels: NDArray[np.int8]) -> Groups:
    """Sort and group the non-zeros of `levels` int8 [K, N]; rows ascend in a group."""
    column, index = np.nonzero(levels.T)
    weight = levels[index, column].astype(np.int64)
    order = np.lexsort((index, -np.abs(weight), column))
    column, index, weight = column[order], index[order], weight[order]
    return group_sorted(column, np.abs(weight), index, weight < 0, levels.shape[1])


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
