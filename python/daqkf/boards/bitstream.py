# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""From a SoC to a bitstream: yosys, nextpnr-ecp5 and ecppack."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daqkf.boards.names import LOADERS
from daqkf.boards.soc import CLOCK, TOP, SocSources, board_soc
from daqkf.compiler.rtl_files import system_files
from daqkf.hw_targets.config import ArrayConfig
from daqkf.passes.progress import Progress, silent
from daqkf.synthesis.devices import Board, load_board
from daqkf.synthesis.placement import CriticalPath
from daqkf.synthesis.running import (
    SynthesisError,
    cached,
    run_ecppack,
    run_nextpnr,
    run_yosys,
)

SEEDS = (1, 2, 3, 4)
"""Of the placements that are tried until one meets the clock."""

_CELLS = {
    "TRELLIS_COMB": "logic cells",
    "TRELLIS_FF": "flip-flops",
    "DP16KD": "block RAM",
    "MULT18X18D": "DSPs",
}
"""What is reported of what nextpnr counts."""


@dataclass(frozen=True)
class Bitstream:
    """A SoC on a board, whose timing is met.

    The same SoC gives the same bytes, as all tools are deterministic.
    """

    board: Board
    data: bytes
    """The file of ecppack."""
    clock: float
    """Of the SoC, in Hz."""
    fmax: float
    """What it may be at most by nextpnr's timing analysis, in Hz."""
    seed: int
    used: Mapping[str, tuple[int, int]]
    """What is taken of logic, registers, block RAM and DSPs, and what the part has."""
    path: CriticalPath
    addresses: str
    """Of registers and memories, as LiteX's servers read them (CSV)."""

    def loading(self, path: str) -> str:
        """The command that brings the bitstream in a file to the board."""
        return f"openFPGALoader --board {LOADERS[self.board.name]} {path}"

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        return {
            "board": self.board.name,
            "part": self.board.part.name,
            "clock_hz": self.clock,
            "fmax_hz": self.fmax,
            "seed": self.seed,
            "used": {name: {"taken": took, "of": of} for name, (took, of) in self.used.items()},
            "critical_path": vars(self.path),
            "bytes": len(self.data),
        }


def make_bitstream(
    config: ArrayConfig,
    board: str,
    *,
    clock: float = CLOCK,
    seeds: Sequence[int] = SEEDS,
    progress: Progress = silent,
) -> Bitstream:
    """The bitstream of a SoC with an engine.

    Args:
        config: of the engine's array, which has a queue.
        board: one of `names.LOADERS`.
        clock: of the SoC, in Hz.
        seeds: of placements, which are tried one after another until one meets the clock.
        progress: told of each step.

    Raises:
        DaqkfError: there is no such board, or the array does not suit it.
        SynthesisError: the part does not hold the SoC, no placement meets the clock, or a tool
            failed.
        ToolNotFoundError: a tool is missing.
    """
    progress(f"make a SoC for {board}")
    soc, found, rtl = board_soc(board, config, clock), load_board(board), system_files(config)
    progress("synthesise it with yosys")
    netlist = _netlist(soc, rtl)
    best = 0.0
    for seed in seeds:
        progress(f"place and route it with seed {seed}")
        routed = _routed(netlist, soc, found, seed)
        report = json.loads((routed / "report.json").read_text(encoding="utf-8"))
        fmax, met = _timing(report)
        if met:
            path = CriticalPath.read(report)
            used = {
                name: (
                    report["utilization"][cell]["used"],
                    report["utilization"][cell]["available"],
                )
                for cell, name in _CELLS.items()
            }
            data = (_packed(routed) / f"{TOP}.bit").read_bytes()
            return Bitstream(found, data, clock, fmax, seed, used, path, soc.addresses)
        best = max(best, fmax)
    raise SynthesisError(
        f"no placement of {len(seeds)} meets {clock / 1e6:g} MHz on {board}: the best one has "
        f"{best / 1e6:.1f} MHz; use a lower --clock, more --seeds or a smaller target"
    )


def _timing(report: Mapping[str, Any]) -> tuple[float, bool]:
    """The least frequency in Hz of all clocks, and whether each meets its own constraint."""
    clocks = report["fmax"].values()
    return 1e6 * min(one["achieved"] for one in clocks), all(
        one["achieved"] >= one["constraint"] for one in clocks
    )


def netlist_commands(soc: SocSources, rtl: Iterable[str]) -> list[str]:
    """Commands of yosys that make a netlist of ECP5 cells, `soc.json`.

    Args:
        soc: what is synthesised.
        rtl: the files of SystemVerilog beside it.
    """
    return [
        *(f"read_verilog -sv {name}" for name in rtl),
        *(f"read_verilog {name}" for name in soc.verilog),
        'attrmap -tocase keep -imap keep="true" keep=1 -imap keep="false" keep=0 -remove keep=0',
        f"synth_ecp5 -top {TOP}",
        "write_json soc.json",
    ]


PLACING = ("--json", "soc.json", "--lpf", "soc.lpf", "--textcfg", "soc.config")
"""Arguments of nextpnr-ecp5 that name its files."""

PACKING = ("--compress", "--bootaddr", "0", "soc.config", "--bit", f"{TOP}.bit")
"""Arguments of ecppack."""


def _netlist(soc: SocSources, rtl: Mapping[str, str]) -> Path:
    """The folder of a netlist of ECP5 cells, `soc.json`."""
    commands = netlist_commands(soc, rtl)
    texts = {**rtl, **soc.verilog, **soc.data}

    def make(folder: Path) -> None:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        run_yosys(commands, folder)
        for name in texts:
            (folder / name).unlink()

    return cached(["netlist of a SoC", sorted(texts.items()), commands], make)


def _routed(netlist: Path, soc: SocSources, board: Board, seed: int) -> Path:
    """The folder of a placement: `soc.config` and nextpnr's `report.json`."""
    arguments = [
        *board.part.options,
        *PLACING,
        *("--report", "report.json", "--seed", str(seed), "--timing-allow-fail", "--quiet"),
    ]

    def make(folder: Path) -> None:
        copy = folder / "soc.json"
        copy.write_bytes((netlist / "soc.json").read_bytes())
        (folder / "soc.lpf").write_text(soc.pins, encoding="utf-8")
        run_nextpnr(arguments, folder)
        copy.unlink()

    return cached(["placement of a SoC", netlist.name, soc.pins, arguments], make)


def _packed(routed: Path) -> Path:
    """The folder of a bitstream."""

    def make(folder: Path) -> None:
        copy = folder / "soc.config"
        copy.write_bytes((routed / "soc.config").read_bytes())
        run_ecppack(PACKING, folder)
        copy.unlink()

    return cached(["bitstream of a SoC", routed.name, PACKING], make)
