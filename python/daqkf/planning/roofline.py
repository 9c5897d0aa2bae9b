# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Draw the roofline of a plan (Williams, Waterman and Patterson, 2009).

Products a second are bound by the lanes of the engines, and by the memory: products for each byte
that moves, times its bandwidth. The products are dense ones, zeros included, so both roofs are
those of this network's weights.
"""

import numpy as np

from daqkf.dialects.errors import from_extra
from daqkf.planning.plan import CAUSES, Plan
from daqkf.reports.figures import BLUE, GREY, ORANGE, STYLE, rendered

with from_extra("plot"):
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

_UNIT = 1e12
"""Products a second, in which they are drawn."""

KINDS = ("svg", "png")
"""The formats of a picture."""


def roofline(plan: Plan, kind: str) -> bytes:
    """The picture of a plan in a format of `KINDS`."""
    bandwidth = plan.memory.bandwidth
    intensity = plan.products * plan.pace.tokens / plan.pace.traffic
    ridge = plan.peak / bandwidth
    low, high = min(ridge, intensity) / 8, max(ridge, intensity) * 8
    x = np.geomspace(low, high, 200)
    with rc_context(STYLE):
        figure = Figure(figsize=(7, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.loglog(x, np.minimum(x * bandwidth, plan.peak) / _UNIT, color=BLUE)
        axes.plot([intensity], [plan.rate / _UNIT], "o", color=ORANGE)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_locator(NullLocator())
        axes.axvline(intensity, color=GREY, linewidth=0.7, linestyle=":")
        config = plan.config
        lanes = f"{plan.engines} × {config.pes} × {config.lanes} lanes"
        axes.annotate(
            f"{lanes}: at most {plan.peak / _UNIT:.3g}",
            (high, plan.peak / _UNIT),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
        )
        axes.annotate(
            f"{plan.memory.name}: {bandwidth / 1e9:.3g} GB/s",
            (low, low * bandwidth / _UNIT),
            xytext=(14, 2),
            textcoords="offset points",
        )
        axes.annotate(
            f"{plan.rate / _UNIT:.3g}: {plan.tokens_per_second:,.0f} tokens/s\n"
            f"most time: {CAUSES[plan.pace.binds]}",
            (intensity, plan.rate / _UNIT),
            xytext=(8, -8),
            textcoords="offset points",
            va="top",
        )
        axes.set_title(
            f"{plan.device.name} at {plan.clock / 1e6:g} MHz, {plan.pace.tokens} tokens in flight"
        )
        axes.set_xlabel("dense products for each byte of external memory")
        axes.set_ylabel("dense products, 10¹² a second")
    return rendered(figure, kind)
