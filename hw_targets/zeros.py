# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The structures that the zeros of a matrix [K, N] may follow, and how a matrix is tiled.

Analysis names a structure and the verifier holds it against the bytes; both ask here. A mask
is true where a weight is not zero.
"""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool]

_Numbers = tuple[int, ...]


def _starts(extent: int, step: int) -> NDArray[np.int64]:
    """Where the aligned pieces of `step` begin; one piece if that is beyond the extent."""
    return np.arange(0, extent, min(step, extent))


def tile_counts(mask: Mask, rows: int, columns: int) -> NDArray[np.int64]:
    """Non-zeros of each aligned tile: [⌈K/rows⌉, ⌈N/columns⌉]; the last ones may be smaller."""
    down = np.add.reduceat(mask, _starts(len(mask), rows), axis=0, dtype=np.int64)
    return np.add.reduceat(down, _starts(mask.shape[1], columns), axis=1)


def tile_sizes(shape: tuple[int, int], rows: int, columns: int) -> NDArray[np.int64]:
    """Weights of each aligned tile, shaped as in `tile_counts`."""
    heights = np.diff(_starts(shape[0], rows), append=shape[0])
    widths = np.diff(_starts(shape[1], columns), append=shape[1])
    return np.multiply.outer(heights, widths)


def diagonal(shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the last channel, each [K], that the diagonal passes in each feature.

    It runs from corner to corner: through the channels ⌊k·N/K⌋ … ⌈(k + 1)·N/K⌉ - 1 of
    feature k, which is k alone in a square matrix.
    """
    features, channels = shape
    k = np.arange(features)
    return k * channels // features, -(-(k + 1) * channels // features) - 1


def half_bandwidth(mask: Mask) -> int:
    """How many channels the farthest non-zero is away from the diagonal; 0 if there is none."""
    first, last = diagonal(mask.shape)
    used = mask.any(axis=1)
    left = first - mask.argmax(axis=1)
    right = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1) - last
    return int(np.where(used, np.maximum(left, right), 0).max(initial=0))


def band_size(shape: tuple[int, int], half: int) -> int:
    """How many weights lie at most `half` channels away from the diagonal."""
    first, last = diagonal(shape)
    widths = np.minimum(last + half, shape[1] - 1) - np.maximum(first - half, 0) + 1
    return int(widths.sum())


def _dense(mask: Mask, numbers: _Numbers) -> bool:
    return bool(mask.all())


def _empty(mask: Mask, numbers: _Numbers) -> bool:
    return not mask.any()


def _unstructured(mask: Mask, numbers: _Numbers) -> bool:
    return True


def _column(mask: Mask, numbers: _Numbers) -> bool:
    return bool((mask.all(axis=0) | ~mask.any(axis=0)).all())


def _row(mask: Mask, numbers: _Numbers) -> bool:
    return _column(mask.T, numbers)


def _n_of_m(mask: Mask, numbers: _Numbers) -> bool:
    most, group = numbers
    features, channels = mask.shape
    if features % group:
        return False
    return bool(mask.reshape(-1, group, channels).sum(axis=1).max() <= most)


def _block(mask: Mask, numbers: _Numbers) -> bool:
    rows, columns = numbers
    return _repeats(mask, rows) and _repeats(mask.T, columns)


def _repeats(mask: Mask, extent: int) -> bool:
    """Whether each row is equal to the first of its group of `extent`; mostly the second tells."""
    first = mask[::extent]
    others = (mask[offset::extent] for offset in range(1, min(extent, len(mask))))
    return all(np.array_equal(rows, first[: len(rows)]) for rows in others)


def _banded(mask: Mask, numbers: _Numbers) -> bool:
    (half,) = numbers
    return half_bandwidth(mask) <= half and 2 * band_size(mask.shape, half) < mask.size


_STRUCTURES: dict[str, Callable[[Mask, _Numbers], bool]] = {
    r"dense": _dense,
    r"empty": _empty,
    r"column": _column,
    r"row": _row,
    r"block:(\d{1,9})x(\d{1,9})": _block,
    r"banded:(\d{1,9})": _banded,
    r"(\d{1,9}):(\d{1,9})": _n_of_m,
    r"unstructured": _unstructured,
}

PATTERNS = "dense, empty, column, row, block:RxC, banded:H, N:M, unstructured"
"""How patterns are spelled, for messages.

- `column`, `row`: whole output channels or features are zero, the others have no zero.
- `block:RxC`: each aligned block of R features by C channels is zero or has no zero; those at
  the edges may be smaller.
- `banded:H`: no non-zero is more than H channels away from the diagonal, and less than half of
  the matrix is as near as that. See `diagonal`.
- `N:M`: each aligned group of M features has at most N non-zeros in every channel.
- `unstructured`: nothing is promised.
"""


def _parse(pattern: str) -> tuple[Callable[[Mask, _Numbers], bool], _Numbers]:
    for spelling, holds in _STRUCTURES.items():
        match = re.fullmatch(spelling, pattern)
        if match is None:
            continue
        numbers = tuple(int(number) for number in match.groups())
        if holds is _n_of_m and not 1 <= numbers[0] <= numbers[1]:
            raise ValueError(f"a pattern N:M needs 1 <= N <= M, not '{pattern}'")
        if holds is _block and 0 in numbers:
            raise ValueError(f"the blocks of a pattern need extents above 0, not '{pattern}'")
        return holds, numbers
    raise ValueError(f"unknown sparsity pattern '{pattern}' (known: {PATTERNS})")


def check_pattern(pattern: str) -> None:
    """Refuse what is no pattern.

    Raises:
        ValueError: it is spelled otherwise than in `PATTERNS`, or its numbers make no sense.
    """
    _parse(pattern)


def follows(mask: Mask, pattern: str) -> bool:
    """Whether the zeros of a mask [K, N] keep the promise of a pattern.

    Raises:
        ValueError: it is no pattern.
    """
    holds, numbers = _parse(pattern)
    return holds(mask, numbers)
