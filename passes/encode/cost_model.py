# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Which family of elements suits kernels best on a fabric: predicted cycles times area.

Cycles come from the streams themselves, areas from synthesised elements (`hw_targets/prices`).
The post unit is not in it, which does not depend on the family, nor are memories, of which only
dense elements need fewer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.prices import Prices, load_prices
from daqkf.hw_targets.semirings import Semiring
from daqkf.hw_targets.timing import tile_cycles
from daqkf.passes.defaults import DEFAULT_FABRIC
from daqkf.passes.encode.channels import share_out_channels
from daqkf.passes.encode.index_coding import choose

AUTO = "auto"
"""In place of a family: the one that ranks best."""


DOT_PRODUCTS = (Semiring.PLUS_TIMES,)


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
        families: candidates; by default all that have a price, but those that also multiply over
            other semirings, for which no dot product has a use.

    Raises:
        ValueError: none of the families can run these kernels; the message is the last one's.
    """
    prices = prices.suited(machine)
    found: list[Estimate] = []
    reason = "there are no candidates"
    for family in _candidates(prices) if families is None else families:
        try:
            found.append(_estimate(kernels, machine, prices, family))
        except ValueError as error:
            reason = str(error)
    if not found:
        raise ValueError(f"no family fits: {reason}")
    return sorted(found, key=lambda estimate: estimate.price)


def _candidates(prices: Prices) -> list[str]:
    """The families with a price whose elements do nothing but dot products."""
    return [name for name in prices.families if FAMILIES[name].semirings == DOT_PRODUCTS]


def _estimate(
    kernels: Sequence[NDArray[np.int8]], machine: Machine, prices: Prices, family: str
) -> Estimate:
    if family not in prices.families:
        raise ValueError(f"fabric '{prices.fabric}' has no price for '{family}'")
    candidate = prices.equip(machine, (family,))
    cycles = 0
    for levels in kernels:
        _, words = share_out_channels(levels, candidate)
        cycles += tile_cycles(words, levels.shape[1], machine)
    price, lanes = prices.families[family], machine.lanes
    return Estimate(
        family,
        cycles,
        price.shared_cells + machine.pes * price.cells(lanes),
        machine.pes * price.dsps(lanes),
        prices.area(family, machine.pes, lanes),
    )


@dataclass(frozen=True)
class Elements:
    """What elements an array is to have in place of its target's."""

    families: tuple[str, ...] | None = None
    """Of PE 0, 1, …, as in `Machine`; `auto` alone is the one that ranks best; None leaves the
    target's."""
    fabric: str | None = None
    """Whose prices `auto` goes by, by default `DEFAULT_FABRIC`; and for which elements multiply,
    by default as the target says."""
    index_bits: int | str | None = None
    """As in `Machine`; `auto`: those of `index_coding.choose`; None leaves the
    target's."""

    @classmethod
    def of(
        cls,
        family: str | Sequence[str] | None,
        fabric: str | None = None,
        index_bits: int | str | None = None,
    ) -> "Elements":
        """From names, or a text with commas between them."""
        names = family.split(",") if isinstance(family, str) else family
        if isinstance(index_bits, str) and index_bits.isdecimal():
            index_bits = int(index_bits)
        return cls(None if names is None else tuple(names), fabric, index_bits)

    def on(self, machine: Machine, kernels: Sequence[NDArray[np.int8]] = ()) -> Machine:
        """The machine with these elements, to run kernels of levels [K, N].

        Without kernels, `auto` is any family.

        Raises:
            ValueError: an unknown family or fabric, families or `index_bits` that the machine
                cannot have, no family that fits, or a fabric without a family.
        """
        machine = self._equipped(machine, kernels)
        if self.index_bits is None:
            return machine
        if isinstance(self.index_bits, int):
            return replace(machine, index_bits=self.index_bits)
        if self.index_bits != AUTO:
            raise ValueError(f"index_bits must be a number or {AUTO}, not '{self.index_bits}'")
        return choose(kernels, machine) if kernels else machine

    def _equipped(self, machine: Machine, kernels: Sequence[NDArray[np.int8]]) -> Machine:
        if self.families is None:
            if self.fabric is not None:
                raise ValueError(f"fabric '{self.fabric}' is for a family, and none is given")
            return machine
        if self.families == (AUTO,):
            prices = load_prices(self.fabric or DEFAULT_FABRIC)
            return prices.equip(machine, (rank(kernels, machine, prices)[0].family,))
        if self.fabric is not None:
            return load_prices(self.fabric).equip(machine, self.families)
        return replace(machine, families=self.families)


DEFAULT_ELEMENTS = Elements()
"""The target's own."""
