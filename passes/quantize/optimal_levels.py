# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The optimum that `lloyd_max` approaches: levels with the least error there can be.

Free levels: in the best partition of sorted magnitudes each level has a run of them (Fisher,
1958), so dynamic programming over the ends of the runs finds it (Wang and Song,
"Ckmeans.1d.dp", 2011). Where a run best begins moves only upwards with where it ends; so the
middle end is done first, and bounds the search on both its sides (Grønlund et al., "Fast exact
k-means, k-medians and Bregman divergence clustering in 1D", 2017): L·K·log K steps per channel.
All channels, and all ends of one depth of that recursion, are done at once.

A uniform step: as it shrinks, weights move up one level at a time, at the known steps
|w| / (level + 1/2). Two running sums over these give the best error between any two of them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.passes.quantize.columns import Columns, Floats, Ints


def optimal_step(columns: Columns, magnitudes: int) -> tuple[Floats, Floats]:
    """The step [N] for the levels 1 … magnitudes times the step, and its error [N]."""
    channels, count = columns.ascending.shape
    importance = columns.importance[:, np.newaxis]
    ascending = columns.ascending[:, np.newaxis]
    levels = np.arange(magnitudes)[:, np.newaxis]
    moves = (ascending / (levels + 0.5)).reshape(channels, -1)
    order = np.argsort(-moves, axis=1)
    shape = channels, magnitudes, count

    def summed(terms: NDArray[Any]) -> Floats:
        terms = np.broadcast_to(terms, shape).reshape(channels, -1)
        return np.cumsum(np.take_along_axis(terms, order, axis=1), axis=1)

    products = summed(importance * ascending)
    squares = summed(importance * (2 * levels + 1))
    gain = products * products / np.where(squares > 0, squares, 1)
    best = gain.argmax(axis=1)[:, np.newaxis]
    gain, product, square = (
        np.take_along_axis(a, best, axis=1)[:, 0] for a in (gain, products, squares)
    )
    used = (product > 0) & (square > 0)
    step = np.where(used, product / np.where(square > 0, square, 1), 1.0)
    return step, np.maximum(columns.energy - np.where(used, gain, 0), 0.0)


def optimal_levels(columns: Columns, magnitudes: int) -> tuple[Floats, Floats]:
    """Free levels [L, N] beside zero, ascending, and their error [N].

    A channel with fewer non-zeros than levels has its largest repeated.
    """
    channels, count = columns.ascending.shape
    # gains[l] [N, K + 1]: what l levels for the first magnitudes spare, against all at zero.
    gains = [np.zeros((channels, count + 1))]
    for _ in range(magnitudes - 1):
        gains.append(_one_more(columns, gains[-1]))
    end = np.full((channels, 1), count)
    levels, gain = np.zeros((magnitudes, channels)), np.zeros(0)
    for level in reversed(range(magnitudes)):
        spared, start = _best_starts(columns, gains[level], np.zeros_like(end), end, end)
        if level == magnitudes - 1:
            gain = spared[:, 0]
        positions = np.concatenate([start, end], axis=1).T
        total = np.diff(columns.weights_at(positions), axis=0)[0]
        total = np.where(total > 0, total, 1)
        levels[level] = np.diff(columns.sums_at(positions), axis=0)[0] / total
        end = start
    levels = np.where(levels > 0, levels, levels.max(axis=0))
    return np.sort(levels, axis=0), np.maximum(columns.energy - gain, 0.0)


def _one_more(columns: Columns, gains: Floats) -> Floats:
    """[N, K + 1] what the best runs of the first 0 … K magnitudes spare with one level more."""
    width = int(gains.shape[1])
    best = np.zeros_like(gains)
    starts = np.zeros(gains.shape, np.int64)
    step = 1 << (width - 1).bit_length()
    while step := step >> 1:
        # Odd multiples of the step; the even ones on both sides are done.
        ends = np.arange(step, width, 2 * step)
        low = starts[:, ends - step]
        after = np.minimum(ends + step, width - 1)
        high = np.where(ends + step < width, np.minimum(starts[:, after], ends), ends)

        found, where = _best_starts(columns, gains, low, high, ends)
        best[:, ends], starts[:, ends] = found, where
    return best


def _best_starts(
    columns: Columns, gains: Floats, low: Ints, high: Ints, ends: Ints
) -> tuple[Floats, Ints]:
    """[N, E] what a last run up to each of the `ends` [E] or [N, E] spares at best, and its start.

    The start is from `low` to `high` [N, E]; `gains` [N, K + 1] is what the runs before it spare.
    """
    rows = np.arange(len(gains))[:, np.newaxis] * gains.shape[1]
    candidates = (high - low + 1).reshape(-1)
    first = np.cumsum(candidates) - candidates
    place = np.repeat((rows + low).reshape(-1) - first, candidates)
    place += np.arange(len(place))
    value = _spared(columns, place, (rows + ends).reshape(-1), candidates)
    value += gains.reshape(-1)[place]
    best = np.maximum.reduceat(value, first)
    hits = np.flatnonzero(value == np.repeat(best, candidates))
    start = place[hits[np.searchsorted(hits, first)]].reshape(low.shape) - rows
    return best.reshape(low.shape), start


def _spared(columns: Columns, place: Ints, ends: Ints, candidates: Ints) -> Floats:
    """What a level of its own spares the magnitudes from each place to its end.

    Both are indices into the prefix sums of all channels; each of the `ends` is that of as many
    places as `candidates` says. The mean of a run spares (Σ magnitude)² / Σ 1.
    """
    sums = columns.sums.reshape(-1)
    spared = np.repeat(sums[ends], candidates)
    spared -= sums[place]
    spared *= spared
    if columns.weights is None:
        totals = (np.repeat(ends, candidates) - place).astype(np.float64)
    else:
        weights = columns.weights.reshape(-1)
        totals = np.repeat(weights[ends], candidates) - weights[place]
    np.divide(spared, totals, out=spared, where=totals > 0)
    return spared
