# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Boards whose registers and memory Linux maps: over UIO with u-dma-buf, or over /dev/mem."""

import mmap
import os
import select
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

import numpy as np
from numpy.typing import NDArray

from daqkf.drivers.bus import BoardError
from daqkf.drivers.owner import lock_file
from daqkf.lowering.rtl.registers import ADDRESS_BITS, REGISTER_BYTES

MEM = Path("/dev/mem")
FACTS = (Path("/sys/class/u-dma-buf"), Path("/sys/class/udmabuf"))
"""Where the kernel tells of u-dma-buf devices, in new and in old versions."""
POLL = 200e-6
"""Seconds between two looks at the queue, without interrupts."""


@dataclass
class MappedBus:
    """Registers in a file that is mapped, and memory in another one.

    Args:
        device: /dev/uioN, or /dev/mem for registers at an address.
        memory: /dev/udmabufN, or /dev/mem for memory that Linux does not use.
        registers: that address; of a UIO device, where registers begin in its map.
        address: of the first byte of memory, as the device sees it; None asks u-dma-buf.
        room: bytes of memory; None asks u-dma-buf.
        interrupts: wait for interrupts with the device's file.
    """

    device: Path
    memory: Path
    registers: int = 0
    address: int | None = None
    room: int | None = None
    interrupts: bool = True
    base: int = 0
    size: int = 0
    _words: NDArray[np.uint32] = field(
        default_factory=lambda: np.zeros(0, np.uint32), init=False, repr=False, compare=False
    )
    _content: NDArray[np.uint8] = field(
        default_factory=lambda: np.zeros(0, np.uint8), init=False, repr=False, compare=False
    )
    _file: int = -1
    _opened: ExitStack = field(default_factory=ExitStack, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The device's file."""
        return str(self.device)

    def open(self) -> None:
        """Lock the device's file, and map registers and memory.

        Raises:
            BoardError: a file cannot be opened or is too small, or another process has the device.
        """
        self.close()
        with ExitStack() as opened:
            # Who has /dev/mem need not have the same device.
            own = self.device != MEM
            if own:
                # Maps keep their file, and a lock would stay with it: so it has one of its own.
                opened.callback(os.close, lock_file(self.device, self.name))
            self._file = self._open(opened, self.device)
            words = self._map(self.device, self._file, self.registers, 1 << ADDRESS_BITS)
            self._words = words.view(np.uint32)
            is_mem = self.memory == MEM
            self.base = self._fact("phys_addr", self.address)
            self.size = self._fact("size", self.room)
            file = self._open(opened, self.memory)
            place = self.base if is_mem else 0
            self._content = self._map(self.memory, file, place, self.size)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Unmap everything, and let go of the device."""
        self._words, self._content = np.zeros(0, np.uint32), np.zeros(0, np.uint8)
        self._opened.close()
        self._opened, self._file = ExitStack(), -1

    def read(self, offset: int) -> int:
        """The word of a register, in one access of 32 bits."""
        return int(self._words[offset // REGISTER_BYTES])

    def write(self, offset: int, word: int) -> None:
        """Write a register, in one access of 32 bits."""
        self._words[offset // REGISTER_BYTES] = word

    def load(self, address: int, count: int) -> bytes:
        """What memory holds. With whole blocks of 64 bytes no access is unaligned, which memory
        that is not cached need not take."""
        place = address - self.base
        return self._content[place : place + count].tobytes()

    def store(self, address: int, data: bytes) -> None:
        """Write memory."""
        place = address - self.base
        self._content[place : place + len(data)] = np.frombuffer(data, np.uint8)

    def wait(self, seconds: float) -> bool:
        """Wait for an interrupt by the device's file, or sleep for a moment."""
        if not self.interrupts:
            time.sleep(min(seconds, POLL))
            return False
        try:
            # A word allows the next interrupt, and another one counts those that came.
            os.write(self._file, (1).to_bytes(4, "little"))
            if not select.select([self._file], [], [], seconds)[0]:
                return False
            return len(os.read(self._file, 4)) == 4
        except OSError:
            time.sleep(min(seconds, POLL))
            return False

    def _open(self, opened: ExitStack, path: Path) -> int:
        try:
            file = os.open(path, os.O_RDWR | os.O_SYNC | os.O_CLOEXEC)
        except OSError as error:
            raise BoardError(f"{path}: {error.strerror}") from None
        opened.callback(os.close, file)
        return file

    def _map(self, path: Path, file: int, place: int, size: int) -> NDArray[np.uint8]:
        """Bytes of a file, from a place on that need not be that of a page.

        They are unmapped when nobody has the array any more.
        """
        within = place % mmap.PAGESIZE
        state = os.fstat(file)
        if S_ISREG(state.st_mode) and state.st_size < place + size:
            raise BoardError(f"{path}: it has {state.st_size:,} bytes, not {place + size:,}")
        try:
            mapped = mmap.mmap(file, size + within, offset=place - within)
        except (OSError, ValueError, OverflowError) as error:
            raise BoardError(f"{path}: {size:,} bytes cannot be mapped: {error}") from None
        return np.frombuffer(mapped, np.uint8, size, within)

    def _fact(self, name: str, given: int | None) -> int:
        """What is given, or what the kernel tells of a u-dma-buf device."""
        if given is not None:
            return given
        if self.memory == MEM:
            raise BoardError(f"{self.name}: say where memory is, with address= and size=")
        for folder in FACTS:
            path = folder / self.memory.name / name
            try:
                return int(path.read_text(), 0)
            except OSError:
                continue
            except ValueError:
                raise BoardError(f"{path}: it has no number") from None
        raise BoardError(
            f"{self.memory}: the kernel knows no such u-dma-buf device; say where memory is, with "
            "address= and size="
        )
