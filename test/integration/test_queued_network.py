# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compiled networks from queues in external memory: no host between their programs."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from driver_bench import SMALL
from nn_networks import Builder, results
from numpy.typing import NDArray
from test_whole_layer import FEATURES, compiled, compiled_for, encoder, inputs, there

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.network import compile_network
from daqkf.dialects.rpea import ChainOp
from daqkf.dialects.spaq import LevelSet
from daqkf.hw_targets.descriptors import JobFlags, QueuedJob, QueueError, unpack_descriptors
from daqkf.hw_targets.memory import IDEAL, load_memory
from daqkf.lowering.image.queue_memory import Queue
from daqkf.lowering.rtl.registers import register
from daqkf.runtime.system import RecordedQueues, SimulatedSystem, host_writes
from daqkf.support.errors import DaqkfError

TARGET = str(Path(__file__).parents[1] / "passes" / "targets" / "queued.toml")
LAYERS = 2
LENGTHS = (9, 4, 6)


@cache
def network() -> CompiledNetwork:
    """An encoder of two layers, each of which is a program."""
    return compiled_for(inputs(), LAYERS, TARGET)


@pytest.fixture
def system() -> Iterator[SimulatedSystem]:
    """The network's system, as slow as a test makes it."""
    found = network().system
    found.runs.clear()
    yield found
    found.stalls, found.base, found.memory, found.channels = 0.0, 0, IDEAL, 2


def test_layers_become_one_function_of_a_program_each():
    assert len(network().kernels) == 1
    assert len(network().stages) == LAYERS
    for stage in network().stages:
        assert isinstance(stage.program, ChainOp)
        assert stage.rows == {"softmax": 1, "normalization": 2}
    x = inputs(2)
    (expected,), (y,) = results(encoder(LAYERS), *x.values()), network().run(x).values()
    counted = there(x)
    noise = np.sum((y - expected)[counted] ** 2) / np.sum(expected[counted] ** 2)
    assert noise < 0.03


