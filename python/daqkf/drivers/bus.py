# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What stands between a driver and a board: registers, memory, and perhaps an interrupt."""

from typing import Protocol

from daqkf.support.errors import DaqkfError


class BoardError(DaqkfError):
    """A board that is absent, is another one, belongs to somebody else, or has failed."""


class BusError(BoardError):
    """A board that does not answer, or whose bus has failed: nobody knows what it does."""


class Bus(Protocol):
    """How a host reaches a board. All methods but `open` and `close` are for open ones.

    `BusError` is raised when there is no answer, and by `open` also `BoardError`.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def base(self) -> int:
        """The address at which the device sees the first byte of its memory, a multiple of 4096."""
        ...

    @property
    def size(self) -> int:
        """Bytes of that memory."""
        ...

    @property
    def interrupts(self) -> bool:
        """Whether `wait` is told by an interrupt; else the device's stay off."""
        ...

    def open(self) -> None:
        """Reach the board, and keep others from it where that can be."""
        ...

    def close(self) -> None:
        """Let go of it; again, or when it is not open, that does nothing."""
        ...

    def read(self, offset: int) -> int:
        """The word of the register at an offset."""
        ...

    def write(self, offset: int, word: int) -> None:
        """Write a register."""
        ...

    def load(self, address: int, count: int) -> bytes:
        """What the device's memory holds. Address and count are multiples of 64."""
        ...

    def store(self, address: int, data: bytes) -> None:
        """Write the device's memory. Address and size are multiples of 64."""
        ...

    def wait(self, seconds: float) -> bool:
        """Let a time pass, or less if an interrupt comes; whether one came.

        A bus without interrupts sleeps for as long as it seems wise, and says that none came.
        """
        ...
