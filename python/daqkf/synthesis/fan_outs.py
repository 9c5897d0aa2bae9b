# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How many sinks each net of a circuit has, before any fabric is chosen."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daqkf.synthesis.netlist import CLOCK
from daqkf.synthesis.resources import KEEP, read_verilog, write_files
from daqkf.synthesis.running import cached, run_yosys

_SELECTS = ("S", "EN", "SRST")
"""Ports of one bit that are for each bit of a cell."""


def fan_outs(files: Mapping[str, str], top: str) -> dict[str, int]:
    """The number of sinks of each bit's net of a flattened circuit, by the net's shortest name.

    A sink is a bit of an operation, of a register or of a memory's port; an enable or a select is
    one for each bit that it enables or selects. The clock is left out.

    Raises:
        SynthesisError, ToolNotFoundError: as in `daqkf.synthesis.synthesize`.
    """
    commands = [
        read_verilog(files),
        f"hierarchy -check -top {top}",
        *KEEP,
        "flatten",
        "opt -mux_undef",
        "memory_dff",
        "opt_clean",
        "write_json flat.json",
    ]

    def make(folder: Path) -> None:
        write_files(files, folder)
        run_yosys(commands, folder)

    folder = cached(["fan-outs", sorted(files.items()), commands], make)
    module = json.loads((folder / "flat.json").read_text(encoding="utf-8"))["modules"][top]
    sinks = Counter[int]()
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                selects = len(bits) == 1 and port in _SELECTS
                # A memory's port has one enable, whatever the bits of its rows.
                once = cell["type"].startswith("$mem")
                for bit in set(bits) if once else bits:
                    sinks[bit] += _width(cell) if selects and not once else 1
    names: dict[int, str] = {}
    for name, net in module["netnames"].items():
        for number, bit in enumerate(net["bits"]):
            label = name if len(net["bits"]) == 1 else f"{name}[{number}]"
            if bit not in names or len(label) < len(names[bit]):
                names[bit] = label
    clocks = set(module["ports"].get(CLOCK, {"bits": []})["bits"])
    return {
        names[bit]: number
        for bit, number in sinks.items()
        if isinstance(bit, int) and bit not in clocks
    }


def _width(cell: Mapping[str, Any]) -> int:
    """Bits of a cell."""
    return int(cell["parameters"].get("WIDTH", "1"), 2)
