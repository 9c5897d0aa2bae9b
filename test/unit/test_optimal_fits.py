# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What is called an optimum is one: compared with trying everything."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from daqkf.dialects.spaq import LevelSet
from daqkf.passes.encode import gap_steps, running_sum
from daqkf.passes.quantize import lloyd_max
from daqkf.passes.quantize.code_paths import Paths
from daqkf.passes.quantize.columns import Columns
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.optimal_levels import optimal_levels, optimal_step

type Floats = NDArray[np.float64]

# Sixteenths have exact sums, so that ties are ties.
VALUES = st.integers(-48, 48).map(lambda i: i / 16)


def matrices(rows: int, columns: int = 3) -> st.SearchStrategy[Floats]:
    return hnp.arrays(
        np.float64, st.tuples(st.integers(1, rows), st.integers(1, columns)), elements=VALUES
    )


def importances(weights: Floats) -> st.SearchStrategy[Floats | None]:
    return st.none() | hnp.arrays(np.float64, weights.shape, elements=st.integers(0, 3).map(float))


def of_channel(importance: Floats | None, weights: Floats, n: int) -> Floats:
    """The importance of a channel's weights; equal where all are zero."""
    if importance is None or not importance[:, n].any():
        return np.ones(len(weights))
    return importance[:, n]


def every_partition(magnitudes: Floats, importance: Floats, levels: int) -> float:
    """The least error of at most `levels` levels beside zero, by trying every partition."""
    order = np.argsort(magnitudes)
    magnitudes, importance = magnitudes[order], importance[order]
    count = len(magnitudes)
    best = np.inf
    for cuts in itertools.combinations_with_replacement(range(count + 1), levels):
        bounds = [*cuts, count]
        error = (importance * magnitudes**2)[: bounds[0]].sum()
        for low, high in itertools.pairwise(bounds):
            h, w = importance[low:high], magnitudes[low:high]
            if h.sum() > 0:
                error += (h * (w - (h * w).sum() / h.sum()) ** 2).sum()
        best = min(best, error)
    return best


@given(matrices(7), st.integers(1, 4), st.data())
@settings(max_examples=60, deadline=None)
def test_free_levels_are_the_best_partition(weights: Floats, levels: int, data: st.DataObject):
    importance = data.draw(importances(weights))
    columns = Columns.sort(weights, importance)
    found, error = optimal_levels(columns, levels)
    error = columns.in_units_of_weights(error)
    assert (np.diff(found, axis=0) >= 0).all() and found.shape == (levels, weights.shape[1])
    for n, column in enumerate(weights.T):
        channel = of_channel(importance, weights, n)
        assert np.isclose(error[n], every_partition(np.abs(column), channel, levels), atol=1e-12)
        # The levels have that error, with each weight at the nearest.
        real = np.append(0, np.ldexp(found[:, n], columns.exponent[n]))
        distance = np.abs(np.abs(column)[:, np.newaxis] - real).min(axis=1)
        assert (channel * distance**2).sum() <= error[n] + 1e-12


@given(matrices(6), st.integers(1, 3), st.data())
@settings(max_examples=60, deadline=None)
def test_the_step_is_the_best_of_all_assignments(
    weights: Floats, magnitudes: int, data: st.DataObject
):
    importance = data.draw(importances(weights))
    columns = Columns.sort(weights, importance)
    step, error = optimal_step(columns, magnitudes)
    error = columns.in_units_of_weights(error)
    step = np.ldexp(step, columns.exponent)
    assert (step > 0).all()
    for n, column in enumerate(np.abs(weights.T)):
        h = of_channel(importance, weights, n)
        # Every assignment of levels to weights with its best step.
        levels = np.array(list(itertools.product(range(magnitudes + 1), repeat=len(column))))
        products, squares = (h * column * levels).sum(1), (h * levels**2).sum(1)
        spared = np.divide(products**2, squares, out=np.zeros(len(levels)), where=squares > 0)
        assert np.isclose(error[n], (h * column**2).sum() - spared.max(), atol=1e-12)
        nearest = np.minimum(np.rint(column / step[n]), magnitudes) * step[n]
        assert np.isclose((h * (column - nearest) ** 2).sum(), error[n], atol=1e-12)


@given(matrices(40), st.sampled_from([1, 2, 5, 12]), st.data())
@settings(max_examples=40, deadline=None)
def test_the_optimum_is_never_worse_than_the_iteration(
    weights: Floats, magnitudes: int, data: st.DataObject
):
    importance = data.draw(importances(weights))
    slack = 1e-12 * (weights**2).sum(axis=0) + 1e-300
    for kind in ("uniform", "codebook"):
        level_set = LevelSet.of(kind, magnitudes)
        iterated = fit(weights, level_set, importance=importance)
        optimal = fit(weights, level_set, importance=importance, method="optimal")
        assert (optimal.history[-1] <= iterated.history[-1] + slack).all()
    columns = Columns.sort(weights, importance)
    _, error = optimal_step(columns, magnitudes)
    _, history = lloyd_max.fit_step(columns, magnitudes)
    assert (columns.in_units_of_weights(error - history[-1]) <= slack).all()


