# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a network's kernels run on: simulated RTL, or whatever takes images and activations."""

import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from daqkf.files import write_atomically
from daqkf.runtime.simulator import Cycles, Job, Simulator


class Accelerator(Protocol):
    """An array, on a board or in a simulator."""

    def run(self, image: bytes, x: NDArray[np.int8], outputs: int) -> NDArray[np.int8]:
        """Load a program image, then int8 activations [T, K] → int8 results [T, N]."""
        ...


@dataclass
class SimulatedArray:
    """The generated RTL in Verilator, which keeps its program from one run to the next."""

    simulator: Simulator
    stalls: float = 0.0
    seed: int = 0
    cycles: dict[bytes, Cycles] = field(default_factory=dict[bytes, Cycles])
    """What all runs of a program took together, by image."""

    def run(self, image: bytes, x: NDArray[np.int8], outputs: int) -> NDArray[np.int8]:
        """See `Accelerator`.

        Raises:
            SimulationError: the array refused the image, stopped, or broke the protocol.
        """
        job = Job(image, x, outputs)
        ((y, cycles),) = self.simulator.run([job], stalls=self.stalls, seed=self.seed)
        self.cycles[image] = self.cycles[image] + cycles if image in self.cycles else cycles
        return y


@dataclass(frozen=True)
class Resumable:
    """Keeps every result in a folder, so that a run that was interrupted goes on from there."""

    accelerator: Accelerator
    folder: Path

    def run(self, image: bytes, x: NDArray[np.int8], outputs: int) -> NDArray[np.int8]:
        """See `Accelerator`; a result that is there already is not computed again."""
        key = hashlib.sha256(image)
        key.update(np.array(x.shape, np.int64).tobytes() + np.ascontiguousarray(x).tobytes())
        path = self.folder / f"{key.hexdigest()[:32]}.npy"
        if path.is_file():
            return np.load(path, allow_pickle=False)
        y = self.accelerator.run(image, x, outputs)
        data = BytesIO()
        np.save(data, y)
        write_atomically(path, data.getvalue())
        return y
