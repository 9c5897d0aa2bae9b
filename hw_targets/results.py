# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How results stand in the rows of a result memory, of a byte for each lane.

A result of int8 takes a row. A wide one, of int16, takes two, its low byte before the high one: the
result memory, the result stream and external memory keep their width, and what a lane gives is a
little-endian integer.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.numerics import ACTIVATION_BITS, TOP_K_COLUMNS, WIDE_BITS

Results = NDArray[np.int8 | np.int16]
"""Results [T, N] of a program."""

WIDE_ROWS = WIDE_BITS // ACTIVATION_BITS
"""Rows of a wide result."""


def result_rows(outputs: int, wide: bool) -> int:
    """Rows that so many outputs take."""
    return outputs * WIDE_ROWS if wide else outputs


def top_k_rows(count: int) -> int:
    """Rows of so many largest results with their numbers (`numerics.top_k`), all of them wide."""
    return result_rows(TOP_K_COLUMNS * count, True)


def join_top_k(
    pairs: Sequence[NDArray[np.int16]], outputs: Sequence[int], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """The largest results of all outputs, from those of groups of them: numbers and values.

    Args:
        pairs: of each group, [T, 2·n] of its n largest results (`numerics.top_k`).
        outputs: of each group.
        count: how many are wanted; each group has as many, or all of its outputs.

    Returns:
        Both [T, count]; the largest first, and of equal ones the one of the lower number.
    """
    first = np.cumsum([0, *outputs[:-1]], dtype=np.int64)
    numbers = np.concatenate(
        [
            one[:, ::TOP_K_COLUMNS].astype(np.uint16) + low
            for one, low in zip(pairs, first, strict=True)
        ],
        axis=1,
    )
    values = np.concatenate([one[:, 1::TOP_K_COLUMNS] for one in pairs], axis=1)
    order = np.argsort(~values, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(numbers, order, axis=1), np.take_along_axis(values, order, axis=1)


def join_rows(values: NDArray[np.int8], wide: bool) -> Results:
    """The results [T, N] in the rows [T, rows] of each token."""
    return np.ascontiguousarray(values).view("<i2") if wide else values


def split_rows(results: Results) -> NDArray[np.int8]:
    """The rows [T, rows] of results [T, N]: the inverse of `join_rows`."""
    little = np.ascontiguousarray(results).astype(results.dtype.newbyteorder("<"), copy=False)
    return little.view(np.int8)
