# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How much energy arrays take: counts of a simulated netlist, times what each event takes.

What is counted: toggles of all nets of the synthesised netlist with glitches (`daqkf.synthesis`),
rows of its memories, flip-flops, cycles, bytes to and from external memory. What is a model: the
energy of an event (`energy.toml`), which is known within a factor of three to ten, and the way from
the layer that is simulated to all layers, which is by cycles. Every figure is computed with many
draws of these energies, and an interval holds nine tenths of them. Arrays that are compared share
each draw, so that their ratio is known better than either of them.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS, SEED = 4096, 0
_UNITS = {"fJ": 1e-15, "pJ": 1e-12, "µW": 1e-6}
_MIDDLE = (5.0, 50.0, 95.0)
"""The percentiles of an interval: its ends, and what stands for it."""

_ROW_BITS = 36
"""Of a block RAM, to which its energy refers."""


@dataclass(frozen=True)
class Constant:
    """What an event takes, in J, or in W for what goes on all the time."""

    event: str
    unit: str
    low: float
    high: float
    source: str


@cache
def constants() -> Mapping[str, Constant]:
    """All events of `energy.toml`, by name; `low` and `high` in `unit`."""
    path = Path(__file__).with_name("energy.toml")
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: Constant(**entry) for name, entry in found.items()}


@cache
def draws() -> Mapping[str, NDArray[np.float64]]:
    """[DRAWS] values of each constant in J or W: uniform in the logarithm, each by itself."""
    rng = np.random.default_rng(SEED)
    return {
        name: np.exp(rng.uniform(np.log(one.low), np.log(one.high), DRAWS)) * _UNITS[one.unit]
        for name, one in constants().items()
    }


@dataclass(frozen=True)
class Interval:
    """A quantity that is known by draws: the median, and the ends of nine tenths of them."""

    low: float
    value: float
    high: float

    @classmethod
    def of(cls, drawn: NDArray[np.float64]) -> "Interval":
        """Of draws [DRAWS]."""
        low, value, high = np.percentile(drawn, _MIDDLE).tolist()
        return cls(low, value, high)


@dataclass(frozen=True)
class Events:
    """How often everything happens for a token in all layers; `leakage` is in LUT-seconds."""

    pin: float = 0
    lut: float = 0
    clock: float = 0
    block_ram: float = 0
    dsp: float = 0
    memory: float = 0
    leakage: float = 0

    def parts(self) -> dict[str, NDArray[np.float64]]:
        """[DRAWS] the energy of each kind of event, in J."""
        return {name: getattr(self, name) * drawn for name, drawn in draws().items()}

    def energy(self) -> NDArray[np.float64]:
        """[DRAWS] in J."""
        return np.sum(list(self.parts().values()), axis=0)

    def facts(self) -> dict[str, Any]:
        """The counts and, for each kind, the median of its share of the energy."""
        total = self.energy()
        shares = {name: float(np.median(part / total)) for name, part in self.parts().items()}
        counts = {name: getattr(self, name) for name in constants()}
        return {"events": counts, "shares": shares}


def rows_of(bits: float) -> float:
    """Rows of block RAM that so many bits are."""
    return bits / _ROW_BITS
