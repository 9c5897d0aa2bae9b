# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Describing where the zeros of a matrix are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SparsitySummary:
    """The zeros of a matrix [K, N]."""

    nonzeros: int
    column_nonzeros: NDArray[np.int64]
    """[N] non-zeros of each output channel."""
    pattern: str
    """`dense`, `empty`, `column`, `row`, `n:m` as in "2:4", or `unstructured`."""


def analyze(weights: NDArray) -> SparsitySummary:
    """Count the non-zeros of weights [K, N] and name the structure of the zeros.

    `column` and `row`: whole output channels or features are zero, the others full. `n:m`:
    each aligned group of m = 4 or 8 features has at most n ≤ m/2 non-zeros in every channel,
    with the smallest such n of the smallest such m.
    """
    nonzero = weights != 0
    columns = nonzero.sum(axis=0)
    return SparsitySummary(int(columns.sum()), columns, _pattern(nonzero, columns))


def _pattern(nonzero: NDArray[np.bool], columns: NDArray[np.int64]) -> str:
    features, channels = nonzero.shape
    rows = nonzero.sum(axis=1)
    if nonzero.all():
        return "dense"
    if not nonzero.any():
        return "empty"
    if np.isin(columns, (0, features)).all():
        return "column"
    if np.isin(rows, (0, channels)).all():
        return "row"
    for group in (4, 8):
        if features % group == 0:
            most = int(nonzero.reshape(-1, group, channels).sum(axis=1).max())
            if most <= group // 2:
                return f"{most}:{group}"
    return "unstructured"
