# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Kernels with results of int16: the formula, interpreter, golden model and RTL, bit for bit."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_array
import test_tiling
from networks import MACHINE, config_of, lint, lowered
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, i8, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from daqkf.compiler.stages import Stage
from daqkf.dialects.dense import from_array
from daqkf.dialects.dfke import KernelOp
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ArrayOp, ProgramOp, RunOp, TiledOp
from daqkf.dialects.spaq import AddOp, ConstantOp, MatmulOp, RequantizeOp
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.prediction import KernelWork, tile_cycles_of
from daqkf.hw_targets.results import join_rows, result_rows, split_rows
from daqkf.hw_targets.timing import tile_cycles
from daqkf.lowering.conversions.config_sizing import shared_config
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.disassemble import import_program
from daqkf.lowering.image.encode import encode
from daqkf.lowering.image.image import ProgramImageError
from daqkf.lowering.image.listing import listing
from daqkf.lowering.image.queue_memory import QueueMemory
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.lowering.rtl.system import build_system
from daqkf.passes.dfke_fuse import DfkeFusePass
from daqkf.passes.dfke_schedule import DfkeSchedulePass
from daqkf.passes.dfke_specialize_bitwidth import DfkeSpecializeBitwidthPass
from daqkf.runtime.accelerators import SimulatedArray
from daqkf.runtime.simulator import Job, SimulationError, Simulator
from daqkf.runtime.system import SimulatedSystem

WIDE = replace(MACHINE, wide_results=True)
MACHINES = {
    "one": replace(WIDE, pes=1, lanes=1, max_shift=0),
    "several, two banks": replace(
        WIDE, pes=3, lanes=4, post_lanes=2, items=8, max_shift=0, banks=2
    ),
    "mixed": replace(WIDE, families=("running_sum", "multiply")),
}
TILED = replace(WIDE, **test_tiling.SMALL)
QUEUED = replace(WIDE, memory_bits=64, stream_depth=16, banks=2, queue=True)


class Kernel(test_array.Kernel):
    """Numbers of a random kernel without a function, of results of 8 or of 16 bits."""

    BITS = 16

    def module(self) -> ModuleOp:
        features, channels = self.levels.shape
        block = Block(arg_types=[activations(features, i8)])
        weights = ConstantOp(from_array(self.levels, i8))
        bias = ConstantOp(from_array(self.bias, i32))
        product = MatmulOp(block.args[0], weights.result, activations(channels, i32))
        total = AddOp(product.result, bias.result)
        factors = from_array(self.multiplier, i32), from_array(self.shifts, i32)
        result = RequantizeOp(total.result, *factors, wide=self.BITS == 16)
        block.add_ops([weights, bias, product, total, result, ReturnOp(result.result)])
        kind = FunctionType.from_lists(list(block.arg_types), [result.result.type])
        return ModuleOp([FuncOp("layer", kind, Region(block))])

    @property
    def shifts(self) -> NDArray[np.int64]:
        return np.maximum(self.shift - (self.BITS - 8), 1)

    def expected(self, x: NDArray[np.int8]) -> NDArray[Any]:
        """Straight from the formula, sharing no code with the compiler."""
        total = x.astype(object) @ self.levels.astype(object) + self.bias
        shift = self.shifts.astype(object)
        scaled = (total * self.multiplier + 2 ** (shift - 1)) // 2**shift
        most = 2 ** (self.BITS - 1)
        return np.clip(scaled, -most, most - 1).astype(np.int16 if self.BITS == 16 else np.int8)

    def scheduled(self, machine: Machine, folder: Path) -> ModuleOp:
        module, target = self.module(), test_tiling.write_target(folder, machine)
        DfkeFusePass().apply(Context(), module)
        DfkeSpecializeBitwidthPass().apply(Context(), module)
        DfkeSchedulePass(target, tile=True).apply(Context(), module)
        module.verify()
        return module


class NarrowKernel(Kernel):
    BITS = 8


def inputs(tokens: int, features: int) -> NDArray[np.int8]:
    x = np.random.default_rng(tokens).integers(-128, 128, (tokens, features)).astype(np.int8)
    x[0] = -128
    return x


def stage_of(module: ModuleOp) -> Stage:
    (program,) = (op.target() for op in module.walk() if isinstance(op, RunOp))
    return Stage("layer", program)


@cache
def simulator(config: ArrayConfig) -> Simulator:
    return Simulator.verilated(emit_verilog(circuit_module(build_array(config))), config)


