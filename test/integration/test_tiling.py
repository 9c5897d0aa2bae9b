# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Kernels larger than the memories: parts of features and groups of outputs, in turns."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from networks import MACHINES as PLAIN
from networks import SOME, Layers, lint
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.stages import Stage
from daqkf.dialects.dense import to_array
from daqkf.dialects.dfke import KernelOp
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ArrayOp, RunOp, TiledOp
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import RAM_CHOICES, Machine
from daqkf.lowering.conversions.dfke_to_rpea import LowerDfkeToRpeaPass
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.decode import decode
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.passes.dfke_schedule import DfkeSchedulePass
from daqkf.passes.dfke_specialize_bitwidth import DfkeSpecializeBitwidthPass
from daqkf.runtime.accelerators import SimulatedArray
from daqkf.runtime.simulator import Simulator

FEATURES, OUTPUTS = 50, 21
SMALL = {
    "activation_depth": 32,
    "stream_depth": 512,
    "parameter_depth": 8,
    "result_depth": 16,
    "partial_depth": 32,
}
MACHINES = {
    name: replace(machine, **SMALL, banks=1 + number % 2)
    for number, (name, machine) in enumerate(PLAIN.items())
}
IN_LUTS = dict.fromkeys(RAM_CHOICES, "distributed")
MACHINES |= {
    "in LUTs": replace(MACHINES["mixed"], **IN_LUTS),
    "dense in LUTs": replace(MACHINES["dense"], **IN_LUTS),
}
MORE = [*SOME, *(pytest.param(f"{name}in LUTs", marks=pytest.mark.slow) for name in ("", "dense "))]
KINDS = {"features": (FEATURES, 7), "outputs": (20, OUTPUTS), "both": (FEATURES, OUTPUTS)}


def write_target(folder: Path, machine: Machine) -> str:
    path = folder / "machine.toml"
    lines = ['description = "small"', "[machine]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in asdict(machine).items()]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def tiled(machine: Machine, shape: tuple[int, int], folder: Path) -> tuple[Layers, ModuleOp]:
    """A layer of this shape, cut for the machine."""
    layers = Layers.random(5, shape)
    module = layers.module(replace(PLAIN["P2-T2"], families=machine.families))
    for kernel in (op for op in module.walk() if isinstance(op, KernelOp)):
        kernel.schedule = None
    DfkeSpecializeBitwidthPass().apply(Context(), module)
    DfkeSchedulePass(write_target(folder, machine), tile=True).apply(Context(), module)
    module.verify()
    return layers, module


def lowered(module: ModuleOp) -> tuple[ModuleOp, ArrayConfig, Stage]:
    module = module.clone()
    LowerDfkeToRpeaPass().apply(Context(), module)
    module.verify()
    config = next(op for op in module.ops if isinstance(op, ArrayOp)).config.data
    (program,) = (op.target() for op in module.walk() if isinstance(op, RunOp))
    return module, config, Stage("layer", program)


def activations(tokens: int, features: int) -> NDArray[np.int8]:
    rng = np.random.default_rng(tokens)
    return rng.integers(-128, 128, (tokens, features)).astype(np.int8)


@cache
def simulator(config: ArrayConfig) -> Simulator:
    return Simulator.verilated(emit_verilog(circuit_module(build_array(config))), config)


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("kind", KINDS)
def test_parts_and_groups_are_the_whole(name: str, kind: str, tmp_path: Path):
    layers, module = tiled(MACHINES[name], KINDS[kind], tmp_path)
    (kernel,) = (op for op in module.walk() if isinstance(op, KernelOp))
    assert kernel.tiles is not None
    assert (len(kernel.tiles.parts()) > 1) == (kind != "outputs")
    assert (len(kernel.tiles.groups()) > 1) == (kind != "features")
    programs, config, stage = lowered(module)
    assert isinstance(stage.program, TiledOp)
    assert config.partial_depth == (0 if kind == "outputs" else 32)
    x = activations(9, KINDS[kind][0])
    for level in (module, programs):
        np.testing.assert_array_equal(run(level, x), layers.expected(x))
    for images in stage.images:
        for image in images:
            decode(image, config)


@pytest.mark.parametrize("name", MORE)
@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_the_rtl_adds_up(name: str, stalls: float, tmp_path: Path):
    """Of more tiles than there is room for partial sums, too."""
    layers, module = tiled(MACHINES[name], KINDS["both"], tmp_path)
    _, config, stage = lowered(module)
    array = SimulatedArray(simulator(config), stalls=stalls, seed=4)
    for tokens in (1, 9 * config.lanes):
        x = activations(tokens, FEATURES)
        np.testing.assert_array_equal(stage.run(array, x), layers.expected(x))


def test_a_program_serves_as_many_tiles_as_there_is_room_for(tmp_path: Path):
    _, module = tiled(MACHINES["P2-T2"], KINDS["both"], tmp_path)
    _, config, stage = lowered(module)
    x = activations(9 * config.lanes, FEATURES)
    for jobs, programs in zip(stage.jobs(x), stage.programs, strict=True):
        tiles = config.partial_depth // programs[0].channels
        assert tiles > 1
        assert len(jobs) == len(programs) * -(-9 // tiles)
        assert max(len(job.x) for job in jobs) == tiles * config.lanes
        assert [job.outputs > 0 for job in jobs] == [False, True] * (len(jobs) // 2)


@pytest.mark.slow
def test_with_two_banks_loading_hides(tmp_path: Path):
    machine = replace(PLAIN["P2-T2"], **SMALL | {"partial_depth": 256})
    layers, totals = None, dict[int, int]()
    for banks in (1, 2):
        layers, module = tiled(replace(machine, banks=banks), KINDS["both"], tmp_path)
        _, config, stage = lowered(module)
        array = SimulatedArray(simulator(config))
        x = activations(32 * config.lanes, FEATURES)
        np.testing.assert_array_equal(stage.run(array, x), layers.expected(x))
        totals[banks] = sum(spent.total for spent in array.cycles.values())
    assert totals[2] < 0.9 * totals[1]


@pytest.mark.parametrize("name", MORE)
def test_lint_and_yosys_take_the_circuit(name: str, tmp_path: Path):
    _, module = tiled(MACHINES[name], KINDS["both"], tmp_path)
    _, config, _ = lowered(module)
    lint(emit_verilog(circuit_module(build_array(config))), TOP, tmp_path)


def test_without_partial_sums_features_have_a_limit(tmp_path: Path):
    from xdsl.utils.exceptions import PassFailedException

    machine = replace(MACHINES["P2-T2"], partial_depth=0)
    with pytest.raises(PassFailedException, match="50 features; the target holds at most 31, and"):
        tiled(machine, KINDS["features"], tmp_path)


def test_a_single_output_may_be_too_large(tmp_path: Path):
    from xdsl.utils.exceptions import PassFailedException

    machine = replace(MACHINES["P2-T2"], stream_depth=4)
    with pytest.raises(PassFailedException, match="stream words of a PE; the target holds at most"):
        tiled(machine, KINDS["both"], tmp_path)


def test_groups_are_the_only_cut_where_features_fit(tmp_path: Path):
    _, module = tiled(MACHINES["P2-T2"], (20, OUTPUTS), tmp_path)
    (kernel,) = (op for op in module.walk() if isinstance(op, KernelOp))
    assert kernel.tiles is not None
    assert kernel.tiles.parts() == [20]
    assert sum(kernel.tiles.groups()) == OUTPUTS
    counts: Sequence[int] = [int(to_array(entry.counts).max()) for entry in kernel.tiles.schedules]
    assert max(counts) <= SMALL["parameter_depth"]
