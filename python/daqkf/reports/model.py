# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The data of a report: weight matrices, their analyses, and the levels fitted to them."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.dense import to_array
from daqkf.dialects.spaq import LevelsAttr, LevelSet
from daqkf.lowering.frontends.arrays import as_matrix
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.passes.quantize.sparsity import TILE, WeightAnalysis, analyze_weights
from daqkf.passes.quantize.weights import named_matrices
from daqkf.support.errors import DaqkfError

DETAILED = 8
"""Up to this number of matrices, each gets fitted levels and a picture; with more, there is only an
overview."""


@dataclass(frozen=True)
class Matrix:
    """Weights [K, N]: floats, or integer levels with their scales."""

    name: str
    weights: NDArray[Any]
    scales: NDArray[Any] | None = None
    """The scale of each output, [N], where the IR states it."""
    levels: LevelSet | None = None
    """The level set of the weights, where the IR states it."""

    @property
    def is_quantised(self) -> bool:
        """Whether the weights are levels already."""
        return self.weights.dtype.kind != "f"

    def pruned(self, sparsity: float) -> Self:
        """The matrix with its smallest weights set to zero.

        Raises:
            DaqkfError: the weights are quantised.
            ValueError: the sparsity is not in 0 <= sparsity < 1.
        """
        if self.is_quantised:
            raise DaqkfError(f"{self.name}: only float weights can be pruned")
        return replace(self, weights=magnitude_prune(self.weights, sparsity))


@dataclass(frozen=True)
class Quantised:
    """A matrix as integer levels, either its own or fitted ones."""

    levels: NDArray[Any]
    """Levels, [K, N]."""
    scales: NDArray[Any]
    """Scales, [N]."""
    level_set: LevelSet | None
    history: NDArray[np.float64] | None
    """The squared errors [iterations, N] of a fit; None if the matrix had levels before."""
    noise: float
    """The squared error of the fit, rounding included, relative to the weights' energy."""

    @property
    def sqnr(self) -> float | None:
        """The energy of the weights over the squared error in dB; None if there is no error."""
        return -10 * math.log10(self.noise) if self.noise > 0 else None


@dataclass(frozen=True)
class Curve:
    """The cycles that accuracies cost: one curve of a trade-off."""

    label: str
    points: Sequence[tuple[int, float]]
    """The cycles and the accuracy of each point."""
    reference: int
    """The cycles of the reference."""
    alone: Sequence[tuple[int, float]] = ()
    """Points that are not on the curve."""


@dataclass(frozen=True)
class Entry:
    """A matrix with its analysis."""

    matrix: Matrix
    analysis: WeightAnalysis
    fitted: LevelSet | None
    """The level set to fit to the weights, if these are floats."""

    @cached_property
    def quantised(self) -> Quantised | None:
        """The levels of the weights, or those fitted to them; None if there are neither."""
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
        """All findings about the matrix as values for JSON."""
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
    """Make a matrix of an array or a SciPy sparse matrix; integers are taken as levels.

    Raises:
        ValueError: it is not a finite real matrix with K and N above 0.
    """
    matrix, is_integer = as_matrix(weights)
    if not is_integer:
        return [Matrix(name, matrix)]
    # A conversion to float32 would round large integers.
    return [Matrix(name, weights.toarray() if hasattr(weights, "toarray") else weights)]


def of_module(name: str, module: ModuleOp) -> list[Matrix]:
    """The constant matrices of a module's matrix products.

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


def choose(matrices: Sequence[Matrix], names: Sequence[str]) -> list[Matrix]:
    """The matrices of these names, or all if no names are given.

    Raises:
        DaqkfError: there is no matrix of a name.
    """
    known = {matrix.name: matrix for matrix in matrices}
    for name in names:
        if name not in known:
            some = ", ".join(list(known)[:DETAILED]) + (", …" if len(known) > DETAILED else "")
            raise DaqkfError(f"there is no matrix '{name}' (known: {some})")
    return [known[name] for name in dict.fromkeys(names)] if names else list(matrices)


def analyse(matrices: Sequence[Matrix], levels: LevelSet, tile: int = TILE) -> list[Entry]:
    """Analyse matrices; if there are at most `DETAILED`, fit the level set to those of floats.

    Raises:
        ValueError: a weight is not finite, or `tile` is below 1.
    """
    fitted = levels if len(matrices) <= DETAILED else None
    return [
        Entry(matrix, analyze_weights(matrix.weights, (tile, tile)), fitted) for matrix in matrices
    ]


def describe_levels(levels: LevelSet) -> str:
    """A level set in the short form of the command lines, such as `codebook-15-31`."""
    if levels.kind in ("ternary", "binary"):
        return levels.kind
    if levels.magnitudes == levels.maximum:
        return f"{levels.kind}-{levels.magnitudes}"
    return f"{levels.kind}-{levels.magnitudes}-{levels.maximum}"
