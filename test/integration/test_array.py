# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Generated arrays, simulated with random stalls, against NumPy arithmetic."""

import subprocess
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from networks import lint
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, i8, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region
from xdsl.rewriter import InsertPoint, Rewriter

from daqkf.dialects.dense import from_array
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ArrayOp, ProgramOp
from daqkf.dialects.spaq import ActivationOp, AddOp, ConstantOp, MatmulOp, RequantizeOp
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.lowering.conversions.dfke_to_rpea import LowerDfkeToRpeaPass
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.encode import encode
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.passes.dfke_fuse import DfkeFusePass
from daqkf.passes.dfke_schedule import schedule
from daqkf.passes.dfke_specialize_bitwidth import DfkeSpecializeBitwidthPass
from daqkf.passes.encode.coding import coding_of
from daqkf.runtime import tools
from daqkf.runtime.simulator import Job, SimulationError, Simulator


@dataclass(frozen=True)
class Kernel:
    """The numbers of a random kernel."""

    levels: NDArray[np.int8]
    bias: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]
    table: NDArray[np.int8]

    @classmethod
    def random(
        cls, seed: int, features: int, channels: int, density: float, most: int = 127
    ) -> Self:
        rng = np.random.default_rng(seed)
        largest = min(int(rng.choice([1, 7, 127])), most)
        levels = rng.integers(1, largest + 1, (features, channels))
        levels *= rng.choice([-1, 1], levels.shape) * (rng.random(levels.shape) < density)
        # Mostly shifts that leave something to see, and some from the ends of the range.
        magnitude = np.maximum(np.abs(levels).sum(axis=0) * 64, 64)
        shift = np.log2(magnitude).astype(np.int64) + 8 + rng.integers(-1, 2, channels)
        extreme = rng.random(channels) < 0.1
        return cls(
            levels.astype(np.int8),
            rng.integers(-5000, 5000, channels) * (rng.random(channels) < 0.9),
            rng.integers(1, 65536, channels),
            np.clip(np.where(extreme, rng.choice([1, 47], channels), shift), 1, 47),
            rng.integers(-128, 128, 256).astype(np.int8),
        )

    def module(self) -> ModuleOp:
        features, channels = self.levels.shape
        block = Block(arg_types=[activations(features, i8)])
        weights = ConstantOp(from_array(self.levels, i8))
        bias = ConstantOp(from_array(self.bias, i32))
        product = MatmulOp(block.args[0], weights.result, activations(channels, i32))
        total = AddOp(product.result, bias.result)
        level = RequantizeOp(
            total.result, from_array(self.multiplier, i32), from_array(self.shift, i32)
        )
        result = ActivationOp("table", level.result, from_array(self.table, i8))
        block.add_ops([weights, bias, product, total, level, result, ReturnOp(result.result)])
        kind = FunctionType.from_lists(list(block.arg_types), [result.result.type])
        return ModuleOp([FuncOp("layer", kind, Region(block))])

    def expected(self, x: NDArray[np.int8]) -> NDArray[Any]:
        """Straight from the formulas, sharing no code with the compiler."""
        total = x.astype(object) @ self.levels.astype(object) + self.bias
        scaled = (total * self.multiplier + 2 ** (self.shift.astype(object) - 1)) // (
            2 ** self.shift.astype(object)
        )
        index = np.clip(scaled, -128, 127).astype(np.int64) & 0xFF
        return self.table[index]

    def lower(self, machine: Machine, array: ArrayConfig | None = None) -> ModuleOp:
        context, module = Context(), self.module()
        if array is not None:
            Rewriter.insert_op(ArrayOp("array", array), InsertPoint.at_start(module.body.block))
        DfkeFusePass().apply(context, module)
        DfkeSpecializeBitwidthPass().apply(context, module)
        for op in module.walk():
            if op.name == "dfke.kernel":
                op.schedule = schedule(self.levels, machine)  # pyright: ignore
        LowerDfkeToRpeaPass().apply(context, module)
        module.verify()
        return module


def parts(module: ModuleOp) -> tuple[ArrayConfig, ProgramOp]:
    array = next(op for op in module.ops if isinstance(op, ArrayOp))
    return array.config.data, next(op for op in module.ops if isinstance(op, ProgramOp))


