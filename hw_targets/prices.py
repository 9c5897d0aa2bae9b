# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What elements of each family take of a fabric: one TOML file for a family (`Family.price`)."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from daqkf.hw_targets.fabric import UnknownFabricError, load_fabric
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.machine import Machine


@dataclass(frozen=True)
class Price:
    """What an element takes: so much itself, so much for each of its lanes."""

    element_cells: float
    lane_cells: float
    lane_dsps: float
    shared_cells: float = 0
    """Of an array, whatever its elements: the control of those in step."""
    element_item_cells: float = 0
    """And an element for each item of a word (`Machine.items`)."""
    lane_item_cells: float = 0
    """And a lane for each item of a word."""
    element_shift_cells: float = 0
    """And an element for each bit of a gap's shift (`Machine.max_shift`)."""
    lane_shift_cells: float = 0
    """And a lane for each bit of a gap's shift."""
    multiplier: str | None = None
    """How lanes multiply (`Machine.multiplier`), if the family leaves a choice."""
    modes: "Price | None" = None
    """Where weights have several widths (`Machine.weight_bits`), if it makes a difference."""

    def suited(self, machine: Machine) -> "Price":
        """The price of elements with the words that a machine has."""
        if len(machine.weight_bits) > 1 and self.modes is not None:
            return self.modes.suited(replace(machine, weight_bits=machine.weight_bits[:1]))
        items, bits = machine.items, machine.max_shift.bit_length()
        element = self.element_item_cells * items + self.element_shift_cells * bits
        lane = self.lane_item_cells * items + self.lane_shift_cells * bits
        return replace(
            self,
            element_cells=self.element_cells + element,
            lane_cells=self.lane_cells + lane,
            **dict.fromkeys(_PER_WORD, 0),
        )

    def cells(self, lanes: int) -> float:
        """Logic cells of an element; see `suited`."""
        return self.element_cells + self.lane_cells * lanes

    def dsps(self, lanes: int) -> float:
        """DSP blocks of an element."""
        return self.lane_dsps * lanes


_PER_WORD = tuple(f.name for f in fields(Price) if f.name.endswith(("_item_cells", "_shift_cells")))


@dataclass(frozen=True)
class Prices:
    """What the families take of a fabric, and what its DSP blocks are worth."""

    fabric: str
    dsp_cells: float
    """Logic cells that a DSP block is worth; 0 if DSP blocks would be idle otherwise."""
    families: Mapping[str, Price]
    """A family without a measured price is not known."""

    def area(self, family: str, elements: int, lanes: int) -> float:
        """Elements of a family in logic cells, DSP blocks included at their worth."""
        price = self.families[family]
        each = price.cells(lanes) + self.dsp_cells * price.dsps(lanes)
        return price.shared_cells + elements * each

    def suited(self, machine: Machine) -> "Prices":
        """The prices of elements with the words that a machine has."""
        families = {name: price.suited(machine) for name, price in self.families.items()}
        return replace(self, families=families)

    def equip(self, machine: Machine, families: Sequence[str]) -> Machine:
        """The machine with elements of these families, which multiply as suits the fabric.

        Raises:
            ValueError: the machine cannot have them.
        """
        known = self.suited(machine).families
        prices = [known[name] for name in families if name in known]
        multipliers = [price.multiplier for price in prices if price.multiplier]
        multiplier = multipliers[0] if multipliers else machine.multiplier
        return replace(machine, families=tuple(families), multiplier=multiplier)


def priced_fabrics() -> list[str]:
    """The fabrics for which some family has a price."""
    return sorted({fabric for family in FAMILIES.values() for fabric in _tables(family.price)})


def load_prices(fabric: str) -> Prices:
    """The prices on this fabric.

    Raises:
        UnknownFabricError: there are none.
    """
    if fabric not in priced_fabrics():
        known = ", ".join(priced_fabrics())
        raise UnknownFabricError(f"no prices for fabric '{fabric}' (known: {known})")
    tables = {name: _tables(family.price) for name, family in FAMILIES.items()}
    prices = {name: _price(**table[fabric]) for name, table in tables.items() if fabric in table}
    return Prices(fabric, load_fabric(fabric).dsp_cells, prices)


@cache
def _tables(path: Path) -> Mapping[str, Any]:
    """The tables of a family's file, by fabric."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _price(modes: Mapping[str, Any] | None = None, **figures: Any) -> Price:
    return Price(**figures, modes=None if modes is None else Price(**modes))
