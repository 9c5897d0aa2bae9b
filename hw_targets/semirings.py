# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Products over other semirings than (+, ×), exact, with one element of int8 as the zero.

The zero is what an absent entry holds, of weights and of activations alike: it is neutral to
the first operation and absorbs in the second. In (max, +) it stands for -∞, in (min, +) for
+∞. See Kepner and Gilbert, Graph Algorithms in the Language of Linear Algebra (SIAM, 2011).
"""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.numerics import ACTIVATION_MAX, ACTIVATION_MIN, matmul


class Semiring(StrEnum):
    """The first operation joins what the second makes of an activation and a weight."""

    PLUS_TIMES = "plus_times"
    MAX_PLUS = "max_plus"
    MIN_PLUS = "min_plus"
    OR_AND = "or_and"
    """Of the bits of a byte; -1 is the one, which lets all bits pass."""

    @property
    def zero(self) -> int:
        """The int8 of an absent entry."""
        return {
            Semiring.MAX_PLUS: ACTIVATION_MIN,
            Semiring.MIN_PLUS: ACTIVATION_MAX,
        }.get(self, 0)

    @property
    def sum_zero(self) -> int:
        """The zero among sums: so far outside that nothing finite reaches it."""
        return {Semiring.MAX_PLUS: -INFINITY, Semiring.MIN_PLUS: ~-INFINITY}.get(self, 0)

    @property
    def tropical(self) -> bool:
        """Whether the second operation is an addition."""
        return self in (Semiring.MAX_PLUS, Semiring.MIN_PLUS)


INFINITY = 512
"""-512 is the -∞ of sums, 511 the +∞: even with a weight added to them, they stay beyond
-256..254, which is what two finite int8 add up to."""


def product(
    x: NDArray[np.int8], weights: NDArray[np.int8], semiring: Semiring
) -> NDArray[np.int64]:
    """The exact product of [T, K] and [K, N] over a semiring: int64 [T, N].

    A sum over absent entries alone is the semiring's `sum_zero`.
    """
    if semiring is Semiring.PLUS_TIMES:
        return matmul(x, weights).astype(np.int64, copy=False)
    sums = np.empty((len(x), weights.shape[1]), np.int64)
    stored = weights != semiring.zero
    for channel, rows in enumerate(stored.T):
        factors, items = weights[rows, channel].astype(np.int64), x[:, rows].astype(np.int64)
        if semiring is Semiring.OR_AND:
            sums[:, channel] = np.bitwise_or.reduce(items & factors, axis=1)
            continue
        terms = np.where(items == semiring.zero, semiring.sum_zero, items + factors)
        join = np.max if semiring is Semiring.MAX_PLUS else np.min
        sums[:, channel] = join(terms, axis=1, initial=semiring.sum_zero)
    return sums
