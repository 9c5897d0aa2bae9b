# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf report`: what there is to know of weight matrices, as a table, JSON and pictures."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.dense import to_array
from daqkf.dialects.spaq import LevelsAttr, LevelSet
from daqkf.lowering.frontends.arrays import as_matrix
from daqkf.passes.files import write_atomically
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.passes.quantize.sparsity import TILE, WeightAnalysis, analyze_weights
from daqkf.passes.quantize.weights import named_matrices
from daqkf.passes.spaq_analyze import analysis_json
from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

MINILM = "minilm"
"""Stands for MiniLM's encoder where a file is expected."""

DETAILED = 8
"""Up to so many matrices get levels fitted and a picture each; beyond, there is an overview."""


@dataclass(frozen=True)
class Matrix:
    """Weights [K, N]: floats, or integer levels with their scales."""

    name: str
    weights: NDArray[Any]
    scales: NDArray[Any] | None = None
    """[N] what a level is worth, where the IR states it."""
    levels: LevelSet | None = None
    """The level set that the weights are of, where the IR states it."""

    @property
    def is_quantised(self) -> bool:
        """Whether the weights are levels already."""
        return self.weights.dtype.kind != "f"

    def pruned(self, sparsity: float) -> Self:
        """Without the smallest weights.

        Raises:
            DaqkfError: the weights are quantised.
            ValueError: a sparsity outside 0 <= sparsity < 1.
        """
        if self.is_quantised:
            raise DaqkfError(f"{self.name}: only float weights can be pruned")
        return replace(self, weights=magnitude_prune(self.weights, sparsity))


@dataclass(frozen=True)
class Quantised:
    """A matrix as integer levels: its own, or fitted ones."""

    levels: NDArray[Any]
    """[K, N]"""
    scales: NDArray[Any]
    """[N]"""
    level_set: LevelSet | None
    history: NDArray[np.float64] | None
    """[iterations, N] squared errors of a fit; none for levels that were there before."""
    noise: float
    """Squared error of the fit as a share of the weights' energy, rounding included."""

    @property
    def sqnr(self) -> float | None:
        """Energy of the weights over the squared error, in dB; none without an error."""
        return -10 * math.log10(self.noise) if self.noise > 0 else None


@dataclass(frozen=True)
class Entry:
    """A matrix with what was found of it."""

    matrix: Matrix
    analysis: WeightAnalysis
    fitted: LevelSet | None
    """The level set to fit to float weights."""

    @cached_property
    def quantised(self) -> Quantised | None:
        """The levels, if the weights have some or are to have."""
        matrix = self.matrix
        channels = matrix.weights.shape[1]
        if matrix.is_quantised:
            scales = np.ones(channels) if matrix.scales is None else matrix.scales
            return Quantised(matrix.weights, scales, matrix.levels, None, 0.0)
        if self.fitted is None:
            return None
        weights = matrix.weights.astype(np.float64)
        found = fit(weights, self.fitted)
        energy = float((weights**2).sum())
        noise = float(found.error(weights).sum()) / energy if energy else 0.0
        return Quantised(found.levels, found.scales, self.fitted, found.history, noise)

    def facts(self) -> dict[str, Any]:
        """Everything about the matrix, JSON-able."""
        element = str(self.matrix.weights.dtype)
        facts: dict[str, Any] = {"name": self.matrix.name, "element": element}
        facts |= self.analysis.facts()
        found = self.quantised
        if found is not None and found.level_set is not None:
            facts["levels"] = asdict(found.level_set)
            if found.history is not None:
                facts["levels"]["sqnr_db"] = None if found.sqnr is None else round(found.sqnr, 3)
                facts["levels"]["squared_error"] = found.history.sum(axis=1).tolist()
        return facts


def of_array(name: str, weights: Any) -> list[Matrix]:
    """One matrix, from an array or a SciPy sparse matrix; integers are levels.

    Raises:
        ValueError: not a finite real matrix with K and N above 0.
    """
    matrix, is_integer = as_matrix(weights)
    if not is_integer:
        return [Matrix(name, matrix)]
    # Not through float32, which would round large integers.
    return [Matrix(name, weights.toarray() if hasattr(weights, "toarray") else weights)]


def of_module(name: str, module: ModuleOp) -> list[Matrix]:
    """The constant matrices of a module's products.

    Raises:
        DaqkfError: there are none.
    """
    matrices: list[Matrix] = []
    for matrix, constant in named_matrices(module).items():
        scales = None if constant.scales is None else to_array(constant.scales)
        levels = constant.encoding.levels if constant.encoding else None
        stated = levels.data if isinstance(levels, LevelsAttr) else None
        matrices.append(Matrix(matrix, constant.array(), scales, stated))
    if not matrices:
        raise DaqkfError(f"{name}: there is no product by a constant matrix in it")
    return matrices


