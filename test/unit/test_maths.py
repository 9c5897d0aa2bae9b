# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Pruning, sparsity analysis, fixed-point multipliers and tables."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqkf.hw_targets.functions import FUNCTIONS, apply_function
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.passes.quantize.quantization import activation_table, requantization
from daqkf.passes.quantize.sparsity import analyze


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.99))
def test_pruning_zeroes_the_smallest(seed: int, sparsity: float):
    weights = np.random.default_rng(seed).integers(-9, 10, (7, 5)).astype(np.float32)
    before = weights.copy()
    pruned = magnitude_prune(weights, sparsity)
    assert np.array_equal(weights, before), "the argument stays"
    count = round(sparsity * weights.size)
    gone = (pruned == 0) & (weights != 0)
    assert (pruned == 0).sum() == max(count, (weights == 0).sum())
    assert np.array_equal(pruned[~gone], weights[~gone])
    if gone.any() and (pruned != 0).any():
        assert np.abs(weights[gone]).max() <= np.abs(pruned[pruned != 0]).min()


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_pruning_refuses_shares_outside_its_range(sparsity: float):
    with pytest.raises(ValueError, match="sparsity must be"):
        magnitude_prune(np.ones((2, 2)), sparsity)


def test_pruning_refuses_nan():
    with pytest.raises(ValueError, match="finite matrix"):
        magnitude_prune(np.array([[np.nan]]), 0.5)


@pytest.mark.parametrize(
    ("matrix", "pattern"),
    [
        ([[1, 2], [3, 4]], "dense"),
        ([[0, 0], [0, 0]], "empty"),
        ([[1, 0], [3, 0]], "column"),
        ([[1, 2], [0, 0]], "row"),
        ([[1, 0], [0, 4]], "unstructured"),
        ([[1, 0], [0, 4], [0, 0], [0, 0]], "1:4"),
        ([[1, 1], [0, 4], [1, 0], [0, 0]], "2:4"),
        ([[1, 1], [1, 4], [1, 0], [0, 0], [0, 0], [0, 0], [0, 1], [0, 0]], "3:8"),
    ],
)
def test_patterns(matrix: list[list[int]], pattern: str):
    summary = analyze(np.array(matrix))
    assert summary.pattern == pattern
    assert summary.nonzeros == np.count_nonzero(matrix)
    assert summary.column_nonzeros.tolist() == np.count_nonzero(matrix, axis=0).tolist()


@given(st.floats(2.0**-30, 32767))
def test_multipliers_are_within_two_to_the_minus_16(ratio: float):
    multiplier, shift = requantization(np.array([ratio]))
    assert 1 <= multiplier[0] <= 65535
    assert 1 <= shift[0] <= 47
    assert abs(multiplier[0] / 2.0 ** shift[0] - ratio) <= ratio * 2.0**-16


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf"), 40000.0])
def test_impossible_multipliers_name_their_channel(ratio: float):
    with pytest.raises(ValueError, match="channel 1 needs a requantisation by"):
        requantization(np.array([0.5, ratio]))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_tables_are_the_rounded_function(name: str):
    table = activation_table(name, 0.05, 0.03)
    for q in range(-128, 128):
        value = float(apply_function(name, np.array([q * 0.05]))[0])
        assert table[q & 0xFF] == max(-128, min(127, round(value / 0.03)))


def test_gelu_is_the_exact_one():
    x = np.linspace(-6, 6, 101)
    exact = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x]
    assert np.allclose(apply_function("gelu", x), exact, atol=1e-14)
    assert np.abs(apply_function("gelu_tanh", x) - exact).max() < 1e-3


def test_unknown_function():
    with pytest.raises(ValueError, match="unknown activation 'swish'"):
        apply_function("swish", np.zeros(1))
