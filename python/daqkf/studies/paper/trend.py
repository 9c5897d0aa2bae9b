# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How a figure depends on the share of zeros: ordinary least squares, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Trend:
    """A straight line through a figure by the share of zeros."""

    intercept: float
    slope: float
    intercept_error: float
    """Half of the interval that holds the intercept with a confidence of 95 %, by Student's t."""
    slope_error: float
    determination: float
    """R²."""
    p: float
    """Of the hypothesis that the slope is 0."""
    residuals: tuple[float, ...]


def trend(sparsities: Sequence[float], figures: Sequence[float]) -> Trend:
    """The line through at least three figures.

    Raises:
        ValueError: there are fewer, or all are of one share of zeros.
    """
    if len(sparsities) < 3 or len(set(sparsities)) < 2:
        raise ValueError("a line with intervals takes three figures or more, of different shares")
    from scipy.stats import linregress, t

    found: Any = linregress(sparsities, figures)
    quantile = float(t.ppf((1 + _CONFIDENCE) / 2, len(sparsities) - 2))
    lines = [found.intercept + found.slope * share for share in sparsities]
    residuals = [figure - line for figure, line in zip(figures, lines, strict=True)]
    return Trend(
        float(found.intercept),
        float(found.slope),
        quantile * float(found.intercept_stderr),
        quantile * float(found.stderr),
        float(found.rvalue) ** 2,
        float(found.pvalue),
        tuple(map(float, residuals)),
    )
