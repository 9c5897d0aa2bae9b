# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Describing a weight matrix: where its zeros are, how far its values reach, what they tell."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.zeros import (
    Mask,
    band_size,
    follows,
    half_bandwidth,
    tile_counts,
    tile_sizes,
)

TILE = 16
"""Features and channels of a tile, unless told otherwise."""

_BLOCKS = (16, 8, 4)
_GROUPS = (4, 8)
_CODE_MAX = 127


@dataclass(frozen=True)
class SparsitySummary:
    """The zeros of a matrix [K, N]."""

    nonzeros: int
    column_nonzeros: NDArray[np.int64]
    """[N] non-zeros of each output channel."""
    pattern: str
    """The most special structure that the zeros follow; see `daqkf.hw_targets.zeros`."""


@dataclass(frozen=True)
class Entropy:
    """Bits per weight that a coder without memory needs at least (Shannon, 1948).

    The codes of integer weights are the weights. Those of floats are signed 8-bit levels,
    uniform up to the largest weight of the channel; a weight that is not zero is at least ±1,
    so that zero means zero. By the chain rule, `total` = `mask` + density · `levels`.
    """

    total: float
    """Of a code."""
    mask: float
    """Of telling zeros from non-zeros, alone."""
    levels: float
    """Of a non-zero's code, once it is known to be none."""


@dataclass(frozen=True)
class WeightAnalysis:
    """What analysis knows of a matrix [K, N]."""

    shape: tuple[int, int]
    sparsity: SparsitySummary
    tile: tuple[int, int]
    """Features and channels of a tile."""
    tile_nonzeros: NDArray[np.int64]
    """[⌈K/tile[0]⌉, ⌈N/tile[1]⌉] non-zeros of each tile; those at the edges may be smaller."""
    dynamic_range: float
    """20·log10(largest |w| / smallest |w| that is not zero), in dB; 0 without non-zeros."""
    channel_dynamic_range: NDArray[np.float64]
    """[N] the same for each output channel."""
    entropy: Entropy

    @property
    def density(self) -> float:
        """The share of non-zeros in the matrix."""
        return self.sparsity.nonzeros / (self.shape[0] * self.shape[1])

    @property
    def channel_density(self) -> NDArray[np.float64]:
        """[N] the share of non-zeros in each output channel."""
        return self.sparsity.column_nonzeros / self.shape[0]

    @property
    def tile_density(self) -> NDArray[np.float64]:
        """The share of non-zeros in each tile, shaped like `tile_nonzeros`."""
        return self.tile_nonzeros / tile_sizes(self.shape, *self.tile)

    def facts(self) -> dict[str, Any]:
        """Everything as JSON-able numbers, shares rounded to six digits."""
        return {
            "shape": list(self.shape),
            "nonzeros": self.sparsity.nonzeros,
            "sparsity": round(1 - self.density, 6),
            "pattern": self.sparsity.pattern,
            "dynamic_range_db": round(self.dynamic_range, 3),
            "entropy_bits": {
                "total": round(self.entropy.total, 6),
                "mask": round(self.entropy.mask, 6),
                "levels": round(self.entropy.levels, 6),
            },
            "channels": {
                "nonzeros": self.sparsity.column_nonzeros.tolist(),
                "sparsity": (1 - self.channel_density).round(6).tolist(),
                "dynamic_range_db": self.channel_dynamic_range.round(3).tolist(),
            },
            "tiles": {
                "shape": list(self.tile),
                "nonzeros": self.tile_nonzeros.tolist(),
                "sparsity": (1 - self.tile_density).round(6).tolist(),
                "empty": int((self.tile_nonzeros == 0).sum()),
            },
        }


def analyze(weights: NDArray[Any]) -> SparsitySummary:
    """Count the non-zeros of weights [K, N] and name the structure of the zeros.

    The first that holds of `dense`, `empty`, `column`, `row`, `block:BxB` with the largest B of
    16, 8 and 4, `banded:H` with the smallest H, and `N:M` with the smallest M of 4 and 8 and
    then the smallest N ≤ M/2; else `unstructured`.
    """
    mask = weights != 0
    columns = np.count_nonzero(mask, axis=0)
    return SparsitySummary(int(columns.sum()), columns, _pattern(mask))


