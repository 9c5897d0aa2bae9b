# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a queue of jobs stands between: a host, a memory, and a model of an array of two banks."""

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
from axi_memory import PAGE, AxiMemory
from networks import MACHINES
from numpy.typing import NDArray
from unit_bench import Bench

from daqkf.hw_targets.config import ArrayConfig, smallest_array
from daqkf.hw_targets.descriptors import DESCRIPTOR_BYTES, JobFlags, QueuedJob
from daqkf.lowering.rtl import queue
from daqkf.lowering.rtl.queue import build_queue

SIZES = {
    # Lanes, bits of the port, bits of a program that come at once.
    "narrow rows": (4, 128, 32),
    "a row a beat": (64, 512, 32),
    "wide rows": (32, 64, 32),
    "narrow port": (2, 64, 32),
    "narrow rows of a wide port": (2, 512, 32),
    "wide programs": (4, 512, 128),
    "widest programs": (4, 512, 256),
    "programs as wide as the port": (4, 64, 64),
    "programs wider than the port": (8, 64, 128),
}
SIZE = 1 << 16
"""Bytes of the memory."""
RING = 5
"""Descriptors of the ring, at the memory's beginning."""


def config_of(name: str) -> ArrayConfig:
    lanes, bits, program_bits = SIZES[name]
    machine = replace(
        MACHINES["P2-T2"],
        lanes=lanes,
        memory_bits=bits,
        program_bits=program_bits,
        stream_depth=16,
        banks=2,
    )
    return smallest_array(machine, 40)


OPEN = ExitStack()
"""The units that tests share."""


@cache
def bench(name: str) -> Bench:
    """The unit, which takes a memory for dead after 512 cycles, so that tests need not wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "WATCHDOG_BITS", 9)
        return OPEN.enter_context(Bench(build_queue(config_of(name))))


@dataclass
class Image:
    """A program of the model: results from the rows of a tile, and what is wrong with it.

    It is so many words and the tiles, which like those of a real one begin with the last beat.
    """

    features: int
    outputs: int
    seed: int
    refused: bool = False
    length: int = 9
    tiles: int = 0

    def words(self, beat: int = 1) -> list[int]:
        """Its words in beats of so many."""
        head = [self.length, self.features, self.outputs, self.seed, int(self.refused)]
        more = self.length - 6 + -(self.length - 1) % beat
        middle = np.random.default_rng(self.seed).integers(1, 1 << 32, more)
        return [*head, *(int(word) for word in middle), self.tiles, *[0] * (beat - 1)]

    @classmethod
    def read(cls, words: Sequence[int], beat: int) -> "Image":
        if len(words) != -(-(words[0] - 1) // beat) * beat + beat:
            return cls(1, 1, 0, refused=True)
        length, features, outputs, seed, refused = words[:5]
        image = cls(features, outputs, seed, bool(refused), length, words[-beat])
        assert image.words(beat) == list(words), "words were lost"
        return image

    def run(self, x: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The results [N, T] of a tile [K, T]."""
        weights = np.random.default_rng(self.seed).integers(0, 256, (self.outputs, len(x)))
        return (weights @ x.astype(np.int64) + self.seed).astype(np.uint8)


