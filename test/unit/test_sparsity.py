# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Patterns of zeros, tiles, dynamic range and entropy, against their definitions."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from daqkf.hw_targets.zeros import (
    band_size,
    check_pattern,
    follows,
    half_bandwidth,
    tile_counts,
    tile_sizes,
)
from daqkf.passes.quantize.sparsity import analyze, analyze_weights

Mask = NDArray[np.bool]

MASKS = hnp.arrays(np.bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=17))
CODES = hnp.arrays(
    np.int8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(-9, 9)
)
EXTENTS = st.integers(1, 20)


def distance(mask: Mask, k: int, n: int) -> int:
    """How far the channels that the diagonal passes in feature k are from channel n."""
    features, channels = mask.shape
    passed = [
        c
        for c in range(channels)
        if k * channels < (c + 1) * features and c * features < (k + 1) * channels
    ]
    return min(abs(c - n) for c in passed)


@given(MASKS, EXTENTS, EXTENTS)
def test_tiles_are_counted_to_the_ragged_edge(mask: Mask, rows: int, columns: int):
    counts = tile_counts(mask, rows, columns)
    sizes = tile_sizes(mask.shape, rows, columns)
    assert counts.shape == sizes.shape
    for i, j in np.ndindex(*counts.shape):
        tile = mask[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        assert (counts[i, j], sizes[i, j]) == (tile.sum(), tile.size)


@given(MASKS, st.integers(0, 17))
def test_the_band_is_what_lies_near_the_diagonal(mask: Mask, half: int):
    distances = np.array(
        [[distance(mask, k, n) for n in range(mask.shape[1])] for k in range(len(mask))]
    )
    assert half_bandwidth(mask) == max(distances[mask], default=0)
    assert band_size(mask.shape, half) == (distances <= half).sum()
    small = 2 * (distances <= half).sum() < mask.size
    assert follows(mask, f"banded:{half}") == (small and not mask[distances > half].any())


@given(MASKS, EXTENTS, EXTENTS)
def test_blocks_are_empty_or_have_no_zero(mask: Mask, rows: int, columns: int):
    counts = tile_counts(mask, rows, columns)
    whole = (counts == 0) | (counts == tile_sizes(mask.shape, rows, columns))
    assert follows(mask, f"block:{rows}x{columns}") == whole.all()


@given(MASKS)
def test_the_pattern_that_is_named_is_followed(mask: Mask):
    summary = analyze(mask)
    assert follows(mask, summary.pattern)
    assert summary.nonzeros == mask.sum()
    # The more special a structure, the earlier it is named.
    if summary.pattern not in ("dense", "empty", "column", "row"):
        assert not any(follows(mask, p) for p in ("dense", "empty", "column", "row"))


@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 8, 16]), st.booleans())
def test_block_sparse_matrices_are_called_so(seed: int, extent: int, ragged: bool):
    rng = np.random.default_rng(seed)
    # A checkerboard with noise: neither rows nor columns nor larger blocks are whole.
    grid = np.indices((5, 6)).sum(axis=0) % 2 == 1
    grid[4] = rng.random(6) < 0.5
    mask = np.kron(grid, np.ones((extent, extent), np.bool))
    mask = mask[: len(mask) - 3 * ragged, : mask.shape[1] - ragged]
    assert analyze(mask).pattern == f"block:{extent}x{extent}"
    mask[0, 0] = True
    assert "block" not in analyze(mask).pattern


@pytest.mark.parametrize("shape", [(40, 40), (96, 24), (24, 96), (50, 30)])
@pytest.mark.parametrize("half", [0, 3])
def test_banded_matrices_are_called_so(shape: tuple[int, int], half: int):
    mask = np.zeros(shape, np.bool)
    for k, n in np.ndindex(*shape):
        mask[k, n] = distance(mask, k, n) <= half
    assert analyze(mask).pattern == f"banded:{half}"
    mask[0, -1] = True
    assert not analyze(mask).pattern.startswith("banded")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("checkered", "unknown sparsity pattern 'checkered'"),
        ("block:4", "unknown sparsity pattern"),
        ("banded:9999999999", "unknown sparsity pattern"),
        ("3:2", "1 <= N <= M, not '3:2'"),
        ("0:0", "1 <= N <= M"),
        ("block:0x4", "extents above 0"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str, message: str):
    with pytest.raises(ValueError, match=message):
        check_pattern(pattern)


def shannon(values: list[object]) -> float:
    shares = [count / len(values) for count in Counter(values).values()]
    return -sum(share * math.log2(share) for share in shares)


