# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Level sets fitted to weights: the one way from weights [K, N] to integer levels and scales.

Real levels come first, by Lloyd-Max iteration (`lloyd_max`) or as the exact optimum
(`optimal_levels`). Integer codes come from them by shortest paths (`code_paths`): for a scale,
the best codes are found exactly; several scales are tried, and the best is fitted to its codes
and tried again.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.spaq import LevelSet
from daqkf.passes.encode import running_sum
from daqkf.passes.quantize import lloyd_max
from daqkf.passes.quantize.code_paths import Paths
from daqkf.passes.quantize.columns import Columns, Floats, Ints
from daqkf.passes.quantize.lloyd_max import Assignment
from daqkf.passes.quantize.optimal_levels import optimal_levels, optimal_step

METHODS = ("lloyd-max", "optimal")

_WHOLE = 2.0**-13
"""How far a multiple of up to 127 may be from an integer: float32 rounds it, and the step, by less
than 127·2^-23."""

_TELLING = 16
"""Rows that are looked at first."""

_BLOCK = 1 << 17
"""Weights that are fitted at a time; their sorted keys stay in a core's cache."""

_COARSE = 31
"""Grids up to this code are searched with all scales; finer ones from what a coarse one gave."""

_COARSER_SCALES = 8
"""Scales that are tried beside that of the least error when cycles count."""

_REFINEMENTS = 1
"""Times that the scale is fitted to the codes, and the codes to the scale again."""


@dataclass(frozen=True)
class Fit:
    """Integer levels of weights [K, N]: weight ≈ levels · scales."""

    levels: NDArray[np.int8]
    """[K, N], signed."""
    scales: NDArray[np.float64]
    """[N], above zero; 1 for a channel whose weights are all zero."""
    magnitudes: NDArray[np.int64]
    """[L, N] the magnitudes that a channel's levels may have, ascending, from 1 to 127; the
    largest is repeated where a channel has fewer."""
    history: NDArray[np.float64]
    """[iterations, N] squared error, weighted by importance, after each iteration and before
    rounding to integers; one row where the method does not iterate."""

    def error(
        self, weights: NDArray[Any], importance: NDArray[Any] | None = None
    ) -> NDArray[np.float64]:
        """Squared error of each channel [N], weighted by `importance` [K] or [K, N] if given."""
        squared = (weights - self.levels * self.scales) ** 2
        if importance is not None:
            squared *= importance if importance.ndim == 2 else importance[:, np.newaxis]
        return squared.sum(axis=0)


