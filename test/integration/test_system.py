# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_system` behind cocotb's AXI drivers, and for the other tools that read it."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import lint

import daqkf
from daqkf.compiler.rtl_files import array_files
from daqkf.hw_targets.config import smallest_array
from daqkf.hw_targets.image_format import Command, Header
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.target import load_target
from daqkf.hw_targets.words import dispatch_row
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.decode import decode
from daqkf.lowering.rtl.array import build_array
from daqkf.lowering.rtl.registers import constants, registers_of, variants_of
from daqkf.lowering.rtl.system import TOP, build_system
from daqkf.runtime import tools
from daqkf.runtime.simulator import MAKE_VARIABLES
from daqkf.support.cache import cache_folder

WEIGHTS = np.random.default_rng(17).standard_normal((20, 9))
TILES = 12
BENCH = Path(__file__).with_name("system_bench.py")


def activations(tokens: int) -> np.ndarray:
    """Couples of tokens, from all zeros to none; the same ones for the same number."""
    rng = np.random.default_rng(tokens)
    dense = np.repeat(rng.random((tokens // 2, 1)) ** 2, 2, axis=0)
    x = rng.standard_normal((tokens, WEIGHTS.shape[0]))
    return x * (rng.random(x.shape) < dense)


def layer(**options: Any) -> daqkf.Design:
    return daqkf.compile(
        WEIGHTS,
        bias=np.random.default_rng(18).standard_normal(WEIGHTS.shape[1]),
        activation="gelu",
        calibration=activations(64),
        **{"target": "tiny", **options},
    )


def with_other_variants(design: daqkf.Design, step: int) -> bytes:
    """The same program, whose variants have numbers that are so much higher, modulo all of them."""
    config, words = design.config, np.frombuffer(design.program, "<u4").copy()
    layout = dispatch_row(config)
    section = decode(design.program, config).section(Command.DISPATCH)
    first = section.word(0)
    fields = layout.unpack(section.rows)
    fields["variant"] = (fields["variant"] + step) % variants_of(config)
    rows = layout.pack(fields)
    words[first : first + rows.size] = rows.reshape(-1)
    words[Header.CRC] = zlib.crc32(words[len(Header) :].tobytes())
    return words.tobytes()


def write_case(design: daqkf.Design, folder: Path) -> None:
    """The jobs of the bench, and the results of the golden model."""
    config = design.config
    steps = list(range(0, variants_of(config), 3))
    for step in steps:
        (folder / f"program{step}.bin").write_bytes(with_other_variants(design, step))
    x = design.quantize_input(activations(TILES * config.lanes))
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", design.reference(x))
    (folder / "program.bin").write_bytes(design.program)
    values = constants(config)
    words = {
        entry.name: sum(values[f"{entry.name}_{field.name}"] << field.low for field in entry.fields)
        for entry in registers_of(config)
        if all(f"{entry.name}_{field.name}" in values for field in entry.fields)
    }
    facts = {
        "lanes": config.lanes,
        "constants": words,
        "has": [entry.name for entry in registers_of(config)],
        "variants": design.variants(x).tolist(),
        "countable_variants": variants_of(config),
        "steps_of_variants": steps,
        "banks": config.banks,
    }
    (folder / "facts.json").write_text(json.dumps(facts))


def run_bench(design: daqkf.Design, folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Run the bench of a design's system: the names of what passed."""
    write_case(design, folder)
    return run_cocotb(design.system_files, TOP, BENCH, folder, monkeypatch)


def run_cocotb(
    files: Mapping[str, str],
    top: str,
    bench: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> set[str]:
    """Build a circuit with cocotb's runner and run a bench: the names of what passed."""
    find_libpython = pytest.importorskip("find_libpython")
    if find_libpython.find_libpython() is None:
        pytest.skip("cocotb needs a Python with a shared library")
    from cocotb_tools.runner import get_runner

    # Verilator and make leave alone what they have built of the same files.
    digest = hashlib.sha256(json.dumps(dict(files)).encode()).hexdigest()[:32]
    built = cache_folder() / "cocotb" / digest
    built.mkdir(parents=True, exist_ok=True)
    sources = [built / name for name in files]
    for path, text in zip(sources, files.values(), strict=True):
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
    # The runner calls what the PATH has under this name, then make, with a PYTHONPATH that only
    # this Python can use.
    verilator = tools.verilator()
    for name, value in verilator.env.items():
        monkeypatch.setenv(name, value)
    found = Path(verilator.argv[0]).parent
    monkeypatch.setenv("PATH", os.pathsep.join([str(found), os.environ["PATH"]]))
    variables = f"{MAKE_VARIABLES} CXX={shlex.join(tools.cxx_compiler())} PYTHON3={sys.executable}"
    monkeypatch.setenv("MAKEFLAGS", variables)
    monkeypatch.setenv("DAQKF_SYSTEM_TEST", str(folder))
    monkeypatch.syspath_prepend(str(bench.parent))
    runner = get_runner("verilator")
    log = folder / "log"
    try:
        runner.build(
            sources=sources,
            hdl_toplevel=top,
            build_dir=built / "build",
            build_args=["-CFLAGS", "-O1"],
            timescale=("1ns", "1ps"),
            log_file=log,
        )
        results = runner.test(
            test_module=bench.stem,
            hdl_toplevel=top,
            build_dir=built / "build",
            test_dir=folder,
            results_xml=str(folder / "results.xml"),
            log_file=log,
            extra_env={"COCOTB_MAX_FAILURES": "1"},
            # Registers begin with random values.
            plusargs=["+verilator+rand+reset+2", "+verilator+seed+18"],
        )
    except (RuntimeError, SystemExit) as error:
        pytest.fail(f"{error}\n{log.read_text()[-5000:]}")
    cases = list(ET.parse(results).getroot().iter("testcase"))
    bad = ("failure", "error", "skipped")
    passed = {c.attrib["name"] for c in cases if all(c.find(kind) is None for kind in bad)}
    assert len(passed) == len(cases), log.read_text()[-8000:]
    return passed


EXPECTED = BENCH.read_text().count("\n@bench_test\n")


@cache
def with_variants() -> daqkf.Design:
    return layer(
        sparsity=[0.2, 0.7, 0.8], levels=["codebook-15", "codebook-7", 3], error_budget=6.0
    )


@cache
def of_two_banks() -> daqkf.Design:
    machine = replace(load_target("tiny").machine, banks=2)
    lines = [f"{name} = {json.dumps(value)}" for name, value in asdict(machine).items()]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "banks.toml"
        target.write_text("\n".join(['description = "two banks"', "[machine]", *lines]) + "\n")
        return layer(levels="codebook-7", target=str(target))


@pytest.mark.slow
def test_a_system_with_variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    design = with_variants()
    assert len(run_bench(design, tmp_path, monkeypatch)) == EXPECTED
    taken = json.loads((tmp_path / "facts.json").read_text())["variants"]
    assert len(set(taken)) > 1


@pytest.mark.slow
def test_a_system_of_two_banks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert len(run_bench(of_two_banks(), tmp_path, monkeypatch)) == EXPECTED


MACHINE = Machine(
    pes=2,
    lanes=2,
    post_lanes=1,
    max_shift=1,
    activation_depth=64,
    stream_depth=64,
    parameter_depth=64,
    result_depth=64,
)
CONFIGS = {
    "plain": smallest_array(MACHINE, 40),
    "one": smallest_array(replace(MACHINE, pes=1, lanes=1), 1),
    "variants": replace(smallest_array(MACHINE, 40), buckets=8),
    "most-variants": replace(smallest_array(replace(MACHINE, lanes=5), 40), buckets=64),
    "chain": replace(smallest_array(MACHINE, 40), kernels=4),
    "banks": replace(smallest_array(MACHINE, 40), banks=2),
    "dense": smallest_array(replace(MACHINE, families=("dense",)), 40),
}


QUICK = ("most-variants",)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in CONFIGS]
)
def test_rtl_is_clean_for_verilator_and_yosys(name: str, tmp_path: Path):
    files = emit_verilog(circuit_module(build_system(CONFIGS[name])))
    array = emit_verilog(circuit_module(build_array(CONFIGS[name])))
    assert list(array_files(files).items()) == list(array.items())
    lint(files, TOP, tmp_path)


def test_a_saved_design_has_its_system(tmp_path: Path):
    design = layer(levels="codebook-7")
    design.save(tmp_path)
    names = (tmp_path / "rtl" / "system.f").read_text().split()
    assert {"daqkf_system.sv", "daqkf_registers.sv", "daqkf_counters.sv"} <= set(names)
    verilator = tools.verilator()
    lint = [*verilator.argv, "--lint-only", "-Wall", "--top-module", TOP, "-f", "system.f"]
    run = subprocess.run(
        lint, cwd=tmp_path / "rtl", env=verilator.env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "DAQKF_CONTROL_OFFSET" in (tmp_path / "daqkf_registers.h").read_text()
    # The array's files are the same, and simulated by themselves.
    assert daqkf.Design.load(tmp_path).verilog_files == design.verilog_files
