# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a token of a compiled language model takes: cycles in simulated RTL, and the host's part.

All programs of a token run in the simulator one after another, each with the activations that the
model has there, which come when the results of the program before have left. What the host takes
between is not simulated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from daqkf.compiler.compiled_language_model import CompiledLanguageModel
from daqkf.hw_targets.memory import MemoryTiming
from daqkf.hw_targets.results import Results
from daqkf.lowering.frontends.decoder import DecoderConfig
from daqkf.runtime.accelerators import Accelerator
from daqkf.runtime.simulator import Job
from daqkf.support.errors import DaqkfError


@dataclass
class Recorder:
    """An array that remembers what it ran."""

    array: Accelerator
    jobs: list[Job] = field(default_factory=list[Job])
    results: list[Results] = field(default_factory=list[Results])

    def run(self, jobs: Sequence[Job]) -> list[Results]:
        """Run jobs; see `Accelerator`."""
        found = self.array.run(jobs)
        self.jobs += jobs
        self.results += found
        return found


@dataclass(frozen=True)
class Token:
    """What the array does for a token."""

    programs: int
    cycles: int
    """From the first beat of the first program to the last row of the last results."""
    size: int
    """Bytes of all programs and their streams."""

    def per_second(self, clock: float) -> float:
        """Tokens a second at a clock in Hz, if the host takes no time."""
        return clock / self.cycles


def measure(model: CompiledLanguageModel, token: int, memory: MemoryTiming) -> Token:
    """Simulate a token at the beginning of a text: cycles of the array are the same anywhere.

    Each kernel is compared with the fast model, bit for bit.

    Args:
        model: for an array with two banks of programs.
        token: that it reads.
        memory: how external memory behaves at the array's clock.

    Raises:
        DaqkfError: results differ.
        SimulationError, ToolNotFoundError: the simulation failed, or a tool is missing.
    """
    recorder = Recorder(model.simulated)
    model.engine(recorder, check=True).decoder().read([token])
    simulator = model.simulated.simulator
    traces = simulator.trace(recorder.jobs, in_turn=True, memory=memory)
    for trace, before in zip(traces, recorder.results, strict=True):
        if not np.array_equal(trace.y, before):
            raise DaqkfError("programs in turn give other results than one by one")
    return Token(
        len(recorder.jobs),
        sum(trace.cycles.total for trace in traces),
        sum(len(job.image or b"") for job in recorder.jobs),
    )


def multiplications(config: DecoderConfig, before: int) -> dict[str, int]:
    """Multiplications of a token by what they are for, those of matrices first.

    Matrices are the array's, with all weights, zeros too. Everything else is the host's. Divisions
    and exponentials count as one.

    Args:
        config: the architecture.
        before: tokens that it attends to, its own included.
    """
    layers, width, hidden = config.layers, config.width, config.hidden
    queries, keys = config.heads * config.features, config.groups * config.features
    inputs, outputs = 2 * width + queries + hidden, queries + 2 * keys + 2 * width + 2 * hidden
    products = width * (queries + 2 * keys) + queries * width + 3 * width * hidden
    return {
        "matrices": layers * products + width * config.vocabulary,
        "attention": layers * 2 * queries * before,
        "softmax": layers * 2 * config.heads * before,
        "scales of rows": layers * (inputs + outputs) + width + config.vocabulary,
        "gates": layers * 3 * hidden,
        "normalisations": (2 * layers + 1) * 3 * width,
        "rotations": layers * 2 * (queries + keys),
    }
