# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A SoC for a board whose tools are open: yosys, nextpnr, Project Trellis and openFPGALoader."""

from daqkf.boards.bitstream import PACKING, PLACING, netlist_commands
from daqkf.boards.names import FIRMWARE, LOADERS
from daqkf.boards.soc import CLOCK, TOP, board_soc
from daqkf.compiler.rtl_files import system_files
from daqkf.hw_targets.config import ArrayConfig
from daqkf.packaging.package import Package, check_clock
from daqkf.synthesis.devices import load_board

_CLOCKS = (10, 200)
"""MHz that the PLL of an ECP5 makes for a SoC."""


def board_package(config: ArrayConfig, board: str, clock: float | None, contents: str) -> Package:
    """A SoC with an array, its firmware, and a Makefile for the bitstream.

    Args:
        config: of the array, which has a queue.
        board: one of `boards.names.LOADERS`.
        clock: of the SoC, in MHz; None for the usual one.
        contents: what the array is of, in a line.

    Raises:
        DaqkfError: the array does not suit the board, the clock cannot be made, or a package of the
            extra `board` is missing.
    """
    check_clock(clock, _CLOCKS, board)
    soc = board_soc(board, config, CLOCK if clock is None else 1e6 * clock)
    rtl = {f"rtl/{name}": text for name, text in system_files(config).items()}
    texts = {
        **rtl,
        **soc.verilog,
        **soc.data,
        "soc.lpf": soc.pins,
        "soc.ys": "\n".join([*netlist_commands(soc, rtl), ""]),
        "csr.csv": soc.addresses,
        "Makefile": _makefile(board, contents),
        **{f"firmware/{name}": text for name, text in soc.headers.items()},
        **{
            f"firmware/{path.name}": path.read_text(encoding="utf-8")
            for path in sorted(FIRMWARE.iterdir())
            if path.suffix in (".c", ".h", ".S")
        },
    }
    files = {name: text.encode() for name, text in texts.items()}
    return Package("board", board, files, "in this folder: make load")


def _makefile(board: str, contents: str) -> str:
    """From the sources to the board; it ends with an error if the clock is not met."""
    part = load_board(board).part
    return f"""# A bitstream of a SoC for {board}, with an array for {contents}.
YOSYS ?= yosys
NEXTPNR ?= nextpnr-ecp5
ECPPACK ?= ecppack
LOADER ?= openFPGALoader
SEED ?= 1

{TOP}.bit: soc.config
\t$(ECPPACK) {" ".join(PACKING)}

soc.config: soc.json soc.lpf
\t$(NEXTPNR) {" ".join((*part.options, *PLACING))} --seed $(SEED)

soc.json: soc.ys $(wildcard *.v *.init rtl/*.sv)
\t$(YOSYS) -q -l yosys.log -s soc.ys

load: {TOP}.bit
\t$(LOADER) --board {LOADERS[board]} {TOP}.bit

.PHONY: load
"""