@dataclass
class Array:
    """What the queue sees of an array of two banks."""

    lanes: int
    beat: int
    """Words that come at once."""
    rng: np.random.Generator
    stalls: float
    words: list[int] = field(default_factory=list)
    pending: Image | None = None
    """Loaded, but not running."""
    verdict: int = -1
    """Cycles until it is known."""
    running: Image | None = None
    rows: list[int] = field(default_factory=list)
    """Of the tile that is loaded."""
    computes: int = 0
    """Cycles until the results of the tile are there."""
    results: deque[tuple[int, bool]] = field(default_factory=deque)
    tiles: int = 0
    """That have gone through."""
    inputs: dict[str, int] = field(default_factory=dict)
    offering: bool = False
    failed: int = 0
    pace: tuple[int, int] = (1, 30)
    """The least cycles of a tile, and more than the most."""
    idle: int = 0
    """Cycles since there was something to do, until the next row comes."""
    gaps: list[int] = field(default_factory=list)
    """Those before each tile."""
    last_word_waits: int = 0
    """Cycles in which the last word of a program is offered, and not taken."""
    waits: int = 0
    """Those that are left."""

    def offers(self) -> dict[str, int]:
        """The queue's inputs in a cycle."""
        go = [bool(flag) for flag in self.rng.random(3) >= self.stalls]
        closed = self.verdict >= 0 or self.pending is not None
        busy = closed or self.running is None or self.computes or len(self.results) > 40
        self.offering = bool(self.results) and (self.offering or go[2])
        row, last = self.results[0] if self.results else (0, False)
        self.inputs = {
            "prog_tready": int(go[0] and not (closed or self._lets_last_word_wait())),
            "x_tready": int(go[1] and not busy),
            "y_tvalid": int(self.offering),
            "y_tdata": row,
            "y_tlast": int(last),
            "loaded": int(self.verdict == 0 and self.pending is not None),
            "refused": int(self.verdict == 0 and self.pending is None),
            "computes": int(self.computes > 0),
            "failed": self.failed,
        }
        return {f"array_{name}": value for name, value in self.inputs.items()}

    def _lets_last_word_wait(self) -> bool:
        return bool(self.words) and len(self.words) >= self.words[0] - 1 and self.waits > 0

    def takes(self, unit: Mapping[str, int]) -> None:
        """What the queue does in that cycle."""
        offers_last = unit["array_prog_tvalid"] and unit["array_prog_tlast"]
        self.waits = self.waits - 1 if offers_last else self.last_word_waits
        if self.verdict >= 0:
            self.verdict -= 1
        elif self.pending and not self.rows and not self.computes:
            self.running, self.pending = self.pending, None
        if self.offering and unit["array_y_tready"]:
            self.results.popleft()
            self.offering = False
        if self.computes:
            self.computes -= 1
            if not self.computes:
                self._finish()
        if unit["array_x_tvalid"] and self.inputs["x_tready"]:
            assert self.running is not None
            if not self.rows:
                self.gaps.append(self.idle)
            self.rows.append(unit["array_x_tdata"])
            if len(self.rows) == self.running.features:
                self.computes = int(self.rng.integers(*self.pace))
        self.idle = 0 if self.rows or self.computes else self.idle + 1
        if unit["array_prog_tvalid"] and self.inputs["prog_tready"]:
            data = int(unit["array_prog_tdata"])
            self.words += [data >> 32 * n & 0xFFFF_FFFF for n in range(self.beat)]
            if unit["array_prog_tlast"]:
                image = Image.read(self.words, self.beat)
                self.words, self.verdict = [], 1
                self.pending = None if image.refused else image

    def _finish(self) -> None:
        assert self.running is not None
        y = self.running.run(rows_of(self.rows, self.lanes))
        for number, row in enumerate(y):
            self.results.append((int.from_bytes(row.tobytes(), "little"), number == len(y) - 1))
        self.rows = []


def rows_of(rows: Sequence[int], lanes: int) -> NDArray[np.uint8]:
    """Rows [K, T] of bytes."""
    return np.frombuffer(b"".join(row.to_bytes(lanes, "little") for row in rows), np.uint8).reshape(
        len(rows), lanes
    )


