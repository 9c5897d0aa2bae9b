# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Weights as sums of two levels, where that fills words that are half empty.

In a running-sum stream an item's value is its place, so x·13 may as well be an item at level 8
and one at level 5, or one at 15 and, with the other sign, one at 2. The sums stay exactly the
same. A level's last word is half empty on average; moving the few items that began it, or all
items of the topmost levels, to two empty places each saves the word.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets import numerics
from daqkf.passes.encode.grouping import sorted_by

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Items:
    """What joins running sums: arrays [items], sorted by column, falling level, sign, row."""

    column: Ints
    index: Ints
    """Row k."""
    level: Ints
    negative: NDArray[np.bool]

    @classmethod
    def sorted(cls, column: Ints, index: Ints, level: Ints, negative: NDArray[np.bool]) -> "Items":
        """The items in their order."""
        by_row = sorted_by(index)
        return cls._of_rows(column[by_row], index[by_row], level[by_row], negative[by_row])

    @classmethod
    def _of_rows(
        cls, column: Ints, index: Ints, level: Ints, negative: NDArray[np.bool]
    ) -> "Items":
        """The same of items whose rows rise within a column, a level and a sign."""
        order = sorted_by(column, 2 * (level.max(initial=0) - level) + negative)
        return cls(column[order], index[order], level[order], negative[order])

    @classmethod
    def of(cls, levels: NDArray[np.int8]) -> "Items":
        """One item for each non-zero of levels [K, N]."""
        column, index = np.nonzero(levels.T)
        weight = levels[index, column].astype(np.int64)
        return cls._of_rows(column, index, np.abs(weight), weight < 0)


@dataclass(frozen=True)
class _Move:
    """Items of one sign and level that become two: `count` of each of `columns`."""

    sign: int
    level: int
    columns: Ints
    count: Ints
    high: int
    low: int
    """Below 0 where the two levels are subtracted."""


