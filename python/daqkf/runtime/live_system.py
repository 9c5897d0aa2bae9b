# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A simulated system that goes on running, for hosts that decide what to do while it does."""

import os
import socket
import subprocess
import tempfile
from types import TracebackType

from daqkf.runtime.simulator import SimulationError
from daqkf.runtime.system import SimulatedSystem

_CHUNK = 1 << 16
_ANSWER = 64
"""Bytes that the line of an answer fits in."""


class LiveSystem:
    """A simulation of a system with memory, which stands still while nobody asks for something.

    Args:
        system: what is simulated, as slow as it is now.
        size: bytes of memory from the system's base on.
        pace: cycles that pass before a register is read, so that a host that polls gets on.
        patience: seconds after which an answer does not come any more.

    Raises:
        SimulationError: of all methods: the simulation has ended, because the protocol was broken
            or a register or memory is not there, or it does not answer.
    """

    def __init__(self, system: SimulatedSystem, size: int, pace: int = 500, patience: float = 60.0):
        self.base, self.size, self.pace = system.base, size, pace
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._socket, other = socket.socketpair()
        self._socket.settimeout(patience)
        self._buffer = b""
        with other, tempfile.NamedTemporaryFile(prefix="daqkf-") as content:
            content.truncate(size)
            self._process = subprocess.Popen(
                [*system.command(), "-", content.name, "-"],
                stdin=other.fileno(),
                stdout=other.fileno(),
                stderr=self._errors,
                env=os.environ,
            )
            # The first answer says that the content has been read.
            try:
                self.until(0)
            except BaseException:
                self.close()
                raise

    def fileno(self) -> int:
        """The descriptor of the socket that the simulation listens to, for a host of its own.

        It waits for answers for ever from then on.
        """
        self._socket.setblocking(True)
        return self._socket.fileno()

    def close(self) -> None:
        """End the simulation."""
        self._socket.close()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> "LiveSystem":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def tell(self, step: str, data: bytes = b"") -> None:
        """Have a step done that has no answer; see `system_harness.cpp`."""
        try:
            self._socket.sendall(f"{step}\n".encode() + data)
        except OSError:
            raise self._failure() from None

    def read(self, offset: int) -> int:
        """The word of a register."""
        if self.pace:
            self.tell(f"wait {self.pace:x}")
        self.tell(f"read {offset:x}")
        return int(self._line(), 16)

    def write(self, offset: int, word: int) -> None:
        """Write a register."""
        self.tell(f"write {offset:x} {word:x}")

    def until(self, cycles: int) -> bool:
        """Let cycles pass until an interrupt is there; whether it is."""
        self.tell(f"until {cycles:x}")
        return self._line() == b"1"

    def load(self, address: int, count: int) -> bytes:
        """What memory holds."""
        self.tell(f"load {address:x} {count:x}")
        return self._take(count)

    def store(self, address: int, data: bytes) -> None:
        """Write memory."""
        self.tell(f"store {address:x} {len(data):x}", data)

    def _line(self) -> bytes:
        while b"\n" not in self._buffer and len(self._buffer) < _ANSWER:
            self._receive()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._receive()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            raise self._failure()
        self._buffer += data

    def _failure(self) -> SimulationError:
        if self._process.poll() is None and self._socket.fileno() >= 0:
            try:
                self._process.wait(1)
            except subprocess.TimeoutExpired:
                return SimulationError("the simulation does not answer")
        if self._errors.closed:
            return SimulationError("the simulation was ended")
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return SimulationError(lines[-1] if lines else "the simulation has ended")
