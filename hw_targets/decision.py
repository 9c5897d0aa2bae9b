# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Which variant of a kernel a tile takes: the one definition, for golden models and circuits.

The hardware counts while activations arrive, looks the count up, and starts the variant; see
`lowering/rtl/spaq_unit.py`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_BUCKETS = 64
"""Entries of a decision table: what a LUT of six inputs holds."""

MAX_VARIANTS = 16
"""The most variants of a kernel."""

VARIANT_BITS = (MAX_VARIANTS - 1).bit_length()
"""Bits of a variant's number, which the port `status_variant` has."""

MAX_SHIFT = 31


@dataclass(frozen=True)
class Decision:
    """Count the zeros of a tile, and look the count up.

    A tile is `lanes` consecutive tokens. Tokens that are missing from the last one are
    filled up by zeros, which count like any other zero.

    Raises:
        ValueError: no lanes, a shift outside 0..31, a table whose length is not a power of
            two from 2 to 64, or variants outside 0..15.
    """

    lanes: int
    """Tokens T of a tile."""
    shift: int
    """A tile with z zeros is in bucket `min(z >> shift, len(table) - 1)`."""
    table: tuple[int, ...]
    """The variant of each bucket."""

    def __post_init__(self):
        if self.lanes < 1:
            raise ValueError(f"a decision over tiles of {self.lanes} tokens")
        if not 0 <= self.shift <= MAX_SHIFT:
            raise ValueError(f"a decision's shift must be 0..{MAX_SHIFT}, not {self.shift}")
        count = len(self.table)
        if not 2 <= count <= MAX_BUCKETS or count & (count - 1):
            raise ValueError(
                f"a decision's table has a power of two of entries, 2..{MAX_BUCKETS}, not {count}"
            )
        if min(self.table) < 0 or max(self.table) >= MAX_VARIANTS:
            raise ValueError(f"a decision's variants must be 0..{MAX_VARIANTS - 1}")

    def zeros(self, x: NDArray[np.int8]) -> NDArray[np.int64]:
        """Zeros of each tile of activations [T, K], those that fill up the last one included."""
        tokens, features = x.shape
        by_token = np.full(-(-tokens // self.lanes) * self.lanes, features, np.int64)
        by_token[:tokens] = features - np.count_nonzero(x, axis=1)
        return by_token.reshape(-1, self.lanes).sum(axis=1)

    def buckets(self, zeros: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bucket of each count of zeros."""
        return np.minimum(zeros >> self.shift, len(self.table) - 1)

    def variants(self, x: NDArray[np.int8]) -> NDArray[np.int64]:
        """The variant that each tile of activations [T, K] takes."""
        return np.array(self.table, np.int64)[self.buckets(self.zeros(x))]

    def select(
        self, x: NDArray[np.int8], results: tuple[NDArray[np.int8], ...]
    ) -> NDArray[np.int8]:
        """Of each token of [T, K] the row of its tile's variant; `results` are [T, N] each."""
        taken = np.repeat(self.variants(x), self.lanes)[: len(x)]
        return np.stack(results)[taken, np.arange(len(x))]
