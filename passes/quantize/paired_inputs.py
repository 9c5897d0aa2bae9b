# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What kernels read in a dense network and in what has become of it, and what follows for weights.

Where the kernels of a network have been pruned or rounded up to here, the next ones read X̂ in place
of X. The moments of both say which weights make up for that.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.passes.quantize.input_statistics import InputStatistics
from daqkf.passes.quantize.pruning import PruningProblem, dense_targets

Array = NDArray[Any]


class PairedInputs:
    """Moments of the same rows in a dense network, X, and in the one that it has become, X̂.

    Rows are added some at a time, with one more feature, of which a bias is the weight: 1. They are
    counted from a point near their means, so that products in float32 are good enough;
    the sums of these are float64.
    """

    def __init__(self, features: int):
        """Of no rows yet."""
        self._features = features
        self._origins: list[Array] = [np.zeros(features, np.float32)] * 2
        self._moment = np.zeros((features + 1, features + 1))
        self._cross = np.zeros((features + 1, features + 1))
        self._problems: dict[bool, PruningProblem] = {}

    def add(self, dense: Array, now: Array, scale: Array | float = 1.0) -> None:
        """Add rows.

        Args:
            dense: X [T, K], float32.
            now: X̂.
            scale: [T, 1] the root of how much each row counts.
        """
        if not len(dense):
            return
        ones = np.broadcast_to(np.asarray(scale, np.float32), (len(dense), 1))
        if not self._moment[-1, -1]:
            self._origins = [_mean(rows, ones) for rows in (dense, now)]
        x, y = (
            _extended(rows, ones, origin)
            for rows, origin in zip((dense, now), self._origins, strict=True)
        )
        self._moment += y.T @ y
        self._cross += y.T @ x
        self._problems.clear()

    @property
    def count(self) -> float:
        """How many rows there are, each as often as it counts."""
        return max(float(self._moment[-1, -1]), np.finfo(np.float64).tiny)

    @property
    def now(self) -> InputStatistics:
        """Mean and covariance of X̂."""
        sums = self._moment[:-1, -1]
        centred = self._moment[:-1, :-1] - np.outer(sums, sums / self.count)
        return InputStatistics(self._origins[1] + sums / self.count, centred / self.count)

    def key(self) -> list[Array]:
        """What everything here is made of."""
        return [*self._origins, self._moment, self._cross]

    def problem(self, with_bias: bool) -> PruningProblem:
        """With or without a bias to take up changes of the mean."""
        if with_bias not in self._problems:
            hessian = self.now.hessian(with_bias=with_bias)
            self._problems[with_bias] = PruningProblem.of(hessian)
        return self._problems[with_bias]

    def target(self, weights: Array, with_bias: bool) -> NDArray[np.float64]:
        """Weights [K, N] that bring the outputs nearer to the dense network's, with or without a
        bias to take up changes of the mean."""
        if with_bias:
            shares = self._moment[:-1, -1:] / self.count
            cross = (self._cross[:-1, :-1] - shares * self._cross[-1, :-1]) / self.count
            return dense_targets(weights, self.now.covariance, cross)
        first, second = (
            np.concatenate([np.eye(self._features), origin[:, np.newaxis]], axis=1)
            for origin in self._origins
        )
        moment, cross = (
            second @ matrix @ other.T / self.count
            for matrix, other in ((self._moment, second), (self._cross, first))
        )
        return dense_targets(weights, moment, cross)

    def bias(
        self, bias: Array | float, weights: Array, approximation: Array
    ) -> NDArray[np.float64]:
        """The bias [N] with which the mean outputs stay when weights [K, N] change."""
        before, now = (np.asarray(matrix, np.float64) for matrix in (weights, approximation))
        wanted = self._cross[-1, :-1] @ before
        wanted += self._cross[-1, -1] * (bias + self._origins[0] @ before)
        made = self._moment[-1, :-1] @ now
        return (wanted - made) / self.count - self._origins[1] @ now


def _mean(rows: Array, ones: Array) -> NDArray[np.float32]:
    """The mean [K] of rows [T, K], each as often as it counts."""
    weights = np.square(ones.astype(np.float64))
    return ((weights * rows).sum(axis=0) / weights.sum()).astype(np.float32)


def _extended(rows: Array, ones: Array, origin: Array) -> NDArray[np.float32]:
    """Rows [T, K + 1] from an origin, with their last feature, 1, times their scales."""
    found = np.empty((len(rows), rows.shape[1] + 1), np.float32)
    np.subtract(rows, origin, out=found[:, :-1])
    found[:, -1:] = 1
    found *= ones
    return found
