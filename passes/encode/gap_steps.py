# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Steps of a power of two of levels, which reach across a gap between levels."""

import numpy as np
from numpy.typing import NDArray

from daqkf.passes.encode.grouping import ranks

type Ints = NDArray[np.int64]


def parts(gap: Ints, max_shift: int) -> Ints:
    """How many steps of 1, 2, 4 … 2^max_shift levels the gaps take at least."""
    whole = gap >> max_shift
    return whole + np.bitwise_count(gap - (whole << max_shift)).astype(np.int64)


def step_shifts(gap: Ints, steps: Ints, max_shift: int) -> Ints:
    """The shifts of the steps of all gaps, one gap after another, the largest first."""
    rank = ranks(steps)
    gap = np.repeat(gap, steps)
    whole = gap >> max_shift
    rest = gap - (whole << max_shift)
    shift = np.full(len(gap), max_shift, np.int64)
    for _ in range(max_shift):  # peel the highest bit of what is left, one rank at a time
        partial = rank >= whole
        bit = np.frexp(np.maximum(rest, 1))[1] - 1
        shift = np.where(partial, bit, shift)
        rest = np.where(partial & (rank > whole), rest - (1 << bit), rest)
        rank = np.where(partial & (rank > whole), rank - 1, rank)
    return shift
