# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Waveforms: what they show, and what is left when they cannot be written."""

import shlex
import subprocess
import sys
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import pywellen

import daqkf
from daqkf.compiler.design import Simulation
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.status import Phase
from daqkf.lowering.rtl.array import TOP
from daqkf.runtime import tools
from daqkf.runtime.simulator import Job, SimulationError, Simulator, require_compression
from daqkf.runtime.waveforms import Waveform, gtkwave_view
from daqkf.support.errors import DaqkfError

RNG = np.random.default_rng(5)
WEIGHTS = RNG.standard_normal((12, 5))
X = RNG.standard_normal((7, 12)).astype(np.float32)
"""Four tiles of two lanes."""

Variables = dict[str, pywellen.Var]


@cache
def design() -> daqkf.Design:
    return daqkf.compile(WEIGHTS, levels="codebook-7", calibration=X, target="tiny")


def variables(path: Path) -> Variables:
    return {var.full_name: var for var in pywellen.Waveform(str(path)).all_vars()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Variables, Simulation]:
    """The waveform of all tiles, its variables by name, and the results."""
    path = tmp_path_factory.mktemp("waveforms") / "whole.vcd"
    result = design().measure(X, stalls=0.3, seed=2, trace=path)
    assert str(pywellen.Waveform(str(path)).timescale) == "1ns"
    return path, variables(path), result


def cycles(found: Variables, *names: str) -> np.ndarray:
    """[cycles, signals] what ports of the array are as the clock rises."""
    edges = [time for time, level in found["TOP.clk"].tv if level == 1]
    signals = [found[f"TOP.{name}"].signal for name in names]
    return np.array([[signal.value_at(edge - 1) for signal in signals] for edge in edges])


@pytest.mark.slow
def test_a_waveform_changes_no_result(whole: tuple[Path, Variables, Simulation]):
    _, _, result = whole
    plain = design().measure(X, stalls=0.3, seed=2)
    np.testing.assert_array_equal(result.y, plain.y)
    np.testing.assert_array_equal(result.y, design().reference(X))
    assert result.cycles == plain.cycles


@pytest.mark.slow
def test_phases_come_in_order(whole: tuple[Path, Variables, Simulation]):
    _, found, result = whole
    phase, reset = cycles(found, "status_phase", "rst").T
    phases = [kind for kind, _ in groupby(phase[reset == 0])]
    *_, (end, _) = ((time, level) for time, level in found["TOP.clk"].tv if level == 1)
    changes = [value for time, value in found["TOP.status_phase"].tv if time < end]
    assert changes[-len(phases) :] == phases
    begin = [Phase.EMPTY, Phase.LOADING_PROGRAM, Phase.READY, Phase.LOADING_ACTIVATIONS]
    assert phases[:5] == [*begin, Phase.RUNNING]
    assert phases.count(Phase.RUNNING) == result.tiles == 4
    counts = np.bincount(phase[reset == 0], minlength=len(Phase))
    assert counts[Phase.LOADING_PROGRAM] == result.cycles.loading_program
    assert counts[Phase.RUNNING] == result.cycles.running
    named = f"TOP.{TOP}.phase_names.text"
    values = [int(value) for time, value in found[named].tv if time < end]
    texts = [value.to_bytes(32).lstrip(b"\0").decode() for value in values]
    assert texts == [Phase(change).name for change in changes]


@pytest.mark.slow
def test_streams_carry_what_they_carried(whole: tuple[Path, Variables, Simulation]):
    _, found, result = whole
    port = cycles(found, "y_tvalid", "y_tready", "y_tdata", "rst")
    beats = port[(port[:, 0] & port[:, 1] & ~port[:, 3] & 1) == 1, 2].astype("<u2")
    tiles = beats.view(np.int8).reshape(result.tiles, -1, 2)
    y = tiles.transpose(0, 2, 1).reshape(8, -1)[: len(X)]
    np.testing.assert_array_equal(design().dequantize_output(y), result.y)
    words = cycles(found, "prog_tvalid", "prog_tready", "prog_tdata")
    taken = words[(words[:, 0] & words[:, 1]) == 1, 2].astype("<u4")
    assert taken.tobytes() == design().program


@pytest.mark.slow
def test_a_waveform_ends_after_its_tiles(whole: tuple[Path, Variables, Simulation], tmp_path: Path):
    _, found, _ = whole
    path = tmp_path / "new" / "short.VCD"
    y = design().simulate(X, stalls=0.3, seed=2, trace=path, trace_tiles=2)
    assert len(y) == len(X)
    last = cycles(variables(path), "y_tvalid", "y_tready", "y_tlast")
    every = cycles(found, "y_tvalid", "y_tready", "y_tlast")
    assert last[:, :].all(axis=1).sum() == 2
    np.testing.assert_array_equal(last, every[: len(last)])
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["short.VCD", "short.gtkw"]


