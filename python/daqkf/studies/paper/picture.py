# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Draw the paper's experiment: speed-up, energy, accuracy under noise, and convergence."""

from daqkf.dialects.errors import from_extra
from daqkf.reports.figures import BLUE, GREEN, GREY, ORANGE, STYLE, rendered
from daqkf.studies.paper.experiment import Row
from daqkf.studies.paper.published import published
from daqkf.studies.paper.results import Results

with from_extra("plot"):
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter


def picture(found: Results, kind: str) -> bytes:
    """All panels, in a format of `svg` and `png`."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 6.4), layout="constrained")
        (speed, energy), (accuracy, convergence) = figure.subplots(2, 2)
        _speed(speed, found)
        _energy(energy, found)
        _accuracy(accuracy, found.rows)
        for colour, (name, history) in zip(
            (BLUE, GREEN, ORANGE), found.convergence.histories.items(), strict=True
        ):
            convergence.semilogy(range(1, len(history) + 1), history, color=colour, label=name)
        convergence.set_title("convergence, layer.0.ffn.down")
        convergence.set_xlabel("iteration")
        convergence.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        convergence.set_ylabel("relative squared error")
        convergence.legend(fontsize="small")
    return rendered(figure, kind)


def _percent(rows: list[Row]) -> list[float]:
    return [100 * row.sparsity for row in rows]


def _speed(axes: Axes, found: Results) -> None:
    rows = found.rows
    lines = (
        ("equal logic", [row.speedup for row in rows], BLUE, "o"),
        ("device filled", [row.device_speedup for row in rows], ORANGE, "s"),
    )
    for label, values, colour, marker in lines:
        axes.plot(_percent(rows), values, color=colour, marker=marker, label=label)
    given = [(row, published().row(row.sparsity)) for row in rows]
    known = [(100 * row.sparsity, one.speedup) for row, one in given if one]
    if known:
        axes.plot(*zip(*known, strict=True), color=GREY, marker="^", label="the paper")
    axes.set_title("times the baseline's speed")
    axes.set_xlabel("zeros of the weights, %")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")


def _energy(axes: Axes, found: Results) -> None:
    rows = found.rows
    kinds = (
        ("equal logic", [row.energy_gain for row in rows], BLUE, "o"),
        ("device filled", [row.device_energy_gain for row in rows], ORANGE, "s"),
    )
    for label, gains, colour, marker in kinds:
        middle = [gain.value for gain in gains]
        axes.plot(_percent(rows), middle, color=colour, marker=marker, label=label)
        low, high = [gain.low for gain in gains], [gain.high for gain in gains]
        axes.fill_between(_percent(rows), low, high, color=colour, alpha=0.2, linewidth=0)
    axes.axhline(published().headline["energy"], color=GREY, linestyle="--", label="the paper")
    axes.set_title("times the baseline's samples a joule")
    axes.set_xlabel("zeros of the weights, %")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")


def _accuracy(axes: Axes, rows: list[Row]) -> None:
    for share, colour in zip(rows[0].prepared.ours, (BLUE, GREEN, ORANGE, GREY), strict=False):
        label = f"{share:.0%} of the tokens replaced"
        axes.plot(
            _percent(rows),
            [row.prepared.ours[share] for row in rows],
            color=colour,
            marker="o",
            label=label,
        )
        plain = [row.prepared.baseline[share] for row in rows]
        axes.plot(_percent(rows), plain, color=colour, marker="o", linestyle=":")
    axes.set_title("cosine to the dense float model (dotted: W8A8)")
    axes.set_xlabel("zeros of the weights, %")
    axes.legend(fontsize="small")
