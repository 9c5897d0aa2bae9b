# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The integers of the design, against arithmetic on Python's unbounded ones."""

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
    assert list(numerics.running_sum_bound(levels)) == [256, 128]
    worst = np.where(levels[:, :1].T < 0, -128, 127).astype(np.int8)
    assert abs(numerics.matmul(worst, levels)[0, 0]) <= 128 * 8


def test_quantize_saturates_and_rounds_halves_to_even():
    x = np.array([[0.5, 1.5, -0.5, 1e9, -1e9, 3.2]])
    assert numerics.quantize(x, 1.0).tolist() == [[0, 2, 0, 127, -128, 3]]


@pytest.mark.parametrize("scale", [0.1, 1 / 3, 28.48 / 127, 1e-6, 1e6])
def test_dequantize_comes_back(scale: float):
    every = np.arange(-128, 128, dtype=np.int8)[np.newaxis]
    assert np.array_equal(numerics.quantize(numerics.dequantize(every, scale), scale), every)


def test_table_is_indexed_by_the_unsigned_byte():
    table = np.arange(256).astype(np.uint8).view(np.int8)
    every = np.arange(-128, 128, dtype=np.int8)
    assert np.array_equal(numerics.look_up(table, every), every)
