# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Sparse products in 2×2×2 blocks of seven multiplications (Strassen, 1969).

Two tokens, two features and two outputs make a block, `C += X·W` with 2×2 matrices. The features
of a block are any two of a pair of outputs: those whose weights are both zero are skipped, and
the others follow one another without holes. So a word takes two features, whatever they hold.

A feature that only one of the outputs has needs two of the seven products, the weights of the
others being zero: the second feature `m4` and `m7` if it is of the first output, the first one
`m3` and `m6` if it is of the second. What is left can multiply a third feature directly, if its
products reach one output only; the word says which. So a direct word takes three single weights,
at least one of each output.

With R features of a pair of outputs, a and b of them of one output only, t words are direct and
`ceil((R - t)/2)` words are needed in all, with t = min(a, b, (a + b)/3) rounded down.
"""

from dataclasses import dataclass
from typing import override

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.machine import Machine
from daqkf.passes.encode.coding import Coding, Ints, Levels, Stream
from daqkf.passes.encode.grouping import ranks


def direct_words(first: Ints, second: Ints) -> Ints:
    """Direct words of pairs, by their features with a weight in one output only [...]."""
    return np.minimum(np.minimum(first, second), (first + second) // 3)


def words(features: Ints, first: Ints, second: Ints) -> Ints:
    """Words of pairs with so many features, of which so many are of one output only [...]."""
    return np.maximum(-(-(features - direct_words(first, second)) // 2), 1)


def pair(levels: NDArray[np.int8]) -> Ints:
    """Pair the output channels of levels [K, N] for few words: [ceil(N/2), 2], -1 for none.

    Greedy: the channel with the most weights takes the partner with which it saves the most words
    against each alone. If N is odd, the channel that is left over comes last.
    """
    zero_one = (levels != 0).astype(np.float32)
    # Counts of at most K < 2^24 are exact in float32.
    both = (zero_one.T @ zero_one).astype(np.int64)
    count = both.diagonal().copy()
    free = np.ones(len(count), bool)
    pairs: list[tuple[int, int]] = []
    for channel in np.argsort(-count, kind="stable"):
        if not free[channel]:
            continue
        free[channel] = False
        others = np.flatnonzero(free)
        if not len(others):
            pairs.append((int(channel), -1))
            break
        shared = both[channel, others]
        own, theirs = count[channel] - shared, count[others] - shared
        needed = words(shared + own + theirs, own, theirs)
        partner = others[np.argmin(2 * needed - count[others])]
        free[partner] = False
        pairs.append((int(channel), int(partner)))
    return np.array(pairs, np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class Layout:
    """Where the features of consecutive pairs of columns go. Arrays are [features]."""

    pair: Ints
    """The pair of columns, ascending."""
    index: Ints
    """The feature k."""
    weights: Ints
    """[features, 2] of the pair's two columns."""
    word: Ints
    """The word, counted from the pair's first."""
    slot: Ints
    """0 and 1 are the block's features, 2 the third one of a direct word."""
    counts: Ints
    """[pairs] words of each pair."""
    direct: Ints
    """[pairs] words that are direct; they come first."""

    @classmethod
    def of(cls, levels: NDArray[np.int8]) -> "Layout":
        """Lay out columns 0 and 1, 2 and 3, … of levels [K, N]; a single last one is padded."""
        columns = np.pad(levels.astype(np.int64), ((0, 0), (0, levels.shape[1] % 2)))
        blocks = columns.reshape(len(levels), -1, 2).transpose(1, 0, 2)
        pairs, index = np.nonzero(blocks.any(axis=2))
        weights = blocks[pairs, index]
        singles = [weights[:, 1] == 0, weights[:, 0] == 0]
        size = len(blocks)
        features = np.bincount(pairs, minlength=size)
        single = [np.bincount(pairs[own], minlength=size) for own in singles]
        direct = direct_words(*single)
        used = np.minimum(2 * direct, single[0])
        taken = (used, 3 * direct - used)

        word, slot = np.zeros_like(index), np.zeros_like(index)
        rest = np.ones(len(index), bool)
        for output, own in enumerate(singles):
            rank, of = ranks(single[output]), pairs[own]
            third = rank - direct[of] + (taken[0] - direct)[of] * output
            placed = rank < taken[output][of]
            rest[own] = ~placed
            regular = rank < direct[of]
            word[own] = np.where(regular, rank, third)
            slot[own] = np.where(regular, 1 - output, 2)
        rank = ranks(np.bincount(pairs[rest], minlength=size))
        word[rest] = direct[pairs[rest]] + rank // 2
        slot[rest] = rank % 2
        return cls(pairs, index, weights, word, slot, words(features, *single), direct)


def cost(levels: NDArray[np.int8]) -> Ints:
    """Words of columns 0 and 1, 2 and 3, … of levels [K, N]: [ceil(N/2)]."""
    return Layout.of(levels).counts


def stream(levels: NDArray[np.int8]) -> Stream:
    """Lay out levels int8 [K, N], two columns after two, with N > 0."""
    layout = Layout.of(levels)
    starts = np.concatenate(([0], np.cumsum(layout.counts)))
    total = int(starts[-1])
    word = starts[layout.pair] + layout.word
    index = np.full((total, 3), -1, np.int64)
    weights = np.zeros((total, 3, 2), np.int64)
    index[word, layout.slot] = layout.index
    weights[word, layout.slot] = layout.weights
    last, both = np.zeros(total, np.int64), np.zeros(total, np.int64)
    last[starts[1:] - 1] = 1
    both[starts[1 : levels.shape[1] // 2 + 1] - 1] = 1
    fields = {f"index{slot}": index[:, slot] for slot in range(3)}
    fields |= operands(weights) | {"last": last, "both": both}
    return Stream(fields, starts)


def operands(weights: Ints) -> dict[str, Ints]:
    """What words multiply by, and where the third feature goes, of weights [words, 3, 2]."""
    (b11, b12), (b21, b22), third = np.moveaxis(weights, 0, 2)
    return {
        "m1": b11 + b22 + third.sum(axis=0),
        "m2": b11 + third[0],
        "m3": b12 - b22,
        "m4": b21 - b11,
        "m5": b22 + third[1],
        "m6": b11 + b12,
        "m7": b21 + b22,
        "third0": (third[0] != 0).astype(np.int64),
        "third1": (third[1] != 0).astype(np.int64),
    }


class StrassenCoding(Coding):
    """Blocks of two features and two outputs."""

    group = 2

    @override
    def jobs(self, levels: Levels) -> Ints:
        return pair(levels)

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        return cost(levels)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        return stream(levels)


CODING = StrassenCoding()
