# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf synth`: what it does with its options."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from daqkf.passes.files import write_atomically
from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from rich.console import Console

    from daqkf.hw_targets import Counts
    from daqkf.synthesis import Resources, Toggles

_COLUMNS = {
    "logic_cells": "logic cells",
    "luts": "LUTs",
    "lut_rams": "LUT RAM",
    "carries": "carry blocks",
    "flip_flops": "flip-flops",
    "dsps": "DSPs",
    "block_rams_36k": "36-kbit RAM",
    "block_rams_18k": "18-kbit RAM",
    "ultra_rams": "UltraRAM",
}


def synthesize_design(
    options: argparse.Namespace, x: NDArray[Any] | None, console: "Console"
) -> int:
    """Synthesise a saved array and print what it takes; returns the exit code."""
    from daqkf.compiler.design import Design
    from daqkf.compiler.saved import load
    from daqkf.support.console import showing
    from daqkf.synthesis.resources import require_fabric
    from daqkf.synthesis.toggles import FABRIC

    require_fabric(options.fabric, options.place, options.board)
    if x is not None and (options.board or options.fabric not in (None, FABRIC)):
        raise DaqkfError(f"--toggles counts on {FABRIC} only")
    count = 1 if options.seeds is None else options.seeds
    if count < 1:
        raise DaqkfError(f"--seeds must be 1 or more, not {count}")
    if options.clock is not None:
        raise DaqkfError("--clock is for --bitstream")
    if count > 1 and not (options.place or options.board):
        raise DaqkfError("--seeds is for --place and --board")
    design = load(Path(options.design))
    if x is not None and not isinstance(design, Design):
        raise DaqkfError("--toggles is for layers, not for a network")
    toggles = None
    with showing(console, "make the RTL") as progress:
        seeds = range(1, count + 1)
        resources = design.synthesize(
            options.fabric,
            place=options.place,
            board=options.board,
            seeds=seeds,
            modules=options.modules,
            progress=progress,
        )
        if x is not None and isinstance(design, Design):
            progress("run the activations on the netlist")
            toggles = design.toggles(x, modules=options.modules)
    if options.json:
        facts = resources.facts() | {"toggles": None if toggles is None else toggles.facts()}
        text = json.dumps(facts, indent=2) + "\n"
        write_atomically(Path(options.json), text.encode())
    print_resources(resources, toggles)
    return 0


def print_resources(resources: "Resources", toggles: "Toggles | None") -> None:
    """Print what an array takes."""
    from rich.table import Table

    from daqkf.support.tables import print_table, table_console

    console = table_console()
    table = Table(title=f"{resources.top} on {resources.fabric}", title_justify="left")
    table.add_column("module")
    for heading in _COLUMNS.values():
        table.add_column(heading, justify="right")
    rows = {f"one {name}": counts for name, counts in resources.modules.items()}
    for name, counts in (rows | {"all, flattened": resources.counts}).items():
        table.add_row(name, *_numbers(counts))
    print_table(table, console)
    if resources.placement is not None:
        found = resources.placement
        others = _list(f"seed {seed}: {mhz:.1f}" for seed, mhz in found.fmax_by_seed.items())
        board = (
            "" if found.board is None else f"{found.board}, clocked at {found.board_mhz:g} MHz: "
        )
        shares = _list(f"{share:.1%} of its {what}" for what, share in found.shares.items())
        console.print(f"{found.fmax_mhz:.1f} MHz on {found.device} ({others})", highlight=False)
        console.print(f"{board}{shares}", highlight=False)
        if path := found.critical_path:
            console.print(
                f"critical path: {path.start} to {path.end}, {path.logic_ns:.1f} ns of logic and "
                f"{path.routing_ns:.1f} ns of routing, through {len(path.nets)} nets",
                highlight=False,
                soft_wrap=True,
            )
    if toggles is not None:
        console.print(
            f"a tile, of {toggles.tiles}: {toggles.cycles:,.0f} cycles, "
            f"{toggles.toggles:,.0f} changes of nets, {toggles.weighted:,.0f} weighted by fan-out, "
            f"{toggles.memory_reads:,.0f} memory reads, {toggles.memory_writes:,.0f} writes",
            highlight=False,
            soft_wrap=True,
        )
        if resources.modules:
            parts = (f"{name} {share:,.0f}" for name, share in toggles.modules.items())
            console.print(f"weighted by driver: {_list(parts)}", highlight=False, soft_wrap=True)


def _numbers(counts: "Counts") -> Iterable[str]:
    return (f"{getattr(counts, field):,}" for field in _COLUMNS)


def _list(parts: Iterable[str]) -> str:
    return ", ".join(parts)
