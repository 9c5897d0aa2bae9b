# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Choosing the weights to zero, and what the others become."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PENALTY = 0.1
"""Of the splitting, at first, for a Hessian with a unit diagonal. Measured on MiniLM."""


def magnitude_prune(weights: NDArray[np.floating], sparsity: float) -> NDArray[np.floating]:
    """A copy of weights [K, N] whose round(sparsity·K·N) smallest magnitudes are zero.

    Weights that are zero already count. Equal magnitudes go by their index, so the count is
    exact and the result deterministic.

    Raises:
        ValueError: not a finite matrix, or a sparsity outside 0 <= sparsity < 1.
    """
    _check(weights, sparsity)
    pruned = weights.copy()
    count = round(sparsity * weights.size)
    pruned.reshape(-1)[np.argsort(np.abs(weights), axis=None, kind="stable")[:count]] = 0
    return pruned


def second_order_prune(
    weights: NDArray[np.floating],
    hessian: NDArray[np.float64],
    sparsity: float,
    sensitivity: NDArray[np.float64] | None = None,
) -> NDArray[np.floating]:
    """Weights [K, N] with round(sparsity·K·N) zeros, the others moved to make up for them.

    A matrix that has as many zeros already stays as it is.

    Minimises `Σ_n sensitivity[n] · D[:, n]ᵀ H D[:, n]`, D being the change, by the alternating
    direction method of multipliers (Boyd et al., 2011), which Meng et al. ("ALPS", NeurIPS
    2024) applied to this problem: a dense solution and its largest entries pull each other
    together until they agree. On MiniLM at 50 % zeros it leaves two thirds of the loss of cosine
    of one pass of column-wise elimination (Frantar and Alistarh, "SparseGPT", 2023), and 0.6 to
    0.8 of the squared error of single layers: benchmarks/second_order.py. The zeros are chosen
    over the whole matrix, so channels end with different counts.

    Args:
        weights: [K, N].
        hessian: positive definite [K, K], from `InputStatistics`.
        sparsity: the share of zeros, 0 <= sparsity < 1.
        sensitivity: how much a squared error of each output [N] matters; by default equally.

    Raises:
        ValueError: not a finite matrix, a sparsity outside the range, or a Hessian of another
            size.
    """
    _check(weights, sparsity)
    if hessian.shape != (len(weights), len(weights)):
        raise ValueError(f"a Hessian for {len(weights)} features, not {list(hessian.shape)}")
    if np.count_nonzero(weights) <= weights.size - round(sparsity * weights.size):
        return weights.copy()
    return PruningProblem.of(hessian).solve(weights, sparsity, sensitivity).astype(weights.dtype)


@dataclass(frozen=True)
class Schedule:
    """How the penalty of the splitting grows."""

    iterations: int
    quick: float
    """Every third iteration, in the first two thirds of ten, …"""
    steady: float
    """… and afterwards."""


LAYER = Schedule(40, 1.3, 1.1)
"""Of a single layer, measured on MiniLM's."""

NETWORK = Schedule(20, 1.6, 1.3)
"""Where a whole network is pruned: half the time, and no worse on other data."""

_OUTPUT_DAMPING = 1.0
"""Added to the outputs' curvature, as a share of its mean: it is an estimate from few directions.
With 200 sentences MiniLM at 70 % zeros keeps a cosine of .909 with it, .904 with a tenth, .903
with the diagonal alone."""


@dataclass(frozen=True)
class PruningProblem:
    """What pruning all matrices that read the same inputs has in common; see `second_order_prune`.

    The Hessian, scaled to a unit diagonal, by its eigenvalues and vectors.
    """

    rows: NDArray[np.float64]
    """[K, 1] the roots of the Hessian's diagonal."""
    curvature: NDArray[np.float32]
    """[K, 1]."""
    vectors: NDArray[np.float32]
    """[K, K]."""

    @classmethod
    def of(cls, hessian: NDArray[np.float64]) -> "PruningProblem":
        """Of a positive definite Hessian [K, K]."""
        rows = np.sqrt(np.diag(hessian))[:, np.newaxis]
        eigenvalues, vectors = np.linalg.eigh(hessian / rows / rows.T)
        curvature = np.maximum(eigenvalues, 0).astype(np.float32)[:, np.newaxis]
        return cls(rows, curvature, vectors.astype(np.float32))

    def solve(
        self,
        weights: NDArray[np.floating],
        sparsity: float,
        sensitivity: NDArray[np.float64] | None = None,
        schedule: Schedule = LAYER,
        watch: Callable[[NDArray[np.floating]], None] | None = None,
    ) -> NDArray[np.float64]:
        """Weights [K, N] with round(sparsity·K·N) zeros at least; see `second_order_prune`.

        `watch` is told the pruned weights [K, N] of each iteration.

        With a matrix [N, N] of sensitivities errors of several outputs may make up for each other:
        `tr(DᵀHD·S)`. H and S are diagonal in the bases of their eigenvectors, where the dense
        solution is a division, as in K-FAC (Martens and Grosse, 2015).
        """
        keep = weights.size - round(sparsity * weights.size)
        rows, left = self.rows, self.vectors
        columns, values, right = _outputs(sensitivity, weights.shape[1])
        # With a unit diagonal and unit sensitivity, magnitudes can be compared.
        scaled = (weights * rows * columns).astype(np.float32)
        curvature = self.curvature if values is None else self.curvature * values

        # In place wherever it can be: of large matrices, moving them takes as long as multiplying.
        turned, dense, buffer = (np.empty_like(scaled) for _ in range(3))

        def turn(matrix: NDArray[np.floating]) -> NDArray[np.floating]:
            np.matmul(left.T, matrix, out=turned)
            return turned if right is None else turned @ right

        target = curvature * turn(scaled)
        sparse = scaled * _largest(scaled, keep)
        multiplier = np.zeros_like(scaled)
        penalty = np.float32(_PENALTY)
        for iteration in range(schedule.iterations):
            np.multiply(sparse, penalty, out=buffer)
            buffer -= multiplier
            found = turn(buffer)
            found += target
            found /= curvature + penalty
            np.matmul(left, found if right is None else found @ right.T, out=dense)
            np.divide(multiplier, penalty, out=buffer)
            buffer += dense
            np.multiply(buffer, _largest(buffer, keep), out=sparse)
            if watch is not None:
                watch(sparse / (rows * columns))
            dense -= sparse
            dense *= penalty
            multiplier += dense
            if iteration % 3 == 2:
                penalty *= np.float32(schedule.steady if iteration > 6 else schedule.quick)
        return sparse / (rows * columns)


