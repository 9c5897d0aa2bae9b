# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How pruning, the fit of levels and rounding converge, on a layer of MiniLM with its inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.compiler.options import level_set
from daqkf.passes.quantize.compensation import compensate
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.pruning import PruningProblem
from daqkf.studies.bench.array import LAYER
from daqkf.studies.minilm.model import MiniLM, load_calibration

SPARSITY = 0.5
LEVELS = "codebook-15"
_SENTENCES = 200
_DAMPING = 0.01
"""Added to the Hessian's diagonal, as a share of its mean."""

_PASSES = 8
"""Of rounding; the compiler makes three."""


@dataclass(frozen=True)
class Convergence:
    """What is minimised, after each iteration, as a share of what there is to lose."""

    histories: Mapping[str, tuple[float, ...]]
    """`pruning` and `rounding` have the squared error of the outputs over their energy,
    `Lloyd-Max` the squared error of the weights over theirs."""

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        return {
            "layer": LAYER,
            "sparsity": SPARSITY,
            "levels": LEVELS,
            "histories": {name: list(values) for name, values in self.histories.items()},
        }


def converge() -> Convergence:
    """Prune, fit and round a layer, one after another.

    Raises:
        ModelNotFoundError: the MiniLM package is not installed.
    """
    model = MiniLM.load()
    weights = model.linear(LAYER)[0].astype(np.float64)
    rows = model.activations(LAYER, load_calibration()[:_SENTENCES]).astype(np.float64)
    hessian = rows.T @ rows / len(rows)
    hessian[np.diag_indices_from(hessian)] += _DAMPING * np.diag(hessian).mean()

    def loss(found: NDArray[np.floating]) -> float:
        change = found - weights
        return float((change * (hessian @ change)).sum())

    energy = float((weights * (hessian @ weights)).sum())
    pruning: list[float] = []
    pruned = PruningProblem.of(hessian).solve(
        weights, SPARSITY, watch=lambda found: pruning.append(loss(found) / energy)
    )
    levels = level_set(LEVELS)
    fitted = fit(pruned, levels)
    whole = float((pruned**2).sum())
    rounded = compensate(pruned, hessian, fitted, passes=_PASSES)
    left = float((pruned * (hessian @ pruned)).sum())
    start = fitted.levels * fitted.scales - pruned
    first = float((start * (hessian @ start)).sum())
    rounding = [first, *rounded.history.sum(axis=1).tolist()]
    return Convergence(
        {
            "pruning": tuple(pruning),
            "Lloyd-Max": tuple((fitted.history.sum(axis=1) / whole).tolist()),
            "rounding": tuple(error / left for error in rounding),
        }
    )
