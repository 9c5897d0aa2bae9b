# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The best integer codes for a given scale, as a shortest path.

Codes 0 = c₀ < c₁ < … < c_l ≤ M are a path over the grid 0 … M. With every weight at the nearest
code, the step from code i to code j has a price of its own: it takes the weights above the
threshold (i + j)/2 from i to j. So the squared error is a sum over the path's steps

    (j - i) · G(i + j)   with   G(h) = 2·s·Σ importance·(h·s/2 - |w|) over |w| > h·s/2,

and dynamic programming finds the path with the fewest errors among those of at most L codes: the
optimum for the scale s, exactly. The idea is that of optimal one-dimensional clustering (Wang and
Song, "Ckmeans.1d.dp", 2011) with the grid's points in place of the weights.

The words that an output costs in the running-sum array fit in, because they too are a sum over
the path's steps: Σ ceil(items/2) + parts(gap) - 1 over the codes that have weights. (What
`splitting` saves, and a word more for the signs of some codes, is left out.) What a code's weights
are rounded up by depends on both its neighbours, but only through whether their number is odd; so
the path remembers one of three things about its last code: no weights yet, or an even or odd
number of weights below its lower threshold.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from daqkf.passes.encode import gap_steps, running_sum
from daqkf.passes.quantize.columns import Columns, Floats, Ints

_EMPTY, _EVEN, _ODD = range(3)


