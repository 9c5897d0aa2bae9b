# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Where the parts of a chart stand, in the units of its SVG: ticks, lines, columns and spans.

A chart is 400 units wide, so that its letters are readable on a phone, where a unit is a pixel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daqkf.reports.pages.blocks import Chart, Columns, Lane, Timeline

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 10, 46
"""Margins around the axes."""

_POINTS = 600
"""Of a line at most: more cannot be seen."""

_MARKED = 40
"""Values of a line that are marked, at most."""

_TICK, _CLOSE = 5, 1e-9


@dataclass(frozen=True)
class Axis:
    """From numbers to places."""

    low: float
    high: float
    first: float
    last: float
    """Where `low` and `high` are."""
    log: bool = False

    @classmethod
    def over(cls, values: Sequence[float], first: float, last: float, log: bool = False) -> "Axis":
        """An axis that has all values; one that is not logarithmic and near zero begins there."""
        found = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
        low, high = min(found, default=0.0 + log), max(found, default=1.0 + log)
        if log:
            return cls(low / 1.5, high * 1.5, first, last, True)
        if 0 < low < 0.6 * high:
            low = 0.0
        if high - low < _CLOSE * max(abs(high), 1):
            low, high = low - 0.5, high + 0.5
        return cls(low, high + 0.04 * (high - low), first, last)

    def at(self, values: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """The places of values."""
        low, high, found = self.low, self.high, np.asarray(values, np.float64)
        if self.log:
            low, high, found = math.log(low), math.log(high), np.log(np.maximum(found, 1e-300))
        return self.first + (found - low) / (high - low) * (self.last - self.first)

    def ticks(self) -> list[tuple[float, str]]:
        """Places of round numbers, and the numbers."""
        values = _decades(self.low, self.high) if self.log else _round(self.low, self.high)
        texts = next(
            (
                found
                for digits in (3, 4, 5)
                if len(set(found := _texts(values, digits))) == len(values)
            ),
            _texts(values, 6),
        )
        places = [round(float(self.at(value)), 1) for value in values]
        return list(zip(places, texts, strict=True))


def _texts(values: Sequence[float], digits: int) -> list[str]:
    return [number(value, digits) for value in values]


def number(value: float, digits: int = 3) -> str:
    """A number in few letters, of so many digits: 1.2 M for 1,200,000."""
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == ' k' else size):.{digits}g}{unit}"
    if value and abs(value) < 1e-3:
        return f"{value:.0e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _round(low: float, high: float) -> list[float]:
    step = 10 ** math.floor(math.log10((high - low) / _TICK))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= _TICK + 1)
    first = math.ceil(low / step - _CLOSE)
    return [place * step for place in range(first, math.floor(high / step + _CLOSE) + 1)]


def _decades(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = -(-len(powers) // (_TICK + 1))
    factors = (1, 2, 5) if len(powers) <= 4 else (1,)
    found = [factor * 10.0**power for power in powers[::every] for factor in factors]
    return [value for value in found if low <= value <= high]


@dataclass(frozen=True)
class Drawn:
    """A line or points."""

    label: str
    style: int
    """Which colour, dash and mark."""
    path: str
    marks: Sequence[tuple[float, float, str]]
    """Places, and what is said of them."""


@dataclass(frozen=True)
class Plane:
    """A chart whose parts have places."""

    x: Axis
    y: Axis
    lines: Sequence[Drawn]


def plane(chart: Chart) -> Plane:
    """The places of a chart's parts."""
    xs = [float(value) for series in chart.series for value in series.x]
    ys = [float(value) for series in chart.series for value in series.y]
    x = Axis.over(xs, LEFT, WIDTH - RIGHT, chart.log)
    if not chart.log and xs:
        margin = 0.02 * (max(xs) - min(xs)) or 0.5
        x = Axis(min(xs) - margin, max(xs) + margin, LEFT, WIDTH - RIGHT)
    y = Axis.over(ys, HEIGHT - BOTTOM, TOP, chart.log)
    lines: list[Drawn] = []
    for style, series in enumerate(chart.series):
        keep = thinned(len(series.x), _POINTS)
        own, values = np.array(series.x, float)[keep], np.array(series.y, float)[keep]
        places = np.stack([x.at(own), y.at(values)], 1).round(1)
        path = "" if series.points else _path(places, series.steps)
        said = [
            f"{series.label}: {number(a)}, {number(b)}" for a, b in zip(own, values, strict=True)
        ]
        few = series.marks and not series.steps and len(places) <= _MARKED
        marked = series.points or few
        marks = [(a, b, text) for (a, b), text in zip(places.tolist(), said, strict=True)]
        lines.append(Drawn(series.label, style % 6, path, marks if marked else ()))
    return Plane(x, y, lines)


def thinned(count: int, most: int) -> NDArray[np.int64]:
    """Evenly spread places, of so many at most; the first and the last one are among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _path(places: NDArray[np.float64], steps: bool) -> str:
    if not len(places):
        return ""
    (x, y), *others = places.tolist()
    parts = [f"M{x:g},{y:g}"]
    parts += [f"H{x:g}V{y:g}" if steps else f"L{x:g},{y:g}" for x, y in others]
    return "".join(parts)


@dataclass(frozen=True)
class Bar:
    """A rectangle, and what is said of it."""

    x: float
    y: float
    width: float
    height: float
    text: str
    style: int = 0


def bars(columns: Columns) -> tuple[Axis, Axis, list[Bar]]:
    """The axes and the places of a histogram's columns."""
    values, counts = np.array(columns.values, float), np.array(columns.counts, float)
    step = float(np.diff(values).min()) if len(values) > 1 else 1.0
    x = Axis(float(values[0]) - step, float(values[-1]) + step, LEFT, WIDTH - RIGHT)
    y = Axis(0.0, max(1.04 * float(counts.max()), 1e-9), HEIGHT - BOTTOM, TOP)
    lefts, rights, tops = (
        places.round(2).tolist()
        for places in (x.at(values - 0.42 * step), x.at(values + 0.42 * step), y.at(counts))
    )
    return (
        x,
        y,
        [
            Bar(left, top, right - left, y.first - top, f"{number(value)}: {number(count)}")
            for value, count, left, right, top in zip(
                values.tolist(), counts.tolist(), lefts, rights, tops, strict=True
            )
        ],
    )


ROW = 34
"""The height of a row of a timeline, its label above it."""


def spans(timeline: Timeline) -> tuple[Axis, list[tuple[Lane, float, list[Bar]]], float]:
    """The axis of a timeline, each row with its height and rectangles, and the height of all."""
    end = max((stop for lane in timeline.lanes for _, stop, _ in lane.spans), default=1.0)
    axis = Axis(0.0, end or 1.0, 8, WIDTH - RIGHT)
    rows: list[tuple[Lane, float, list[Bar]]] = []
    for number_, lane in enumerate(timeline.lanes):
        top = 4 + ROW * number_
        own = [
            Bar(
                round(float(axis.at(start)), 2),
                top + 15,
                round(max(float(axis.at(stop) - axis.at(start)), 0.5), 2),
                13,
                text,
                place % 2,
            )
            for place, (start, stop, text) in enumerate(lane.spans)
        ]
        rows.append((lane, top + 11, own))
    return axis, rows, 4 + ROW * len(timeline.lanes) + 4
