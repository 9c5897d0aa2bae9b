# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Move flip-flops into block RAMs (DP16KD), which have registers for their outputs.

Vendors' tools do so, but yosys does not. A block that has its output register in itself gives out a
row in less than half the time.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

Cell = dict[str, Any]


def absorb_output_registers(module: dict[str, Any]) -> int:
    """Move registers into the block RAMs of a module of yosys' JSON netlist.

    The outputs of a port are moved if they go to flip-flops alone, and these have the clock of the
    port, one common enable, and no reset. Returns the number of bits that were moved.
    """
    cells: dict[str, Cell] = module["cells"]
    readers = _readers(module)
    absorbed: list[str] = []
    for cell in cells.values():
        if cell["type"] != "DP16KD":
            continue
        for side in "AB":
            found = dict(_registers(cell, side, cells, readers))
            if not found or None in found.values():
                continue
            names = [name for name in found.values() if name is not None]
            enables = {tuple(cells[name]["connections"].get("CE", ["1"])) for name in names}
            if len(enables) > 1:
                continue
            for port, name in zip(found, names, strict=True):
                cell["connections"][port] = cells[name]["connections"]["Q"]
            cell["parameters"][f"REGMODE_{side}"] = "OUTREG"
            cell["connections"][f"OCE{side}"] = list(enables.pop())
            absorbed += names
    for name in absorbed:
        del cells[name]
    return len(absorbed)


def _readers(module: Mapping[str, Any]) -> dict[int, list[tuple[str, str]]]:
    """The cells and ports that read each net; for a port of the module, the cell is empty."""
    readers: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in module["cells"].items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for bit in bits:
                    readers[bit].append((name, port))
    for name, port in module["ports"].items():
        for bit in port["bits"]:
            readers[bit].append(("", name))
    return readers


def _registers(
    cell: Cell,
    side: str,
    cells: Mapping[str, Cell],
    readers: Mapping[int, list[tuple[str, str]]],
) -> Iterator[tuple[str, str | None]]:
    """The name of each output of a port that is read, and its flip-flop if it may be moved."""
    for port, (bit,) in cell["connections"].items():
        if not port.startswith(f"DO{side}") or not readers.get(bit):
            continue
        (name, to), *others = readers[bit]
        movable = not others and to == "DI" and cells[name]["type"] == "TRELLIS_FF"
        if movable:
            wires = cells[name]["connections"]
            same_clock = wires["CLK"] == cell["connections"][f"CLK{side}"]
            movable = same_clock and wires.get("LSR", ["0"]) == ["0"]
        yield port, name if movable else None
