# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays with a SPAQ unit: every tile takes the variant that its zeros call for."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import lint
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, i8, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

import daqkf
from daqkf.dialects.dense import from_array
from daqkf.dialects.dfke import KernelOp
from daqkf.dialects.dfke.ops import dispatch, kernel
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ArrayOp, DispatchOp, ProgramOp
from daqkf.dialects.spaq import ActivationOp, AddOp, ConstantOp, MatmulOp, RequantizeOp
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.decision import Decision
from daqkf.hw_targets.machine import Machine
from daqkf.lowering.conversions.dfke_to_rpea import LowerDfkeToRpeaPass
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.encode import encode
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.passes.dfke_schedule import schedule
from daqkf.passes.dfke_specialize_bitwidth import DfkeSpecializeBitwidthPass
from daqkf.passes.quantize.dispatch import BUCKETS
from daqkf.runtime.simulator import Job, SimulationError, Simulator

MACHINE = Machine(
    pes=2,
    lanes=2,
    post_lanes=1,
    max_shift=1,
    activation_depth=256,
    stream_depth=2**16,
    parameter_depth=256,
    result_depth=256,
)
MACHINES = {
    "P2-T2": MACHINE,
    "memory": replace(MACHINE, memory_bits=64, stream_depth=16),
    "one": replace(MACHINE, pes=1, lanes=1, max_shift=0),
    "P3-T5-V5": replace(MACHINE, pes=3, lanes=5, post_lanes=5, max_shift=3),
}

SOME = [pytest.param(name, marks=() if name == "P2-T2" else pytest.mark.slow) for name in MACHINES]


@dataclass(frozen=True)
class Variants:
    """Random kernels of one shape and a decision among them."""

    levels: list[NDArray[np.int8]]
    bias: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]
    """[V, N] as are the bias and the multiplier."""
    table: NDArray[np.int8]
    decision: Decision

    @classmethod
    def random(
        cls, seed: int, features: int, channels: int, count: int, lanes: int, buckets: int
    ) -> "Variants":
        rng = np.random.default_rng(seed)
        shape = features, channels
        levels = [
            rng.integers(-largest, largest + 1, shape) * (rng.random(shape) < rng.random())
            for largest in rng.choice([1, 7, 127], count)
        ]
        sizes = np.maximum([np.abs(level).sum(axis=0) * 64 for level in levels], 64)
        # Buckets that are too narrow, too wide, and about right for the tiles to come.
        about = (lanes * features // buckets).bit_length() + int(rng.integers(-1, 2))
        most = (lanes * features).bit_length() - 1
        return cls(
            [level.astype(np.int8) for level in levels],
            rng.integers(-5000, 5000, (count, channels)),
            rng.integers(1, 65536, (count, channels)),
            np.clip(np.log2(sizes).astype(np.int64) + 8, 1, 47),
            rng.integers(-128, 128, 256).astype(np.int8),
            Decision(
                lanes,
                min(max(about, 0), most),
                tuple(int(entry) for entry in rng.integers(0, count, buckets)),
            ),
        )

    def module(self, machine: Machine, array: ArrayConfig | None = None) -> ModuleOp:
        """At array level."""
        features, channels = self.levels[0].shape
        block = Block(arg_types=[activations(features, i8)])
        kernels: list[KernelOp] = []
        for v, levels in enumerate(self.levels):
            weights = ConstantOp(from_array(levels, i8))
            bias = ConstantOp(from_array(self.bias[v], i32))
            product = MatmulOp(block.args[0], weights.result, activations(channels, i32))
            total = AddOp(product.result, bias.result)
            level = RequantizeOp(
                total.result, from_array(self.multiplier[v], i32), from_array(self.shift[v], i32)
            )
            result = ActivationOp("table", level.result, from_array(self.table, i8))
            Block([weights, bias, product, total, level, result])
            kernels.append(kernel(block.args[0], [product, total, level, result]))
            kernels[-1].schedule = schedule(levels, machine)
        result = dispatch(block.args[0], kernels, self.decision)
        block.add_ops([result, ReturnOp(result.result)])
        kind = FunctionType.from_lists(list(block.arg_types), [result.result.type])
        module = ModuleOp([FuncOp("layer", kind, Region(block))])
        if array is not None:
            module.body.block.insert_op_before(ArrayOp("array", array), module.body.block.first_op)
        DfkeSpecializeBitwidthPass().apply(Context(), module)
        module.verify()
        LowerDfkeToRpeaPass().apply(Context(), module)
        module.verify()
        return module

    def expected(self, x: NDArray[np.int8]) -> tuple[NDArray[np.int8], list[int]]:
        """Results and variants, straight from the formulas, tile by tile."""
        lanes, variants, results = self.decision.lanes, [], []
        for begin in range(0, len(x), lanes):
            tile = x[begin : begin + lanes]
            zeros = (tile == 0).sum() + (lanes - len(tile)) * x.shape[1]
            bucket = min(int(zeros) // 2**self.decision.shift, len(self.decision.table) - 1)
            v = self.decision.table[bucket]
            total = tile.astype(object) @ self.levels[v].astype(object) + self.bias[v]
            half = 2 ** (self.shift[v].astype(object) - 1)
            scaled = (total * self.multiplier[v] + half) // 2 ** self.shift[v].astype(object)
            results.append(self.table[np.clip(scaled, -128, 127).astype(np.int64) & 0xFF])
            variants.append(v)
        return np.concatenate(results), variants


def activations_of(rng: np.random.Generator, tokens: int, features: int) -> NDArray[np.int8]:
    """Tokens from all zeros to none."""
    density = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], (tokens, 1))
    x = rng.integers(1, 128, (tokens, features)) * rng.choice([-1, 1], (tokens, features))
    x[rng.random(x.shape) < 0.1] = -128
    return (x * (rng.random(x.shape) < density)).astype(np.int8)


