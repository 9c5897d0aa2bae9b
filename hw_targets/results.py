# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How results stand in the rows of a result memory, of a byte for each lane.

A result of int8 takes a row. A wide one, of int16, takes two, its low byte before the high one: the
result memory, the result stream and external memory keep their width, and what a lane gives is a
little-endian integer.
"""

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.numerics import ACTIVATION_BITS, WIDE_BITS

Results = NDArray[np.int8 | np.int16]
"""Results [T, N] of a program."""

WIDE_ROWS = WIDE_BITS // ACTIVATION_BITS
"""Rows of a wide result."""


def result_rows(outputs: int, wide: bool) -> int:
    """Rows that so many outputs take."""
    return outputs * WIDE_ROWS if wide else outputs


def join_rows(values: NDArray[np.int8], wide: bool) -> Results:
    """The results [T, N] in the rows [T, rows] of each token."""
    return np.ascontiguousarray(values).view("<i2") if wide else values


def split_rows(results: Results) -> NDArray[np.int8]:
    """The rows [T, rows] of results [T, N]: the inverse of `join_rows`."""
    little = np.ascontiguousarray(results).astype(results.dtype.newbyteorder("<"), copy=False)
    return little.view(np.int8)
