# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The integers of the design, against arithmetic on Python's unbounded ones."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqkf.dialects.spaq import numerics


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