def of_minilm() -> list[Matrix]:
    """All matrices of MiniLM's encoder.

    Raises:
        ModelNotFoundError, ModelFileError: the model is not installed, or damaged.
    """
    from daqkf.studies.minilm.model import MiniLM

    model = MiniLM.load()
    return [Matrix(name, model.linear(name)[0]) for name in model.linear_names]


def choose(matrices: Sequence[Matrix], names: Sequence[str]) -> list[Matrix]:
    """The matrices of these names, or all if there are no names.

    Raises:
        DaqkfError: there is none of a name.
    """
    known = {matrix.name: matrix for matrix in matrices}
    for name in names:
        if name not in known:
            some = ", ".join(list(known)[:DETAILED]) + (", …" if len(known) > DETAILED else "")
            raise DaqkfError(f"there is no matrix '{name}' (known: {some})")
    return [known[name] for name in dict.fromkeys(names)] if names else list(matrices)


def analyse(matrices: Sequence[Matrix], levels: LevelSet, tile: int = TILE) -> list[Entry]:
    """Analyse matrices, and if there are few, fit the level set to those that are floats.

    Raises:
        ValueError: a weight that is not finite, or a tile without extent.
    """
    fitted = levels if len(matrices) <= DETAILED else None
    return [
        Entry(matrix, analyze_weights(matrix.weights, (tile, tile)), fitted) for matrix in matrices
    ]


def write_report(entries: Sequence[Entry], folder: Path) -> None:
    """Write `report.json` and the pictures, as .png and .svg, into a folder.

    `report` is the picture of the matrix, or of several an overview; then, if they are few,
    `matrices/` has the picture of each. Everything is made before the first file is written.
    """
    from daqkf.reports.figures import matrix_figure, overview_figure, rendered

    pictures: dict[str, Figure] = {}
    if len(entries) == 1:
        pictures["report"] = matrix_figure(entries[0])
    else:
        pictures["report"] = overview_figure(entries)
        for number, entry in enumerate(entries if len(entries) <= DETAILED else (), 1):
            name = re.sub(r"[^\w.-]+", "_", entry.matrix.name)[:80]
            pictures[f"matrices/{number}-{name}"] = matrix_figure(entry)
    files = {"report.json": analysis_json(entry.facts() for entry in entries).encode()}
    for name, figure in pictures.items():
        files |= {f"{name}.{kind}": rendered(figure, kind) for kind in ("png", "svg")}
    for name, data in files.items():
        write_atomically(folder / name, data)


def table(entries: Sequence[Entry]) -> "Table":
    """The findings, a row for each matrix."""
    from rich.table import Table

    shown = Table(caption="range: largest to smallest non-zero magnitude; entropy: of a weight")
    shown.add_column("matrix", overflow="fold")
    shown.add_column("shape", justify="right", no_wrap=True)
    shown.add_column("pattern", no_wrap=True)
    fitted = any(found and found.level_set for found in (entry.quantised for entry in entries))
    for heading in ("sparsity", "a channel's non-zeros", "range", "entropy"):
        shown.add_column(heading, justify="right")
    if fitted:
        shown.add_column("levels")
        shown.add_column("SQNR", justify="right")
    for entry in entries:
        shown.add_row(*_row(entry), *(_levels(entry.quantised) if fitted else ()))
    return shown


def _row(entry: Entry) -> tuple[str, ...]:
    analysis = entry.analysis
    counts = analysis.sparsity.column_nonzeros
    return (
        entry.matrix.name,
        "{}×{}".format(*analysis.shape),
        analysis.sparsity.pattern,
        f"{1 - analysis.density:.1%}",
        f"{counts.min()}…{np.median(counts):g}…{counts.max()}",
        f"{analysis.dynamic_range:.0f} dB",
        f"{analysis.entropy.total:.2f} bits",
    )


def _levels(found: Quantised | None) -> tuple[str, str]:
    if found is None or found.level_set is None:
        return "", ""
    if found.history is None:
        return describe_levels(found.level_set), "as given"
    return (
        describe_levels(found.level_set),
        "exact" if found.sqnr is None else f"{found.sqnr:.1f} dB",
    )


def describe_levels(levels: LevelSet) -> str:
    """The short form that command lines take, like `codebook-15-31`."""
    if levels.kind in ("ternary", "binary"):
        return levels.kind
    if levels.magnitudes == levels.maximum:
        return f"{levels.kind}-{levels.magnitudes}"
    return f"{levels.kind}-{levels.magnitudes}-{levels.maximum}"