class _Places:
    """Where columns have items, and room for more. Arrays are [N, M + 1], signs [2, N, M + 1]."""

    def __init__(self, levels: NDArray[np.int8], items: int):
        self.items, self.even = items, -(-items // 2)
        self.highest = np.abs(levels.astype(np.int64)).max(axis=0, initial=0)
        self.top = int(self.highest.max(initial=0))
        shape = 2, levels.shape[1], self.top + 1
        column, index = np.nonzero(levels.T)
        weight = levels[index, column].astype(np.int64)
        place = np.ravel_multi_index(((weight < 0).astype(np.int64), column, np.abs(weight)), shape)
        self.counts = np.bincount(place, minlength=int(np.prod(shape))).reshape(shape)
        self.arrived = np.zeros(shape[1:], bool)
        self.words = item_words(self.counts.sum(axis=0), self.counts[1], items)
        # Without shifts each level takes a word, if only for its step.
        self.words = np.maximum(self.words, 1)
        self.words[np.arange(self.top + 1) > self.highest[:, np.newaxis]] = 0
        self.words[:, 0] = 0
        # Every item widens R's range; no more of them than its width has room for.
        bound = numerics.running_sum_bound(levels)
        widths = np.frexp(bound)[1]
        self.budget = ((1 << widths) - 1 - bound) // (1 - numerics.ACTIVATION_MIN)
        self.moves: list[_Move] = []
        if items > 1:
            self._lower_tops()
            self._fill_words()

    def room(self, counts: Ints, words: Ints) -> Ints:
        """[2, ...] items of each sign for which words that have these items have room."""
        places = self.items * words
        rooms = np.empty((2, *places.shape), np.int64)
        np.subtract(places, counts[0], out=rooms[0])
        np.subtract(rooms[0], counts[1], out=rooms[1])
        rooms[0] -= self.even
        np.minimum(rooms[0], rooms[1], out=rooms[0])
        return rooms

    def empty(self, level: int, columns: Ints, leaving: Ints, words: Ints) -> Ints:
        """Move items [2, n] of a level of these columns, which leaves it so many words.

        All of a column's or none; returns the columns where it went.
        """
        counts, arrived = self.counts[:, columns], self.arrived[columns]
        bound = self.words[columns]
        bound[:, level] = 0  # nothing arrives where it leaves
        left, moves = leaving.copy(), list[_Move]()
        # By sign and level; most pairs of levels have no room, and are passed over.
        rooms = np.maximum(self.room(counts, bound), 0)
        some, pending = rooms.any(axis=1).tolist(), left.any(axis=1).tolist()
        for high, low in self._pairs(level):
            for sign in (0, 1):
                other = sign ^ (low < 0)
                if not (pending[sign] and some[sign][high] and some[other][abs(low)]):
                    continue
                a, b = rooms[sign, :, high], rooms[other, :, abs(low)]
                taken = np.minimum(a // 2 if high == low else np.minimum(a, b), left[sign])
                if not taken.any():
                    continue
                counts[sign, :, high] += taken
                counts[other, :, abs(low)] += taken
                for filled in {high, abs(low)}:
                    arrived[:, filled] |= taken > 0
                    room = np.maximum(self.room(counts[:, :, filled], bound[:, filled]), 0)
                    rooms[:, :, filled] = room
                    some[0][filled], some[1][filled] = room.any(axis=1).tolist()
                left[sign] -= taken
                pending[sign] = left[sign].any()
                moves.append(_Move(sign, level, columns, taken, high, low))
            if not any(pending):
                break
        counts[:, :, level] -= leaving
        done = ~left.any(axis=0) & (self.budget[columns] >= leaving.sum(axis=0))
        where = columns[done]
        self.counts[:, where], self.arrived[where] = counts[:, done], arrived[done]
        self.words[where, level] = words[done]
        self.budget[where] -= leaving.sum(axis=0)[done]
        self.moves += [
            _Move(move.sign, level, where, move.count[done], move.high, move.low)
            for move in moves
            if move.count[done].any()
        ]
        return where

    def _pairs(self, level: int) -> Iterator[tuple[int, int]]:
        """The two levels whose sum, or difference if the second is negative, is this level."""
        for low in range(level // 2, 0, -1):
            yield level - low, low
        for high in range(level + 1, self.top + 1):
            yield high, level - high

    def _lower_tops(self) -> None:
        """Empty the topmost levels: each is a word less, with or without items."""
        for level in range(self.top, 1, -1):
            columns = np.flatnonzero((self.highest == level) & ~self.arrived[:, level])
            leaving = self.counts[:, columns, level]
            emptied = self.empty(level, columns, leaving, np.zeros(len(columns), np.int64))
            self.highest[emptied] = level - 1

    def _fill_words(self) -> None:
        """Empty the last words of levels, those with the fewest items first."""
        for excess in range(1, self.items):
            for level in range(self.top, 0, -1):
                words = self.words[:, level] - 1
                counts = self.counts[:, :, level]
                over = counts.sum(axis=0) - self.items * words
                # Positive items go first, since the last word has less room for them.
                positive = np.minimum(counts[0], over)
                stay = counts - np.stack([positive, over - positive])
                fits = self.room(stay, words).min(axis=0) >= 0
                chosen = (words > 0) & (over == excess) & fits & ~self.arrived[:, level]
                columns = np.flatnonzero(chosen)
                if len(columns):
                    leaving = (counts - stay)[:, columns]
                    self.empty(level, columns, leaving, words[columns])


def split(levels: NDArray[np.int8], items: int) -> Items:
    """The items of levels [K, N] in words of so many, some weights as two.

    For a machine without shifts, where each level up to a column's highest takes a word.
    """
    places = _Places(levels, items)
    return _apply(Items.of(levels), places.moves, levels.shape[1], places.top)


def split_words(levels: NDArray[np.int8], items: int) -> Ints:
    """Words [N] of the items of `split`, with those that are there for a step alone."""
    return _Places(levels, items).words.sum(axis=1)


def item_words(counts: Ints, negatives: Ints, items: int) -> Ints:
    """Words that hold the items of a level, of which so many are negative.

    A word adds or subtracts; then its even items, half of all, have its sign. The last word of
    a level subtracts, since a step takes R from the register that has it with the other sign.
    """
    even = -(-items // 2)
    words = -(-np.maximum(counts, counts - negatives + even) // items)
    return np.where(counts > 0, words, 0)


def _apply(items: Items, moves: list[_Move], columns: int, top: int) -> Items:
    """The items after the moves, which take a level's items in their order."""
    if not moves:
        return items
    shape = 2, columns, top + 1
    key = np.ravel_multi_index((items.negative.astype(np.int64), items.column, items.level), shape)
    order = sorted_by(items.negative, items.column, items.level)
    next_one = np.searchsorted(key[order], np.arange(np.prod(shape)))
    level = items.level.copy()
    chosen, low = list[Ints](), list[Ints]()
    for move in moves:
        keys = np.ravel_multi_index(
            (np.array(move.sign), move.columns, np.array(move.level)), shape
        )
        ends = np.cumsum(move.count)
        rank = np.arange(int(ends[-1])) - np.repeat(ends - move.count, move.count)
        chosen.append(order[np.repeat(next_one[keys], move.count) + rank])
        next_one[keys] += move.count
        level[chosen[-1]] = move.high
        low.append(np.full(len(chosen[-1]), move.low))
    again, lows = np.concatenate(chosen), np.concatenate(low)
    return Items.sorted(
        np.concatenate([items.column, items.column[again]]),
        np.concatenate([items.index, items.index[again]]),
        np.concatenate([level, np.abs(lows)]),
        np.concatenate([items.negative, items.negative[again] ^ (lows < 0)]),
    )