def fit(
    weights: NDArray[Any],
    level_set: LevelSet,
    *,
    importance: NDArray[Any] | None = None,
    method: str = "lloyd-max",
    cycles_weight: float = 0.0,
    max_shift: int = 3,
) -> Fit:
    """Fit a level set to each output channel of weights [K, N], float.

    Minimises Σ importance·(weight - level·scale)², with exact zeros kept.

    Args:
        weights: finite. A channel may be empty, constant, denormal.
        level_set: what levels a channel may have.
        importance: weights of the squared error, [K] or [K, N], not negative: for example the
            diagonal of a Hessian. The weights of a channel whose importance is all zero are
            equally important.
        method: `lloyd-max`, or `optimal` for the exact optimum of the real-valued levels, which
            takes longer.
        cycles_weight: minimise error + cycles_weight · (E/C) · cycles instead, where E and C are
            the error and the stream words of the whole matrix as fitted without it. So at 1.0,
            one per cent of the cycles is worth one per cent of the error.
        max_shift: of the array whose cycles are counted: it takes steps of up to 2^max_shift.

    Raises:
        ValueError: a weight that is not finite or an importance that is not finite or below
            zero, with its place; shapes that do not fit; an unknown method; a `cycles_weight`
            below zero or a `max_shift` outside 0..7.
    """
    weights = np.asarray(weights)
    _require_finite("weight", weights)
    if method not in METHODS:
        raise ValueError(f"unknown method '{method}' (known: {', '.join(METHODS)})")
    if not (np.isfinite(cycles_weight) and cycles_weight >= 0):
        raise ValueError(f"the weight of cycles must be 0 or above, not {cycles_weight:g}")
    if not 0 <= max_shift <= 7:
        raise ValueError(f"max_shift must be 0..7, not {max_shift}")
    if importance is not None:
        importance = _importance(np.asarray(importance), weights.shape)
    step = max(1, _BLOCK // len(weights))
    blocks: list[_Block] = []
    for start in range(0, weights.shape[1], step):
        part = slice(start, start + step)
        share = None if importance is None else importance[:, part]
        blocks.append(_Block.plain(weights[:, part], share, level_set, method))
    found = _joined([block.finish(level_set) for block in blocks])
    if cycles_weight == 0 or level_set.kind == "binary":
        return found
    error = found.error(weights, importance).sum()
    word = cycles_weight * error / running_sum.cost(found.levels, max_shift).sum()
    blocks = [block.priced(level_set, word, max_shift) for block in blocks]
    return _joined([block.finish(level_set) for block in blocks])


def fit_exact(weights: NDArray[Any], level_set: LevelSet) -> Fit:
    """Weights [K, N] that are integer levels already, with a scale of 1.

    Raises:
        ValueError: a weight that is no integer or beyond the set's maximum, or a channel with
            more magnitudes than the set has.
    """
    weights = np.asarray(weights)
    maximum = level_set.maximum
    bad = np.argwhere(~((weights == np.rint(weights)) & (np.abs(weights) <= maximum)))
    if len(bad):
        k, n = bad[0]
        raise ValueError(f"weight [{k}, {n}] is {weights[k, n]:g}, not a level within ±{maximum}")
    ascending = np.sort(np.abs(weights), axis=0).astype(np.int64)
    fresh = np.diff(ascending, axis=0, prepend=0) != 0
    distinct = fresh.sum(axis=0)
    if distinct.max() > level_set.magnitudes:
        raise ValueError(
            f"channel {int(distinct.argmax())} has {distinct.max()} magnitudes, more than the "
            f"{level_set.magnitudes} of its level set"
        )
    channels = weights.shape[1]
    codes = np.zeros((level_set.magnitudes + len(weights), channels), np.int64)
    codes[level_set.magnitudes :] = np.where(fresh, ascending, 0)
    codes = _available(np.sort(codes, axis=0)[-level_set.magnitudes :])
    return Fit(weights.astype(np.int8), np.ones(channels), codes, np.zeros((1, channels)))


def own_fit(weights: NDArray[Any], level_set: LevelSet) -> Fit | None:
    """The fit without errors of weights [K, N] that are levels times a scale for each channel.

    None, if a channel's are not multiples of a step, or need other levels than the set has. The
    step is the coarsest that there is, so that levels have no common factor.
    """
    levels = own_levels(weights, level_set.maximum)
    known = levels.any(axis=0)
    if (np.asarray(weights)[:, ~known] != 0).any():
        return None
    try:
        found = fit_exact(levels, level_set)
    except ValueError:
        return None
    if level_set.kind != "codebook":
        codes = np.arange(1, level_set.magnitudes + 1)[:, np.newaxis]
        found = replace(found, magnitudes=np.repeat(codes, levels.shape[1], axis=1))
    return replace(found, scales=_own_scales(levels, weights))


def _own_scales(levels: NDArray[np.int8], weights: NDArray[Any]) -> Floats:
    """The scales [N] with which levels are nearest to weights; 1 for channels without any."""
    known = levels.any(axis=0)
    squares = (levels.astype(np.float64) ** 2).sum(axis=0)
    products = (levels * weights.astype(np.float64)).sum(axis=0)
    return np.where(known, products, 1) / np.where(known, squares, 1)


def with_own_levels(fitted: Fit, weights: NDArray[Any], level_set: LevelSet) -> Fit:
    """A fit in which channels of weights [K, N] that are multiples of a step have those levels.

    The step is the coarsest that there is, so that levels have no common factor. Level sets of
    kinds other than `uniform` and `ternary` stay as they are fitted.
    """
    if level_set.kind not in ("uniform", "ternary"):
        return fitted
    levels = own_levels(weights, level_set.maximum)
    known = levels.any(axis=0)
    return replace(
        fitted,
        levels=np.where(known, levels, fitted.levels).astype(np.int8),
        scales=np.where(known, _own_scales(levels, weights), fitted.scales),
    )


def own_levels(weights: NDArray[Any], maximum: int) -> NDArray[np.int8]:
    """[K, N] the integers up to `maximum` that a channel's weights are multiples of a step by.

    Zeros for channels that have no such step, or no weights but zeros.
    """
    exact = np.asarray(weights, np.float64)
    largest = np.abs(exact).max(axis=0)
    levels = np.zeros(exact.shape, np.int8)
    left = np.flatnonzero(largest)
    for most in range(1, maximum + 1):
        # Few channels are multiples of a wrong step, and a few rows tell most of them.
        steps = largest[left] / most
        near = _are_whole(exact[:_TELLING, left] / steps)
        left_near = left[near]
        multiples = exact[:, left_near] / (largest[left_near] / most)
        found = left_near[_are_whole(multiples)]
        levels[:, found] = np.rint(exact[:, found] / (largest[found] / most))
        left = left[~np.isin(left, found)]
        if not len(left):
            break
    return levels


def _are_whole(multiples: Floats) -> NDArray[np.bool_]:
    """Whether all numbers of a channel [N] are integers, but for float32's rounding."""
    return (np.abs(multiples - np.rint(multiples)) <= _WHOLE).all(axis=0)


@dataclass(frozen=True)
class _Block:
    """Some channels, and integer codes for them. Scales and errors are in the columns' units."""

    weights: NDArray[Any]
    """[K, N]."""
    columns: Columns
    codes: Ints
    """[L, N] ascending, 0 or repeated where a channel has fewer."""
    scales: Floats
    """[N]."""
    history: Floats
    """[iterations, N]."""
    all_available: bool = True
    """Whether a channel may use codes that none of its weights is nearest to."""

    @classmethod
    def plain(
        cls,
        weights: NDArray[Any],
        importance: NDArray[Any] | None,
        level_set: LevelSet,
        method: str,
    ) -> Self:
        """The fit that minimises errors alone."""
        columns = Columns.sort(weights, importance)
        if level_set.kind == "binary":
            scales, errors = columns.mean()
            codes = np.ones((1, len(scales)), np.int64)
            return cls(weights, columns, codes, scales, errors[np.newaxis])
        if method == "optimal":
            step, errors = optimal_step(columns, level_set.magnitudes)
            history = errors[np.newaxis]
        else:
            step, history = lloyd_max.fit_step(columns, level_set.magnitudes)
        if level_set.kind != "codebook":
            codes = np.arange(1, level_set.magnitudes + 1)[:, np.newaxis]
            codes = np.repeat(codes, len(step), axis=1)
            return cls(weights, columns, codes, step, history)
        codes, scales = _search(columns, level_set, step)
        if method == "optimal":
            _, errors = optimal_levels(columns, level_set.magnitudes)
            history = errors[np.newaxis]
        else:
            start = columns.or_all_values(codes * scales)
            _, history = lloyd_max.fit_levels(columns, start)
        return cls(weights, columns, codes, scales, history, all_available=False)

    def priced(self, level_set: LevelSet, word: float, max_shift: int) -> Self:
        """The fit that minimises errors plus `word` for each word, from here."""
        limit, maximum = level_set.magnitudes, level_set.maximum
        reach = np.maximum(self.codes[-1], 1) * self.scales
        # Coarser scales have smaller gaps between their codes, and leave more weights at zero.
        tops = np.geomspace(maximum, max(limit / 2, 1), _COARSER_SCALES)
        candidates = [self.scales, *(reach / top for top in tops)]
        price = self.columns.in_own_units(word)
        search = _Search(self.columns, maximum, limit, price, max_shift)
        codes, scales = search.refined(search.best_of(candidates)[0])
        return replace(self, codes=codes, scales=scales, all_available=False)

    def finish(self, level_set: LevelSet) -> Fit:
        """Give every weight its level."""
        columns, exponent = self.columns, self.columns.exponent
        levels = np.sign(self.weights).astype(np.int8)
        codes, scales = self.codes, self.scales
        if level_set.kind != "binary":
            assignment = Assignment.nearest(columns, codes, self.scales)
            used = np.sort(np.where(assignment.used(columns), codes, 0), axis=0)
            # Levels 14 and 7 are 2 and 1 at seven times the scale, and cost fewer steps.
            common = np.maximum(np.gcd.reduce(used, axis=0), 1)
            levels *= _nearest(self.weights, exponent, self.scales, used) // common.astype(np.int8)
            scales = assignment.best_scales(self.scales) * common
            codes = codes if self.all_available else used // common
        with np.errstate(under="ignore"):
            scales = np.maximum(np.ldexp(scales, exponent), np.finfo(np.float64).smallest_subnormal)
        scales = np.where(columns.largest > 0, scales, 1.0)
        history = columns.in_units_of_weights(self.history)
        return Fit(levels, scales, _available(codes), history)


def _search(columns: Columns, level_set: LevelSet, step: Floats) -> tuple[Ints, Floats]:
    """Codes [L, N] and scales [N] of a codebook with the least error, at most that of `step`."""
    limit, maximum = level_set.magnitudes, level_set.maximum
    coarse = min(maximum, max(2 * limit + 1, _COARSE))
    reach = np.where(columns.largest > 0, columns.largest, 1.0) / coarse
    shares = np.geomspace(1.6, 0.4, 6)
    between = np.sqrt(shares[:-1] / shares[1:]).mean()
    search = _Search(columns, coarse, limit)
    best = search.best_of([step, *(reach * share for share in shares)])
    codes, scales = search.refined(search.best_of([best[0] * between, best[0] / between], best)[0])
    if coarse == maximum:
        return codes, scales
    finer = np.maximum(codes[-1], 1) * scales / maximum
    search = _Search(columns, maximum, limit)
    return search.refined(search.best_of([scales, finer, 1.07 * finer])[0])


@dataclass(frozen=True)
class _Search:
    """Looks for the scales [N] whose best codes cost least."""

    columns: Columns
    maximum: int
    limit: int
    word: Floats | float = 0.0
    max_shift: int = 0

    def paths(self, scales: Floats) -> Paths:
        """The best codes for given scales."""
        return Paths.search(
            self.columns, scales, self.maximum, self.limit, self.word, self.max_shift
        )

    def best_of(
        self, candidates: list[Floats], known: tuple[Floats, Floats] | None = None
    ) -> tuple[Floats, Floats]:
        """The best of some scales for each channel, the first of equal ones, and its cost.

        `known` are scales with their cost, of another call.
        """
        best, least = known or (candidates[0], np.full(len(candidates[0]), np.inf))
        for scales in candidates:
            cost = self.paths(scales).best()
            best = np.where(cost < least, scales, best)
            least = np.minimum(cost, least)
        return best, least

    def refined(self, scales: Floats) -> tuple[Ints, Floats]:
        """Codes [L, N] and scales: the scales fitted to the best codes, and those to them."""
        codes = self.paths(scales).codes()
        for _ in range(_REFINEMENTS):
            scales = Assignment.nearest(self.columns, codes, scales).best_scales(scales)
            codes = self.paths(scales).codes()
        return codes, scales


def _nearest(
    weights: NDArray[Any], exponent: NDArray[Any], scales: Floats, codes: Ints
) -> NDArray[np.int8]:
    """[K, N] the nearest to each |weight| of 0 and its channel's codes [L, N] times the scale."""
    maximum, channels = int(codes.max(initial=0)), np.arange(len(scales))
    below = np.concatenate([np.zeros_like(codes[:1]), codes[:-1]])
    # A table from half steps of the scale, on which the thresholds lie, to codes.
    table = np.zeros((2 * maximum + 1, len(scales)), np.int8)
    table[below + codes, channels] = codes
    np.maximum.accumulate(table, axis=0, out=table)
    halves = np.ldexp(np.abs(weights.astype(np.float64)), -exponent) * (2 / scales)
    index = np.minimum(halves, 2 * maximum).astype(np.int64)
    return table.reshape(-1)[index * len(scales) + channels]


def _available(codes: Ints) -> NDArray[np.int64]:
    """Ascending codes [L, N], with the largest in place of what is 0; 1 where all are."""
    largest = np.maximum(codes.max(axis=0), 1)
    return np.sort(np.where(codes > 0, codes, largest), axis=0)


def _joined(fits: list[Fit]) -> Fit:
    length = max(len(fit.history) for fit in fits)
    return Fit(
        np.concatenate([fit.levels for fit in fits], axis=1),
        np.concatenate([fit.scales for fit in fits]),
        np.concatenate([fit.magnitudes for fit in fits], axis=1),
        np.concatenate([lloyd_max.padded(fit.history, length) for fit in fits], axis=1),
    )


def _require_finite(name: str, values: NDArray[Any]) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        place = ", ".join(str(index) for index in bad[0])
        raise ValueError(f"{name} [{place}] is {values[tuple(bad[0])]:g}, not a finite number")


def _importance(importance: NDArray[Any], shape: tuple[int, ...]) -> Floats:
    """The importance as [K, N]."""
    if importance.shape not in (shape, shape[:1]):
        raise ValueError(
            f"importance must have the shape [{shape[0]}] or [{shape[0]}, {shape[1]}], "
            f"not {list(importance.shape)}"
        )
    _require_finite("importance", importance)
    bad = np.argwhere(importance < 0)
    if len(bad):
        place = ", ".join(str(index) for index in bad[0])
        raise ValueError(f"importance [{place}] is {importance[tuple(bad[0])]:g}, below zero")
    if importance.ndim == 1:
        importance = importance[:, np.newaxis]
    return np.broadcast_to(importance.astype(np.float64), shape)
