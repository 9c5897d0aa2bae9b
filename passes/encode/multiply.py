# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Streams of elements that multiply: the non-zeros with their weights.

Where words have two small weights or one large one, an output's large weights come first.
"""

from collections.abc import Mapping, Sequence
from typing import override

import numpy as np

from daqkf.hw_targets import multiplication
from daqkf.hw_targets.index_coding import deltas_reach
from daqkf.hw_targets.machine import Machine
from daqkf.passes.encode.coding import Coding, Ints, Levels, Stream
from daqkf.passes.encode.grouping import ranks, sorted_by


def _items(levels: Levels, index_bits: int) -> tuple[Ints, Ints]:
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


def cost(levels: Levels, weight_bits: Sequence[int], index_bits: int = 0) -> Ints:
    """[N] words of each channel of levels [K, N]: its items, some to a word; at least one."""
    column, row = _items(levels, index_bits)
    places = _places(levels[row, column], weight_bits)
    taken = np.bincount(column, places, levels.shape[1]).astype(np.int64)
    return np.maximum(-(-taken // multiplication.items(weight_bits)), 1)


def stream(
    levels: Levels, weight_bits: Sequence[int], multiplier: str, index_bits: int = 0
) -> Stream:
    """Lay out the items of levels [K, N], channel after channel, by rising row."""
    items = multiplication.items(weight_bits)
    starts = np.append(0, np.cumsum(cost(levels, weight_bits, index_bits)))
    column, row = _items(levels, index_bits)
    places = _places(levels[row, column], weight_bits)
    order = sorted_by(column, places.max(initial=0) - places)  # rows rise already
    column, row, places = column[order], row[order], places[order]
    before = np.cumsum(places) - places
    taken = np.append(0, np.cumsum(np.bincount(column, places, levels.shape[1]))).astype(np.int64)
    word, slot = np.divmod(before - taken[column], items)
    word += starts[column]

    index = np.full((items, starts[-1]), -1)
    weight = np.zeros((items, starts[-1]), np.int64)
    index[slot, word], weight[slot, word] = row, levels[row, column]
    last = np.zeros(starts[-1], np.int64)
    last[starts[1:] - 1] = 1
    fields = {"last": last}
    if len(weight_bits) > 1:
        wide = word[places > 1]
        fields["narrow"] = np.ones(starts[-1], np.int64)
        fields["narrow"][wide] = 0
        index[1, wide] = index[0, wide]
        if multiplier != "booth":
            index[0, wide] = -1
        weight[1, wide], weight[0, wide] = np.divmod(weight[0, wide], 1 << min(weight_bits))
    for item in range(items):
        fields |= {f"index{item}": index[item], f"weight{item}": weight[item]}
    return corrected(fields, starts, weight_bits, multiplier)


def _places(weights: Levels, weight_bits: Sequence[int]) -> Ints:
    """Places of a word that weights take: one, or all if they need a wider word."""
    bound = 1 << (min(weight_bits) - 1)
    large = (weights < -bound) | (weights >= bound)
    return np.where(large, multiplication.items(weight_bits), 1)


def corrected(
    fields: Mapping[str, Ints], starts: Ints, weight_bits: Sequence[int], multiplier: str
) -> Stream:
    """The stream, with what takes out the surplus of its words."""
    _, surplus = multiplication.weigh(fields, weight_bits, multiplier)
    return Stream(fields, starts, -np.add.reduceat(surplus, starts[:-1]))


class MultiplyCoding(Coding):
    """The non-zeros with their weights."""

    @override
    def most(self, machine: Machine) -> int:
        return (1 << (max(machine.weight_bits) - 1)) - 1

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        return cost(levels, machine.weight_bits, machine.index_bits)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        return stream(levels, machine.weight_bits, machine.multiplier, machine.index_bits)


CODING = MultiplyCoding()
