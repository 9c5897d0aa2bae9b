# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Choosing the weights to zero, and what the others become."""

import numpy as np
from numpy.typing import NDArray

_ITERATIONS = 40
_PENALTY = 0.1
"""Of the splitting, at first, for a Hessian with a unit diagonal. Measured on MiniLM."""
_QUICK, _STEADY = 1.3, 1.1
"""Growth of the penalty every third iteration, in the first two thirds of ten and afterwards."""


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
    features, channels = weights.shape
    if hessian.shape != (features, features):
        raise ValueError(f"a Hessian for {features} features, not {list(hessian.shape)}")
    keep = weights.size - round(sparsity * weights.size)
    if np.count_nonzero(weights) <= keep:
        return weights.copy()
    # With a unit diagonal and unit sensitivity, magnitudes can be compared.
    rows = np.sqrt(np.diag(hessian))[:, np.newaxis]
    columns = np.ones(channels) if sensitivity is None else np.sqrt(_floored(sensitivity))
    scaled = (weights * rows * columns).astype(np.float32)
    unit = hessian / rows / rows.T
    eigenvalues, vectors = np.linalg.eigh(unit)
    curvature = np.maximum(eigenvalues, 0).astype(np.float32)[:, np.newaxis]
    vectors = vectors.astype(np.float32)
    target = curvature * (vectors.T @ scaled)

    sparse = np.where(_largest(scaled, keep), scaled, np.float32(0))
    multiplier = np.zeros_like(scaled)
    penalty = np.float32(_PENALTY)
    for iteration in range(_ITERATIONS):
        pull = vectors.T @ (penalty * sparse - multiplier)
        dense = vectors @ ((target + pull) / (curvature + penalty))
        shifted = dense + multiplier / penalty
        sparse = np.where(_largest(shifted, keep), shifted, np.float32(0))
        multiplier += penalty * (dense - sparse)
        if iteration % 3 == 2:
            penalty *= np.float32(_STEADY if iteration > 6 else _QUICK)
    return (sparse / (rows * columns)).astype(weights.dtype)


def allocate_sparsity(scores: list[NDArray], sparsity: float, spread: float = 0.25) -> list[float]:
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


def _check(weights: NDArray, sparsity: float) -> None:
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be 0 <= sparsity < 1, not {sparsity}")
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
    threshold = np.partition(magnitudes, len(magnitudes) - count)[len(magnitudes) - count]
    mask = magnitudes > threshold
    ties = np.flatnonzero(magnitudes == threshold)
    mask[ties[: count - int(mask.sum())]] = True
    return mask.reshape(values.shape)
