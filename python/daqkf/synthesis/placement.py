# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Place and route a circuit on an ECP5 with nextpnr, to find its clock frequency.

An array has more ports than a device has pins, and the delays of pins would say nothing about the
array. So it gets a frame: a shift register, fed from one pin, drives its inputs, and registers take
its outputs, which leave through another pin. The paths at the array's ports thus begin and end in
registers beside it, as they do in a larger design.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from daqkf.hw_targets import Counts
from daqkf.passes.progress import Progress, counted, silent
from daqkf.synthesis.devices import PARTS, Board, Part
from daqkf.synthesis.netlist import CLOCK
from daqkf.synthesis.output_registers import absorb_output_registers
from daqkf.synthesis.running import SynthesisError, cached, keep, run_nextpnr, run_yosys

_FRAME, _INSTANCE = "daqkf_frame", "array"
_TARGET_MHZ = 400
"""The clock frequency that nextpnr is asked for. No device reaches it, because nextpnr stops
optimising when it meets the target."""


@dataclass(frozen=True)
class CriticalPath:
    """The path that limits the clock frequency."""

    start: str
    """The net of the register or of the memory where it begins."""
    end: str
    """The cell and the port where it ends."""
    nets: tuple[str, ...]
    """Those between, without the ones of carry chains."""
    logic_ns: float
    """Its delay in logic, with clock-to-output and setup times, in nanoseconds."""
    routing_ns: float
    """That in routing."""

    @classmethod
    def read(cls, report: Mapping[str, Any]) -> "CriticalPath":
        """The longest path from a register to a register of nextpnr's report, of one clock."""
        paths = [
            path["path"]
            for path in report["critical_paths"]
            if path["from"] == path["to"] and path["from"].startswith("posedge")
        ]
        steps = max(paths, key=lambda steps: sum(step["delay"] for step in steps))
        routes = [step for step in steps if step["type"] == "routing"]
        nets = [_plain(step["net"]) for step in routes if step["to"]["port"] != "FCI"]
        routing, whole = (sum(step["delay"] for step in some) for some in (routes, steps))
        end = steps[-1]["to"]
        return cls(
            start=nets[0],
            end=f"{_plain(end['cell'])}.{end['port']}",
            nets=tuple(dict.fromkeys(nets[1:])),
            logic_ns=round(whole - routing, 2),
            routing_ns=round(routing, 2),
        )


def _plain(name: str) -> str:
    """A name of the netlist without what yosys and nextpnr have added, and without the frame's."""
    return re.sub(r"(_(TRELLIS_FF|LUT4|CCU2C|PFUMX|L6MUX21)_.*|\$.*)$", "", name).removeprefix(
        f"{_INSTANCE}."
    )


@dataclass(frozen=True)
class Placement:
    """The result of placing and routing a circuit."""

    device: str
    """The part, with its speed grade and package."""
    seed: int
    """The seed of the fastest placement."""
    fmax_mhz: float
    """The clock frequency of the fastest placement in MHz, by nextpnr's timing analysis."""
    fmax_by_seed: dict[int, float]
    shares: dict[str, float]
    """What of the device is taken; see `Part.shares`."""
    critical_path: CriticalPath | None = None
    """Of the fastest placement."""
    board: str | None = None
    """The board that the device is on, if one was named."""
    board_mhz: float | None = None
    """The clock frequency of the board's oscillator in MHz."""


def place_and_route(
    netlist: Path,
    top: str,
    counts: Counts,
    seeds: Sequence[int],
    work: Path | None = None,
    progress: Progress = silent,
    board: Board | None = None,
) -> Placement:
    """Place and route a netlist of ECP5 primitives on a board, or the smallest device it fits on.

    `progress` is told of each seed.

    Raises:
        SynthesisError: the device does not hold the circuit, it has no clock `clk`, or a tool
            failed.
        ToolNotFoundError: a tool is missing.
    """
    parts = PARTS if board is None else (board.part,)
    part = next((part for part in parts if part.holds(counts)), None)
    if part is None:
        where = "any ECP5" if board is None else f"{board.name} ({board.part.name})"
        raise SynthesisError(f"{top} does not fit on {where}: {_needs(counts)}")
    if not seeds:
        raise SynthesisError("placing needs a seed")
    ports = _ports(netlist, top)
    framed = _framed(netlist, top, frame(top, ports))
    speeds, reports = dict[int, float](), dict[int, Any]()
    told = counted(progress, "place and route with", len(seeds), "seeds")
    for seed in seeds:
        told(str(seed))
        folder = _routed(framed, part, seed)
        keep(folder, work)
        reports[seed] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        speeds[seed] = min(clock["achieved"] for clock in reports[seed]["fmax"].values())
    best = max(seeds, key=lambda seed: speeds[seed])
    path = CriticalPath.read(reports[best])
    found = Placement(part.name, best, speeds[best], speeds, part.shares(counts), path)
    return found if board is None else replace(found, board=board.name, board_mhz=board.clock_mhz)


