# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Ranges of activations, clipping, and the split of outlier features."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqkf.hw_targets.functions import FUNCTIONS, RECTIFIERS, apply_function
from daqkf.hw_targets.numerics import look_up, quantize
from daqkf.passes.quantize.calibration import (
    HEADROOM,
    Columns,
    absmax_ranges,
    clipped_ranges,
    extra_columns,
    pooled_ranges,
    split_outliers,
    table_columns,
)
from daqkf.passes.quantize.quantization import activation_table

RANGES = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30)


@given(RANGES, st.integers(0, 29))
def test_the_reach_is_the_smallest_within_the_budget(values: list[float], extra: int):
    ranges, extra = np.array(values), min(extra, len(values) - 1)
    reach, split = split_outliers(ranges, extra)
    columns = np.bincount(split, minlength=len(ranges)) + 1
    assert len(split) <= extra
    assert (np.diff(split) >= 0).all()
    assert (ranges <= columns * reach * (1 + 1e-12)).all()
    assert (ranges > (columns - 1) * reach * (1 - 1e-12)).all(), "no column is idle"
    shorter = np.ceil(ranges / (reach * (1 - 1e-9)) - 1e-12)
    assert shorter.sum() > len(ranges) + extra


def test_what_few_samples_do_not_show_is_pooled():
    rng = np.random.default_rng(7)
    scales, offsets = np.geomspace(0.01, 100, 40), np.linspace(-50, 50, 40)
    few = rng.standard_normal((60, 40)) * scales + offsets
    more = rng.standard_normal((4000, 40)) * scales + offsets
    pooled = pooled_ranges(few)
    assert (pooled >= absmax_ranges(few)).all()

    def error(ranges: np.ndarray) -> float:
        steps = HEADROOM * ranges / 127
        rounded = np.clip(np.rint(more / steps), -127, 127) * steps
        return float((((rounded - more) / scales) ** 2)[:, scales > 1].sum())

    assert error(pooled) < 0.7 * error(absmax_ranges(few))
    # The same for all, nothing that varies, and dead features.
    np.testing.assert_array_equal(pooled_ranges(few, False), absmax_ranges(few, False))
    assert pooled_ranges(np.full((5, 2), 3.0)).tolist() == [3, 3]
    assert pooled_ranges(np.zeros((5, 2))).tolist() == [1, 1]


@given(RANGES, st.floats(0, 1))
def test_the_reach_is_not_below_the_least(values: list[float], share: float):
    ranges = np.array(values)
    least = ranges.max() * share
    reach, split = split_outliers(ranges, len(ranges) - 1, least)
    assert least <= reach <= ranges.max()
    columns = np.bincount(split, minlength=len(ranges)) + 1
    assert (ranges <= columns * reach * (1 + 1e-12)).all()


def test_one_outlier_takes_what_it_needs():
    reach, split = split_outliers(np.array([1.0, 4.0, 1.0, 0.5]), 3)
    assert (reach, split.tolist()) == (1.0, [1, 1, 1])
    reach, split = split_outliers(np.array([1.0, 4.0, 1.0, 0.5]), 0)
    assert (reach, split.tolist()) == (4.0, [])


@pytest.mark.parametrize(
    ("features", "budget", "extra"), [(50, 0.02, 1), (49, 0.02, 0), (100, 0.29, 29), (7, 0, 0)]
)
def test_budgets_are_shares(features: int, budget: float, extra: int):
    assert extra_columns(features, budget) == extra


@pytest.mark.parametrize("budget", [-0.1, 1.0, float("nan")])
def test_budgets_outside_their_range_are_refused(budget: float):
    with pytest.raises(ValueError, match=r"split must be 0 <= split < 1"):
        extra_columns(100, budget)