def on_one_array(
    kernels: Sequence[Kernel], machine: Machine, folder: Path
) -> tuple[ArrayConfig, list[Stage]]:
    modules = [kernel.scheduled(machine, folder) for kernel in kernels]
    config = shared_config([config_of(lowered(module)) for module in modules])
    return config, [stage_of(lowered(module, config)) for module in modules]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "one" else pytest.mark.slow) for n in MACHINES]
)
def test_every_level_and_the_rtl_agree(name: str, tmp_path: Path):
    """In turns with results of int8, which stay as they are."""
    machine = MACHINES[name]
    shapes = (63, 5, 0.3), (40, 33, 0.1), (7, 1, 1.0)
    kernels: list[Kernel] = [Kernel.random(i, *shape) for i, shape in enumerate(shapes)]
    kernels += [NarrowKernel.random(4, 40, 33, 0.3)]
    config, stages = on_one_array(kernels, machine, tmp_path)
    assert config.wide_results
    jobs: list[Job] = []
    expected: list[NDArray[np.integer]] = []
    for turn in range(2):
        for kernel, stage in zip(kernels, stages, strict=True):
            assert isinstance(stage.program, ProgramOp)
            assert stage.outputs == len(kernel.bias) * kernel.BITS // 8
            x = inputs(2 * machine.lanes + 1 + turn, len(kernel.levels))
            expected.append(kernel.expected(x))
            module = kernel.scheduled(machine, tmp_path)
            for level in (kernel.module(), module, lowered(module, config)):
                y = run(level, x)
                assert y.dtype == expected[-1].dtype
                np.testing.assert_array_equal(y, expected[-1])
            ((job,),) = stage.jobs(x)
            jobs += [job]
    wide = expected[1]
    assert (np.abs(wide.astype(int)) > 127).any() and (wide == -32768).any()
    for stalls in (0.0, 0.4):
        for job, trace, y in zip(
            jobs, simulator(config).trace(jobs, stalls=stalls, seed=5), expected, strict=True
        ):
            assert trace.y.dtype == (np.int16 if job.wide else np.int8)
            np.testing.assert_array_equal(trace.y, y)


def test_parts_and_groups_are_the_whole(tmp_path: Path):
    """Half as many outputs as rows of results make a group."""
    kernel = Kernel.random(11, test_tiling.FEATURES, test_tiling.OUTPUTS, 0.4, most=7)
    module = kernel.scheduled(TILED, tmp_path)
    (fused,) = (op for op in module.walk() if isinstance(op, KernelOp))
    assert fused.tiles is not None
    assert max(fused.tiles.groups()) <= TILED.result_depth // 2 < TILED.result_depth
    assert len(fused.tiles.parts()) > 1
    module = lowered(module)
    config, stage = config_of(module), stage_of(module)
    assert isinstance(stage.program, TiledOp)
    assert [part.wide is not None for part in stage.program.groups()[0]] == [False, True]
    for tokens in (1, 9 * config.lanes):
        x = inputs(tokens, test_tiling.FEATURES)
        np.testing.assert_array_equal(run(module, x), kernel.expected(x))
        array = SimulatedArray(simulator(config), stalls=0.3, seed=tokens)
        np.testing.assert_array_equal(stage.run(array, x), kernel.expected(x))


@pytest.mark.slow
def test_the_post_unit_takes_twice_as_long(tmp_path: Path):
    """As the schedule counts it, and as cycles are predicted; also where results leave last."""
    machine = replace(MACHINES["several, two banks"], post_lanes=1)
    kernels = [kind.random(2, 40, 33, 0.1, most=1) for kind in (Kernel, NarrowKernel)]
    config, stages = on_one_array(kernels, machine, tmp_path)
    found: list[float] = []
    predicted: list[float] = []
    for stage in stages:
        program = stage.program
        assert isinstance(program, ProgramOp)
        words, wide = np.array([program.longest]), program.wide is not None
        rows = result_rows(33, wide)
        assert program.result_rows == rows
        assert tile_cycles(words, rows, config) == rows * config.post_cycles > program.longest
        work = KernelWork(40, 33, program.longest, wide)
        predicted.append(tile_cycles_of([work], config).total)
        totals: list[int] = []
        for tiles in (4, 14):
            ((job,),) = stage.jobs(inputs(tiles * config.lanes, 40))
            (trace,) = simulator(config).trace([job])
            totals.append(trace.cycles.total)
        found.append((totals[1] - totals[0]) / 10)
    assert predicted == pytest.approx(found, rel=0.04)
    assert found[0] - found[1] == predicted[0] - predicted[1] == 33 * config.post_cycles


def test_images_say_so_and_come_back(tmp_path: Path):
    module = lowered(Kernel.random(3, 12, 5, 0.5).scheduled(WIDE, tmp_path))
    program = stage_of(module).program
    assert isinstance(program, ProgramOp)
    image, config = encode(program), config_of(module)
    assert decode(image, config).wide
    assert "KERNEL features 12 outputs 5 wide" in listing(image, config)
    array = next(op for op in module.ops if isinstance(op, ArrayOp))
    (again,) = (op for op in import_program(image, array).ops if isinstance(op, ProgramOp))
    assert again.wide is not None
    # As the same bits are read by an array without such results.
    plain = replace(config, wide_results=False)
    words = np.frombuffer(image, "<u4").copy()
    words[2] = np.frombuffer(encode(_narrow(tmp_path, plain)), "<u4")[2]
    with pytest.raises(ProgramImageError, match=r"outputs; the array holds 1\.\.16"):
        decode(words.tobytes(), plain)


