# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Options for level sets, and the knapsack that chooses among them."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daqkf.dialects.spaq import LevelSet
from daqkf.passes.encode import running_sum
from daqkf.passes.quantize.allocation import (
    LevelChooser,
    allocate,
    assemble,
    channel_groups,
    noise_share,
    options,
    pareto,
    totals,
)
from daqkf.passes.quantize.input_statistics import InputStatistics, output_error

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


@pytest.mark.slow
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


@given(st.floats(0.01, 0.99999))
def test_a_cosine_is_a_share_of_noise(cosine: float):
    # Errors that do not follow the outputs make the outputs longer: cos = 1 / |y + e|.
    noise = noise_share(cosine)
    assert np.isclose(1 / np.sqrt(1 + noise), cosine)
    assert noise_share(str(cosine)) == noise


@pytest.mark.parametrize(
    ("accuracy", "share"),
    [("20dB", 0.01), ("0 dB", 1.0), (" 30DB ", 0.001), ("-3dB", 1.9952623), ("2.5e1db", 0.0031623)],
)
def test_an_sqnr_is_a_share_of_noise(accuracy: str, share: float):
    assert np.isclose(noise_share(accuracy), share)


@pytest.mark.parametrize(
    "accuracy",
    ["abc", "", "dB", "xdB", 0, 1, 1.0, -0.5, 2, "nan", "nandB", "infdB", "-infdB", "-1e9dB", "25"],
)
def test_what_is_no_accuracy_is_named(accuracy: float | str):
    message = f"accuracy must be a cosine below 1 or like 25dB, not '{accuracy}'"
    with pytest.raises(ValueError, match=f"^{message}$"):
        noise_share(accuracy)


@pytest.fixture(scope="module")
def layer() -> tuple[np.ndarray, np.ndarray]:
    """Weights [24, 8], and the Hessian of inputs that go together."""
    rng = np.random.default_rng(3)
    samples = rng.standard_normal((200, 24)) @ rng.standard_normal((24, 24))
    return rng.standard_normal((24, 8)), InputStatistics.of(samples).hessian()


@pytest.fixture(scope="module")
def chooser(layer: tuple[np.ndarray, np.ndarray]) -> LevelChooser:
    return LevelChooser.of(*layer, noise=0.01, max_shift=3, groups=4)


def test_noise_is_kept_and_more_of_it_takes_fewer_words(
    chooser: LevelChooser, layer: tuple[np.ndarray, np.ndarray]
):
    weights, hessian = layer
    energy = output_error(weights, np.zeros_like(weights), hessian).sum()
    choices = [chooser.within(noise=noise) for noise in (0.0005, 0.003, 0.015)]
    for choice, noise in zip(choices, (0.0005, 0.003, 0.015), strict=True):
        assert choice.noise <= noise * (1 + 1e-6)
        # It says of itself what comes out.
        error = output_error(weights, choice.fit.levels * choice.fit.scales, hessian).sum()
        assert np.isclose(error / energy, choice.noise)
        assert running_sum.cost(choice.fit.levels, 3).sum() == choice.words
        assert np.abs(choice.fit.levels.astype(int)).max() <= choice.level_set.maximum
    assert choices[0].words > choices[1].words > choices[2].words


def test_words_are_kept_and_more_of_them_make_less_noise(chooser: LevelChooser):
    fewest = chooser.fewest_words
    choices = [chooser.within(words=words) for words in (fewest, 1.3 * fewest, 2 * fewest)]
    assert choices[0].words == fewest
    assert choices[1].words <= 1.3 * fewest
    assert choices[0].noise > choices[1].noise > choices[2].noise
    message = f"the least stream words that can be had is {fewest}, not {fewest - 1}"
    with pytest.raises(ValueError, match=message):
        chooser.within(words=fewest - 1)


def test_a_chooser_for_more_noise_has_fewer_words(
    chooser: LevelChooser, layer: tuple[np.ndarray, np.ndarray]
):
    coarse = LevelChooser.of(*layer, noise=0.2, max_shift=3, groups=4)
    assert coarse.fewest_words < 0.8 * chooser.fewest_words


def test_the_front_of_a_layer_is_monotone(chooser: LevelChooser):
    front = chooser.front(6)
    assert len(front) > 3
    assert front[-1].words <= 1.01 * chooser.fewest_words
    for better, quicker in pairwise(front):
        assert quicker.words < better.words
        assert quicker.noise > better.noise


def test_a_layer_without_weights_has_a_choice():
    nothing = LevelChooser.of(np.zeros((4, 3)), np.eye(4), noise=0.01, max_shift=3)
    choice = nothing.within(noise=0.01)
    assert choice.noise == 0
    assert not choice.fit.levels.any()
