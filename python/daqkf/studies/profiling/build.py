# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""From weights to the table: measuring every level set, and fitting the table's grids.

The grids are fitted by least squares, with a penalty on bends where few channels lie (Eilers and
Marx, "Flexible smoothing with B-splines and penalties", 1996, with splines of degree one).
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.spaq import LevelSet
from daqkf.passes.encode import running_sum
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
"""The candidates. A codebook of one magnitude would be the ternary set."""

MAX_SHIFTS = (0, 1, 3)
"""Largest steps of gaps, 2^max_shift, that cycles are tabulated for."""


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
"""Weight of the penalty on bends beside the squared errors of the matrices, of weight 1 each."""

_RIDGE = 1e-8
"""Keeps nodes that nothing lies near, and nothing bends towards, at the mean."""


@dataclass(frozen=True)
class Measurement:
    """What every level set did on a pruned matrix with C channels in use."""

    name: str
    model: str
    features: Features
    channel_sqnr: Floats
    """[C, levels] in dB, up to SQNR_LIMIT."""
    channel_cycles: Floats
    """[C, levels, max_shifts] log2 of the stream words."""
    sqnr: Floats
    """[levels] of the whole matrix, in dB, up to SQNR_LIMIT."""


def measure(
    name: str,
    model: str,
    weights: Floats,
    levels: Sequence[LevelSet] = LEVELS,
    max_shifts: Sequence[int] = MAX_SHIFTS,
) -> Measurement:
    """Fit each level set to weights [K, N] that are not all zero."""
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
    progress: Callable[[Source], None] | None = None,
    levels: Sequence[LevelSet] = LEVELS,
    max_shifts: Sequence[int] = MAX_SHIFTS,
) -> list[Measurement]:
    """Measure matrices, in their order, in `jobs` processes; `progress` sees each when done.

    Raises:
        ValueError: less than one job.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    sources = list(sources)
    work = partial(measure_source, levels=levels, max_shifts=max_shifts)
    found: list[Measurement] = []
    for source, measured in zip(sources, _map(work, sources, jobs), strict=True):
        found += measured
        if progress is not None:
            progress(source)
    return found


def _map[T, R](work: Callable[[T], R], items: Sequence[T], jobs: int) -> Iterator[R]:
    if jobs == 1:
        yield from map(work, items)
        return
    # Processes that start afresh: each then has one thread, whatever NumPy's library would take.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # The pool's own end also stops its processes when this one is interrupted.
    with get_context("spawn").Pool(jobs, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield from pool.imap(work, items)


def build(
    measurements: Sequence[Measurement],
    levels: Sequence[LevelSet] = LEVELS,
    max_shifts: Sequence[int] = MAX_SHIFTS,
) -> LevelTable:
    """The table that fits measurements of these level sets and steps.

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
    # What is usual, real models say; families only fill in where these have nothing.
    trust = np.array([1.0 if entry.model in PROFILED_MODELS else 0.02 for entry in measurements])
    sqnr = np.concatenate([entry.channel_sqnr for entry in measurements])
    return LevelTable(
        tuple(levels),
        fit_grid(_SHAPE_AXES, shape, sqnr, energy),
        {
            shift: fit_grid(_CYCLE_AXES, sizes, cycles[:, :, place], evenly)
            for place, shift in enumerate(max_shifts)
        },
        # Classes have no order, so nothing is smoothed between them.
        fit_grid(_USUAL_AXES, places, typical, trust, smooth=(False, True, True)),
        dict(Counter(entry.model for entry in measurements)),
    )


def _joined(points: Sequence[tuple[Floats, ...]]) -> tuple[Floats, ...]:
    return tuple(np.concatenate(axis) for axis in zip(*points, strict=True))


def _typical(measurement: Measurement) -> Floats:
    """[3] the shape of a matrix's channels, as the grid of usual shapes has it."""
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
    """The grid on `axes` with the least weighted squared error at `points`.

    Args:
        axes: knots of each axis, ascending.
        points: an array [P] for each axis.
        values: [P, outputs] that the grid should have there.
        weights: [P] of the squared errors.
        smooth: the axes along which bends are penalised; by default all.
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
    """Quadratic form [nodes, nodes] of the changes of slope along each axis."""
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
    """Predictions of a table against the truth."""

    errors: Floats
    """[matrices, levels] predicted less true SQNR, in dB."""
    blind: Floats
    """The same from pattern class, sparsity and fan-in alone."""

    @classmethod
    def of(cls, table: LevelTable, measurements: Sequence[Measurement]) -> "Outcome":
        """Predict each of the measurements."""
        seen, blind = [], []
        for entry in measurements:
            known = entry.features
            alone = Features(known.sparsity, known.pattern, known.fan_in)
            seen.append(table.predict_sqnr(known) - entry.sqnr)
            blind.append(table.predict_sqnr(alone) - entry.sqnr)
        return cls(np.array(seen), np.array(blind))

    def share_within(self, decibels: float = 1.0) -> float:
        """The share of pairs of a matrix and a level set with at most this error."""
        return float((np.abs(self.errors) <= decibels).mean())


def leave_one_model_out(
    measurements: Sequence[Measurement],
    models: Sequence[str],
    levels: Sequence[LevelSet] = LEVELS,
    max_shifts: Sequence[int] = MAX_SHIFTS,
) -> dict[str, Outcome]:
    """Predict each of the models with a table that is built without it."""
    outcomes = {}
    for model in models:
        others = [entry for entry in measurements if entry.model != model]
        own = [entry for entry in measurements if entry.model == model]
        if own and others:
            outcomes[model] = Outcome.of(build(others, levels, max_shifts), own)
    return outcomes


@dataclass(frozen=True)
class Decisions:
    """What looked-up decisions for some targets came to; arrays are [decisions]."""

    shortfall: Floats
    """Target less true SQNR of the chosen level set, in dB; below 0 if it was reached."""
    excess: Floats
    """True cycles of the chosen level set over those of the cheapest that reaches the target.

    Below 1 where the choice falls short; decisions that nothing reaches are left out.
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
        """Decide for each measurement and target that the table says can be reached."""
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
