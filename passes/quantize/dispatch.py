# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Choosing the decision table of a dispatch: which variant may a tile with z zeros take?

A weight that is off by Δw costs an output x·Δw, so a zero hides the errors of its weights. And
where a tensor has one scale, a tile with many zeros is mostly a tile of small values, so that
the rest is hidden too. How much is measured on calibration tiles; the theory, an error² that
goes with the non-zeros, is only used beyond the most zeros that any of them has.
"""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

BUCKETS = 64
"""Rows of a decision table, by default."""


def bucket_shift(most: int, buckets: int) -> int:
    """The least shift that maps counts 0..most to buckets; `buckets` is a power of two."""
    return max(0, most.bit_length() - (buckets.bit_length() - 1))


def tile_errors(
    reference: NDArray[np.float64], results: NDArray[np.float64], lanes: int
) -> NDArray[np.float64]:
    """Mean squared error of each tile of results [T, N] → [tiles]; the last may be shorter."""
    squared = ((results - reference) ** 2).mean(axis=1)
    begins = np.arange(0, len(squared), lanes)
    return np.add.reduceat(squared, begins) / np.diff(np.append(begins, len(squared)))


def expected_errors(
    zeros: NDArray[np.int64], errors: NDArray[np.float64], most: int, shift: int, buckets: int
) -> NDArray[np.float64]:
    """The mean squared error of each variant in each bucket, [V, buckets].

    Of calibration tiles `zeros` [tiles] are counted and `errors` [V, tiles] measured; a tile
    has at most `most` zeros. The estimate falls with the zeros: it is the isotonic regression
    (Ayer et al., 1955) of the buckets' means, each as heavy as it has tiles. A bucket without
    tiles has the error of the next one with fewer zeros, or less beyond the last, by its
    non-zeros; buckets before the first are unknown, infinity.
    """
    from scipy import optimize  # pyright: ignore[reportMissingTypeStubs]

    bucket = np.minimum(zeros >> shift, buckets - 1)
    tiles = np.bincount(bucket, minlength=buckets)
    seen = np.flatnonzero(tiles)
    isotonic_regression = cast(Any, optimize).isotonic_regression
    falling: list[NDArray[np.float64]] = [
        isotonic_regression(
            np.bincount(bucket, error, buckets)[seen] / tiles[seen],
            weights=tiles[seen],
            increasing=False,
        ).x
        for error in errors
    ]
    # The seen bucket that speaks for each bucket, and how many non-zeros both may have.
    speaker = np.searchsorted(seen, np.arange(buckets), side="right") - 1
    nonzeros = np.maximum(most - (np.arange(buckets) << shift), 0)
    share = np.where(np.arange(buckets) > seen[-1], nonzeros / max(nonzeros[seen[-1]], 1), 1)
    return np.where(speaker < 0, np.inf, np.array(falling)[:, np.maximum(speaker, 0)] * share)


def decision_table(
    zeros: NDArray[np.int64],
    errors: NDArray[np.float64],
    cycles: NDArray[np.int64],
    most: int,
    shift: int,
    buckets: int,
    budget: float,
) -> NDArray[np.int64]:
    """The variant of each bucket, [buckets]: the fastest with an RMS error within the budget.

    Where no variant's is, the most accurate. `cycles` [V] are those of a tile. Variants that
    are over all tiles no more accurate than an equally fast or faster one are never taken, so
    more zeros never lead to a slower variant. See `expected_errors`.

    Raises:
        ValueError: a budget that is no number, or below 0.
    """
    if not budget >= 0:
        raise ValueError(f"an error budget must be at least 0 output steps, not {budget}")
    overall = errors.mean(axis=1)
    order = np.lexsort((overall, cycles))
    best_before = np.minimum.accumulate(np.append(np.inf, overall[order][:-1]))
    useful = order[overall[order] < best_before]
    fits = expected_errors(zeros, errors[useful], most, shift, buckets) <= budget**2
    return useful[np.where(fits.any(axis=0), fits.argmax(axis=0), len(useful) - 1)]
