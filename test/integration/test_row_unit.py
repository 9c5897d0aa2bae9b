# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays that add residuals and have a row unit, against the formulas."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import MACHINE, MACHINES, Layers, activations_for, lint
from numpy.typing import NDArray
from row_networks import IDENTITY, MASKED, Gating, Normalization, RowKernel, Rows, Softmax

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import EXPONENT_MAX, NORMALIZED_FEATURES, epsilon_limit
from daqkf.hw_targets.timing import gating_cycles, normalization_cycles, softmax_cycles
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.encode import encode, playable
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.runtime.simulator import Job, Simulator

ROW_MACHINES: Mapping[str, Machine] = {
    **MACHINES,
    "banks": replace(MACHINE, pes=4, lanes=8, post_lanes=2, items=8, banks=2, partial_depth=64),
    "solvers": replace(MACHINE, pes=2, lanes=8, post_lanes=4, row_solvers=2, post_multiplier="dsp"),
    "a solver a lane": replace(MACHINE, pes=2, lanes=4, post_lanes=4, row_solvers=4),
    "a tree": replace(MACHINE, pes=1, lanes=36, post_lanes=12, items=4, max_shift=0),
}
CASES: Mapping[str, Sequence[tuple[Sequence[int], Mapping[str, Any]]]] = {
    "normalizes": (
        ((24, 33, 20), {"saves": [0], "adds": [1]}),
        ((12, 9), {"saves": [0], "adds": [0]}),
        ((24, 13), {"normalizes": [0]}),
        ((5, 21, 1), {"normalizes": [0, 1]}),
        ((24, 20, 24, 40, 24), {"saves": [0, 2], "adds": [1, 3], "normalizes": [1, 3]}),
        ((24, 20, 11, 9), {"saves": [0, 1], "adds": [0, 1, 2], "normalizes": [0]}),
        ((24, 40, 9), {}),
    ),
    "gates": (
        ((24, 40, 9), {"gates": [0]}),
        ((24, 18, 2), {"gates": [0, 1]}),
    ),
    "exponents": (
        ((24, 40, 9), {"gates": [0], "shares": {0: 3}}),
        ((24, 18, 8, 2), {"gates": [0, 1], "shares": {1: 3}}),
        ((24, 30, 15), {"saves": [0], "adds": [1], "gates": [0], "shares": {0: 3}}),
    ),
    "far exponents": (
        ((24, 16, 9), {"gates": [0], "shares": {0: 7}}),
        ((24, 24, 20, 5), {"gates": [0, 1], "shares": {0: 7, 1: 7}}),
    ),
    "near exponents": (((24, 16, 9), {"gates": [0], "shares": {0: 1}}),),
    "softmaxes": (
        ((24, 30, 9), {"softmaxes": {0: 6}}),
        ((24, 13, 21), {"softmaxes": {0: 13, 1: 1}}),
        ((5, 12, 10), {"softmaxes": {1: 2}}),
    ),
    "causal": (
        ((24, 30, 9), {"softmaxes": {0: 6}, "causal": (1, 0)}),
        ((24, 24, 21), {"softmaxes": {0: 8, 1: 3}, "causal": (3, 7)}),
        ((24, 30), {"softmaxes": {0: 30}, "causal": (255, 7000)}),
        ((5, 12, 10), {"softmaxes": {1: 2}}),
    ),
    "rms": (
        ((24, 13), {"normalizes": [0], "rms": [0]}),
        ((5, 21, 1), {"normalizes": [0, 1], "rms": [0, 1], "epsilon": 3}),
        (
            (24, 20, 24, 40, 24),
            {"saves": [0, 2], "adds": [1, 3], "normalizes": [1, 3], "rms": [3], "epsilon": 70_000},
        ),
    ),
    "wide": (
        ((24, 33, 20), {"saves": [0], "adds": [1], "wide": True}),
        ((24, 13, 21), {"normalizes": [0], "wide": True}),
        ((24, 40, 9), {"gates": [0], "shares": {0: 3}, "wide": True}),
        ((24, 30, 9), {"wide": True}),
        ((24, 9), {"wide": True}),
    ),
    "together": (
        ((24, 13, 26), {"saves": [0], "adds": [0], "gates": [1]}),
        (
            (24, 32, 24, 20, 40, 24),
            {"saves": [0], "adds": [1], "gates": [0, 3], "normalizes": [1, 4], "softmaxes": {2: 5}},
        ),
    ),
}
UNITS: Mapping[str, Sequence[str]] = {
    "normalizes": ("normalizes",),
    "gates": ("gates",),
    "exponents": ("gates", "exponents"),
    "far exponents": ("far exponents",),
    "near exponents": ("near exponents",),
    "both": ("normalizes", "gates"),
    "rms": ("normalizes", "rms"),
    "softmax": ("normalizes", "softmaxes"),
    "causal": ("softmaxes", "causal"),
    "wide": ("wide", "normalizes", "exponents"),
    "all": ("normalizes", "gates", "exponents", "softmaxes", "together", "causal"),
}
"""The cases that arrays run, by what their row units can do."""
QUICK = [("solvers", "all")]
SOME = [
    pytest.param(name, unit, marks=() if (name, unit) in QUICK else pytest.mark.slow)
    for unit in UNITS
    for name in (
        ROW_MACHINES if unit in ("normalizes", "causal", "all") else ("P2-T2", "banks", "a tree")
    )
]