def parts(module: ModuleOp) -> tuple[ArrayConfig, ProgramOp | DispatchOp]:
    """The array's config, and what runs on it."""
    array = next(op for op in module.ops if isinstance(op, ArrayOp))
    programs = [op for op in module.ops if isinstance(op, ProgramOp | DispatchOp)]
    return array.config.data, programs[-1]


@cache
def verilog(config: ArrayConfig) -> dict[str, str]:
    return emit_verilog(circuit_module(build_array(config)))


def largest(configs: Sequence[ArrayConfig]) -> ArrayConfig:
    return ArrayConfig(**{name: max(vars(c)[name] for c in configs) for name in asdict(configs[0])})


@pytest.mark.parametrize("name", SOME)
def test_many_dispatches_on_one_array(name: str):
    """More and fewer variants, buckets and outputs; with pauses; tiles that are not full."""
    machine = MACHINES[name]
    shapes = [(1, 1, 1, 2), (7, 9, 2, 4), (40, 5, 3, 16), (63, 12, 16, 8), (20, 1, 4, 16)]
    cases = [
        Variants.random(i, features, channels, count, machine.lanes, buckets)
        for i, (features, channels, count, buckets) in enumerate(shapes)
    ]
    config = largest([parts(case.module(machine))[0] for case in cases])
    assert config.buckets == 16
    rng = np.random.default_rng(5)
    jobs, expected = [], []
    for case in cases:
        module = case.module(machine, config)
        image = encode(parts(module)[1])
        assert decode(image, config).shift == case.decision.shift
        for again in (image, None):
            features, channels = case.levels[0].shape
            x = activations_of(rng, int(rng.integers(1, 16 * machine.lanes)), features)
            jobs.append(Job(again, x, channels))
            expected.append(case.expected(x))
            assert np.array_equal(run(module, x), expected[-1][0]), "golden model"
            assert case.decision.variants(x).tolist() == expected[-1][1]
    assert len({v for _, variants in expected for v in variants}) > 4
    simulator = Simulator.verilated(verilog(config), config)
    for stalls, seed in ((0.0, 0), (0.5, 1), (0.2, 2)):
        for trace, (y, variants) in zip(
            simulator.trace(jobs, stalls=stalls, seed=seed), expected, strict=True
        ):
            assert np.array_equal(trace.y, y)
            assert trace.variants.tolist() == variants


@pytest.mark.slow
def test_the_decision_costs_three_cycles_a_tile():
    case = Variants.random(8, 50, 6, 2, MACHINE.lanes, 4)
    config, program = parts(case.module(MACHINE))
    x = np.ones((2, 50), np.int8)
    simulator = Simulator.verilated(verilog(config), config)
    ((_, cycles),) = simulator.run([Job(encode(program), x, 6)])
    # The first beat is taken while the array is still ready for programs.
    assert cycles.loading_activations == 50 + 3


@pytest.mark.parametrize(
    ("unit", "count"), [(0, 5), (0x0FFF_FFFF, 4), (9, 4)], ids=["rows", "unit", "shift"]
)
def test_a_bad_decision_table_is_refused(unit: int, count: int):
    case = Variants.random(8, 50, 6, 2, MACHINE.lanes, 4)
    config, program = parts(case.module(MACHINE))
    words = np.frombuffer(encode(program), "<u4").copy()
    (place,) = np.flatnonzero(words == (0x5000_0000 | case.decision.shift))
    words[place : place + 2] = 0x5000_0000 | unit, count
    job = Job(words.tobytes(), np.zeros((1, 50), np.int8), 6)
    assert config.zeros_width == 7
    with pytest.raises(SimulationError, match=r"refused the program with error command$"):
        Simulator.verilated(verilog(config), config).run([job], stalls=0.3)


@pytest.mark.parametrize("name", SOME)
def test_rtl_is_clean_for_verilator_and_yosys(name: str, tmp_path: Path):
    case = Variants.random(8, 50, 6, 2, MACHINES[name].lanes, 4)
    files = verilog(parts(case.module(MACHINES[name]))[0])
    assert "daqkf_spaq.sv" in files
    lint(files, TOP, tmp_path)


RNG = np.random.default_rng(17)
WEIGHTS = RNG.standard_normal((40, 12))
DENSITY = np.repeat(RNG.random((61, 1)), 2, axis=0)[:121]
X = RNG.standard_normal((121, 40)) * (RNG.random((121, 40)) < DENSITY)
"""Tiles of all densities, and one that is not full."""


