# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Streams of elements that multiply: non-zeros with their weights, or all weights."""

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.rpea import multiplication
from daqkf.dialects.rpea.indices import deltas_reach
from daqkf.passes.maths.grouping import ranks
from daqkf.passes.maths.running_sum import Stream

Levels = NDArray[np.int8]
Ints = NDArray[np.int64]


def items_of(levels: Levels, index_bits: int) -> tuple[Ints, Ints]:
    """Column and row of each item of levels [K, N], sorted.

    Of the non-zeros, and of zeros that divide gaps too long for a delta of `index_bits`.
    """
    column, row = np.nonzero(levels.T)
    if not index_bits:
        return column, row
    reach, first = deltas_reach(index_bits), np.diff(column, prepend=-1) != 0
    gap = row - np.where(first, 0, np.append(0, row[:-1]))
    places = np.maximum(-(-gap // reach), 1)
    column, before, gap = (np.repeat(of, places) for of in (column, row - gap, gap))
    return column, before + np.minimum((ranks(places) + 1) * reach, gap)


def cost(levels: Levels, bits: int, index_bits: int = 0) -> Ints:
    """[N] words of each channel of levels [K, N]: its items, some to a word; at least one."""
    column, _ = items_of(levels, index_bits)
    counts = np.bincount(column, minlength=levels.shape[1])
    return np.maximum(-(-counts // multiplication.items(bits)), 1)


def stream(levels: Levels, bits: int, index_bits: int = 0) -> Stream:
    """Lay out the items of levels [K, N], channel after channel, by rising row."""
    items = multiplication.items(bits)
    starts = np.append(0, np.cumsum(cost(levels, bits, index_bits)))
    column, row = items_of(levels, index_bits)
    rank = ranks(np.bincount(column, minlength=levels.shape[1]))
    word, slot = starts[column] + rank // items, rank % items
    index = np.full((items, starts[-1]), -1)
    weight = np.zeros((items, starts[-1]), np.int64)
    index[slot, word], weight[slot, word] = row, levels[row, column]
    last = np.zeros(starts[-1], np.int64)
    last[starts[1:] - 1] = 1
    fields = {"last": last}
    for item in range(items):
        fields |= {f"index{item}": index[item], f"weight{item}": weight[item]}
    return Stream(fields, starts)


def correction(levels: Levels, bits: int, multiplier: str, index_bits: int = 0) -> Ints:
    """[N] what takes out the surplus of all items, those without a weight included."""
    slots = cost(levels, bits, index_bits) * multiplication.items(bits)
    null = multiplication.surplus(np.zeros((), np.int64), bits, multiplier)
    surplus = multiplication.surplus(levels.astype(np.int64), bits, multiplier)
    return -(surplus.sum(axis=0) + (slots - len(levels)) * null)


def dense_stream(levels: Levels) -> Stream:
    """All weights of levels [K, N], channel after channel."""
    features, channels = levels.shape
    fields = {"weight0": levels.T.reshape(-1).astype(np.int64)}
    return Stream(fields, np.arange(channels + 1) * features)


def dense_correction(levels: Levels, multiplier: str) -> Ints:
    """[N] what takes out the surplus of all weights."""
    bits = multiplication.DENSE_BITS
    return -multiplication.surplus(levels.astype(np.int64), bits, multiplier).sum(axis=0)
