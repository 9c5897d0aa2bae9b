# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Products over every semiring on generated arrays, against loops over Python's numbers."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from networks import lint
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, i8, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region
from xdsl.utils.exceptions import PassFailedException

from daqkf import AssocArray
from daqkf.dialects.dense import from_array
from daqkf.dialects.dfke import KernelOp
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ArrayOp, ProgramOp
from daqkf.dialects.spaq import ActivationOp, AddOp, ConstantOp, MatmulOp, RequantizeOp
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.semirings import Semiring
from daqkf.lowering.conversions.config_sizing import required_config, shared_config
from daqkf.lowering.conversions.dfke_to_rpea import LowerDfkeToRpeaPass
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.encode import encode
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.passes.dfke_fuse import DfkeFusePass
from daqkf.passes.dfke_schedule import schedule
from daqkf.passes.dfke_specialize_bitwidth import DfkeSpecializeBitwidthPass
from daqkf.runtime.simulator import Job, Simulator
from daqkf.synthesis import toggles

Matrix = NDArray[np.int8]

MACHINE = Machine(
    pes=1,
    lanes=1,
    post_lanes=1,
    max_shift=0,
    activation_depth=64,
    stream_depth=2**12,
    parameter_depth=64,
    result_depth=64,
    items=1,
    families=("semiring",),
)
MACHINES = {
    "one": MACHINE,
    "mixed": replace(
        MACHINE,
        pes=3,
        lanes=4,
        post_lanes=2,
        max_shift=3,
        items=4,
        families=("semiring", "running_sum", "semiring"),
    ),
}
SHAPES = [
    # features, channels, density
    (1, 1, 1.0),
    (7, 9, 0.0),
    (5, 20, 0.1),
    (40, 6, 0.5),
    (30, 3, 1.0),
]