@pytest.mark.parametrize("stalls", [0.0, pytest.param(0.6, marks=pytest.mark.slow)])
def test_one_doorbell_runs_the_encoder(system: SimulatedSystem, stalls: float):
    system.stalls = stalls
    x = inputs(4, LENGTHS)
    (y,) = network().run(x, accelerator="queue", check=True).values()
    np.testing.assert_array_equal(y, next(iter(network().run(x).values())))
    (run,) = system.runs
    # The host brings the first layer's activations in whole; the others' are in three parts.
    assert run.jobs == len(LENGTHS) * (1 + 3 * (LAYERS - 1))
    tiles = sum(-(-length // system.config.lanes) for length in LENGTHS)
    assert run.tiles == LAYERS * tiles
    assert run.written == LAYERS * tiles * FEATURES * system.config.lanes
    assert run.loading == LAYERS * (2 * tiles * FEATURES + len(LENGTHS))
    assert 0 < run.idle < 0.1 * run.cycles


def test_memory_is_slow(system: SimulatedSystem):
    """Both ports share a channel, which has latency, refreshes, and less than they could take."""
    x = inputs(4, (5, 4, 3))
    network().run(x, accelerator="queue")
    device = load_memory("lpddr4-2133")
    system.memory, system.channels = device.timing(1e9, system.config, 2), 1
    network().run(x, accelerator="queue", check=True)
    ideal, slow = system.runs
    assert slow.cycles > 1.5 * ideal.cycles
    assert (slow.read, slow.written) == (ideal.read, ideal.written)
    # What is read ahead when a program ends depends on the memory.
    assert slow.streams == pytest.approx(ideal.streams, rel=0.01)
    # A beat of 8 bytes in a cycle is 8 GB/s at 1 GHz; refreshes take a share of that.
    given = device.bandwidth * device.given * slow.cycles / 1e9
    moved = slow.streams + slow.read + slow.written
    assert slow.share(system.memory, 1) == pytest.approx(moved / given, rel=0.01)


def test_a_host_gets_files(system: SimulatedSystem, tmp_path: Path):
    system.base = 1 << 39
    network().run(inputs(4), accelerator=RecordedQueues(system, tmp_path), check=True)
    facts = json.loads((tmp_path / "000.json").read_text())
    before, after = ((tmp_path / facts[name]).read_bytes() for name in ("content", "expected"))
    words = {write["register"]: write["word"] for write in facts["writes"]}
    assert facts["base"] == system.base
    assert len(before) == len(after)
    assert before != after
    place = words["queue_base_low"] + (words["queue_base_high"] << 32) - system.base
    jobs = unpack_descriptors(before[place : place + 64 * len(facts["jobs"])])
    assert [job.results for job in jobs] == [job["results"] for job in facts["jobs"]]
    assert [bool(job.flags & JobFlags.INTERRUPT) for job in jobs][-2:] == [False, True]
    assert not (tmp_path / "001.json").exists()


def test_a_target_without_a_queue_is_told():
    with pytest.raises(DaqkfError, match="no queue; compile for a target with queue = true"):
        compiled().run(inputs(), accelerator="queue")


@pytest.mark.slow
def test_programs_are_brought_in_wide_beats(tmp_path: Path):
    (target := tmp_path / "wide.toml").write_text(Path(TARGET).read_text() + "program_bits = 128\n")
    other = compiled_for(inputs(), LAYERS, str(target))
    for found in (network(), other):
        found.system.runs.clear()
        found.run(inputs(4), accelerator="queue", check=True)
    (narrow,), (wide,) = network().system.runs, other.system.runs
    # The port brings two words a cycle.
    assert wide.waiting < 0.8 * narrow.waiting


FAULTS = {
    # What the host does while the queue runs, and the errors that it may end with.
    "streams cannot be read": ("faults 1000 1000", [QueueError.ARRAY]),
    "descriptors cannot be read": ("faults {descriptors:x} 1000", [QueueError.READ]),
    "results cannot be written": ("faults {results:x} 40", [QueueError.WRITE]),
    # The queue itself finds out, or the array, whose streams do not come.
    "nothing answers": ("dead 1", [QueueError.TIMEOUT, QueueError.ARRAY]),
}


def queue_of(x: dict[str, NDArray[np.float32]]) -> Queue:
    """The queue that a run of the network makes."""

    class Kept:
        base = 0
        queue: Queue | None = None

        def run(self, jobs: object) -> list[NDArray[np.int8]]:
            raise AssertionError("no queue")

        def play(self, queue: Queue) -> bytes:
            self.queue = queue
            return queue.content

    kept = Kept()
    network().run(x, accelerator=kept)
    assert kept.queue is not None
    return kept.queue


def status(words: list[str]) -> tuple[QueueError, int, int]:
    """The queue's error, whether it says that it has failed, and whether that it is done."""
    events = register("interrupt_status")
    error = register("queue_status").field("error").get(int(words[0], 16))
    found = (events.field(name).get(int(words[1], 16)) for name in ("queue_failed", "queue_done"))
    return QueueError(error), *found  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class Host:
    """The steps of a host that runs a queue; see system_harness.cpp."""

    queue: Queue

    @property
    def ring(self) -> list[str]:
        return [
            f"write {register(name).address:x} {word:x}" for name, word in host_writes(self.queue)
        ]

    @property
    def look(self) -> list[str]:
        """Wait, and see what has become of it."""
        names = ("queue_status", "interrupt_status")
        return ["interrupt", *(f"read {register(name).address:x}" for name in names)]

    @property
    def reset(self) -> list[str]:
        events, control = register("interrupt_status"), register("control")
        soft_reset = control.field("soft_reset").mask
        return [f"write {control.address:x} {soft_reset:x}", f"write {events.address:x} ffffffff"]

    def run(self, system: SimulatedSystem, before: Sequence[str]) -> tuple[QueueError, int, int]:
        """What a queue ends in that something is done to, after which the queue is right."""
        steps = [*before, *self.ring, *self.look]
        lines, content = system.simulate(steps, self.queue.content)
        size = len(self.queue.content)
        assert status(lines[-2:]) == (QueueError.NONE, 0, 1)
        assert content[:size] == system.play(self.queue)[:size]
        return status(lines[1:3])

    def word(self, address: int) -> int:
        """A word that memory holds in the beginning."""
        place = address - self.queue.base
        return int.from_bytes(self.queue.content[place : place + 4], "little")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(name, marks=[] if name == "nothing answers" else pytest.mark.slow)
        for name in FAULTS
    ],
)
@pytest.mark.parametrize("moment", [100, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_fault_ends_in_an_error_and_the_next_queue_is_right(
    system: SimulatedSystem, fault: str, moment: int
):
    system.stalls = 0.3
    queue = queue_of(inputs(4))
    host, (command, expected) = Host(queue), FAULTS[fault]
    command = command.format(descriptors=queue.descriptors, results=queue.jobs[-1].results)
    healed = ["faults 0 0", "dead 0", *host.reset]
    found = host.run(system, [*host.ring, f"wait {moment:x}", command, *host.look, *healed])
    assert found in [(error, 1, 0) for error in expected]


STREAM, CRC, WORD = 4096, 16, 400
"""Bytes: where the first stream is, and places in an image."""
Change = tuple[Callable[[QueuedJob], int], Callable[[int], int], QueueError]
DAMAGE: dict[str, Change] = {
    # Where a word of memory is that a job needs, what becomes of it, and how that ends.
    "a stream is cut short": (lambda job: STREAM, lambda word: word - 1, QueueError.ARRAY),
    "a stream has no rows": (lambda job: STREAM, lambda word: 0, QueueError.ARRAY),
    "a program is damaged": (
        lambda job: job.program + WORD,
        lambda word: word ^ 64,
        QueueError.PROGRAM,
    ),
    "its sum is": (lambda job: job.program + CRC, lambda word: word + 1, QueueError.PROGRAM),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_memory_ends_in_an_error_and_the_next_queue_is_right(
    system: SimulatedSystem, damage: str
):
    system.stalls = 0.3
    queue = queue_of(inputs(4))
    host, (where, change, error) = Host(queue), DAMAGE[damage]
    address = where(queue.jobs[0])
    word = host.word(address)
    damaged = [f"poke {address:x} {change(word) & 0xFFFFFFFF:x}", *host.ring, *host.look]
    found = host.run(system, [*damaged, f"poke {address:x} {word:x}", *host.reset])
    assert found == (error, 1, 0)


def test_resets_in_the_middle_leave_nothing_behind(system: SimulatedSystem):
    system.stalls = 0.3
    host = Host(queue_of(inputs(4)))
    moments = np.random.default_rng(3).integers(1, [50, 300, 900, 4000, 9000, 30_000])
    steps = [step for moment in moments for step in (*host.ring, f"wait {moment:x}", *host.reset)]
    assert host.run(system, steps) == (QueueError.NONE, 0, 1)


def test_a_queue_that_is_overrun_is_noticed(system: SimulatedSystem):
    queue = queue_of(inputs(4))
    host, doorbell = Host(queue), register("queue_doorbell")
    tail = doorbell.field("ring").mask | len(queue.jobs) + 1
    more = f"write {doorbell.address:x} {tail:x}"
    found = host.run(system, [*host.ring, "wait 40", more, *host.look, *host.reset])
    assert found == (QueueError.OVERRUN, 1, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("widths", "between", "queues"),
    [
        # Kernels of several parts and groups; the host brings groups together.
        pytest.param((70, 40, 9), False, 2, id="in groups"),
        # Results that the next kernel reads in parts, where they are, and with the host's help.
        pytest.param((12, 32, 32, 9), False, 1, id="in parts"),
        pytest.param((9, 7, 5, 3), False, 1, id="small"),
        pytest.param((9, 7, 5, 3), True, 3, id="host between"),
    ],
)
def test_queues_are_as_few_as_can_be(
    widths: tuple[int, ...], between: bool, queues: int, tmp_path: Path
):
    (target := tmp_path / "small.toml").write_text(SMALL)
    rng = np.random.default_rng(5)
    b = Builder((24, widths[0]))
    (value,) = b.inputs
    for features, outputs in pairwise(widths):
        weights = (rng.standard_normal((features, outputs)) / 4).astype(np.float32)
        value = b.layer(value, weights, None, "relu")
        if between:
            value = b.apply("neg", value)
    module = b.module(value)
    x = {"input0": rng.standard_normal((24, widths[0])).astype(np.float32)}
    network = compile_network(
        module, calibration=x, levels=LevelSet.of("uniform", 7), target=str(target)
    )
    network.system.stalls = 0.3
    network.run(x, accelerator="queue", check=True)
    assert len(network.system.runs) == queues
    assert sum(run.jobs for run in network.system.runs) >= len(network.stages)
