# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A board that is a simulation, for trying out drivers where there is none."""

from dataclasses import dataclass

from daqkf.drivers.bus import BusError
from daqkf.runtime.live_system import LiveSystem
from daqkf.runtime.simulator import SimulationError

CYCLES = 20e6
"""Cycles of the simulation in a second of the host."""


@dataclass
class SimulatedBus:
    """A simulated system as a board."""

    system: LiveSystem
    name: str = "the simulated board"
    interrupts: bool = True

    @property
    def base(self) -> int:
        """Where the system's memory begins."""
        return self.system.base

    @property
    def size(self) -> int:
        """Bytes of that memory."""
        return self.system.size

    def open(self) -> None:
        """The simulation runs already."""

    def close(self) -> None:
        """The simulation goes on; whoever has begun it ends it."""

    def read(self, offset: int) -> int:
        """The word of a register."""
        try:
            return self.system.read(offset)
        except SimulationError as error:
            raise BusError(f"{self.name}: {error}") from None

    def write(self, offset: int, word: int) -> None:
        """Write a register."""
        try:
            self.system.write(offset, word)
        except SimulationError as error:
            raise BusError(f"{self.name}: {error}") from None

    def load(self, address: int, count: int) -> bytes:
        """What memory holds."""
        try:
            return self.system.load(address, count)
        except SimulationError as error:
            raise BusError(f"{self.name}: {error}") from None

    def store(self, address: int, data: bytes) -> None:
        """Write memory."""
        try:
            self.system.store(address, data)
        except SimulationError as error:
            raise BusError(f"{self.name}: {error}") from None

    def wait(self, seconds: float) -> bool:
        """Let the simulation go on, until it interrupts."""
        if not self.interrupts:
            return False
        try:
            return self.system.until(int(CYCLES * seconds))
        except SimulationError as error:
            raise BusError(f"{self.name}: {error}") from None
