# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Ranges of activations: what to clip, and which features need more than one int8 column."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.functions import RECTIFIERS
from daqkf.hw_targets.numerics import ACTIVATION_MAX, dequantize, quantize, split_ranks
from daqkf.passes.encode.grouping import ranks
from daqkf.passes.quantize.quantization import symmetric_scale

_SHARES = np.linspace(1.0, 0.2, 41)
"""Clipping ranges to try, as shares of the largest magnitude."""

_FLOOR = 1 / ACTIVATION_MAX
"""A feature's range is at least this share of the largest one: one step of a common scale.
Below, the samples say nothing that would be worth a finer scale."""


HEADROOM = 1.1
"""What a channel's own scale reaches, as a multiple of its range: one channel is seen less
often at its limits than all of them. `benchmarks/activations.py` shows what it brings."""


WIDE_HEADROOM = 4.0
"""What the scale of a wide result reaches, as a multiple of its range. Even so, a step is 70 times
finer than one of int8; so nothing has to be clipped, and only what is four times beyond all
calibration data saturates."""


def absmax_ranges(samples: NDArray[Any], per_feature: bool = True) -> NDArray[np.float64]:
    """The largest |x| of samples [T, K], of each feature [K] or of all [1].

    Features that are tiny beside the others, or zero, get a small share of the largest range;
    if all are zero, 1.
    """
    absmax = np.abs(samples).max(axis=0).astype(np.float64)
    return _lifted(absmax if per_feature else absmax.max(keepdims=True))


def clipped_ranges(samples: NDArray[Any], per_feature: bool = True) -> NDArray[np.float64]:
    """The range [K] or [1] at which int8 has the least squared error on samples [T, K].

    Rounding errors shrink with the range, clipping errors grow: the best of a set of shares of
    the largest |x| (as in Banner et al., NeurIPS 2019, but searched on the samples).
    """
    columns = np.asarray(samples, np.float64)
    if not per_feature:
        columns = columns.reshape(-1, 1)
    absmax = absmax_ranges(columns)
    best, error = absmax, np.full(absmax.shape, np.inf)
    for share in _SHARES:
        scale = absmax * share / ACTIVATION_MAX
        through = dequantize(quantize(columns, scale), scale)
        candidate = ((through - columns) ** 2).sum(axis=0)
        best = np.where(candidate < error, absmax * share, best)
        error = np.minimum(candidate, error)
    return _lifted(best)


def pooled_ranges(samples: NDArray[Any], per_feature: bool = True) -> NDArray[np.float64]:
    """The largest |x| that each feature [K], or all [1], may have by what all features have.

    A few hundred samples seldom show how far a feature goes. So the reach with the least squared
    error of int8 is looked for over all features together, each less its mean and over its
    deviation. A feature has the range that this makes for it, or its own if that is larger;
    `HEADROOM` comes on top of either.
    """
    own = absmax_ranges(samples, per_feature)
    if not per_feature:
        return own
    columns = np.asarray(samples, np.float64)
    mean, deviation = columns.mean(axis=0), columns.std(axis=0)
    varying = deviation > deviation.max() * _FLOOR
    if not varying.any():
        return own
    pool = (columns[:, varying] - mean[varying]) / deviation[varying]
    (reach,) = clipped_ranges(pool, per_feature=False)
    return np.maximum(own, np.abs(mean) + reach * deviation / HEADROOM)


