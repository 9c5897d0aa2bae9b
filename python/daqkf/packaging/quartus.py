# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Projects for Quartus: a system of Platform Designer around `daqkf_system`, and what builds it.

The processor system writes registers over its lightweight bridge, and the array reads and writes
memory over the bridge to the processor system. Only an array with a queue does that by itself; of
others, the component alone is written, for a system that feeds their streams.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daqkf.lowering.rtl.registers import ADDRESS_BITS
from daqkf.packaging.boards import facts
from daqkf.packaging.package import Package, check_clock
from daqkf.packaging.platform_designer import COMPONENT, component_files
from daqkf.packaging.system import System
from daqkf.packaging.templates import render
from daqkf.support.errors import DaqkfError

ALONE = "component"
"""In place of a board: the component alone."""

_FILES = ("build.tcl", "system.tcl", "daqkf.qpf", "daqkf.qsf", "daqkf.sdc")
_TOP = "daqkf_top.sv"


@dataclass(frozen=True)
class Board:
    """A board, and what its processor system has to be told of it."""

    description: str
    family: str
    part: str
    clock_mhz: float
    """Of the array, where nothing else is asked for."""
    clocks_mhz: list[float]
    """The slowest and the fastest one."""
    reference_mhz: float
    """Of the clock at the first pin."""
    registers: int
    """Where the processor sees them."""
    regions: list[Mapping[str, Any]]
    """Memory: names, addresses, bytes."""
    pins: list[Mapping[str, str]]
    hps: Mapping[str, str]
    """Parameters of the processor system."""


def quartus_package(system: System, name: str, clock: float | None, contents: str) -> Package:
    """A project for Quartus, or a component of Platform Designer.

    Args:
        system: what is packaged.
        name: the board's, of `boards.names`, or `ALONE`.
        clock: of the array, in MHz; None for the board's own.
        contents: what the array is of, in a line.

    Raises:
        DaqkfError: there is no such board, or no such clock on it, or an array without a queue.
    """
    component = {f"ip/{file}": data for file, data in component_files(system, contents).items()}
    if name == ALONE:
        if clock is not None:
            raise DaqkfError("--clock is for a board, and a component is for none")
        usage = f"ip/{COMPONENT} is the component: add ip/ to the search path of Platform Designer"
        return Package("quartus", "Platform Designer", component, usage)
    board = Board(**facts("quartus", name))
    check_clock(clock, board.clocks_mhz, board.description)
    if system.streams:
        raise DaqkfError(
            f"nothing on {board.description} feeds the streams of an array without a queue: "
            f"compile for a target with queue = true, or give --quartus {ALONE}"
        )
    values: dict[str, Any] = {
        "board": board,
        "clock": f"{clock or board.clock_mhz:g}",
        "managers": system.memory_buses,
    }
    addresses = {
        "board": name,
        "clock_mhz": clock or board.clock_mhz,
        "registers": {"daqkf": {"base": board.registers, "bytes": 1 << ADDRESS_BITS}},
        "memory": board.regions,
        "interrupts": ["daqkf/irq"],
    }
    files = {
        **{file: render(f"quartus/{file}.j2", **values) for file in _FILES},
        _TOP: render("quartus/top.sv.j2", **values),
        "addresses.json": (json.dumps(addresses, indent=2) + "\n").encode(),
        **component,
    }
    note = f"whether it fits on {board.description} is not known: no estimates are for its device"
    usage = "in this folder: quartus_sh -t build.tcl"
    return Package("quartus", board.description, files, usage, (note,))
