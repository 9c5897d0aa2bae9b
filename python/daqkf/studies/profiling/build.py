# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Measure every level set on weight matrices, and fit the grids of the table to the results.

The fit is one of least squares, with a penalty on bends where there are few channels (Eilers and
Marx, "Flexible smoothing with B-splines and penalties", 1996, with splines of degree one).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
from numpy.typing import NDArray

from daqkf.compiler.executor import open_executor
from daqkf.dialects.spaq import LevelSet
from daqkf.passes.encode import running_sum
from daqkf.passes.progress import Progress, counted, silent
from daqkf.passes.quantize.level_table import (
    CLASSES,
    SQNR_LIMIT,
    Features,
    Grid,
    LevelTable,
    corners,
    cycle_points,
    shape_points,
    usual_points,
)
from daqkf.passes.quantize.levels import fit
from daqkf.studies.profiling.matrices import PROFILED_MODELS, Source, pruned

type Floats = NDArray[np.float64]

LEVELS = (
    *(LevelSet.of("uniform", m) for m in (1, 2, 3, 4, 5, 7, 10, 15, 20, 31, 40, 63, 127)),
    *(LevelSet.of("codebook", m) for m in (2, 3, 4, 5, 7, 10, 15, 20, 31, 40, 63)),
)
"""The candidates. A codebook of one magnitude would equal the ternary set."""

MAX_SHIFTS = (0, 1, 3)
"""The values of `max_shift` for which the table has cycles; a step closes a gap of up to
2^max_shift magnitudes."""


def _knots(*values: float) -> Floats:
    return np.array(values, np.float64)


_SHAPE_AXES = (
    _knots(0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 10),
    _knots(0.05, 0.12, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.76, 0.82, 0.88, 0.94, 1),
    _knots(0, 0.4, 0.8, 1.2, 1.6, 2, 2.5, 3, 4, 5),
)
_CYCLE_AXES = (_knots(0, 2, 4, 6, 8, 11), _knots(0.1, 0.3, 0.6, 0.8, 1), _knots(0, 1, 2, 3, 5))
_USUAL_AXES = (
    np.arange(len(CLASSES), dtype=np.float64),
    _knots(0, 0.25, 0.5, 0.7, 0.9),
    _knots(2, 4, 6, 8, 11),
)

_SMOOTHNESS = 0.01
"""The weight of the penalty on bends; the squared errors of the matrices have weight 1 each."""

_RIDGE = 1e-8
"""A small ridge. It keeps a node at the mean if no channel is near it and no bend ties it."""


@dataclass(frozen=True)
class Measurement:
    """The results of all level sets on a pruned matrix with C channels that are not empty."""

    name: str
    model: str
    features: Features
    channel_sqnr: Floats
    """SQNR in dB, up to SQNR_LIMIT, [C, levels]."""
    channel_cycles: Floats
    """log2 of the stream words, [C, levels, max_shifts]."""
    sqnr: Floats
    """SQNR of the whole matrix in dB, up to SQNR_LIMIT, [levels]."""


def measure(
    name: str,
    model: str,
    weights: Floats,
    levels: Sequence[LevelSet] = LEVELS,
    max_shifts: Sequence[int] = MAX_SHIFTS,
) -> Measurement:
    """Fit each level set to weights [K, N], of which at least one is not zero."""
    used = weights.any(axis=0)
    fits = [fit(weights, entry) for entry in levels]
    errors = np.stack([found.error(weights)[used] for found in fits], axis=1)
    cycles = [
        [running_sum.cost(found.levels, shift)[used] for shift in max_shifts] for found in fits
    ]
    energy = (weights[:, used] ** 2).sum(axis=0)
    floor = 10 ** (-SQNR_LIMIT / 10)
    return Measurement(
        name,
        model,
        Features.of(weights),
        -10 * np.log10(np.maximum(errors / energy[:, np.newaxis], floor)),
        np.log2(np.array(cycles)).transpose(2, 0, 1),
        -10 * np.log10(np.maximum(errors.sum(axis=0) / energy.sum(), floor)),
    )


