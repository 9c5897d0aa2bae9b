# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Sharing out levels: which of several ways to quantise each group of channels takes.

A group of output channels has several options, each with a cost in stream words, which are
cycles, and a loss of accuracy. Losses add up, so choosing is a multiple-choice knapsack problem
(Sinha and Zoltners, 1979), solved as a mixed-integer program by HiGHS through SciPy.
"""

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.spaq import LevelSet
from daqkf.hw_targets.numerics import distinct_magnitudes
from daqkf.passes.encode import running_sum
from daqkf.passes.quantize.compensation import compensate
from daqkf.passes.quantize.input_statistics import output_error
from daqkf.passes.quantize.levels import Fit, fit

GAP = 1e-4
"""Relative difference to the optimum at which the solver may stop."""

_SECONDS = 30.0

MENU: tuple[tuple[LevelSet, float], ...] = (
    (LevelSet.of("codebook", 3), 0.0),
    (LevelSet.of("codebook", 7), 0.0),
    (LevelSet.of("uniform", 10), 0.0),
    (LevelSet.of("uniform", 15), 0.0),
    (LevelSet.of("uniform", 15), 4.0),
    (LevelSet.of("uniform", 15), 8.0),
    (LevelSet.of("uniform", 31), 0.0),
    (LevelSet.of("uniform", 31), 4.0),
    (LevelSet.of("uniform", 127), 0.0),
)
"""Level sets, and how many times the average price of a word half a word is charged for each
weight that is not zero. Steps between levels are nearly free for long outputs, so even 31
magnitudes can pay if they buy zeros."""


@dataclass(frozen=True)
class Option:
    """One way to quantise a matrix [K, N]."""

    level_set: LevelSet
    fit: Fit
    loss: NDArray[np.float64]
    """[N] expected loss of accuracy of each channel."""
    words: NDArray[np.int64]
    """[N] stream words of each channel."""


def options(
    weights: NDArray[np.floating],
    hessian: NDArray[np.float64],
    sensitivity: NDArray[np.float64],
    word_price: float,
    max_shift: int,
    menu: Sequence[tuple[LevelSet, float]] = MENU,
    items: int = running_sum.ITEMS,
) -> list[Option]:
    """Quantise weights [K, N] in every way of the menu.

    Args:
        weights: real, zeros stay.
        hessian: of the inputs, positive definite [K, K].
        sensitivity: [N] the loss that a unit of squared error in an output makes.
        word_price: the average loss that a stream word may cost, in units of the losses.
        max_shift: of the array.
        menu: level sets and prices of items.
        items: of a stream word of the array.
    """
    importance = np.diag(hessian)[:, np.newaxis] * np.maximum(sensitivity, 0)
    found: list[Option] = []
    for level_set, price in menu:
        start = fit(weights, level_set, importance=importance)
        with np.errstate(divide="ignore"):
            item = price * word_price / items / sensitivity if price else 0.0
        item = np.where(np.isfinite(item), item, 0.0)
        result = compensate(
            weights, hessian, start, item_price=item, zero=level_set.kind != "binary"
        )
        loss = output_error(weights, result.levels * result.scales, hessian) * sensitivity
        words = running_sum.cost(result.levels, max_shift, items)
        found.append(Option(level_set, result, loss, words))
    return found


def channel_groups(sensitivity: NDArray[np.float64], count: int) -> list[NDArray[np.intp]]:
    """Channels [N] in up to `count` groups of like sensitivity, the least first."""
    order = np.argsort(sensitivity, kind="stable")
    return [group for group in np.array_split(order, count) if len(group)]


def totals(
    options: Sequence[Option], groups: Sequence[NDArray[np.intp]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Losses and words [groups, options] of each group."""
    loss = np.array([[option.loss[group].sum() for option in options] for group in groups])
    words = np.array([[option.words[group].sum() for option in options] for group in groups])
    return loss, words.astype(np.float64)


