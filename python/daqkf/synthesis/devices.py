# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ECP5 parts, and the boards that have one, as litex-boards describes them."""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from daqkf.dialects.errors import from_extra
from daqkf.hw_targets import Counts
from daqkf.hw_targets.device import Device, load_device
from daqkf.support.errors import DaqkfError

DIES = {
    # The tools place what a 12F has on the die of a 25F, which it is.
    size: load_device(f"ecp5-{die}k")
    for size, die in {"12": "25", "25": "25", "45": "45", "85": "85"}.items()
}
"""By the number in the name of a part."""

_PART = re.compile(r"LFE5(U|UM|UM5G)-(\d+)F-(\d)(BG|MG)(\d+)[CI]")
_PACKAGES = {"BG": "CABGA", "MG": "CSFBGA"}


@dataclass(frozen=True)
class Part:
    """An ECP5 in its package."""

    name: str
    """As it is ordered, such as LFE5U-85F-6BG381C; 6 is the speed grade."""
    die: Device
    options: tuple[str, ...]
    """By which nextpnr-ecp5 knows it."""

    @classmethod
    def of(cls, name: str) -> "Part":
        """The part of this name.

        Raises:
            DaqkfError: it is none of the ECP5 parts that nextpnr knows.
        """
        found = _PART.fullmatch(name)
        if found is None or found[2] not in DIES:
            raise DaqkfError(f"'{name}' is no ECP5 part that can be placed")
        kind, size, speed, package, balls = found.groups()
        family = {"U": "", "UM": "um-", "UM5G": "um5g-"}[kind]
        options = (
            *(f"--{family}{size}k", "--package", f"{_PACKAGES[package]}{balls}"),
            *("--speed", speed),
        )
        return cls(name, DIES[size], options)

    def shares(self, counts: Counts) -> dict[str, float]:
        """What a circuit takes of it, 1 being all of it."""
        return {
            "logic cells": counts.logic_cells / self.die.luts,
            "flip-flops": counts.flip_flops / self.die.flip_flops,
            "block RAM": counts.block_rams_18k / self.die.block_rams_18k,
            "DSPs": counts.dsps / self.die.dsps,
        }

    def holds(self, counts: Counts) -> bool:
        """Whether the circuit leaves a tenth of the logic and of the memories free.

        Placing and routing need this room.
        """
        return all(
            share <= (1 if what == "DSPs" else 0.9) for what, share in self.shares(counts).items()
        )


PARTS = (Part.of("LFE5U-45F-6BG381C"), Part.of("LFE5U-85F-6BG381C"))
"""Those to choose from, the smallest first, in the slowest speed grade."""


@dataclass(frozen=True)
class Board:
    """A board that can be bought."""

    name: str
    part: Part
    clock_mhz: float
    """Of its oscillator."""


PLATFORMS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "colorlight-i5": ("colorlight_i5", {"board": "i5"}),
    "colorlight-i9": ("colorlight_i5", {"board": "i9", "revision": "7.2"}),
    "ecpix5-45f": ("lambdaconcept_ecpix5", {"device": "45F"}),
    "ecpix5-85f": ("lambdaconcept_ecpix5", {"device": "85F"}),
    "orangecrab-25f": ("gsd_orangecrab", {"device": "25F"}),
    "orangecrab-85f": ("gsd_orangecrab", {"device": "85F"}),
    "ulx3s-12f": ("radiona_ulx3s", {"device": "LFE5U-12F"}),
    "ulx3s-25f": ("radiona_ulx3s", {"device": "LFE5U-25F"}),
    "ulx3s-45f": ("radiona_ulx3s", {"device": "LFE5U-45F"}),
    "ulx3s-85f": ("radiona_ulx3s", {"device": "LFE5U-85F"}),
}
"""For each board the module of `litex_boards.platforms` and of `litex_boards.targets`, and how its
platform and its SoC are made."""

BOARDS = tuple(PLATFORMS)


def load_board(name: str) -> Board:
    """A board by its name, one of `BOARDS`.

    Raises:
        DaqkfError: there is no such board, or litex-boards is not installed.
    """
    if name not in PLATFORMS:
        raise DaqkfError(f"there is no board '{name}': {', '.join(BOARDS)}")
    module, arguments = PLATFORMS[name]
    with from_extra("board"):
        platforms = importlib.import_module("litex_boards.platforms." + module)
    platform = platforms.Platform(**arguments)
    return Board(name, Part.of(platform.device), 1000 / platform.default_clk_period)
