# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The queue of jobs alone, between a memory as slow as it may be and a model of an array."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from axi_memory import PAGE, AxiMemory
from networks import MACHINES, lint
from numpy.typing import NDArray
from unit_bench import Bench

from daqkf.hw_targets.config import ArrayConfig, smallest_array
from daqkf.hw_targets.descriptors import (
    DESCRIPTOR,
    DESCRIPTOR_BYTES,
    JobFlags,
    QueuedJob,
    QueueError,
    pack_descriptors,
)
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.rtl import queue
from daqkf.lowering.rtl.queue import build_queue

SIZES = {
    # Lanes, bits of the port.
    "narrow rows": (4, 128),
    "a row a beat": (64, 512),
    "wide rows": (32, 64),
    "narrow port": (2, 64),
    "narrow rows of a wide port": (2, 512),
}
PACES = {
    # The shares of cycles in which memory and array pause, and the latency of memory.
    "fast": (0.0, 0.0, (1, 2)),
    "anyhow": (0.4, 0.4, (1, 40)),
    "far": (0.0, 0.0, (90, 91)),
    "slow memory": (0.8, 0.0, (1, 9)),
    "slow array": (0.0, 0.7, (1, 9)),
}


def some(cases: Iterable[str], *quick: str) -> list[ParameterSet]:
    """Cases of which some are quick, as there are others like them."""
    slow = pytest.mark.slow
    return [pytest.param(name, marks=() if name in quick else slow) for name in cases]


SIZE = 1 << 16
"""Bytes of the memory."""
RING = 5
"""Descriptors of the ring, at the memory's beginning."""


def config_of(name: str) -> ArrayConfig:
    lanes, bits = SIZES[name]
    machine = replace(MACHINES["P2-T2"], lanes=lanes, memory_bits=bits, stream_depth=16, banks=2)
    return smallest_array(machine, 40)


OPEN = ExitStack()
"""The units that tests share."""


@pytest.fixture(scope="module", autouse=True)
def close_units() -> Iterator[None]:
    with OPEN:
        yield


@cache
def bench(name: str) -> Bench:
    """The unit, which takes a memory for dead after 512 cycles, so that tests need not wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "WATCHDOG_BITS", 9)
        return OPEN.enter_context(Bench(build_queue(config_of(name))))


@dataclass
class Image:
    """A program of the model: results from the rows of a tile, and what is wrong with it."""

    features: int
    outputs: int
    seed: int
    refused: bool = False
    length: int = 9
    tiles: int = 0

    @property
    def words(self) -> list[int]:
        middle = np.random.default_rng(self.seed).integers(1, 1 << 32, self.length - 6)
        head = [self.length, self.features, self.outputs, self.seed, int(self.refused)]
        return [*head, *(int(word) for word in middle), self.tiles]

    @classmethod
    def read(cls, words: Sequence[int]) -> "Image":
        if len(words) != words[0]:
            return cls(1, 1, 0, refused=True)
        image = cls(*words[1:4], bool(words[4]), words[0], words[-1])
        assert image.words == list(words), "words were lost"
        return image

    def run(self, x: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The results [N, T] of a tile [K, T]."""
        weights = np.random.default_rng(self.seed).integers(0, 256, (self.outputs, len(x)))
        return (weights @ x.astype(np.int64) + self.seed).astype(np.uint8)


