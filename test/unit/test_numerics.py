# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The integers of the design, against arithmetic on Python's unbounded ones."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqkf.hw_targets import numerics


@given(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(1, 65535),
    st.integers(1, 47),
)
def test_requantize_is_the_formula(accumulator: int, multiplier: int, shift: int):
    expected = (accumulator * multiplier + 2 ** (shift - 1)) >> shift
    expected = max(-128, min(127, expected))
    result = numerics.requantize(
        np.array([[accumulator]]), np.array([multiplier]), np.array([shift])
    )
    assert result.dtype == np.int8
    assert result[0, 0] == expected


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**40))
def test_signed_bits_is_the_least_width(low: int, span: int):
    high = low + span
    bits = numerics.signed_bits(low, high)
    assert -(2 ** (bits - 1)) <= low <= high < 2 ** (bits - 1)
    narrower = bits - 1
    assert narrower == 0 or low < -(2**narrower) / 2 or high >= 2**narrower / 2


def test_matmul_is_exact_at_the_extremes():
    x = np.full((2, 4096), -128, np.int8)
    levels = np.full((4096, 3), -127, np.int8)
    assert (numerics.matmul(x, levels) == 4096 * 128 * 127).all()


def test_bounds_are_reached():
    levels = np.array([[3, 0], [-5, 0], [0, 1]], np.int8)
    assert list(numerics.accumulator_bound(levels)) == [128 * 8, 128]
    # One more for each item, and for each level.
    assert list(numerics.running_sum_bound(levels)) == [256 + 2 + 5, 128 + 1 + 1]
    worst = np.where(levels[:, :1].T < 0, -128, 127).astype(np.int8)
    assert abs(numerics.matmul(worst, levels)[0, 0]) <= 128 * 8


@pytest.mark.parametrize("scale", [1.0, 0.1, 1.53125, 2.40625, 7.332714080810547])
def test_levels_begin_where_the_quotient_says(scale: float):
    """At the float32 around each step; of the last three a reciprocal is not exact."""
    step = ((np.arange(-129, 129) + 0.5) * scale).astype(np.float32)
    lower, upper = (np.nextafter(step, np.float32(towards)) for towards in (-np.inf, np.inf))
    x = np.concatenate([lower, step, upper])
    expected = [max(-128, min(127, round(float(value) / scale))) for value in x]
    assert numerics.quantize(x, scale).tolist() == expected


def test_quantize_saturates_and_rounds_halves_to_even():
    x = np.array([[0.5, 1.5, -0.5, 1e9, -1e9, 3.2]])
    assert numerics.quantize(x, 1.0).tolist() == [[0, 2, 0, 127, -128, 3]]


@given(st.integers(-2000, 2000), st.integers(0, 5))
def test_extra_columns_carry_what_exceeds_int8(value: int, extra: int):
    x, split = np.array([[7.0, value, -9.0]]), np.full(extra, 1)
    columns = numerics.quantize(x, 1.0, split)
    assert columns.shape == (1, 3 + extra)
    reached = max(-128 * (extra + 1), min(127 * (extra + 1), value))
    assert numerics.dequantize(columns, 1.0, split).tolist() == [[7, reached, -9]]
    # A column is full before the next one begins.
    parts = columns[0, [1, *range(3, 3 + extra)]].astype(int)
    full = 127 if value > 0 else -128
    assert all(left == full or right == 0 for left, right in pairwise(parts))


def test_ranks_of_extra_columns():
    assert numerics.split_ranks(np.array([0, 2, 2, 2, 5, 5])).tolist() == [1, 1, 2, 3, 1, 2]
    assert numerics.split_ranks(np.empty(0, np.int32)).tolist() == []


def test_scales_and_extra_columns_of_features():
    q = np.array([[100, -100, 3, 7, 1]], np.int8)
    real = numerics.dequantize(q, np.array([0.5, 2.0, 1.0]), np.array([0, 2]))
    assert real.tolist() == [[53.5, -200.0, 4.0]]
    assert numerics.quantize(real[:, 1:], np.array([2.0, 1.0])).tolist() == [[-100, 4]]


@pytest.mark.parametrize("scale", [0.1, 1 / 3, 28.48 / 127, 1e-6, 1e6])
def test_dequantize_comes_back(scale: float):
    every = np.arange(-128, 128, dtype=np.int8)[np.newaxis]
    assert np.array_equal(numerics.quantize(numerics.dequantize(every, scale), scale), every)


def test_table_is_indexed_by_the_unsigned_byte():
    table = np.arange(256).astype(np.uint8).view(np.int8)
    every = np.arange(-128, 128, dtype=np.int8)
    assert np.array_equal(numerics.look_up(table, every), every)


