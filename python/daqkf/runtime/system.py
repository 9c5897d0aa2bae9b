# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Run queues of jobs on the simulated RTL of a whole system, between a host and its memory."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Self

import numpy as np

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.descriptors import QueueError
from daqkf.hw_targets.memory import IDEAL, MemoryTiming
from daqkf.hw_targets.results import Results
from daqkf.hw_targets.status import LoadError
from daqkf.lowering.image.queue_memory import Queue, QueueMemory
from daqkf.lowering.rtl.registers import register
from daqkf.lowering.rtl.system import TOP
from daqkf.passes.files import write_atomically
from daqkf.runtime.accelerators import QueueAccelerator
from daqkf.runtime.simulator import (
    HARNESS,
    Job,
    SimulationError,
    harness_sources,
    longest_silence,
    verilate,
)

SYSTEM_HARNESS = HARNESS.with_name("system_harness.cpp")
EVENTS = ("queue_done", "queue_failed")
"""What a queue interrupts with."""
COUNTERS = ("busy", "y_stalled", "x_stalled", "x_starved", "tiles")
"""Counters of the system that a run reads."""
_PAGE = 4096


@dataclass(frozen=True)
class QueueRun:
    """What the system did from the doorbell of a queue to its interrupt."""

    jobs: int
    tiles: int
    cycles: int
    busy: int
    """Cycles in which the array ran, or was between kernels of a chain."""
    loading: int
    """Rows of activations, each of which the array takes in a cycle."""
    starved: int
    """Cycles in which the array could take a row, and there is none."""
    streams: int
    """Bytes of streams that were read."""
    read: int
    """Bytes of descriptors, programs and activations."""
    written: int
    """Bytes of results."""
    beat: int
    """Bytes of a beat."""

    @property
    def idle(self) -> int:
        """Cycles in which the array neither runs nor takes activations."""
        return self.cycles - self.busy - self.loading

    @property
    def waiting(self) -> int:
        """Those of them in which it could not have taken any: mostly until the first program is
        loaded, as later ones are loaded meanwhile."""
        return self.idle - self.starved

    def share(self, memory: MemoryTiming, channels: int) -> float:
        """The share that was moved of what memory could have given in these cycles."""
        given = channels * memory.beats / memory.cycles
        if memory.interval:
            given *= 1 - memory.pause / memory.interval
        return (self.streams + self.read + self.written) / (self.beat * given * self.cycles)

    def __add__(self, other: "QueueRun") -> "QueueRun":
        mine, theirs = vars(self), vars(other)
        both = {name: mine[name] + theirs[name] for name in mine}
        return QueueRun(**both | {"beat": self.beat})


@dataclass
class SimulatedSystem:
    """`daqkf_system` with a queue in Verilator: a driver's host, and the memory around it."""

    binary: Path
    config: ArrayConfig
    stalls: float = 0.0
    """The share of cycles in which each channel of memory pauses at random."""
    seed: int = 0
    base: int = 0
    """The address of the memory that queues may use."""
    memory: MemoryTiming = IDEAL
    channels: int = 2
    """Channels of memory, which the ports for streams and then the one for data have in turns."""
    runs: list[QueueRun] = field(default_factory=list[QueueRun])
    """Those of all queues so far."""

    @classmethod
    def verilated(cls, files: Mapping[str, str], config: ArrayConfig) -> Self:
        """Build the simulator of a system of these Verilog files.

        Raises:
            SimulationError, ToolNotFoundError: as `simulator.build`.
            ValueError: a system without a queue.
        """
        QueueMemory(config)
        return cls(verilate({**harness_sources(SYSTEM_HARNESS), **files}, TOP), config)

    def play(self, queue: Queue) -> bytes:
        """What the memory of a queue holds when all of its jobs are done, from `queue.base` on.

        Raises:
            SimulationError: the queue stopped with an error, or nothing moved any more.
        """
        *setting, doorbell = (_write(name, word) for name, word in host_writes(queue))
        steps = [*setting, counting(), doorbell, "interrupt", *reading()]
        lines, content = self.simulate(steps, queue.content)
        moved, *words = lines
        cycles, *ports = (int(word) for word in moved.split())
        status, error, *counts = (int(word, 16) for word in words)
        if failure := queue_failure(status, error):
            raise SimulationError(failure)
        found = dict(zip(COUNTERS, counts, strict=True))
        *streams, read, written = ports
        self.runs.append(
            QueueRun(
                jobs=len(queue.jobs),
                tiles=found["tiles"],
                cycles=cycles,
                busy=found["busy"],
                loading=queue.rows,
                starved=found["x_starved"],
                streams=sum(streams),
                read=read,
                written=written,
                beat=self.config.memory_bits // 8,
            )
        )
        return content

    def run(self, jobs: Sequence[Job]) -> list[Results]:
        """Run jobs as one queue; see `Accelerator`.

        Raises:
            SimulationError: as `play`.
        """
        return run_as_queue(self, self.config, jobs)

    def command(self) -> list[str]:
        """The command line of the simulator, without what the host does and what memory holds.

        Raises:
            SimulationError: a share of pauses that is none.
        """
        if not 0 <= self.stalls < 1:
            raise SimulationError(f"stalls must be 0 <= stalls < 1, not {self.stalls}")
        limit = int(longest_silence(self.config) / (1 - self.stalls))
        numbers = [self.seed, round(1000 * self.stalls), limit]
        command = [self.binary, *numbers, self.memory.text(self.channels), self.base]
        return [str(part) for part in command]

    def simulate(self, steps: Sequence[str], content: bytes) -> tuple[list[str], bytes]:
        """What a host of these steps prints, and what memory holds in the end.

        Args:
            steps: lines of a script; see `system_harness.cpp`.
            content: of memory, from `base` on.

        Raises:
            SimulationError: nothing moved any more, or the protocol was broken.
        """
        with tempfile.TemporaryDirectory(prefix="daqkf-") as folder:
            Path(folder, "script").write_text("\n".join([*steps, ""]), encoding="utf-8")
            Path(folder, "content").write_bytes(content + bytes(-len(content) % _PAGE))
            run = subprocess.run(
                [*self.command(), "script", "content", "result"],
                cwd=folder,
                env=os.environ,
                capture_output=True,
                text=True,
                check=False,
            )
            if run.returncode:
                lines = run.stderr.strip().splitlines() or [f"exit code {run.returncode}"]
                raise SimulationError(lines[-1])
            return run.stdout.splitlines(), Path(folder, "result").read_bytes()


