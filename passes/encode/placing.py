# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Which word of a running-sum stream an item of a group goes to, and where in it.

A word adds or subtracts. Its even items have its sign, its odd ones any. The last word of a
group subtracts (`splitting.item_words`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.index_coding import window_begin, window_reach
from daqkf.passes.encode.grouping import Groups, ranks, sorted_by
from daqkf.passes.encode.splitting import item_words

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Placing:
    """The places of the items of all groups."""

    words: Ints
    """[G] words that hold the items of each group."""
    word: Ints
    """[items] each item's word in its group."""
    slot: Ints
    """[items] its number in the word."""
    adding: NDArray[np.bool]
    """[Σ words] whether a word adds."""


def word_counts(groups: Groups, items: int, index_bits: int = 0) -> Ints:
    """[G] `Placing.words`, for less."""
    if not index_bits:
        return item_words(groups.items, groups.negatives, items)
    return _Cut.of(groups, items, index_bits).words


def place(groups: Groups, items: int, index_bits: int = 0) -> Placing:
    """Place the items of groups in words of so many.

    With `index_bits`, the items of a word are in one window of rows (`index_coding.Windows`).
    """
    if index_bits:
        return _Cut.of(groups, items, index_bits).placing()
    return _in_order(groups, items)


def _in_order(groups: Groups, items: int) -> Placing:
    """The adding words first. Even numbers go to items of the word's sign, as many as there are,
    odd numbers to all that are left.
    """
    even = -(-items // 2)
    odd = items - even
    negatives = groups.negatives
    words = item_words(groups.items, negatives, items)
    positives = groups.items - negatives
    # As many subtract as there are negative items, within what leaves every item a place.
    fewest = np.maximum(-(-(negatives - odd * words) // even), 1)
    most = np.minimum((items * words - positives) // even, words)
    subtracting = np.clip(negatives // items, fewest, np.maximum(most, fewest))
    adding = np.maximum(words - subtracting, 0)

    def of_item(value: Ints) -> Ints:
        return np.repeat(value, groups.items)

    # Positive items stand first in a group.
    rank = ranks(groups.items) - of_item(positives) * groups.negative
    own = np.where(groups.negative, of_item(even * subtracting), of_item(even * adding))
    left = np.maximum(positives - even * adding, 0)
    rest = rank - own + of_item(left) * groups.negative
    first = of_item(adding) * groups.negative
    taken = rank < own
    word = np.where(taken, first + rank // even, rest // max(odd, 1))
    slot = np.where(taken, 2 * (rank % even), 2 * (rest % max(odd, 1)) + 1)
    return Placing(words, word, slot, ranks(words) < np.repeat(adding, words))


def place_freely(groups: Groups, items: int) -> Placing:
    """Place the items of groups in their order; the sign of most items of a word is the word's."""
    words = -(-groups.items // items)
    first = np.cumsum(words) - words
    rank = ranks(groups.items)
    word, total = rank // items, int(words.sum())
    number = np.repeat(first, groups.items) + word
    negatives = np.bincount(number, groups.negative, total).astype(np.int64)
    sizes = np.bincount(number, minlength=total)
    adding = 2 * negatives < sizes
    own = groups.negative != adding[number]
    order = sorted_by(number, ~own)
    place = np.empty_like(number)
    place[order] = ranks(sizes)
    even = -(-items // 2)
    fitting = np.minimum(np.where(adding, sizes - negatives, negatives), even)[number]
    slot = np.where(place < fitting, 2 * place, 2 * (place - fitting) + 1)
    return Placing(words, word, slot, adding)


@dataclass(frozen=True)
class _Cut:
    """Groups cut into words of items, an even number, whose rows lie in one window.

    Arrays are [items], by group and rising row, or [W] by word.
    """

    items: int
    order: Ints
    """Of the items of `Groups`."""
    negative: NDArray[np.bool]
    word: Ints
    """Number of the item's word among all."""
    words: Ints
    """[G] words of each group."""

    @classmethod
    def of(cls, groups: Groups, items: int, index_bits: int) -> "_Cut":
        """Each word takes as many items as it has room for, and as its window reaches."""
        group = np.repeat(np.arange(len(groups.items)), groups.items)
        order = sorted_by(group, groups.index)
        row, negative = groups.index[order], groups.negative[order]
        ends = np.cumsum(groups.items)
        reach, half = window_reach(index_bits), items // 2
        stride = int(row.max(initial=0)) + reach + 1
        limit = window_begin(row, index_bits) + reach
        following = np.minimum(
            np.searchsorted(group * stride + row, group * stride + limit), ends[group]
        )
        following = np.minimum(following, np.arange(len(row)) + items)
        begins = np.zeros(len(row), bool)
        at = (ends - groups.items)[groups.items > 0]
        while len(at):
            begins[at] = True
            at = following[at[following[at] < ends[group[at]]]]
        # A group whose words all have too many positive items to subtract gets one more.
        word = np.cumsum(begins) - 1
        subtracts = np.bincount(word, ~negative) <= half
        able = np.bincount(group[begins], subtracts, len(ends)) > 0
        begins[(ends - half)[(groups.items > 0) & ~able]] = True
        words = np.bincount(group[begins], minlength=len(ends))
        return cls(items, order, negative, np.cumsum(begins) - 1, words)

    def placing(self) -> Placing:
        """Items by their signs; the last word that can subtract goes to the end of its group."""
        half, total = self.items // 2, int(self.words.sum())
        minus = np.bincount(self.word, ~self.negative, total) <= half
        number, last = ranks(self.words), np.repeat(self.words - 1, self.words)
        group = np.repeat(np.arange(len(self.words)), self.words)
        ending = np.zeros(len(self.words), np.int64)
        ending[group[minus]] = number[minus]  # of several, the last counts
        swapped = np.where(number == ending[group], last, number)
        swapped = np.where(number == last, ending[group], swapped)

        own = self.negative == minus[self.word]
        by_sign = sorted_by(self.word, ~own)
        rank = np.empty_like(self.word)
        rank[by_sign] = ranks(np.bincount(self.word, minlength=total))
        fitting = np.bincount(self.word[own], minlength=total)
        taken = np.minimum(fitting, half)[self.word]
        slot = np.where(rank < taken, 2 * rank, 2 * (rank - taken) + 1)

        adding = np.empty(total, bool)
        adding[swapped + (np.cumsum(self.words) - self.words)[group]] = ~minus
        word, slot = self._as_given(swapped[self.word]), self._as_given(slot)
        return Placing(self.words, word, slot, adding)

    def _as_given(self, values: Ints) -> Ints:
        """[items] in the order of `Groups`."""
        given = np.empty_like(values)
        given[self.order] = values
        return given
