# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A whole system with a queue: programs of networks, one doorbell, one interrupt."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import test_system
import test_tiling
from axi_memory import OKAY, AxiMemory
from networks import MACHINE, Layers, activations_for, chained_on_one_array, lint
from numpy.typing import NDArray
from unit_bench import Bench
from xdsl.dialects.builtin import IntegerType, ModuleOp

from daqkf.dialects.dfke import KernelOp
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.descriptors import (
    DESCRIPTOR_BYTES,
    JobFlags,
    QueuedJob,
    QueueError,
    pack_descriptors,
)
from daqkf.hw_targets.memory import load_memory
from daqkf.hw_targets.status import LoadError
from daqkf.hw_targets.streams import ALIGNMENT
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.encode import at_addresses, encode, playable, split_image
from daqkf.lowering.image.queue_memory import QueueMemory
from daqkf.lowering.rtl.array import build_array
from daqkf.lowering.rtl.registers import register
from daqkf.lowering.rtl.system import TOP, build_system
from daqkf.runtime.system import host_writes

MACHINES = {
    "narrow": replace(MACHINE, memory_bits=64, stream_depth=16, banks=2, queue=True),
    "wide": replace(
        MACHINE, lanes=16, post_lanes=4, memory_bits=64, stream_depth=16, banks=2, queue=True
    ),
    "wide programs": replace(
        MACHINE, memory_bits=64, program_bits=128, stream_depth=16, banks=2, queue=True
    ),
}
SHAPES = ((24, 40, 9), (9, 30), (30, 12, 5))
"""Networks of which each takes the results of the one before."""
SIZE = 1 << 17
RING, BASE = 8, 4096
EVENTS = register("interrupt_status")


@cache
def networks(name: str) -> tuple[ArrayConfig, list[tuple[Layers, ModuleOp]]]:
    return chained_on_one_array(MACHINES[name], SHAPES)


OPEN = ExitStack()
"""The units that tests share."""


@pytest.fixture(scope="module", autouse=True)
def close_units() -> Iterator[None]:
    with OPEN:
        yield


@cache
def bench(config: ArrayConfig) -> Bench:
    return OPEN.enter_context(Bench(build_system(config), clock="aclk"))


