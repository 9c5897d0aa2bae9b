# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Draw the pictures of `daqkf report` and `daqkf eval`.

Colours are those of Okabe and Ito (2008) and the map "cividis" (Nuñez et al., 2018), which
people with any colour vision can tell apart.
"""

import math
from collections.abc import Sequence
from io import BytesIO
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.errors import from_extra
from daqkf.passes.quantize.sparsity import WeightAnalysis
from daqkf.reports.model import Curve, Entry, Quantised, describe_levels

with from_extra("plot"):
    from matplotlib import colormaps, rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter
    from matplotlib.transforms import ScaledTranslation

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#9A9A9A"
_MAP = "cividis"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    # A dollar sign in a matrix's name is no formula.
    "text.parse_math": False,
    # A fixed salt makes equal reports equal files.
    "svg.hashsalt": "daqkf",
}

OVERVIEW = 64
"""The largest number of matrices that an overview shows."""

_BINS = 48
_FLOOR = 1e-12
"""The least relative error that is drawn; smaller errors are drawn as this one."""


def rendered(figure: Figure, kind: str) -> bytes:
    """The bytes of a figure in a format, `png` or `svg`."""
    data = BytesIO()
    metadata: dict[str, Any] = {"svg": {"Date": None}}.get(kind, {})
    with rc_context(STYLE):
        figure.savefig(data, format=kind, dpi=150, metadata=metadata)
    return data.getvalue()


def _lay_out(figure: Figure) -> None:
    """Compute the layout of a figure once, instead of once for each file."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def matrix_figure(entry: Entry) -> Figure:
    """Draw a matrix: its tiles, non-zeros of channels, weights with levels, and the fit."""
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 7.6), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # pyright: ignore
        figure.suptitle(_headline(entry), x=0.01, ha="left", fontsize=11)
        tiles, channels, weights, fit = figure.subplots(2, 2).flat
        image = _tiles(tiles, entry.analysis, *_limits([entry.analysis]))
        rows, columns = entry.analysis.tile
        tiles.set_title(f"Tiles of {rows} features × {columns} channels")
        tiles.set_xlabel("output channel")
        tiles.set_ylabel("feature")
        figure.colorbar(image, ax=tiles, label="non-zeros of a tile [%]")
        _channels(channels, entry.analysis)
        _weights(weights, entry)
        _fit(fit, entry)
        _lay_out(figure)
    return figure


def _headline(entry: Entry) -> str:
    analysis = entry.analysis
    features, channels = analysis.shape
    return (
        f"{_clipped(entry.matrix.name, 60)}: {features} features × {channels} channels, "
        f"{1 - analysis.density:.1%} zeros, {analysis.sparsity.pattern}\n"
        f"dynamic range {analysis.dynamic_range:.0f} dB, entropy {analysis.entropy.total:.2f} bits "
        f"a weight, {analysis.entropy.mask:.2f} of them to tell the zeros"
    )


def _limits(analyses: Sequence[WeightAnalysis]) -> tuple[float, float]:
    """The axis limits, in percent, from the least to the greatest density; they always differ."""
    low = min(float(analysis.tile_density.min()) for analysis in analyses)
    high = max(float(analysis.tile_density.max()) for analysis in analyses)
    return (100 * low, 100 * high) if high - low > 0.001 else (0.0, 100.0)


def _tiles(axes: Axes, analysis: WeightAnalysis, low: float, high: float) -> AxesImage:
    density = 100 * analysis.tile_density
    features, channels = analysis.shape
    rows, columns = (min(pair) for pair in zip(analysis.tile, analysis.shape, strict=True))
    extent = (0, density.shape[1] * columns, density.shape[0] * rows, 0)
    image = axes.imshow(
        density, cmap=_MAP, vmin=low, vmax=high, extent=extent, aspect="auto", interpolation="none"
    )
    # Tiles at the edges end where the weights end.
    axes.set_xlim(0, channels)
    axes.set_ylim(features, 0)
    return image


