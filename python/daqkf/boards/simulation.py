# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Run an engine inside a whole SoC in Verilator: processor, firmware, LiteDRAM, model of an SDRAM."""

import logging
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from daqkf.boards.firmware import compile_firmware
from daqkf.boards.jobs import Options, State, with_page
from daqkf.boards.simulated import SimulatedSoC
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.streams import ALIGNMENT
from daqkf.lowering.image.queue_memory import Queue
from daqkf.runtime.simulator import SimulationError, verilate
from daqkf.runtime.system import SimulatedSystem

HARNESS = Path(__file__).with_name("soc_harness.cpp")
TOP = "daqkf_soc"

_CYCLES = re.compile(r"cycles: (\d+), beats of memory: (\d+)")
_LIMIT = 100_000_000
_TIMED_OUT = 100


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
    cpu: str = "standard"
    options: Options = Options.NONE
    soc_runs: list[SocRun] = field(default_factory=list[SocRun])

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


def soc_base() -> int:
    """Where queues begin in the memory of a SoC: behind the page of jobs."""
    return SimulatedSoC.mem_map["main_ram"] + ALIGNMENT


def run_soc(
    config: ArrayConfig,
    rtl: Mapping[str, str],
    memory: bytes,
    *,
    cpu: str = "standard",
    limit: int = _LIMIT,
) -> SocRun:
    """Run a SoC whose memory holds these bytes until its firmware ends.

    Raises:
        SimulationError: it cannot be built, or does not end within so many cycles.
        DaqkfError: the array has no queue, or its port does not go with the memory.
    """
    logging.getLogger("SoC").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="daqkf-") as name:
        folder = Path(name)
        plain = SimulatedSoC(config, folder, cpu=cpu)
        plain.finalize()
        soc = SimulatedSoC(config, folder, compile_firmware(plain), memory, cpu)
        soc.finalize()
        output = soc.platform.get_verilog(soc, name=TOP)
        text = output.main_source
        for path, content in output.data_files.items():
            (folder / path).write_text(content, encoding="utf-8")
        sources = {
            HARNESS.name: HARNESS.read_text(encoding="utf-8"),
            f"{TOP}.v": text,
            **{Path(p).name: Path(p).read_text(encoding="utf-8") for p, *_ in soc.platform.sources},
            **rtl,
        }
        binary = verilate(sources, TOP)
        run = subprocess.run(
            [str(binary), str(limit)], cwd=folder, capture_output=True, text=True, check=False
        )
    found = _CYCLES.search(run.stdout)
    cycles, beats = map(int, found.groups()) if found else (0, 0)
    if run.returncode not in list(State):
        raise SimulationError(f"the SoC: {run.stderr.strip() or f'exit code {run.returncode}'}")
    return SocRun(State(run.returncode), run.stdout, cycles, beats)
