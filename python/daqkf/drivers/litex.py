# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Boards with a LiteX SoC, behind a UART or Etherbone."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from daqkf.dialects.errors import from_extra
from daqkf.drivers.bus import BoardError, BusError
from daqkf.drivers.owner import lock_file, lock_name
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.support.errors import DaqkfError, describe

ANSWER = 2.0
"""Seconds in which a board has to answer."""
BAUD = 115_200
REGISTERS, MEMORY = "engine", "main_ram"
"""The regions of a SoC's `csr.csv` that are the registers and the memory."""
_WORD = IMAGE_WORD_BITS // 8


@dataclass(frozen=True)
class Places:
    """Where a SoC has what the driver needs.

    Args:
        csr: LiteX's `csr.csv` of the SoC, whose regions `engine` and `main_ram` are the registers
            and the memory; of the memory the upper half.
        registers: the address of the registers on the SoC's bus.
        memory: that of the memory.
        room: bytes of the memory.
        address: what the device calls the memory's first byte, if that is another address.
    """

    csr: Path | None = None
    registers: int | None = None
    memory: int | None = None
    room: int | None = None
    address: int | None = None

    def of(self, name: str, regions: dict[str, Any]) -> tuple[int, int, int]:
        """Registers, memory and its size, from what is given and the regions of a SoC.

        Raises:
            BoardError: something is neither given nor a region.
        """
        registers, memory, size = self.registers, self.memory, self.room
        if registers is None:
            registers = self._region(name, regions, REGISTERS).base
        if memory is None:
            region = self._region(name, regions, MEMORY)
            # The lower half is for programs of the SoC's processor.
            memory = region.base + region.size // 2
            size = region.size // 2 if size is None else size
        if size is None:
            raise BoardError(f"{name}: say how many bytes of memory there are, with size=")
        return registers, memory, size

    def _region(self, name: str, regions: dict[str, Any], region: str) -> Any:
        if region in regions:
            return regions[region]
        if self.csr is not None:
            known = ", ".join(sorted(regions))
            raise BoardError(f"{self.csr}: no memory region '{region}' (known: {known})")
        raise BoardError(
            f"{name}: say where things are: csr=csr.csv of the SoC, or registers=, memory= and "
            "size="
        )


@dataclass
class LitexBus(ABC):
    """The bus of a LiteX SoC, at the other end of some wire."""

    name: str
    places: Places
    answer: float = ANSWER
    """Seconds in which the board has to answer."""
    base: int = 0
    size: int = 0
    _comm: Any = field(default=None, init=False, repr=False, compare=False)
    _registers: int = 0
    _memory: int = 0
    _lock: int = -1

    interrupts: bool = field(default=False, init=False)
    """None comes over the wire."""
    reads: int = 64
    """Words that are read together."""
    writes: int = 64
    """Words that are written together."""

    @abstractmethod
    def _acquire(self) -> int:
        """Lock the wire; a descriptor that is to be closed."""

    @abstractmethod
    def _connect(self, csr: str | None) -> Any:
        """LiteX's object for the wire, opened."""

    def open(self) -> None:
        """Reach the SoC's bus.

        Raises:
            BoardError: the wire or `csr.csv` cannot be opened, or another process has the wire.
        """
        self.close()
        csr = self.places.csr
        if csr is not None and not csr.is_file():
            raise BoardError(f"{csr}: No such file or directory")
        self._lock = self._acquire()
        try:
            self._comm = self._connect(None if csr is None else str(csr))
            regions = self._comm.mems.d if csr is not None else {}
            found = self.places.of(self.name, regions)
            self._registers, self._memory, self.size = found
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise BoardError(f"{self.name}: {_reason(error)}") from None
            if isinstance(error, KeyError | ValueError) and not isinstance(error, DaqkfError):
                raise BoardError(f"{csr or self.name}: {describe(error)}") from None
            raise
        self.base = self._memory if self.places.address is None else self.places.address

    def close(self) -> None:
        """Let go of the wire."""
        comm, self._comm = self._comm, None
        if comm is not None:
            comm.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def read(self, offset: int) -> int:
        """The word of a register."""
        (word,) = self._try(partial(self._comm.read, self._registers + offset, 1))
        return word

    def write(self, offset: int, word: int) -> None:
        """Write a register."""
        self._try(partial(self._comm.write, self._registers + offset, [word]))

    def load(self, address: int, count: int) -> bytes:
        """What memory holds."""
        place, words = self._memory + address - self.base, list[int]()
        while len(words) < count // _WORD:
            number = min(self.reads, count // _WORD - len(words))
            words += self._try(partial(self._comm.read, place + _WORD * len(words), number))
        return np.array(words, "<u4").tobytes()

    def store(self, address: int, data: bytes) -> None:
        """Write memory."""
        place, words = self._memory + address - self.base, np.frombuffer(data, "<u4").tolist()
        for first in range(0, len(words), self.writes):
            part = words[first : first + self.writes]
            self._try(partial(self._comm.write, place + _WORD * first, part))

    def wait(self, seconds: float) -> bool:
        """Sleep for a moment: an interrupt does not come over the wire."""
        time.sleep(min(seconds, 1e-3))
        return False

    def _try(self, access: Callable[[], Any]) -> Any:
        try:
            return access()
        except OSError as error:
            raise BusError(f"{self.name}: the board does not answer: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else describe(error)


@dataclass
class UartBus(LitexBus):
    """A LiteX SoC behind a UART (UARTBone)."""

    port: Path = Path()
    baud: int = BAUD

    def _acquire(self) -> int:
        return lock_file(self.port, self.name)

    def _connect(self, csr: str | None) -> Any:
        return _uart(str(self.port), self.baud, csr, self.answer)


@dataclass
class EtherboneBus(LitexBus):
    """A LiteX SoC behind a server of LiteX (`litex_server`)."""

    host: str = ""
    port: int = 0

    def _acquire(self) -> int:
        return lock_name(f"etherbone:{self.host}:{self.port}")

    def _connect(self, csr: str | None) -> Any:
        return _client(self.host, self.port, csr, self.answer)


def _uart(port: str, baud: int, csr: str | None, answer: float) -> Any:
    """LiteX's end of a UART, which waits no longer than that for an answer."""
    with from_extra("board"):
        from litex.tools.remote.comm_uart import CommUART

    class Uart(CommUART):
        def _read(self, length: int) -> bytes:
            data = self.port.read(length)
            if len(data) < length:
                raise TimeoutError
            return data

    comm = Uart(port, baud, csr_csv=csr)
    comm.port.timeout = comm.port.write_timeout = answer
    return comm


def _client(host: str, port: int, csr: str | None, answer: float) -> Any:
    """A client of LiteX's server, which waits no longer than that for an answer.

    LiteX's own takes zeros for the answer of a board that gives none.
    """
    with from_extra("board"):
        from litex.tools.litex_client import RemoteClient

    import socket

    class Client(RemoteClient):
        def open(self) -> None:
            self.socket = socket.create_connection((self.host, self.port), answer)
            self.binded = True
            self.socket.settimeout(answer)
            self._receive_server_info()

        def receive_packet(self, socket: Any, addr_size: int) -> Any:
            packet = super().receive_packet(socket, addr_size)
            if packet == 0:
                raise TimeoutError
            return packet

    client = Client(host, port, csr_csv=csr)
    if csr is None:
        client.csr_data_width = client.csr_bus_address_width = 32
    client.open()
    return client