def test_ranges_are_the_largest_magnitudes():
    samples = np.array([[1.0, -5.0, 0.0], [-2.0, 3.0, 0.0]], np.float32)
    # A feature that is always zero gets one step of a common scale.
    assert np.allclose(absmax_ranges(samples), [2, 5, 5 / 127])
    assert absmax_ranges(samples, per_feature=False).tolist() == [5]
    assert absmax_ranges(np.zeros((4, 2))).tolist() == [1, 1]
    assert absmax_ranges(np.ones((4, 1))).tolist() == [1]


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_clipping_is_never_worse_than_the_largest_magnitude(seed: int, per_feature: bool):
    samples = np.random.default_rng(seed).standard_t(3, (60, 5)) * [1, 2, 9, 1, 0]
    ranges = absmax_ranges(samples, per_feature)

    def error(found: np.ndarray) -> np.ndarray:
        columns = Columns.plain(np.broadcast_to(found, 5))
        squares = (columns.dequantize(columns.quantize(samples)) - samples) ** 2
        return squares.sum(axis=0) if per_feature else squares.sum()

    clipped = clipped_ranges(samples, per_feature)
    assert (clipped <= ranges).all()
    assert (error(clipped) <= error(ranges) * (1 + 1e-6) + 1e-12).all()


def test_clipping_leaves_out_a_lone_outlier():
    samples = np.random.default_rng(0).uniform(-1, 1, (20000, 1))
    samples[0] = 1.3
    assert absmax_ranges(samples)[0] == 1.3
    assert 1 <= clipped_ranges(samples)[0] < 1.25


@pytest.mark.parametrize("name", RECTIFIERS)
def test_rectifiers_are_the_identity_and_zero_from_their_range_on(name: str):
    x = np.linspace(0, 50, 20001)
    assert np.allclose(apply_function(name, x) - apply_function(name, -x), x, atol=1e-12)
    least = RECTIFIERS[name]
    beyond = x[x >= least]
    step = np.maximum(beyond, 1e-300) / 127
    assert (np.abs(apply_function(name, -beyond)) <= step / 2).all()
    if least:
        short = np.array([least * 0.99])
        assert np.abs(apply_function(name, -short)) > short / 254, "it could begin earlier"


def test_other_functions_are_no_rectifiers():
    assert set(FUNCTIONS) - set(RECTIFIERS) == {"sigmoid", "tanh"}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("budget", [0.0, 0.1])
def test_a_table_and_its_columns_are_close_to_the_function(name: str, budget: float):
    rng = np.random.default_rng(1)
    sums = rng.standard_normal((400, 30)) * 4
    sums[:, 4] *= 5
    sums[:, 9] = np.abs(sums[:, 9]) * 9
    expected = apply_function(name, sums)
    scale, columns = table_columns(name, absmax_ranges(sums), absmax_ranges(expected), budget)
    assert isinstance(columns.scale, float)
    table = activation_table(name, scale, columns.scale)
    result = columns.dequantize(look_up(table, quantize(columns.shift(sums, scale), scale)))
    if budget and name in RECTIFIERS:
        assert set(columns.split) == {4, 9}
        assert columns.scale == scale
        # Where one output ends and the next begins, each rounds, and gelu is not yet straight.
        bend = 0.0 if name == "relu" else 0.28
        assert np.abs(result - expected).max() <= 2 * columns.scale + bend
    else:
        assert not len(columns.split)
        assert np.abs(result - expected).max() <= 1.1 * scale + columns.scale


def test_small_results_keep_the_range_of_their_sums():
    # gelu is still bent here: sums down to -3 give other results than those from -0.5 on.
    scale, columns = table_columns("gelu", 3.0, np.array([0.5, 0.1]), 0.9)
    assert scale == 3 / 127
    assert columns.scale == 0.5 / 127
    assert not len(columns.split)


def test_sums_far_below_zero_do_not_widen_the_steps():
    scale, columns = table_columns("gelu", 40.0, np.array([5.0, 4.0]), 0.0)
    assert scale == columns.scale == 5 / 127
