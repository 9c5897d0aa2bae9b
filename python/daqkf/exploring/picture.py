# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Draw a front: each other aim over the first one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daqkf.dialects.errors import from_extra
from daqkf.exploring.front import OBJECTIVES
from daqkf.exploring.trials import Trial
from daqkf.reports.figures import BLUE, GREY, STYLE, rendered

with from_extra("plot"):
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

_FAR = 20
"""An axis whose values differ by this factor is logarithmic."""


@dataclass(frozen=True)
class Picture:
    """What is drawn."""

    title: str
    objectives: Sequence[str]
    complete: list[Trial]
    front: list[Trial]


def figure(found: Picture) -> Figure:
    """The picture of an exploration; of one aim alone, over the numbers of the trials."""
    first, *others = found.objectives
    pairs = [(first, other) for other in others] or [("", first)]
    with rc_context(STYLE):
        picture = Figure(figsize=(4.2 * len(pairs) + 0.6, 4), layout="constrained")
        for axes, (x, y) in zip(
            picture.subplots(1, len(pairs), squeeze=False).flat, pairs, strict=True
        ):
            _draw(axes, found, x, y)
        picture.suptitle(found.title)
    return picture


def _draw(axes: Any, found: Picture, x: str, y: str) -> None:
    def at(trials: list[Trial], name: str) -> list[float]:
        return [trial.values[name] if name else trial.number for trial in trials]

    axes.scatter(at(found.complete, x), at(found.complete, y), s=12, color=GREY, label="tried")
    axes.scatter(at(found.front, x), at(found.front, y), s=22, color=BLUE, label="not dominated")
    for trial in found.front:
        place = tuple(at([trial], name)[0] for name in (x, y))
        axes.annotate(
            str(trial.number), place, xytext=(3, 3), textcoords="offset points", fontsize=7
        )
    for name, scale, label, axis in (
        (x, axes.set_xscale, axes.set_xlabel, axes.xaxis),
        (y, axes.set_yscale, axes.set_ylabel, axes.yaxis),
    ):
        values = at(found.complete, name)
        if name and min(values) > 0 and max(values) > _FAR * min(values):
            scale("log")
            axis.set_major_locator(LogLocator(subs=(1, 3)))
            axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        label(OBJECTIVES[name].label if name else "trial")
    axes.legend(loc="best", fontsize=7)


def rendered_as(found: Picture, kind: str) -> bytes:
    """The picture in a format, svg or png."""
    return rendered(figure(found), kind)
