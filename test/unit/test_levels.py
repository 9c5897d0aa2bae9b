# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Fitted levels are of their set, fitting never increases the error, and odd weights are fine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from daqkf.dialects.spaq import LevelSet
from daqkf.passes.quantize.levels import METHODS, Fit, fit, fit_exact

WEIGHTS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.integers(1, 5)),
    elements=st.one_of(
        st.just(0.0), st.floats(-4, 4, width=32).filter(lambda w: w == 0 or abs(w) > 1e-6)
    ),
)
MAGNITUDES = st.sampled_from([1, 2, 3, 7, 15, 40, 127])
SETS = [
    LevelSet.of("binary"),
    LevelSet.of("ternary"),
    LevelSet.of("uniform", 1),
    LevelSet.of("uniform", 5),
    LevelSet.of("codebook", 1),
    LevelSet.of("codebook", 3),
    LevelSet.of("codebook", 7, 40),
    LevelSet.of("codebook", 20),
]


def name(level_set: LevelSet) -> str:
    return f"{level_set.kind}-{level_set.magnitudes}-{level_set.maximum}"


def check_set(found: Fit, weights: NDArray[np.float64], level_set: LevelSet):
    assert found.levels.dtype == np.int8
    levels = np.abs(found.levels.astype(int))
    assert levels.max() <= level_set.maximum
    assert (found.scales > 0).all() and np.isfinite(found.scales).all()
    assert not found.levels[weights == 0].any(), "an exact zero stays zero"
    assert (np.sign(found.levels) * np.sign(weights) >= 0).all()
    assert found.magnitudes.shape == (level_set.magnitudes, weights.shape[1])
    assert (np.diff(found.magnitudes, axis=0) >= 0).all()
    assert found.magnitudes.min() >= 1
    assert found.magnitudes.max() <= level_set.maximum
    for column, available in zip(levels.T, found.magnitudes.T, strict=True):
        assert set(column) - {0} <= set(available)
    if level_set.kind == "binary":
        assert ((found.levels != 0) == (weights != 0)).all()