@pytest.mark.slow
def test_gtkwave_finds_every_signal(whole: tuple[Path, Variables, Simulation]):
    path, found, _ = whole
    lines = path.with_suffix(".gtkw").read_text().splitlines()
    assert lines[0] == f'[dumpfile] "{path}"'
    shown = [line.split()[-1] for line in lines if "TOP." in line]
    vectors = {name for name, var in found.items() if var.bitwidth > 1}
    for name in shown:
        plain, _, high = name.removesuffix(":0]").partition("[")
        assert (plain in vectors) == bool(high), name
        assert found[plain].bitwidth == int(high or 0) + 1
    for name in ("clk", "prog_tdata[31:0]", "x_tvalid", "y_tlast", "status_phase[2:0]"):
        assert f"TOP.{TOP}.{name}" in shown
    assert any(".element0.lane0.running_sum[" in name for name in shown)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_view(family: str):
    made = daqkf.compile(WEIGHTS, levels="ternary", calibration=X, target="tiny", family=family)
    view = gtkwave_view(Waveform(Path("a.vcd")), made.verilog_files)
    groups = [line for line in view.splitlines() if line.startswith("-Element 0")]
    assert len(groups) == 4
    inside = [line for line in view.splitlines() if f"TOP.{TOP}.element0." in line]
    assert sum("clk" in line for line in inside) == 2


@pytest.mark.slow
def test_fst(whole: tuple[Path, Variables, Simulation], tmp_path: Path):
    """Its reader is the one of Surfer."""
    try:
        require_compression(tools.cxx_compiler())
    except SimulationError:
        pytest.skip("no zlib or lz4")
    _, expected, _ = whole
    path = tmp_path / "whole.fst"
    design().simulate(X, stalls=0.3, seed=2, trace=path)
    found = variables(path)
    assert str(pywellen.Waveform(str(path)).timescale) == "1ns"
    assert found.keys() == expected.keys()
    for name in ("TOP.status_phase", "TOP.y_tdata", f"TOP.{TOP}.element0.lane0.running_sum"):
        assert list(found[name].tv) == list(expected[name].tv)
    _, names = found[f"TOP.{TOP}.phase_names.phase"].enum_type
    assert [name for _, name in names] == [phase.name for phase in Phase]


def test_fst_without_its_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    compiler = tmp_path / "compiler"
    compiler.write_text(
        f'#!/bin/sh\ncase "$*" in *lz4*) exit 1; esac\n{shlex.join(tools.cxx_compiler())} "$@"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(SimulationError, match=r"zlib or lz4.*or write a \.vcd"):
        design().simulate(X, trace=tmp_path / "out" / "a.fst")
    assert not list((tmp_path / "out").iterdir())


def test_bad_waveforms_are_refused(tmp_path: Path):
    for name in ("a.txt", "a"):
        with pytest.raises(DaqkfError, match=rf"{name}: waveforms are files in \.vcd or \.fst"):
            design().simulate(X, trace=tmp_path / name)
    with pytest.raises(DaqkfError, match="a waveform of 0 tiles"):
        design().simulate(X, trace=tmp_path / "a.vcd", trace_tiles=0)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        design().simulate(X, trace=tmp_path / "file" / "a.vcd")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_noticed(whole: tuple[Path, Variables, Simulation], tmp_path: Path):
    path = tmp_path / "full.vcd"
    path.symlink_to("/dev/full")
    simulator = Simulator.verilated(design().verilog_files, design().config, "vcd")
    job = Job(design().program, np.zeros((2, 12), np.int8), 5)
    with pytest.raises(SimulationError, match="cannot write the waveform"):
        simulator.trace([job], waveform=Waveform(path))


@pytest.mark.slow
def test_the_command(whole: tuple[Path, Variables, Simulation], tmp_path: Path):
    design().save(tmp_path / "out")
    np.save(tmp_path / "x.npy", X)

    def simulate(*options: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("daqkf"), "simulate", "out", "x.npy"]
        command += ["-o", "y.npy", *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    run = simulate("--trace", "a.png")
    assert run.returncode == 1
    assert run.stderr == "daqkf: a.png: waveforms are files in .vcd or .fst\n"
    assert not (tmp_path / "y.npy").exists()
    run = simulate("--trace", "a.vcd", "--trace-tiles", "3")
    assert run.stdout.splitlines()[1] == "a.vcd: waveform of 3 of 4 tiles", run.stderr
    assert (tmp_path / "a.gtkw").is_file()
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), design().reference(X))
