# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A plan: engines for a device, what they take of it, and how fast they are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.device import LABELS, Device, Needs
from daqkf.hw_targets.machine import RAM_CHOICES
from daqkf.hw_targets.memory import Channels

if TYPE_CHECKING:
    from rich.table import Table

CAUSES: Mapping[str, str] = {
    "lanes": "lanes",
    "post": "post unit",
    "memory": "memory bandwidth",
    "rows": "row unit",
    "moving": "rows that move, and latency",
    "loading": "loading programs",
}
"""What the cycles of a pass can be for, and what it is called."""


_MEMORIES = {"block": "block RAM", "ultra": "UltraRAM", "distributed": "LUTs"}
"""What memories of each style are called."""


@dataclass(frozen=True)
class Pace:
    """How fast engines take tokens through all programs."""

    tokens: int
    """In flight."""
    cycles: float
    """In which these tokens pass through all programs."""
    causes: Mapping[str, float]
    """Cycles by what they are for; see `CAUSES`."""
    traffic: float
    """Bytes that come and go meanwhile: programs, streams, activations and results of all
    engines."""

    @property
    def binds(self) -> str:
        """What most cycles are for."""
        return max(CAUSES, key=lambda name: self.causes[name])


@dataclass(frozen=True)
class Plan:
    """The best engines that were found."""

    device: Device
    memory: Channels
    clock: float
    """Of the engines, in Hz."""
    use: float
    """The share of each resource that may be taken."""
    objective: str
    config: ArrayConfig
    """Of an engine."""
    engines: int
    """How many there are side by side, each with tokens of its own."""
    engines_by_memory: Mapping[str, int]
    """How many of them have their activations in memory of each of `machine.RAM_STYLES`."""
    needs: Needs
    """Of all engines."""
    pace: Pace
    """With all wanted tokens in flight."""
    alone: Pace
    """With one tile in one engine."""
    products: int
    """Of a token, zeros included."""
    words: int
    """Of a tile, for all elements together."""

    @property
    def shares(self) -> dict[str, float]:
        """What is taken of each resource and of the memory's bandwidth, 1 being all of it."""
        seconds = self.pace.cycles / self.clock
        bandwidth = self.pace.traffic / seconds / self.memory.bandwidth
        return {**self.device.shares(self.needs), "bandwidth": bandwidth}

    @property
    def tokens_per_second(self) -> float:
        """With all wanted tokens in flight."""
        return self.pace.tokens * self.clock / self.pace.cycles

    @property
    def latency(self) -> float:
        """Seconds in which the tokens in flight pass through all programs."""
        return self.pace.cycles / self.clock

    @property
    def fills(self) -> str:
        """The resource of which most is taken."""
        shares = self.device.shares(self.needs)
        return max(shares, key=lambda name: shares[name])

    @property
    def peak(self) -> float:
        """Dense products a second if no lane ever waited: what words do at most."""
        lanes = self.engines * self.config.pes * self.config.lanes
        return self.products / self.words * lanes * self.clock

    @property
    def rate(self) -> float:
        """Dense products a second, zeros included, as planned."""
        return self.products * self.tokens_per_second

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        causes = {name: cycles / self.pace.cycles for name, cycles in self.pace.causes.items()}
        return {
            "device": self.device.name,
            "memory": self.memory.name,
            "clock_mhz": self.clock / 1e6,
            "use": self.use,
            "objective": self.objective,
            "engines": self.engines,
            "engines_by_memory": dict(self.engines_by_memory),
            "engine": asdict(self.config),
            "tokens": self.pace.tokens,
            "tokens_per_second": self.tokens_per_second,
            "latency_s": self.latency,
            "latency_alone_s": self.alone.cycles / self.clock,
            "products_per_second": self.rate,
            "peak_products_per_second": self.peak,
            "bytes_per_pass": self.pace.traffic,
            "needs": asdict(self.needs),
            "shares": self.shares,
            "binds": self.pace.binds,
            "cycles": causes,
            "fills": self.fills,
        }

    @property
    def _activations(self) -> str:
        names = {style: _MEMORIES[style] for style in self.engines_by_memory}
        if len(names) == 1:
            return next(iter(names.values()))
        return ", ".join(
            f"{name} of {self.engines_by_memory[style]} engines" for style, name in names.items()
        )

    def tables(self) -> "list[Table]":
        """The engine and its speed, and what it takes of the device."""
        from rich.table import Table

        config, pace = self.config, self.pace
        first = Table(title=self.device.description, title_justify="left")
        first.add_column("engines")
        first.add_column(f"{self.engines} of {config.pes} PEs × {config.lanes} lanes")
        streams = f"on chip, {config.stream_depth:,} words"
        if config.memory_bits:
            ports = f"{config.memory_ports} port{'s' if config.memory_ports > 1 else ''}"
            streams = f"{self.memory.name} by {ports} of {config.memory_bits} bits"
        waits = pace.causes[pace.binds] / pace.cycles
        share = self.shares[self.fills]
        for name, value in (
            ("words", f"{config.items} items; {_units(config)}"),
            ("programs", f"{config.program_bits} bits a cycle"),
            ("streams", streams),
            ("activations", f"{config.activation_depth:,} rows in {self._activations}"),
            ("in LUTs", _in_luts(config)),
            (f"tokens/s at {self.clock / 1e6:g} MHz", f"{self.tokens_per_second:,.0f}"),
            (f"latency of {pace.tokens} tokens", _seconds(self.latency)),
            (f"of {self.alone.tokens} alone", _seconds(self.alone.cycles / self.clock)),
            ("most time is for", f"{CAUSES[pace.binds]} ({waits:.0%})"),
            ("most taken", f"{LABELS[self.fills]} ({share:.0%})"),
        ):
            first.add_row(name, value)
        second = Table()
        second.add_column("resource")
        for heading in ("taken", "of", "share"):
            second.add_column(heading, justify="right")
        for name, label in LABELS.items():
            has, takes = getattr(self.device, name), getattr(self.needs, name)
            half = name == "block_rams_18k" and self.device.fabric == "xcup"
            unit = 2 if half else 1
            label = f"{label} (RAMB36)" if half else label
            part = f"{takes / has:.1%}" if has else ""
            second.add_row(label, _number(takes / unit), _number(has / unit), part)
        gigabytes = self.memory.bandwidth / 1e9
        bandwidth = self.shares["bandwidth"]
        second.add_row(
            f"GB/s of {self.memory.name}",
            f"{bandwidth * gigabytes:,.1f}",
            f"{gigabytes:,.1f}",
            f"{bandwidth:.1%}",
        )
        return [first, second]


def _units(config: ArrayConfig) -> str:
    solvers = f", {config.row_solvers} solvers" if config.normalizes else ""
    multiplier = " with DSPs" if config.post_multiplier == "dsp" else ""
    return f"post unit of {config.post_lanes} lanes{multiplier}{solvers}"


def _in_luts(config: ArrayConfig) -> str:
    names = [name for name in RAM_CHOICES if getattr(config, name) == "distributed"]
    return ", ".join(name.removesuffix("_memory") for name in names) or "no memory"


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _seconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.2f} ms" if seconds >= 1e-3 else f"{1e6 * seconds:,.1f} µs"
