# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""SoCs with an array: `daqkf synth --bitstream`, and simulations of them."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from daqkf.passes.files import write_atomically
from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from rich.console import Console

    from daqkf.boards.bitstream import Bitstream
    from daqkf.boards.simulation import SocSystem
    from daqkf.compiler.design import Design


def write_bitstream(options: argparse.Namespace, console: "Console") -> int:
    """Write the bitstream of a SoC, and beside it its addresses; returns the exit code."""
    from daqkf.boards.bitstream import SEEDS, make_bitstream
    from daqkf.boards.soc import CLOCK
    from daqkf.compiler.saved import load
    from daqkf.support.console import showing

    if not options.board:
        raise DaqkfError("--bitstream is for a board: name it with --board, such as ulx3s-85f")
    for name in ("fabric", "place", "modules", "toggles"):
        if getattr(options, name):
            raise DaqkfError(f"--{name} is not for --bitstream")
    count = len(SEEDS) if options.seeds is None else options.seeds
    if count < 1:
        raise DaqkfError(f"--seeds must be 1 or more, not {count}")
    clock = CLOCK if options.clock is None else 1e6 * options.clock
    if not 1e6 <= clock <= 1e9:
        raise DaqkfError(f"--clock must be between 1 and 1000 MHz, not {options.clock:g}")
    design = load(Path(options.design))
    with showing(console, "make a SoC") as progress:
        made = make_bitstream(
            design.config,
            options.board,
            clock=clock,
            seeds=range(1, count + 1),
            progress=progress,
        )
    path = Path(options.bitstream)
    addresses = path.with_suffix(".csv")
    write_atomically(addresses, made.addresses.encode())
    write_atomically(path, made.data)
    if options.json:
        write_atomically(Path(options.json), (json.dumps(made.facts(), indent=2) + "\n").encode())
    print_bitstream(made, path)
    return 0


def print_bitstream(made: "Bitstream", path: Path) -> None:
    """Print what a bitstream has, and how it gets to the board."""
    used = (f"{took:,} of {of:,} {name}" for name, (took, of) in made.used.items())
    print(f"{path}: {len(made.data):,} bytes for {made.board.name} ({made.board.part.name})")
    print(f"{path.with_suffix('.csv')}: addresses of registers and memories")
    print(f"{made.fmax / 1e6:.1f} MHz at most, clocked at {made.clock / 1e6:g} MHz")
    print(", ".join(used))
    critical = made.path
    print(
        f"critical path: {critical.start} to {critical.end}, {critical.logic_ns:.1f} ns of logic "
        f"and {critical.routing_ns:.1f} ns of routing"
    )
    print(f"load it: {made.loading(str(path))}")


def simulate_soc(design: "Design", x: NDArray[Any], options: argparse.Namespace) -> int:
    """Run a layer in a simulated SoC, and write its results; returns the exit code."""
    from rich.console import Console

    from daqkf.boards.simulation import SocSystem
    from daqkf.compiler.rtl_files import system_files
    from daqkf.passes.array_files import array_file
    from daqkf.support.console import showing

    for name in ("trace", "external_memory", "stalls"):
        if getattr(options, name):
            raise DaqkfError(f"--{name.replace('_', '-')} is not for --soc")
    with showing(Console(stderr=True), "build the simulators, once, and simulate"):
        system = SocSystem.of(system_files(design.config), design.config)
        y = design.run(x, system)
    write_atomically(Path(options.output), array_file(y))
    print(f"{options.output}: {list(y.shape)}")
    print_soc_runs(system)
    return 0


def print_soc_runs(system: "SocSystem") -> None:
    """Print what the SoC has said, and what its memory was used for."""
    for run in system.soc_runs:
        print(run.console, end="")
    cycles = sum(run.cycles for run in system.soc_runs)
    beats = sum(run.beats for run in system.soc_runs)
    if cycles:
        print(f"{cycles:,} cycles, {beats / cycles:.1%} of what the memory could give")
