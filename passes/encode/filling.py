# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Weights as sums of two levels, for words that hold items of either sign (`shared_words`).

As in `splitting`, x·13 may be an item at level 8 and one at level 5, or one at 15 and one, with the
other sign, at 2. Here no word depends on signs, and a step may be of several levels. So what a
column takes follows from how many items each of its levels has; a level whose items have all
gone elsewhere may be left out, if steps reach across it.

Which pairs of levels items go to is a packing problem. It is solved greedily: the levels and the
last words that have the fewest items are emptied first, and pairs are tried in a fixed order.
Since the order matters, each column is solved with several, and keeps its best solution.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets import numerics
from daqkf.passes.encode.gap_steps import parts
from daqkf.passes.encode.grouping import ranks
from daqkf.passes.encode.splitting import Items

type Ints = NDArray[np.int64]

_TRIES = 16
"""Orders of pairs that each column is solved with."""

_PAIRS = 24
"""Pairs that are tried for a level at most."""

_BLOCK = 1 << 15
"""Columns, each once for every try, that are solved at once."""

_NONE = 1 << 20
"""A level above all others."""


def fill(
    levels: NDArray[np.int8], items: int, max_shift: int, order: NDArray[np.integer] | None = None
) -> Items:
    """The items of levels [K, N] in words of so many, some weights as two.

    For words of `shared_words`, with steps of 1, 2, 4 … 2^max_shift levels. With an `order` [N],
    the items' columns are in it, so that what costs were counted for is not solved again.
    """
    moves = _solved(levels, items, max_shift).moves
    if order is not None:
        levels, moves = levels[:, order], replace(moves, column=np.argsort(order)[moves.column])
    return _apply(Items.of(levels), moves)


def fill_words(levels: NDArray[np.int8], items: int, max_shift: int) -> Ints:
    """Words [N] of the items of `fill`, with those that are there for a step alone."""
    return _solved(levels, items, max_shift).words


@dataclass(frozen=True)
class _Moves:
    """Items that become two, in the order in which they do. Arrays are [moves]."""

    column: Ints
    level: Ints
    """Where they leave."""
    high: Ints
    low: Ints
    """Where they arrive; if it is below 0, with the other sign."""
    count: Ints

    @classmethod
    def joined(cls, parts: "list[_Moves]") -> "_Moves":
        """One after another."""
        names = ("column", "level", "high", "low", "count")
        return cls(
            *(
                np.concatenate([np.zeros(0, np.int64), *(getattr(part, name) for part in parts)])
                for name in names
            )
        )

    def taken(self, which: Ints | NDArray[np.bool]) -> "_Moves":
        """Some of the moves, by their numbers or a mask."""
        return _Moves(
            self.column[which],
            self.level[which],
            self.high[which],
            self.low[which],
            self.count[which],
        )


@dataclass(frozen=True)
class _Solution:
    """Words [N] and the moves to them."""

    words: Ints
    moves: _Moves


def _solved(levels: NDArray[np.int8], items: int, max_shift: int) -> _Solution:
    return _solution(np.ascontiguousarray(levels).tobytes(), len(levels), items, max_shift)


@lru_cache(maxsize=64)
def _solution(data: bytes, features: int, items: int, max_shift: int) -> _Solution:
    """The solution for levels [K, N], given by their bytes: costs and streams both ask for it."""
    levels = np.frombuffer(data, np.int8).reshape(features, -1)
    words, moves = list[Ints](), list[_Moves]()
    # What a column becomes depends on these of all columns, and on no other column otherwise.
    top = int(np.abs(levels.astype(np.int64)).max(initial=0))
    bound = int(numerics.running_sum_bound(levels).max(initial=0))
    step = _BLOCK // _TRIES
    for first in range(0, levels.shape[1], step):
        part = _Block(levels[:, first : first + step], items, max_shift, top, bound).solved()
        words.append(part.words)
        moves.append(
            _Moves(
                part.moves.column + first,
                part.moves.level,
                part.moves.high,
                part.moves.low,
                part.moves.count,
            )
        )
    return _Solution(np.concatenate([np.zeros(0, np.int64), *words]), _Moves.joined(moves))


