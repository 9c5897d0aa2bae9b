# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the paper published."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class PublishedRow:
    """A row of the paper's table."""

    sparsity: float
    baseline_ms: float
    ms: float
    speedup: float
    samples_per_watt: float


@dataclass(frozen=True)
class Published:
    """The paper's figures."""

    rows: Sequence[PublishedRow]
    headline: Mapping[str, float]
    """`speedup` and `energy`, of the abstract."""

    def row(self, sparsity: float) -> PublishedRow | None:
        """The row of a share of zeros, if there is one."""
        return next((row for row in self.rows if row.sparsity == sparsity), None)

    def goal(self, sparsity: float) -> float | None:
        """The speed-up that ours should have: twice the paper's, and its headline from half of the
        weights zero on."""
        row = self.row(sparsity)
        if row is None:
            return None
        return max(2 * row.speedup, self.headline["speedup"] if sparsity >= 0.5 else 0)


@cache
def published() -> Published:
    """What `published.toml` has."""
    path = Path(__file__).with_name("published.toml")
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    return Published([PublishedRow(**row) for row in found["rows"]], found["headline"])