def analyze_weights(weights: NDArray[Any], tile: tuple[int, int] = (TILE, TILE)) -> WeightAnalysis:
    """Describe weights [K, N], floats or integers, with tiles of so many features and channels.

    Raises:
        ValueError: not a matrix of real numbers with K and N above 0, a weight that is NaN or
            infinite, or a tile without extent.
    """
    _check(weights, tile)
    magnitudes = np.abs(weights.astype(np.float64))
    summary = analyze(weights)
    largest, smallest = _extremes(magnitudes)
    return WeightAnalysis(
        (weights.shape[0], weights.shape[1]),
        summary,
        tile,
        tile_counts(weights != 0, *tile),
        float(_decibels(largest.max(), smallest.min())),
        _decibels(largest, smallest),
        _entropy(_codes(weights, magnitudes, largest)),
    )


def _check(weights: NDArray[Any], tile: tuple[int, int]) -> None:
    if weights.ndim != 2 or not weights.size or weights.dtype.kind not in "biuf":
        raise ValueError(
            f"weights must be real numbers [K, N], not {weights.dtype} {list(weights.shape)}"
        )
    if min(tile) < 1:
        raise ValueError(f"a tile has extents above 0, not {tile[0]}x{tile[1]}")
    bad = np.argwhere(~np.isfinite(weights))
    if len(bad):
        k, n = bad[0]
        raise ValueError(f"weight [{k}, {n}] is {weights[k, n]}; all must be finite")


def _pattern(mask: Mask) -> str:
    candidates = ["dense", "empty", "column", "row"]
    candidates += [f"block:{extent}x{extent}" for extent in _BLOCKS]
    half = half_bandwidth(mask)
    if 2 * band_size(mask.shape, half) < mask.size:
        candidates.append(f"banded:{half}")
    for group in _GROUPS:
        if len(mask) % group == 0:
            most = int(mask.reshape(-1, group, mask.shape[1]).sum(axis=1).max())
            candidates += [f"{most}:{group}"] if 0 < most <= group // 2 else []
    candidates.append("unstructured")
    return next(pattern for pattern in candidates if follows(mask, pattern))


def _extremes(magnitudes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest and the smallest non-zero magnitude of each channel; 0 and ∞ without any."""
    smallest = np.where(magnitudes > 0, magnitudes, np.inf).min(axis=0)
    return magnitudes.max(axis=0), smallest


def _decibels(largest: Any, smallest: Any) -> Any:
    # A difference of logarithms: the ratio of two doubles may be beyond what a double holds.
    used = largest > 0
    top, bottom = np.where(used, largest, 1.0), np.where(used, smallest, 1.0)
    return 20 * (np.log10(top) - np.log10(bottom))


def _codes(
    weights: NDArray[Any], magnitudes: NDArray[np.float64], largest: NDArray[np.float64]
) -> NDArray[np.int64]:
    if weights.dtype.kind != "f":
        return weights.astype(np.int64)
    # Dividing first keeps the largest doubles finite.
    shares = magnitudes / np.where(largest > 0, largest, 1.0)
    levels = np.maximum(np.rint(shares * _CODE_MAX), magnitudes > 0)
    return np.where(weights < 0, -levels, levels).astype(np.int64)


def _entropy(codes: NDArray[np.int64]) -> Entropy:
    zeros = int((codes == 0).sum())
    nonzero = codes[codes != 0]
    low, high = (int(nonzero.min()), int(nonzero.max())) if nonzero.size else (0, 0)
    if high - low <= nonzero.size:
        counts = np.bincount(nonzero - low)
    else:
        counts = np.unique(nonzero, return_counts=True)[1]
    mask = _bits(np.array([zeros, nonzero.size]))
    levels = _bits(counts)
    return Entropy(mask + nonzero.size / codes.size * levels, mask, levels)


def _bits(counts: NDArray[np.int64]) -> float:
    """Shannon's entropy of the shares that counts stand for, in bits."""
    shares = counts[counts > 0] / max(int(counts.sum()), 1)
    return max(0.0, float(-(shares * np.log2(shares)).sum()))
