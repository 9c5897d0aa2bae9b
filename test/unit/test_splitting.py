# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Weights that become two items, so that the words of a stream are full, and words of items."""

from types import SimpleNamespace

import numpy as np
import pytest

from daqkf.passes.encode.grouping import Groups
from daqkf.passes.encode.placing import word_counts
from daqkf.passes.encode.splitting import _Places, item_words, split, split_words


@pytest.mark.parametrize("items", [1, 2, 4, 5, 8])
def test_items_fill_the_words_that_are_counted(items: int):
    rng = np.random.default_rng(items)
    fewer = 0
    for most in (1, 2, 7, 20):
        for density in (0.1, 0.5, 1.0):
            levels = rng.integers(-most, most + 1, (60, 9)) * (rng.random((60, 9)) < density)
            made = split(levels.astype(np.int8), items)
            # The items of a weight sum up to it.
            found = np.zeros(levels.shape, np.int64)
            signed = np.where(made.negative, -made.level, made.level)
            np.add.at(found, (made.index, made.column), signed)
            assert np.array_equal(found, levels)
            shape = 9, most + 1
            place = made.column * shape[1] + made.level
            counts = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)
            below = np.bincount(place, made.negative, counts.size).astype(np.int64).reshape(shape)
            words = item_words(counts, below, items)
            highest = np.where(counts > 0, np.arange(most + 1), 0).max(axis=1)
            # A level without items below the highest takes a word for its step.
            steps = highest - (counts[:, 1:] > 0).sum(axis=1)
            needed = words.sum(axis=1) + steps
            counted = split_words(levels.astype(np.int8), items)
            assert (needed <= counted).all()
            fewer += int((counted < _words_as_they_are(levels, items)).sum())
    assert fewer > 5


@pytest.mark.parametrize(
    ("items", "column"),
    [
        # Items of either sign go to one level, the negative ones first.
        (4, [2, 3, 1, 4, -5, -2, -1, -1, -3, 5, 3, -1, -1, 3, -1, 3, -2, -1, 5, -2, -3]),
        # What is subtracted of a negative weight is positive, and so is its room.
        (2, [-1, -1, -1, -4, 5]),
    ],
)
def test_room_is_counted_by_sign(items: int, column: list[int]):
    levels = np.array([column], np.int8).T
    made = split(levels, items)
    counts = np.bincount(made.level, minlength=7)
    below = np.bincount(made.level, made.negative, 7).astype(np.int64)
    words = np.maximum(item_words(counts, below, items), np.arange(7) <= made.level.max())
    assert words[1:].sum() <= split_words(levels, items)[0]


def test_each_topmost_level_is_emptied():
    """3 = 2 + 1 beside a column that has a level more."""
    levels = np.array([[3, 1, 1, 1], [4, 0, 0, 0]], np.int8).T
    assert split_words(levels, 4)[0] == 2


def test_the_last_word_of_a_level_is_spared():
    """One of five items becomes two of another level, whose word has room."""
    levels = np.array([[-2, -2, -2, -2, -2, -1]], np.int8).T
    assert _words_as_they_are(levels, 4).tolist() == [3]
    assert split_words(levels, 4).tolist() == [2]


def _words_as_they_are(levels: np.ndarray, items: int) -> np.ndarray:
    """Words [N] of levels whose weights are one item each."""
    total = np.zeros(levels.shape[1], np.int64)
    for level in range(1, int(np.abs(levels).max()) + 1):
        own = np.abs(levels) == level
        words = item_words(own.sum(axis=0), (own & (levels < 0)).sum(axis=0), items)
        total += np.maximum(words, np.abs(levels).max(axis=0) >= level)
    return total


@pytest.mark.parametrize(("level", "top"), [(1, 1), (5, 7), (8, 9)])
def test_a_level_is_the_sum_or_difference_of_two(level: int, top: int):
    found = list(_Places._pairs(SimpleNamespace(top=top), level))  # pyright: ignore
    sums = {(level - low, low) for low in range(1, level // 2 + 1)}
    differences = {(high, level - high) for high in range(level + 1, top + 1)}
    assert set(found) == sums | differences
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("negatives", "items", "words"),
    [([1, 1, 1], 4, 1), ([1, 0, 1, 0], 4, 1), ([0, 0, 0, 0], 4, 2), ([0, 0], 4, 1)],
)
def test_a_window_takes_one_more_word_only_if_none_can_subtract(
    negatives: list[int], items: int, words: int
):
    """Half of a word's items have its sign, and the last word of a group subtracts."""
    count, sign = len(negatives), np.array(negatives, bool)
    groups = Groups(
        column=np.zeros(1, np.int64),
        items=np.array([count]),
        negatives=np.array([sign.sum()]),
        gap=np.ones(1, np.int64),
        index=np.arange(count),
        negative=sign,
    )
    assert word_counts(groups, items, 5).tolist() == [words]
    assert word_counts(groups, items).tolist() == [words]
