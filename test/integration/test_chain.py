# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays that chain kernels: what a kernel leaves is what the next one reads."""

import subprocess
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, i8, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from daqkf.dialects.dense import from_array
from daqkf.dialects.dfke import ChainOp, Machine
from daqkf.dialects.dfke.ops import kernel
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ArrayConfig, ArrayOp
from daqkf.dialects.rpea import ChainOp as ProgramChainOp
from daqkf.dialects.spaq import ActivationOp, ConstantOp, MatmulOp, RequantizeOp
from daqkf.dialects.spaq.ops import activations
from daqkf.lowering.circuit import circuit_module
from daqkf.lowering.export_verilog import emit_verilog
from daqkf.lowering.lower_dfke_to_rpea import LowerDfkeToRpeaPass, shared_config
from daqkf.lowering.program_image import ProgramImageError, decode, encode, playable
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.passes.dfke_chain import DfkeChainPass
from daqkf.passes.dfke_schedule import schedule
from daqkf.passes.dfke_specialize_bitwidth import DfkeSpecializeBitwidthPass
from daqkf.runtime import tools
from daqkf.runtime.simulator import Job, SimulationError, Simulator

MACHINE = Machine(
    pes=2,
    lanes=2,
    post_lanes=1,
    max_shift=1,
    activation_depth=256,
    stream_depth=2**14,
    parameter_depth=256,
    result_depth=256,
)
MACHINES = {
    "P2-T2": MACHINE,
    "P3-T5-V5": replace(MACHINE, pes=3, lanes=5, post_lanes=5, max_shift=0, items=8),
    "mixed": replace(MACHINE, families=("running_sum", "multiply")),
    "dense": replace(MACHINE, families=("dense",)),
}
SHAPES = ((24, 40, 9), (5, 1, 3), (30, 30))
"""Features and outputs along networks: growing, shrinking, through a single column."""


@dataclass(frozen=True)
class Layers:
    """Random kernels that follow one another."""

    levels: list[NDArray[np.int8]]
    shifts: list[int]
    tables: list[NDArray[np.int8]]

    @classmethod
    def random(cls, seed: int, shape: Sequence[int]) -> "Layers":
        rng = np.random.default_rng(seed)
        levels = [
            (rng.integers(-9, 10, pair) * (rng.random(pair) < 0.6)).astype(np.int8)
            for pair in pairwise(shape)
        ]
        tables = [rng.permutation(256).astype(np.uint8).view(np.int8) for _ in levels]
        return cls(levels, [int(rng.integers(4, 9)) for _ in levels], tables)

    def module(self, machine: Machine) -> ModuleOp:
        """Kernels of the result before, with their schedules."""
        block = Block(arg_types=[activations(len(self.levels[0]), i8)])
        value = block.args[0]
        for levels, shift, table in zip(self.levels, self.shifts, self.tables, strict=True):
            channels = levels.shape[1]
            weights = ConstantOp(from_array(levels, i8))
            product = MatmulOp(value, weights.result, activations(channels, i32))
            factors = (
                from_array(np.full(channels, 3), i32),
                from_array(np.full(channels, shift), i32),
            )
            level = RequantizeOp(product.result, *factors)
            result = ActivationOp("table", level.result, from_array(table, i8))
            Block([weights, product, level, result])
            fused = kernel(value, [product, level, result])
            fused.schedule = schedule(levels, machine)
            block.add_op(fused)
            value = fused.result
        block.add_op(ReturnOp(value))
        kind = FunctionType.from_lists(list(block.arg_types), [value.type])
        module = ModuleOp([FuncOp("network", kind, Region(block))])
        DfkeSpecializeBitwidthPass().apply(Context(), module)
        module.verify()
        return module

    def expected(self, x: NDArray[np.int8]) -> NDArray[np.int8]:
        """Straight from the formulas."""
        for levels, shift, table in zip(self.levels, self.shifts, self.tables, strict=True):
            total = (3 * (x.astype(np.int64) @ levels) + (1 << (shift - 1))) >> shift
            x = table[np.clip(total, -128, 127) & 0xFF]
        return x


