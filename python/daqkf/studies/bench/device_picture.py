# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Draw what devices do that are filled with engines of several kinds."""

from collections.abc import Sequence

from daqkf.dialects.errors import from_extra
from daqkf.reports.figures import BLUE, GREEN, GREY, ORANGE, STYLE, rendered
from daqkf.studies.bench.device import ARRAYS, BOTH, DENSE, OURS, SKIPPING, ULTRA, Filling

with from_extra("plot"):
    from matplotlib import rc_context
    from matplotlib.figure import Figure

_LINES = {
    DENSE: (GREY, "o"),
    SKIPPING: (GREEN, "s"),
    OURS: (BLUE, "o"),
    ULTRA: (ORANGE, "o"),
    BOTH: (ORANGE, "^"),
}
"""The colour and the marker of each array."""


def picture(rows: Sequence[Filling], clock: float, kind: str) -> bytes:
    """Dense products a cycle by the share of zeros, a panel for each device."""
    devices = list(dict.fromkeys(row.device.name for row in rows))
    with rc_context(STYLE):
        figure = Figure(figsize=(4.2 * len(devices), 3.8), layout="constrained")
        panels = figure.subplots(1, len(devices), squeeze=False)[0]
        for axes, device in zip(panels, devices, strict=True):
            for array in ARRAYS:
                own = [row for row in rows if (row.device.name, row.array) == (device, array)]
                own.sort(key=lambda row: row.sparsity)
                if own:
                    colour, marker = _LINES[array]
                    axes.plot(
                        [100 * row.sparsity for row in own],
                        [row.rate / 1e3 for row in own],
                        color=colour,
                        marker=marker,
                        linestyle="--" if array == BOTH else "-",
                        label=array,
                    )
            axes.set_title(f"{device}, {clock / 1e6:g} MHz for all")
            axes.set_xlabel("zeros of the weights, %")
            axes.set_ylim(bottom=0)
        panels[0].set_ylabel("dense products a cycle, thousands")
        panels[0].legend(fontsize="small")
    return rendered(figure, kind)
