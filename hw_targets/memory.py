# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""External memory: how long it takes, and how much it gives."""

import tomllib
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path

from daqkf.hw_targets.machine import Machine

_FOLDER = Path(__file__).parent / "memories"


@dataclass(frozen=True)
class MemoryTiming:
    """How a channel of the memory behind ports of an array behaves, in cycles of the array."""

    latency: int
    """Cycles from the address of a burst to its first beat."""
    beats: int
    """So many beats come in `cycles` at most, and on each port one a cycle."""
    cycles: int
    interval: int = 0
    """Cycles from one refresh to the next; 0: there is none."""
    pause: int = 0
    """Cycles of a refresh, in which nothing comes."""

    def text(self, channels: int) -> str:
        """What the simulator's harnesses read."""
        numbers = (self.latency, self.beats, self.cycles, self.interval, self.pause)
        return ",".join(map(str, (channels, *numbers)))


IDEAL = MemoryTiming(latency=24, beats=1, cycles=1)
"""A memory that gives a beat in each cycle: what bounds a port, and not what is behind it."""


@dataclass(frozen=True)
class MemoryDevice:
    """A channel of external memory, with its controller."""

    name: str
    description: str
    bandwidth: float
    """Peak, in bytes a second."""
    latency: float
    """From an address at the port to the first data, in seconds."""
    refresh_interval: float
    """From a refresh to the next one (tREFI), in seconds."""
    refresh: float
    """How long one takes (tRFC), in seconds."""

    @property
    def given(self) -> float:
        """The share of the time in which no refresh keeps data from coming."""
        return 1 - self.refresh / self.refresh_interval

    def timing(self, clock: float, machine: Machine, ports: int = 1) -> MemoryTiming:
        """Its behaviour behind so many ports of an array at a clock in Hz.

        A port takes no more than a beat a cycle, however much the channel has.
        """
        beats = Fraction(self.bandwidth / (machine.memory_bits // 8 * clock))
        # A memory that gives hardly anything still gives something.
        share = beats.limit_denominator(256) or Fraction(1, ceil(1 / beats))
        share = min(share, Fraction(ports))
        return MemoryTiming(
            latency=ceil(self.latency * clock),
            beats=share.numerator,
            cycles=share.denominator,
            interval=round(self.refresh_interval * clock),
            pause=ceil(self.refresh * clock),
        )


@dataclass(frozen=True)
class Channels:
    """The external memory of a device: some channels of one kind."""

    device: MemoryDevice
    number: int

    @property
    def name(self) -> str:
        """As in `load_channels`."""
        return self.device.name if self.number == 1 else f"{self.device.name}x{self.number}"

    @property
    def bandwidth(self) -> float:
        """What they give, refreshes taken off, in bytes a second."""
        return self.number * self.device.bandwidth * self.device.given

    def behind(self, ports: int) -> MemoryDevice:
        """What each of so many ports sees of it, if they share the channels evenly."""
        return replace(self.device, bandwidth=self.device.bandwidth * self.number / ports)


def load_channels(text: str) -> Channels:
    """The memory of a name and a number of channels, `ddr4-2400x4`; without a number it is one.

    Raises:
        ValueError: there is no such memory, or no channel.
    """
    name, _, number = text.rpartition("x")
    if not (name and number.isdecimal()):
        name, number = text, "1"
    if not int(number):
        raise ValueError(f"'{text}' has no channels")
    return Channels(load_memory(name), int(number))


def memory_names() -> list[str]:
    """The memories that come with DAQKF."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_memory(name: str) -> MemoryDevice:
    """The memory of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in memory_names():
        raise ValueError(f"unknown memory '{name}' (known: {', '.join(memory_names())})")
    data = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return MemoryDevice(
        name=name,
        description=data["description"],
        bandwidth=data["bandwidth_gb_s"] * 1e9,
        latency=data["latency_ns"] * 1e-9,
        refresh_interval=data["refresh_interval_ns"] * 1e-9,
        refresh=data["refresh_ns"] * 1e-9,
    )
