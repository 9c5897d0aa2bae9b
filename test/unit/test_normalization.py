# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The integers around a normalisation, against layer normalisation in float."""

from dataclasses import replace

import numpy as np
import pytest

from daqkf.hw_targets import numerics
from daqkf.hw_targets.config import ArrayConfig
from daqkf.lowering.rtl.row_solver import build_row_solver
from daqkf.passes.quantize.calibration import HEADROOM, Columns
from daqkf.passes.quantize.normalization import (
    affine_factors,
    epsilon_of,
    exponents_of,
    summable_scales,
)


def test_scales_are_powers_of_two_apart_and_reach_the_ranges():
    ranges = np.array([1.0, 1.1, 3.9, 100.0, 1e-6])
    scales = summable_scales(ranges)
    assert exponents_of(scales).tolist() == [1, 1, 3, 7, 0]
    assert (scales * numerics.ACTIVATION_MAX >= HEADROOM * ranges * (1 - 1e-9)).all()
    # None is more than twice as large as it has to be, but for those below the common one.
    assert (scales[:4] * numerics.ACTIVATION_MAX <= 2 * HEADROOM * ranges[:4]).all()


@pytest.mark.parametrize("epsilon", [0.0, 1e-12, 1e-3, 50.0])
def test_an_epsilon_is_within_what_squares_can_add_up_to(epsilon: float):
    for size in (1e-9, 1e-3, 1.0, 1e4):
        scales = summable_scales(np.array([1.0, 0.1, 0.7]) * size, epsilon)
        assert exponents_of(scales).min() == 0
        steps = epsilon_of(epsilon, scales)
        assert 0 <= steps < numerics.epsilon_limit(3)
        assert abs(steps * scales.min() ** 2 / 3 - epsilon) <= scales.min() ** 2


@pytest.mark.parametrize("scales", [[1.0, 3.0], [1.0, 256.0]])
def test_other_scales_are_refused(scales: list[float]):
    with pytest.raises(ValueError, match=r"must be 1..2\^7 times a common one"):
        exponents_of(np.array(scales))


@pytest.mark.parametrize(
    ("epsilon", "rms"), [(0.0, False), (0.3, False), (0.3, True), (1e-5, True)]
)
def test_factors_make_a_normalisation_of_normalised_integers(epsilon: float, rms: bool):
    rng = np.random.default_rng(0)
    channels = 96
    spread = np.exp(rng.normal(0, 1.5, channels))
    x = rng.standard_normal((64, channels)) * spread
    gamma, beta = rng.uniform(0.1, 3, channels), rng.standard_normal(channels)
    # Where γ is next to nothing, β is all there is.
    gamma[0], beta[0] = 1e-7, 2.0
    # RMS normalisation is for values that have a mean.
    x += 2 * rng.standard_normal(channels)
    centred = x if rms else x - x.mean(axis=1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + epsilon)
    expected = normal * gamma + beta

    scales = summable_scales(np.abs(x).max(axis=0), epsilon)
    q = numerics.quantize(x, scales)
    steps = np.abs(expected).max(axis=0) / numerics.ACTIVATION_MAX
    bias, multiplier, shift = affine_factors(gamma, beta, steps)
    assert np.abs(bias).max() <= 1 << 20
    z = numerics.normalize(q, exponents_of(scales), epsilon_of(epsilon, scales), rms=rms)
    y = numerics.requantize(z + bias, multiplier, shift) * steps
    assert ((y - expected) ** 2).sum() / (expected**2).sum() < 3e-4
    assert np.abs(y[:, 0] - beta[0]).max() <= steps[0]


def test_scales_that_are_not_positive_are_named():
    with pytest.raises(ValueError, match="channel 1 has a scale that is not positive"):
        affine_factors(np.array([1.0, 0.0]), np.zeros(2), np.ones(2))


def test_single_columns_have_the_scales_of_as_many_columns():
    ranges = np.array([1.0, 9.5, 1.2, 2.0])
    columns, split = Columns.single(ranges, 0.9), Columns.of(ranges, 0.9)
    counts = 1 + np.bincount(split.split, minlength=4)
    assert not len(columns.split)
    np.testing.assert_allclose(columns.scale, split.scale * counts)
    assert (np.asarray(columns.scale) * numerics.ACTIVATION_MAX >= ranges * (1 - 1e-9)).all()


@pytest.mark.parametrize("rows", [2, 64, 2048, 4096])
def test_a_solver_has_room_for_the_largest_epsilon_of_its_rows(rows: int):
    largest = numerics.epsilon_limit(min(rows, numerics.NORMALIZED_FEATURES)) - 1
    config = ArrayConfig(
        pes=2,
        lanes=2,
        post_lanes=1,
        max_shift=1,
        activation_depth=rows,
        stream_depth=4,
        parameter_depth=4,
        result_depth=rows,
        kernels=4,
        normalizes=True,
        epsilon_width=largest.bit_length(),
        running_sum_width=9,
        accumulator_width=18,
        sum_width=19,
    )
    build_row_solver(config)
    with pytest.raises(ValueError, match=f"at most {config.epsilon_width}"):
        replace(config, epsilon_width=config.epsilon_width + 1)