@dataclass
class Host:
    """Jobs, the memory that they are in, and what it holds when they are done."""

    memory: AxiMemory
    lanes: int
    beat: int
    """Words of a program that come at once."""
    rng: np.random.Generator
    jobs: list[QueuedJob] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    """The program of each job."""
    place: int = PAGE
    """The first byte that is free."""

    def allocate(self, size: int) -> int:
        place = self.place
        self.place += -(-size // DESCRIPTOR_BYTES) * DESCRIPTOR_BYTES
        # Some begin within a burst, and some just before the end of a page.
        self.place += DESCRIPTOR_BYTES * int(self.rng.integers(0, 4))
        assert self.place <= SIZE
        return place

    def store(self, data: bytes) -> int:
        place = self.allocate(len(data))
        self.memory.content[place : place + len(data)] = data
        return place

    def add(self, image: Image | None = None, *, follows: int = 0, **changes: int) -> None:
        """A job of a new program or of the one before, on new activations or on the results of so
        many jobs before."""
        flags = JobFlags(int(self.rng.choice([0, 0, JobFlags.INTERRUPT])))
        words: list[int] = [] if image is None else image.words(self.beat)
        image = self.images[-1] if image is None else image
        most = min(9, 1300 // (max(image.features, image.outputs) * self.lanes))
        tiles = 1 if follows else int(self.rng.integers(1, max(2, most)))
        rows = tiles * image.features
        if follows:
            source = self.jobs[-follows].results
            flags |= JobFlags.INDEPENDENT if follows > 1 else JobFlags.NONE
        else:
            source = self.store(self.rng.bytes(rows * self.lanes))
            flags |= JobFlags(int(self.rng.choice([0, JobFlags.INDEPENDENT])))
        outputs = tiles * image.outputs
        job = QueuedJob(
            activations=source,
            activation_rows=rows,
            results=self.allocate(outputs * self.lanes),
            result_rows=outputs,
            program=self.store(np.array(words, "<u4").tobytes()) if words else 0,
            program_words=len(words),
            flags=flags,
        )
        self.jobs.append(replace(job, **changes))  # pyright: ignore[reportArgumentType]
        self.images.append(image)

    def image(self, features: int | None = None) -> Image:
        features = features or int(self.rng.integers(1, 40))
        outputs, seed, length = (int(n) for n in self.rng.integers([1, 1, 6], [40, 1 << 20, 90]))
        # Some are longer than what is read ahead of them.
        return Image(features, outputs, seed, length=int(self.rng.choice([length, 300])))

    def add_some(self, count: int) -> None:
        """Jobs of all kinds."""
        for number in range(count):
            kind = int(self.rng.integers(5)) if number else 0
            follows = {2: 1, 4: 2}.get(kind, 0)
            if kind == 1:
                self.add()
            elif kind == 3:
                self.add(replace(self.image(), outputs=0))
            elif follows and number >= follows and self.jobs[-follows].result_rows:
                self.add(self.image(self.jobs[-follows].result_rows), follows=follows)
            else:
                self.add(self.image())

    def expected(self, content: bytes) -> bytes:
        """What memory holds when all jobs are done, one after another."""
        found = bytearray(content)
        for job, image in zip(self.jobs, self.images, strict=True):
            size = job.activation_rows * self.lanes
            x = np.frombuffer(found[job.activations : job.activations + size], np.uint8)
            for tile, rows in enumerate(x.reshape(-1, image.features, self.lanes)):
                y, place = (
                    image.run(rows).tobytes(),
                    job.results + tile * image.outputs * self.lanes,
                )
                found[place : place + len(y)] = y
        return bytes(found)


@dataclass
class Player:
    """The unit, its memory and its array, cycle by cycle."""

    bench: Bench
    memory: AxiMemory
    array: Array
    out: Mapping[str, int] = field(default_factory=dict)
    done: int = 0
    stopped: int = 0
    cycles: int = 0

    @classmethod
    def begin(
        cls, name: str, seed: int, stalls: float, slowness: float, latency: tuple[int, int]
    ) -> "Player":
        lanes, bits, program_bits = SIZES[name]
        rng = np.random.default_rng(seed)
        content = bytearray(rng.bytes(SIZE))
        memory = AxiMemory(content, bits // 8, rng, stalls=stalls, latency=latency)
        unit = bench(name)
        unit.restart(seed + 1)
        unit.step(rst=1, memory_rst=1)
        unit.inputs |= {"rst": 0, "memory_rst": 0}
        return cls(unit, memory, Array(lanes, program_bits // 32, rng, slowness))

    def host(self) -> Host:
        return Host(self.memory, self.array.lanes, self.array.beat, self.memory.rng)

    def step(self, **control: int) -> Mapping[str, int]:
        self.out = self.bench.step(**self.memory.offers(), **self.array.offers(), **control)
        self.memory.takes(self.out)
        self.array.takes(self.out)
        self.done += self.out["done"]
        self.stopped += self.out["stopped"]
        self.cycles += 1
        return self.out

    def reset(self) -> None:
        """A soft reset, which reaches the array, but not the memory."""
        self.step(rst=1)
        self.bench.inputs["rst"] = 0
        array = self.array
        self.array = Array(array.lanes, array.beat, array.rng, array.stalls)
        self.done = self.stopped = 0

    def ring(self, tail: int, **control: int) -> None:
        control = {"control_base": 0, "control_size": RING, **control}
        self.step(control_ring=1, control_tail=tail, **control)
        self.bench.inputs["control_ring"] = 0

    def run(self, descriptors: bytes, limit: int = 20_000) -> None:
        """Keep the ring as full as it can be, until all jobs are done or the queue stops."""
        written, end, count = 0, self.cycles + limit, len(descriptors) // DESCRIPTOR_BYTES
        self.step()
        done = head = 0
        while self.cycles < end and not self.stopped:
            done += (self.out["status_head"] - head) % (2 * RING)
            head = self.out["status_head"]
            room = min(count, done + RING) - written
            if room:
                for number in range(written, written + room):
                    data = descriptors[number * DESCRIPTOR_BYTES :][:DESCRIPTOR_BYTES]
                    slot = number % RING * DESCRIPTOR_BYTES
                    self.memory.content[slot : slot + DESCRIPTOR_BYTES] = data
                written += room
                self.ring(written % (2 * RING))
            elif done == count:
                assert not self.out["status_active"]
                return
            else:
                self.step()
        assert self.stopped, f"{done} of {count} jobs are done after {limit} cycles"
