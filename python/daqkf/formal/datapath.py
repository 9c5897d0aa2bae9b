# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Export the datapath of a family as a circuit of its own, and read it as a transition system.

The datapath takes the same way as a whole array: CIRCT writes SystemVerilog, which yosys reads. So
a proof covers the export, too.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from daqkf.formal.btor2 import TransitionSystem
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.lowering.hdl.circuit import Circuit, circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog, single_file
from daqkf.lowering.rtl.families import datapath_of
from daqkf.lowering.rtl.families.stage import Operands
from daqkf.runtime.tools import yosys
from daqkf.support.errors import DaqkfError

TOP = "daqkf_datapath"

_SCRIPT = "prep -flatten -top {top}; async2sync; dffunmap; opt_clean; write_btor {top}.btor"


def operands(config: ArrayConfig, family: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """The fields of a word that reach the datapath, with their bits, and its addresses' names.

    The fields include those that the counters of the array supply.
    """
    word = FAMILIES[family].word
    supplied = word.supplied(words=1, features=1, outputs=1)
    addresses = (*word.addresses(config), *(name for name in supplied if "index" in name))
    fields = word.fields(config) | dict.fromkeys(supplied, 1)
    return {n: bits for n, bits in fields.items() if n not in (*addresses, "end")}, addresses


def build_datapath(config: ArrayConfig, family: str) -> ModuleOp:
    """Build the datapath, with the fields and rows of a word and the element's control as ports.

    A sum moves to the holding registers as soon as it is finished. An element does the same if its
    post unit never makes it wait.
    """
    c = Circuit(TOP)
    c.clock("clk")
    c.reset(c.input("rst", 1))
    start, enable, valid = (c.input(name, 1) for name in ("start", "enable", "valid"))
    widths, addresses = operands(config, family)
    fields = {name: c.input(name, width) for name, width in widths.items()}
    rows = [c.input(f"row{number}", config.row_bits) for number in range(len(addresses))]
    rows = [datapath_of(family).stored(row) for row in rows]
    hold_enable = c.wire("hold_enable", 1)
    word = Operands(start, enable, valid, fields, rows, hold_enable)
    datapath = datapath_of(family).build(c, config, word)
    hold_enable.drive(datapath.finished & enable)
    c.output("finished", datapath.finished)
    for lane, held in enumerate(datapath.held):
        c.output(f"held{lane}", held)
    if datapath.both is not None:
        c.output("finished_both", datapath.both)
        for lane, held in enumerate(datapath.second_held):
            c.output(f"second{lane}", held)
    c.finish()
    return circuit_module(c)


def transition_systems(circuits: ModuleOp, tops: list[str]) -> Mapping[str, TransitionSystem]:
    """Make the transition systems of some top modules, by name, with one run of each tool.

    Raises:
        DaqkfError: yosys cannot read the SystemVerilog.
        VerilogExportError: CIRCT cannot write the SystemVerilog.
    """
    tool = yosys()
    read = "read_verilog -sv circuits.sv; design -save read"
    script = [read, *(f"design -load read; {_SCRIPT.format(top=top)}" for top in tops)]
    with tempfile.TemporaryDirectory(prefix="daqkf-") as folder:
        Path(folder, "circuits.sv").write_text(single_file(emit_verilog(circuits)), "utf-8")
        run = subprocess.run(
            [*tool.argv, "-q", "-p", "; ".join(script)],
            cwd=folder,
            env=tool.env,
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            raise DaqkfError(f"yosys cannot read the circuit: {run.stderr.strip()[-300:]}")
        return {
            top: TransitionSystem(Path(folder, f"{top}.btor").read_text("utf-8")) for top in tops
        }
