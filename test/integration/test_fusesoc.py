# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Cores for FuseSoC and edalize, which really run; and the dialect of SystemVerilog."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from package_bench import MACHINES, system, verilate

from daqkf.packaging.core_file import core_package
from daqkf.packaging.ip_xact import VLNV
from daqkf.runtime import tools


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
