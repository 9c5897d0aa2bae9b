# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What second-order methods need to know of a layer's inputs: their mean and covariance.

The squared error that a change D of the weights makes in the outputs is `tr(DᵀHD)` a token,
with H the second moment of the inputs (LeCun et al., "Optimal Brain Damage", 1990; Hassibi and
Stork, "Optimal Brain Surgeon", 1993). If the bias may change too it takes up what D makes of the
mean, and H is the covariance, which is never larger.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DAMPING = 0.01
"""Added to the Hessian's diagonal, as a share of its mean: few samples leave directions open."""


@dataclass(frozen=True)
class InputStatistics:
    """Moments of activations [T, K]."""

    mean: NDArray[np.float64]
    """[K]"""
    covariance: NDArray[np.float64]
    """[K, K]"""

    @classmethod
    def of(cls, samples: NDArray[Any]) -> "InputStatistics":
        """The moments of samples [T, K], of any floating type.

        Raises:
            ValueError: as `check`.
        """
        cls.check(samples)
        mean = samples.mean(axis=0, dtype=np.float64)
        # The products of samples in single precision are as good as the samples, if they neither
        # overflow nor vanish: so their unit is a power of two near the largest.
        centred = samples - mean.astype(samples.dtype if samples.dtype.kind == "f" else float)
        exponent = int(np.frexp(np.abs(centred).max())[1])
        centred = np.ldexp(centred, -exponent)
        moment = (centred.T @ centred).astype(np.float64) / len(samples)
        return cls(mean, np.ldexp(moment, 2 * exponent))

    @staticmethod
    def check(samples: NDArray[Any]) -> None:
        """Refuse samples that have no moments.

        Raises:
            ValueError: no matrix, no tokens, or a value that is not finite; the message names
                its token and feature.
        """
        if samples.ndim != 2 or not samples.size:
            raise ValueError(f"samples must be activations [T, K], not {list(samples.shape)}")
        if not np.isfinite(samples).all():
            token, feature = np.argwhere(~np.isfinite(samples))[0]
            raise ValueError(f"sample [{token}, {feature}] is {samples[token, feature]}")

    def hessian(self, *, with_bias: bool = True) -> NDArray[np.float64]:
        """The damped Hessian [K, K]; without a bias to take up the mean, its outer product too.

        Inputs that never vary get the damping of a unit Hessian, so that the result is always
        positive definite.
        """
        moment = self.covariance
        if not with_bias:
            moment = moment + np.outer(self.mean, self.mean)
        damping = DAMPING * np.trace(moment) / len(moment)
        return moment + (damping or DAMPING) * np.eye(len(moment))

    def bias_shift(self, weights: NDArray[Any], approximation: NDArray[Any]) -> NDArray[np.float64]:
        """What the bias [N] must gain so that the mean output stays when [K, N] weights change."""
        return self.mean @ (np.asarray(weights, np.float64) - approximation)


def output_error(
    weights: NDArray[Any], approximation: NDArray[Any], hessian: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The expected squared error of each output [N] a token: diag(DᵀHD)."""
    difference = np.asarray(weights, np.float64) - approximation
    return (difference * (hessian @ difference)).sum(axis=0)
