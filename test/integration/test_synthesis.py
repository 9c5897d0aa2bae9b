# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Synthesis, placement and counts of toggles, with the tools themselves."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import daqkf
from daqkf.cli.main import main
from daqkf.hw_targets import Counts
from daqkf.hw_targets.block_ram import ramb18s
from daqkf.hw_targets.fabric import xilinx_logic_cells
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.lut_ram import mapped_luts
from daqkf.lowering.hdl.circuit import Circuit, circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.runtime import tools
from daqkf.runtime.simulator import Job
from daqkf.synthesis import SynthesisError, synthesize, toggles
from daqkf.synthesis.devices import load_board
from daqkf.synthesis.placement import place_and_route
from daqkf.synthesis.running import run_yosys

FABRICS = ("xcup", "xcup-dsp", "ecp5", "ecp5-dsp")


def counter(bits: int = 13) -> dict[str, str]:
    c = Circuit("counter")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    count = c.register("count", bits, reset=0)
    count.drive(count + 1, enable=c.input("enable", 1))
    c.output("value", count)
    c.finish()
    return emit_verilog(circuit_module(c))


def multiplier() -> dict[str, str]:
    c = Circuit("multiplier")
    c.clock("clk")
    a, b = (c.delay(c.input(name, 12).zext(24), f"{name}_held") for name in "ab")
    c.output("y", c.delay(a * b, "product"))
    c.finish()
    return emit_verilog(circuit_module(c))


def buffer(depth: int, width: int, style: str = "block") -> dict[str, str]:
    c = Circuit("buffer")
    c.clock("clk")
    memory = c.memory("memory", depth, width, style)
    bits = memory.address_width
    memory.write(c.input("wa", bits), c.input("wd", width), c.input("we", 1))
    c.output("y", memory.read(c.input("ra", bits), c.input("re", 1), "q"))
    c.finish()
    return emit_verilog(circuit_module(c))


def counts(files: dict[str, str], fabric: str) -> Counts:
    return synthesize(files, next(iter(files)).removesuffix(".sv"), fabric).counts


@pytest.mark.parametrize("fabric", [pytest.param("xcup", marks=pytest.mark.slow), "ecp5"])
def test_flip_flops_are_counted_exactly(fabric: str):
    found = counts(counter(), fabric)
    assert found.flip_flops == 13
    assert (found.dsps, found.block_rams_18k, found.lut_rams) == (0, 0, 0)
    assert found.carries > 0


@pytest.mark.slow
@pytest.mark.parametrize("fabric", FABRICS)
def test_only_a_fabric_with_dsps_multiplies_in_them(fabric: str):
    found = counts(multiplier(), fabric)
    assert found.dsps == fabric.endswith("-dsp")
    assert (found.luts > 50) == (not found.dsps)


@pytest.mark.slow
@pytest.mark.parametrize("fabric", ["xcup", "ecp5"])
def test_a_memory_takes_the_block_ram_of_its_size(fabric: str):
    assert counts(buffer(1024, 18), fabric).block_rams_18k == 1
    assert counts(buffer(2048, 36), fabric).block_rams_36k == 2


@pytest.mark.slow
def test_a_memory_of_ultra_ram_takes_no_block_ram():
    found = counts(buffer(4096, 144, "ultra"), "xcup")
    assert (found.ultra_rams, found.block_rams_18k) == (2, 0)
    assert counts(buffer(4096, 144), "xcup").ultra_rams == 0


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "width"), [(64, 20), (256, 24), (1024, 14)])
def test_a_memory_of_luts_takes_those_that_store(depth: int, width: int):
    found, predicted = (
        counts(buffer(depth, width, "distributed"), "xcup"),
        mapped_luts(depth, width),
    )
    assert (found.block_rams_18k, found.lut_rams) == (0, predicted.storing)
    assert found.luts + found.lut_rams == pytest.approx(predicted.luts, rel=0.1)


def test_logic_cells_are_yosys_own_estimate(tmp_path: Path):
    rng = np.random.default_rng(5)
    mixes = rng.integers(0, 30, (40, 7)) * rng.integers(0, 2, (40, 7))
    modules = []
    for number, mix in enumerate(mixes):
        luts = [
            f"LUT{k} l{k}_{n}({', '.join(f'.I{i}(i)' for i in range(k))}, .O());"
            for k in range(1, 7)
            for n in range(mix[k])
        ]
        modules.append(f"module mix{number}(input i); {' '.join(luts)} endmodule\n")
    (tmp_path / "mixes.v").write_text("".join(modules))
    read = "read_verilog -lib +/xilinx/cells_sim.v; read_verilog mixes.v"
    run_yosys([*read.split("; "), "tee -q -o stat.txt stat -tech xilinx"], tmp_path)
    found = re.findall(
        r"=== mix(\d+) ===.*?Estimated number of LCs: +(\d+)",
        (tmp_path / "stat.txt").read_text(),
        re.DOTALL,
    )
    assert len(found) == len(mixes)
    for number, printed in found:
        mix = {f"LUT{k}": int(count) for k, count in enumerate(mixes[int(number)])}
        assert xilinx_logic_cells(mix) == int(printed), mix


