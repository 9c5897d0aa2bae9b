# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a package is, and how it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from daqkf.compiler.folder import others, write_folder
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.device import LABELS, load_device
from daqkf.hw_targets.engine import UnknownEngineError, engine_needs
from daqkf.support.errors import DaqkfError

MANIFEST = "package.json"


@dataclass(frozen=True)
class Package:
    """The files of a package."""

    purpose: str
    """What it is for; see `PURPOSES`."""
    what: str
    """What it is for, in words: a board, or a tool."""
    files: Mapping[str, bytes]
    """By the name in the folder."""
    usage: str
    """What to do with it, in a line."""
    notes: tuple[str, ...] = ()
    """What is to be said of it, a line each."""

    def write(self, folder: Path) -> None:
        """Write the package to a folder. What an earlier one has left there is replaced.

        Raises:
            DaqkfError: the folder has files that are of others, or were changed.
            OSError: a file cannot be written.
        """
        found = others(folder, MANIFEST, self.files)
        if found:
            raise DaqkfError(
                f"{folder / found[0]}: it is there, and no package has left it as it is; "
                "give another folder with -o"
            )
        write_folder(folder, MANIFEST, {"purpose": self.purpose, "for": self.what}, self.files)


def check_clock(clock: float | None, known: Sequence[float], where: str) -> None:
    """Check that a board can make a clock.

    Args:
        clock: in MHz; None for the board's own.
        known: the slowest and the fastest one.
        where: the board, in words.

    Raises:
        DaqkfError: it cannot.
    """
    slowest, fastest = known
    if clock is not None and not slowest <= clock <= fastest:
        raise DaqkfError(
            f"{where} makes clocks of {slowest:g} to {fastest:g} MHz for the array, not {clock:g}"
        )


def fit_note(config: ArrayConfig, device: str, where: str) -> str:
    """Check that an array fits on a device; what cannot be checked is said in the line returned.

    Raises:
        DaqkfError: it does not fit.
    """
    found = load_device(device)
    try:
        # The queue itself is not known, and is small.
        needs = engine_needs(replace(config, queue=False), found.fabric)
    except UnknownEngineError as error:
        return f"whether it fits on {where} is not known: {error}"
    shares = found.shares(needs)
    name = max(shares, key=shares.__getitem__)
    if shares[name] > 1:
        raise DaqkfError(
            f"the array does not fit on {where}: it takes {getattr(needs, name):,} of "
            f"{getattr(found, name):,} {LABELS[name]}"
        )
    return ""
