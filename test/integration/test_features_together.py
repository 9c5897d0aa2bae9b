# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Beats that bring several features of each token, and take away as many results, for arrays of few
lanes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import MACHINE, lint
from numpy.typing import NDArray
from test_memory_streams import IDEAL
from test_wide_results import Kernel, NarrowKernel, inputs, on_one_array, simulator

from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ProgramOp
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.prediction import KernelWork, Turns, tile_cycles_of
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.encode import encode
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.lowering.rtl.system import TOP as SYSTEM
from daqkf.lowering.rtl.system import build_system
from daqkf.runtime.simulator import Job, SimulationError

ONE = replace(MACHINE, pes=2, lanes=1, post_lanes=1, max_shift=0, banks=2)
CODED = replace(
    ONE,
    items=4,
    families=("ordered_sum",),
    stream_code="varint",
    memory_bits=128,
    stream_depth=16,
    reads_ahead=True,
)
MACHINES = {
    "coded": replace(CODED, features_together=4),
    "two lanes": replace(MACHINE, lanes=2, post_lanes=1, features_together=2),
    "LUTs": replace(ONE, features_together=8, activation_memory="distributed"),
    "wide results": replace(ONE, features_together=4, wide_results=True, top_k=2),
}
SHAPES = (63, 5, 0.3), (40, 33, 0.2), (1, 3, 1.0), (8, 4, 0.6)
"""Of kernels: features that fill beats, and such that do not; so for outputs."""


def jobs_of(
    machine: Machine, folder: Path
) -> tuple[list[Job], list[NDArray[np.integer]], ArrayConfig]:
    kind = Kernel if machine.wide_results else NarrowKernel
    kernels = [kind.random(i, *shape, most=15) for i, shape in enumerate(SHAPES)]
    config, stages = on_one_array(kernels, machine, folder)
    jobs: list[Job] = []
    expected: list[NDArray[np.integer]] = []
    for turn in range(2):
        for kernel, stage in zip(kernels, stages, strict=True):
            x = inputs(2 * machine.lanes + 1 + turn, len(kernel.levels))
            ((job,),) = stage.jobs(x)
            jobs.append(job)
            expected.append(kernel.expected(x))
            np.testing.assert_array_equal(run(kernel.module(), x), expected[-1])
    return jobs, expected, config


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "coded" else pytest.mark.slow) for n in MACHINES]
)
def test_results_are_the_formulas(name: str, tmp_path: Path):
    machine = MACHINES[name]
    jobs, expected, config = jobs_of(machine, tmp_path)
    assert config.features_together == machine.features_together
    for stalls in (0.0, 0.4):
        traces = simulator(config).trace(jobs, stalls=stalls, seed=3)
        for trace, y in zip(traces, expected, strict=True):
            np.testing.assert_array_equal(trace.y, y)


def test_beats_have_features_one_after_another():
    job = Job(None, np.arange(10, dtype=np.int8).reshape(2, 5), 1)
    assert job.beats(2, 2).tolist() == [[0, 5, 1, 6], [2, 7, 3, 8], [4, 9, 0, 0]]
    assert job.beats(1, 4).tolist() == [[0, 1, 2, 3], [4, 0, 0, 0], [5, 6, 7, 8], [9, 0, 0, 0]]
    np.testing.assert_array_equal(job.beats(2, 1), job.beats(2))