def _narrow(folder: Path, config: ArrayConfig) -> ProgramOp:
    module = lowered(NarrowKernel.random(3, 12, 5, 0.5).scheduled(WIDE, folder), config)
    program = stage_of(module).program
    assert isinstance(program, ProgramOp)
    return program


@pytest.mark.slow
def test_more_results_than_there_are_rows_are_refused(tmp_path: Path):
    module = lowered(Kernel.random(3, 12, 5, 0.5).scheduled(WIDE, tmp_path))
    config = config_of(module)
    program = stage_of(module).program
    assert isinstance(program, ProgramOp) and config.result_depth == 16
    words = np.frombuffer(encode(program), "<u4").copy()
    (place,) = np.flatnonzero(words == (5 | 1 << 28))
    words[place] = 9 | 1 << 28
    x = np.zeros((1, 12), np.int8)
    with pytest.raises(SimulationError, match=r"refused the program with error command$"):
        simulator(config).run([Job(words.tobytes(), x, 9, wide=True)])
    words[4] = 0
    with pytest.raises(ProgramImageError):
        decode(words.tobytes(), config)


@pytest.mark.slow
def test_rtl_is_clean_for_verilator_and_yosys(tmp_path: Path):
    lint_arrays((MACHINES["several, two banks"], TILED), tmp_path)


def lint_arrays(machines: Sequence[Machine], folder: Path) -> None:
    """Arrays of these machines, for a kernel that may have to be cut."""
    for number, machine in enumerate(machines):
        kernel = Kernel.random(1, test_tiling.FEATURES, test_tiling.OUTPUTS, 0.3, most=7)
        config = config_of(lowered(kernel.scheduled(machine, folder)))
        own = folder / str(number)
        own.mkdir()
        lint(emit_verilog(circuit_module(build_array(config))), TOP, own)


def test_without_wide_kernels_the_array_is_the_same(tmp_path: Path):
    """Whatever the target could do: text, and what images are for."""
    kernel = NarrowKernel.random(3, 12, 5, 0.5)
    programs: list[bytes] = []
    texts: list[dict[str, str]] = []
    for machine in (WIDE, replace(WIDE, wide_results=False)):
        module = lowered(kernel.scheduled(machine, tmp_path))
        program = stage_of(module).program
        assert isinstance(program, ProgramOp)
        programs.append(encode(program))
        texts.append(emit_verilog(circuit_module(build_array(config_of(module)))))
    assert programs[0] == programs[1]
    assert texts[0] == texts[1]


def test_rows_and_results_are_the_same_bytes():
    results = np.array([[-32768, 1], [255, -2]], np.int16)
    rows = split_rows(results)
    np.testing.assert_array_equal(rows, [[0, -128, 1, 0], [-1, 0, -2, -1]])
    np.testing.assert_array_equal(join_rows(rows, True), results)
    assert join_rows(rows, False) is rows
    assert (result_rows(3, True), result_rows(3, False)) == (6, 3)


def queue_of(folder: Path) -> tuple[Kernel, ArrayConfig, Stage]:
    kernel = Kernel.random(5, 24, 9, 0.4)
    module = lowered(kernel.scheduled(QUEUED, folder))
    return kernel, config_of(module), stage_of(module)


def test_a_queue_has_room_for_both_rows(tmp_path: Path):
    kernel, config, stage = queue_of(tmp_path)
    memory, x = QueueMemory(config), inputs(5, 24)
    rows = stage.enqueue(memory, x)
    (job,) = memory.jobs
    assert job.result_rows == 3 * 2 * 9
    content = bytearray(memory.queue().content)
    y = np.zeros((6, 9), np.int16)
    y[:5] = kernel.expected(x)
    tiles = split_rows(y).reshape(3, 2, 18).transpose(0, 2, 1).tobytes()
    content[job.results : job.results + len(tiles)] = tiles
    np.testing.assert_array_equal(memory.read(rows, bytes(content)), kernel.expected(x))


@pytest.mark.slow
def test_a_system_writes_them_to_memory(tmp_path: Path):
    """Over AXI, from a queue, and job by job."""
    kernel, config, stage = queue_of(tmp_path)
    system = SimulatedSystem.verilated(emit_verilog(circuit_module(build_system(config))), config)
    system.stalls, system.seed = 0.3, 2
    for tokens in (1, 7):
        x, memory = inputs(tokens, 24), QueueMemory(config)
        rows = stage.enqueue(memory, x)
        content = system.play(memory.queue())
        np.testing.assert_array_equal(memory.read(rows, content), kernel.expected(x))
        np.testing.assert_array_equal(stage.run(system, x), kernel.expected(x))