@dataclass
class Array:
    """What the queue sees of an array of two banks."""

    lanes: int
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
        return bool(self.words) and len(self.words) == self.words[0] - 1 and self.waits > 0

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
            self.words.append(unit["array_prog_tdata"])
            if unit["array_prog_tlast"]:
                image = Image.read(self.words)
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

    def add(self, image: Image | None = None, *, follows: bool = False, **changes: int) -> None:
        """A job of a new program or of the one before, on new activations or results of the one
        before."""
        flags = JobFlags(int(self.rng.choice([0, 0, JobFlags.INTERRUPT])))
        words: list[int] = [] if image is None else image.words
        image = self.images[-1] if image is None else image
        most = min(9, 1300 // (max(image.features, image.outputs) * self.lanes))
        tiles = 1 if follows else int(self.rng.integers(1, max(2, most)))
        rows = tiles * image.features
        if follows:
            source = self.jobs[-1].results
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
            kind = int(self.rng.integers(4)) if number else 0
            if kind == 1:
                self.add()
            elif kind == 2 and self.jobs[-1].result_rows:
                self.add(self.image(self.jobs[-1].result_rows), follows=True)
            elif kind == 3:
                self.add(replace(self.image(), outputs=0))
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
        lanes, bits = SIZES[name]
        rng = np.random.default_rng(seed)
        content = bytearray(rng.bytes(SIZE))
        memory = AxiMemory(content, bits // 8, rng, stalls=stalls, latency=latency)
        unit = bench(name)
        unit.restart(seed + 1)
        unit.step(rst=1, memory_rst=1)
        unit.inputs |= {"rst": 0, "memory_rst": 0}
        return cls(unit, memory, Array(lanes, rng, slowness))

    def host(self) -> Host:
        return Host(self.memory, self.array.lanes, self.memory.rng)

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
        self.array = Array(self.array.lanes, self.array.rng, self.array.stalls)
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
            done += (self.out["status_head"] - head) % RING
            head = self.out["status_head"]
            room = min(count, done + RING - 1) - written
            if room:
                for number in range(written, written + room):
                    data = descriptors[number * DESCRIPTOR_BYTES :][:DESCRIPTOR_BYTES]
                    slot = number % RING * DESCRIPTOR_BYTES
                    self.memory.content[slot : slot + DESCRIPTOR_BYTES] = data
                written += room
                self.ring(written % RING)
            elif done == count:
                assert not self.out["status_active"]
                return
            else:
                self.step()
        assert self.stopped, f"{done} of {count} jobs are done after {limit} cycles"


@pytest.mark.parametrize("name", some(SIZES, "narrow rows"))
@pytest.mark.parametrize("case", some(PACES, "anyhow"))
def test_jobs_of_all_kinds(name: str, case: str):
    player = Player.begin(name, 3, *PACES[case])
    host = player.host()
    host.add_some(9)
    before = bytes(player.memory.content)
    player.run(pack_descriptors(host.jobs))
    assert (player.stopped, player.out["status_error"]) == (0, QueueError.NONE)
    assert player.done == sum(bool(job.flags & JobFlags.INTERRUPT) for job in host.jobs)
    assert len({len(image.words) for image in host.images}) > 2
    ring = RING * DESCRIPTOR_BYTES
    assert host.expected(before)[ring:] != before[ring:]
    assert bytes(player.memory.content[ring:]) == host.expected(before)[ring:]


def spoilt(job: QueuedJob, field: str, value: int) -> bytes:
    """The descriptor of a job with another value in a field."""
    words = np.frombuffer(pack_descriptors([job]), "<u4").reshape(1, -1)
    fields = DESCRIPTOR.unpack(words) | {field: np.array([value])}
    return DESCRIPTOR.pack(fields).tobytes()


FAULTS: dict[str, tuple[QueueError, dict[str, int]]] = {
    "a program off its place": (QueueError.ADDRESS, {"program": 4100}),
    "activations off their place": (QueueError.ADDRESS, {"activations": 4096 + 32}),
    "results beyond all addresses": (QueueError.ADDRESS, {"results_reserved": 1}),
    "no activations": (QueueError.DESCRIPTOR, {"activation_rows": 0}),
    "more rows than there can be": (QueueError.DESCRIPTOR, {"result_rows_reserved": 8}),
    "an unknown flag": (QueueError.DESCRIPTOR, {"flags_reserved": 1 << 29}),
    "activations outside of memory": (QueueError.READ, {"activations": 1 << 39}),
    "a program outside of memory": (QueueError.READ, {"program": SIZE}),
    "results outside of memory": (QueueError.WRITE, {"results": 1 << 38}),
    "a program that is cut": (QueueError.PROGRAM, {"program_words": 8}),
    "fewer results than there are": (QueueError.RESULTS, {"result_rows": 5}),
    "more results than there are": (QueueError.STALLED, {"result_rows": 1000}),
    "activations that end within a tile": (QueueError.STALLED, {"activation_rows": 3}),
}


def run_after(player: Player, seed: int) -> None:
    """A reset, and then jobs that run right whatever was on its way."""
    player.reset()
    player.memory.rng = player.array.rng = np.random.default_rng(seed)
    host = player.host()
    host.place = SIZE // 2
    host.add_some(5)
    before = bytes(player.memory.content)
    player.run(pack_descriptors(host.jobs))
    assert (player.stopped, player.out["status_error"]) == (0, QueueError.NONE)
    last = SIZE // 2
    assert bytes(player.memory.content[last:]) == host.expected(before)[last:]


def stop(player: Player, descriptors: bytes, error: QueueError) -> None:
    """The jobs end in this error, and then the queue is still."""
    player.run(descriptors)
    assert (player.stopped, player.out["status_error"]) == (1, error)
    for _ in range(50):
        player.step()
    content, head = bytes(player.memory.content), player.out["status_head"]
    for _ in range(50):
        out = player.step()
        assert not (out["array_prog_tvalid"] or out["array_x_tvalid"] or out["array_y_tready"])
        assert not (out["axi_arvalid"] or out["axi_awvalid"] or out["axi_wvalid"])
    assert (player.out["status_error"], player.out["status_head"]) == (error, head)
    assert (player.stopped, bytes(player.memory.content)) == (1, content)


def three_jobs(player: Player) -> Host:
    host = player.host()
    for _ in range(3):
        host.add(Image(8, 6, 5, length=20))
    return host


@pytest.mark.parametrize(
    "fault",
    some(
        FAULTS,
        "activations off their place",
        "results outside of memory",
        "fewer results than there are",
        "more results than there are",
    ),
)
def test_a_faulty_descriptor_ends_in_an_error(fault: str):
    error, changes = FAULTS[fault]
    player = Player.begin("narrow rows", 7, 0.2, 0.2, (1, 30))
    jobs = three_jobs(player).jobs
    ((field, value),) = changes.items()
    good = pack_descriptors(jobs)
    data = good[:DESCRIPTOR_BYTES] + spoilt(jobs[1], field, value) + good[2 * DESCRIPTOR_BYTES :]
    stop(player, data, error)
    run_after(player, 8)


@pytest.mark.parametrize("kind", ["tail", "size", "base"])
def test_a_wrong_doorbell_ends_in_an_error(kind: str):
    player = Player.begin("narrow rows", 9, 0.0, 0.0, (1, 2))
    wrong = {"tail": (RING, {}), "size": (0, {"control_size": 0}), "base": (1, {"control_base": 8})}
    tail, control = wrong[kind]
    player.ring(tail, **control)
    player.step()
    player.step()
    expected = QueueError.ADDRESS if kind == "base" else QueueError.DOORBELL
    assert (player.stopped, player.out["status_error"]) == (1, expected)
    run_after(player, 10)


@pytest.mark.parametrize(
    "kind", some(("descriptor", "program", "activations", "results"), "program")
)
def test_memory_that_answers_with_errors(kind: str):
    player = Player.begin("narrow rows", 11, 0.2, 0.2, (1, 30))
    job = three_jobs(player).jobs[0]
    places = {"descriptor": DESCRIPTOR_BYTES, "program": job.program, "results": job.results}
    place = places.get(kind, job.activations)
    bad = range(place, place + DESCRIPTOR_BYTES)
    if kind == "results":
        player.memory.bad_writes = bad
    else:
        player.memory.bad_reads = bad
    data = pack_descriptors([job, job, job])
    stop(player, data, QueueError.WRITE if kind == "results" else QueueError.READ)
    player.memory.bad_reads = player.memory.bad_writes = range(0)
    run_after(player, 12)


@pytest.mark.parametrize(
    "moment",
    [pytest.param(0, marks=pytest.mark.slow), 40, pytest.param(200, marks=pytest.mark.slow)],
)
def test_memory_that_does_not_answer(moment: int):
    """From some cycle on; after a reset it still owes what it was asked for, and goes on."""
    player = Player.begin("narrow rows", 13, 0.2, 0.2, (1, 30))
    step, start = player.step, player.cycles

    def dying(**control: int) -> Mapping[str, int]:
        player.memory.dead = player.cycles >= start + moment
        return step(**control)

    player.step = dying
    stop(player, pack_descriptors(three_jobs(player).jobs), QueueError.TIMEOUT)
    player.step = step
    player.memory.dead = False
    run_after(player, 14)


@pytest.mark.slow
def test_what_the_array_does_not_take_is_an_error():
    for image, error in (
        (Image(3, 2, 1, refused=True), QueueError.PROGRAM),
        (Image(3, 2, 1, tiles=4), QueueError.TILES),
    ):
        player = Player.begin("narrow rows", 15, 0.2, 0.2, (1, 30))
        host = three_jobs(player)
        host.add(image)
        stop(player, pack_descriptors(host.jobs), error)
        run_after(player, 16)
    player = Player.begin("narrow rows", 17, 0.2, 0.2, (1, 30))
    job = three_jobs(player).jobs[0]
    job = replace(job, program=0, program_words=0)
    stop(player, pack_descriptors([job]), QueueError.STALLED)
    run_after(player, 18)
    player.array.failed = 1
    player.step()
    player.step()
    assert (player.stopped, player.out["status_error"]) == (1, QueueError.ARRAY)
    run_after(player, 19)


@pytest.mark.slow
def test_an_array_may_take_its_time():
    """A tile that takes longer than memory may take is no error."""
    player = Player.begin("narrow rows", 23, 0.0, 0.0, (1, 2))
    player.array.pace = (1500, 1501)
    player.run(pack_descriptors(three_jobs(player).jobs[:1]))
    assert player.stopped == 0


def test_activations_wait_for_their_program():
    """They are there long before the array takes the last word of it."""
    player = Player.begin("narrow rows", 24, 0.0, 0.0, (1, 2))
    player.array.last_word_waits = 40
    host = player.host()
    for number in range(3):
        host.add(Image(8, 6, number, length=20))
        host.jobs[-1] = replace(host.jobs[-1], flags=JobFlags.INDEPENDENT)
    before = bytes(player.memory.content)
    player.run(pack_descriptors(host.jobs))
    assert player.stopped == 0
    last = RING * DESCRIPTOR_BYTES
    assert bytes(player.memory.content[last:]) == host.expected(before)[last:]


LATENCY = 30


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        pytest.param("independent, same program", 2, marks=pytest.mark.slow),
        pytest.param("independent", 3, marks=pytest.mark.slow),
        ("follows", 3 * LATENCY + 15),
    ],
)
def test_the_next_job_begins_soon(kind: str, most: int):
    """Cycles from the end of a tile to the first row of the next job, `pytest -s` prints them.

    One that takes results of the job before waits until they are written and have been read.
    """
    player = Player.begin("narrow rows", 26, 0.0, 0.0, (LATENCY, LATENCY + 1))
    player.array.pace = (150, 151)
    host = player.host()
    host.add(Image(16, 16, 1, length=100))
    for number in range(4):
        image = None if kind.endswith("same program") else Image(16, 16, number, length=100)
        host.add(image, follows=kind == "follows")
        if kind != "follows":
            host.jobs[-1] = replace(host.jobs[-1], flags=JobFlags.INDEPENDENT)
    player.run(pack_descriptors(host.jobs))
    assert player.stopped == 0
    # Tiles of one job follow one another at once.
    between = [gap for gap in player.array.gaps[1:] if gap]
    print(f"{kind}: {between} cycles between jobs")
    assert max(between, default=0) <= most


