# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Sorted magnitudes of many output channels, with prefix sums.

Between two thresholds the weights of a channel are a run of its sorted magnitudes. So how many
they are, their sum, and the error of the best value for all of them are differences of prefix
sums, whatever the number of weights; and thresholds of all channels are found in one search.

Letters in shapes: N channels, K weights of each, L thresholds or levels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """Magnitudes of N channels in ascending order, each with the largest in [0.5, 1).

    All values are in units of 2^exponent, so that neither denormals nor large weights lose
    anything, and the importance of a channel's most important weight is 1.
    """

    ascending: Floats
    """[N, K]."""
    exponent: NDArray[np.int32]
    """[N]."""
    unit: Floats
    """[N] what an error of 1 is worth: the largest importance, in units of 4^exponent."""
    sums: Floats
    """[N, K + 1] prefix sums of importance · magnitude."""
    weights: Floats | None
    """[N, K + 1] prefix sums of the importance; None where each is 1."""
    energy: Floats
    """[N] Σ importance · magnitude²."""
    bins: NDArray[np.int32]
    """[N, B] how many magnitudes lie below 0, 1/B, 2/B …; zeros lie below 0."""
    padded: Floats
    """[N, K + the least power of two above what is in any bin], ascending, ending in infinities."""

    @classmethod
    def sort(cls, weights: NDArray[Any], importance: NDArray[Any] | None = None) -> "Columns":
        """Sort |weights| [K, N], finite; their `importance` is [K, N] and not negative.

        The weights of a channel whose importance is zero throughout are equally important.
        """
        absolute = np.abs(np.ascontiguousarray(weights.T))
        if importance is None:
            absolute.sort(axis=1)
        absolute = absolute.astype(np.float64)
        exponent = np.frexp(absolute.max(axis=1))[1]
        absolute = np.ldexp(absolute, -exponent[:, np.newaxis])
        if importance is None:
            ascending, totals = absolute, None
            terms, squares = ascending, ascending * ascending
            unit = np.ones(len(ascending))
        else:
            unit = importance.max(axis=0).astype(np.float64)
            share = np.where(unit > 0, importance / np.where(unit > 0, unit, 1), 1.0).T
            unit = np.where(unit > 0, unit, 1.0)
            order = np.argsort(absolute, axis=1)
            ascending = np.take_along_axis(absolute, order, axis=1)
            share = np.take_along_axis(share, order, axis=1)
            totals = _prefix(share)
            terms, squares = share * ascending, share * ascending * ascending
        energy = squares.sum(axis=1)
        return cls(ascending, exponent, unit, _prefix(terms), totals, energy, *_index(ascending))

    @property
    def largest(self) -> Floats:
        """[N] the largest magnitude; 0 for a channel without non-zeros."""
        return self.ascending[:, -1]

    @property
    def importance(self) -> Floats:
        """[N, K] the importance of each sorted magnitude."""
        if self.weights is None:
            return np.ones_like(self.ascending)
        return np.diff(self.weights, axis=1)

    @property
    def total(self) -> Floats | int:
        """[N] Σ importance of all weights."""
        return self.ascending.shape[1] if self.weights is None else self.weights[:, -1]

    @property
    def zeros(self) -> Ints:
        """[N] exact zeros."""
        return np.count_nonzero(self.ascending == 0, axis=1)

    def below(self, thresholds: Floats) -> Ints:
        """[L, N] how many magnitudes of each channel lie below each threshold [L, N] ≥ 0.

        Zeros always do.
        """
        channels, width = map(int, self.padded.shape)
        channel = np.arange(channels)
        size = int(self.bins.shape[1])
        bins = np.minimum(thresholds * size, size - 1).astype(np.int64)
        bins += channel * size
        found = self.bins.reshape(-1).take(bins, mode="clip").astype(np.int64)
        # Bisection from the bin's beginning; beyond its end all magnitudes are above.
        found += channel * width
        step = (width - int(self.ascending.shape[1])) // 2
        while step:
            below = self.padded.reshape(-1).take(found + (step - 1), mode="clip") < thresholds
            found += below * step
            step //= 2
        return found - channel * width

    def sums_at(self, positions: Ints) -> Floats:
        """[L, N] Σ importance · magnitude of the first `positions` [L, N] of each channel."""
        return _at(self.sums, positions)

    def weights_at(self, positions: Ints) -> Floats:
        """[L, N] Σ importance of the first `positions` [L, N] of each channel."""
        if self.weights is None:
            return positions.astype(np.float64)
        return _at(self.weights, positions)

    def mean(self) -> tuple[Floats, Floats]:
        """[N] the mean of the non-zeros, 1 where there are none, and the error if all take it."""
        zeros = self.zeros[np.newaxis]
        nonzeros = self.ascending.shape[1] - zeros[0]
        mean = np.where(nonzeros > 0, self.ascending.sum(axis=1) / np.maximum(nonzeros, 1), 1.0)
        total = (self.total - self.weights_at(zeros))[0]
        mean = np.where(total > 0, self.sums[:, -1] / np.where(total > 0, total, 1), mean)
        return mean, self.energy - mean * (2 * self.sums[:, -1] - mean * total)

    def or_all_values(self, levels: Floats) -> Floats:
        """Levels [L, N], but the non-zeros themselves where a channel has at most L of them."""
        count = min(levels.shape[0], self.ascending.shape[1])
        values = np.zeros_like(levels)
        values[len(levels) - count :] = self.ascending[:, -count:].T
        few = np.count_nonzero(self.ascending, axis=1) <= len(levels)
        return np.where(few, values, levels)

    def in_own_units(self, error: float) -> Floats:
        """[N] a squared error of the weights in the units of each channel here."""
        with np.errstate(over="ignore", under="ignore"):
            return np.ldexp(error / self.unit, -2 * self.exponent)

    def in_units_of_weights(self, error: Floats) -> Floats:
        """Squared errors [..., N] as those of the weights and importance as they were given."""
        with np.errstate(over="ignore", under="ignore"):
            return np.ldexp(np.maximum(error, 0.0) * self.unit, 2 * self.exponent)


def _index(ascending: Floats) -> tuple[NDArray[np.int32], Floats]:
    """What `below` looks positions up in: see `bins` and `padded`."""
    channels, count = map(int, ascending.shape)
    zeros = np.count_nonzero(ascending == 0, axis=1)
    size = 1 << count.bit_length() + 1
    # A power of two, so that a magnitude and its bin never disagree.
    place = (ascending * size).astype(np.int64) + np.arange(channels)[:, np.newaxis] * size
    counts = np.bincount(place.reshape(-1), minlength=channels * size).reshape(channels, size)
    counts[:, 0] -= zeros
    bins = np.cumsum(counts, axis=1) - counts + zeros[:, np.newaxis]
    padded = np.full((channels, count + (1 << int(counts.max()).bit_length())), np.inf)
    padded[:, :count] = ascending
    return bins.astype(np.int32), padded


def _prefix(terms: Floats) -> Floats:
    """[N, K + 1] sums of the first 0, 1 … K terms [N, K]."""
    sums = np.zeros((terms.shape[0], terms.shape[1] + 1))
    np.cumsum(terms, axis=1, out=sums[:, 1:])
    return sums


def _at(sums: Floats, positions: Ints) -> Floats:
    places: Ints = positions + np.arange(len(sums)) * sums.shape[1]
    return sums.reshape(-1).take(places, mode="clip")