@pytest.fixture(scope="module")
def design() -> daqkf.Design:
    return daqkf.compile(
        WEIGHTS[:, :10],
        bias=RNG.standard_normal(10),
        activation="gelu",
        sparsity=[0.2, 0.7, 0.8],
        levels=["codebook-15", "codebook-7", 3],
        error_budget=1.0,
        calibration=X,
        target="tiny",
    )


def test_a_layer_in_variants_all_the_way(design: daqkf.Design):
    assert [levels.magnitudes for levels in design.level_sets] == [15, 7, 3]
    for stalls, seed in ((0.0, 0), (0.3, 4)):
        measured = design.measure(X, stalls=stalls, seed=seed)
        assert np.array_equal(measured.y, design.reference(X))
        assert np.array_equal(measured.variants, design.variants(X))
        assert measured.tiles == len(measured.variants) == 61
    assert len(set(design.variants(X))) > 1
    zeros = np.zeros((4, 40), np.int8)
    fastest = int(np.argmin([max(v["stream_words"]) for v in design.summary()["variants"]]))
    assert design.variants(zeros).tolist() == [fastest] * 2
    dense = np.ones((4, 40), np.int8)
    assert design.variants(dense).tolist() == [0, 0]
    assert design.measure(zeros).cycles.running < design.measure(dense).cycles.running


def test_a_larger_budget_takes_fewer_cycles_and_makes_larger_errors():
    cycles, errors = [], []
    for budget in (0.0, 12.0, 20.0, 100.0):
        ours = daqkf.compile(
            WEIGHTS,
            sparsity=[0.0, 0.7],
            levels=["int8", 3],
            error_budget=budget,
            calibration=X,
            target="tiny",
        )
        words = np.array([max(v["stream_words"]) for v in ours.summary()["variants"]])
        cycles.append(words[ours.variants(X)].sum())
        x = np.clip(np.rint(X / ours.input_scale), -128, 127) * ours.input_scale
        error = (ours.reference(X) - x @ WEIGHTS) / ours.output_scale
        errors.append(float(np.sqrt((error**2).mean())))
        # On the tiles that the table was made from, the budget holds.
        assert errors[-1] <= max(budget, 0.6)
    assert cycles == sorted(cycles, reverse=True)
    assert errors == sorted(errors)
    assert cycles[0] > cycles[1] > cycles[2] > cycles[3]


def test_designs_with_variants_come_back(design: daqkf.Design, tmp_path: Path):
    design.save(tmp_path)
    loaded = daqkf.Design.load(tmp_path)
    assert loaded.program == design.program
    assert loaded.level_sets == design.level_sets
    assert np.array_equal(loaded.variants(X), design.variants(X))
    assert np.array_equal(loaded.simulate(X[:9]), design.simulate(X[:9]))


def test_an_array_that_picks_runs_layers_that_do_not(design: daqkf.Design):
    other = daqkf.compile(RNG.standard_normal((17, 9)), levels=7, target=design)
    assert other.verilog == design.verilog
    x = RNG.standard_normal((7, 17)) * (RNG.random((7, 17)) < 0.3)
    measured = other.measure(x)
    assert np.array_equal(measured.y, other.reference(x))
    assert not measured.variants.any()


def test_one_level_set_makes_no_unit():
    plain = daqkf.compile(WEIGHTS, levels=["codebook-7"], sparsity=[0.5], target="tiny")
    assert plain.config.buckets == 1
    assert "daqkf_spaq.sv" not in plain.verilog_files
    assert not plain.variants(X).any()
    with pytest.raises(daqkf.DaqkfError, match=f"needs buckets = {BUCKETS}, but the array has 1"):
        daqkf.compile(WEIGHTS[:, :6], levels=[3, 2], sparsity=0.8, target=plain)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": []}, "0 level sets for 1 variants"),
        ({"levels": [3, 7], "sparsity": [0.1, 0.2, 0.3]}, "2 level sets for 3 variants"),
        ({"levels": [3, "int3"]}, "unknown level set 'int3'"),
        ({"levels": [3] * 17}, "17 variants; a dispatch has 1..16"),
        ({"levels": [3, 7], "error_budget": -1}, "an error budget must be at least 0"),
        ({"levels": [3, 7], "error_budget": float("nan")}, "must be at least 0 output steps"),
        ({"levels": [3, 7], "sparsity": [0.5, 1.0]}, "sparsity must be 0 <= sparsity < 1, not 1.0"),
        ({"levels": [3, 7], "weights": np.ones((64, 2))}, "64 features; the target holds at most"),
        (
            {"levels": [3, 7], "weights": np.ones((2, 32))},
            "32 outputs of a PE in 2 variants; the target holds at most 16",
        ),
    ],
)
def test_bad_variants_are_named(arguments: dict[str, Any], message: str):
    defaults: dict[str, Any] = {"weights": WEIGHTS, "target": "tiny"}
    with pytest.raises(daqkf.DaqkfError, match=message) as caught:
        daqkf.compile(**(defaults | arguments))
    assert "\n" not in str(caught.value)
