# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Weights as sums of two levels, where that fills words that are half empty.

In a running-sum stream an item's value is its place, so x·13 may as well be an item at level 8
and one at level 5, or one at 15 and, with the other sign, one at 2. The sums stay exactly the
same. A level's last word is half empty on average; moving the few items that began it, or all
items of the topmost levels, to two empty places each saves the word. Items that have come from
elsewhere may move on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

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

    def taken(self, which: Ints | NDArray[np.bool]) -> "Items":
        """Some of the items, by their numbers or a mask."""
        return Items(self.column[which], self.index[which], self.level[which], self.negative[which])

    def joined(self, other: "Items") -> "Items":
        """These items and then the others."""
        return Items(
            np.concatenate([self.column, other.column]),
            np.concatenate([self.index, other.index]),
            np.concatenate([self.level, other.level]),
            np.concatenate([self.negative, other.negative]),
        )

    def sorted(self) -> "Items":
        """The items in their order."""
        rising = self.taken(sorted_by(self.index))
        return self._of_rows(rising.column, rising.index, rising.level, rising.negative)

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


_FEW = 2
"""Words with so many items or fewer are emptied before the topmost levels are: these need many
places, which are then still there for the words that cost the fewest."""


class _Places:
    """Where columns have items, and room for more. Arrays are [M + 1, N], signs [2, M + 1, N]."""

    def __init__(self, levels: NDArray[np.int8], items: int):
        self.items, self.even = items, -(-items // 2)
        magnitudes = np.abs(levels.astype(np.int64))
        self.highest = magnitudes.max(axis=0, initial=0)
        self.top = int(self.highest.max(initial=0))
        shape = 2, self.top + 1, levels.shape[1]
        columns = np.arange(int(levels.shape[1]))
        place = np.ravel_multi_index(((levels < 0).astype(np.int64), magnitudes, columns), shape)
        self.counts = np.bincount(place.ravel(), minlength=int(np.prod(shape))).reshape(shape)
        self.counts[:, 0] = 0
        self.words = item_words(self.counts.sum(axis=0), self.counts[1], items)
        # Without shifts each level takes a word, if only for its step.
        self.words = np.maximum(self.words, 1)
        self.words[np.arange(self.top + 1)[:, np.newaxis] > self.highest] = 0
        self.words[0] = 0
        # Every item widens R's range; no more of them than its width has room for.
        bound = numerics.running_sum_bound(levels)
        widths = np.frexp(bound)[1]
        self.budget = ((1 << widths) - 1 - bound) // (1 - numerics.ACTIVATION_MIN)
        self.moves: list[_Move] = []
        self._fill_words(_FEW)
        self._lower_tops()
        self._fill_words(items - 1)

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
        left, moves = leaving.copy(), list[_Move]()
        rooms = np.maximum(self.room(self.counts[..., columns], self.words[:, columns]), 0)
        rooms[:, level] = 0  # nothing arrives where it leaves
        # By sign and level; most pairs of levels have no room, and are passed over.
        some, pending = rooms.any(axis=-1).tolist(), left.any(axis=-1).tolist()
        for high, low in self._pairs(level):
            for sign in (0, 1):
                other = sign ^ (low < 0)
                if not (pending[sign] and some[sign][high] and some[other][abs(low)]):
                    continue
                a, b = rooms[sign, high], rooms[other, abs(low)]
                taken = np.minimum(a // 2 if high == low else np.minimum(a, b), left[sign])
                if not taken.any():
                    continue
                _fill(rooms[:, high], sign, taken)
                _fill(rooms[:, abs(low)], other, taken)
                left[sign] -= taken
                pending[sign] = left[sign].any()
                moves.append(_Move(sign, level, columns, taken, high, low))
            if not any(pending):
                break
        done = ~left.any(axis=0) & (self.budget[columns] >= leaving.sum(axis=0))
        where, leaving = columns[done], leaving[:, done]
        self.counts[:, level, where] -= leaving
        self.words[level, where] = words[done]
        self.budget[where] -= leaving.sum(axis=0)
        for move in moves:
            self._move(_Move(move.sign, level, where, move.count[done], move.high, move.low))
        return where

    def _move(self, move: _Move) -> None:
        """Count items where they arrive."""
        if not move.count.any():
            return
        self.moves.append(move)
        for sign, level in ((move.sign, move.high), (move.sign ^ (move.low < 0), abs(move.low))):
            self.counts[sign, level, move.columns] += move.count

    def _pairs(self, level: int) -> Iterator[tuple[int, int]]:
        """The two levels whose sum, or difference if the second is negative, is this level."""
        for low in range(level // 2, 0, -1):
            yield level - low, low
        for high in range(level + 1, self.top + 1):
            yield high, level - high

    def _lower_tops(self) -> None:
        """Empty the topmost levels: each is a word less, with or without items."""
        for level in range(self.top, 1, -1):
            columns = np.flatnonzero(self.highest == level)
            leaving = self.counts[:, level, columns]
            emptied = self.empty(level, columns, leaving, np.zeros(len(columns), np.int64))
            self.highest[emptied] = level - 1

    def _fill_words(self, most: int) -> None:
        """Empty the last words of levels that have so many items or fewer, the fewest first."""
        for excess in range(1, min(most, self.items - 1) + 1):
            for level in range(self.top, 0, -1):
                words = self.words[level] - 1
                counts = self.counts[:, level]
                over = counts.sum(axis=0) - self.items * words
                # Positive items go first, since the last word has less room for them.
                positive = np.minimum(counts[0], over)
                stay = counts - np.stack([positive, over - positive])
                fits = self.room(stay, words).min(axis=0) >= 0
                chosen = (words > 0) & (over == excess) & fits
                columns = np.flatnonzero(chosen)
                if len(columns):
                    leaving = (counts - stay)[:, columns]
                    self.empty(level, columns, leaving, words[columns])


def _fill(rooms: Ints, sign: int, taken: Ints) -> None:
    """Take room [2, n] of a level, as `_Places.room` counts it, for so many items of a sign."""
    rooms[1] -= taken
    if sign:
        # Negative items take only what positive ones may go to as well.
        np.minimum(rooms[0], rooms[1], out=rooms[0])
    else:
        rooms[0] -= taken


def split(levels: NDArray[np.int8], items: int) -> Items:
    """The items of levels [K, N] in words of so many, some weights as two.

    For a machine without shifts, where each level up to a column's highest takes a word.
    """
    places = _Places(levels, items)
    return _apply(Items.of(levels), places.moves, levels.shape[1], places.top)


def split_words(levels: NDArray[np.int8], items: int) -> Ints:
    """Words [N] of the items of `split`, with those that are there for a step alone."""
    return _Places(levels, items).words.sum(axis=0)


def item_words(counts: Ints, negatives: Ints, items: int) -> Ints:
    """Words that hold the items of a level, of which so many are negative.

    A word adds or subtracts; then its even items, half of all, have its sign. The last word of
    a level subtracts, since a step takes R from the register that has it with the other sign.
    """
    even = -(-items // 2)
    words = -(-np.maximum(counts, counts - negatives + even) // items)
    return np.where(counts > 0, words, 0)


def _apply(items: Items, moves: list[_Move], columns: int, top: int) -> Items:
    """The items after the moves, some of which take what others bring."""
    while moves:
        items, moves = _round(items, moves, columns, top)
    return items


def _round(items: Items, moves: list[_Move], columns: int, top: int) -> tuple[Items, list[_Move]]:
    """The items after those parts of the moves that they are enough for, and the other parts.

    Moves take a level's items in their order.
    """
    shape = columns, top + 1, 2

    def key(column: Ints, level: Ints, negative: Ints) -> Ints:
        """Its order is that of `Items`."""
        return np.ravel_multi_index((column, top - level, negative), shape)

    keys = key(items.column, items.level, items.negative.astype(np.int64))
    counts = np.bincount(keys, minlength=int(np.prod(shape)))
    ends_of = np.cumsum(counts)
    next_one = ends_of - counts
    chosen, high, low, later = list[Ints](), list[Ints](), list[Ints](), list[_Move]()
    for move in moves:
        begins = key(move.columns, np.array(move.level), np.array(move.sign))
        count = np.minimum(move.count, ends_of[begins] - next_one[begins])
        if (count < move.count).any():
            later.append(replace(move, count=move.count - count))
        ends = np.cumsum(count)
        rank = np.arange(int(ends[-1])) - np.repeat(ends - count, count)
        chosen.append(np.repeat(next_one[begins], count) + rank)
        next_one[begins] += count
        high.append(np.full(len(chosen[-1]), move.high))
        low.append(np.full(len(chosen[-1]), move.low))
    again, lows = np.concatenate(chosen), np.concatenate(low)
    moved = items.taken(again)
    one = replace(moved, level=np.concatenate(high))
    other = replace(moved, level=np.abs(lows), negative=moved.negative ^ (lows < 0))
    new = one.joined(other).sorted()
    stay = np.ones(len(keys), bool)
    stay[again] = False
    kept = items.taken(stay)
    rows = int(items.index.max()) + 1
    places = [
        key(part.column, part.level, part.negative.astype(np.int64)) * rows + part.index
        for part in (kept, new)
    ]
    # Two runs that are sorted each: a stable sort only merges them.
    return kept.joined(new).taken(np.argsort(np.concatenate(places), kind="stable")), later