@given(CODES)
def test_entropy_of_integers(codes: NDArray[np.int8]):
    entropy = analyze_weights(codes).entropy
    values = codes.ravel().tolist()
    assert math.isclose(entropy.total, shannon(values), abs_tol=1e-9)
    assert math.isclose(entropy.mask, shannon([v != 0 for v in values]), abs_tol=1e-9)
    nonzero = [v for v in values if v]
    assert math.isclose(entropy.levels, shannon(nonzero) if nonzero else 0, abs_tol=1e-9)


@given(CODES, st.integers(-40, 40))
def test_floats_are_coded_per_channel_whatever_their_unit(codes: NDArray[np.int8], exponent: int):
    units = 2.0 ** (exponent + np.arange(codes.shape[1]) % 3)
    floats = analyze_weights(codes * units)
    largest = np.abs(codes).max(axis=0)
    # Halves to even, as np.rint has them; what is not zero stays so.
    levels = [
        0 if w == 0 else int(math.copysign(max(1, round(abs(int(w)) / int(m) * 127)), w))
        for row in codes
        for w, m in zip(row, largest, strict=True)
    ]
    assert math.isclose(floats.entropy.total, shannon(levels), abs_tol=1e-9)
    assert floats.sparsity.nonzeros == np.count_nonzero(codes)


def test_a_wide_range_of_integers_is_no_large_table():
    wide = np.array([[-(2**40), 2**40, 5, 0]])
    assert math.isclose(analyze_weights(wide).entropy.levels, math.log2(3))


@given(CODES)
def test_dynamic_range(codes: NDArray[np.int8]):
    analysis = analyze_weights(codes)

    def decibels(values: NDArray[np.int8]) -> float:
        used = np.abs(values[values != 0])
        return 20 * math.log10(used.max() / used.min()) if used.size else 0.0

    assert math.isclose(analysis.dynamic_range, decibels(codes), abs_tol=1e-9)
    for n, reach in enumerate(analysis.channel_dynamic_range):
        assert math.isclose(reach, decibels(codes[:, n]), abs_tol=1e-9)


def test_the_farthest_doubles_have_a_finite_range():
    extreme = np.array([[5e-324, 0.0], [-1.7e308, 0.0]])
    analysis = analyze_weights(extreme)
    assert 12600 < analysis.dynamic_range < 12700
    assert analysis.channel_dynamic_range[1] == 0
    assert analysis.entropy.levels == 1
    json.dumps(analysis.facts(), allow_nan=False)


def test_the_least_int8_has_a_magnitude():
    assert math.isclose(
        analyze_weights(np.array([[-128, 1]], np.int8)).dynamic_range, 20 * math.log10(128)
    )


def test_a_tile_may_be_larger_than_any_matrix():
    analysis = analyze_weights(np.eye(3), (10**30, 2))
    assert analysis.tile_nonzeros.tolist() == [[2, 1]]
    assert analysis.tile_density.tolist() == [[2 / 6, 1 / 3]]


def test_facts_are_the_numbers():
    weights = np.zeros((40, 20))
    weights[:17, 3] = 1.0
    analysis = analyze_weights(weights, (16, 8))
    facts = json.loads(json.dumps(analysis.facts(), allow_nan=False))
    assert facts["nonzeros"] == 17
    assert facts["sparsity"] == 1 - 17 / 800
    assert facts["channels"]["nonzeros"] == [0, 0, 0, 17] + 16 * [0]
    assert facts["tiles"]["nonzeros"] == [[16, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert facts["tiles"]["sparsity"][0][0] == 1 - 16 / 128
    assert facts["tiles"]["empty"] == 7


@pytest.mark.parametrize(
    ("weights", "tile", "message"),
    [
        (np.array([[0, 1], [np.nan, 2]]), (4, 4), r"weight \[1, 0\] is nan; all must be finite"),
        (np.array([[0, -np.inf]]), (4, 4), r"weight \[0, 1\] is -inf"),
        (np.ones(3), (4, 4), r"must be real numbers \[K, N\], not float64 \[3\]"),
        (np.ones((0, 3)), (4, 4), r"not float64 \[0, 3\]"),
        (np.ones((2, 2), complex), (4, 4), "not complex128"),
        (np.ones((2, 2)), (0, 4), "a tile has extents above 0, not 0x4"),
    ],
)
def test_what_cannot_be_analysed_is_named(weights: NDArray, tile: tuple[int, int], message: str):
    with pytest.raises(ValueError, match=message):
        analyze_weights(weights, tile)
