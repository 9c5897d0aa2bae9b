# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Rounding with compensation against nearest rounding, and against the best of all roundings."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqkf.dialects.spaq import LevelSet
from daqkf.passes.quantize.compensation import compensate, nearest_codes
from daqkf.passes.quantize.input_statistics import InputStatistics, output_error
from daqkf.passes.quantize.levels import fit

SETS = [
    LevelSet.of("ternary", 1),
    LevelSet.of("uniform", 3),
    LevelSet.of("codebook", 3),
    LevelSet.of("codebook", 7),
]


def problem(seed: int, features: int = 70, channels: int = 6):
    """A Hessian of correlated inputs, and weights [K, N] half of which are zero."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((features, features)) * np.exp(-np.arange(features) / 9)
    samples = rng.standard_normal((4 * features, features)) @ mixing.T
    weights = rng.standard_normal((features, channels))
    weights[rng.random(weights.shape) < 0.5] = 0
    return InputStatistics.of(samples).hessian(), weights


@given(st.integers(0, 10**6), st.sampled_from(SETS))
def test_the_error_of_the_outputs_only_falls(seed: int, level_set: LevelSet):
    hessian, weights = problem(seed)
    start = fit(weights, level_set)
    result = compensate(weights, hessian, start, passes=4)
    before = output_error(weights, start.levels * start.scales, hessian)
    after = output_error(weights, result.levels * result.scales, hessian)
    assert (after <= before * (1 + 1e-4)).all()
    assert after.sum() < 0.9 * before.sum()
    assert (np.diff(result.history, axis=0) <= 1e-3 * before).all()
    assert np.allclose(result.history[-1], after, rtol=1e-2, atol=1e-4 * before.max())
    # Zeros stay, and only available magnitudes are used.
    assert not result.levels[weights == 0].any()
    for column, available in zip(result.levels.T, result.magnitudes.T, strict=True):
        assert set(np.abs(column)) <= {0, *available}


def test_every_weight_is_at_its_best_level_at_the_end():
    hessian, weights = problem(0, features=6, channels=1)
    start = fit(weights, LevelSet.of("uniform", 2))
    result = compensate(weights, hessian, start, passes=30)
    best = output_error(weights, result.levels * result.scales, hessian)
    for k, level in product(range(6), range(-2, 3)):
        other = result.levels.copy()
        other[k] = level if weights[k] else 0
        assert output_error(weights, other * result.scales, hessian) >= best * (1 - 1e-4)


def test_a_price_of_items_makes_zeros_and_binary_has_none():
    hessian, weights = problem(5)
    start = fit(weights, LevelSet.of("uniform", 7))
    counts = [
        np.count_nonzero(compensate(weights, hessian, start, item_price=price).levels)
        for price in (0.0, 1.0, 100.0)
    ]
    assert counts[0] > counts[1] > counts[2]
    binary = fit(weights, LevelSet.of("binary", 1))
    result = compensate(weights, hessian, binary, zero=False)
    assert np.array_equal(result.levels != 0, weights != 0)


@pytest.mark.parametrize("zero", [True, False])
def test_nearest_codes_are_the_nearest(zero: bool):
    magnitudes = np.array([[1, 2], [4, 2], [9, 127]])
    table = nearest_codes(magnitudes, zero)
    rng = np.random.default_rng(0)
    for value in rng.uniform(0, 127, 300):
        for n in (0, 1):
            codes = np.array([0, *magnitudes[:, n]][not zero :])
            found = table[n, min(int(value * 2), table.shape[1] - 1)]
            assert abs(found - value) == pytest.approx(np.abs(codes - value).min())


@pytest.mark.parametrize("inputs", [-110, -60, 0, 60, 120])
@pytest.mark.parametrize("unit", [-145, -60, 40, 120])
def test_units_that_are_powers_of_two_change_no_level(inputs: int, unit: int):
    """Neither single precision's largest number nor its smallest one is met on the way."""
    rng = np.random.default_rng(3)
    samples = (rng.standard_normal((90, 20)) @ rng.standard_normal((20, 20))).astype(np.float32)
    # Few bits, so that the units of denormal numbers hold them, too.
    weights = np.rint(rng.standard_normal((20, 4)) * 8) / 8
    samples = np.rint(np.clip(samples, -31, 31))
    level_set = LevelSet.of("codebook", 7)
    plain, scaled = (InputStatistics.of(np.ldexp(samples, by)).hessian() for by in (0, inputs))
    np.testing.assert_array_equal(np.ldexp(plain, 2 * inputs), scaled)
    expected = compensate(weights, plain, fit(weights, level_set))
    found = compensate(np.ldexp(weights, unit), scaled, fit(np.ldexp(weights, unit), level_set))
    np.testing.assert_array_equal(found.levels, expected.levels)
    np.testing.assert_array_equal(found.scales, np.ldexp(expected.scales, unit))
    np.testing.assert_array_equal(found.history, np.ldexp(expected.history, 2 * (inputs + unit)))