def slack(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounding of sums leaves differences far below the weights' own squares."""
    return 1e-12 * (weights**2).sum(axis=0) + 1e-300


@given(WEIGHTS, MAGNITUDES)
@settings(max_examples=30)
def test_uniform_never_increases_the_error(weights: NDArray[np.float64], magnitudes: int):
    level_set = LevelSet.of("uniform", magnitudes)
    found = fit(weights, level_set)
    check_set(found, weights, level_set)
    assert (np.diff(found.history, axis=0) <= slack(weights)).all()
    error = found.error(weights)
    assert (error <= found.history[-1] + slack(weights)).all(), "it is the last iterate"
    step = np.maximum(np.abs(weights).max(axis=0), 1e-30) / magnitudes
    plain = ((weights - np.rint(weights / step) * step) ** 2).sum(axis=0)
    assert (error <= plain + slack(weights)).all(), "never worse than one that just reaches"


@given(WEIGHTS, MAGNITUDES, st.sampled_from([1, 2, 4]))
@settings(max_examples=30, deadline=None)
def test_a_codebook_is_never_worse_than_uniform(
    weights: NDArray[np.float64], magnitudes: int, spread: int
):
    level_set = LevelSet("codebook", magnitudes, min(127, magnitudes * spread))
    found = fit(weights, level_set)
    check_set(found, weights, level_set)
    assert (np.diff(found.history, axis=0) <= slack(weights)).all()
    uniform = fit(weights, LevelSet.of("uniform", magnitudes)).error(weights)
    # After rounding to integers too: the shortest path at the uniform step is as good.
    assert (found.error(weights) <= uniform + slack(weights)).all()
    assert (found.history[-1] <= found.error(weights) + slack(weights)).all()


@pytest.mark.parametrize("level_set", SETS, ids=name)
@given(WEIGHTS, st.data())
@settings(max_examples=15, deadline=None)
def test_every_kind_gives_levels_of_its_set(
    level_set: LevelSet, weights: NDArray[np.float64], data: st.DataObject
):
    importance = data.draw(
        st.none()
        | hnp.arrays(np.float64, len(weights), elements=st.floats(0, 1e6))
        | hnp.arrays(np.float64, weights.shape, elements=st.floats(0, 1e6))
    )
    found = fit(
        weights,
        level_set,
        importance=importance,
        method=data.draw(st.sampled_from(METHODS)),
        cycles_weight=data.draw(st.sampled_from([0.0, 1.0, 1e3])),
    )
    check_set(found, weights, level_set)


def test_codebook_beats_uniform_on_real_shapes():
    weights = np.random.default_rng(0).standard_normal((384, 64))
    weights[np.abs(weights) < 1.0] = 0
    for magnitudes in (3, 7, 15):
        free = fit(weights, LevelSet("codebook", magnitudes, 127)).error(weights).sum()
        uniform = fit(weights, LevelSet.of("uniform", magnitudes)).error(weights).sum()
        assert free < 0.8 * uniform


def test_importance_is_the_weight_of_an_error():
    # Importances that are whole numbers are as good as repeated weights.
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((40, 3))
    importance = rng.integers(0, 4, 40)
    repeated = np.repeat(weights, importance, axis=0)
    for level_set in (LevelSet.of("uniform", 4), LevelSet.of("codebook", 4)):
        weighted = fit(weights, level_set, importance=importance)
        plain = fit(repeated, level_set)
        assert np.allclose(weighted.error(weights, importance), plain.error(repeated))
        assert np.allclose(weighted.history[-1], plain.history[-1])
    binary = fit(weights, LevelSet.of("binary"), importance=importance)
    assert np.allclose(binary.scales, np.abs(repeated).mean(axis=0))


def test_values_of_a_small_set_are_found():
    weights = np.array([[1.5, 0], [-3.0, 0], [0, 0], [4.5, 0.25]])
    found = fit(weights, LevelSet.of("uniform", 3))
    assert found.levels.tolist() == [[1, 0], [-2, 0], [0, 0], [3, 1]]
    assert np.allclose(found.levels * found.scales, weights)


def test_a_common_factor_moves_into_the_scale():
    weights = np.array([[14.0], [-7.0], [0.0]])
    found = fit(weights, LevelSet("codebook", 2, 127))
    assert found.levels.tolist() == [[2], [-1], [0]]
    assert found.magnitudes.tolist() == [[1], [2]]
    assert np.allclose(found.scales, 7)


def test_ternary_and_binary_by_hand():
    weights = np.array([[4.0], [-3.0], [1.0], [0.0]])
    ternary = fit(weights, LevelSet.of("ternary"))
    assert ternary.levels.tolist() == [[1], [-1], [0], [0]]
    assert np.allclose(ternary.scales, 3.5)
    binary = fit(weights, LevelSet.of("binary"))
    assert binary.levels.tolist() == [[1], [-1], [1], [0]]
    assert np.allclose(binary.scales, 8 / 3)


@pytest.mark.parametrize("level_set", SETS, ids=name)
@pytest.mark.parametrize("method", METHODS)
def test_odd_channels(level_set: LevelSet, method: str):
    tiny = np.finfo(np.float64).smallest_subnormal
    weights = np.zeros((6, 8))
    weights[:, 1] = -0.25  # constant
    weights[2, 2] = 3.0  # a single non-zero
    weights[:, 3] = [tiny, -3 * tiny, 0, 0, 9 * tiny, 0]
    weights[:, 4] = [1e30, -2e30, 0, 0, 1e30, 0]
    weights[:, 5] = [1, 1e-30, 1e-300, 0, -1e-30, 0]
    weights[3, 6] = tiny
    weights[:, 7] = np.array([1, -3, 0, 0, 9, 0]) * 2.0**-1050
    found = fit(weights, level_set, method=method)
    check_set(found, weights, level_set)
    assert found.scales[0] == 1 and not found.levels[:, 0].any()
    assert found.magnitudes[:, 0].tolist() == sorted(found.magnitudes[:, 0])
    for channel in (1, 2, 6):
        assert (found.levels[:, channel] * found.scales[channel] == weights[:, channel]).all()
    if level_set.kind == "codebook" and level_set.magnitudes > 2:
        assert found.error(weights)[4] < 1e-25 * 1e60, "two magnitudes, both of them levels"
        # As near as integers come; the scale itself is a multiple of the smallest number.
        distance = np.abs(found.levels * found.scales - weights).max(axis=0)
        assert distance[3] <= level_set.maximum * tiny
        assert distance[7] <= 2.0**-1050


def test_fewer_non_zeros_than_levels_are_kept_as_well_as_integers_can():
    weights = np.random.default_rng(2).standard_normal((8, 50))
    found = fit(weights, LevelSet("codebook", 127, 127))
    assert (found.history[-1] < 1e-13).all(), "each weight is a level before rounding"
    step = np.abs(weights).max(axis=0) / 127
    assert (np.abs(weights - found.levels * found.scales) <= 0.6 * step).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_named(bad: float):
    weights = np.ones((3, 4), np.float32)
    weights[1, 2] = bad
    for level_set in SETS:
        with pytest.raises(ValueError, match=rf"^weight \[1, 2\] is {bad:g}, not a finite"):
            fit(weights, level_set)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"importance": np.ones(4)},
            r"importance must have the shape \[3\] or \[3, 4\], not \[4\]",
        ),
        ({"importance": np.array([1, -2, 0])}, r"importance \[1\] is -2, below zero"),
        ({"importance": np.array([1, 2, np.nan])}, r"importance \[2\] is nan, not a finite"),
        ({"method": "guess"}, r"unknown method 'guess' \(known: lloyd-max, optimal\)"),
        ({"cycles_weight": -1.0}, "the weight of cycles must be 0 or above, not -1"),
        ({"max_shift": 8}, r"max_shift must be 0\.\.7, not 8"),
        ({"cycles_weight": np.nan}, "the weight of cycles must be 0 or above, not nan"),
    ],
)
def test_bad_options_are_named(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        fit(np.ones((3, 4)), LevelSet.of("uniform", 3), **options)


def test_exact_levels_are_taken_or_refused():
    weights = np.array([[1.0, -3.0], [0.0, 2.0]])
    found = fit_exact(weights, LevelSet.of("uniform", 3))
    assert found.levels.tolist() == weights.tolist()
    assert found.magnitudes.tolist() == [[1, 2], [1, 3], [1, 3]]
    with pytest.raises(ValueError, match=r"weight \[0, 1\] is -3, not a level within ±2"):
        fit_exact(weights, LevelSet.of("uniform", 2))
    with pytest.raises(ValueError, match=r"weight \[0, 0\] is 0.5"):
        fit_exact(weights / 2, LevelSet.of("uniform", 3))
    with pytest.raises(ValueError, match=r"weight \[0, 0\] is nan"):
        fit_exact(weights * np.nan, LevelSet.of("uniform", 3))
    with pytest.raises(ValueError, match="channel 1 has 2 magnitudes, more than the 1"):
        fit_exact(weights, LevelSet("codebook", 1, 3))
