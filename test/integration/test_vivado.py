# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Projects for Vivado, run against a stub of its commands (`vivado_stub.py`): it is not here.

The stub refuses what Vivado refuses, and negative controls show that it does.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from package_bench import MACHINES, TINY, system, verilate
from vivado_stub import Vivado, VivadoError

import daqkf
from daqkf.hw_targets.config import smallest_array
from daqkf.packaging.boards import names
from daqkf.packaging.vivado import vivado_package

BOARD_FILES = tuple(
    f"xilinx.com:{name}:part0:1.4" for name in ("kv260_som", "kr260_som", "au280", "vcu118")
)
BOARDS = ("kv260", "kr260", "u280", "vcu118", "pynq-z2")


def project(kind: str, board: str, folder: Path) -> Path:
    vivado_package(system(kind), board, None, "an array").write(folder)
    return folder / "build.tcl"


def run_vivado(script: Path, *arguments: str, slack: float = 0.1):
    pytest.importorskip("tkinter", reason="this Python has no Tcl")
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
    with pytest.raises(VivadoError, match=r"misses its clock of 200 MHz by 0\.3 ns"):
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
    with pytest.raises(VivadoError, match=re.escape(message)):
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
            except (VivadoError, KeyError):  # a cell that is used and not there
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
    with pytest.raises(VivadoError, match=r"no files of the board xilinx\.com:vcu118:part0"):
        Vivado().source(project("queue", "vcu118", tmp_path / "card"))
    # The processing system of this one is told all that it has to know.
    Vivado().source(project("queue", "pynq-z2", tmp_path / "small"))


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
