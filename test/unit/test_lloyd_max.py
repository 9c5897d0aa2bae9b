# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Lloyd-Max never increases the error, and levels are of their set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from daqkf.passes.maths.lloyd_max import Fit, fit_codebook, fit_exact, fit_uniform

WEIGHTS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.integers(1, 5)),
    elements=st.one_of(
        st.just(0.0), st.floats(-4, 4, width=32).filter(lambda w: w == 0 or abs(w) > 1e-6)
    ),
)
MAGNITUDES = st.sampled_from([1, 2, 3, 7, 15, 40, 127])


def check_set(fit: Fit, weights: NDArray[np.float64], magnitudes: int, maximum: int):
    assert fit.levels.dtype == np.int8
    assert np.abs(fit.levels.astype(int)).max() <= maximum
    for column in np.abs(fit.levels.astype(int)).T:
        assert len(set(column) - {0}) <= magnitudes
    assert (fit.scales > 0).all()
    assert not fit.levels[weights == 0].any(), "an exact zero stays zero"
    assert (np.sign(fit.levels) * np.sign(weights) >= 0).all()


def check_history(fit: Fit, weights: NDArray[np.float64]):
    # Rounding of sums leaves differences far below the weights' own squares.
    slack = 1e-12 * (weights**2).sum(axis=0)
    assert (np.diff(fit.history, axis=0) <= slack).all()


@given(WEIGHTS, MAGNITUDES)
@settings(max_examples=60)
def test_uniform_never_increases_the_error(weights: NDArray[np.float64], magnitudes: int):
    fit = fit_uniform(weights, magnitudes)
    check_set(fit, weights, magnitudes, magnitudes)
    check_history(fit, weights)
    error = fit.error(weights)
    slack = 1e-9 * (weights**2).sum(axis=0) + 1e-300
    assert (error <= fit.history[-1] + slack).all(), "what is returned is the last iterate"
    step = np.maximum(np.abs(weights).max(axis=0), 1e-30) / magnitudes
    plain = ((weights - np.rint(weights / step) * step) ** 2).sum(axis=0)
    assert (error <= plain + slack).all(), "never worse than a step that reaches the largest"


@given(WEIGHTS, MAGNITUDES, st.sampled_from([1, 2, 4]))
@settings(max_examples=60)
def test_codebook_never_increases_the_error(
    weights: NDArray[np.float64], magnitudes: int, spread: int
):
    maximum = min(127, magnitudes * spread)
    fit = fit_codebook(weights, magnitudes, maximum)
    check_set(fit, weights, magnitudes, maximum)
    check_history(fit, weights)
    # Before rounding to integers the free levels are at least as good as uniform ones.
    slack = 1e-9 * (weights**2).sum(axis=0) + 1e-300
    assert (fit.history[-1] <= fit_uniform(weights, magnitudes).error(weights) + slack).all()


def test_codebook_beats_uniform_on_real_shapes():
    weights = np.random.default_rng(0).standard_normal((384, 64))
    weights[np.abs(weights) < 1.0] = 0
    for magnitudes in (3, 7, 15):
        free = fit_codebook(weights, magnitudes, 127).error(weights).sum()
        assert free < fit_uniform(weights, magnitudes).error(weights).sum()


def test_values_of_a_small_set_are_found():
    weights = np.array([[1.5, 0], [-3.0, 0], [0, 0], [4.5, 0.25]])
    fit = fit_uniform(weights, 3)
    assert fit.levels.tolist() == [[1, 0], [-2, 0], [0, 0], [3, 1]]
    assert np.allclose(fit.levels * fit.scales, weights)


def test_a_common_factor_moves_into_the_scale():
    weights = np.array([[14.0], [-7.0], [0.0]])
    assert fit_codebook(weights, 2, 127).levels.tolist() == [[2], [-1], [0]]


def test_exact_levels_are_taken_or_refused():
    weights = np.array([[1.0, -3.0], [0.0, 2.0]])
    assert fit_exact(weights, 3, 3).levels.tolist() == weights.tolist()
    with pytest.raises(ValueError, match=r"weight \[0, 1\] is -3, not a level within ±2"):
        fit_exact(weights, 2, 2)
    with pytest.raises(ValueError, match=r"weight \[0, 0\] is 0.5"):
        fit_exact(weights / 2, 3, 3)
    with pytest.raises(ValueError, match="channel 1 has 2 magnitudes, more than the 1"):
        fit_exact(weights, 1, 3)