def priced_words(levels: NDArray[np.int64], max_shift: int) -> int:
    """The words that a search prices: items in order, two a word, and the steps of the gaps."""
    codes, counts = np.unique(levels[levels > 0], return_counts=True)
    words = -(-counts // 2) + gap_steps.parts(np.diff(codes, prepend=0), max_shift) - 1
    return max(int(words.sum()), 1)


def every_path(
    magnitudes: Floats,
    importance: Floats,
    scale: float,
    maximum: int,
    limit: int,
    word: float,
    max_shift: int,
) -> float:
    """The least error + word · words, by trying every set of codes."""
    best = np.inf
    for count in range(limit + 1):
        for codes in itertools.combinations(range(1, maximum + 1), count):
            values = np.array([0, *codes])
            # A weight on a threshold goes up, as in the search.
            thresholds = (values[1:] + values[:-1]) * (0.5 * scale)
            levels = values[np.searchsorted(thresholds, magnitudes, side="right")]
            error = (importance * (magnitudes - levels * scale) ** 2).sum()
            words = priced_words(levels, max_shift)
            best = min(best, error + word * words)
    return best


@given(
    matrices(9),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.01, 0.1, 1.0, 30.0]),
    st.integers(0, 3),
    st.sampled_from([0.1, 0.25, 0.3, 0.7]),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_paths_are_the_best_codes_for_errors_and_words(
    weights: Floats,
    maximum: int,
    limit: int,
    word: float,
    max_shift: int,
    scale: float,
    data: st.DataObject,
):
    importance = data.draw(importances(weights))
    limit = min(limit, maximum)
    columns = Columns.sort(weights, importance)
    scales = np.full(weights.shape[1], scale)
    paths = Paths.search(columns, scales, maximum, limit, word, max_shift)
    codes = paths.codes()
    assert codes.shape == (limit, weights.shape[1])
    assert (np.diff(codes, axis=0) >= 0).all() and codes.max() <= maximum
    # Each channel is in units of its own.
    for n, column in enumerate(columns.ascending):
        h = columns.importance[n]
        least = every_path(column, h, scale, maximum, limit, word, max_shift)
        # A channel without weights takes a word in any case.
        found = columns.energy[n] + paths.best()[n]
        assert np.isclose(found, least, atol=1e-9)
        # The codes that are given have that cost.
        values = np.append(0, np.unique(codes[:, n][codes[:, n] > 0]))
        thresholds = (values[1:] + values[:-1]) * (0.5 * scale)
        levels = values[np.searchsorted(thresholds, column, side="right")]
        words = priced_words(levels, max_shift)
        error = (h * (column - levels * scale) ** 2).sum()
        assert np.isclose(error + word * words, least, atol=1e-9)


@pytest.mark.parametrize("kind", ["uniform", "codebook"])
def test_cycles_weight_trades_error_for_words(kind: str):
    weights = np.random.default_rng(0).standard_normal((96, 60))
    weights[np.abs(weights) < 0.7] = 0
    level_set = LevelSet.of(kind, 7)
    fits = [fit(weights, level_set, cycles_weight=w) for w in (0.0, 1.0, 4.0, 16.0)]
    words = [running_sum.cost(f.levels, 3).sum() for f in fits]
    errors = [f.error(weights).sum() for f in fits]
    assert words == sorted(words, reverse=True) and words[0] > words[-1]
    assert errors[1:] == sorted(errors[1:])
    # What is minimised is never above the plain fit's.
    for weight, w, e in zip((1.0, 4.0, 16.0), words[1:], errors[1:], strict=True):
        assert e / errors[0] + weight * w / words[0] <= 1 + weight + 1e-9


def test_fewer_words_at_as_many_magnitudes_for_a_small_loss():
    # Short outputs, whose gaps cost as much as their weights.
    weights = np.random.default_rng(1).standard_normal((48, 200))
    level_set = LevelSet("codebook", 6, 31)
    plain = fit(weights, level_set)
    cheap = fit(weights, level_set, cycles_weight=1.0)
    words = [running_sum.cost(f.levels, 3).sum() for f in (plain, cheap)]
    errors = [f.error(weights).sum() for f in (plain, cheap)]
    assert words[1] < 0.92 * words[0]
    assert errors[1] < 1.05 * errors[0]
    counts = [np.mean([len(set(c)) for c in f.magnitudes.T]) for f in (plain, cheap)]
    assert counts[1] > counts[0] - 0.1
