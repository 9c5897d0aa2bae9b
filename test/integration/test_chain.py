# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays that chain kernels: what a kernel leaves is what the next one reads."""

import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from networks import (
    MACHINE,
    MACHINES,
    SOME,
    Layers,
    activations_for,
    chained,
    chained_on_one_array,
    lint,
    lowered,
)
from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.dfke import ChainOp
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ChainOp as ProgramChainOp
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.words import chain_row
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.encode import encode, playable
from daqkf.lowering.image.image import ProgramImageError
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.runtime.simulator import Job, SimulationError, Simulator

SHAPES = ((24, 40, 9), (5, 1, 3), (30, 30))
"""Features and outputs along networks: growing, shrinking, through a single column."""


@cache
def networks(name: str) -> tuple[ArrayConfig, list[tuple[Layers, ModuleOp]]]:
    """Networks on one array, chained, and the one that is a single kernel."""
    return chained_on_one_array(MACHINES[name], SHAPES)


@cache
def files(name: str) -> dict[str, str]:
    return emit_verilog(circuit_module(build_array(networks(name)[0])))


@pytest.mark.parametrize("name", SOME)
def test_the_ir_computes_the_same_at_each_stage(name: str):
    layers = Layers.random(7, (24, 40, 9, 12))
    module = layers.module(MACHINES[name])
    x = activations_for(layers, 7)
    for stage in (module, chained(module), lowered(chained(module))):
        np.testing.assert_array_equal(run(stage, x), layers.expected(x))


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_the_rtl_plays_chains_and_single_kernels_in_turns(name: str, stalls: float):
    config, entries = networks(name)
    jobs, expected = [], []
    for tokens, (layers, module) in enumerate([*entries, entries[0]], 3 * config.lanes):
        (program,) = playable(module)
        x = activations_for(layers, tokens)
        image = encode(program)
        decode(image, config)
        jobs.append(Job(image, x, program.channels))
        expected.append(layers.expected(x))
    traces = Simulator.verilated(files(name), config).trace(jobs, stalls=stalls, seed=3)
    for trace, y in zip(traces, expected, strict=True):
        np.testing.assert_array_equal(trace.y, y)
    assert traces[0].cycles.chaining > 0
    # The single kernel hands nothing on.
    assert traces[2].cycles.chaining == 0


@pytest.mark.slow
def test_a_row_takes_a_cycle_from_kernel_to_kernel():
    config, ((layers, module), *_) = networks("P2-T2")
    (program,) = playable(module)
    x = activations_for(layers, config.lanes)
    (trace,) = Simulator.verilated(files("P2-T2"), config).trace(
        [Job(encode(program), x, program.channels)]
    )
    assert 0 <= trace.cycles.chaining - SHAPES[0][1] <= 4


@pytest.mark.parametrize(("depth", "expected"), [(64, [3]), (32, [2])])
def test_chains_end_where_the_memories_do(depth: int, expected: list[int]):
    """The busiest elements have 20, 10 and 6 outputs."""
    module = Layers.random(0, (24, 40, 20, 12)).module(replace(MACHINE, parameter_depth=depth))
    found = [op for op in chained(module).walk() if isinstance(op, ChainOp)]
    assert [len(op.kernels()) for op in found] == expected


def test_a_bad_chain_is_refused():
    config, ((_, module), *_) = networks("P2-T2")
    chain = next(op for op in module.ops if isinstance(op, ProgramChainOp))
    image = np.frombuffer(encode(chain), "<u4")
    place = int(np.flatnonzero(image >> 28 == 6)[0])
    assert image[place + 1] == 2
    width = chain_row(config).words
    row = image[place + 2 : place + 2 + width].copy()
    fields = chain_row(config).unpack(row[np.newaxis])
    for name, value, message in (
        ("stream", config.stream_depth - 1, "kernel 0 begins at stream"),
        ("slot", config.parameter_depth - 1, "kernel 0 begins at slot"),
        ("last", 1, "do not follow"),
    ):
        broken = image.copy()
        broken[place + 2 : place + 2 + width] = chain_row(config).pack(
            {**fields, name: np.array([value])}
        )[0]
        broken[4] = zlib.crc32(broken[5:].tobytes())
        with pytest.raises(ProgramImageError, match=message):
            decode(broken.tobytes(), config)
    missing = np.delete(image, range(place, place + 2 + 2 * width))
    missing[3], missing[4] = len(missing) - 5, zlib.crc32(missing[5:].tobytes())
    with pytest.raises(ProgramImageError, match="and has 0"):
        decode(missing.tobytes(), config)


@pytest.mark.slow
def test_commands_that_the_array_lacks_are_refused_by_the_hardware():
    """An array that chains has no decision table, and one that does neither has neither."""
    config, ((layers, module), *_) = networks("P2-T2")
    (program,) = playable(module)
    image = np.frombuffer(encode(program), "<u4").copy()
    place = int(np.flatnonzero(image >> 28 == 6)[0])
    image[place] = 5 << 28
    x = activations_for(layers, config.lanes)
    with pytest.raises(SimulationError, match="command"):
        Simulator.verilated(files("P2-T2"), config).trace(
            [Job(image.tobytes(), x, program.channels)]
        )


@pytest.mark.parametrize("name", SOME)
def test_lint_and_yosys_take_the_circuit(name: str, tmp_path: Path):
    assert "daqkf_chain.sv" in files(name)
    lint(files(name), TOP, tmp_path)
