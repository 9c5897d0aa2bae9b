# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Options for level sets, and the knapsack that chooses among them."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daqkf.dialects.spaq import LevelSet
from daqkf.passes.maths import running_sum
from daqkf.passes.maths.allocation import (
    allocate,
    assemble,
    channel_groups,
    options,
    pareto,
    totals,
)
from daqkf.passes.maths.input_statistics import InputStatistics, output_error

MENU = (
    (LevelSet.of("ternary", 1), 0.0),
    (LevelSet.of("uniform", 7), 0.0),
    (LevelSet.of("uniform", 7), 8.0),
    (LevelSet.of("codebook", 15), 0.0),
)


def table(seed: int, groups: int = 4, count: int = 3):
    rng = np.random.default_rng(seed)
    return rng.exponential(1, (groups, count)), rng.integers(1, 50, (groups, count)).astype(float)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_choice_is_the_best_of_all(seed: int, share: float):
    loss, words = table(seed)
    index = np.arange(4)
    low, high = loss.min(axis=1).sum(), loss.max(axis=1).sum()
    limit = low + share * (high - low) + 1e-9
    choice = allocate(loss, words, most_loss=limit)
    assert loss[index, choice].sum() <= limit * (1 + 1e-6)
    every = [np.array(c) for c in product(range(3), repeat=4)]
    best = min(words[index, c].sum() for c in every if loss[index, c].sum() <= limit)
    assert words[index, choice].sum() <= best * (1 + 1e-3)

    budget = words.min(axis=1).sum() + share * 20
    choice = allocate(loss, words, most_words=budget)
    assert words[index, choice].sum() <= budget * (1 + 1e-6)
    best = min(loss[index, c].sum() for c in every if words[index, c].sum() <= budget)
    assert loss[index, choice].sum() <= best * (1 + 1e-3) + 1e-9


def test_what_cannot_be_had_is_said():
    loss, words = table(0)
    with pytest.raises(ValueError, match=r"the least loss that can be had is [\d.]+, not 1e-06"):
        allocate(loss, words, most_loss=1e-6)
    with pytest.raises(ValueError, match=r"the least stream words that can be had is \d+, not 3"):
        allocate(loss, words, most_words=3)
    with pytest.raises(ValueError, match="either the most loss or the most words"):
        allocate(loss, words)


@given(st.integers(0, 10**6))
def test_the_front_has_no_point_that_another_beats(seed: int):
    loss, words = table(seed, groups=6)
    index = np.arange(6)
    places = [(loss[index, c].sum(), words[index, c].sum()) for c in pareto(loss, words, 6)]
    assert places
    for (loss1, words1), (loss2, words2) in pairwise(places):
        assert words2 < words1
        assert loss2 >= loss1 * (1 - 1e-3)


def test_groups_are_of_like_sensitivity():
    groups = channel_groups(np.array([3.0, 1.0, 2.0, 5.0, 4.0]), 2)
    assert [group.tolist() for group in groups] == [[1, 2, 0], [4, 3]]
    assert len(channel_groups(np.ones(2), 5)) == 2


def test_options_tell_the_truth_and_are_put_together_by_channel():
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((300, 40)) @ rng.standard_normal((40, 40))
    weights = rng.standard_normal((40, 12)) * (rng.random((40, 12)) < 0.6)
    hessian = InputStatistics.of(samples).hessian()
    sensitivity = rng.exponential(1, 12)
    found = options(weights, hessian, sensitivity, word_price=1.0, max_shift=3, menu=MENU)
    for option in found:
        real = option.fit.levels * option.fit.scales
        assert np.allclose(option.loss, output_error(weights, real, hessian) * sensitivity)
        assert np.array_equal(option.words, running_sum.cost(option.fit.levels, 3))
        assert not real[weights == 0].any()
    # Charging for items buys zeros.
    assert np.count_nonzero(found[2].fit.levels) < np.count_nonzero(found[1].fit.levels)

    groups = channel_groups(sensitivity, 3)
    loss, words = totals(found, groups)
    assert loss.shape == words.shape == (3, 4)
    level_set, mixed = assemble(found, groups, [0, 3, 1])
    for group, index in zip(groups, [0, 3, 1], strict=True):
        assert np.array_equal(mixed.levels[:, group], found[index].fit.levels[:, group])
        assert np.array_equal(mixed.scales[group], found[index].fit.scales[group])
    assert level_set.kind == "codebook"
    assert level_set.maximum == np.abs(mixed.levels).max()
    # One option for all keeps its own level set.
    assert assemble(found, groups, [1, 1, 1])[0] == LevelSet.of("uniform", 7)