@cache
def verilog(config: ArrayConfig) -> dict[str, str]:
    return emit_verilog(circuit_module(build_array(config)))


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
    "one": replace(MACHINE, pes=1, lanes=1, max_shift=0),
    "P3-T5-V5": replace(MACHINE, pes=3, lanes=5, post_lanes=5, max_shift=0),
    "P5-T3": replace(MACHINE, pes=5, lanes=3, max_shift=7),
    "P4-T12-V4": replace(MACHINE, pes=4, lanes=12, post_lanes=4, max_shift=3),
    "one-item": replace(MACHINE, items=1),
    "strassen": replace(MACHINE, lanes=4, post_lanes=2, families=("strassen",)),
    "strassen-alone": replace(MACHINE, pes=1, families=("strassen",)),
    "mixed": replace(MACHINE, pes=3, families=("strassen", "running_sum")),
    "eight-items": replace(MACHINE, pes=2, lanes=3, items=8, max_shift=0),
    "four-items": replace(MACHINE, pes=3, lanes=4, post_lanes=2, items=4, max_shift=2),
    "multiply": replace(MACHINE, pes=3, families=("multiply",)),
    "multiply-dsp": replace(MACHINE, families=("multiply",), multiplier="dsp"),
    "multiply-packed": replace(MACHINE, lanes=4, families=("multiply",), multiplier="packed"),
    "multiply-4": replace(MACHINE, families=("multiply",), weight_bits=(4,)),
    "multiply-4-dsp": replace(MACHINE, families=("multiply",), weight_bits=(4,), multiplier="dsp"),
    "multiply-4-packed": replace(
        MACHINE, families=("multiply",), weight_bits=(4,), multiplier="packed"
    ),
    "multiply-modes": replace(MACHINE, pes=3, families=("multiply",), weight_bits=(4, 8)),
    "multiply-modes-dsp": replace(
        MACHINE, lanes=3, families=("multiply",), weight_bits=(4, 8), multiplier="dsp"
    ),
    "ternary": replace(MACHINE, families=("ternary",)),
    "ternary-one-item": replace(MACHINE, pes=1, lanes=1, items=1, families=("ternary",)),
    "ternary-eight-items": replace(MACHINE, lanes=3, items=8, families=("ternary",)),
    "mixed-ternary": replace(
        MACHINE, pes=5, items=4, families=("running_sum", "ternary", "multiply")
    ),
    "mixed-multiply": replace(MACHINE, pes=5, families=("running_sum", "multiply")),
    "windows": replace(MACHINE, pes=3, index_bits=3),
    "windows-eight": replace(MACHINE, lanes=3, items=8, max_shift=0, index_bits=5),
    "windows-ternary": replace(MACHINE, items=4, families=("ternary",), index_bits=3),
    "ordered": replace(MACHINE, pes=3, families=("ordered_sum",), items=4),
    "ordered-one-item": replace(MACHINE, families=("ordered_sum",), items=1, index_bits=3),
    "ordered-eight": replace(
        MACHINE, lanes=3, items=8, max_shift=0, families=("ordered_sum",), index_bits=4
    ),
    "deltas": replace(MACHINE, pes=3, families=("multiply",), index_bits=2),
    "deltas-4": replace(
        MACHINE, families=("multiply",), weight_bits=(4,), multiplier="dsp", index_bits=3
    ),
    "windows-and-deltas": replace(
        MACHINE, pes=5, families=("running_sum", "multiply"), items=4, index_bits=4
    ),
    "shared": replace(MACHINE, pes=3, items=1, max_shift=0, shared_words=True),
    "shared-eight": replace(MACHINE, lanes=3, items=8, shared_words=True),
    "shared-windows": replace(MACHINE, items=4, max_shift=2, index_bits=4, shared_words=True),
    "dense": replace(MACHINE, pes=3, lanes=4, families=("dense",)),
    "dense-one": replace(MACHINE, pes=1, lanes=1, families=("dense",), multiplier="dsp"),
    "dense-packed": replace(MACHINE, pes=5, families=("dense",), multiplier="packed"),
}
SHAPES = [
    # features, channels, density
    (1, 1, 1.0),
    (1, 9, 1.0),
    (7, 1, 1.0),
    (63, 5, 0.3),
    (40, 33, 0.1),
    (40, 33, 0.0),
    (5, 40, 0.02),
    (100, 7, 1.0),
]


def largest_level(machine: Machine) -> int:
    return min(coding_of(family).most(machine) for family in machine.families)


