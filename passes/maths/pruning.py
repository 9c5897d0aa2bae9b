# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Choosing the weights to zero."""

import numpy as np
from numpy.typing import NDArray


def magnitude_prune(weights: NDArray[np.floating], sparsity: float) -> NDArray[np.floating]:
    """A copy of weights [K, N] whose round(sparsity·K·N) smallest magnitudes are zero.

    Weights that are zero already count. Equal magnitudes go by their index, so the count is
    exact and the result deterministic.

    Raises:
        ValueError: not a finite matrix, or a sparsity outside 0 <= sparsity < 1.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be 0 <= sparsity < 1, not {sparsity}")
    if weights.ndim != 2 or not np.isfinite(weights).all():
        raise ValueError("only a finite matrix [K, N] can be pruned")
    pruned = weights.copy()
    count = round(sparsity * weights.size)
    pruned.reshape(-1)[np.argsort(np.abs(weights), axis=None, kind="stable")[:count]] = 0
    return pruned
