# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Simulate what a token has an engine do in a layer, in RTL, behind the model of a memory.

Each kernel waits for the results of the one before, whose program runs while its own is loaded. The
cycles are compared with those of plans (`prediction.Turns`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.executor import HERE
from daqkf.compiler.kernels import programs_of
from daqkf.dialects.rpea import ArrayOp, ProgramOp
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.memory import MemoryTiming
from daqkf.hw_targets.numerics import requantize
from daqkf.hw_targets.prediction import KernelWork, Turns, program_beats
from daqkf.lowering.image.encode import encode, split_image
from daqkf.runtime.simulator import Job, Simulator
from daqkf.studies.bench.array import generate
from daqkf.studies.bench.language import Levels, factors_of, level_function
from daqkf.support.errors import DaqkfError

_ROUNDS = 3
"""Through all kernels; the first one also has the start of the engine, and does not count."""


@dataclass(frozen=True)
class LayerRun:
    """A token in some kernels of a layer."""

    kernels: tuple[str, ...]
    cycles: float
    """For a token."""
    predicted: float
    bytes_per_token: int
    """Of streams and programs."""
    share: float
    """Of what the memory gives, refreshes taken off, that streams take; programs come by another
    way here."""
    bits_per_weight: float

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        return asdict(self)


def simulate_layer(
    kernels: Mapping[str, Levels], engine: ArrayConfig, memory: MemoryTiming
) -> LayerRun:
    """Simulate kernels in order, over and over, and compare their results with exact integers.

    Args:
        kernels: the levels [K, N] of each by name.
        engine: the array, whose sums are wider if kernels need that.
        memory: behind each of its ports.

    Raises:
        DaqkfError: a kernel computes something else, or does not fit.
        SimulationError, ToolNotFoundError: the simulation failed, or a tool is missing.
    """
    machine = Machine(**{each.name: getattr(engine, each.name) for each in fields(Machine)})
    modules = {name: ModuleOp([level_function(name, levels)]) for name, levels in kernels.items()}
    arrays = programs_of(modules, machine, "layer", chains=False, wanted=[engine], executor=HERE)
    config = next(op for op in arrays.ops if isinstance(op, ArrayOp)).config.data
    programs = [op for op in arrays.ops if isinstance(op, ProgramOp)]
    jobs, expected = _jobs(programs, kernels, config)
    simulator = Simulator.verilated(generate(config), config)
    traces = simulator.trace(jobs * _ROUNDS, in_turn=True, memory=memory)
    for trace, wanted in zip(traces, expected * _ROUNDS, strict=True):
        if wanted is not None and not np.array_equal(trace.y, wanted):
            raise DaqkfError("a kernel computes something else than exact integers")
    spent = sum(trace.cycles.total for trace in traces[len(jobs) :])
    images = [split_image(job.image or b"") for job in jobs]
    streams = sum(len(outside) for _, outside in images)
    moved = streams + sum(len(program) for program, _ in images)
    cycles = spent / (_ROUNDS - 1)
    lost = memory.pause / memory.interval if memory.interval else 0
    beat = config.memory_ports * config.memory_bits / 8
    given = beat * memory.beats / memory.cycles * (1 - lost)
    return LayerRun(
        kernels=tuple(kernels),
        cycles=cycles,
        predicted=_predicted(programs, config, memory),
        bytes_per_token=moved,
        share=streams / cycles / given,
        bits_per_weight=8 * moved / sum(levels.size for levels in kernels.values()),
    )


def _jobs(
    programs: Sequence[ProgramOp], kernels: Mapping[str, Levels], config: ArrayConfig
) -> tuple[list[Job], list[NDArray[np.int8] | None]]:
    """A token for each program, and the results of those that have any."""
    rng, left = np.random.default_rng(0), iter(kernels.values())
    jobs: list[Job] = []
    expected: list[NDArray[np.int8] | None] = []
    parts: list[NDArray[np.int8]] = []
    for program in programs:
        shape = config.lanes, program.features.value.data
        parts.append(rng.integers(-128, 128, shape).astype(np.int8))
        jobs.append(Job(encode(program), parts[-1], 0 if program.keeps else program.channels))
        if program.keeps:
            expected.append(None)
            continue
        levels, x = next(left), np.concatenate(parts, axis=1)
        sums = x.astype(np.int64) @ levels.astype(np.int64)
        expected.append(requantize(sums, *factors_of(levels)))
        parts = []
    return jobs, expected


def _predicted(programs: Sequence[ProgramOp], config: ArrayConfig, memory: MemoryTiming) -> float:
    """Cycles for a token in all programs."""
    steps = [
        KernelWork(
            program.features.value.data,
            program.channels,
            program.longest,
            stream_rows=program.memory_rows(config),
        )
        for program in programs
    ]
    loads = [program_beats([step], config) for step in steps]
    turns, total = Turns(config, memory), 0.0
    for number, step in enumerate(steps):
        before = programs[number - 1]
        results = 0 if before.keeps else before.channels
        tile = turns.take(step, results)
        total += max(tile.total, loads[(number + 1) % len(loads)])
    return total
