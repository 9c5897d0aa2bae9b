# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Count how often the nets of a synthesised array toggle, as a measure of its dynamic energy.

A net takes energy in proportion to its capacitance and to its toggles; the fan-out stands for the
capacitance. The array is synthesised to UltraScale+ primitives with whole memories, and the netlist
runs a job. The clock is not counted, and glitches only where gates are given delays. The design is
not placed, so the length of each net is drawn for them.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets import load_fabric
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.results import Results
from daqkf.lowering.rtl.array import TOP
from daqkf.runtime import tools
from daqkf.runtime.simulator import EXTERNAL_MEMORY, HARNESS, Job, Simulator
from daqkf.synthesis.netlist import MEMORY, Netlist, load
from daqkf.synthesis.resources import read_verilog, write_files
from daqkf.synthesis.running import SynthesisError, cached, run_yosys

FABRIC = "xcup"
_GATES = Path(__file__).with_name("gates")
_KEPT = "daqkf_memory"
_FLAGS = ("-std=c++17", "-O2")
_LUT_RAM_BITS = 2048
"""What yosys makes of LUTs is no larger."""

_PARAMETERS = (
    *("MEMID", "SIZE", "OFFSET", "ABITS", "WIDTH", "INIT", "RD_PORTS", "RD_CLK_ENABLE"),
    *("RD_CLK_POLARITY", "RD_TRANSPARENCY_MASK", "RD_COLLISION_X_MASK", "RD_WIDE_CONTINUATION"),
    *("RD_CE_OVER_SRST", "RD_ARST_VALUE", "RD_SRST_VALUE", "RD_INIT_VALUE", "WR_PORTS"),
    *("WR_CLK_ENABLE", "WR_CLK_POLARITY", "WR_PRIORITY_MASK", "WR_WIDE_CONTINUATION"),
)
_PINS = """
  input [RD_PORTS-1:0] RD_CLK, RD_EN, RD_ARST, RD_SRST,
  input [RD_PORTS*ABITS-1:0] RD_ADDR,
  output [RD_PORTS*WIDTH-1:0] RD_DATA,
  input [WR_PORTS-1:0] WR_CLK,
  input [WR_PORTS*ABITS-1:0] WR_ADDR,
  input [WR_PORTS*WIDTH-1:0] WR_EN, WR_DATA"""
_BLACK_BOX = (
    f"(* blackbox *) module {_KEPT} #("
    + ", ".join(f"parameter {name} = 0" for name in _PARAMETERS)
    + f") ({_PINS});\nendmodule\n"
)
"""What yosys is told about a memory while it maps the logic around it."""


@dataclass(frozen=True)
class Toggles:
    """The activity of an array's nets during a job, per tile, with loading and storing."""

    fabric: str
    tiles: int
    cycles: float
    toggles: float
    """Toggles of all nets."""
    weighted: float
    """Toggles of all nets, each times the number of pins that the net drives."""
    modules: dict[str, float]
    """`weighted` by the module that drives the net; the array's inputs are one entry of their own.
    If the hierarchy is flattened, the other entry is the array."""
    memory_reads: float
    """Cycles in which a memory's read port was enabled, summed over all read ports."""
    memory_writes: float
    """Cycles in which a memory's write port wrote, summed over all write ports."""
    memory_bits: float
    """Bits of the rows that ports read and wrote, of memories that are larger than those that LUTs
    are made into."""

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        return asdict(self)