def _lifted(ranges: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = ranges.max()
    return np.maximum(ranges, largest * _FLOOR) if largest > 0 else np.ones_like(ranges)


def extra_columns(features: int, budget: float) -> int:
    """The count of extra columns that a budget allows, a share of the features.

    Raises:
        ValueError: a budget outside 0 ≤ budget < 1.
    """
    if not 0 <= budget < 1:
        raise ValueError(f"split must be 0 <= split < 1, not {budget}")
    return int(np.floor(features * budget + 1e-9))


def split_outliers(
    ranges: NDArray[np.float64], extra: int, least: float = 0.0
) -> tuple[float, NDArray[np.int32]]:
    """The smallest reach with which at most `extra` more columns cover ranges [K].

    A feature takes ceil(range / reach) columns (outlier channel splitting, Zhao et al., ICML
    2019). The reach is the (extra + 1)-th largest of all range / m, m = 1, 2 …: as in the
    divisor method of apportionment, each extra column goes to the feature whose columns reach
    least far. It is not below `least`, which must be at most the largest range.

    Returns the reach, and the feature of each extra column, ascending.
    """
    # No reach can be below this, or the columns would not add up to the ranges.
    bound = ranges.sum() / (len(ranges) + extra)
    counts = np.ceil(ranges / bound).astype(np.int64)
    feature = np.repeat(np.arange(len(ranges)), counts)
    reaches = ranges[feature] / (ranks(counts) + 1)
    place = len(reaches) - 1 - extra
    reach = max(float(np.partition(reaches, place)[place]), least)
    return reach, feature[reaches > reach].astype(np.int32)


@dataclass(frozen=True)
class Columns:
    """The int8 columns of a tensor with K features: one each, and then the extra ones."""

    scale: float | NDArray[np.float64]
    """What one step is worth, of all columns or [K] of each feature's."""
    split: NDArray[np.int32]
    """[E] the feature of each extra column, ascending."""

    @classmethod
    def plain(cls, ranges: float | NDArray[np.float64]) -> "Columns":
        """One column for each feature; a range for all or [K] for each."""
        return cls(symmetric_scale(ranges), np.empty(0, np.int32))

    @classmethod
    def wide(cls, ranges: float | NDArray[np.float64]) -> "Columns":
        """The same of wide results, with `WIDE_HEADROOM`."""
        step = WIDE_HEADROOM / np.iinfo(np.int16).max
        return cls(ranges * step, np.empty(0, np.int32))

    @classmethod
    def of(cls, ranges: NDArray[np.float64], budget: float, least: float = 0.0) -> "Columns":
        """A common scale, and extra columns within a budget for the largest of ranges [K].

        Raises:
            ValueError: the budget is no share.
        """
        reach, split = split_outliers(ranges, extra_columns(len(ranges), budget), least)
        return cls(symmetric_scale(reach), split)

    @classmethod
    def single(cls, ranges: NDArray[np.float64], budget: float) -> "Columns":
        """One column for each feature of ranges [K], whose scale is m times the common one where
        there would be m columns.

        Raises:
            ValueError: the budget is no share.
        """
        columns = cls.of(ranges, budget)
        counts = 1 + np.bincount(columns.split, minlength=len(ranges)).astype(np.float64)
        return cls(counts * float(columns.scale), np.empty(0, np.int32))

    def shift(self, values: NDArray[Any], step: NDArray[Any] | float) -> NDArray[Any]:
        """`values` […, N] of each column […, N + E], less what the columns before it hold.

        One step of a column is worth `step`, of all or [N] of each feature.
        """
        held = np.concatenate([np.zeros(values.shape[-1]), split_ranks(self.split)])
        steps = self.repeat(np.broadcast_to(step, values.shape[-1]))
        return self.repeat(values, axis=-1) - held * ACTIVATION_MAX * steps

    def repeat(self, array: NDArray[Any], axis: int = 0) -> NDArray[Any]:
        """`array` with the entries of the split features once more behind all others."""
        return np.concatenate([array, array.take(self.split, axis)], axis)

    def quantize(self, x: NDArray[Any]) -> NDArray[np.int8]:
        """[T, K] → [T, K + E]."""
        return quantize(x, self.scale, self.split)

    def dequantize(self, q: NDArray[np.int8]) -> NDArray[np.float32]:
        """[T, K + E] → [T, K]."""
        return dequantize(q, self.scale, self.split)


def table_columns(
    function: str,
    sums: float | NDArray[np.float64],
    results: NDArray[np.float64],
    budget: float,
) -> tuple[float, Columns]:
    """The scale of the sums before a function's table, and the columns behind it; ranges [N].

    For a rectifier, sums below the range of its results need not be told apart. A channel
    beyond the common range gets more outputs through the same table, each beginning where the
    one before ends: above, the function is the identity, and below, zero. So sums and results
    must have the same scale then, and a range from which on that holds.

    Raises:
        ValueError: the budget is no share.
    """
    extra_columns(len(results), budget)
    sum_range, reach = float(np.max(sums)), float(results.max())
    least = RECTIFIERS.get(function, np.inf)
    if reach < least:
        return symmetric_scale(sum_range), Columns.plain(reach)
    output = Columns.of(results, budget, least)
    if len(output.split):
        assert isinstance(output.scale, float)
        return output.scale, output
    return symmetric_scale(min(sum_range, reach)), output