def _channels(axes: Axes, analysis: WeightAnalysis) -> None:
    counts = analysis.sparsity.column_nonzeros
    low, high = int(counts.min()), int(counts.max())
    step = -(-(high - low + 1) // _BINS)
    edges = np.arange(low, high + step + 1, step) - 0.5
    axes.hist(counts, bins=edges.tolist(), color=BLUE)
    middle = float(np.median(counts))
    axes.axvline(middle, color=ORANGE, linestyle="--", label=f"median {middle:g}")
    axes.set_title("Non-zeros of each channel")
    axes.set_xlabel(f"non-zeros, of {analysis.shape[0]} weights")
    axes.set_ylabel("channels")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if high - low < 3:
        axes.set_xlim(low - 2.5, high + 2.5)
    axes.legend(loc="best")


def _weights(axes: Axes, entry: Entry) -> None:
    found = entry.quantised
    axes.set_title("Weights that are not zero")
    axes.set_ylabel("weights")
    if not entry.analysis.sparsity.nonzeros:
        _note(axes, "all weights are zero")
        return
    if found is None:
        axes.hist(entry.matrix.weights[entry.matrix.weights != 0], bins=4 * _BINS, color=GREY)
        axes.set_xlabel("weight")
        return
    values, counts = np.unique(found.levels[found.levels != 0], return_counts=True)
    axes.set_xlabel("weight / scale of its channel")
    if found.history is None:
        axes.bar(values, counts, width=0.8, color=BLUE)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("level")
        return
    weights = entry.matrix.weights.astype(np.float64)
    real = (weights / found.scales)[weights != 0]
    axes.hist(real, bins=4 * _BINS, color=GREY, label="weights")
    top = axes.get_ylim()[1]
    users = _users(found, values)
    # The strip below the weights shows the levels; more channels that use a level make it darker.
    axes.set_ylim(-0.16 * top, 1.2 * top)
    axes.vlines(values, -0.14 * top, -0.03 * top, color=ORANGE, alpha=0.15 + 0.85 * users)
    axes.plot([], [], color=ORANGE, label="levels, darker if more channels use them")
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= top])
    axes.legend(loc="upper right", fontsize=8)


def _users(found: Quantised, values: NDArray[Any]) -> NDArray[np.float64]:
    """The share of channels that use each of the ascending levels `values`."""
    used = np.zeros((len(values), found.levels.shape[1]), np.bool)
    rows, columns = np.nonzero(found.levels)
    used[np.searchsorted(values, found.levels[rows, columns]), columns] = True
    return used.mean(axis=1)


def _fit(axes: Axes, entry: Entry) -> None:
    found = entry.quantised
    if found is None or found.history is None or not len(found.history):
        _magnitudes(axes, found)
        return
    assert found.level_set is not None
    weights = entry.matrix.weights.astype(np.float64)
    energy = (weights**2).sum(axis=0)
    axes.set_title(f"Convergence of the fit, {describe_levels(found.level_set)}")
    used = energy > 0
    if not used.any():
        _note(axes, "all weights are zero")
        return
    steps = np.arange(1, len(found.history) + 1)
    shares = _decibels(found.history[:, used] / energy[used])
    low, high = np.percentile(shares, (5, 95), axis=1)
    axes.fill_between(steps, low, high, color=BLUE, alpha=0.2, label="5 to 95 % of the channels")
    whole = _decibels(found.history.sum(axis=1) / energy.sum())
    axes.plot(steps, whole, color=BLUE, marker="o", markersize=3, label="all weights")
    rounded = float(_decibels(np.array(found.noise)))
    axes.axhline(rounded, color=ORANGE, linestyle="--", label=f"as integers: {rounded:.1f} dB")
    axes.set_xlabel("iteration")
    axes.set_ylabel("squared error / energy of the weights [dB]")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.3 * (top - bottom))  # leaves room for the legend
    axes.legend(loc="upper right", fontsize=8)