def run_as_queue(
    device: QueueAccelerator, config: ArrayConfig, jobs: Sequence[Job]
) -> list[Results]:
    """The results of jobs, which a device runs as one queue.

    Raises:
        ValueError: a job without a program, or an array without a queue.
    """
    memory, places, lanes = QueueMemory(config, device.base), list[int](), config.lanes
    for job in jobs:
        if job.image is None:
            raise ValueError("a job of a queue needs its own program")
        beats, rows = job.beats(lanes), sum(job.tiles(lanes)) * job.rows
        places.append(memory.reserve(rows * lanes))
        activations = memory.store(beats.tobytes())
        memory.add(memory.program(job.image), activations, len(beats), places[-1], rows)
    content = device.play(memory.queue())
    return [
        job.from_rows(np.frombuffer(content, np.int8, offset=place - memory.base), lanes)
        for job, place in zip(jobs, places, strict=True)
    ]


def queue_failure(queue_status: int, status: int) -> str | None:
    """What has stopped a queue, by the words of the registers `queue_status` and `status`."""
    entry = register("queue_status")
    if not (error := entry.field("error").get(queue_status)):
        return None
    reason = register("status").field("error").get(status)
    detail = f" ({_named(LoadError, reason)})" if reason else ""
    job = entry.field("head").get(queue_status)
    return f"the queue stopped in job {job} with error {_named(QueueError, error)}{detail}"


def _named(errors: type[IntEnum], value: int) -> str:
    return errors(value).name.lower() if value in set(errors) else str(value)


def _write(name: str, word: int) -> str:
    return f"write {register(name).address:x} {word:x}"


def host_writes(queue: Queue) -> list[tuple[str, int]]:
    """Registers and words that a host writes to run a queue; the last one rings the doorbell."""
    events, doorbell = register("interrupt_enable"), register("queue_doorbell")
    return [
        ("queue_base_low", queue.descriptors & 0xFFFFFFFF),
        ("queue_base_high", queue.descriptors >> 32),
        ("queue_size", len(queue.jobs)),
        (events.name, sum(events.field(event).mask for event in EVENTS)),
        (doorbell.name, doorbell.field("ring").mask | len(queue.jobs)),
    ]


def counting() -> str:
    """The step that begins to count."""
    control = register("control")
    return _write(control.name, control.field("snapshot").mask | control.field("clear").mask)


def reading() -> list[str]:
    """Steps that read what has become of a queue: its status, the array's, and the counters."""
    control = register("control")
    names = ("queue_status", "status", *(f"{counter}_low" for counter in COUNTERS))
    return [
        _write(control.name, control.field("snapshot").mask),
        *(f"read {register(name).address:x}" for name in names),
    ]


@dataclass
class RecordedQueues:
    """A device whose queues are written to a folder, for a host that has none of this software.

    For each queue there are three files: what memory is to hold, what it holds in the end, and in
    JSON where that is, what is to be written to registers, and the jobs.
    """

    device: QueueAccelerator
    folder: Path
    count: int = 0
    """Queues so far."""

    @property
    def base(self) -> int:
        """That of the device."""
        return self.device.base

    def run(self, jobs: Sequence[Job]) -> list[Results]:
        """Run jobs on the device; they are not recorded."""
        return self.device.run(jobs)

    def play(self, queue: Queue) -> bytes:
        """Run a queue on the device, and write it."""
        content = self.device.play(queue)
        name = f"{self.count:03}"
        facts = {
            "base": queue.base,
            "content": f"{name}.bin",
            "expected": f"{name}-done.bin",
            "writes": [
                {"register": name, "address": register(name).address, "word": word}
                for name, word in host_writes(queue)
            ],
            "jobs": [asdict(job) for job in queue.jobs],
        }
        write_atomically(self.folder / f"{name}.bin", queue.content)
        write_atomically(self.folder / f"{name}-done.bin", content[: len(queue.content)])
        text = json.dumps(facts, indent=2) + "\n"
        write_atomically(self.folder / f"{name}.json", text.encode())
        self.count += 1
        return content
