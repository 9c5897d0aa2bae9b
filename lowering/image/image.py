# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a program image holds: its commands and their rows, once it is read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.image_format import Command

Words = NDArray[np.uint32]


class ProgramImageError(ValueError):
    """A program image that an array would refuse, or would run wrongly."""


@dataclass(frozen=True)
class Section:
    """A command of an image, and what follows it."""

    command: Command
    unit: int
    count: int
    """Its second word: of rows, or of beats that each have several."""
    place: int
    """The word of the image where it stands."""
    rows: Words
    """[rows, words], without what fills up their beats; of KERNEL, N."""
    row_places: NDArray[np.int64] | None = None
    """The words of the image where the rows of streams in external memory begin."""
    beat: int = 1
    """Words of the image's beats."""
    together: int = 1
    """Rows that share one."""

    @property
    def title(self) -> str:
        """What it is, for messages."""
        of = f" of PE {self.unit}" if self.command is Command.STREAM else ""
        return f"{self.command.name}{of}"

    def word(self, row: int) -> int:
        """The word of the image where a row begins."""
        if self.row_places is not None:
            return int(self.row_places[row])
        return self.place + 2 * self.beat + row * self._pitch

    def row(self, word: int) -> int:
        """The row that a word of the image is part of."""
        if self.row_places is not None:
            return max(int(np.searchsorted(self.row_places, word, "right")) - 1, 0)
        return (word - self.place - 2 * self.beat) // self._pitch

    @property
    def _pitch(self) -> int:
        """Words from a row to the next one."""
        each = self.beat // self.together
        return -(-self.rows.shape[1] // each) * each


@dataclass(frozen=True)
class Image:
    """What a program image says, by its commands."""

    features: int
    channels: int
    table: Words
    parameters: Words
    streams: dict[int, Words]
    shift: int
    """What makes a bucket of a count of zeros."""
    dispatch: Words | None
    """The decision table, for an array that has one."""
    chain: Words | None
    """The chain's table, for an array that chains kernels."""
    adds: bool
    """Whether its sums go on from partial ones."""
    keeps: bool
    """Whether its sums stay partial ones."""
    attends: bool
    """Whether its activations are sequences."""
    wide: bool
    """Whether its results are wide."""
    top_k: bool
    """Whether only the largest of its results are given."""
    tiles: int
    """That the program is for, or 0 if that is any number."""
    sections: Sequence[Section]
    """Its commands, in order; behind them, the streams that are in external memory."""
    addresses: Sequence[int] = ()
    """Where the streams of each memory port are, in bytes."""

    def section(self, command: Command, unit: int = 0) -> Section:
        """The section of a command that the image has."""
        return next(
            section
            for section in self.sections
            if section.command == command and (command is Command.DISPATCH or section.unit == unit)
        )


def byte_at(word: int) -> str:
    """Where a word of an image is, for messages."""
    return f"word {word} (byte {4 * word:#x})"
