# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Run an engine inside a whole SoC in Verilator, where firmware has it run a queue."""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from daqkf.boards.jobs import Options, State, with_page
from daqkf.boards.soc import CACHED, TOP, simulated_soc
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.streams import ALIGNMENT
from daqkf.lowering.image.queue_memory import Queue
from daqkf.runtime.simulator import SimulationError, verilate
from daqkf.runtime.system import SimulatedSystem
from daqkf.support.errors import DaqkfError

HARNESS = Path(__file__).with_name("soc_harness.cpp")

_CYCLES = re.compile(r"cycles: (\d+), beats of memory: (\d+)")
_LIMIT = 100_000_000


@dataclass(frozen=True)
class SocRun:
    """What a simulated SoC did with a queue."""

    state: State
    console: str
    cycles: int
    """Of the engine, from the doorbell to the end of the interrupt."""
    beats: int
    """Of the memory, of what the engine's ports read and wrote meanwhile."""

    @property
    def share(self) -> float:
        """The share of the memory's bandwidth, which gives a beat in each cycle at most."""
        return self.beats / self.cycles if self.cycles else 0.0


@dataclass
class SocSystem(SimulatedSystem):
    """A system whose queues also run in a simulated SoC, which has to find the same results."""

    rtl: Mapping[str, str] = field(default_factory=dict[str, str])
    cpu: str = CACHED
    options: Options = Options.NONE
    soc_runs: list[SocRun] = field(default_factory=list[SocRun])

    @classmethod
    def of(cls, rtl: Mapping[str, str], config: ArrayConfig) -> Self:
        """Around a system of these Verilog files.

        Raises:
            DaqkfError: the array has no queue.
            SimulationError, ToolNotFoundError: as `SimulatedSystem.verilated`.
        """
        try:
            system = cls.verilated(rtl, config)
        except ValueError as error:
            raise DaqkfError(str(error)) from None
        system.rtl, system.base = rtl, QUEUES
        return system

    def play(self, queue: Queue) -> bytes:
        """As `SimulatedSystem.play`.

        Raises:
            SimulationError: as there, or the SoC found another result.
        """
        content = super().play(queue)
        memory = with_page(queue, content, self.config, self.options)
        run = run_soc(self.config, self.rtl, memory, cpu=self.cpu)
        self.soc_runs.append(run)
        if run.state is not State.DONE:
            lines = run.console.splitlines() or ["it said nothing"]
            raise SimulationError(f"the SoC: {lines[-1]}")
        return content


MEMORY = 0x4000_0000
"""Where the memory of a SoC with a VexRiscv is."""

QUEUES = MEMORY + ALIGNMENT
"""Where queues begin: behind the page of jobs."""


def run_soc(
    config: ArrayConfig,
    rtl: Mapping[str, str],
    memory: bytes,
    *,
    cpu: str = CACHED,
    limit: int = _LIMIT,
) -> SocRun:
    """Run a SoC whose memory holds these bytes until its firmware ends.

    Args:
        config: of the engine's array.
        rtl: the SystemVerilog of its system, by file name.
        memory: see `jobs.with_page`.
        cpu: LiteX's variant of VexRiscv.
        limit: cycles after which it is given up.

    Raises:
        SimulationError: it cannot be built, or does not end.
        DaqkfError: as `simulated_soc`.
    """
    soc = simulated_soc(config, memory, cpu)
    harness = {HARNESS.name: HARNESS.read_text(encoding="utf-8")}
    binary = verilate({**harness, **soc.verilog, **rtl}, TOP)
    with tempfile.TemporaryDirectory(prefix="daqkf-") as folder:
        for name, text in soc.data.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        run = subprocess.run(
            [str(binary), str(limit)], cwd=folder, capture_output=True, text=True, check=False
        )
    if run.returncode not in list(State):
        raise SimulationError(f"the SoC: {run.stderr.strip() or f'exit code {run.returncode}'}")
    found = _CYCLES.search(run.stdout)
    cycles, beats = map(int, found.groups()) if found else (0, 0)
    return SocRun(State(run.returncode), run.stdout, cycles, beats)
