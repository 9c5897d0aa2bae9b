# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The builder's circuits as SystemVerilog that other tools accept, and what cannot be exported."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from xdsl.dialects import hw
from xdsl.dialects.builtin import ModuleOp, SymbolRefAttr

from daqkf.lowering.hdl.circuit import Circuit, circuit_module, concat, mux
from daqkf.lowering.hdl.verilog import VerilogExportError, emit_verilog, single_file
from daqkf.runtime import tools


def leaf() -> Circuit:
    """Registers with a reset, an enable, both and none; a wire between them."""
    c = Circuit("leaf")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    x, enable = c.input("x", 8), c.input("enable", 1)
    total = c.register("sum", 12, reset=-5)
    step = c.wire("step", 12)
    total.drive(total + step, enable=enable)
    step.drive(c.delay(x, "x_held", enable=enable).sext(12))
    late = c.delay(c.delay(x, "x_late"), "x_later", reset=0)
    c.output("total", total)
    c.output("product", late.zext(16) * x.zext(16))
    c.finish()
    return c


def memory_port(c: Circuit, depth: int, style: str, reads: int) -> None:
    """A memory with all its ports on the outside."""
    memory = c.memory(f"rows{depth}", depth, 16, style)
    address = c.input(f"write_address_{depth}", memory.address_width)
    memory.write(address, c.input(f"data_{depth}", 16), c.input(f"write_{depth}", 1))
    for i in range(reads):
        address = c.input(f"address_{depth}_{i}", memory.address_width)
        row = memory.read(address, c.input(f"read_{depth}_{i}", 1), f"row{depth}{'ab'[i]}")
        c.output(f"q_{depth}_{i}", row)


def top() -> Circuit:
    """Every operation, two instances of a leaf, and memories of awkward depths."""
    c = Circuit("top")
    clk, rst = c.clock("clk"), c.input("rst", 1)
    a, b = c.input("a", 8), c.input("b", 8)
    cell = leaf()
    first = c.instance("first", cell, clk=clk, rst=rst, x=a, enable=a.ult(b))
    second = c.instance("second", cell, clk=clk, rst=rst, x=b, enable=a.ule(b) & a.ne(3))
    c.output("sum", first["total"] - second["total"])
    c.output("bits", concat(a[7], b[:3], (a ^ b).any(), (a | b).all(), ~b[2:6]))
    c.output("chosen", mux(a.eq(b), first["product"], -1) ^ second["product"])
    c.output("signs", b[7].replicate(3))
    for depth, style, reads in ((1, "distributed", 1), (3, "distributed", 2), (1000, "block", 2)):
        memory_port(c, depth, style, reads)
    c.finish()
    return c


@cache
def verilog() -> dict[str, str]:
    module = circuit_module(top())
    module.verify()
    return emit_verilog(module)


def run(tool: tools.Tool, *arguments: str, folder: Path) -> str:
    """What a tool prints about the files in a folder; it must succeed without warnings."""
    result = subprocess.run(
        [*tool.argv, *arguments], cwd=folder, env=tool.env, capture_output=True, text=True
    )
    printed = result.stdout + result.stderr
    assert result.returncode == 0, printed
    assert "warning" not in printed.lower()
    return printed


def save(files: dict[str, str], folder: Path) -> list[str]:
    for name, text in files.items():
        (folder / name).write_text(text)
    return list(files)


def test_one_file_for_each_module():
    files = verilog()
    assert list(files) == ["leaf.sv", "top.sv"]
    for name, text in files.items():
        assert text.count("endmodule") == 1
        assert f"module {Path(name).stem}(" in text
    text = single_file(files)
    assert text.index("module leaf(") < text.index("module top(")
    assert text.count("endmodule") == 2


def test_names_resets_and_enables_survive():
    text = verilog()["leaf.sv"]
    for line in ("reg [11:0] sum;", "sum <= 12'hFFB;", "if (enable) sum <= sum + ", "x_late <= x;"):
        assert line in " ".join(text.split()), line
    assert "step" not in text


def test_memories_keep_their_style_and_are_not_initialised():
    text = verilog()["top.sv"]
    flat = " ".join(text.split())
    assert '(* ram_style = "block", no_rw_check = 1 *) reg [15:0] rows1000[0:999];' in flat
    assert '(* ram_style = "distributed", no_rw_check = 1 *) reg [15:0] rows3[0:2];' in flat
    for word in ("initial", "random", "`ifdef"):
        assert word not in text.lower()


def test_verilator_has_no_complaint(tmp_path: Path):
    files = save(verilog(), tmp_path)
    lint = ("--lint-only", "-Wall", "--top-module", "top", *files)
    run(tools.verilator(), *lint, folder=tmp_path)


def test_yosys_reads_it(tmp_path: Path):
    files = " ".join(save(verilog(), tmp_path))
    script = f"read_verilog -sv {files}; hierarchy -check -top top; proc; check -assert"
    run(tools.yosys(), "-q", "-p", script, folder=tmp_path)


@pytest.mark.slow
def test_a_memory_with_two_read_ports_becomes_two_block_rams(tmp_path: Path):
    c = Circuit("memory")
    c.clock("clk")
    memory_port(c, 1000, "block", reads=2)
    c.finish()
    files = " ".join(save(emit_verilog(circuit_module(c)), tmp_path))
    script = f"read_verilog -sv {files}; synth_xilinx -top memory -run begin:map_ffram; stat"
    printed = run(tools.yosys(), "-p", script, folder=tmp_path)
    cells = printed.rsplit("Printing statistics", 1)[1]
    assert "2   RAMB18E1" in cells
    assert "$mem" not in cells
    assert "FD" not in cells, "the read registers are those of the block RAM"


def test_a_module_that_is_not_there_is_named():
    c = top()
    module = circuit_module(c)
    for op in module.walk():
        if isinstance(op, hw.InstanceOp):
            op.module_name = SymbolRefAttr("elsewhere")
    with pytest.raises(VerilogExportError, match=r"Cannot find module definition 'elsewhere'$"):
        emit_verilog(module)


def test_a_module_without_circuits_is_refused():
    with pytest.raises(VerilogExportError, match=r"there is no module in it$"):
        emit_verilog(ModuleOp([]))


def replace_child(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Run a shell script in the place of the exporter."""
    program = folder / "child"
    program.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Stack dump:' >&2; kill -ABRT $$", "it crashed with SIGABRT"),
        ("exit 3", "exit 3"),
        ("echo 'error: no such port' >&2; echo '{\"a.sv\": \"\"}'", "error: no such port"),
        ("echo '{\"a.sv\": '", "there is no module in it"),
        ("printf 'error: Failure:\\nerror: the reason\\nnote: more\\n' >&2", "error: the reason"),
    ],
)
def test_a_failing_exporter_is_one_clear_line(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    replace_child(monkeypatch, tmp_path, script)
    with pytest.raises(VerilogExportError) as error:
        emit_verilog(ModuleOp([]))
    assert str(error.value) == f"CIRCT cannot export the circuit: {message}"


def test_the_exporter_finds_what_its_parent_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    replace_child(monkeypatch, tmp_path, 'echo "$PYTHONPATH" >&2')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "library", "/absolute"])
    with pytest.raises(VerilogExportError, match=f" {tmp_path}:{tmp_path}/library:/absolute$"):
        emit_verilog(ModuleOp([]))
