# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The queue of jobs alone, between a memory as slow as it may be and a model of an array."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from networks import lint
from queue_player import OPEN, RING, SIZE, SIZES, Host, Image, Player, config_of

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
from daqkf.lowering.rtl.queue import build_queue

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


@pytest.fixture(scope="module", autouse=True)
def close_units() -> Iterator[None]:
    with OPEN:
        yield


@pytest.mark.parametrize("name", some(SIZES, "wide programs"))
@pytest.mark.parametrize("case", some(PACES, "anyhow"))
def test_jobs_of_all_kinds(name: str, case: str):
    player = Player.begin(name, 3, *PACES[case])
    host = player.host()
    host.add_some(9)
    before = bytes(player.memory.content)
    player.run(pack_descriptors(host.jobs))
    assert (player.stopped, player.out["status_error"]) == (0, QueueError.NONE)
    assert player.done == sum(bool(job.flags & JobFlags.INTERRUPT) for job in host.jobs)
    assert len({len(image.words()) for image in host.images}) > 2
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


@pytest.mark.parametrize("words", [1, 2, 21, 23])
def test_a_program_that_ends_within_a_beat_is_none(words: int):
    player = Player.begin("wide programs", 25, 0.2, 0.2, (1, 30))
    jobs = three_jobs(player).jobs
    assert jobs[1].program_words == 24
    descriptors = [pack_descriptors([job]) for job in jobs]
    descriptors[1] = spoilt(jobs[1], "program_words", words)
    stop(player, b"".join(descriptors), QueueError.DESCRIPTOR)
    run_after(player, 27)


@pytest.mark.parametrize("kind", ["tail", "size", "base"])
def test_a_wrong_doorbell_ends_in_an_error(kind: str):
    player = Player.begin("narrow rows", 9, 0.0, 0.0, (1, 2))
    wrong = {
        "tail": (2 * RING, {}),
        "size": (0, {"control_size": 0}),
        "base": (1, {"control_base": 8}),
    }
    tail, control = wrong[kind]
    player.ring(tail, **control)
    player.step()
    player.step()
    expected = QueueError.ADDRESS if kind == "base" else QueueError.DOORBELL
    assert (player.stopped, player.out["status_error"]) == (1, expected)
    run_after(player, 10)


OVERRUNS = {
    # Jobs that the doorbell says there are, one after another, in a ring of five.
    "at once": [RING + 1],
    "job by job": [3, 4, 5, 6],
    "backwards": [3, 2],
    "backwards by one before the first": [2 * RING - 1],
    "backwards to where it began": [4, 2 * RING],
}


@pytest.mark.parametrize("begin", [0, pytest.param(7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", OVERRUNS)
def test_a_queue_that_is_overrun_ends_in_an_error(kind: str, begin: int):
    """The first job takes its time, so that none is done; the jobs before it are."""
    player = Player.begin("narrow rows", 27, 0.2, 0.2, (1, 9))
    host = player.host()
    for _ in range(RING):
        host.add(Image(8, 6, 5, length=20))
    if begin:
        host.add_some(begin - RING)
        player.run(pack_descriptors(host.jobs))
    assert (player.stopped, player.out["status_head"] if begin else 0) == (0, begin)
    descriptors = pack_descriptors(host.jobs[:RING])
    slots = [(begin + number) % RING for number in range(RING)]
    for number, slot in enumerate(slots):
        place = slot * DESCRIPTOR_BYTES
        data = descriptors[number * DESCRIPTOR_BYTES :][:DESCRIPTOR_BYTES]
        player.memory.content[place : place + DESCRIPTOR_BYTES] = data
    player.array.pace = (400, 401)
    *right, wrong = OVERRUNS[kind]
    for tail in right:
        player.ring((begin + tail) % (2 * RING))
        for _ in range(20):
            player.step()
    assert player.stopped == 0
    player.ring((begin + wrong) % (2 * RING))
    for _ in range(3):
        player.step()
    assert (player.stopped, player.out["status_error"]) == (1, QueueError.OVERRUN)
    run_after(player, 28)


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
        host.add(image, follows=int(kind == "follows"))
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
        player.reset()
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