class Kernel:
    """The numbers of a random kernel over a semiring."""

    def __init__(self, seed: int, semiring: Semiring, features: int, channels: int, density: float):
        rng = np.random.default_rng(seed)
        self.semiring = semiring
        largest = rng.choice([3, 127])
        weights = rng.integers(-largest, largest + 1, (features, channels))
        if semiring is Semiring.OR_AND:
            weights[:] = -1
        weights[rng.random(weights.shape) >= density] = semiring.zero
        self.weights = weights.astype(np.int8)
        self.bias = rng.integers(-100, 101, channels)
        # Tropical sums are not scaled down: infinity would become a number.
        self.multiplier = rng.choice([1, 2, 3, 65535], channels)
        self.shift = np.ones(channels, np.int64)
        if not semiring.tropical:
            self.shift = rng.integers(1, 12, channels)
        self.table = rng.permutation(256).astype(np.uint8).view(np.int8)

    def activations(self, rng: np.random.Generator, tokens: int) -> Matrix:
        x = rng.integers(-128, 128, (tokens, len(self.weights))).astype(np.int8)
        x[rng.random(x.shape) < 0.3] = self.semiring.zero
        x[0] = self.semiring.zero
        x[-1] = rng.choice([-128, 127], x.shape[1])
        return x

    def module(self) -> ModuleOp:
        features, channels = self.weights.shape
        block = Block(arg_types=[activations(features, i8)])
        weights = ConstantOp(from_array(self.weights, i8))
        bias = ConstantOp(from_array(self.bias, i32))
        product = MatmulOp(block.args[0], weights.result, activations(channels, i32), self.semiring)
        total = AddOp(product.result, bias.result)
        level = RequantizeOp(
            total.result, from_array(self.multiplier, i32), from_array(self.shift, i32)
        )
        result = ActivationOp("table", level.result, from_array(self.table, i8))
        block.add_ops([weights, bias, product, total, level, result, ReturnOp(result.result)])
        kind = FunctionType.from_lists(list(block.arg_types), [result.result.type])
        return ModuleOp([FuncOp("layer", kind, Region(block))])

    def scheduled(self, machine: Machine) -> ModuleOp:
        module = self.module()
        DfkeFusePass().apply(Context(), module)
        DfkeSpecializeBitwidthPass().apply(Context(), module)
        kernel_of(module).schedule = schedule(self.weights, machine, self.semiring)
        module.verify()
        return module

    def expected(self, x: Matrix) -> Matrix:
        """Straight from the definitions, sharing no code with the compiler."""
        rows: list[list[int]] = []
        for row in x.tolist():
            sums: list[int] = []
            for column in self.weights.T.tolist():
                zero = {"max_plus": -128, "min_plus": 127}.get(self.semiring, 0)
                pairs = [(a, w) for a, w in zip(row, column, strict=True) if zero not in (a, w)]
                match self.semiring:
                    case Semiring.PLUS_TIMES:
                        sums.append(sum(a * w for a, w in pairs))
                    case Semiring.MAX_PLUS:
                        sums.append(max((a + w for a, w in pairs), default=-(10**6)))
                    case Semiring.MIN_PLUS:
                        sums.append(min((a + w for a, w in pairs), default=10**6))
                    case Semiring.OR_AND:
                        joined = 0
                        for a, w in pairs:
                            joined |= a & w
                        sums.append(joined)
            rows.append(sums)
        total = np.array(rows, object) + self.bias
        power = 2 ** self.shift.astype(object)
        level = np.clip((total * self.multiplier + power // 2) // power, -128, 127)
        return self.table[level.astype(np.int64) & 0xFF]


def kernel_of(module: ModuleOp) -> KernelOp:
    return next(op for op in module.walk() if isinstance(op, KernelOp))


def kernels() -> list[Kernel]:
    return [
        Kernel(10 * number + place, semiring, *shape)
        for number, shape in enumerate(SHAPES)
        for place, semiring in enumerate(Semiring)
    ]


@cache
def config_of(name: str) -> ArrayConfig:
    modules = [kernel.scheduled(MACHINES[name]) for kernel in kernels()]
    return shared_config([required_config(kernel_of(module)) for module in modules])


@cache
def verilog(config: ArrayConfig) -> dict[str, str]:
    return emit_verilog(circuit_module(build_array(config)))


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
def test_semirings_take_turns_on_one_array(name: str):
    """Every program follows one of another semiring, without a reset; streams pause."""
    config, rng = config_of(name), np.random.default_rng(3)
    jobs, expected = [], []
    for kernel in kernels():
        module = kernel.scheduled(MACHINES[name])
        x = kernel.activations(rng, int(rng.integers(2, 3 * config.lanes + 2)))
        expected.append(kernel.expected(x))
        assert np.array_equal(run(kernel.module(), x), expected[-1]), "integer IR"
        assert np.array_equal(run(module, x), expected[-1]), "fused"
        module.body.block.insert_op_before(ArrayOp("array", config), module.body.block.first_op)
        LowerDfkeToRpeaPass().apply(Context(), module)
        module.verify()
        assert np.array_equal(run(module, x), expected[-1]), "golden model"
        program = next(op for op in module.ops if isinstance(op, ProgramOp))
        jobs.append(Job(encode(program), x, kernel.weights.shape[1]))
    simulator = Simulator.verilated(verilog(config), config)
    for stalls, seed in ((0.0, 0), (0.5, 1)):
        results = simulator.run(jobs, stalls=stalls, seed=seed)
        for (y, _), reference in zip(results, expected, strict=True):
            assert np.array_equal(y, reference)


@pytest.mark.slow
@pytest.mark.parametrize("semiring", Semiring)
def test_the_netlist_computes_the_same(semiring: Semiring):
    """The gates that yosys makes of the array, which `toggles` compares with the formulas."""
    config, kernel = config_of("one"), Kernel(7, semiring, 12, 5, 0.6)
    module = kernel.scheduled(MACHINE)
    module.body.block.insert_op_before(ArrayOp("array", config), module.body.block.first_op)
    LowerDfkeToRpeaPass().apply(Context(), module)
    program = next(op for op in module.ops if isinstance(op, ProgramOp))
    x = kernel.activations(np.random.default_rng(4), 3)
    job = Job(encode(program), x, kernel.weights.shape[1])
    assert toggles(verilog(config), config, job, kernel.expected(x)).toggles > 0


def test_elements_of_another_family_are_left_out():
    kernel = Kernel(5, Semiring.MAX_PLUS, 10, 8, 0.5)
    found = kernel_of(kernel.scheduled(MACHINES["mixed"])).schedule
    assert found is not None
    assert [len(share) for share in found.shares()] == [4, 0, 4]
    with pytest.raises(ValueError, match="max_plus needs elements of the family semiring; there"):
        schedule(kernel.weights, replace(MACHINE, families=("running_sum",)), Semiring.MAX_PLUS)


def test_an_array_without_such_elements_is_no_match():
    kernel = Kernel(5, Semiring.MAX_PLUS, 10, 8, 0.5)
    module = kernel.scheduled(MACHINE)
    config = replace(required_config(kernel_of(module)), families=("running_sum",))
    module.body.block.insert_op_before(ArrayOp("array", config), module.body.block.first_op)
    with pytest.raises(PassFailedException, match="cannot run on an array of families"):
        LowerDfkeToRpeaPass().apply(Context(), module)


@pytest.mark.parametrize("name", MACHINES)
def test_rtl_is_clean_for_verilator_and_yosys(name: str, tmp_path: Path):
    lint(verilog(config_of(name)), TOP, tmp_path)


@pytest.mark.parametrize("semiring", [*Semiring, "count"])
def test_associative_arrays_on_the_circuit(semiring: str):
    """More features than the array holds, values from end to end of int8."""
    rng = np.random.default_rng(9)
    largest = 9 if semiring == "plus_times" else 126

    def random(names: str, shape: tuple[int, int]) -> AssocArray:
        row, column = np.nonzero(rng.random(shape) < 0.3)
        labels = [
            [f"{name}{i}" for i in places]
            for name, places in zip(names, (row, column), strict=True)
        ]
        return AssocArray(*labels, rng.integers(-largest, largest + 1, len(row)))

    a, b = random("rk", (5, 90)), random("kc", (90, 12))
    result = a.matmul(b, semiring, engine="rtl")
    assert len(result) > 50
    # test/unit/test_assoc.py holds the golden engine against dictionaries and loops.
    assert result == a.matmul(b, semiring)
