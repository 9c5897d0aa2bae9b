# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Draw how fast language models decode on devices."""

from collections.abc import Sequence

from daqkf.dialects.errors import from_extra
from daqkf.reports.figures import BLUE, GREEN, GREY, ORANGE, STYLE, rendered
from daqkf.studies.bench.language_speed import BOUNDS, DENSE, OURS, Speed

with from_extra("plot"):
    from matplotlib import rc_context
    from matplotlib.figure import Figure

_COLOURS = (BLUE, GREEN, ORANGE)
"""Of ours, by their zeros and magnitudes."""


def picture(rows: Sequence[Speed], kind: str) -> bytes:
    """Tokens a second by the array, a panel for each model on each device."""
    models = list(dict.fromkeys(row.model for row in rows))
    devices = list(dict.fromkeys(row.device for row in rows))
    with rc_context(STYLE):
        size = 3.4 * len(devices), 2.6 * len(models)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(models), len(devices), squeeze=False)
        for model, line in zip(models, panels, strict=True):
            for device, axes in zip(devices, line, strict=True):
                own = [row for row in rows if (row.model, row.device) == (model, device)]
                rates = [row.decode_rate for row in own]
                drawn = axes.barh([_label(row) for row in own], rates, color=_colours(own))
                texts = [f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}" for rate in rates]
                axes.bar_label(drawn, texts, padding=2)
                axes.set_xlim(0, 1.25 * max(rates))
                axes.set_title(f"{model}, {device}")
                axes.set_xlabel("tokens a second")
    return rendered(figure, kind)


def _label(row: Speed) -> str:
    if row.array == OURS:
        return f"{row.sparsity:.0%} zeros, {row.magnitudes} magnitudes"
    if row.array == DENSE:
        return "dense, 8 bits"
    return f"bound, {BOUNDS[row.array]} bits"


def _colours(rows: Sequence[Speed]) -> list[str]:
    """Grey for others, and for ours one after another."""
    ours = [row for row in rows if row.array == OURS]
    return [
        _COLOURS[ours.index(row) % len(_COLOURS)] if row.array == OURS else GREY for row in rows
    ]
