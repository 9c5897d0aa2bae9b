# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Draw how far pruned and rounded language models are from the dense one."""

from collections.abc import Mapping, Sequence
from typing import Any

from daqkf.dialects.errors import from_extra
from daqkf.reports.figures import BLUE, GREEN, GREY, ORANGE, STYLE, rendered

with from_extra("plot"):
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

_LINES = ((BLUE, "o"), (GREEN, "s"), (ORANGE, "^"), (GREY, "d"))


def picture(rows: Sequence[Mapping[str, Any]], kind: str) -> bytes:
    """The KL to the dense model by the share of zeros, a line for each way to make them.

    Args:
        rows: of the table of `daqkf eval` that have a `kl`; their `way` names the line.
        kind: "svg" or "png".
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = figure.subplots()
        ways = dict.fromkeys(row["way"] for row in rows)
        for way, (colour, marker) in zip(ways, _LINES, strict=False):
            own = sorted((row for row in rows if row["way"] == way), key=lambda row: row["zeros"])
            axes.plot(
                [100 * row["zeros"] for row in own],
                [row["kl"] for row in own],
                color=colour,
                marker=marker,
                label=way,
            )
        axes.set_yscale("log")
        # Numbers as they are, since names of models may have what would be formulas.
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_xlabel("zeros of the weights, %")
        axes.set_ylabel("KL to the dense model, nats a token")
        axes.legend(fontsize="small", loc="lower right")
    return rendered(figure, kind)