def toggles(
    files: Mapping[str, str],
    config: ArrayConfig,
    job: Job,
    expected: Results,
    *,
    modules: bool = False,
    delays: bool = False,
) -> Toggles:
    """Run a job on the synthesised netlist of an array, and count the toggles of its nets.

    Counting begins with the first activations, after the program has been loaded.

    Args:
        files: the SystemVerilog of the array, text by file name.
        config: the configuration of the array.
        job: a job that has a program image.
        expected: the int8 results [T, N] that the job must have.
        modules: whether to keep the hierarchy, for `Toggles.modules`; the netlist is then a little
            larger.
        delays: whether gates have delays, so that glitches are counted, too (`netlist.LUT_DELAY`
            and what follows there).

    Raises:
        SynthesisError: a tool failed, or the netlist computes other results.
        SimulationError: the netlist refused the program or stopped.
        ToolNotFoundError: a tool is missing.
    """
    netlist = gate_netlist(files, modules=modules)
    with tempfile.TemporaryDirectory(prefix="daqkf-") as scratch:
        path, activity = Path(scratch, "netlist"), Path(scratch, "activity")
        path.write_bytes(netlist.encode())
        environment = {"DAQKF_GATES_NETLIST": str(path), "DAQKF_GATES_ACTIVITY": str(activity)}
        if delays:
            environment["DAQKF_GATES_DELAYS"] = "1"
        trace = Simulator(netlist_simulator(), config, environment).trace([job])[0]
        if not np.array_equal(trace.y, expected):
            raise SynthesisError("the synthesised netlist computes other results than the model")
        counts = np.fromfile(activity, np.uint64).astype(np.int64)
    cycles, changes, accesses = counts[0], counts[1:][: netlist.nets], counts[1 + netlist.nets :]
    (clock,) = netlist.ports["clk"]
    changes[clock] = 0
    weighted = changes * netlist.fan_out()
    tiles = -(-len(job.x) // config.lanes)
    by_module: dict[str, int] = {}
    for net in np.flatnonzero(weighted).tolist():
        module = netlist.drivers.get(net, "inputs")
        by_module[module] = by_module.get(module, 0) + int(weighted[net])
    reads, writes = accesses[: len(netlist.reads)], accesses[len(netlist.reads) :]
    return Toggles(
        FABRIC,
        tiles,
        int(cycles) / tiles,
        int(changes.sum()) / tiles,
        int(weighted.sum()) / tiles,
        {module: total / tiles for module, total in sorted(by_module.items())},
        int(reads.sum()) / tiles,
        int(writes.sum()) / tiles,
        int(_row_bits(netlist) @ accesses) / tiles,
    )


def _row_bits(netlist: Netlist) -> NDArray[np.int64]:
    """The bits of a row for each port that reads, then each that writes; 0 in small ones."""
    rows = [
        memory["width"] if memory["width"] * memory["size"] > _LUT_RAM_BITS else 0
        for memory in netlist.memories
    ]
    reads = [rows[read["memory"]] for read in netlist.reads]
    writes = [
        row for row, memory in zip(rows, netlist.memories, strict=True) for _ in memory["writes"]
    ]
    return np.array([*reads, *writes], np.int64)


def gate_netlist(files: Mapping[str, str], *, modules: bool = False) -> Netlist:
    """The netlist of an array in UltraScale+ primitives with whole memories.

    Raises:
        SynthesisError, ToolNotFoundError: for the same reasons as in `toggles`.
    """
    fabric = load_fabric(FABRIC)
    synthesis = f"{fabric.hierarchical if modules else fabric.flat} -top {TOP}"
    commands = [
        read_verilog(files),
        f"hierarchy -check -top {TOP}",
        f"{synthesis} -run begin:map_memory",
        # yosys leaves out a memory whose module is a black box.
        "read_verilog -lib memory.v",
        f"chtype -set {_KEPT} t:{MEMORY}",
        f"{synthesis} -run map_memory:check",
        f"chtype -set {MEMORY} t:{_KEPT}",
        f"delete ={_KEPT}",
        "blackbox =A:whitebox",
        "write_json -selected gates.json",
    ]

    def make(folder: Path) -> None:
        write_files(files, folder)
        (folder / "memory.v").write_text(_BLACK_BOX, encoding="utf-8")
        run_yosys(commands, folder)

    folder = cached(["gates", sorted(files.items()), _BLACK_BOX, commands], make)
    contents = json.loads((folder / "gates.json").read_text(encoding="utf-8"))
    return load(contents["modules"], TOP)


def netlist_simulator() -> Path:
    """The program that runs netlists, built with the harness of the RTL simulations.

    Raises:
        SynthesisError: the C++ compiler failed.
        ToolNotFoundError: the C++ compiler is missing.
    """
    compiler = tools.cxx_compiler()
    sources = [HARNESS, EXTERNAL_MEMORY, *sorted(_GATES.iterdir())]
    texts = [path.read_text(encoding="utf-8") for path in sources]

    def make(folder: Path) -> None:
        program = str(folder / "simulator")
        command = [*compiler, *_FLAGS, f"-I{_GATES}", str(HARNESS), "-o", program]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            lines = [line for line in run.stderr.splitlines() if "error" in line]
            raise SynthesisError(f"the simulator was not built: {(lines or ['no output'])[0]}")

    return cached(["netlist simulator", texts, compiler, _FLAGS], make) / "simulator"