def test_a_residual_is_added_by_its_columns():
    sums = np.array([[1, -2], [3, 4]], np.int64)
    kept = np.array([[1, 2, 99], [-128, 127, 99]], np.int8)
    total = numerics.add_residual(sums, kept, np.array([10, 65535]))
    assert total.tolist() == [[11, 131068], [-1277, 8322949]]


@pytest.mark.parametrize("rms", [False, True])
@pytest.mark.parametrize("features", [1, 2, 3, 7, 384, 2047, 2048])
def test_normalized_values_are_those_of_long_division(features: int, rms: bool):
    rng = np.random.default_rng(features)
    most = numerics.epsilon_limit(features) - 1
    for lowest, highest in ((-128, 127), (5, 6), (-2, 1), (0, 0)):
        q = rng.integers(lowest, highest + 1, (20, features)).astype(np.int8)
        q[0], q[1:3, 0] = -128, 127
        exponent = rng.integers(0, numerics.EXPONENT_MAX + 1, features)
        if highest == 0:
            exponent[:] = numerics.EXPONENT_MAX
        epsilon = int(rng.choice([0, 1, 100 * features, most]))
        found = numerics.normalize(q, exponent, epsilon, rms=rms)
        for row, values in zip(q.tolist(), found.tolist(), strict=True):
            u = [value << int(e) for value, e in zip(row, exponent, strict=True)]
            total, squares = 0 if rms else sum(u), sum(value * value for value in u) + epsilon
            deviation = max(math.isqrt(features * squares - total * total), 1)
            mean = (total << numerics.MEAN_FRACTION) // features
            k = 0
            while (features << k) // deviation < 1 << (numerics.FACTOR_BITS - 1):
                k += 1
            factor = (features << k) // deviation
            assert factor < 1 << numerics.FACTOR_BITS
            shift = max(k + numerics.MEAN_FRACTION - numerics.NORMALIZED_FRACTION, 0)
            expected = [((value << numerics.MEAN_FRACTION) - mean) * factor >> shift for value in u]
            assert values == expected
        assert np.abs(found).max() < 1 << (numerics.NORMALIZED_BITS - 1)


def test_normalized_values_have_mean_0_and_deviation_1():
    q = np.clip(np.random.default_rng(0).normal(5, 30, (50, 384)).round(), -128, 127)
    z = numerics.normalize(q.astype(np.int8), np.arange(384) % 3) / 2.0**10
    assert np.abs(z.mean(axis=1)).max() < 0.002
    assert np.abs(z.std(axis=1) - 1).max() < 0.002


@pytest.mark.parametrize("rms", [False, True])
def test_epsilon_counts_as_in_the_formula(rms: bool):
    rng = np.random.default_rng(1)
    q = rng.normal(3, 10, (50, 384)).round().clip(-128, 127)
    z = numerics.normalize(q.astype(np.int8), np.zeros(384), 384 * 70, rms=rms) / 2.0**10
    centred = q if rms else q - q.mean(axis=1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 70)
    assert np.abs(z - expected).max() < 0.006


@pytest.mark.parametrize("epsilon", [-1, 2 << 28])
def test_an_epsilon_beyond_all_squares_is_refused(epsilon: int):
    with pytest.raises(ValueError, match=r"for 2 features; it is in 0..536870911"):
        numerics.normalize(np.zeros((1, 2), np.int8), np.zeros(2), epsilon)


def test_too_many_features_to_normalize_are_refused():
    with pytest.raises(ValueError, match="2049 features to normalise; at most 2048"):
        numerics.normalize(np.zeros((1, 2049), np.int8), np.zeros(2049, np.int64))


def test_gates_multiply_neighbours():
    table = np.arange(256).astype(np.uint8).view(np.int8)
    table[3] = 7
    q = np.array([[-128, -128, 3, -5], [127, -128, 0, 3]], np.int8)
    np.testing.assert_array_equal(numerics.gate(q, table), [[16384, -35], [-16256, 0]])
    assert numerics.signed_bits(-16256, 16384) == numerics.GATED_BITS


def test_exponentials_are_of_what_is_below_the_largest_of_their_group():
    table = np.arange(256).astype(np.uint8).view(np.int8)
    q = np.array([[5, -128, 127, -128, 7, 7]], np.int8)
    offset = np.array([127, 127, 127, 127, 127, -(1 << 20)])
    e = numerics.exponentials(q, 2, offset, table)
    np.testing.assert_array_equal(e, [[127, -6, 127, -128, 127, -128]])


