# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Projects for Quartus and Platform Designer, run against a stub (`quartus_stub.py`)."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from package_bench import MACHINES, system, verilate
from pyslang.ast import Compilation
from pyslang.syntax import SyntaxTree
from quartus_stub import Quartus, QuartusError

import daqkf
from daqkf.packaging.quartus import quartus_package


def quartus(kind: str, board: str, folder: Path, clock: float | None = None) -> Path:
    quartus_package(system(kind), board, clock, "an array").write(folder)
    return folder


def run_quartus(folder: Path, slack: float = 0.1):
    pytest.importorskip("tkinter", reason="this Python has no Tcl")
    return Quartus(folder / "build.tcl", slack)


def module(name: str, ports: Mapping[str, tuple[str, int]]) -> str:
    """An empty module of these ports."""
    lines = ",\n".join(f"{way} wire [{width - 1}:0] {port}" for port, (way, width) in ports.items())
    quiet = "".join(f"/* verilator lint_off {rule} */\n" for rule in ("UNUSEDSIGNAL", "UNDRIVEN"))
    return f"{quiet}module {name}({lines});\nendmodule\n"


def test_quartus_projects_run(tmp_path: Path):
    folder = quartus("queue", "de10-nano", tmp_path)
    done = run_quartus(folder)
    assert done.done[-1] == "quartus_cpf" and (folder / "daqkf.rbf").exists()
    assert done.system is not None
    managers = {start for start, end in done.system.connections if end == "hps.f2h_axi_slave"}
    assert managers == {"daqkf.m_axi0", "daqkf.m_axi_data"}
    # The top has a pin for each port of the system that Platform Designer makes.
    (folder / "soc.sv").write_text(module("soc", done.system.ports))
    assert verilate(folder, "daqkf_top", "daqkf_top.sv", "soc.sv") == ""
    addresses = json.loads((folder / "addresses.json").read_text())
    assert addresses["registers"]["daqkf"] == {"base": 0xFF20_0000, "bytes": 4096}


@pytest.mark.parametrize("kind", MACHINES)
def test_platform_designer_takes_the_component(kind: str, tmp_path: Path):
    pytest.importorskip("tkinter", reason="this Python has no Tcl")
    from quartus_stub import ComponentScript

    folder = quartus(kind, "component", tmp_path) / "ip"
    component = ComponentScript(folder / "daqkf_system_hw.tcl").component
    assert verilate(folder, component.module, *component.files) == ""
    ports = {
        port: (is_input, width)
        for entry in component.interfaces.values()
        for port, is_input, width in entry.roles.values()
    }
    compilation = Compilation()
    for file in component.files:
        compilation.addSyntaxTree(SyntaxTree.fromText((folder / file).read_text()))
    (top,) = compilation.getRoot().topInstances
    assert top.name == component.module
    assert ports == {
        port.name: (str(port.direction).endswith("In"), port.type.bitWidth)
        for port in top.body.portList
    }


def test_a_project_of_quartus_stops_where_timing_is_missed(tmp_path: Path):
    folder = quartus("queue", "de10-nano", tmp_path, 120)
    with pytest.raises(QuartusError, match=r"misses its clock of 120 MHz by 0\.2 ns"):
        run_quartus(folder, slack=-0.2)
    assert not (folder / "daqkf.rbf").exists()


@pytest.mark.parametrize(
    ("file", "good", "bad", "message"),
    [
        ("system.tcl", "daqkf.m_axi0 hps", "daqkf.m_axi9 hps", "no interface 'daqkf.m_axi9'"),
        ("system.tcl", "hps.f2h_axi_slave", "hps.f2h_axi", "no interface 'hps.f2h_axi'"),
        ("system.tcl", "add_instance pll altera_pll", "add_instance pll pll", "no component 'pll'"),
        ("system.tcl", "gui_use_locked", "use_locked", "no parameter 'use_locked'"),
        ("system.tcl", "add_connection pll.outclk0 daqkf.clock\n", "", "daqkf.clock is not"),
        ("system.tcl", "pll.outclk0 daqkf.clock", "hps.h2f_reset daqkf.clock", "cannot be"),
        ("system.tcl", "irqNumber", "baseAddress", "no parameter 'baseAddress'"),
        ("daqkf.qsf", "-to FPGA_CLK1_50", "-to CLOCK_50", "no port 'CLOCK_50'"),
        ("daqkf.qsf", "daqkf_top.sv", "top.sv", "no file 'top.sv'"),
        ("daqkf.sdc", "get_ports FPGA_CLK1_50", "get_ports CLOCK_50", "no port 'CLOCK_50'"),
        ("daqkf.sdc", "derive_pll_clocks", "derive_clocks", "invalid command name"),
        ("build.tcl", "run {quartus_map daqkf}\n", "", "quartus_map has not run"),
        ("build.tcl", "run {quartus_cpf", "run {quartus_cdf", "no program 'quartus_cdf'"),
        ("ip/daqkf_system_hw.tcl", "m_axi0_arid arid", "m_axi0_arid arident", "no role 'arident'"),
        (
            "ip/daqkf_system_hw.tcl",
            "add_interface_port m_axi0 m_axi0_bid bid Input 1\n",
            "",
            "m_axi0 has no bid",
        ),
        ("ip/daqkf_system_hw.tcl", "PATH daqkf_array.sv", "PATH array.sv", "no file 'array.sv'"),
    ],
)
def test_the_stub_of_quartus_finds_what_is_wrong(
    file: str, good: str, bad: str, message: str, tmp_path: Path
):
    folder = quartus("queue", "de10-nano", tmp_path)
    text = (folder / file).read_text()
    assert good in text
    (folder / file).write_text(text.replace(good, bad, 1))
    with pytest.raises(QuartusError, match=re.escape(message)):
        run_quartus(folder)


def test_the_stub_of_quartus_misses_every_line(tmp_path: Path):
    """So is a system of Platform Designer without any one of its connections."""
    folder = quartus("queue", "de10-nano", tmp_path)
    script = folder / "system.tcl"
    lines = script.read_text().splitlines()
    found: list[str] = []
    for number, line in enumerate(lines):
        if line.startswith(("add_instance", "add_connection", "add_interface", "save_system")):
            shutil.rmtree(folder / "soc", ignore_errors=True)
            shutil.rmtree(folder / "output_files", ignore_errors=True)
            script.write_text("\n".join(lines[:number] + lines[number + 1 :]))
            try:
                run_quartus(folder)
            except (QuartusError, KeyError, OSError):  # what is used, and was not made
                continue
            found.append(line)
    assert not found
    script.write_text("\n".join(lines))
    run_quartus(folder)


def test_a_board_that_feeds_no_streams_wants_a_queue():
    with pytest.raises(daqkf.DaqkfError, match="nothing on Terasic DE10-Nano feeds the streams"):
        quartus_package(system("streams"), "de10-nano", None, "")
    with pytest.raises(daqkf.DaqkfError, match="--clock is for a board"):
        quartus_package(system("streams"), "component", 100, "")
