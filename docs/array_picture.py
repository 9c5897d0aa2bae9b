# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The picture of the array in docs/README.md: what a word, an item, a lane and a tile are.

python docs/array_picture.py    # writes docs/array.svg
"""

import io
import sys
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

PICTURE = Path(__file__).with_name("array.svg")

ELEMENTS, LANES, ITEMS = 2, 4, 3
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#7A8794"


def _box(axes: Axes, place: tuple[float, float], size: tuple[float, float], colour: str) -> None:
    axes.add_patch(
        FancyBboxPatch(place, *size, boxstyle="round,pad=0.02", facecolor="white", edgecolor=colour)
    )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "->", "color": _GREY})


def _element(axes: Axes, number: int, top: float) -> None:
    """One element: its stream, the activations that a word reads, and its lanes."""
    axes.text(2.0, top + 0.12, f"element {number}", fontweight="bold", color=_BLUE)
    _box(axes, (2.0, top - 2.15), (5.85, 2.2), _BLUE)
    axes.text(2.15, top - 0.25, "stream: one word a cycle")
    for item in range(ITEMS):
        _box(axes, (2.15 + 0.62 * item, top - 0.8), (0.56, 0.36), _ORANGE)
        axes.text(2.43 + 0.62 * item, top - 0.62, "± row", ha="center", va="center", fontsize=7)
    _box(axes, (2.15 + 0.62 * ITEMS, top - 0.8), (0.9, 0.36), _ORANGE)
    axes.text(2.6 + 0.62 * ITEMS, top - 0.62, "step, last", ha="center", va="center", fontsize=7)
    axes.text(3.05, top - 1.02, "the items of one word", color=_ORANGE, fontsize=7.5)
    _box(axes, (2.15, top - 1.95), (2.2, 0.62), _GREY)
    axes.text(
        3.25,
        top - 1.64,
        "activation memory:\none row for each feature",
        ha="center",
        va="center",
        fontsize=7.5,
    )
    for lane in range(LANES):
        x = 5.2 + 0.62 * lane
        _box(axes, (x, top - 1.95), (0.54, 1.3), _GREEN)
        axes.text(x + 0.27, top - 1.0, "R += ±x", ha="center", fontsize=6.5)
        axes.text(x + 0.27, top - 1.35, "A += R", ha="center", fontsize=6.5)
        axes.text(x + 0.27, top - 1.82, f"lane {lane}", ha="center", fontsize=7, color=_GREEN)
    _arrow(axes, (4.35, top - 1.64), (5.18, top - 1.64))
    _arrow(axes, (2.9, top - 0.82), (2.9, top - 1.31))


def drawn() -> bytes:
    """The picture as SVG."""
    settings = {"svg.hashsalt": "daqkf", "svg.fonttype": "none", "font.size": 8.5}
    with rc_context(settings):
        figure = Figure(figsize=(10, 6), layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        for number in range(ELEMENTS):
            _element(axes, number, 5.6 - 2.75 * number)
        axes.text(4.8, -0.12, "… more elements, each with a stream of its own", ha="center")
        _box(axes, (0.0, 2.1), (1.3, 1.7), _GREY)
        axes.text(
            0.65, 2.95, "a tile of\nactivations:\nT tokens,\nK features", ha="center", va="center"
        )
        axes.text(0.65, 1.85, "x_tdata: a row a cycle", ha="center", fontsize=7.5, color=_GREY)
        _box(axes, (8.3, 2.1), (1.5, 1.7), _GREY)
        axes.text(
            9.05, 2.95, "post unit:\nbias, requantise,\nactivation table", ha="center", va="center"
        )
        _box(axes, (10.4, 2.1), (1.3, 1.7), _GREY)
        axes.text(11.05, 2.95, "results:\nT tokens,\nN outputs", ha="center", va="center")
        axes.text(11.05, 1.85, "y_tdata", ha="center", fontsize=7.5, color=_GREY)
        for number in range(ELEMENTS):
            top = 5.6 - 2.75 * number
            _arrow(axes, (1.34, 2.95), (1.98, top - 1.6))
            _arrow(axes, (7.9, top - 1.3), (8.26, 2.95))
        _arrow(axes, (9.84, 2.95), (10.36, 2.95))
        axes.text(
            9.05, 4.35, "the sums A of one\noutput, from all lanes", ha="center", fontsize=7.5
        )
        axes.set_xlim(-0.2, 11.9)
        axes.set_ylim(-0.4, 6.2)
        data = io.BytesIO()
        figure.savefig(data, format="svg", metadata={"Date": None})
    return data.getvalue()


if __name__ == "__main__":
    PICTURE.write_bytes(drawn())
    sys.stdout.write(f"{PICTURE}\n")
