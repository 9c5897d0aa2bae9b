# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Streams of elements that multiply: non-zeros with their weights, or all weights."""

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.rpea import multiplication
from daqkf.passes.maths.running_sum import Stream, ranks

Levels = NDArray[np.int8]
Ints = NDArray[np.int64]


def cost(levels: Levels, bits: int) -> Ints:
    """[N] words of each channel of levels [K, N]: its non-zeros, some to a word; at least one."""
    return np.maximum(-(-np.count_nonzero(levels, axis=0) // multiplication.items(bits)), 1)


def stream(levels: Levels, bits: int) -> Stream:
    """Lay out the non-zeros of levels [K, N], channel after channel, by rising row."""
    items = multiplication.items(bits)
    starts = np.append(0, np.cumsum(cost(levels, bits)))
    column, row = np.nonzero(levels.T)
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


def correction(levels: Levels, bits: int, multiplier: str) -> Ints:
    """[N] what takes out the surplus of all items, those without a weight included."""
    slots = cost(levels, bits) * multiplication.items(bits)
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
