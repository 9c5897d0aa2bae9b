# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Boards with PYNQ: an overlay for the circuit, and a buffer for its memory."""

import importlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from daqkf.drivers.bus import BoardError
from daqkf.drivers.owner import lock_name
from daqkf.lowering.rtl.registers import REGISTER_BYTES
from daqkf.lowering.rtl.system import TOP
from daqkf.support.errors import describe

SIZE = 1 << 24
"""Bytes of the buffer, if nothing else is said."""
POLL = 200e-6
"""Seconds between two looks at the queue."""


@dataclass
class PynqBus:
    """An overlay that PYNQ loads, and a buffer that it allocates.

    Args:
        overlay: the bitstream, with what describes it beside it.
        room: bytes of the buffer.
        ip: the name of the system in the overlay; by default, the one that is a `daqkf_system`.
    """

    overlay: Path
    room: int = SIZE
    ip: str | None = None
    interrupts: bool = field(default=False, init=False)
    """Those of PYNQ are for coroutines."""
    base: int = 0
    size: int = 0
    _words: Any = field(default=None, init=False, repr=False, compare=False)
    _buffer: Any = field(default=None, init=False, repr=False, compare=False)
    _lock: int = -1

    @property
    def name(self) -> str:
        """The overlay's file."""
        return str(self.overlay)

    def open(self) -> None:
        """Load the overlay, and allocate the buffer.

        Raises:
            BoardError: this is no board with PYNQ, the overlay cannot be loaded or has no such
                system, memory is too small, or another process has the board.
        """
        self.close()
        pynq = _pynq()
        # There is one circuit on the board, whatever file it comes from.
        self._lock = lock_name("pynq")
        try:
            self._load(pynq)
        except BoardError:
            self.close()
            raise
        except Exception as error:  # PYNQ raises whatever its parsers and drivers do.
            self.close()
            raise BoardError(f"{self.name}: {describe(error)}") from None

    def _load(self, pynq: Any) -> None:
        if not self.overlay.is_file():
            raise BoardError(f"{self.name}: No such file or directory")
        overlay = pynq.Overlay(str(self.overlay))
        found = overlay.ip_dict[self._system(overlay.ip_dict)]
        self._words = pynq.MMIO(found["phys_addr"], found["addr_range"]).array
        try:
            self._buffer = pynq.allocate(shape=(self.room,), dtype=np.uint8)
        except (MemoryError, RuntimeError) as error:
            raise BoardError(
                f"{self.name}: {self.room:,} bytes of memory cannot be allocated "
                f"({describe(error)}); say how many with size="
            ) from None
        self.base, self.size = int(self._buffer.device_address), self.room

    def _system(self, ips: dict[str, Any]) -> str:
        """The name of our system among the IPs of an overlay."""
        if self.ip is not None:
            if self.ip not in ips:
                raise BoardError(f"{self.name}: no IP '{self.ip}' (known: {', '.join(ips)})")
            return self.ip
        names = [name for name, ip in ips.items() if TOP in f"{name} {ip.get('type', '')}"]
        if len(names) != 1:
            many = "several" if names else "no"
            raise BoardError(
                f"{self.name}: {many} {TOP} in the overlay (its IPs: {', '.join(ips)}); say which "
                "with ip="
            )
        return names[0]

    def close(self) -> None:
        """Free the buffer, and let go of the board. The circuit stays."""
        if self._buffer is not None:
            self._buffer.freebuffer()
        self._words = self._buffer = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def read(self, offset: int) -> int:
        """The word of a register."""
        return int(self._words[offset // REGISTER_BYTES])

    def write(self, offset: int, word: int) -> None:
        """Write a register."""
        self._words[offset // REGISTER_BYTES] = np.uint32(word)

    def load(self, address: int, count: int) -> bytes:
        """What memory holds, without what the host's cache holds of it."""
        part = self._part(address, count)
        part.invalidate()
        return np.asarray(part).tobytes()

    def store(self, address: int, data: bytes) -> None:
        """Write memory, beyond the host's cache."""
        part = self._part(address, len(data))
        part[:] = np.frombuffer(data, np.uint8)
        part.flush()

    def _part(self, address: int, count: int) -> Any:
        place = address - self.base
        return self._buffer[place : place + count]

    def wait(self, seconds: float) -> bool:
        """Sleep for a moment."""
        time.sleep(min(seconds, POLL))
        return False


def _pynq() -> Any:
    """PYNQ, which the images of its boards bring."""
    try:
        return importlib.import_module("pynq")
    except ImportError:
        raise BoardError(
            "pynq is missing: it comes with the images of PYNQ's boards, and on Kria with Kria-PYNQ"
        ) from None