def test_activations_come_in_fewer_cycles(tmp_path: Path):
    """As many fewer as features come together; and so it is predicted."""
    found: list[int] = []
    for together in (1, 4):
        machine = replace(CODED, features_together=together)
        kernel = NarrowKernel.random(5, 60, 3, 0.1, most=7)
        config, (stage,) = on_one_array([kernel], machine, tmp_path)
        program = stage.program
        assert isinstance(program, ProgramOp)
        work = KernelWork(60, 3, program.longest)
        totals: list[int] = []
        for tiles in (4, 14):
            ((job,),) = stage.jobs(inputs(tiles, 60))
            (trace,) = simulator(config).trace([job], memory=IDEAL)
            totals.append(trace.cycles.total)
        found.append((totals[1] - totals[0]) // 10)
        assert tile_cycles_of([work], config, IDEAL).total == pytest.approx(found[-1], abs=8)
    assert found[0] - found[1] == pytest.approx(45, abs=2)


def test_results_leave_in_fewer_cycles(tmp_path: Path):
    """As many fewer as results leave together, before there are the activations of another job."""
    found, predicted = list[int](), list[float]()
    for together in (1, 4):
        machine = replace(
            CODED, features_together=together, program_bits=256, memory_bits=512, stream_depth=64
        )
        kernel = NarrowKernel.random(5, 40, 60, 0.3, most=7)
        config, (stage,) = on_one_array([kernel], machine, tmp_path)
        program = stage.program
        assert isinstance(program, ProgramOp)
        ((job,),) = stage.jobs(inputs(1, 40))
        traces = simulator(config).trace([job] * 3, memory=IDEAL, in_turn=True)
        found.append(traces[1].cycles.total)
        work = KernelWork(40, 60, program.longest)
        turns = Turns(config, IDEAL)
        turns.take(work)
        predicted.append(turns.take(work, 60).total)
    assert found[0] - found[1] == pytest.approx(45 + 30, abs=3)
    assert predicted[0] - predicted[1] == 45 + 30


@pytest.mark.parametrize("outputs", [8, 9, 10, 11])
def test_the_last_beat_has_zeros_behind_the_results(
    outputs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    kernel = NarrowKernel.random(7, 12, outputs, 0.6, most=15)
    config, (stage,) = on_one_array([kernel], MACHINES["coded"], tmp_path)
    x = inputs(3, 12)
    ((job,),) = stage.jobs(x)
    seen: list[NDArray[np.int8]] = []

    def from_rows(
        self: Job, rows: NDArray[np.int8], lanes: int, together: int
    ) -> NDArray[np.integer]:
        seen.append(rows)
        return read(self, rows, lanes, together)

    read = Job.from_rows
    monkeypatch.setattr(Job, "from_rows", from_rows)
    (trace,) = simulator(config).trace([job], stalls=0.3)
    np.testing.assert_array_equal(trace.y, kernel.expected(x))
    filled = np.zeros((3, -(-outputs // 4) * 4), np.int8)
    filled[:, :outputs] = kernel.expected(x)
    np.testing.assert_array_equal(seen[0], filled.reshape(-1))


def test_a_kernel_of_as_many_features_as_fit(tmp_path: Path):
    """All rows but the last one; one more does not fit."""
    machine = replace(MACHINES["coded"], activation_depth=32)
    assert machine.most_features == 28
    kernel = NarrowKernel.random(5, 28, 3, 0.5, most=7)
    config, (stage,) = on_one_array([kernel], machine, tmp_path)
    assert config.activation_depth == 32
    x = inputs(2, 28)
    ((job,),) = stage.jobs(x)
    (trace,) = simulator(config).trace([job])
    np.testing.assert_array_equal(trace.y, kernel.expected(x))
    assert isinstance(stage.program, ProgramOp)
    words = np.frombuffer(encode(stage.program), "<u4").copy()
    (place,) = np.flatnonzero(words[:12] == 28)
    words[place] = 29
    words[4] = 0
    with pytest.raises(SimulationError, match="refused the program"):
        simulator(config).run([replace(job, image=words.tobytes())])
    with pytest.raises(Exception, match="29 features"):
        on_one_array([NarrowKernel.random(5, 29, 3, 0.5)], machine, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features_together": 3}, "features_together must be one of"),
        ({"lanes": 16, "post_lanes": 16}, "are for 8 lanes or fewer, not 16"),
        ({"families": ("multiply",), "stream_code": "plain"}, "ordered_sum elements, not multiply"),
        ({"queue": True}, "without a queue, residuals and operands"),
        ({"activation_depth": 4}, "need activation_depth = 8 or more"),
        ({"result_depth": 4}, "need result_depth = 8 or more"),
    ],
)
def test_machines_that_cannot_be_are_named(changes: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        replace(MACHINES["coded"], **changes)  # type: ignore[arg-type]


@pytest.mark.slow
def test_rtl_is_clean_for_verilator_and_yosys(tmp_path: Path):
    for number, machine in enumerate(MACHINES.values()):
        _, _, config = jobs_of(machine, tmp_path)
        for top, build in ((TOP, build_array), (SYSTEM, build_system)):
            folder = tmp_path / f"{number}{top}"
            folder.mkdir()
            lint(emit_verilog(circuit_module(build(config))), top, folder)
