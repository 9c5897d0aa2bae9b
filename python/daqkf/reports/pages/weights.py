# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a page says of weights: zeros by tile, levels and codebooks, and how their fit converges."""

from collections.abc import Sequence

import numpy as np

from daqkf.reports.model import Entry, Quantised, describe_levels
from daqkf.reports.pages.blocks import (
    Block,
    Chart,
    Columns,
    Heat,
    Note,
    Section,
    Series,
    Share,
    Table,
)

PICTURES = 12
"""Matrices whose tiles are drawn, at most: those spread evenly over all."""

_CODEBOOKS, _PIXELS, _FLOOR = 12, 256, 1e-12


def sections(entries: Sequence[Entry]) -> list[Section]:
    """The sections on weights."""
    if not entries:
        return []
    found = [
        Section("zeros", "Zeros", _zeros(entries)),
        Section("levels", "Levels", _levels(entries)),
    ]
    fits = [entry for entry in entries if _fitted(entry.quantised)]
    if fits:
        found.append(Section("convergence", "Convergence of Lloyd-Max", _convergence(fits)))
    return found


def _fitted(found: Quantised | None) -> bool:
    return found is not None and found.history is not None and len(found.history) > 0


def _zeros(entries: Sequence[Entry]) -> list[Block]:
    rows = [
        (
            entry.matrix.name,
            "{} × {}".format(*entry.analysis.shape),
            Share(1 - entry.analysis.density, f"{1 - entry.analysis.density:.1%}"),
            entry.analysis.sparsity.pattern,
            int(entry.analysis.sparsity.column_nonzeros.min()),
            float(np.median(entry.analysis.sparsity.column_nonzeros)),
            int(entry.analysis.sparsity.column_nonzeros.max()),
            int((entry.analysis.tile_nonzeros == 0).sum()),
        )
        for entry in entries
    ]
    headings = (
        *("matrix", "features × outputs", "zeros", "pattern"),
        *("fewest non-zeros of an output", "median", "most", "empty tiles"),
    )
    shown = [entries[place] for place in _spread(len(entries), PICTURES)]
    tile = entries[0].analysis.tile
    low = min(float(entry.analysis.tile_density.min()) for entry in shown)
    high = max(float(entry.analysis.tile_density.max()) for entry in shown)
    if high - low < 1e-3:
        low, high = 0.0, 1.0
    more = f" {len(shown)} of {len(entries)} are drawn." if len(shown) < len(entries) else ""
    return [
        Table("Zeros of each matrix", headings, rows),
        Note(
            f"A pixel below is a tile of {tile[0]} features (down) by {tile[1]} outputs (across). "
            f"Its brightness is the share of its weights that are not zero.{more}"
        ),
        *(_heat(entry, low, high) for entry in shown),
    ]


def _heat(entry: Entry, low: float, high: float) -> Heat:
    density = 100 * entry.analysis.tile_density
    steps = [max(1, -(-extent // _PIXELS)) for extent in density.shape]
    # Of matrices with more tiles than a picture has pixels, several tiles share one.
    for axis, step in enumerate(steps):
        starts = np.arange(0, density.shape[axis], step)
        sizes = np.diff([*starts, density.shape[axis]])
        shape = (-1, 1) if axis == 0 else (1, -1)
        density = np.add.reduceat(density, starts, axis=axis) / sizes.reshape(shape)
    features, outputs = entry.analysis.shape
    caption = f"{features:,} features, {outputs:,} outputs, {1 - entry.analysis.density:.1%} zeros"
    return Heat(entry.matrix.name, caption, density, 100 * low, 100 * high, "%")


def _spread(count: int, most: int) -> list[int]:
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


def _levels(entries: Sequence[Entry]) -> list[Block]:
    rows: list[tuple[object, ...]] = []
    for entry in entries:
        found = entry.quantised
        if found is None:
            continue
        used = _magnitudes(found)
        name = "as given" if found.level_set is None else describe_levels(found.level_set)
        sqnr = (
            ""
            if found.history is None
            else "exact"
            if found.sqnr is None
            else f"{found.sqnr:.1f} dB"
        )
        rows.append(
            (
                entry.matrix.name,
                name,
                int(used.min()),
                float(used.mean()),
                int(used.max()),
                f"{entry.analysis.entropy.total:.2f}",
                f"{entry.analysis.dynamic_range:.0f}",
                sqnr,
            )
        )
    if not rows:
        text = "With so many matrices no levels are fitted; name some of them with --layer."
        return [Note(text)]
    headings = (
        *("matrix", "level set", "fewest magnitudes of an output", "mean", "most"),
        *("entropy, bits a weight", "range, dB", "SQNR of the weights"),
    )
    if not any(row[-1] for row in rows):
        headings, rows = headings[:-1], [row[:-1] for row in rows]
    chosen = [entry for entry in entries if entry.quantised is not None]
    picked = [chosen[place] for place in _spread(len(chosen), 4)]
    return [
        Table("Levels of each matrix", headings, rows),
        *(_histogram(entry) for entry in picked if entry.analysis.sparsity.nonzeros),
        *(_codebook(entry) for entry in picked[:2]),
    ]


def _magnitudes(found: Quantised) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """How many magnitudes beside zero each output uses, [N]."""
    ordered = np.sort(np.abs(found.levels.astype(np.int64)), axis=0)
    return (np.diff(ordered, axis=0) != 0).sum(axis=0) + (ordered[0] != 0)


def _histogram(entry: Entry) -> Columns:
    assert entry.quantised is not None
    values, counts = np.unique(entry.quantised.levels, return_counts=True)
    kept = values != 0
    every = np.arange(int(values[kept].min()), int(values[kept].max()) + 1)
    totals = dict(zip(values.tolist(), counts.tolist(), strict=True))
    caption = "How many weights have each level; the zeros are left out."
    found = [0 if value == 0 else totals.get(value, 0) for value in every.tolist()]
    return Columns(entry.matrix.name, caption, "level", "weights", every.tolist(), found)


def _codebook(entry: Entry) -> Table:
    assert entry.quantised is not None
    found = entry.quantised
    outputs = _spread(found.levels.shape[1], _CODEBOOKS)
    rows = [
        (
            f"output {output}",
            float(found.scales[output]) if output < len(found.scales) else None,
            " ".join(str(value) for value in np.unique(np.abs(found.levels[:, output])) if value),
        )
        for output in outputs
    ]
    caption = f"Codebooks of {entry.matrix.name}: the magnitudes of {len(rows)} outputs"
    return Table(caption, ("output", "scale of a level", "magnitudes"), rows, folded=True)


def _convergence(entries: Sequence[Entry]) -> list[Block]:
    series: list[Series] = []
    for entry in entries[:6]:
        found = entry.quantised
        assert found is not None and found.history is not None
        energy = float((entry.matrix.weights.astype(np.float64) ** 2).sum()) or 1.0
        shares = 10 * np.log10(np.maximum(found.history.sum(axis=1) / energy, _FLOOR))
        steps = np.arange(1, len(shares) + 1)
        series.append(Series(entry.matrix.name, steps.tolist(), shares.tolist()))
    text = (
        "Levels are fitted by moving each one to the mean of the weights that are nearest to it, "
        "over and over. The error here is that before levels become integers."
    )
    title = "Squared error of the fit"
    axes = "iteration", "error / energy of the weights, dB"
    return [Note(text), Chart(title, "Of each matrix, by iteration.", *axes, series)]