class _Block:
    """Columns, all of them for the first try, then for the second one, and so on.

    Arrays are [levels + 1, tries · N].
    """

    def __init__(self, levels: NDArray[np.int8], items: int, max_shift: int, top: int, bound: int):
        magnitudes = np.abs(levels.astype(np.int64))
        self.items, self.max_shift, self.columns = items, max_shift, int(levels.shape[1])
        self.top = top
        shape = self.top + 1, self.columns
        place: Ints = magnitudes * self.columns + np.arange(self.columns)
        counts = np.bincount(place.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
        counts[0] = 0
        self.counts: Ints = np.tile(counts, _TRIES)
        highest = np.tile(magnitudes.max(axis=0, initial=0), _TRIES)
        above = np.arange(self.top + 1)[:, np.newaxis] > highest
        self.words: Ints = np.maximum(-(-self.counts // items), 1)
        """Of each level; 0 where a step reaches across it."""
        self.words[above] = self.words[0] = 0
        # Every item widens R's range; no more of them than has room in the width that it has, which
        # is that of the column with the most.
        most = (1 << bound.bit_length()) - 1
        room = (most - numerics.running_sum_bound(levels)) // (1 - numerics.ACTIVATION_MIN)
        self.budget: Ints = np.tile(room, _TRIES)
        self.moves: list[_Moves] = []
        self.reach = np.isin(np.arange(2 * self.top + 2), 1 << np.arange(max_shift + 1))
        """[gap] whether a single step is of so many levels."""
        self.orders = [self._order(level) for level in range(self.top + 1)]

    def _order(self, level: int) -> tuple[Ints, Ints]:
        """[pairs, tries] the two levels whose sum, or difference if the second is negative, is
        this level, in the order in which a try takes them."""
        low = np.arange(level // 2, 0, -1)
        high = np.arange(level + 1, self.top + 1)
        pairs = np.stack([np.append(high, level - low), np.append(level - high, low)])
        rng = np.random.default_rng(level)
        number = int(pairs.shape[1])
        orders = [np.arange(number), *(rng.permutation(number) for _ in range(_TRIES - 1))]
        chosen = np.stack(orders, axis=1)[:_PAIRS]
        return pairs[0][chosen], pairs[1][chosen]

    def solved(self) -> _Solution:
        """Empty levels and words; then take the best try of each column."""
        for most in (1, 2, 3, 4, self.items):
            self._skip(most)
            self._spare(min(most, self.items - 1))
        totals = self._totals().reshape(_TRIES, self.columns)
        best = totals.argmin(axis=0)
        moves = _Moves.joined(self.moves)
        attempt, column = np.divmod(moves.column, max(self.columns, 1))
        own = moves.taken(best[column] == attempt)
        return _Solution(
            totals.min(axis=0),
            _Moves(own.column % max(self.columns, 1), own.level, own.high, own.low, own.count),
        )

    def _skip(self, most: int) -> None:
        """Leave out levels of so many items or fewer, if steps reach across them."""
        for level in range(self.top, 0, -1):
            above, below = self._neighbours(level)
            gap = np.minimum(above - below, len(self.reach) - 1)
            # Above the topmost level there is nothing that steps have to reach.
            able = np.where(above == _NONE, below > 0, self.reach[gap])
            chosen = (self.words[level] > 0) & (self.counts[level] <= most) & able
            columns = np.flatnonzero(chosen)
            if len(columns):
                leaving = self.counts[level, columns]
                self._empty(level, columns, leaving, np.zeros(len(columns), np.int64))

    def _neighbours(self, level: int) -> tuple[Ints, Ints]:
        """The next levels above and below that take words: `_NONE` and 0 where there are none."""
        taken = self.words > 0
        over, under = taken[level + 1 :], taken[:level][::-1]
        above = np.full(taken.shape[1], _NONE)
        if len(over):
            above = np.where(over.any(axis=0), level + 1 + over.argmax(axis=0), _NONE)
        return above, np.where(under.any(axis=0), level - 1 - under.argmax(axis=0), 0)

    def _spare(self, most: int) -> None:
        """Empty the last words of levels that have so many items or fewer, the fewest first."""
        for excess in range(1, most + 1):
            for level in range(self.top, 0, -1):
                words = self.words[level] - 1
                over = self.counts[level] - self.items * words
                columns = np.flatnonzero((words > 0) & (over == excess))
                if len(columns):
                    self._empty(level, columns, over[columns], words[columns])

    def _empty(self, level: int, columns: Ints, leaving: Ints, words: Ints) -> None:
        """Move items [n] of a level of these columns, which leaves it so many words.

        All of a column's or none.
        """
        able = self.budget[columns] >= leaving
        columns, leaving, words = columns[able], leaving[able], words[able]
        if not len(columns):
            return
        rooms = np.maximum(self.items * self.words[:, columns] - self.counts[:, columns], 0)
        rooms[level] = 0  # nothing arrives where it leaves
        attempt, each = columns // self.columns, np.arange(len(columns))
        left, moves = leaving.copy(), list[tuple[Ints, Ints, Ints]]()
        for highs, lows in zip(*self.orders[level], strict=True):
            if not left.any():
                break
            high, low = highs[attempt], lows[attempt]
            a, b = rooms[high, each], rooms[np.abs(low), each]
            taken = np.minimum(np.where(high == low, a // 2, np.minimum(a, b)), left)
            if taken.any():
                rooms[high, each] -= taken
                rooms[np.abs(low), each] -= taken
                left -= taken
                moves.append((high, low, taken))
        done = left == 0
        where = columns[done]
        self.counts[level, where] -= leaving[done]
        self.words[level, where] = words[done]
        self.budget[where] -= leaving[done]
        for high, low, taken in moves:
            some = done & (taken > 0)
            move = _Moves(
                columns[some],
                np.full(int(some.sum()), level),
                high[some],
                low[some],
                taken[some],
            )
            self.counts[move.high, move.column] += move.count
            self.counts[np.abs(move.low), move.column] += move.count
            self.moves.append(move)

    def _totals(self) -> Ints:
        """Words of each column, by what is in its levels."""
        total, before = np.zeros((2, self.counts.shape[1]), np.int64)
        for level in range(self.top, 0, -1):
            counts = self.counts[level]
            some = counts > 0
            steps = np.where(before > 0, parts(before - level, self.max_shift) - 1, 0)
            total += np.where(some, -(-counts // self.items) + steps, 0)
            before = np.where(some, level, before)
        return np.maximum(total + np.where(before > 0, parts(before, self.max_shift) - 1, 0), 1)


def _apply(items: Items, moves: _Moves) -> Items:
    """The items after the moves, some of which take what others bring."""
    top = int(max(items.level.max(initial=0), moves.high.max(initial=0))) + 1
    while len(moves.column):
        # Items stand in the order of column and falling level; any of a level may leave it.
        keys = items.column * top + top - 1 - items.level
        groups = int(max(items.column.max(initial=0), moves.column.max())) * top + top
        sizes = np.bincount(keys, minlength=groups)
        begins = np.cumsum(sizes) - sizes
        wanted = moves.column * top + top - 1 - moves.level
        order = np.argsort(wanted, kind="stable")
        count, wanted = moves.count[order], wanted[order]
        earlier = np.cumsum(count) - count
        earlier -= np.repeat(earlier[_firsts(wanted)], np.diff(_firsts(wanted, end=True)))
        count = np.clip(sizes[wanted] - earlier, 0, count)
        numbers = np.repeat(begins[wanted] + earlier, count) + ranks(count)
        moved = items.taken(numbers)
        low = np.repeat(moves.low[order], count)
        one = Items(moved.column, moved.index, np.repeat(moves.high[order], count), moved.negative)
        other = Items(moved.column, moved.index, np.abs(low), moved.negative ^ (low < 0))
        stay = np.ones(len(keys), bool)
        stay[numbers] = False
        items = items.taken(stay).joined(one).joined(other).sorted()
        rest = moves.count[order] - count
        later = np.sort(order[rest > 0])
        left = np.zeros(len(order), np.int64)
        left[order] = rest
        moves = _Moves(
            moves.column[later],
            moves.level[later],
            moves.high[later],
            moves.low[later],
            left[later],
        )
    return items


def _firsts(values: Ints, *, end: bool = False) -> Ints:
    """Where runs of equal values begin, and, if asked for, the end of all."""
    begins = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    return np.append(begins, len(values)) if end else begins
