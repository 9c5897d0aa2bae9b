# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Fabrics: how a family of FPGAs is synthesised for, and what its primitives count.

A family is one TOML file in `fabrics/`; it makes two fabrics, `<family>` without DSPs and
`<family>-dsp` with them.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "fabrics"
_DSP = "-dsp"


class UnknownFabricError(ValueError):
    """No such fabric."""


class UncountedPrimitiveError(ValueError):
    """A netlist has a cell of which the fabric's file does not say what it counts."""


@dataclass(frozen=True)
class Counts:
    """What a netlist takes of a fabric."""

    logic_cells: int
    """One figure for the logic; see `xilinx_logic_cells` and `ecp5_logic_cells`."""
    luts: int
    """LUTs that compute; those of LUT RAM and shift registers are `lut_rams`."""
    lut_rams: int
    """LUTs that store."""
    carries: int
    """Carry blocks: of four bits on xcup, of two on ECP5."""
    flip_flops: int
    dsps: int
    block_rams_18k: int
    """Block RAMs of 18 kbit."""
    ultra_rams: int = 0
    """UltraRAMs (URAM288) of 4096 rows of 72 bits."""

    @property
    def block_rams_36k(self) -> float:
        """Block RAM in units of 36 kbit (RAMB36), of which one of 18 kbit is half."""
        return self.block_rams_18k / 2


@dataclass(frozen=True)
class Fabric:
    """A family of FPGAs, with or without its DSPs."""

    name: str
    family: str
    description: str
    flat: str
    """The command of yosys that synthesises, dissolving the hierarchy."""
    hierarchical: str
    """The same, keeping the modules."""
    classes: Mapping[str, Mapping[str, int]]
    """Field of `Counts` → primitive → how many it counts."""
    free: frozenset[str]
    """Primitives that count nothing."""
    dsp_cells: float = 0
    """Logic cells that a DSP block is worth; 0 if DSP blocks would be idle otherwise."""

    def count(self, cells: Mapping[str, int]) -> Counts:
        """What cells, by type, take.

        Raises:
            UncountedPrimitiveError: a type that the fabric does not know.
        """
        known = self.free.union(*self.classes.values())
        # $scopeinfo only remembers where the cells of a dissolved module are.
        if unknown := sorted(cells.keys() - known - {"$scopeinfo"}):
            raise UncountedPrimitiveError(f"{self.name}: nothing says what {unknown[0]} counts")
        totals = {
            field: sum(cells.get(primitive, 0) * number for primitive, number in table.items())
            for field, table in self.classes.items()
        }
        return Counts(logic_cells=_LOGIC_CELLS[self.family](cells), **totals)


def xilinx_logic_cells(cells: Mapping[str, int]) -> int:
    """yosys' "Estimated number of LCs": physical 6-input LUTs, when small LUTs share them.

    A physical LUT holds two small functions if their inputs are at most five. Those of
    LUT5, LUT4 and LUT3 take in LUT1 and LUT2 where that surely fits; what is left of LUT1
    and LUT2 goes in pairs. Carry chains, LUT RAM and shift registers are not in it.
    """
    luts = [cells.get(f"LUT{inputs}", 0) for inputs in range(7)]
    ones, twos = luts[1], luts[2]
    ones -= min(ones, luts[5])
    room = [luts[4], luts[3]]
    for number, free in enumerate(room):
        taken = min(ones, free)
        ones -= taken
        room[number] -= taken
        twos -= min(twos, room[number])
    return sum(luts[3:]) + (ones + twos + 1) // 2


def ecp5_logic_cells(cells: Mapping[str, int]) -> int:
    """4-input LUTs of the device: LUT4, two for each CCU2C, six for each RAM of 16 x 4 bits.

    That is what nextpnr packs into TRELLIS_COMB and TRELLIS_RAMW.
    """
    return cells.get("LUT4", 0) + 2 * cells.get("CCU2C", 0) + 6 * cells.get("TRELLIS_DPR16X4", 0)


_LOGIC_CELLS = {"xcup": xilinx_logic_cells, "ecp5": ecp5_logic_cells}


def fabric_names() -> list[str]:
    """The fabrics that there are."""
    families = sorted(path.stem for path in _FOLDER.glob("*.toml"))
    return [name for family in families for name in (family, family + _DSP)]


def load_fabric(name: str) -> Fabric:
    """The fabric of this name.

    Raises:
        UnknownFabricError: there is none.
    """
    if name not in fabric_names():
        raise UnknownFabricError(f"unknown fabric '{name}' (known: {', '.join(fabric_names())})")
    family = name.removesuffix(_DSP)
    data = tomllib.loads((_FOLDER / f"{family}.toml").read_text(encoding="utf-8"))
    command = data["synthesis"] + ("" if name.endswith(_DSP) else f" {data['without_dsps']}")
    return Fabric(
        name,
        family,
        f"{data['description']}, {'with' if name.endswith(_DSP) else 'without'} DSPs",
        f"{command} {data['flatten']}".strip(),
        f"{command} {data['keep_hierarchy']}".strip(),
        data["counts"],
        frozenset(data["free"]),
        data.get("dsp_cells", 0) if name.endswith(_DSP) else 0,
    )
