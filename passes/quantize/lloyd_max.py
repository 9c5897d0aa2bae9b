# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Levels fitted to weights, per output channel, by iteration (Lloyd, 1982; Max, 1960).

The error that is minimised is Σ importance·(w - q)². Zero is always a level, magnitudes are
shared by both signs. Each iteration alternates the nearest level for every weight with the best
levels for that assignment; neither can increase the error. The weights that are nearest to a
level are a run of the sorted ones, so an iteration costs a search and a few prefix sums.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.passes.quantize.columns import Columns, Floats, Ints

_ITERATIONS = 40
_SETTLED = 3e-4
"""Iterations end when they change the channels' error by no more than this share."""

_STARTS = np.concatenate([np.linspace(1.0, 0.3, 15), np.linspace(0.25, 0.05, 5), [1.25, 1.5, 2.0]])
"""First steps to try, as shares of absmax / magnitudes; above 1, not all levels are used."""


@dataclass(frozen=True)
class Assignment:
    """Each weight at the nearest of its channel's codes times a scale, as sums over weights."""

    products: Floats
    """[N] Σ importance · magnitude · code."""
    squares: Floats
    """[N] Σ importance · code²."""
    positions: Ints
    """[L, N] how many magnitudes lie below each code's weights."""

    @classmethod
    def nearest(cls, columns: Columns, codes: NDArray[Any], scales: Floats) -> "Assignment":
        """For ascending codes [L, N], or [L, 1] for all channels, beside 0, and scales [N].

        With scales [S, N] there are S assignments, along a first axis.
        """
        below = np.concatenate([np.zeros_like(codes[:1]), codes[:-1]])
        positions = columns.below((codes + below) * (0.5 * scales[..., np.newaxis, :]))
        # What lies above a threshold takes the step from one code to the next.
        sums = columns.sums[:, -1] - columns.sums_at(positions)
        totals = columns.total - columns.weights_at(positions)
        return cls(
            ((codes - below) * sums).sum(axis=-2),
            ((codes * codes - below * below) * totals).sum(axis=-2),
            positions,
        )

    def used(self, columns: Columns) -> NDArray[np.bool]:
        """[L, N] whether any weight is at each code."""
        end = np.full((1, self.positions.shape[1]), columns.ascending.shape[1])
        return np.diff(self.positions, axis=0, append=end) > 0

    def error(self, columns: Columns, scales: Floats) -> Floats:
        """[N] squared error of this assignment with scales [N]."""
        error = columns.energy - scales * (2 * self.products - scales * self.squares)
        return np.maximum(error, 0.0)

    def best_scales(self, otherwise: Floats) -> Floats:
        """[N] the scales with the least error: Σ magnitude·code / Σ code²."""
        fitting = (self.products > 0) & (self.squares > 0)
        return np.where(fitting, self.products / np.where(fitting, self.squares, 1), otherwise)


def fit_step(columns: Columns, magnitudes: int) -> tuple[Floats, Floats]:
    """A step [N] for the levels 1 … magnitudes times the step, and the errors [iterations, N].

    Starts from the best of several steps. The one that just reaches the largest weight is among
    them, so the result is never worse than that.
    """
    codes = np.arange(1, magnitudes + 1)[:, np.newaxis]
    reach = np.where(columns.largest > 0, columns.largest, 1.0) / magnitudes
    steps = _STARTS[:, np.newaxis] * reach
    errors = Assignment.nearest(columns, codes, steps).error(columns, steps)
    step = steps[errors.argmin(axis=0), np.arange(len(reach))]
    history: list[Floats] = []
    for _ in range(_ITERATIONS):
        assignment = Assignment.nearest(columns, codes, step)
        step = assignment.best_scales(step)
        history.append(assignment.error(columns, step))
        if _settled(history):
            break
    return step, np.array(history)


def fit_levels(columns: Columns, levels: Floats) -> tuple[Floats, Floats]:
    """Free levels [L, N] beside zero, from ascending ones, and the errors [iterations, N]."""
    history: list[Floats] = []
    end = np.full((1, levels.shape[1]), columns.ascending.shape[1])
    for _ in range(_ITERATIONS):
        below = np.concatenate([np.zeros_like(levels[:1]), levels[:-1]])
        ends = np.concatenate([columns.below((below + levels) / 2), end])
        sums = np.diff(columns.sums_at(ends), axis=0)
        totals = np.diff(columns.weights_at(ends), axis=0)
        used = totals > 0
        totals = np.where(used, totals, 1.0)
        # A level without weights stays between its neighbours.
        levels = np.where(used, sums / totals, levels)
        explained = (np.where(used, sums, 0.0) ** 2 / totals).sum(axis=0)
        history.append(np.maximum(columns.energy - explained, 0.0))
        if _settled(history):
            break
    return levels, np.array(history)


def _settled(history: list[Floats]) -> bool:
    if len(history) < 2:
        return False
    return bool((history[-2] - history[-1]).sum() <= _SETTLED * history[-1].sum() + 1e-15)


def padded(history: Floats, length: int) -> Floats:
    """The errors of `length` iterations, the last repeated."""
    return np.concatenate([history, np.repeat(history[-1:], length - len(history), axis=0)])