def measure_source(
    source: Source,
    levels: Sequence[LevelSet] = LEVELS,
    max_shifts: Sequence[int] = MAX_SHIFTS,
) -> list[Measurement]:
    """Measure a matrix under each of its masks."""
    found = []
    for mask in source.masks:
        weights = pruned(source, mask)
        if weights is not None:
            name = f"{source.name} {mask}"
            found.append(measure(name, source.model, weights, levels, max_shifts))
    return found


def measure_all(
    sources: Iterable[Source],
    jobs: int = 1,
    progress: Progress = silent,
    levels: Sequence[LevelSet] = LEVELS,
    max_shifts: Sequence[int] = MAX_SHIFTS,
) -> list[Measurement]:
    """Measure matrices in `jobs` processes, in the order of the sources.

    `progress` is told of each source before its turn.

    Raises:
        DaqkfError: a source cannot be read; the message names it.
        ValueError: `jobs` is below 1.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    sources = list(sources)
    work = partial(measure_source, levels=levels, max_shifts=max_shifts)
    names = [f"{source.model} {source.name}" for source in sources]
    told = counted(progress, "profile", len(names), "matrices")
    with open_executor(jobs) as executor:
        measured = executor.map(work, sources, names, told)
    return [entry for part in measured for entry in part]


def build(
    measurements: Sequence[Measurement],
    levels: Sequence[LevelSet] = LEVELS,
    max_shifts: Sequence[int] = MAX_SHIFTS,
) -> LevelTable:
    """Fit a table to measurements of these level sets and values of `max_shift`.

    Raises:
        ValueError: there are no measurements.
    """
    if not measurements:
        raise ValueError("there is nothing to build a table from")
    channels = [entry.features.channels for entry in measurements]
    known = [entry for entry in channels if entry is not None]
    energy = np.concatenate([entry.energy for entry in known])
    evenly = np.concatenate(
        [np.full(len(entry.nonzeros), 1 / len(entry.nonzeros)) for entry in known]
    )
    shape = _joined([shape_points(entry) for entry in known])
    sizes = _joined([cycle_points(entry) for entry in known])
    cycles = np.concatenate([entry.channel_cycles for entry in measurements])
    typical = np.array([_typical(entry) for entry in measurements])
    places = _joined([usual_points(entry.features) for entry in measurements])
    # The usual shapes are those of real models; synthetic families only fill the gaps.
    trust = np.array([1.0 if entry.model in PROFILED_MODELS else 0.02 for entry in measurements])
    sqnr = np.concatenate([entry.channel_sqnr for entry in measurements])
    return LevelTable(
        tuple(levels),
        fit_grid(_SHAPE_AXES, shape, sqnr, energy),
        {
            shift: fit_grid(_CYCLE_AXES, sizes, cycles[:, :, place], evenly)
            for place, shift in enumerate(max_shifts)
        },
        # Pattern classes have no order, so their axis is not smoothed.
        fit_grid(_USUAL_AXES, places, typical, trust, smooth=(False, True, True)),
        dict(Counter(entry.model for entry in measurements)),
    )


def _joined(points: Sequence[tuple[Floats, ...]]) -> tuple[Floats, ...]:
    return tuple(np.concatenate(axis) for axis in zip(*points, strict=True))


def _typical(measurement: Measurement) -> Floats:
    """The mean shape of a matrix's channels, [3], as coordinates of the grid of usual shapes."""
    channels = measurement.features.channels
    assert channels is not None
    effective, form, crest = shape_points(channels)
    fan_in = np.log2(measurement.features.fan_in)
    return np.array([channels.energy @ axis for axis in (effective - fan_in, form, crest)])


def fit_grid(
    axes: tuple[Floats, ...],
    points: tuple[Floats, ...],
    values: Floats,
    weights: Floats,
    smooth: tuple[bool, ...] | None = None,
) -> Grid:
    """Fit a grid with knots `axes`, so that its weighted squared error at `points` is least.

    Args:
        axes: the knots of each axis, ascending.
        points: the coordinates of P points, an array [P] for each axis.
        values: the values that the grid should have at the points, [P, outputs].
        weights: the weights of the squared errors, [P].
        smooth: for each axis whether bends along it are penalised; by default all are.
    """
    from scipy import sparse

    indices, shares = corners(axes, points)
    rows = np.repeat(np.arange(len(values)), indices.shape[1])
    nodes = int(np.prod([len(knots) for knots in axes]))
    basis = sparse.csr_array((shares.ravel(), (rows, indices.ravel())), (len(values), nodes))
    weighted = basis.T @ sparse.diags_array(weights)
    normal = (weighted @ basis).toarray() + _RIDGE * np.eye(nodes)
    normal += _SMOOTHNESS * _bends(axes, smooth or (True,) * len(axes))
    mean = weights @ values / weights.sum()
    return Grid(axes, mean + np.linalg.solve(normal, weighted @ (values - mean)))


