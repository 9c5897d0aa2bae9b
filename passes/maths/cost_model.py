# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Which family of elements suits kernels best on a fabric: predicted cycles times area.

Cycles come from the streams themselves, areas from synthesised elements (`hw_targets/prices`).
Memories and the post unit are not in it: their number does not depend on the family.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.dfke import Machine
from daqkf.hw_targets.prices import Prices, load_prices
from daqkf.passes.maths.families import balance


@dataclass(frozen=True)
class Estimate:
    """What an array of one family takes to run some kernels."""

    family: str
    cycles: int
    """Of a tile of tokens, through all kernels."""
    cells: float
    """Logic cells of all elements."""
    dsps: float
    area: float
    """Cells, with the DSP blocks at their worth."""

    @property
    def price(self) -> float:
        """Cycles times area: less is better."""
        return self.cycles * self.area


def rank(
    kernels: Sequence[NDArray[np.int8]],
    machine: Machine,
    prices: Prices,
    families: Iterable[str] | None = None,
) -> list[Estimate]:
    """Estimates for the machine with elements of each family, the best first.

    Args:
        kernels: levels [K, N] of all that the array is to run.
        machine: its own families do not matter.
        prices: of a fabric.
        families: candidates; by default all that have a price.

    Raises:
        ValueError: none of the families can run these kernels; the message is the last one's.
    """
    found: list[Estimate] = []
    reason = "there are no candidates"
    for family in prices.families if families is None else families:
        try:
            found.append(_estimate(kernels, machine, prices, family))
        except ValueError as error:
            reason = str(error)
    if not found:
        raise ValueError(f"no family fits: {reason}")
    return sorted(found, key=lambda estimate: estimate.price)


def _estimate(
    kernels: Sequence[NDArray[np.int8]], machine: Machine, prices: Prices, family: str
) -> Estimate:
    if family not in prices.families:
        raise ValueError(f"fabric '{prices.fabric}' has no price for '{family}'")
    candidate = replace(machine, families=(family,))
    post_cycles = machine.lanes // machine.post_lanes
    cycles = 0
    for levels in kernels:
        _, words = balance(levels, candidate)
        cycles += max(int(words.max()), levels.shape[1] * post_cycles)
    price, lanes = prices.families[family], machine.lanes
    return Estimate(
        family,
        cycles,
        machine.pes * price.cells(lanes),
        machine.pes * price.dsps(lanes),
        prices.area(family, machine.pes, lanes),
    )


def with_family(
    kernels: Sequence[NDArray[np.int8]], machine: Machine, family: str, fabric: str
) -> Machine:
    """The machine with elements of this family, or with `auto` of the one that ranks best.

    Raises:
        ValueError: an unknown family or fabric, or no family that fits.
    """
    if family == "auto":
        family = rank(kernels, machine, load_prices(fabric))[0].family
    return replace(machine, families=(family,))