def _magnitudes(axes: Axes, found: Quantised | None) -> None:
    axes.set_title("Magnitudes that a channel uses")
    if found is None:
        _note(axes, "the weights have no levels")
        return
    ordered = np.sort(np.abs(found.levels.astype(np.int64)), axis=0)
    distinct = (np.diff(ordered, axis=0) != 0).sum(axis=0) + (ordered[0] != 0)
    values, counts = np.unique(distinct, return_counts=True)
    axes.bar(values, counts, width=0.8, color=GREEN)
    axes.set_xlabel("distinct magnitudes besides zero")
    axes.set_ylabel("channels")
    axes.set_xlim(min(values[0], 1) - 1, values[-1] + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _note(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_xticks([])
    axes.set_yticks([])


def _decibels(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return 10 * np.log10(np.maximum(shares, _FLOOR))


def overview_figure(entries: Sequence[Entry]) -> Figure:
    """Draw several matrices: the tiles of each, and their channels and entropies side by side."""
    shown = entries[:OVERVIEW]
    names = _short_names([entry.matrix.name for entry in shown])
    with rc_context(STYLE):
        figure = Figure(figsize=(17, max(5.0, 2.2 + 0.28 * len(shown))), layout="constrained")
        more = f" (the first {len(shown)} of {len(entries)})" if len(shown) < len(entries) else ""
        weights = sum(entry.matrix.weights.size for entry in shown)
        nonzeros = sum(entry.analysis.sparsity.nonzeros for entry in shown)
        figure.suptitle(
            f"{len(shown)} matrices{more}: {weights:,} weights, {1 - nonzeros / weights:.1%} zeros",
            x=0.01,
            ha="left",
            fontsize=12,
        )
        halves: Any = figure.subfigures(1, 2, width_ratios=(1, 1.15), wspace=0.02)
        _grid(halves[0], shown, names)
        _compare(halves[1], shown, names)
        _lay_out(figure)
    return figure


def _short_names(names: Sequence[str]) -> list[str]:
    """The names without the words that all of them begin with."""
    if len(names) < 2:
        return list(names)
    words = [name.split(".") for name in names]
    ranks = zip(*words, strict=False)
    common = sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, ranks))
    skipped = min(common, min(len(parts) for parts in words) - 1)
    return [_clipped(".".join(parts[skipped:]), 24) for parts in words]


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _grid(figure: SubFigure, entries: Sequence[Entry], names: Sequence[str]) -> None:
    columns = math.ceil(math.sqrt(len(entries)))
    grid = figure.subplots(-(-len(entries) // columns), columns, squeeze=False)
    limits = _limits([entry.analysis for entry in entries])
    for axes in grid.flat:
        axes.set_axis_off()
    image = None
    for axes, entry, name in zip(grid.flat, entries, names, strict=False):
        image = _tiles(axes, entry.analysis, *limits)
        axes.set_title(name, fontsize=7, fontweight="normal")
    if image is not None:
        bar = figure.colorbar(
            image, ax=grid, location="bottom", shrink=0.6, aspect=40, pad=0.02, fraction=0.05
        )
        rows, across = entries[0].analysis.tile
        bar.set_label(f"non-zeros of a tile of {rows} features (down) × {across} channels [%]")


def _compare(figure: SubFigure, entries: Sequence[Entry], names: Sequence[str]) -> None:
    panels: list[Axes] = figure.subplots(1, 3, sharey=True, squeeze=False).flatten().tolist()
    density, entropy, reach = panels
    places = np.arange(len(entries))
    analyses = [entry.analysis for entry in entries]
    _spreads(density, [100 * analysis.channel_density for analysis in analyses])
    density.set_title("Non-zeros of a channel")
    density.set_xlabel("share of its weights [%]")
    density.set_yticks(places, names, fontsize=8)
    density.set_ylim(len(entries) - 0.4, -0.6)

    mask = np.array([analysis.entropy.mask for analysis in analyses])
    total = np.array([analysis.entropy.total for analysis in analyses])
    entropy.barh(places, mask, height=0.7, color=ORANGE, label="zero or not")
    entropy.barh(places, total - mask, left=mask, height=0.7, color=BLUE, label="which level")
    entropy.set_title("Entropy of a weight")
    entropy.set_xlabel("bits")

    _spreads(reach, [analysis.channel_dynamic_range for analysis in analyses])
    whole = [analysis.dynamic_range for analysis in analyses]
    reach.plot(whole, places, "D", color=ORANGE, markersize=4, label="whole matrix")
    reach.set_title("Dynamic range")
    reach.set_xlabel("largest / smallest magnitude [dB]")
    for axes in panels:
        axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        # The legend is half an inch below the axes, under the labels.
        below = axes.transAxes + ScaledTranslation(0, -0.5, figure.dpi_scale_trans)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, fontsize=8)


def _spreads(axes: Axes, channels: Sequence[NDArray[np.float64]]) -> None:
    """Draw one line for each matrix.

    It reaches from the least to the greatest value, is thick where the middle 80 % are, and has a
    dot at the median.
    """
    places = np.arange(len(channels))
    shares = np.array([np.percentile(values, (0, 10, 50, 90, 100)) for values in channels])
    low, tenth, middle, ninetieth, high = shares.T
    axes.hlines(places, low, high, color=BLUE, linewidth=1, label="all channels")
    axes.hlines(places, tenth, ninetieth, color=BLUE, linewidth=4, label="80 % of them")
    axes.plot(middle, places, "o", color="black", markersize=3.5, label="median")


def frontier_figure(curves: Sequence[Curve]) -> Figure:
    """Draw accuracy against cycles, a line for each curve; the references are dotted lines.

    Points that are not on a curve are crosses of its colour. A curve may have no points at all.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.subplots()
        shades = colormaps[_MAP](np.linspace(0, 0.85, len(curves)))
        for curve, shade in zip(curves, shades, strict=True):
            for points, style, label in (
                (sorted(curve.points), "o-", curve.label),
                (curve.alone, "x", None),
            ):
                cycles, accuracies = np.array(points, float).reshape(-1, 2).T
                axes.plot(cycles, accuracies, style, color=shade, label=label)
            axes.axvline(curve.reference, color=shade, linestyle=":", linewidth=1)
        axes.set(
            xlabel="cycles to run all layers over a tile (dotted: W8A8; ×: one level set for all)",
            ylabel="cosine to the float pruned model",
            xlim=(0, None),
            title="Levels chosen for accuracy: what the cycles buy",
        )
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.legend(loc="best")
        return figure


def paired_bars(
    panels: Sequence[tuple[str, dict[str, list[int]]]], variants: Sequence[str]
) -> Figure:
    """Draw panels with groups of bars; a group has one bar for each variant, with its number.

    Bars lie, so that numbers of any length stand beside them and never over one another.
    """
    with rc_context(STYLE):
        rows = max(len(groups) for _, groups in panels) * (len(variants) + 1)
        size = (4.5 * len(panels), 1.1 + 0.27 * rows)
        figure = Figure(figsize=size, layout="constrained")
        every = np.atleast_1d(figure.subplots(1, len(panels)))
        for axes, (title, groups) in zip(every, panels, strict=True):
            places, height = np.arange(len(groups)), 0.8 / len(variants)
            for number, (variant, colour) in enumerate(
                zip(variants, (GREY, BLUE, ORANGE, GREEN), strict=False)
            ):
                lengths = [values[number] for values in groups.values()]
                offset = (number - (len(variants) - 1) / 2) * height
                bars = axes.barh(places + offset, lengths, height, color=colour, label=variant)
                axes.bar_label(bars, fmt="{:,.0f}", fontsize=8, padding=3)
            axes.set_yticks(places, list(groups))
            axes.invert_yaxis()
            axes.margins(x=0.24)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.set_title(title)
        handles, labels = every[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(variants))
        _lay_out(figure)
        return figure