@pytest.mark.parametrize("stalls", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("writes", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_reset_at_any_moment(stalls: float, writes: bool):
    """Whatever is on its way then: bursts that are read, half written, or not yet answered.

    Writes from before the reset may fail, which is not an error of the jobs that follow.
    """
    player = Player.begin("narrow rows", 21, stalls, stalls, (1, 60))
    player.memory.bad_writes = range(SIZE // 2) if writes else range(0)
    for trial in range(12 if stalls else 3):
        host = player.host()
        host.add_some(6)
        for number, job in enumerate(host.jobs[: RING - 1]):
            data = pack_descriptors([job])
            slot = number * DESCRIPTOR_BYTES
            player.memory.content[slot : slot + DESCRIPTOR_BYTES] = data
        player.ring(RING - 1)
        moment = int(player.memory.rng.integers(1, 20 if writes else 900))
        while writes and not player.out["axi_awvalid"]:
            player.step()
        for _ in range(moment):
            player.step()
        run_after(player, 22 + trial)


@pytest.mark.parametrize("name", some(SIZES, "wide rows"))
def test_rtl_is_clean_for_verilator_and_yosys(name: str, tmp_path: Path):
    circuit = build_queue(config_of(name))
    lint(emit_verilog(circuit_module(circuit)), circuit.name, tmp_path)