def mirror(features: int, behind: RowKernel) -> Rows:
    """A kernel whose results are about its activations, and one of the row unit behind it."""
    layers = Layers([43 * np.eye(features, dtype=np.int8)], [7], [IDENTITY])
    kinds = (Normalization, Gating, Softmax)
    return Rows(
        layers, (), {}, *({0: behind} if isinstance(behind, kind) else {} for kind in kinds)
    )


def mirrored(
    features: int, exponent: NDArray[np.int64], epsilon: int = 0, *, rms: bool = False
) -> Rows:
    """A normalisation of about the activations."""
    rng = np.random.default_rng(features)
    wide = rng.integers(40, 200, features)
    norm = Normalization.random(rng, features, epsilon, rms=rms)
    shift = np.full(features, 13)
    return mirror(features, replace(norm, exponent=exponent, multiplier=wide, shift=shift))


def gated(outputs: int) -> Rows:
    """Products of about the activations, the largest one too."""
    made = Gating.random(np.random.default_rng(outputs), outputs)
    fitting = {"multiplier": np.full(outputs, 1 << 9), "bias": 0 * made.bias}
    return mirror(2 * outputs, replace(made, gate=IDENTITY, **fitting))


def sharing(outputs: int, reach: int) -> Rows:
    """Such products, whose rows share exponents; a kernel behind them takes these back."""
    made = Gating.random(np.random.default_rng(outputs), outputs, reach)
    fitting = {"multiplier": np.full(outputs, 1 << 9), "shift": np.full(outputs, 16)}
    back = 43 * np.eye(outputs, dtype=np.int8)
    layers = Layers(
        [43 * np.eye(2 * outputs, dtype=np.int8), back], [7, 7 + reach], [IDENTITY, IDENTITY]
    )
    return Rows(layers, (), {}, {}, {0: replace(made, gate=IDENTITY, **fitting)})


def attending(features: int, keys: int) -> list[Rows]:
    """Softmaxes of about the activations: with masked keys, with all keys masked, with
    exponentials as large as they can be, and with none."""
    made = Softmax.random(np.random.default_rng(features), features, keys)
    masked = replace(made, offset=np.full(features, MASKED))
    same = [replace(made, table=np.full(256, value, np.int8)) for value in (127, 0)]
    return [mirror(features, behind) for behind in (made, masked, *same)]


def seeing(features: int, keys: int, queries: int, past: int) -> Rows:
    """Causal softmaxes of about the activations."""
    made = Softmax.random(np.random.default_rng(features + keys), features, keys)
    return mirror(features, made.causal(queries, past))


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


def extreme_rows(cases: str) -> list[Rows]:
    """What the row unit does with activations that hardly differ, or as much as any."""
    return {
        "normalizes": [mirrored(n, e) for n in (1, 2, 21) for e in exponents(n)],
        "rms": [
            mirrored(n, e, epsilon, rms=rms)
            for n, e, epsilon, rms in (
                *((n, e, 0, True) for n in (1, 2, 21) for e in exponents(n)),
                *(
                    (n, exponents(n)[1], epsilon_limit(n) - 1, rms)
                    for n in (1, 16)
                    for rms in (False, True)
                ),
            )
        ],
        "gates": [gated(n) for n in (1, 10)],
        "exponents": [sharing(n, 3) for n in (1, 10)],
        "far exponents": [sharing(10, 7)],
        "near exponents": [sharing(3, 1)],
        "softmaxes": [rows for keys in (1, 7, 21) for rows in attending(21, keys)],
        "causal": [seeing(21, *shape) for shape in ((21, 1, 0), (7, 1, 5), (21, 3, 60), (3, 4, 0))],
    }.get(cases, [])


@cache
def chains(name: str, unit: str) -> tuple[ArrayConfig, list[tuple[Rows, bytes, int]]]:
    """An array, and programs for it with what they compute and their outputs."""
    machine = ROW_MACHINES[name]
    cases = [case for kind in UNITS[unit] for case in CASES[kind]]
    made = [Rows.random(seed, shape, **options) for seed, (shape, options) in enumerate(cases)]
    made += [rows for kind in UNITS[unit] for rows in extreme_rows(kind)]
    config = for_all([rows.config(machine) for rows in made])
    found: list[tuple[Rows, bytes, int]] = []
    # In turns, so that a kernel with narrow results follows one with wide ones.
    for rows in made[::2] + made[1::2]:
        (program,) = playable(rows.module(machine, config))
        found.append((rows, encode(program), program.channels))
    return config, found


@cache
def files(name: str, unit: str) -> dict[str, str]:
    return emit_verilog(circuit_module(build_array(chains(name, unit)[0])))