def chained(module: ModuleOp) -> ModuleOp:
    module = module.clone()
    DfkeChainPass().apply(Context(), module)
    module.verify()
    return module


def lowered(module: ModuleOp, array: ArrayConfig | None = None) -> ModuleOp:
    module = module.clone()
    if array is not None:
        module.body.block.insert_op_before(ArrayOp("array", array), module.body.block.first_op)
    LowerDfkeToRpeaPass().apply(Context(), module)
    module.verify()
    return module


def config_of(module: ModuleOp) -> ArrayConfig:
    return next(op for op in module.ops if isinstance(op, ArrayOp)).config.data


@cache
def networks(name: str) -> tuple[ArrayConfig, list[tuple[Layers, ModuleOp]]]:
    """Networks on one array, chained, and the one that is a single kernel."""
    layers = [Layers.random(seed, shape) for seed, shape in enumerate(SHAPES)]
    modules = [chained(entry.module(MACHINES[name])) for entry in layers]
    config = shared_config([config_of(lowered(module)) for module in modules])
    return config, [
        (entry, lowered(module, config)) for entry, module in zip(layers, modules, strict=True)
    ]


@cache
def files(name: str) -> dict[str, str]:
    return emit_verilog(circuit_module(build_array(networks(name)[0])))


def activations_for(layers: Layers, tokens: int) -> NDArray[np.int8]:
    rng = np.random.default_rng(tokens)
    return rng.integers(-128, 128, (tokens, len(layers.levels[0]))).astype(np.int8)


@pytest.mark.parametrize("name", MACHINES)
def test_the_ir_computes_the_same_at_each_stage(name: str):
    layers = Layers.random(7, (24, 40, 9, 12))
    module = layers.module(MACHINES[name])
    x = activations_for(layers, 7)
    for stage in (module, chained(module), lowered(chained(module))):
        np.testing.assert_array_equal(run(stage, x), layers.expected(x))


@pytest.mark.parametrize("name", MACHINES)
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
    width = config.chain_row.words
    row = image[place + 2 : place + 2 + width].copy()
    fields = config.chain_row.unpack(row[np.newaxis])
    for name, value, message in (
        ("stream", config.stream_depth - 1, "kernel 0 begins at stream"),
        ("slot", config.parameter_depth - 1, "kernel 0 begins at slot"),
        ("last", 1, "do not follow"),
    ):
        broken = image.copy()
        broken[place + 2 : place + 2 + width] = config.chain_row.pack(
            {**fields, name: np.array([value])}
        )[0]
        broken[4] = zlib.crc32(broken[5:].tobytes())
        with pytest.raises(ProgramImageError, match=message):
            decode(broken.tobytes(), config)
    missing = np.delete(image, range(place, place + 2 + 2 * width))
    missing[3], missing[4] = len(missing) - 5, zlib.crc32(missing[5:].tobytes())
    with pytest.raises(ProgramImageError, match="and has 0"):
        decode(missing.tobytes(), config)


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


@pytest.mark.parametrize("name", MACHINES)
def test_lint_and_yosys_take_the_circuit(name: str, tmp_path: Path):
    sources = files(name)
    assert "daqkf_chain.sv" in sources
    for file, text in sources.items():
        (tmp_path / file).write_text(text)
    verilator, yosys = tools.verilator(), tools.yosys()
    script = (
        f"read_verilog -sv {' '.join(sources)}; hierarchy -check -top {TOP}; proc; check -assert"
    )
    for tool, arguments in (
        (verilator, ["--lint-only", "-Wall", "--top-module", TOP, *sources]),
        (yosys, ["-q", "-p", script]),
    ):
        run = subprocess.run(
            [*tool.argv, *arguments], cwd=tmp_path, env=tool.env, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert "Warning" not in run.stdout + run.stderr