def test_keys_that_a_token_does_not_see_are_nothing_to_it():
    table = np.arange(256).astype(np.uint8).view(np.int8)
    table[-128] = 0
    q = np.array([[5, 9, 120, 1, 2, 3]] * 4, np.int8)
    seen = numerics.visible_keys(4, 2, 1)
    np.testing.assert_array_equal(seen, [1, 2, 2, 3])
    e = numerics.exponentials(q, 3, np.array(127), table, seen)
    one, two = [127, 0, 0, 127, 0, 0], [123, 127, 0, 126, 127, 0]
    np.testing.assert_array_equal(e, [one, two, two, [12, 16, 127, 125, 126, 127]])
    # One number for all is what each of them may say.
    for count in (1, 2, 3):
        same = numerics.exponentials(q, 3, np.array(127), table, np.full(4, count))
        np.testing.assert_array_equal(
            same, numerics.exponentials(q, 3, np.array(127), table, count)
        )


@pytest.mark.parametrize("keys", [1, 3, 2048])
def test_shares_are_quotients_rounded_down(keys: int):
    e = np.random.default_rng(keys).integers(0, 128, (50, 2 * keys)).astype(np.int8)
    e[0] = 0
    e[1] = 127
    z = numerics.shares(e, keys)
    total = e.astype(np.int64).reshape(50, 2, keys).sum(axis=2, keepdims=True)
    exact = e.reshape(50, 2, keys) / np.maximum(total, 1) * 2**numerics.SHARE_FRACTION
    below = exact.reshape(z.shape) - z
    # The quotient has FACTOR_BITS bits, and what is shifted out makes one step.
    assert below.min() >= 0
    assert (below <= 1 + z * 2.0 ** (2 - numerics.FACTOR_BITS)).all()
    assert z.max() <= 1 << numerics.SHARE_FRACTION < 1 << (numerics.NORMALIZED_BITS - 1)


def test_too_many_keys_are_refused():
    with pytest.raises(ValueError, match="2049 keys share a softmax; at most 2048"):
        numerics.shares(np.zeros((1, 2049), np.int8), 2049)


def test_one_feature_may_have_a_scale_of_its_own():
    x = np.array([[0.6], [-40.0]], np.float32)
    for scale in (0.5, np.array([0.5]), np.array(0.5)):
        assert numerics.quantize(x, scale).tolist() == [[1], [-80]]


@pytest.mark.parametrize("multiplier", [127, 61497])
def test_attention_is_its_steps(multiplier: int):
    """With multipliers of few bits and of 16, of whose products float32 would round some."""
    rng = np.random.default_rng(6)
    heads, width, keys = 2, 3, 40
    q = rng.integers(-128, 128, (30, heads * width)).astype(np.int8)
    k, v = (rng.integers(-128, 128, (heads, *shape)) for shape in ((width, keys), (keys, width)))
    table = np.sort(rng.integers(0, 128, 256))[np.arange(256) - 128].astype(np.int8)
    factors = {
        "scores": (np.full(heads * keys, 3), np.full(heads * keys, 10)),
        "shares": (np.full(heads * keys, multiplier), np.full(heads * keys, 20)),
        "results": (np.full(heads * width, 5), np.full(heads * width, 9)),
    }
    by_head = q.astype(np.int64).reshape(len(q), heads, width)
    scores = np.concatenate([by_head[:, h] @ k[h] for h in range(heads)], axis=1)
    levels = numerics.requantize(scores, *factors["scores"])
    shared = numerics.shares(numerics.exponentials(levels, keys, np.array(127), table), keys)
    exact = (shared.astype(np.int64) * multiplier + (1 << 19)) >> 20
    share = np.clip(exact, -128, 127).reshape(len(q), heads, keys)
    sums = np.concatenate([share[:, h] @ v[h] for h in range(heads)], axis=1)
    found = numerics.attend(q, k.astype(np.int8), v.astype(np.int8), factors, table)
    assert np.array_equal(found, numerics.requantize(sums, *factors["results"]))


@pytest.mark.parametrize("most", [0, 1, 15, 16, 17, 63, 64, 65, 127, 128])
def test_magnitudes_are_counted(most: int):
    rng = np.random.default_rng(most)
    levels = rng.integers(-most, most + 1, (300, 7)) * (rng.random((300, 7)) < 0.7)
    expected = [len(set(np.abs(channel).tolist()) - {0}) for channel in levels.T]
    assert numerics.distinct_magnitudes(levels).tolist() == expected
    assert numerics.distinct_magnitudes(levels[:1]).tolist() == (levels[0] != 0).tolist()
