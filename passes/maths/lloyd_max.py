# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Level sets fitted to weights, per output channel (Lloyd, 1982; Max, 1960).

The error that is minimised is Σ(w - q)² over the non-zeros of a channel. Zero is always a
level, magnitudes are shared by both signs, and an exact zero stays zero. Each iteration
alternates the nearest level for every weight with the best levels for that assignment;
neither can increase the error.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ITERATIONS = 20
_STARTS = np.concatenate([np.linspace(1.0, 0.3, 15), np.linspace(0.25, 0.05, 5), [1.25, 1.5, 2.0]])
"""First steps to try, as shares of absmax / magnitudes; above 1, not all levels are used."""


@dataclass(frozen=True)
class Fit:
    """Integer levels of weights [K, N]: weight ≈ levels · scales."""

    levels: NDArray[np.int8]
    """[K, N], signed."""
    scales: NDArray[np.float64]
    """[N], above zero; 1 for a channel whose weights are all zero."""
    history: NDArray[np.float64]
    """[iterations, N] squared error after each iteration, before rounding to integers."""

    def error(self, weights: NDArray) -> NDArray[np.float64]:
        """Squared error of each channel [N]."""
        return ((weights - self.levels * self.scales) ** 2).sum(axis=0)


def fit_uniform(weights: NDArray, magnitudes: int) -> Fit:
    """Levels ±{0..magnitudes} times a step per channel, the step fitted by Lloyd-Max.

    Starts from the best of several steps, the one that just reaches the largest weight among
    them; `magnitudes` = 1 is a ternary level set.
    """
    absolute = np.abs(np.asarray(weights, np.float64))
    absmax = absolute.max(axis=0)
    safe = np.where(absmax > 0, absmax, magnitudes)

    def assign(step: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.minimum(np.rint(absolute / step), magnitudes)

    def squared_error(step: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((absolute - assign(step) * step) ** 2).sum(axis=0)

    step, error = safe / magnitudes, squared_error(safe / magnitudes)
    for share in _STARTS[1:]:
        candidate = safe / magnitudes * share
        candidate_error = squared_error(candidate)
        better = candidate_error < error
        step, error = np.where(better, candidate, step), np.minimum(candidate_error, error)

    history = [error]
    for _ in range(_ITERATIONS):
        step, error = _best_step(absolute, assign(step), step), history[-1]
        history.append(squared_error(step))
        if np.allclose(history[-1], error, rtol=1e-6):
            break
    magnitude = np.where(absmax > 0, assign(step), 0).astype(np.int64)
    return Fit(*_finish(magnitude, step, weights), np.array(history))


def fit_exact(weights: NDArray, magnitudes: int, maximum: int) -> Fit:
    """Weights that are integer levels already, with a scale of 1.

    Raises:
        ValueError: a weight that is no integer or beyond ±maximum, or a channel with more
            than `magnitudes` magnitudes.
    """
    bad = np.argwhere((weights != np.rint(weights)) | (np.abs(weights) > maximum))
    if len(bad):
        k, n = bad[0]
        raise ValueError(f"weight [{k}, {n}] is {weights[k, n]:g}, not a level within ±{maximum}")
    sorted_magnitudes = np.sort(np.abs(weights), axis=0)
    distinct = (np.diff(sorted_magnitudes, axis=0) != 0).sum(axis=0) + (sorted_magnitudes[0] != 0)
    if distinct.max() > magnitudes:
        raise ValueError(
            f"channel {int(distinct.argmax())} has {distinct.max()} magnitudes, more than the "
            f"{magnitudes} of its level set"
        )
    channels = weights.shape[1]
    return Fit(weights.astype(np.int8), np.ones(channels), np.zeros((1, channels)))


def _finish(
    magnitude: NDArray[np.int64], scales: NDArray[np.float64], weights: NDArray
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Signed levels and scales, with what all levels of a channel have in common in the scale.

    Levels 14 and 7 are 2 and 1 at seven times the scale, and cost fewer steps.
    """
    common = np.gcd.reduce(magnitude, axis=0)
    used = common > 0
    common = np.where(used, common, 1)
    levels = magnitude // common * np.sign(weights).astype(np.int64)
    return levels.astype(np.int8), np.where(used, scales * common, 1.0)


def _best_step(
    absolute: NDArray[np.float64], levels: NDArray[np.float64], otherwise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The scale [N] that minimises Σ(|w| - scale·level)²: Σ|w|·level / Σlevel²."""
    squares = (levels**2).sum(axis=0)
    step = (absolute * levels).sum(axis=0) / np.maximum(squares, 1)
    return np.where((squares > 0) & (step > 0), step, otherwise)


def fit_codebook(weights: NDArray, magnitudes: int, maximum: int = 127) -> Fit:
    """Up to `magnitudes` free levels per channel, rounded to integers of at most `maximum`.

    Lloyd-Max runs from the uniform fit and from the quantiles of the non-zeros, and the
    better result is kept for each channel; so before rounding it is never worse than the
    uniform fit with as many magnitudes.
    """
    columns = _Columns.sort(weights)
    uniform = fit_uniform(weights, magnitudes)
    steps = np.arange(1, magnitudes + 1)[:, np.newaxis] * uniform.scales
    history, levels = _lloyd(columns, np.minimum(steps, 2 * columns.absmax))
    other_history, other = _lloyd(columns, columns.quantiles(magnitudes))
    better = other_history[-1] < history[-1]
    levels = np.where(better, other, levels)
    history = np.where(better, other_history, history)
    codes, scales = _round(weights, levels, columns.absmax, maximum)
    return Fit(codes, scales, history)


@dataclass(frozen=True)
class _Columns:
    """Magnitudes of each channel in ascending order, with prefix sums."""

    keys: NDArray[np.float64]
    """[N·K] channel + magnitude / (2·absmax): sorted as a whole."""
    absmax: NDArray[np.float64]
    sums: NDArray[np.float64]
    """[K + 1, N] prefix sums of the magnitudes."""
    squares: NDArray[np.float64]
    """[K + 1, N] prefix sums of their squares."""
    ascending: NDArray[np.float64]

    @classmethod
    def sort(cls, weights: NDArray) -> "_Columns":
        ascending = np.sort(np.abs(np.asarray(weights, np.float64)), axis=0)
        absmax = np.where(ascending[-1] > 0, ascending[-1], 1.0)
        keys = np.arange(ascending.shape[1]) + ascending / (2 * absmax)
        zero = np.zeros((1, ascending.shape[1]))
        return cls(
            keys.T.reshape(-1),
            absmax,
            np.concatenate([zero, np.cumsum(ascending, axis=0)]),
            np.concatenate([zero, np.cumsum(ascending**2, axis=0)]),
            ascending,
        )

    def count_below(self, thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many magnitudes of each channel lie below each threshold [L, N]."""
        features, channels = self.ascending.shape
        keys = np.arange(channels) + np.minimum(thresholds / (2 * self.absmax), 0.75)
        found = np.searchsorted(self.keys, keys.reshape(-1)).reshape(thresholds.shape)
        return found - np.arange(channels) * features

    def quantiles(self, count: int) -> NDArray[np.float64]:
        """[count, N] magnitudes that split the non-zeros of each channel evenly."""
        features = len(self.ascending)
        zeros = (self.ascending == 0).sum(axis=0)
        places = (np.arange(count)[:, np.newaxis] + 0.5) / count * (features - zeros) + zeros
        index = np.minimum(places.astype(np.int64), features - 1)
        return np.take_along_axis(self.ascending, index, axis=0)


def _lloyd(
    columns: _Columns, levels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lloyd's iteration on levels [L, N] beside a fixed zero; returns history and levels."""
    levels = np.sort(levels, axis=0)
    history: list[NDArray[np.float64]] = []
    for _ in range(_ITERATIONS):
        below = np.concatenate([np.zeros((1, levels.shape[1])), levels[:-1]])
        starts = columns.count_below((below + levels) / 2)
        ends = np.concatenate([starts[1:], np.full((1, levels.shape[1]), len(columns.ascending))])
        total = np.take_along_axis(columns.sums, ends, 0) - np.take_along_axis(
            columns.sums, starts, 0
        )
        members = ends - starts
        levels = np.where(members > 0, total / np.maximum(members, 1), levels)
        # Σ(w - mean)² of the members, plus w² of what stays zero.
        explained = (np.where(members > 0, total, 0) ** 2 / np.maximum(members, 1)).sum(axis=0)
        history.append(np.maximum(columns.squares[-1] - explained, 0))
    return np.array(history), levels


def _round(
    weights: NDArray, levels: NDArray[np.float64], absmax: NDArray[np.float64], maximum: int
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Integer codes [K, N] and scales [N] for real levels [L, N].

    Tries several scales, and after each fits the scale to the codes; keeps the best.
    """
    absolute = np.abs(np.asarray(weights, np.float64))
    index = np.arange(absolute.shape[1])
    best_error = np.full(absolute.shape[1], np.inf)
    best_codes = np.zeros(absolute.shape, np.int64)
    best_scales = np.ones(absolute.shape[1])
    top = np.where(levels[-1] > 0, levels[-1], absmax)
    for share in np.linspace(1.0, 0.85, 4):
        reach = max(1, round(maximum * share))
        scales = top / reach
        codes = np.sort(np.clip(np.rint(levels / scales), 0, maximum), axis=0).astype(np.int64)
        # A table from every integer magnitude to the nearest code of its channel.
        candidates = np.concatenate([np.zeros((1, len(index)), np.int64), codes])
        chosen = candidates[:1]
        for _ in range(2):
            middle = (candidates[1:] + candidates[:-1]) / 2 * scales
            chosen = np.take_along_axis(candidates, _place(absolute, middle), axis=0)
            scales = _best_step(absolute, chosen.astype(np.float64), scales)
        error = ((absolute - chosen * scales) ** 2).sum(axis=0)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_codes = np.where(better, chosen, best_codes)
        best_scales = np.where(better, scales, best_scales)
    return _finish(best_codes, best_scales, weights)


def _place(values: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of the ascending thresholds [L, N] of its channel each value [K, N] exceeds."""
    channels = np.arange(values.shape[1])
    reach = 2 * np.maximum(values.max(axis=0), thresholds[-1])
    reach = np.where(reach > 0, reach, 1.0)
    keys = (channels + thresholds / reach).T.reshape(-1)
    found = np.searchsorted(keys, (channels + values / reach).reshape(-1))
    return found.reshape(values.shape) - channels * len(thresholds)