def test_a_second_call_needs_no_yosys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAQKF_CACHE", str(tmp_path))
    files = counter(3)
    found = synthesize(files, "counter", "ecp5", work=tmp_path / "work")
    assert "synth_ecp5" in (tmp_path / "work" / "script.ys").read_text()
    monkeypatch.setattr(tools, "yosys", lambda: tools.Tool(("false",), {}))
    assert synthesize(files, "counter", "ecp5") == found
    with pytest.raises(SynthesisError, match="yosys: exit code 1"):
        synthesize(counter(4), "counter", "ecp5")
    # Another yosys may find something else.
    monkeypatch.setenv("DAQKF_YOSYS", "other")
    with pytest.raises(SynthesisError, match="yosys: exit code 1"):
        synthesize(files, "counter", "ecp5")
    assert not list(tmp_path.glob("synthesis/building-*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("module top(input a,\n output y);\n assign y = = a;\nendmodule\n", r"broken\.sv:3: "),
        ("module top(output y); missing m(.y(y)); endmodule\n", r"yosys: Module .*missing"),
        ("module other; endmodule\n", r"yosys: Module .*top.* not found"),
    ],
)
def test_a_broken_circuit_gets_one_line(text: str, message: str):
    with pytest.raises(SynthesisError, match=message) as caught:
        synthesize({"broken.sv": text}, "top", "xcup")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_placed_circuit_has_a_frequency():
    found = synthesize(counter(24), "counter", "ecp5", place=True, seeds=(3,)).placement
    assert found is not None
    assert found.device == "LFE5U-45F-6BG381C"
    assert found.board is None
    on_board = synthesize(counter(24), "counter", board="orangecrab-25f").placement
    assert on_board is not None
    assert (on_board.board, on_board.device) == ("orangecrab-25f", "LFE5U-25F-8MG285C")
    assert on_board.shares["logic cells"] > found.shares["logic cells"] > 0
    board = load_board("ulx3s-12f")
    with pytest.raises(SynthesisError, match=r"counter does not fit on ulx3s-12f \(LFE5U-12F-6B"):
        place_and_route(Path("none"), "counter", Counts(99999, 0, 0, 0, 0, 0, 0), (1,), board=board)
    assert found.fmax_by_seed == {3: found.fmax_mhz}
    # A carry chain of 24 bits on the slowest grade; an ECP5's registers alone pass 400 MHz.
    assert 100 < found.fmax_mhz < 400
    with pytest.raises(SynthesisError, match="nothing here places and routes for xcup"):
        synthesize(counter(), "counter", "xcup", place=True)


@pytest.fixture(scope="module")
def design() -> daqkf.Design:
    weights = np.random.default_rng(8).standard_normal((12, 6))
    return daqkf.compile(weights, activation="relu", levels="uniform-7", target="tiny")


@pytest.fixture(scope="module")
def x(design: daqkf.Design):
    return np.random.default_rng(9).integers(-128, 128, (7, 12)).astype(np.int8)


@pytest.mark.slow
def test_the_netlist_computes_what_the_model_says(design: daqkf.Design, x: np.ndarray):
    counted = design.toggles(x)
    assert counted == design.toggles(x)
    assert counted.tiles == 4
    assert counted.weighted > counted.toggles > 0
    assert 0 < counted.memory_writes < counted.memory_reads
    assert counted.memory_bits == 0  # all are as small as LUT RAM
    # Not much less: the running sum changes its sign with every other word.
    assert design.toggles(np.zeros_like(x)).weighted < counted.weighted
    expected = design.reference(x)
    expected[3, 2] ^= 1
    job = Job(design.program, x, expected.shape[1])
    with pytest.raises(SynthesisError, match="computes other results"):
        toggles(design.verilog_files, design.config, job, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "levels"),
    [
        *((family, 1 if family == "ternary" else 127) for family in FAMILIES),
        pytest.param("running_sum,multiply", 7, id="mixed"),
    ],
)
def test_the_netlist_of_each_family_computes_what_the_model_says(family: str, levels: int):
    """yosys' gates against the RTL's results, which are the model's; `toggles` compares."""
    rng = np.random.default_rng(28)
    weights = rng.standard_normal((19, 7))
    design = daqkf.compile(
        weights, activation="silu", levels=levels, sparsity=0.3, family=family, target="tiny"
    )
    x = rng.integers(-128, 128, (5, 19)).astype(np.int8)
    x[0] = -128
    np.testing.assert_array_equal(design.simulate(x, stalls=0.3), design.reference(x))
    assert design.toggles(x).toggles > 0


