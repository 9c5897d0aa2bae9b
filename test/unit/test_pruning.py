# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Second-order pruning, rounding with compensation, and the statistics both need."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqkf.passes.quantize.input_statistics import DAMPING, InputStatistics, output_error
from daqkf.passes.quantize.pruning import allocate_sparsity, magnitude_prune, second_order_prune


def problem(seed: int, features: int = 24, channels: int = 10, tokens: int = 200):
    """Correlated samples [T, K] with a mean, and weights [K, N]."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((features, features)) * np.exp(-np.arange(features) / 4)
    samples = rng.standard_normal((tokens, features)) @ mixing.T + rng.standard_normal(features)
    return samples, rng.standard_normal((features, channels))


@given(st.integers(0, 10**6))
def test_statistics_predict_the_error_of_the_outputs(seed: int):
    samples, weights = problem(seed)
    statistics = InputStatistics.of(samples)
    changed = magnitude_prune(weights, 0.4)
    shift = statistics.bias_shift(weights, changed)
    before, after = samples @ weights, samples @ changed + shift
    assert np.allclose(before.mean(axis=0), after.mean(axis=0))
    measured = ((before - after) ** 2).mean(axis=0)
    assert np.allclose(output_error(weights, changed, statistics.covariance), measured)
    # Without a bias the mean counts as well.
    measured = ((before - samples @ changed) ** 2).mean(axis=0)
    moment = statistics.covariance + np.outer(statistics.mean, statistics.mean)
    assert np.allclose(output_error(weights, changed, moment), measured)
    damped = statistics.hessian(with_bias=False)
    assert np.allclose(damped - moment, DAMPING * np.trace(moment) / len(moment) * np.eye(24))


def test_inputs_that_never_vary_have_a_definite_hessian():
    hessian = InputStatistics.of(np.ones((5, 3))).hessian()
    assert np.linalg.eigvalsh(hessian).min() > 0


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(3), r"must be activations \[T, K\], not \[3\]"),
        (np.zeros((0, 3)), r"not \[0, 3\]"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), r"sample \[1, 1\] is nan"),
        (np.array([[-np.inf, 2.0]]), r"sample \[0, 0\] is -inf"),
    ],
)
def test_bad_samples_are_named(samples: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        InputStatistics.of(samples)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.5, 0.7, 0.95]))
def test_second_order_pruning_has_the_exact_count_and_beats_magnitudes(seed: int, sparsity: float):
    samples, weights = problem(seed)
    hessian = InputStatistics.of(samples).hessian()
    pruned = second_order_prune(weights, hessian, sparsity)
    assert np.count_nonzero(pruned) == weights.size - round(sparsity * weights.size)
    assert np.isfinite(pruned).all()
    simple = magnitude_prune(weights, sparsity)
    errors = [output_error(weights, w, hessian).sum() for w in (pruned, simple)]
    assert errors[0] <= errors[1]


def test_pruning_is_near_the_best_of_all_supports():
    samples, weights = problem(3, features=8, channels=1)
    hessian = InputStatistics.of(samples).hessian()
    best = np.inf
    for support in combinations(range(8), 4):
        kept = np.zeros((8, 1))
        rows = list(support)
        right = hessian[rows] @ weights
        kept[rows] = np.linalg.solve(hessian[np.ix_(rows, rows)], right)
        best = min(best, output_error(weights, kept, hessian).sum())
    pruned = second_order_prune(weights, hessian, 0.5)
    found = output_error(weights, pruned, hessian).sum()
    nearest = output_error(weights, magnitude_prune(weights, 0.5), hessian).sum()
    assert best <= found * (1 + 1e-6)
    assert found < best + 0.2 * (nearest - best)


def test_sensitive_channels_keep_more_weights():
    samples, weights = problem(1)
    hessian = InputStatistics.of(samples).hessian()
    sensitivity = np.where(np.arange(10) < 5, 10.0, 1.0)
    kept = np.count_nonzero(second_order_prune(weights, hessian, 0.6, sensitivity), axis=0)
    assert kept[:5].sum() > kept[5:].sum()
    # A channel that does not matter at all still keeps some.
    sensitivity[0] = 0
    assert np.count_nonzero(second_order_prune(weights, hessian, 0.6, sensitivity)[:, 0])


def test_a_sparser_matrix_stays_as_it_is():
    samples, weights = problem(2)
    sparse = magnitude_prune(weights, 0.8)
    hessian = InputStatistics.of(samples).hessian()
    assert np.array_equal(second_order_prune(sparse, hessian, 0.5), sparse)
    assert np.array_equal(second_order_prune(weights, hessian, 0.0), weights)


def test_bad_input_of_pruning_is_named():
    weights = np.ones((3, 2))
    with pytest.raises(ValueError, match="a Hessian for 3 features, not "):
        second_order_prune(weights, np.eye(2), 0.5)
    with pytest.raises(ValueError, match="sparsity must be"):
        second_order_prune(weights, np.eye(3), 1.0)
    with pytest.raises(ValueError, match="only a finite matrix"):
        second_order_prune(np.array([[np.nan]]), np.eye(1), 0.5)


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=6),
    st.floats(0, 0.95),
    st.integers(0, 10**6),
)
def test_allocated_sparsity_adds_up(sizes: list[int], sparsity: float, seed: int):
    rng = np.random.default_rng(seed)
    scores = [rng.exponential(10.0 ** rng.uniform(-6, 6), size) for size in sizes]
    shares = allocate_sparsity(scores, sparsity)
    assert all(sparsity - 0.25 - 1e-9 <= s <= min(sparsity + 0.25, 1) + 1e-9 for s in shares)
    zeros = sum(share * size for share, size in zip(shares, sizes, strict=True))
    # One threshold cannot part equal places: within one weight of each matrix.
    assert abs(zeros - sparsity * sum(sizes)) <= len(sizes) + 1e-6


def test_the_cheapest_weights_go_first():
    shares = allocate_sparsity([np.full(100, 1.0), np.linspace(1, 3, 100)], 0.5, spread=0.25)
    assert shares == pytest.approx([0.75, 0.25], abs=0.02)
