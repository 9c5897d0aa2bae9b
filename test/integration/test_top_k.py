# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The largest of wide results: the formula, golden model and RTL, bit for bit."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_tiling
from language_models import SMALL, TEXT, changed, fields_of, random_weights, write_gguf
from networks import config_of, lowered
from numpy.typing import NDArray
from test_wide_results import (
    WIDE,
    Kernel,
    inputs,
    lint_arrays,
    on_one_array,
    simulator,
    stage_of,
)
from xdsl.dialects.builtin import UnitAttr

import daqkf
from daqkf.compiler.compiled_language_model import CompiledLanguageModel
from daqkf.compiler.stages import Stage
from daqkf.dialects.rpea import ArrayOp, ProgramOp, TiledOp
from daqkf.dialects.rpea.interpreter import run_kernel, run_tiled
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import top_k
from daqkf.hw_targets.results import join_top_k, top_k_rows
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.decode import decode
from daqkf.lowering.image.disassemble import import_program
from daqkf.lowering.image.encode import encode, for_top_k
from daqkf.lowering.image.image import ProgramImageError
from daqkf.lowering.image.listing import listing
from daqkf.lowering.image.queue_memory import QueueMemory
from daqkf.lowering.rtl.system import build_system
from daqkf.runtime.accelerators import SimulatedArray
from daqkf.runtime.simulator import Job, SimulationError
from daqkf.runtime.system import SimulatedSystem

LARGEST = replace(WIDE, top_k=3)
MACHINES = {
    "one lane": replace(LARGEST, pes=1, lanes=1, post_lanes=1, max_shift=0, top_k=1),
    "all lanes at once": replace(LARGEST, pes=2, lanes=4, post_lanes=4, top_k=2),
    "several groups, two banks": replace(
        LARGEST, pes=3, lanes=6, post_lanes=2, items=8, max_shift=0, banks=2, top_k=5
    ),
}
CONFIG = changed(SMALL, layers=1)
TILED = replace(LARGEST, **test_tiling.SMALL)
QUEUED = replace(LARGEST, memory_bits=64, stream_depth=16, banks=2, queue=True)


def largest(y: NDArray[np.int16], count: int) -> NDArray[np.int16]:
    """Straight from the words of `numerics.top_k`, sharing no code with it."""
    rows: list[list[int]] = []
    for values in y.tolist():
        order = sorted(range(len(values)), key=lambda n: (-values[n], n))[:count]
        rows.append([one for n in order for one in (n, values[n])])
    return np.array(rows, np.int64).astype(np.int16)


def selecting(stage: Stage) -> Stage:
    """The same programs, which give only their largest results."""
    program = stage.program
    programs = [part for group in stage.programs for part in group]
    for part in programs:
        assert isinstance(part, ProgramOp)
        if not part.keeps:
            part.top_k = UnitAttr()
            part.verify()
    return Stage("largest", program)


def on_one_array_largest(
    kernels: Sequence[Kernel], machine: Machine, folder: Path
) -> tuple[ArrayConfig, list[Stage], list[Stage]]:
    """All results, and the largest."""
    config, stages = on_one_array(kernels, machine, folder)
    _, others = on_one_array(kernels, machine, folder)
    return config, stages, [selecting(stage) for stage in others]


def test_the_formula_is_what_its_words_say():
    rng = np.random.default_rng(3)
    for most in (1, 3, 32767):
        y = rng.integers(-most - 1, most + 1, (5, 40)).astype(np.int16)
        for count in (1, 4, 40):
            np.testing.assert_array_equal(top_k(y, count), largest(y, count))


def test_groups_are_joined():
    """Numbers go on from group to group, and equal results are in their order."""
    rng = np.random.default_rng(4)
    y = rng.integers(-3, 3, (7, 70_000)).astype(np.int16)
    y[0, 69_999] = 9
    groups = 30_000, 3, 29_998, 9_999
    parts = np.split(y, np.cumsum(groups)[:-1], axis=1)
    numbers, values = join_top_k([top_k(part, min(4, part.shape[1])) for part in parts], groups, 4)
    order = np.argsort(-y.astype(int), axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(numbers, order)
    np.testing.assert_array_equal(values, np.take_along_axis(y, order, axis=1))
    assert numbers[0, 0] == 69_999


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if "several" in n else pytest.mark.slow) for n in MACHINES]
)
def test_the_golden_model_and_the_rtl_agree(name: str, tmp_path: Path):
    """In turns with programs that give all results. Many results are equal, or limited."""
    machine = MACHINES[name]
    shapes = (63, 5, 0.3), (40, 33, 0.1)
    kernels = [Kernel.random(i, *shape) for i, shape in enumerate(shapes)]
    kernels += [Kernel.random(7, 9, 16, 0.9, most=1)]
    config, stages, others = on_one_array_largest(kernels, machine, tmp_path)
    assert config.top_k == machine.top_k
    jobs: list[Job] = []
    expected: list[NDArray[np.integer]] = []
    for turn in range(2):
        for kernel, stage, other in zip(kernels, stages, others, strict=True):
            x = inputs(2 * machine.lanes + 1 + turn, len(kernel.levels))
            y = kernel.expected(x).astype(np.int16)
            assert isinstance(other.program, ProgramOp)
            assert other.outputs == top_k_rows(machine.top_k)
            np.testing.assert_array_equal(run_kernel(other.program, x), largest(y, machine.top_k))
            for one, what in ((other, largest(y, machine.top_k)), (stage, y)):
                ((job,),) = one.jobs(x)
                jobs.append(job)
                expected.append(what)
    for stalls in (0.0, 0.4):
        traces = simulator(config).trace(jobs, stalls=stalls, seed=5)
        for trace, y in zip(traces, expected, strict=True):
            np.testing.assert_array_equal(trace.y, y)


