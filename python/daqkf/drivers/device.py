# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A board with `daqkf_system` and a queue, whatever bus it is behind."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from daqkf.drivers.bus import BoardError, Bus, BusError
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.descriptors import DESCRIPTOR_BYTES, QueuedJob
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.image_format import IMAGE_MAGIC, IMAGE_VERSION, Header, fingerprint
from daqkf.hw_targets.results import Results
from daqkf.lowering.image.queue_memory import Queue, QueueMemory
from daqkf.lowering.rtl.registers import COUNTERS, MAP_VERSION, REGISTER_BITS, register
from daqkf.runtime.accelerators import QueueAccelerator
from daqkf.runtime.simulator import Job
from daqkf.runtime.system import EVENTS, host_writes, queue_failure, run_as_queue

_ONES = (1 << REGISTER_BITS) - 1
_TRIED = (0x5AA5C33C, 0xA55A3CC3, 0)
"""What is written to `scratch` to try out the bus."""
_SETTLING = 16
"""Reads after a soft reset, in which memory ends what it had been asked for."""
_BLOCK = 4096
"""Bytes that are written to a board whole, or not at all if they are there."""
TIMEOUT = 10.0
"""Seconds in which a job has to end, if nothing else is said."""
NAP = 0.01
"""Seconds after which the queue is looked at even if no interrupt has come."""