def _outputs(
    sensitivity: NDArray[np.float64] | None, channels: int
) -> tuple[NDArray[np.float64], NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Roots [N] of the sensitivities' diagonal, and eigenvalues and vectors of what is left."""
    if sensitivity is None:
        return np.ones(channels), None, None
    if sensitivity.ndim == 1:
        return np.sqrt(_floored(sensitivity)), None, None
    mean = np.trace(sensitivity) / channels
    if not mean > 0:
        return np.ones(channels), None, None
    damped = sensitivity / mean + _OUTPUT_DAMPING * np.eye(channels)
    columns = np.sqrt(np.diag(damped))
    values, vectors = np.linalg.eigh(damped / columns / columns[:, np.newaxis])
    return columns, np.maximum(values, 0).astype(np.float32), vectors.astype(np.float32)


_STEP, _RIDGE = 0.5, 0.1
"""The share of the way to the dense targets, and the damping on it."""


def dense_targets(
    weights: NDArray[np.floating],
    covariance: NDArray[np.float64],
    cross: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Weights [K, N] that bring a kernel's outputs on other inputs nearer to what they were.

    Where a network's kernels have been changed up to here, a kernel reads X̂ in place of X. The
    least-squares solution of X̂·W' = X·W, damped, makes up for that, as far as it can; half of the
    way to it is what generalises (measured on language models and on MiniLM).

    Args:
        weights: real.
        covariance: of the inputs [K, K] as they are now, X̂ᵀX̂ / T.
        cross: X̂ᵀX / T, [K, K].
    """
    weights = np.asarray(weights, np.float64)
    damping = _RIDGE * float(np.trace(covariance)) / len(covariance)
    if damping <= 0:
        return weights
    unit = damping * np.eye(len(covariance))
    solved = np.linalg.solve(covariance + unit, (cross + unit) @ weights)
    return _STEP * solved + (1 - _STEP) * weights


def allocate_sparsity(
    scores: list[NDArray[Any]], sparsity: float, spread: float = 0.25
) -> list[float]:
    """The share of zeros of each matrix, so that all together have `sparsity`.

    One threshold over the scores of all weights decides, which is what makes the sum of the
    scores of the zeroed weights least; but no matrix is further than `spread` from the average.

    Args:
        scores: for each matrix the cost of zeroing each weight, any shape.
        sparsity: of all weights together.
        spread: the largest difference to the average.
    """
    ordered = [np.sort(score, axis=None) for score in scores]
    total = sum(len(score) for score in ordered)
    floor, ceiling = max(0.0, sparsity - spread), min(sparsity + spread, (1 + sparsity) / 2)

    def shares(threshold: float) -> list[float]:
        found = (np.searchsorted(score, threshold) / len(score) for score in ordered)
        return [float(np.clip(share, floor, ceiling)) for share in found]

    # Bisection over the logarithm: scores span many orders of magnitude.
    smallest = min((score[score > 0].min() for score in ordered if (score > 0).any()), default=1.0)
    low, high = np.log(smallest) - 1, np.log(max(score[-1] for score in ordered) + smallest) + 1
    for _ in range(60):
        middle = (low + high) / 2
        zeros = sum(
            share * len(score) for share, score in zip(shares(np.exp(middle)), ordered, strict=True)
        )
        low, high = (middle, high) if zeros < sparsity * total else (low, middle)
    return shares(float(np.exp(high)))


def require_sparsity(sparsity: float) -> None:
    """Check a share of zeros to reach.

    Raises:
        ValueError: it is not 0 ≤ sparsity < 1.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be 0 <= sparsity < 1, not {sparsity}")


def _check(weights: NDArray[Any], sparsity: float) -> None:
    require_sparsity(sparsity)
    if weights.ndim != 2 or not np.isfinite(weights).all():
        raise ValueError("only a finite matrix [K, N] can be pruned")


def _floored(sensitivity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sensitivities that differ by at most a factor of 20 from their mean downwards.

    They are estimates; a channel that seems not to matter at all must not lose everything.
    """
    mean = sensitivity.mean()
    return np.maximum(sensitivity, 0.05 * mean) / mean if mean > 0 else np.ones_like(sensitivity)


def _largest(values: NDArray[np.floating], count: int) -> NDArray[np.bool]:
    """A mask of exactly the `count` largest magnitudes; ties go by index."""
    if not count:
        return np.zeros(values.shape, bool)
    magnitudes = np.abs(values).reshape(-1)
    magnitudes.partition(len(magnitudes) - count)
    threshold = magnitudes[len(magnitudes) - count]
    mask = np.abs(values) > threshold
    left = count - int(np.count_nonzero(mask))
    ties = np.flatnonzero(np.abs(values).reshape(-1) == threshold)
    mask.reshape(-1)[ties[:left]] = True
    return mask