def test_parts_and_groups(tmp_path: Path):
    """Each group of outputs has its largest, which are found when the last part has been added."""
    kernel = Kernel.random(11, test_tiling.FEATURES, test_tiling.OUTPUTS, 0.4, most=7)
    module = lowered(kernel.scheduled(TILED, tmp_path))
    config, stage = config_of(module), selecting(stage_of(module))
    assert isinstance(stage.program, TiledOp)
    groups = [group[0].channels for group in stage.program.groups()]
    assert len(groups) > 1 and len(stage.programs[0]) > 1
    for tokens in (1, 9 * config.lanes):
        x = inputs(tokens, test_tiling.FEATURES)
        pairs = run_tiled(stage.program, x).astype(np.int16, copy=False)
        own = np.split(pairs, len(groups), axis=1)
        numbers, values = join_top_k(own, groups, config.top_k)
        found = np.stack([numbers, values], axis=2).reshape(tokens, -1)
        np.testing.assert_array_equal(found, largest(kernel.expected(x), config.top_k))
        array = SimulatedArray(simulator(config), stalls=0.3, seed=tokens)
        np.testing.assert_array_equal(stage.run(array, x), pairs)


def test_images_say_so_and_come_back(tmp_path: Path):
    module = lowered(Kernel.random(3, 12, 5, 0.5).scheduled(LARGEST, tmp_path))
    program, config = stage_of(module).program, config_of(module)
    assert isinstance(program, ProgramOp)
    plain = encode(program)
    image = for_top_k(plain, config)
    selecting(Stage("layer", program))
    assert image == encode(program)
    assert decode(image, config).top_k and not decode(plain, config).top_k
    assert "KERNEL features 12 outputs 5 wide top_k" in listing(image, config)
    array = next(op for op in module.ops if isinstance(op, ArrayOp))
    (again,) = (op for op in import_program(image, array).ops if isinstance(op, ProgramOp))
    assert again.top_k is not None and encode(again) == image


@pytest.mark.parametrize(
    ("outputs", "flags", "message"),
    [(2, 0b11, "the 3 largest of 2 wide outputs"), (5, 0b01, "the 3 largest of 5 outputs")],
)
def test_images_that_make_no_sense_are_refused(
    outputs: int, flags: int, message: str, tmp_path: Path
):
    module = lowered(Kernel.random(3, 12, 5, 0.5).scheduled(LARGEST, tmp_path))
    program, config = stage_of(module).program, config_of(module)
    assert isinstance(program, ProgramOp)
    words = np.frombuffer(encode(program), "<u4").copy()
    (place,) = np.flatnonzero(words == (5 | 1 << 28))
    words[place] = outputs | flags << 27
    with pytest.raises(ProgramImageError, match=message):
        decode_unsealed(words, config)
    if not flags & 2:
        job = Job(words.tobytes(), np.zeros((1, 12), np.int8), 2 * config.top_k, wide=True)
        with pytest.raises(SimulationError, match=r"refused the program with error command$"):
            simulator(config).run([job])


def decode_unsealed(words: NDArray[np.uint32], config: ArrayConfig) -> None:
    import zlib

    sealed = words.copy()
    sealed[4] = zlib.crc32(sealed[5:].tobytes())
    decode(sealed.tobytes(), config)


def test_what_an_array_cannot_do(tmp_path: Path):
    for machine in (replace(LARGEST, top_k=0), LARGEST):
        module = lowered(Kernel.random(3, 12, 2, 0.5).scheduled(machine, tmp_path))
        program = stage_of(module).program
        assert isinstance(program, ProgramOp)
        with pytest.raises(ProgramImageError, match="largest of 2 results"):
            for_top_k(encode(program), config_of(module))


@pytest.mark.slow
def test_a_queue_writes_them_to_memory(tmp_path: Path):
    module = lowered(Kernel.random(5, 24, 9, 0.4).scheduled(QUEUED, tmp_path))
    config, stage = config_of(module), selecting(stage_of(module))
    kernel = Kernel.random(5, 24, 9, 0.4)
    system = SimulatedSystem.verilated(emit_verilog(circuit_module(build_system(config))), config)
    system.stalls, system.seed = 0.3, 2
    for tokens in (1, 7):
        x, memory = inputs(tokens, 24), QueueMemory(config)
        rows = stage.enqueue(memory, x)
        (job,) = memory.jobs
        assert job.result_rows == -(-tokens // config.lanes) * top_k_rows(config.top_k)
        found = memory.read(rows, system.play(memory.queue()))
        np.testing.assert_array_equal(found, largest(kernel.expected(x), config.top_k))


@pytest.mark.slow
def test_rtl_is_clean_for_verilator_and_yosys(tmp_path: Path):
    lint_arrays((*MACHINES.values(), TILED), tmp_path)


def test_a_language_model_writes_by_what_the_array_finds(tmp_path: Path):
    """Its kernels in RTL; the text is that of the fast model."""
    path = write_gguf(tmp_path / "model.gguf", fields_of(CONFIG), random_weights(CONFIG))
    target = "tiny:wide_results=true,top_k=3"
    model = daqkf.compile(path, calibration=TEXT, levels="uniform-15", target=target)
    assert isinstance(model, CompiledLanguageModel)
    engine = model.engine("rtl", check=True, logits=1)
    found = list(model.generate("the 12", engine=engine, tokens=3))
    assert found == list(model.generate("the 12", tokens=3))