@pytest.mark.slow
def test_gates_with_delays_compute_the_same_and_glitch(design: daqkf.Design, x: np.ndarray):
    job, expected = Job(design.program, x, 6), design.reference(x)
    plain, glitching = (
        toggles(design.verilog_files, design.config, job, expected, delays=delays)
        for delays in (False, True)
    )
    assert glitching == toggles(design.verilog_files, design.config, job, expected, delays=True)
    assert plain.weighted < glitching.weighted < 2 * plain.weighted
    for name in ("cycles", "memory_reads", "memory_writes", "memory_bits"):
        assert getattr(plain, name) == getattr(glitching, name)


@pytest.mark.slow
def test_rows_of_larger_memories_are_counted_with_their_bits(
    design: daqkf.Design, x: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    # The package has a function of the name of this module.
    monkeypatch.setattr(sys.modules["daqkf.synthesis.toggles"], "_LUT_RAM_BITS", 0)
    counted = design.toggles(x)
    accesses = counted.memory_reads + counted.memory_writes
    assert 4 * accesses < counted.memory_bits < 64 * accesses


@pytest.mark.slow
def test_with_the_hierarchy_kept_it_still_does(design: daqkf.Design, x: np.ndarray):
    counted = design.toggles(x, modules=True)
    names = {name.removesuffix(".sv") for name in design.verilog_files}
    assert {"daqkf_array", "daqkf_post", "inputs"} <= counted.modules.keys() <= names | {"inputs"}
    assert len(counted.modules) > 4
    assert sum(counted.modules.values()) == pytest.approx(counted.weighted)
    assert counted.memory_writes == design.toggles(x).memory_writes


@pytest.mark.slow
def test_the_command_prints_and_writes_the_figures(
    design: daqkf.Design, x: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    design.save(tmp_path / "design")
    np.save(tmp_path / "x.npy", x)
    folder, written = str(tmp_path / "design"), tmp_path / "figures.json"
    call = ["synth", folder, "--toggles", str(tmp_path / "x.npy"), "--json", str(written)]
    assert main(call) == 0
    facts = json.loads(written.read_text())
    found = design.synthesize()
    assert facts["counts"]["luts"] == found.counts.luts
    assert found.counts.block_rams_18k >= 7
    assert found.counts.dsps == 0
    assert facts["toggles"] == design.toggles(x).facts()
    assert f"{found.counts.logic_cells:,}" in capsys.readouterr().out


def test_the_command_names_what_is_wrong(
    design: daqkf.Design, x: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    design.save(tmp_path / "design")
    np.save(tmp_path / "x.npy", x)
    folder, written = str(tmp_path / "design"), tmp_path / "figures.json"
    wrong_hash = r"daqkf: .*daqkf_post\.sv: not as it was saved: .*"
    for arguments, message in (
        (["--fabric", "virtex"], r"daqkf: unknown fabric 'virtex' \(known: .*\)"),
        (
            ["--place", "--fabric", "xcup"],
            r"daqkf: nothing here places and routes for xcup; ecp5 can",
        ),
        (["--seeds", "2"], r"daqkf: --seeds is for --place and --board"),
        (
            ["--fabric", "ecp5", "--toggles", str(tmp_path / "x.npy")],
            r"daqkf: --toggles counts on xcup only",
        ),
        (["--board", "pynq"], r"daqkf: there is no board 'pynq': colorlight-i5, .*"),
        (["--json", str(written)], wrong_hash),
    ):
        if message == wrong_hash:
            (tmp_path / "design" / "rtl" / "daqkf_post.sv").write_text("module daqkf_post;\n")
        assert main(["synth", folder, *arguments]) == 1
        assert re.fullmatch(message + "\n", capsys.readouterr().err)
    assert not written.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "width"),
    [
        (8192, 39),
        (2048, 20),
        (8192, 21),
        (512, 72),
    ],
)
def test_block_ram_is_predicted(depth: int, width: int):
    assert counts(buffer(depth, width), "xcup").block_rams_18k == ramb18s(depth, width)