QUICK = ("multiply-modes",)
"""A machine that has most to go wrong. All others are in the slow suite."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in MACHINES],
)
def test_many_kernels_on_one_array(name: str):
    """All-zero columns, single non-zeros, dense ones; more PEs than outputs, and fewer."""
    machine = MACHINES[name]
    kernels = [Kernel.random(i, *shape, largest_level(machine)) for i, shape in enumerate(SHAPES)]
    configs = [parts(kernel.lower(machine))[0] for kernel in kernels]
    largest = {key: max(vars(c)[key] for c in configs) for key in asdict(configs[0])}
    config = ArrayConfig(**largest)
    rng = np.random.default_rng(7)
    jobs, expected = [], []
    for kernel in kernels:
        module = kernel.lower(machine, config)
        program = parts(module)[1]
        for image in (encode(program), None):
            tokens = int(rng.integers(1, 3 * machine.lanes + 2))
            x = rng.integers(-128, 128, (tokens, len(kernel.levels))).astype(np.int8)
            x[0] = -128
            jobs.append(Job(image, x, kernel.levels.shape[1]))
            expected.append(kernel.expected(x))
            assert np.array_equal(run(module, x), expected[-1]), "golden model"
    simulator = Simulator.verilated(verilog(config), config)
    for stalls, seed in ((0.0, 0), (0.5, 1), (0.2, 2)):
        results = simulator.run(jobs, stalls=stalls, seed=seed)
        for (y, _), reference in zip(results, expected, strict=True):
            assert np.array_equal(y, reference)


@pytest.mark.parametrize(
    ("features", "channels", "density"),
    [(255, 3, 0.4), pytest.param(12, 64, 0.7, marks=pytest.mark.slow)],
)
def test_an_array_sized_for_its_kernel(features: int, channels: int, density: float):
    kernel = Kernel.random(99, features, channels, density)
    config, program = parts(kernel.lower(MACHINE))
    x = np.random.default_rng(1).integers(-128, 128, (5, features)).astype(np.int8)
    x[:2] = [[-128], [127]]
    simulator = Simulator.verilated(verilog(config), config)
    ((y, cycles),) = simulator.run([Job(encode(program), x, channels)], stalls=0.1)
    assert np.array_equal(y, kernel.expected(x))
    assert cycles.running > 0


@pytest.mark.slow
def test_running_takes_as_long_as_the_longest_stream():
    """Nothing but pipeline latency is added where the elements are the bottleneck."""
    kernel = Kernel.random(4, 100, 12, 1.0)
    config, program = parts(kernel.lower(MACHINE))
    x = np.zeros((2, 100), np.int8)
    simulator = Simulator.verilated(verilog(config), config)
    ((_, cycles),) = simulator.run([Job(encode(program), x, 12)])
    words = max(np.frombuffer(program.rows.data.data, "<i4"))
    assert words <= cycles.running <= words + 40


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        (0, 1, "magic"),
        (1, 9, "version"),
        (2, 1, "fingerprint"),
        (5, 0x9000_0000, "command"),
        (6, 0, "command"),
        (6, 100_000, "command"),
        (7, 0, "command"),
        (9, 257, "command"),
    ],
)
def test_a_bad_image_is_refused_with_its_reason(word: int, value: int, reason: str):
    kernel = Kernel.random(4, 100, 12, 1.0)
    config, program = parts(kernel.lower(MACHINE))
    words = np.frombuffer(encode(program), "<u4").copy()
    words[word] = value
    job = Job(words.tobytes(), np.zeros((1, 100), np.int8), 12)
    simulator = Simulator.verilated(verilog(config), config)
    with pytest.raises(SimulationError, match=f"refused the program with error {reason}$"):
        simulator.run([job], stalls=0.3)


def test_a_truncated_image_stops_with_a_message():
    kernel = Kernel.random(4, 100, 12, 1.0)
    config, program = parts(kernel.lower(MACHINE))
    job = Job(encode(program)[:-8], np.zeros((1, 100), np.int8), 12)
    with pytest.raises(
        SimulationError, match=r"no transfer in \d+ cycles; the array is in phase 1"
    ):
        Simulator.verilated(verilog(config), config).run([job])


def machine_config(machine: Machine) -> ArrayConfig:
    kernel = Kernel.random(3, 63, 5, 0.3, largest_level(machine))
    return parts(kernel.lower(machine))[0]


CLEAN = ("shared-eight", "mixed-multiply")
"""Machines whose RTL the quick suite looks at."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in CLEAN else pytest.mark.slow) for n in MACHINES]
)
def test_rtl_is_clean_for_verilator_and_yosys(name: str, tmp_path: Path):
    lint(verilog(machine_config(MACHINES[name])), TOP, tmp_path)


@pytest.mark.slow
def test_memories_become_block_ram(tmp_path: Path):
    config = replace(
        machine_config(MACHINE), activation_depth=1024, stream_depth=2048, result_depth=2048
    )
    for file, text in verilog(config).items():
        (tmp_path / file).write_text(text)
    yosys = tools.yosys()
    files = " ".join(path.name for path in sorted(tmp_path.iterdir()))
    script = (
        f"read_verilog -sv {files}; synth_xilinx -family xcup -top {TOP} -run begin:map_ffram; "
        "select -assert-none t:$mem*; select -assert-count 8 t:RAMB*"
    )
    run = subprocess.run(
        [*yosys.argv, "-q", "-p", script],
        cwd=tmp_path,
        env=yosys.env,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