@dataclass
class System:
    """The system, its memory behind both of its ports, and a host on its bus."""

    config: ArrayConfig
    unit: Bench
    data: AxiMemory
    streams: AxiMemory
    images: list[tuple[int, int]] = field(default_factory=list)
    """The address and the words of each network's program."""
    place: int = 2 * ALIGNMENT
    out: Mapping[str, int] = field(default_factory=dict)
    cycles: int = 0
    phases: list[int] = field(default_factory=list)

    @classmethod
    def begin(
        cls, config: ArrayConfig, seed: int, stalls: float, latency: tuple[int, int]
    ) -> "System":
        unit = bench(config)
        rng, content = np.random.default_rng(seed), bytearray(SIZE)
        data, streams = (
            AxiMemory(
                content, config.memory_bits // 8, rng, stalls=stalls, latency=latency, prefix=prefix
            )
            for prefix in ("m_axi_data", "m_axi0")
        )
        unit.restart(seed + 1)
        system = cls(config, unit, data, streams)
        for reset in (0, 0, 1):
            unit.step(aresetn=reset)
        return system

    @classmethod
    def of_networks(cls, name: str, seed: int, stalls: float, latency: tuple[int, int]) -> "System":
        """With the programs of all networks."""
        config, entries = networks(name)
        system = cls.begin(config, seed, stalls, latency)
        for _, module in entries:
            (program,) = playable(module)
            system.store(encode(program))
        return system

    def allocate(self, size: int, alignment: int = DESCRIPTOR_BYTES) -> int:
        place = -(-self.place // alignment) * alignment
        self.place = place + size
        assert self.place <= SIZE
        return place

    def write_bytes(self, place: int, data: bytes) -> None:
        self.data.content[place : place + len(data)] = data

    def store(self, image: bytes) -> None:
        """A program and its streams."""
        _, outside = split_image(image)
        streams = self.allocate(len(outside), ALIGNMENT)
        loaded, _ = split_image(at_addresses(image, [streams], self.config))
        place = self.allocate(len(loaded))
        self.write_bytes(streams, outside)
        self.write_bytes(place, loaded)
        self.images.append((place, len(loaded) // 4))

    def store_rows(self, x: NDArray[np.int8]) -> int:
        """Activations [tokens, features] of whole tiles, as rows."""
        tiles = x.reshape(-1, self.config.lanes, x.shape[1]).transpose(0, 2, 1)
        data = np.ascontiguousarray(tiles).tobytes()
        place = self.allocate(len(data))
        self.write_bytes(place, data)
        return place

    def results(self, place: int, tokens: int, outputs: int) -> NDArray[np.int8]:
        """Results [tokens, outputs]."""
        rows = np.frombuffer(self.data.content, np.int8, tokens * outputs, place)
        tiles = rows.reshape(-1, outputs, self.config.lanes)
        return tiles.transpose(0, 2, 1).reshape(tokens, outputs)

    def step(self, **inputs: int) -> Mapping[str, int]:
        offers = {
            name: value
            for memory in (self.data, self.streams)
            for name, value in memory.offers().items()
            if name in self.unit.inputs
        }
        self.out = self.unit.step(**offers, **inputs)
        for memory in (self.data, self.streams):
            memory.takes(self.out)
        self.cycles += 1
        return self.out

    def write(self, name: str, word: int) -> None:
        """A transfer on the bus, whose channels are as fast as they can be."""
        inputs = {"awaddr": register(name).address, "wdata": word, "wstrb": 15, "bready": 1}
        waits = {"aw", "w"}
        while True:
            valid = {f"{channel}valid": int(channel in waits) for channel in ("aw", "w")}
            out = self.step(**{f"s_axi_{key}": bit for key, bit in (inputs | valid).items()})
            waits -= {channel for channel in waits if out[f"s_axi_{channel}ready"]}
            if out["s_axi_bvalid"]:
                assert out["s_axi_bresp"] == OKAY, name
                return

    def read(self, name: str, part: str) -> int:
        """A field of a register."""
        address, waits = register(name).address, 1
        while True:
            out = self.step(s_axi_araddr=address, s_axi_arvalid=waits, s_axi_rready=1)
            waits &= ~out["s_axi_arready"]
            if out["s_axi_rvalid"]:
                assert out["s_axi_rresp"] == OKAY, name
                return register(name).field(part).get(out["s_axi_rdata"])

    def ring(self, jobs: Sequence[QueuedJob]) -> None:
        """Write a queue, and ring its doorbell once."""
        self.write_bytes(BASE, pack_descriptors(jobs))
        for name, word in (
            ("queue_base_low", BASE),
            ("queue_base_high", 0),
            ("queue_size", RING),
            ("interrupt_enable", sum(EVENTS.field(f"queue_{what}").mask for what in KINDS)),
            ("queue_doorbell", 1 << 31 | len(jobs)),
        ):
            self.write(name, word)

    def interrupt(self, limit: int = 60_000) -> None:
        """Wait for it, and acknowledge it."""
        for _ in range(limit):
            if self.step()["irq"]:
                break
        else:
            pytest.fail(f"no interrupt; head is {self.read('queue_status', 'head')}")


KINDS = ("done", "failed")


@dataclass
class Work:
    """Jobs of networks one after another, and the results that they have in the end."""

    system: System
    name: str
    tiles: int
    jobs: list[QueuedJob] = field(default_factory=list)
    expected: list[tuple[int, NDArray[np.int8]]] = field(default_factory=list)

    def add(self, seed: int) -> None:
        """All networks, the first one on activations of its own."""
        system = self.system
        entries, tokens = networks(self.name)[1], self.tiles * system.config.lanes
        x = activations_for(entries[0][0], tokens + seed)[:tokens]
        place, flags = system.store_rows(x), JobFlags.INDEPENDENT
        for (layers, _), (program, words) in zip(entries, system.images, strict=True):
            rows = self.tiles * x.shape[1]
            x = layers.expected(x)
            results = system.allocate(x.size)
            self.jobs.append(
                QueuedJob(
                    activations=place,
                    activation_rows=rows,
                    results=results,
                    result_rows=self.tiles * x.shape[1],
                    program=program,
                    program_words=words,
                    flags=flags,
                )
            )
            self.expected.append((results, x))
            place, flags = results, JobFlags.NONE

    def finish(self) -> None:
        """The last job has an interrupt."""
        self.jobs[-1] = replace(self.jobs[-1], flags=self.jobs[-1].flags | JobFlags.INTERRUPT)

    def check(self) -> None:
        for place, y in self.expected:
            np.testing.assert_array_equal(self.system.results(place, *y.shape), y)


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize(("stalls", "latency"), [(0.0, (20, 21)), (0.4, (1, 60))])
def test_one_doorbell_runs_a_network_of_many_programs(
    name: str, stalls: float, latency: tuple[int, int]
):
    system = System.of_networks(name, 5, stalls, latency)
    assert system.read("capability", "queue") == 1
    work = Work(system, name, tiles=3)
    work.add(1)
    work.add(2)
    work.finish()
    system.ring(work.jobs)
    system.interrupt()
    work.check()
    assert system.read("interrupt_status", "queue_done") == 1
    assert system.read("interrupt_status", "queue_failed") == 0
    assert system.read("queue_status", "head") == len(work.jobs)
    assert system.read("queue_status", "active") == 0
    assert system.read("queue_status", "error") == QueueError.NONE
    system.write("interrupt_status", EVENTS.field("queue_done").mask)
    for _ in range(2000):
        assert not system.step()["irq"]


@pytest.mark.slow
def test_a_fault_in_the_middle_ends_in_an_interrupt_and_the_next_queue_runs():
    system = System.of_networks("narrow", 6, 0.2, (1, 60))
    work = Work(system, "narrow", tiles=2)
    work.add(1)
    work.finish()
    place, words = system.images[1]
    flipped = place + 4 * (words // 2)
    system.data.content[flipped] ^= 4
    system.ring(work.jobs)
    system.interrupt()
    assert system.read("interrupt_status", "queue_failed") == 1
    assert system.read("interrupt_status", "queue_done") == 0
    assert system.read("queue_status", "error") == QueueError.PROGRAM
    assert system.read("status", "error") == LoadError.CHECKSUM
    system.data.content[flipped] ^= 4
    system.write("interrupt_status", 0xFFFFFFFF)
    system.write("control", register("control").field("soft_reset").mask)
    assert system.read("queue_status", "error") == QueueError.NONE
    for result, y in work.expected:
        system.write_bytes(result, bytes(y.size))
    system.ring(work.jobs)
    system.interrupt()
    assert system.read("interrupt_status", "queue_done") == 1
    work.check()


@pytest.mark.slow
def test_a_kernel_in_parts_is_a_job_for_each(tmp_path: Path):
    """The sums of the first part stay in the array, so that its job has no results."""
    machine = replace(MACHINES["narrow"], **test_tiling.SMALL | {"stream_depth": 16})
    layers, module = test_tiling.tiled(machine, (test_tiling.FEATURES, 7), tmp_path)
    (kernel,) = (op for op in module.walk() if isinstance(op, KernelOp))
    _, config, stage = test_tiling.lowered(module)
    system = System.begin(config, 7, 0.2, (1, 40))
    (images,) = stage.images
    for image in images:
        system.store(image)
    assert kernel.tiles is not None
    parts, tiles, first = kernel.tiles.parts(), 2, 0
    x = test_tiling.activations(tiles * config.lanes, test_tiling.FEATURES)
    expected, jobs = layers.expected(x), list[QueuedJob]()
    place = system.allocate(expected.size)
    for number, (features, (program, words)) in enumerate(zip(parts, system.images, strict=True)):
        last = number == len(parts) - 1
        jobs.append(
            QueuedJob(
                activations=system.store_rows(x[:, first : first + features]),
                activation_rows=tiles * features,
                results=place,
                result_rows=tiles * expected.shape[1] if last else 0,
                program=program,
                program_words=words,
                flags=JobFlags.INTERRUPT if last else JobFlags.INDEPENDENT,
            )
        )
        first += features
    assert len(jobs) > 1
    system.ring(jobs)
    system.interrupt()
    assert system.read("queue_status", "error") == QueueError.NONE
    np.testing.assert_array_equal(system.results(place, *expected.shape), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
def test_rtl_is_clean_for_verilator_and_yosys(name: str, tmp_path: Path):
    config = networks(name)[0]
    files = emit_verilog(circuit_module(build_system(config)))
    lint(files, TOP, tmp_path)
    # The array is the same, and no stream leaves the system.
    array = emit_verilog(circuit_module(build_array(replace(config, queue=False))))
    assert array.items() <= files.items()
    assert "m_axi_data_araddr" in files[f"{TOP}.sv"]
    assert "_axis_" not in files[f"{TOP}.sv"]


BENCH = Path(__file__).with_name("queue_bench.py")
AXI_EXTRAS = {
    # What AXI4 has beyond the ports of the system: a wire's bits, and what it is.
    "m_axi_data": ("awid", "arid", "bid", "rid"),
    "m_axi0": ("arid", "rid", "rlast"),
}


def with_whole_ports(config: ArrayConfig) -> dict[str, str]:
    """The system in a module whose AXI4 ports have all signals; IDs are constant."""
    circuit = build_system(config)
    ports: list[str] = []
    wires: list[str] = []
    for port in circuit.finished().module_type.ports.data:
        name, kind = port.port_name.data, port.type
        width = kind.width.data if isinstance(kind, IntegerType) else 1
        way = "input" if port.dir.data.is_input_like() else "output"
        ports.append(f"{way} [{width - 1}:0] {name}")
        wires.append(f".{name}({name})")
    constant = {"awid": "0", "arid": "0"}
    assigned: list[str] = []
    for prefix, names in AXI_EXTRAS.items():
        for name in names:
            ports.append(f"{'output' if name in constant else 'input'} {prefix}_{name}")
            if name in constant:
                assigned.append(f"assign {prefix}_{name} = 1'b{constant[name]};")
    text = "\n".join(
        [
            f"module queue_bench({', '.join(ports)});",
            f"{TOP} system({', '.join(wires)});",
            *assigned,
            "endmodule\n",
        ]
    )
    return {**emit_verilog(circuit_module(circuit)), "queue_bench.sv": text}


@pytest.mark.slow
def test_axi_memories_of_cocotb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another model of memory, with latency, bandwidth, refreshes, and errors."""
    config, entries = networks("narrow")
    memory, tokens = QueueMemory(config), 3 * config.lanes
    x = activations_for(entries[0][0], tokens)
    tiles = x.reshape(3, config.lanes, -1).transpose(0, 2, 1)
    place, expected = memory.store(np.ascontiguousarray(tiles).tobytes()), dict[int, bytes]()
    for layers, module in entries:
        (program,) = playable(module)
        rows, x = 3 * x.shape[1], layers.expected(x)
        found = memory.results([x.shape[1]], [tokens])
        ((_, ((results, *_),)),) = found.pieces
        memory.add(memory.program(encode(program)), place, rows, results, 3 * x.shape[1])
        tiles = x.reshape(3, config.lanes, -1).transpose(0, 2, 1)
        place, expected[results] = results, np.ascontiguousarray(tiles).tobytes()
    queue = memory.queue()
    done = bytearray(queue.content)
    for result, data in expected.items():
        done[result : result + len(data)] = data
    (tmp_path / "content.bin").write_bytes(queue.content)
    (tmp_path / "expected.bin").write_bytes(done)
    writes = [
        {"address": register(name).address, "word": word} for name, word in host_writes(queue)
    ]
    timing = load_memory("ddr4-2400").timing(1e9, config)
    facts = {"content": len(done), "writes": writes, "timing": asdict(timing)}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    files = with_whole_ports(config)
    passed = test_system.run_cocotb(files, "queue_bench", BENCH, tmp_path, monkeypatch)
    assert len(passed) == BENCH.read_text().count("\n@cocotb.test(")