def _needs(counts: Counts) -> str:
    facts = {name: number for name, number in asdict(counts).items() if number}
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in facts.items())


def _ports(netlist: Path, top: str) -> dict[str, tuple[str, int]]:
    """The direction and the bits of each port, by name."""
    module: dict[str, Any] = json.loads(netlist.read_text(encoding="utf-8"))["modules"][top]
    ports = {name: (port["direction"], len(port["bits"])) for name, port in module["ports"].items()}
    if ports.get(CLOCK) != ("input", 1):
        raise SynthesisError(f"{top} has no clock '{CLOCK}'")
    return ports


def frame(top: str, ports: dict[str, tuple[str, int]]) -> str:
    """The Verilog of a frame around a module with these ports: (direction, bits) by name."""
    inputs = {n: bits for n, (way, bits) in ports.items() if way == "input" and n != CLOCK}
    outputs = {n: bits for n, (way, bits) in ports.items() if way == "output"}
    # The registers have a bit more than needed, so that a circuit without inputs or outputs works.
    width, height = sum(inputs.values()) + 1, sum(outputs.values()) + 1
    binds, low = [f".{CLOCK}({CLOCK})"], 0
    for name, bits in inputs.items():
        binds.append(f".{name}(driven[{low} +: {bits}])")
        low += bits
    low = 0
    for name, bits in outputs.items():
        binds.append(f".{name}(results[{low} +: {bits}])")
        low += bits
    return f"""module {_FRAME}(input {CLOCK}, input in, output out);
  reg [{width - 1}:0] driven;
  wire [{height - 1}:0] results;
  reg [{height - 1}:0] taken, leaving;
  assign results[{height - 1}] = driven[{width - 1}];
  assign out = leaving[{height - 1}];
  {top} {_INSTANCE}({", ".join(binds)});
  always @(posedge {CLOCK}) begin
    driven <= {{driven, in}};
    taken <= results;
    leaving <= taken ^ {{leaving, 1'b0}};
  end
endmodule
"""


def _framed(netlist: Path, top: str, text: str) -> Path:
    """Make a folder that has the framed netlist as `framed.json`.

    Nothing of the netlist is changed, except that registers are moved into block RAMs.
    """
    commands = [
        f"read_json {netlist.name}",
        f"setattr -mod -unset top {top}",
        f"blackbox {top}",
        "read_verilog -sv frame.sv",
        f"synth_ecp5 -nolutram -top {_FRAME} -noflatten",
        f"delete ={top}",
        f"read_json {netlist.name}",
        f"setattr -mod -unset top {top}",
        f"hierarchy -check -top {_FRAME}",
        "flatten",
        "opt_clean",
        "write_json framed.json",
    ]

    def make(folder: Path) -> None:
        (folder / netlist.name).write_bytes(netlist.read_bytes())
        (folder / "frame.sv").write_text(text, encoding="utf-8")
        run_yosys(commands, folder)
        framed = folder / "framed.json"
        design = json.loads(framed.read_text(encoding="utf-8"))
        absorb_output_registers(design["modules"][_FRAME])
        framed.write_text(json.dumps(design), encoding="utf-8")

    return cached(["framed with output registers", netlist.parent.name, text, commands], make)


def _routed(framed: Path, part: Part, seed: int) -> Path:
    """Run nextpnr, and return the folder that has its `report.json`."""
    arguments = [
        *part.options,
        *("--json", "framed.json", "--report", "report.json"),
        *("--seed", str(seed), "--freq", str(_TARGET_MHZ)),
        *("--timing-allow-fail", "--lpf-allow-unconstrained", "--quiet"),
    ]

    def make(folder: Path) -> None:
        copy = folder / "framed.json"
        copy.write_bytes((framed / "framed.json").read_bytes())
        run_nextpnr(arguments, folder)
        copy.unlink()

    return cached(["routed", framed.name, arguments], make)
