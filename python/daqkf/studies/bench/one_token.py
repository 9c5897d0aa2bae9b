# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How much of an external memory's bandwidth an engine uses that makes one token after another.

Each token takes all weights once, so an engine of one lane is enough, and what counts is that the
memory never idles. A layer's kernel is simulated in RTL behind the model of a memory, tile after
tile of one token.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from daqkf.compiler.executor import HERE
from daqkf.compiler.kernels import programs_of
from daqkf.dialects.rpea import ArrayOp, ProgramOp
from daqkf.dialects.rpea.interpreter import run_kernel
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.memory import MemoryDevice
from daqkf.hw_targets.streams import kernel_beats
from daqkf.lowering.image.encode import encode
from daqkf.runtime.simulator import Job, Simulator
from daqkf.studies.bench.array import generate
from daqkf.studies.bench.device import machines
from daqkf.studies.bench.workload import Workload
from daqkf.support.errors import DaqkfError

_FEW, _MORE = 4, 20
"""Tokens of two runs; their difference is of tokens alone, without the start and the end."""


def machine() -> Machine:
    """Elements of one lane, so many that the memory binds although they wait for the activations of
    each token; their FIFOs fill meanwhile."""
    return replace(
        machines()["ours"],
        pes=16,
        lanes=1,
        post_lanes=1,
        activation_depth=4096,
        result_depth=2048,
        partial_depth=0,
        memory_bits=512,
        memory_ports=2,
        stream_depth=2048,
    )


@dataclass(frozen=True)
class OneToken:
    """An engine of one lane behind a memory."""

    layer: str
    memory: str
    tokens: int
    cycles: float
    """From one token to the next."""
    bytes_per_token: int
    """Of the layer's streams."""
    share: float
    """Of the bandwidth that the memory gives, refreshes taken off."""

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        return asdict(self)


def measure_one_token(
    network: Workload, layer: str, memory: MemoryDevice, clock: float
) -> OneToken:
    """Simulate a layer of a network, whose results are compared with the golden model.

    Raises:
        DaqkfError: there is no such layer, or the results differ.
        SimulationError, ToolNotFoundError: the simulation failed, or a tool is missing.
    """
    functions = {op.sym_name.data: op for op in network.module().ops if isinstance(op, FuncOp)}
    if layer not in functions:
        raise DaqkfError(f"no layer '{layer}' (known: {', '.join(functions)})")
    kernels = {layer: ModuleOp([functions[layer].clone()])}
    arrays = programs_of(kernels, machine(), "device", chains=False, wanted=[], executor=HERE)
    config = next(op for op in arrays.ops if isinstance(op, ArrayOp)).config.data
    program = next(op for op in arrays.ops if isinstance(op, ProgramOp))
    rng, image = np.random.default_rng(0), encode(program)
    simulator = Simulator.verilated(generate(config), config)
    behind = memory_behind(memory, config.memory_ports).timing(clock, config)
    totals: list[int] = []
    for tokens in (_FEW, _MORE):
        x = rng.integers(-128, 128, (tokens, program.features.value.data)).astype(np.int8)
        (trace,) = simulator.trace([Job(image, x, program.channels)], memory=behind)
        if not np.array_equal(trace.y, run_kernel(program, x)):
            raise DaqkfError(f"{layer} computes something else than its golden model")
        totals.append(trace.cycles.total)
    cycles = (totals[1] - totals[0]) / (_MORE - _FEW)
    beats = kernel_beats(config, program.longest) * config.memory_ports
    moved = beats * config.memory_bits // 8
    given = memory.bandwidth * memory.given / clock
    return OneToken(layer, memory.name, _MORE, cycles, moved, moved / cycles / given)


def memory_behind(memory: MemoryDevice, ports: int) -> MemoryDevice:
    """What each of so many ports sees of a channel that they share evenly."""
    return replace(memory, bandwidth=memory.bandwidth / ports)
