# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Count the resources of a fabric that a circuit takes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daqkf.hw_targets import Counts, Fabric, load_fabric
from daqkf.hw_targets.fabric import UncountedPrimitiveError
from daqkf.passes.progress import Progress, counted, silent
from daqkf.synthesis.devices import Board, load_board
from daqkf.synthesis.placement import Placement, place_and_route
from daqkf.synthesis.running import SynthesisError, cached, keep, run_yosys

COUNTED, PLACED = "xcup", "ecp5"
"""The fabrics of whoever names none, for counts and for placements."""


@dataclass(frozen=True)
class Resources:
    """The resources that a synthesised circuit takes."""

    fabric: str
    top: str
    counts: Counts
    cells: dict[str, int]
    """The number of primitives of each type in the netlist."""
    modules: dict[str, Counts]
    """The resources of one instance of each module, without its submodules; empty unless asked
    for."""
    placement: Placement | None

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        facts = asdict(self)
        facts["counts"]["block_rams_36k"] = self.counts.block_rams_36k
        return facts


def synthesize(
    files: Mapping[str, str],
    top: str,
    fabric: str | Fabric | None = None,
    *,
    work: Path | None = None,
    place: bool = False,
    board: str | None = None,
    seeds: Sequence[int] = (1,),
    modules: bool = False,
    progress: Progress = silent,
) -> Resources:
    """Synthesise SystemVerilog with yosys, and count the resources that it takes.

    The counts are of the flattened circuit, without pads and clock buffers. Results are kept in the
    cache, under a key of everything that they depend on.

    Args:
        files: the text of each file, by its name.
        top: the name of the top module.
        fabric: a fabric or its name, one of `daqkf.hw_targets.fabric_names`; without one the
            one which circuits are placed on, if it is to be placed, and else xcup.
        work: a folder that gets the script, the log and the netlist.
        place: whether to place and route, too, which works on ECP5 only.
        board: the board to place it on, one of `daqkf.synthesis.devices.BOARDS`, in place of the
            smallest device that holds it.
        seeds: the seeds of the placements to try; the fastest one counts.
        modules: whether to count each module, too, in a second run that keeps the hierarchy.
        progress: told of each run of a tool.

    Raises:
        DaqkfError: there is no such board.
        SynthesisError: a tool failed, or the fabric cannot be placed and routed.
        ToolNotFoundError: a tool is missing.
        UnknownFabricError: there is no such fabric.
    """
    fabric, chosen = require_fabric(fabric, place, board)
    place = place or chosen is not None
    told = counted(progress, f"synthesise for {fabric.name}:", 1 + modules, "runs of yosys")
    told("flattened")
    folder = netlist(files, top, fabric.flat)
    keep(folder, work)
    try:
        cells = _cells(folder)[top]
        counts = fabric.count(cells)
        parts = {}
        if modules:
            told("each module")
            found = _cells(netlist(files, top, fabric.hierarchical))
            parts = {name: fabric.count(_primitives(found, name)) for name in found}
    except UncountedPrimitiveError as error:
        raise SynthesisError(str(error)) from None
    placement = None
    if place:
        placement = place_and_route(
            folder / "netlist.json", top, counts, seeds, work, progress, chosen
        )
    return Resources(fabric.name, top, counts, cells, parts, placement)


def require_fabric(
    fabric: str | Fabric | None, place: bool, board: str | None
) -> tuple[Fabric, Board | None]:
    """The fabric and the board that are meant; see `synthesize`, which raises the same."""
    chosen = None if board is None else load_board(board)
    place = place or chosen is not None
    if fabric is None:
        fabric = PLACED if place else COUNTED
    fabric = load_fabric(fabric) if isinstance(fabric, str) else fabric
    if place and fabric.family != "ecp5":
        raise SynthesisError(f"nothing here places and routes for {fabric.name}; ecp5 can")
    return fabric, chosen


def netlist(files: Mapping[str, str], top: str, synthesis: str) -> Path:
    """Synthesise a circuit; returns the folder (see `cached`) with `netlist.json` and `stat.json`.

    Raises:
        SynthesisError, ToolNotFoundError: for the same reasons as in `synthesize`.
    """
    commands = [
        read_verilog(files),
        f"hierarchy -check -top {top}",
        *KEEP * any("(* keep" in text for text in files.values()),
        f"{synthesis} -top {top}",
        "tee -q -o stat.json stat -json",
        # The selection leaves out the models of the primitives.
        "write_json -selected netlist.json",
    ]

    def make(folder: Path) -> None:
        write_files(files, folder)
        run_yosys(commands, folder)

    return cached(["netlist", sorted(files.items()), commands], make)


KEEP = ("proc", "setattr -set keep 1 a:keep %ci1:+$dff[Q] t:$dff %i")
"""The commands of yosys that keep registers to be kept: it heeds the attribute of a cell alone."""


def read_verilog(files: Mapping[str, str]) -> str:
    """The yosys command that reads the files, except headers, which other files include."""
    names = [name for name in files if not name.endswith((".vh", ".svh"))]
    return f"read_verilog -sv {' '.join(names)}"


def write_files(files: Mapping[str, str], folder: Path) -> None:
    """Write the files into a folder."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def _cells(folder: Path) -> dict[str, dict[str, int]]:
    """The number of cells of each type in each module; instances of modules are cells, too."""
    modules = json.loads((folder / "stat.json").read_text(encoding="utf-8"))["modules"]
    return {
        name.removeprefix("\\"): facts.get("num_cells_by_type", {})
        | facts.get("num_submodules_by_type", {})
        for name, facts in modules.items()
    }


def _primitives(modules: Mapping[str, Mapping[str, int]], name: str) -> dict[str, int]:
    return {kind: count for kind, count in modules[name].items() if kind not in modules}
