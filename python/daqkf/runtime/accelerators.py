# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays that run the kernels of a network: simulated RTL, or a board's driver."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from daqkf.passes.files import archive, write_atomically
from daqkf.runtime.simulator import Cycles, Job, Simulator


class Accelerator(Protocol):
    """An array, on a board or in a simulator."""

    def run(self, jobs: Sequence[Job]) -> list[NDArray[np.int8]]:
        """Run jobs one after another, without a reset between them.

        Returns the int8 results [T, N] of each job. A program that keeps its sums has no results,
        so its N is 0.
        """
        ...


@dataclass
class SimulatedArray:
    """The generated RTL in Verilator. With two banks, a program loads while another one runs."""

    simulator: Simulator
    stalls: float = 0.0
    seed: int = 0
    cycles: dict[bytes | None, Cycles] = field(default_factory=dict[bytes | None, Cycles])
    """The cycles of all runs of each program together, by its image."""

    def run(self, jobs: Sequence[Job]) -> list[NDArray[np.int8]]:
        """Run jobs in the simulator; see `Accelerator`.

        Raises:
            SimulationError: the array refused an image, stopped, or broke the protocol.
        """
        overlap = self.simulator.config.double_buffered and all(job.image for job in jobs)
        traces = self.simulator.trace(
            jobs, stalls=self.stalls, seed=self.seed, overlap=overlap and len(jobs) > 1
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

    def run(self, jobs: Sequence[Job]) -> list[NDArray[np.int8]]:
        """Run jobs, see `Accelerator`, and take results that the folder has from there."""
        key = hashlib.sha256()
        for job in jobs:
            key.update(hashlib.sha256(job.image or b"").digest())
            key.update(np.array([*job.x.shape, job.outputs, *job.sequences], np.int64).tobytes())
            key.update(np.ascontiguousarray(job.x).tobytes())
        path = self.folder / f"{key.hexdigest()[:32]}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as arrays:
                return [arrays[f"y{number}"] for number in range(len(jobs))]
        results = self.accelerator.run(jobs)
        write_atomically(path, archive({f"y{number}": y for number, y in enumerate(results)}))
        return results