@dataclass(frozen=True)
class Paths:
    """The best paths to every code of a grid, for N channels at once."""

    gain: Floats
    """[2M + 1, N] G(h), in the columns' units of error."""
    positions: Ints
    """[2M + 1, N] magnitudes below h/2 times the scale."""
    weights: int
    """Weights of a channel, zeros included."""
    word: Floats
    """What a word costs in the columns' units of error, [N] or [] for all channels; where it is 0,
    errors alone count."""
    limit: int
    """The most codes of a path."""
    parts: Ints
    """[M + 1] words that a gap takes; those of 0 are not used."""
    cost: Floats
    """[states, codes, M + 1, N] of the best path to each last code, relative to all zeros. Has
    one state where words cost nothing, and one row of codes where their number is not limited."""

    @classmethod
    def search(
        cls,
        columns: Columns,
        scales: Floats,
        maximum: int,
        limit: int,
        word: Floats | float = 0.0,
        max_shift: int = 0,
    ) -> Self:
        """Find the best paths over 0 … `maximum` times `scales` [N], of at most `limit` codes.

        `word` is what a word costs in units of the columns' squared error, [N] or for all
        channels, with steps of at most 2^max_shift levels.
        """
        half = np.arange(2 * maximum + 1)[:, np.newaxis] * (0.5 * scales)
        positions = columns.below(half)
        above = columns.total - columns.weights_at(positions)
        sums = columns.sums[:, -1] - columns.sums_at(positions)
        gain = 2 * scales * (half * above - sums)
        parts = gap_steps.parts(np.arange(maximum + 1), max_shift)
        price = np.asarray(word, np.float64)
        priced = bool(np.any(price > 0))
        rows = limit + 1 if limit < maximum else 1
        cost = np.full((3 if priced else 1, rows, maximum + 1, len(scales)), np.inf)
        cost[_EVEN if priced else 0, 0, 0] = 0
        paths = cls(gain, positions, columns.ascending.shape[1], price, limit, parts, cost)
        for code in range(1, maximum + 1):
            # More codes are never worse where they cost nothing: all of the limit will be used.
            before = 0 if priced or rows == 1 else max(code - (maximum - limit) - 1, 0)
            reached = paths._arrivals(code, before)
            first = min(rows - 1, before + 1)
            target = cost[:, first : first + len(reached), code]
            if not priced:
                target[0] = reached.min(axis=1)
                continue
            states = paths._states(positions[code : 2 * code], positions[2 * code])
            for state in (_EMPTY, _EVEN, _ODD):
                target[state] = np.where(states == state, reached, np.inf).min(axis=1)
        return paths

    def _arrivals(self, code: int, least: int) -> Floats:
        """[codes, codes below, N] costs of the best ways to `code` over each lower one.

        The first axis counts the codes before this, from `least` on, and the second begins with
        the lowest that can be the last of these: `least` itself.
        """
        counted = self.cost.shape[1] > 1
        rows = slice(least, min(self.limit, code)) if counted else slice(1)
        sources = self.cost[:, rows, least:code]
        sums = slice(code + least, 2 * code)
        gaps = np.arange(code - least, 0, -1)[:, np.newaxis]
        lower = self.positions[2 * least : 2 * code : 2]
        prices = self._prices(gaps, self.gain[sums], lower, self.positions[sums])
        best = sources[0] + prices[0]
        for source, price in zip(sources[1:], prices[1:], strict=True):
            np.minimum(best, source + price, out=best)
        return best

    def _states(self, thresholds: Ints, code: Ints) -> Ints:
        """States at a code, given the magnitudes below its threshold and below itself."""
        return np.where(thresholds == code, _EMPTY, _EVEN + ((self.weights - thresholds) & 1))

    def _prices(self, gaps: Ints, gain: Floats, lower: Ints, upper: Ints) -> list[Floats]:
        """By state, [codes, N] what the steps from codes 0, 1 … to a code `gaps` above them cost.

        `lower` and `upper` are the magnitudes below those codes and below the thresholds.
        """
        price = gaps * gain
        if len(self.cost) == 1:
            return [price]
        price += self.word * (self.parts[gaps] - 1)
        # Each weight that is not zero takes a share of a word.
        price[0] += self.word / running_sum.ITEMS * (self.weights - upper[0])
        return [price + closing for closing in self._closings(lower, upper)]

    def _closings(self, lower: Ints, upper: Ints) -> list[Floats]:
        """By state, [codes, N] what the number of a code's weights is rounded up by."""
        half = self.word / running_sum.ITEMS
        odd = (self.weights - upper) & 1
        # A code without weights would cost a word: a gap cannot be split for nothing.
        empty = np.where(upper == lower, self.word, half * ((upper - lower) & 1))
        closings = [empty, half * odd, half * (1 - odd)]
        for closing in closings:
            closing[0] = 0  # zeros take no word
        return closings

    def _ends(self) -> Floats:
        """[states, codes, M + 1, N] costs of the paths that end at each code."""
        if len(self.cost) == 1:
            return self.cost
        lower = self.positions[::2]
        closings = np.array(self._closings(lower, np.full_like(lower, self.weights)))
        ends = self.cost + closings[:, np.newaxis]
        ends[_EVEN, 0, 0] = self.word  # a channel without weights takes one word
        return ends

    def best(self) -> Floats:
        """[N] what the best path costs, relative to all weights at zero."""
        return self._ends().min(axis=(0, 1, 2))

    def codes(self) -> Ints:
        """[limit, N] ascending codes of the best paths, padded by repeating the largest.

        A path without codes, which is best for a channel without weights, has zeros.
        """
        states, rows, grid, channels = self.cost.shape
        index = self._ends().reshape(-1, channels).argmin(axis=0)
        state, row, code = np.unravel_index(index, (states, rows, grid))
        codes, count = np.zeros((self.limit, channels), np.int64), 0
        while code.any():
            codes[count], count = code, count + 1
            state, row, code = self._before(state, row, code)
        return np.sort(np.where(codes > 0, codes, codes[0]), axis=0)

    def _before(self, state: Ints, row: Ints, code: Ints) -> tuple[Ints, Ints, Ints]:
        """Where the best paths to a code were before: [N] states, codes so far, last codes."""
        n = np.arange(len(code))
        lower = np.arange(int(self.cost.shape[2]) - 1)[:, np.newaxis]
        behind = lower < code
        sums = np.where(behind, lower + code, 0)
        gaps = np.where(behind, code - lower, 1)
        upper = self.positions[sums, n]
        row = np.maximum(row - 1, 0)
        costs = self.cost[:, row, :-1, n].transpose(1, 2, 0)
        costs = costs + np.array(
            self._prices(gaps, self.gain[sums, n], self.positions[: 2 * len(lower) : 2], upper)
        )
        allowed = behind
        if len(self.cost) > 1:
            allowed = behind & (self._states(upper, self.positions[2 * code, n]) == state)
        index = np.where(allowed, costs, np.inf).reshape(-1, len(code)).argmin(axis=0)
        before, last = np.unravel_index(index, (len(costs), len(lower)))
        done = code == 0
        return np.where(done, state, before), np.where(done, 0, row), np.where(done, 0, last)
