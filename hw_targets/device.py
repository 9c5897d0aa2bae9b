# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Devices: how much of each resource an FPGA has, one TOML file each."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daqkf.hw_targets.fabric import Counts

_FOLDER = Path(__file__).parent / "devices"

LABELS: Mapping[str, str] = {
    "luts": "LUTs",
    "lut_rams": "LUT RAM",
    "flip_flops": "flip-flops",
    "block_rams_18k": "block RAM",
    "ultra_rams": "UltraRAM",
    "dsps": "DSPs",
}
"""The resources of a device that a circuit takes, and what they are called."""


class UnknownDeviceError(ValueError):
    """No such device."""


@dataclass(frozen=True)
class Needs:
    """What a circuit takes of a device."""

    luts: int
    """Places of LUTs: those that compute and those that store, and on ECP5 also those that
    carries take."""
    flip_flops: int
    block_rams_18k: int
    ultra_rams: int = 0
    dsps: int = 0
    lut_rams: int = 0
    """Those of the LUTs that store, in memories and shift registers. On ECP5 they are not told
    apart."""

    @classmethod
    def of(cls, counts: Counts, family: str) -> "Needs":
        """What counted cells of a family of fabrics take."""
        luts = counts.logic_cells if family == "ecp5" else counts.luts + counts.lut_rams
        memories = counts.block_rams_18k, counts.ultra_rams
        storing = 0 if family == "ecp5" else counts.lut_rams
        return cls(luts, counts.flip_flops, *memories, counts.dsps, storing)

    def __add__(self, other: "Needs") -> "Needs":
        return Needs(**{name: getattr(self, name) + getattr(other, name) for name in LABELS})

    def __mul__(self, number: int) -> "Needs":
        return Needs(**{name: number * getattr(self, name) for name in LABELS})


@dataclass(frozen=True)
class Device:
    """An FPGA."""

    name: str
    description: str
    fabric: str
    """The family of fabrics (`fabric`) whose primitives it has."""
    luts: int
    flip_flops: int
    block_rams_18k: int
    """Block RAMs of 18 kbit: two for each RAMB36."""
    ultra_rams: int
    dsps: int
    memories: tuple[str, ...]
    """External memory that its boards have, `NAMExCHANNELS`; the usual one is the first."""
    lut_rams: int = 0
    """Those of the LUTs that can store; 0 if no engine stores in them."""

    def shares(self, needs: Needs) -> dict[str, float]:
        """What a circuit takes of each resource that there is, 1 being all of it; infinite where
        it takes some of what there is none of."""
        found: dict[str, float] = {}
        for name in LABELS:
            has, takes = getattr(self, name), getattr(needs, name)
            if has:
                found[name] = takes / has
            elif takes:
                found[name] = float("inf")
        return found


def device_names() -> list[str]:
    """The devices that come with DAQKF."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_device(name: str) -> Device:
    """The device of this name.

    Raises:
        UnknownDeviceError: there is none.
    """
    if name not in device_names():
        known = ", ".join(device_names())
        raise UnknownDeviceError(f"unknown device '{name}' (known: {known})")
    data = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    memories = tuple(data.pop("memories"))
    return Device(name=name, memories=memories, **data)
