# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays that add residuals and normalise, against the formulas."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import MACHINE, MACHINES, Layers, activations_for, lint
from numpy.typing import NDArray
from row_networks import Normalization, Rows

from daqkf.dialects.dfke import Machine
from daqkf.dialects.rpea import ArrayConfig
from daqkf.dialects.spaq.numerics import EXPONENT_MAX, NORMALIZED_FEATURES
from daqkf.lowering.circuit import circuit_module
from daqkf.lowering.export_verilog import emit_verilog
from daqkf.lowering.program_image import encode, playable
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.runtime.simulator import Job, Simulator

ROW_MACHINES: Mapping[str, Machine] = {
    **MACHINES,
    "banks": replace(MACHINE, pes=4, lanes=8, post_lanes=2, items=8, banks=2, partial_depth=64),
}
SOME = [
    pytest.param(name, marks=() if name in ("P2-T2", "banks") else pytest.mark.slow)
    for name in ROW_MACHINES
]
CASES: Sequence[tuple[Sequence[int], Mapping[str, Any]]] = (
    ((24, 33, 20), {"saves": [0], "adds": [1]}),
    ((12, 9), {"saves": [0], "adds": [0]}),
    ((24, 13), {"normalizes": [0]}),
    ((5, 21, 1), {"normalizes": [0, 1]}),
    ((24, 20, 24, 40, 24), {"saves": [0, 2], "adds": [1, 3], "normalizes": [1, 3]}),
    ((24, 20, 11, 9), {"saves": [0, 1], "adds": [0, 1, 2], "normalizes": [0]}),
    ((24, 40, 9), {}),
)


def mirror(features: int, exponent: NDArray[np.int64]) -> Rows:
    """A kernel whose results are about its activations, and the normalisation behind it."""
    rng = np.random.default_rng(features)
    table = np.arange(256).astype(np.uint8).view(np.int8)
    layers = Layers([43 * np.eye(features, dtype=np.int8)], [7], [table])
    wide = rng.integers(40, 200, features)
    norm = Normalization.random(rng, features)
    norm = replace(norm, exponent=exponent, multiplier=wide, shift=np.full(features, 13))
    return Rows(layers, (), {}, {0: norm})


def extremes(features: int) -> NDArray[np.int8]:
    """Rows that hardly differ, or as much as any."""
    numbers = np.arange(features)
    return np.stack(
        [
            np.zeros(features),
            np.full(features, -128),
            np.full(features, 127),
            numbers == 0,
            -128 * (numbers == features - 1),
            np.where(numbers % 2, -128, 127),
            np.where(numbers < features // 2, -128, 127),
            numbers % 2,
        ]
    ).astype(np.int8)


def exponents(features: int) -> list[NDArray[np.int64]]:
    numbers = np.arange(features)
    most = np.full(features, EXPONENT_MAX)
    return [0 * numbers, most, numbers % (EXPONENT_MAX + 1), np.where(numbers, 0, most)]


def for_all(configs: Sequence[ArrayConfig]) -> ArrayConfig:
    """The least array for the programs of all of these."""
    every = [asdict(config) for config in configs]
    return replace(
        configs[0],
        **{
            name: max(entry[name] for entry in every)
            for name, value in every[0].items()
            if isinstance(value, int)
        },
    )


@cache
def chains(name: str) -> tuple[ArrayConfig, list[tuple[Rows, bytes, int]]]:
    """An array, and programs for it with what they compute and their outputs."""
    machine = ROW_MACHINES[name]
    made = [Rows.random(seed, shape, **options) for seed, (shape, options) in enumerate(CASES)]
    made += [mirror(n, e) for n in (1, 2, 21) for e in exponents(n)]
    config = for_all([rows.config(machine) for rows in made])
    found: list[tuple[Rows, bytes, int]] = []
    for rows in made:
        (program,) = playable(rows.module(machine, config))
        found.append((rows, encode(program), program.channels))
    return config, found


@cache
def files(name: str) -> dict[str, str]:
    return emit_verilog(circuit_module(build_array(chains(name)[0])))


def activations(rows: Rows, lanes: int) -> NDArray[np.int8]:
    """Random ones for two tiles and a half, and extreme ones where results are about the same."""
    x = activations_for(rows.layers, 2 * lanes + 1 + lanes // 2)
    features = len(rows.layers.levels[0])
    return x if rows.layers.levels[0].shape[1] != features else np.vstack([extremes(features), x])


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_the_rtl_is_the_formulas(name: str, stalls: float):
    config, programs = chains(name)
    inputs = [activations(rows, config.lanes) for rows, _, _ in programs]
    jobs = [Job(image, x, outputs) for (_, image, outputs), x in zip(programs, inputs, strict=True)]
    simulator = Simulator.verilated(files(name), config)
    overlap = config.double_buffered
    traces = simulator.trace(jobs, stalls=stalls, seed=3, overlap=overlap)
    for (rows, _, _), x, trace in zip(programs, inputs, traces, strict=True):
        np.testing.assert_array_equal(trace.y, rows.expected(x))


def test_a_normalisation_takes_as_long_as_the_machine_says():
    config, programs = chains("banks")
    *_, (normalized, first, outputs) = programs
    (plain,) = playable(
        replace(normalized, normalizations={}).module(ROW_MACHINES["banks"], config)
    )
    x = activations_for(normalized.layers, config.lanes)
    jobs = [Job(image, x, outputs) for image in (first, encode(plain))]
    with_unit, without = Simulator.verilated(files("banks"), config).trace(jobs)
    cycles = with_unit.cycles.running - without.cycles.running
    expected = config.normalization_cycles(outputs)
    assert abs(cycles - expected) < expected // 10
    # The unit asks at once, and nothing moves.
    assert with_unit.cycles.chaining < 4


@pytest.mark.slow
def test_the_longest_rows_are_normalised():
    features = NORMALIZED_FEATURES
    for exponent in exponents(features)[1:]:
        rows = mirror(features, exponent)
        depths = dict.fromkeys(("stream_depth", "parameter_depth", "activation_depth"), 2**15)
        machine = replace(MACHINE, result_depth=features, **depths)
        (program,) = playable(rows.module(machine))
        config = program.target().config.data
        circuit = emit_verilog(circuit_module(build_array(config)))
        x = extremes(features)
        job = Job(encode(program), x, features)
        (trace,) = Simulator.verilated(circuit, config).trace([job])
        np.testing.assert_array_equal(trace.y, rows.expected(x))


@pytest.mark.parametrize("name", SOME)
def test_lint_and_yosys_take_the_circuit(name: str, tmp_path: Path):
    assert {"daqkf_rows.sv", "daqkf_row_lane.sv", "daqkf_row_solver.sv"} < files(name).keys()
    lint(files(name), TOP, tmp_path)