@dataclass
class Board:
    """A board, which is an `accelerator` of `CompiledNetwork.run`.

    It is reached when it is used first, and again after its bus has failed. One thread may use it.
    """

    bus: Bus
    timeout: float = TIMEOUT
    """Seconds in which a job has to end."""
    config: ArrayConfig | None = None
    """The array of the programs, which `run` needs to know."""
    interrupts: int = 0
    """Those that have come."""
    stored: int = 0
    """Bytes that have been written to its memory."""
    _held: tuple[int, NDArray[np.uint8]] | None = field(default=None, repr=False)
    """What its memory holds from an address on, as far as that is known."""
    _found: int | None = None
    """The fingerprint of its circuit, if it is open."""

    @property
    def base(self) -> int:
        """The address from which on memory is the queues'."""
        self.open()
        return self.bus.base

    def for_array(self, config: ArrayConfig) -> QueueAccelerator:
        """This board, for programs of an array.

        Raises:
            BoardError: it cannot be reached, or has another circuit; or this array has no queue.
        """
        try:
            QueueMemory(config)
        except ValueError as error:
            raise BoardError(f"{self.bus.name}: {error}") from None
        self.config = config
        self.require(fingerprint(config))
        return self

    def open(self) -> None:
        """Reach the board, and see what it is.

        Raises:
            BoardError: it cannot be reached, or has no system with a queue of this version.
        """
        if self._found is not None:
            return
        self.bus.open()
        try:
            found = self._identify()
            if self.bus.base % _BLOCK:
                raise BoardError(
                    f"{self.bus.name}: memory at {self.bus.base:#x}; it begins at a multiple of "
                    f"{_BLOCK}"
                )
            self._reset()
        except BaseException:
            self.bus.close()
            raise
        self._found, self._held = found, None

    def close(self) -> None:
        """Let go of the board, so that others can have it."""
        self._found = self._held = None
        self.bus.close()

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def require(self, expected: int) -> None:
        """Check that programs with this fingerprint are for the circuit.

        Raises:
            BoardError: they are not.
        """
        self.open()
        if self._found != expected:
            raise BoardError(
                f"{self.bus.name}: its circuit has the fingerprint {self._found:#010x}, and the "
                f"programs are for {expected:#010x}: load the bitstream that was made with them"
            )

    def play(self, queue: Queue) -> bytes:
        """Run a queue; see `QueueAccelerator`.

        Raises:
            BoardError: the board does not have this circuit, its memory is too small, it stopped
                with an error, or did not answer in time. It is then ready for the next queue, or
                is reached anew by it.
        """
        self.open()
        for found in fingerprints(queue):
            self.require(found)
        try:
            self._require_memory(queue)
            self._reset()
            self._store(queue)
            for name, word in host_writes(queue):
                off = name == "interrupt_enable" and not self.bus.interrupts
                self._write(name, 0 if off else word)
            self._wait(queue)
            return self._load(queue)
        except BusError:
            self.close()
            raise
        except BaseException:
            # Also when somebody interrupts: the queue must not go on in the memory of the next one.
            self._held = None
            try:
                self._reset()
            except BusError:
                self.close()
            raise

    def run(self, jobs: Sequence[Job]) -> list[Results]:
        """Run jobs as one queue; see `Accelerator`.

        Raises:
            BoardError: as `play`, or it is not known for which array.
        """
        if self.config is None:
            raise BoardError(f"{self.bus.name}: say for which array, with for_array(config)")
        return run_as_queue(self, self.config, jobs)

    def counters(self, clear: bool = False) -> dict[str, int]:
        """What the board has counted, all of one cycle; `clear` sets it to 0 in that cycle.

        Raises:
            BoardError: the board cannot be reached.
        """
        self.open()
        control, found = register("control"), dict[str, int]()
        strobes = ("snapshot", "clear") if clear else ("snapshot",)
        self._write("control", sum(control.field(name).mask for name in strobes))
        for counter in COUNTERS:
            if counter.variant is None:
                words = [self._read(entry.name) for entry in counter.registers(0)]
                found[counter.name] = sum(
                    word << REGISTER_BITS * index for index, word in enumerate(words)
                )
        return found

    # ---- Registers

    def _read(self, name: str) -> int:
        return self.bus.read(register(name).address)

    def _write(self, name: str, word: int) -> None:
        self.bus.write(register(name).address, word)

    def _identify(self) -> int:
        """The fingerprint of a system that this driver is for."""
        name, version = self.bus.name, register("version")
        found = self._read("id")
        if found != IMAGE_MAGIC:
            raise BoardError(f"{name}: no DAQKF system is there (its first word is {found:#010x})")
        word = self._read("version")
        for field_name, expected in (("map", MAP_VERSION), ("image", IMAGE_VERSION)):
            if (got := version.field(field_name).get(word)) != expected:
                what = "registers" if field_name == "map" else "program images"
                raise BoardError(f"{name}: its {what} have version {got}, not {expected}")
        if not register("capability").field("queue").get(self._read("capability")):
            raise BoardError(
                f"{name}: its system has no queue; compile for a target with queue = true, such "
                "as 'wide-queue'"
            )
        for word in _TRIED:
            self._write("scratch", word)
            if (got := self._read("scratch")) != word:
                raise BusError(f"{name}: a register that was written {word:#x} reads {got:#x}")
        return self._read("fingerprint")

    def _lanes(self) -> int:
        return register("size").field("lanes").get(self._read("size"))

    def _reset(self) -> None:
        """A soft reset, after which no event is left."""
        self._write("control", register("control").field("soft_reset").mask)
        for _ in range(_SETTLING):
            self._read("queue_status")
        self._write("interrupt_status", _ONES)

    # ---- A queue

    def _require_memory(self, queue: Queue) -> None:
        begin, end = queue.base, queue.base + _padded(len(queue.content))
        if begin < self.bus.base or end > self.bus.base + self.bus.size:
            raise BoardError(
                f"{self.bus.name}: the queue needs {end - begin:,} bytes of memory from "
                f"{begin:#x} on, and the board has {self.bus.size:,} from {self.bus.base:#x} on"
            )
        for first, behind in results_of(queue.jobs, self._lanes()):
            if first < begin or behind > end:
                raise BoardError(f"the results at {first:#x} are not in the queue's own memory")

    def _store(self, queue: Queue) -> None:
        """Write the content of a queue, without what memory holds already."""
        content = np.zeros(_padded(len(queue.content)), np.uint8)
        content[: len(queue.content)] = np.frombuffer(queue.content, np.uint8)
        place, known = self._held or (queue.base, content[:0])
        self._held = None
        if place != queue.base:
            known = content[:0]
        common = min(len(known), len(content)) // _BLOCK * _BLOCK
        changed = np.ones(-(-len(content) // _BLOCK), bool)
        differs = content[:common] != known[:common]
        changed[: common // _BLOCK] = differs.reshape(-1, _BLOCK).any(axis=1)
        for first, end in _runs(changed):
            part = content[first * _BLOCK : end * _BLOCK]
            self.bus.store(queue.base + first * _BLOCK, part.tobytes())
            self.stored += len(part)
        self._held = queue.base, np.concatenate([content, known[len(content) :]])

    def _wait(self, queue: Queue) -> None:
        """Wait for the end of a queue: for interrupts if there are any, but never only for them."""
        status, events = register("queue_status"), register("interrupt_status")
        mask = sum(events.field(event).mask for event in EVENTS)
        head, began = 0, time.monotonic()
        while True:
            word = self._read("queue_status")
            if status.field("error").get(word):
                self._require_ours(queue)
                raise BoardError(f"{self.bus.name}: {queue_failure(word, self._read('status'))}")
            done = status.field("head").get(word)
            if done == len(queue.jobs):
                self._write("interrupt_status", mask)
                return
            if not status.field("active").get(word):
                self._require_ours(queue)
                if self._read("queue_status") == word:
                    raise BoardError(f"{self.bus.name}: somebody else has reset the board")
            if done != head:
                head, began = done, time.monotonic()
            elif time.monotonic() - began >= self.timeout:
                self._require_ours(queue)
                raise BoardError(
                    f"{self.bus.name}: job {done} of {len(queue.jobs)} did not end in "
                    f"{self.timeout:g} s"
                )
            if self.bus.wait(NAP):
                # Acknowledged before the next look: what comes later interrupts again.
                self.interrupts += 1
                self._write("interrupt_status", mask)

    def _require_ours(self, queue: Queue) -> None:
        """Check that the board is there, and that nobody has given it another queue."""
        if self._read("id") != IMAGE_MAGIC:
            raise BusError(f"{self.bus.name}: the board is not there any more")
        for name, word in host_writes(queue)[:3]:
            if self._read(name) != word:
                raise BoardError(f"{self.bus.name}: somebody else uses the board")

    def _load(self, queue: Queue) -> bytes:
        """What memory holds when the queue has run: its content, with the results of all jobs."""
        assert self._held is not None
        _, held = self._held
        for first, end in results_of(queue.jobs, self._lanes()):
            data = self.bus.load(first, end - first)
            held[first - queue.base : end - queue.base] = np.frombuffer(data, np.uint8)
        return held[: len(queue.content)].tobytes()


def fingerprints(queue: Queue) -> set[int]:
    """Those in the headers of the program images of a queue.

    Raises:
        BoardError: a program that is none.
    """
    word_bytes, found = IMAGE_WORD_BITS // 8, set[int]()
    for number, job in enumerate(queue.jobs):
        if job.program_words:
            place = job.program - queue.base
            header = np.frombuffer(queue.content[place : place + len(Header) * word_bytes], "<u4")
            if len(header) < len(Header) or header[Header.MAGIC] != IMAGE_MAGIC:
                raise BoardError(f"the queue's job {number} has no program image")
            found.add(int(header[Header.FINGERPRINT]))
    return found


def results_of(jobs: Sequence[QueuedJob], lanes: int) -> list[tuple[int, int]]:
    """Where the results of jobs are: addresses from and to, multiples of 64, in order and apart."""
    found: list[tuple[int, int]] = []
    for job in sorted(jobs, key=lambda job: job.results):
        if not job.result_rows:
            continue
        first, size = job.results, job.result_rows * lanes
        end = first + size + -size % DESCRIPTOR_BYTES
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((first, end))
    return found


def _padded(size: int) -> int:
    """Bytes in whole descriptors, which buses move."""
    return size + -size % DESCRIPTOR_BYTES


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """From where to where flags are set without a gap."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]