def activations(rows: Rows, lanes: int) -> NDArray[np.int8]:
    """Random ones for two tiles and a half, and extreme ones where results are about the same."""
    x = activations_for(rows.layers, 2 * lanes + 1 + lanes // 2)
    features = len(rows.layers.levels[0])
    return x if rows.layers.levels[0].shape[1] != features else np.vstack([extremes(features), x])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "unit"), SOME)
@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_the_rtl_is_the_formulas(name: str, unit: str, stalls: float):
    config, programs = chains(name, unit)
    inputs = [activations(rows, config.lanes) for rows, _, _ in programs]
    jobs = [
        Job(image, x, outputs, wide=rows.wide)
        for (rows, image, outputs), x in zip(programs, inputs, strict=True)
    ]
    simulator = Simulator.verilated(files(name, unit), config)
    overlap = config.double_buffered
    traces = simulator.trace(jobs, stalls=stalls, seed=3, overlap=overlap)
    for (rows, _, _), x, trace in zip(programs, inputs, traces, strict=True):
        np.testing.assert_array_equal(trace.y, rows.expected(x))
        if rows.wide:
            assert np.abs(trace.y.astype(int)).max() > 127


def cycles_of(rows: Rows, config: ArrayConfig) -> int:
    """What the machine says of the one kernel of the row unit."""
    behind = rows.behind[0]
    outputs = len(behind.multiplier)
    if isinstance(behind, Softmax):
        return softmax_cycles(config, outputs, behind.keys)
    if isinstance(behind, Gating):
        return gating_cycles(config, outputs)
    return normalization_cycles(config, outputs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "unit"), [("solvers", "all"), pytest.param("banks", "all", marks=pytest.mark.slow)]
)
def test_row_kernels_take_as_long_as_the_machine_says(name: str, unit: str):
    config, _ = chains(name, unit)
    simulator = Simulator.verilated(files(name, unit), config)
    softmaxes = [attending(21, keys)[0] for keys in (7, 21)]
    for rows in (mirrored(21, exponents(21)[-1]), gated(10), *softmaxes):
        both = [rows, Rows(rows.layers, (), {}, {})]
        programs = [playable(made.module(ROW_MACHINES[name], config))[0] for made in both]
        x = activations_for(rows.layers, config.lanes)
        jobs = [Job(encode(program), x, program.channels) for program in programs]
        with_unit, without = simulator.trace(jobs)
        cycles = with_unit.cycles.running - without.cycles.running
        expected = cycles_of(rows, config)
        assert abs(cycles - expected) < expected // 10
        # The unit asks at once, and nothing moves.
        assert with_unit.cycles.chaining < 4


@pytest.mark.slow
def test_exponents_take_a_second_pass():
    config, _ = chains("P2-T2", "exponents")
    shared = sharing(10, 3)
    static = replace(shared, gatings={0: replace(shared.gatings[0], reach=None)})
    programs = [
        playable(made.module(ROW_MACHINES["P2-T2"], config))[0] for made in (shared, static)
    ]
    x = activations_for(shared.layers, config.lanes)
    jobs = [Job(encode(program), x, program.channels) for program in programs]
    twice, once = Simulator.verilated(files("P2-T2", "exponents"), config).trace(jobs)
    cycles, expected = twice.cycles.running - once.cycles.running, gating_cycles(config, 10)
    assert gating_cycles(config, 10, shares=True) == 2 * expected
    assert abs(cycles - expected) < expected // 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Normalization, Softmax])
def test_the_unit_takes_the_longest_rows(kind: type[RowKernel]):
    features = NORMALIZED_FEATURES
    norms = [mirrored(features, exponent) for exponent in exponents(features)[1:]]
    norms.append(mirrored(features, exponents(features)[1], epsilon_limit(features) - 1, rms=True))
    for rows in norms if kind is Normalization else attending(features, features):
        depths = dict.fromkeys(("stream_depth", "parameter_depth", "activation_depth"), 2**15)
        machine = replace(MACHINE, result_depth=features, **depths)
        (program,) = playable(rows.module(machine))
        config = program.target().config.data
        circuit = emit_verilog(circuit_module(build_array(config)))
        x = extremes(features)
        job = Job(encode(program), x, features)
        (trace,) = Simulator.verilated(circuit, config).trace([job])
        np.testing.assert_array_equal(trace.y, rows.expected(x))


@pytest.mark.parametrize(("name", "unit"), SOME)
def test_lint_and_yosys_take_the_circuit(name: str, unit: str, tmp_path: Path):
    config, _ = chains(name, unit)
    assert (config.normalizes, config.gates, config.softmax) == (
        unit in ("normalizes", "rms", "both", "softmax", "causal", "wide", "all"),
        unit not in ("normalizes", "rms", "softmax", "causal"),
        unit in ("softmax", "causal", "all"),
    )
    assert config.causal == (unit in ("causal", "all"))
    # An array that only gates has nothing to solve, nor anything to sum.
    solves = {"daqkf_row_lane.sv", "daqkf_row_solver.sv"} if config.normalizes else set[str]()
    made = {file for file in files(name, unit) if file.startswith("daqkf_row")}
    assert made == {"daqkf_rows.sv", *solves}
    lint(files(name, unit), TOP, tmp_path)