def assemble(
    options: Sequence[Option], groups: Sequence[NDArray[np.intp]], choice: Sequence[int]
) -> tuple[LevelSet, Fit]:
    """The fit whose channels are those of each group's chosen option, and its level set."""
    channels = len(options[0].loss)
    chosen = np.zeros(channels, np.intp)
    for group, index in zip(groups, choice, strict=True):
        chosen[group] = index
    everything = np.arange(channels)
    levels = np.stack([option.fit.levels for option in options])[chosen, :, everything].T
    scales = np.stack([option.fit.scales for option in options])[chosen, everything]
    longest = max(len(option.fit.magnitudes) for option in options)
    magnitudes = np.stack([_padded(option.fit.magnitudes, longest) for option in options])
    magnitudes = magnitudes[chosen, :, everything].T
    history = np.stack([option.fit.history[-1] for option in options])[chosen, everything]
    sets = {options[index].level_set for index in choice}
    level_set = sets.pop() if len(sets) == 1 else _union(levels)
    return level_set, Fit(levels, scales, magnitudes, history[np.newaxis])


def _padded(magnitudes: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Magnitudes [L, N] with the largest repeated up to `length` rows."""
    return np.pad(magnitudes, ((0, length - len(magnitudes)), (0, 0)), "edge")


def _union(levels: NDArray[np.int8]) -> LevelSet:
    """The smallest codebook that channels of different level sets have in common."""
    distinct = int(distinct_magnitudes(levels).max())
    largest = int(np.abs(levels.astype(np.int16)).max())
    return LevelSet("codebook", max(1, distinct), max(1, largest))


def allocate(
    loss: NDArray[np.float64],
    words: NDArray[np.float64],
    *,
    most_loss: float | None = None,
    most_words: float | None = None,
) -> NDArray[np.intp]:
    """Choose an option for each group, from losses and words [groups, options].

    With `most_loss` the fewest words within that total loss; with `most_words` the least loss
    within those words. Give one of them.

    Raises:
        ValueError: no choice is good or quick enough; the message has the best there is.
    """
    if (most_loss is None) == (most_words is None):
        raise ValueError("give either the most loss or the most words")
    if most_loss is not None:
        return _knapsack(words, loss, most_loss, "loss")
    assert most_words is not None
    return _knapsack(loss, words, most_words, "stream words")


@contextmanager
def _silent_output() -> Generator[None]:
    """HiGHS writes lines for its developers to file descriptor 1, whatever its options say."""
    sys.stdout.flush()
    saved, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)


def _knapsack(
    objective: NDArray[np.float64], burden: NDArray[np.float64], limit: float, what: str
) -> NDArray[np.intp]:
    """The choice [groups] of least objective whose burdens add up to at most the limit."""
    from scipy import optimize, sparse  # pyright: ignore[reportMissingTypeStubs]

    groups, count = objective.shape
    lightest = burden.min(axis=1).sum()
    if lightest > limit:
        raise ValueError(f"the least {what} that can be had is {lightest:.6g}, not {limit:.6g}")
    solver, matrices = cast(Any, optimize), cast(Any, sparse)
    one_each = matrices.kron(matrices.eye_array(groups), np.ones((1, count)), format="csr")
    scale = objective.max() or 1.0
    with _silent_output():
        solution = solver.milp(
            objective.reshape(-1) / scale,
            integrality=np.ones(groups * count),
            bounds=solver.Bounds(0, 1),
            constraints=[
                solver.LinearConstraint(one_each, 1, 1),
                solver.LinearConstraint(burden.reshape(1, -1) / (limit or 1.0), -np.inf, 1.0),
            ],
            options={"mip_rel_gap": GAP, "time_limit": _SECONDS},
        )
    if solution.x is None:  # the solver's time is up: the lightest choice is one
        return burden.argmin(axis=1)
    return solution.x.reshape(groups, count).argmax(axis=1)


@dataclass(frozen=True)
class Choice:
    """Levels for the channels of one matrix."""

    level_set: LevelSet
    fit: Fit
    noise: float
    """The expected squared error of the outputs, as a share of their energy."""
    words: int


@dataclass(frozen=True)
class LevelChooser:
    """Chooses levels for the channels of one matrix [K, N], by what its inputs are like."""

    options: list[Option]
    groups: list[NDArray[np.intp]]
    energy: float
    """Expected squared sum of all outputs."""

    @classmethod
    def of(
        cls,
        weights: NDArray[np.floating],
        hessian: NDArray[np.float64],
        noise: float,
        max_shift: int,
        groups: int = 8,
    ) -> "LevelChooser":
        """Quantise weights [K, N] in every way of the menu.

        `noise` is about the share of the outputs' energy that errors will take; `hessian` and
        `max_shift` are those of `options`.
        """
        energy = output_error(weights, np.zeros_like(weights), hessian)
        total = float(energy.sum()) or 1.0
        price = noise * total * running_sum.ITEMS / max(np.count_nonzero(weights), 1)
        found = options(weights, hessian, np.ones(weights.shape[1]), price, max_shift)
        return cls(found, channel_groups(energy, groups), total)

    @property
    def fewest_words(self) -> int:
        """Of any choice."""
        return int(totals(self.options, self.groups)[1].min(axis=1).sum())

    def within(self, *, noise: float | None = None, words: float | None = None) -> Choice:
        """The fewest words within a share of noise, or the least noise within words.

        Raises:
            ValueError: there is no such choice.
        """
        loss, costs = totals(self.options, self.groups)
        return self._made(allocate(loss / self.energy, costs, most_loss=noise, most_words=words))

    def front(self, points: int = 9) -> list[Choice]:
        """Choices from the least noise to the fewest words, none of which another one beats."""
        loss, costs = totals(self.options, self.groups)
        return [self._made(choice) for choice in pareto(loss / self.energy, costs, points)]

    def _made(self, choice: NDArray[np.intp]) -> Choice:
        loss, costs = totals(self.options, self.groups)
        index = np.arange(len(choice))
        level_set, found = assemble(self.options, self.groups, choice.tolist())
        return Choice(
            level_set,
            found,
            float(loss[index, choice].sum() / self.energy),
            int(costs[index, choice].sum()),
        )


def noise_share(accuracy: float | str) -> float:
    """The share of noise that belongs to an accuracy: a cosine, or an SQNR as in "25dB".

    For errors that do not follow the outputs, cos² = 1 / (1 + noise).

    Raises:
        ValueError: neither of these.
    """
    text = str(accuracy).strip()
    try:
        if text.lower().endswith("db"):
            share = 10 ** (-float(text[:-2]) / 10)
        else:
            cosine = float(text)
            share = 1 / cosine**2 - 1 if 0 < cosine < 1 else 0.0
    except (ValueError, OverflowError):
        share = 0.0
    if not (np.isfinite(share) and share > 0):
        raise ValueError(f"accuracy must be a cosine below 1 or like 25dB, not '{accuracy}'")
    return share


def pareto(
    loss: NDArray[np.float64], words: NDArray[np.float64], points: int = 9
) -> list[NDArray[np.intp]]:
    """Choices from the least loss to the fewest words, none of which another one beats."""
    least, most = loss.min(axis=1).sum(), loss[np.arange(len(loss)), words.argmin(axis=1)].sum()
    found: list[NDArray[np.intp]] = []
    seen: list[tuple[float, float]] = []
    for limit in np.geomspace(max(least, most * 1e-6) * (1 + 1e-9), max(most, least), points):
        choice = allocate(loss, words, most_loss=float(limit) * (1 + 1e-9))
        index = np.arange(len(choice))
        place = float(loss[index, choice].sum()), float(words[index, choice].sum())
        if not seen or place[1] < seen[-1][1]:
            seen.append(place)
            found.append(choice)
    return found