def _bends(axes: tuple[Floats, ...], smooth: tuple[bool, ...]) -> Floats:
    """The quadratic form [nodes, nodes] that sums the squared changes of slope along each axis."""
    total = np.zeros((1, 1))
    for place, knots in enumerate(axes):
        if not smooth[place]:
            continue
        gaps = np.diff(knots)
        change = np.zeros((len(knots) - 2, len(knots)))
        row = np.arange(len(knots) - 2)
        change[row, row] = 1 / gaps[:-1]
        change[row, row + 1] = -1 / gaps[:-1] - 1 / gaps[1:]
        change[row, row + 2] = 1 / gaps[1:]
        change *= np.minimum(gaps[:-1], gaps[1:])[:, np.newaxis]
        factors = [np.eye(len(other)) for other in axes]
        factors[place] = change.T @ change
        total = total + reduce(np.kron, factors)
    return total


@dataclass(frozen=True)
class Outcome:
    """The errors of a table's predictions."""

    errors: Floats
    """Predicted less true SQNR in dB, [matrices, levels]."""
    blind: Floats
    """The same, if only pattern class, sparsity and fan-in are known."""

    @classmethod
    def of(cls, table: LevelTable, measurements: Sequence[Measurement]) -> "Outcome":
        """Predict each measurement with the table."""
        seen, blind = [], []
        for entry in measurements:
            known = entry.features
            alone = Features(known.sparsity, known.pattern, known.fan_in)
            seen.append(table.predict_sqnr(known) - entry.sqnr)
            blind.append(table.predict_sqnr(alone) - entry.sqnr)
        return cls(np.array(seen), np.array(blind))

    def share_within(self, decibels: float = 1.0) -> float:
        """The share of pairs of a matrix and a level set whose error is at most `decibels`."""
        return float((np.abs(self.errors) <= decibels).mean())


def leave_one_model_out(
    measurements: Sequence[Measurement],
    models: Sequence[str],
    levels: Sequence[LevelSet] = LEVELS,
    max_shifts: Sequence[int] = MAX_SHIFTS,
) -> dict[str, Outcome]:
    """Predict each model with a table that is built without it."""
    outcomes = {}
    for model in models:
        others = [entry for entry in measurements if entry.model != model]
        own = [entry for entry in measurements if entry.model == model]
        if own and others:
            outcomes[model] = Outcome.of(build(others, levels, max_shifts), own)
    return outcomes


@dataclass(frozen=True)
class Decisions:
    """The results of decisions from the table; arrays are [decisions]."""

    shortfall: Floats
    """The target less the true SQNR of the chosen level set, in dB; at most 0 if it is reached."""
    excess: Floats
    """True cycles of the chosen level set over those of the cheapest one that reaches the target.

    It may be below 1 if the chosen set misses the target. Decisions whose target no set reaches are
    left out.
    """

    @classmethod
    def of(
        cls,
        table: LevelTable,
        measurements: Sequence[Measurement],
        targets: Sequence[float],
        max_shift: int = MAX_SHIFTS[-1],
        max_shifts: Sequence[int] = MAX_SHIFTS,
    ) -> "Decisions":
        """Decide for each measurement and each target that the table predicts to be reachable."""
        shortfall, excess = [], []
        for entry in measurements:
            cycles = (2.0 ** entry.channel_cycles[..., list(max_shifts).index(max_shift)]).mean(0)
            reachable = table.predict_sqnr(entry.features).max()
            for target in (target for target in targets if target <= reachable):
                chosen = table.decide(entry.features, target, max_shift)
                place = table.levels.index(chosen.levels)
                shortfall.append(target - entry.sqnr[place])
                enough = entry.sqnr >= target
                if enough.any():
                    excess.append(cycles[place] / cycles[enough].min())
        return cls(np.array(shortfall), np.array(excess))
