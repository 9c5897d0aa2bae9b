# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays that run the kernels of a network: simulated RTL, or a board's driver."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.memory import IDEAL, MemoryTiming, load_channels, load_memory
from daqkf.hw_targets.results import Results
from daqkf.lowering.image.queue_memory import Queue
from daqkf.passes.array_files import archive, load_archive
from daqkf.passes.files import write_atomically
from daqkf.runtime.simulator import Cycles, Job, Simulator
from daqkf.support.errors import DaqkfError

_LOG = logging.getLogger(__name__)


class Accelerator(Protocol):
    """An array, on a board or in a simulator."""

    def run(self, jobs: Sequence[Job]) -> list[Results]:
        """Run jobs one after another, without a reset between them.

        Returns the results [T, N] of each job, int8 or of wide programs int16. A program that keeps
        its sums has no results, so its N is 0.
        """
        ...


@runtime_checkable
class QueueAccelerator(Accelerator, Protocol):
    """An array with a queue in external memory, on a board or in a simulator."""

    @property
    def base(self) -> int:
        """The address from which on memory is its own, a multiple of 4096."""
        ...

    def play(self, queue: Queue) -> bytes:
        """Put a queue's content into memory, ring its doorbell, and wait for its interrupt.

        Returns what memory holds then, from `queue.base` on.
        """
        ...


@runtime_checkable
class Configurable(Protocol):
    """What becomes an accelerator when it is known for which array: a board."""

    def for_array(self, config: ArrayConfig) -> Accelerator:
        """The accelerator, if it is one for this array.

        Raises:
            DaqkfError: it has another circuit, or cannot be reached.
        """
        ...


CLOCK = 250e6
"""The clock of an array in Hz that external memory is held against, unless another one is given."""


def external_memory(name: str | None, clock: float, config: ArrayConfig) -> MemoryTiming:
    """How a memory behaves behind the ports of an array at a clock in Hz; `IDEAL` if it is None.

    Raises:
        DaqkfError: it is not known, the array has no port for it, or the clock is not positive.
    """
    if name is None:
        return IDEAL
    _require_memory(name, clock, config)
    try:
        return load_memory(name).timing(clock, config)
    except ValueError as error:
        raise DaqkfError(str(error)) from None


def system_memory(name: str | None, clock: float, config: ArrayConfig) -> tuple[MemoryTiming, int]:
    """How channels of memory behave that the ports of a system share, and how many there are.

    Without a name, each port has an `IDEAL` one.

    Raises:
        DaqkfError: as `external_memory`.
    """
    ports = config.memory_ports + 1
    if name is None:
        return IDEAL, ports
    _require_memory(name, clock, config)
    try:
        found = load_channels(name)
    except ValueError as error:
        raise DaqkfError(str(error)) from None
    channels = min(found.number, ports)
    return found.device.timing(clock, config, -(-ports // channels)), channels


def _require_memory(name: str, clock: float, config: ArrayConfig) -> None:
    if not config.memory_bits:
        raise DaqkfError(
            f"no external memory '{name}': the streams of this array are in block RAM; compile for "
            "a target with memory_bits, such as 'wide-memory'"
        )
    if not 0 < clock < inf:
        raise DaqkfError(f"clock must be above 0 Hz, not {clock}")


@dataclass
class SimulatedArray:
    """The generated RTL in Verilator. With two banks, a program loads while another one runs."""

    simulator: Simulator
    stalls: float = 0.0
    seed: int = 0
    memory: MemoryTiming = IDEAL
    """How external memory behaves, where streams come from there."""
    cycles: dict[bytes | None, Cycles] = field(default_factory=dict[bytes | None, Cycles])
    """The cycles of all runs of each program together, by its image."""

    def run(self, jobs: Sequence[Job]) -> list[Results]:
        """Run jobs in the simulator; see `Accelerator`.

        Raises:
            SimulationError: the array refused an image, stopped, or broke the protocol.
        """
        overlap = self.simulator.config.double_buffered and all(job.image for job in jobs)
        traces = self.simulator.trace(
            jobs,
            stalls=self.stalls,
            seed=self.seed,
            overlap=overlap and len(jobs) > 1,
            memory=self.memory,
        )
        for job, trace in zip(jobs, traces, strict=True):
            before = self.cycles.get(job.image)
            self.cycles[job.image] = before + trace.cycles if before else trace.cycles
        return [trace.y for trace in traces]


@dataclass(frozen=True)
class Resumable:
    """An array whose results are kept in a folder, so that an interrupted run can be resumed."""

    accelerator: Accelerator
    folder: Path

    def run(self, jobs: Sequence[Job]) -> list[Results]:
        """Run jobs, see `Accelerator`, and take results that the folder has from there.

        Files of results that were damaged are made again, with a note.

        Raises:
            ValueError: a file has whole results of other shapes than those of the jobs.
        """
        key = hashlib.sha256()
        for job in jobs:
            key.update(hashlib.sha256(job.image or b"").digest())
            key.update(np.array([*job.x.shape, job.outputs, *job.sequences], np.int64).tobytes())
            key.update(np.ascontiguousarray(job.x).tobytes())
        path = self.folder / f"{key.hexdigest()[:32]}.npz"
        if path.is_file() and (kept := _kept(path)) is not None:
            for number, (job, y) in enumerate(zip(jobs, kept, strict=False)):
                if y.shape != (len(job.x), job.outputs):
                    raise ValueError(
                        f"{path}: 'y{number}' has the shape {list(y.shape)}, not "
                        f"{[len(job.x), job.outputs]}"
                    )
            if len(kept) != len(jobs):
                raise ValueError(f"{path}: {len(kept)} results for {len(jobs)} jobs")
            return kept
        results = self.accelerator.run(jobs)
        arrays = {f"y{number}": y for number, y in enumerate(results)}
        write_atomically(path, archive(arrays | {_HASH: _hash(results)}))
        return results


_HASH = "sha256"
"""The array of a file of results that has their hash."""


def _hash(results: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    found = hashlib.sha256()
    for y in results:
        found.update(f"{y.dtype.str} {y.shape} ".encode())
        found.update(np.ascontiguousarray(y).tobytes())
    return np.frombuffer(found.digest(), np.uint8)


def _kept(path: Path) -> list[Results] | None:
    """The results that a file has, or none if it was damaged since it was written."""
    try:
        arrays = load_archive(path, "results")
        expected = arrays.pop(_HASH)
        results = [arrays[f"y{number}"] for number in range(len(arrays))]
    except (ValueError, KeyError):
        expected, results = None, []
    if expected is None or expected.tobytes() != _hash(results).tobytes():
        _LOG.warning("%s is damaged, and is made again", path)
        return None
    return results
