# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the tests of executors run elsewhere: functions that other processes can import."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import override

import numpy as np
from numpy.typing import NDArray
from xdsl.utils.exceptions import DiagnosticException

from daqkf.exploring.sources import LayerSource, Quantised
from daqkf.exploring.space import Point
from daqkf.passes.steps import NOTHING_KEPT, Steps


def product(seed: int) -> NDArray[np.float32]:
    """Whose last bits would show another order of its sums."""
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal((200, 300)).astype(np.float32) for _ in range(2))
    return a @ b.T


def refused(number: int) -> int:
    """Numbers above 2 are refused, the later ones sooner."""
    if number > 2:
        time.sleep((10 - number) / 20)
        raise DiagnosticException(f"{number} is too much\nfor this kernel")
    return number


def broken(number: int) -> int:
    """A bug of ours."""
    raise KeyError(number)


def process(folder: str) -> tuple[int, dict[str, str]]:
    """Who computes, and on how many threads, once two processes do."""
    (Path(folder) / str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while len(list(Path(folder).iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    names = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"
    return os.getpid(), {name: os.environ.get(name, "") for name in names}


def dies_at_first(place: str) -> str:
    """Kills its process, unless that has been done already."""
    number, mark = place.split(" ", 1)
    if number == "3" and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@dataclass(frozen=True)
class DyingLayer(LayerSource):
    """A layer that kills the process which quantises it, unless that has been done already."""

    mark: str = ""

    @override
    def quantised(self, point: Point, steps: Steps = NOTHING_KEPT) -> Quantised:
        if not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().quantised(point, steps)
