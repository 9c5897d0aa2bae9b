# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A small network whose system has a queue, and what tests of drivers do with it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from nn_networks import Builder
from numpy.typing import NDArray

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.network import compile_network
from daqkf.dialects.spaq import LevelSet
from daqkf.drivers.bus import BusError
from daqkf.drivers.simulated import SimulatedBus
from daqkf.lowering.image.queue_memory import Queue
from daqkf.runtime.live_system import LiveSystem

SMALL = """description = "a queue and little memory"

[machine]
pes = 2
lanes = 4
post_lanes = 2
max_shift = 0
activation_depth = 32
stream_depth = 16
parameter_depth = 128
result_depth = 32
partial_depth = 64
items = 4
banks = 2
memory_bits = 64
queue = true
"""
WIDTHS = (12, 32, 32, 9)
TOKENS = 24
SIZE = 1 << 16
"""Bytes of the boards' memory."""
FOLDER = TemporaryDirectory()
"""What has the target, as long as tests run."""
BASE = 0x4000_0000
"""Where the device sees it."""


def inputs() -> dict[str, NDArray[np.float32]]:
    x = np.random.default_rng(5).standard_normal((TOKENS, WIDTHS[0])).astype(np.float32)
    return {"input0": x}


@cache
def network() -> CompiledNetwork:
    """Three layers, which run from one queue of several jobs."""
    rng = np.random.default_rng(6)
    b = Builder((TOKENS, WIDTHS[0]))
    (value,) = b.inputs
    for features, outputs in pairwise(WIDTHS):
        weights = (rng.standard_normal((features, outputs)) / 4).astype(np.float32)
        value = b.layer(value, weights, None, "relu")
    (target := Path(FOLDER.name, "small.toml")).write_text(SMALL)
    found = compile_network(
        b.module(value),
        calibration=inputs(),
        levels=LevelSet.of("uniform", 7),
        target=str(target),
    )
    found.system.base = BASE
    return found


def live(size: int = SIZE, pace: int = 500) -> LiveSystem:
    """A running simulation of the network's system."""
    return LiveSystem(network().system, size, pace)


@cache
def recorded() -> tuple[Queue, bytes]:
    """The queue that the network makes, and what memory holds when it has run."""
    system, found = network().system, list[tuple[Queue, bytes]]()

    class Recorder:
        base = BASE

        def run(self, jobs: object) -> list[NDArray[np.int8]]:
            raise AssertionError("no queue")

        def play(self, queue: Queue) -> bytes:
            found.append((queue, system.play(queue)))
            return found[-1][1]

    network().run(inputs(), accelerator=Recorder())
    ((queue, content),) = found
    return queue, content[: len(queue.content)]


def right(y: dict[str, NDArray[np.float32]]) -> bool:
    """Whether these are the outputs of the fast model."""
    expected = network().run(inputs())
    return all(np.array_equal(y[name], array) for name, array in expected.items())


@dataclass
class Troubled(SimulatedBus):
    """A simulated board with trouble on its bus."""

    accesses: int = 0
    pulled_after: int | None = None
    """The bus fails from this access on."""
    deaf: bool = False
    """Interrupts get lost."""
    at_wait: list[Callable[[], None]] = field(default_factory=list)
    """What happens while the host waits, once each."""
    opened: int = 0

    def _access(self) -> None:
        self.accesses += 1
        if self.pulled_after is not None and self.accesses > self.pulled_after:
            raise BusError(f"{self.name}: nothing answers")

    def open(self) -> None:
        self.opened += 1
        super().open()

    def read(self, offset: int) -> int:
        self._access()
        return super().read(offset)

    def write(self, offset: int, word: int) -> None:
        self._access()
        super().write(offset, word)

    def wait(self, seconds: float) -> bool:
        if self.at_wait:
            self.at_wait.pop(0)()
        came = super().wait(seconds)
        return came and not self.deaf
