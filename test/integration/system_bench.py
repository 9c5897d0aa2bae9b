# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What cocotb runs on `daqkf_system`; `test_system.py` builds it and says what to expect."""

import json
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from daqkf.hw_targets.status import LoadError, Phase
from daqkf.lowering.rtl.registers import COUNTERS, REGISTER_BYTES, REGISTERS, register

FOLDER = Path(os.environ.get("DAQKF_SYSTEM_TEST", "."))
INTERRUPTS = register("interrupt_status")
EVERY = sum(field.mask for field in INTERRUPTS.fields if not field.queue)
CONTROL = register("control")
DELAY = 2
"""Cycles from an event to its step of a counter."""


@dataclass
class Case:
    """What the test knows of the design."""

    facts: dict[str, Any] = field(
        default_factory=lambda: json.loads((FOLDER / "facts.json").read_text())
    )
    program: bytes = field(default_factory=lambda: (FOLDER / "program.bin").read_bytes())

    def __post_init__(self):
        self.x = np.load(FOLDER / "x.npy")
        self.y = np.load(FOLDER / "y.npy")
        self.lanes = self.facts["lanes"]

    def tiles(self, first: int, count: int) -> list[tuple[bytes, bytes]]:
        """Beats in and out of some tiles."""
        both = []
        for tile in range(first, first + count):
            rows = slice(tile * self.lanes, (tile + 1) * self.lanes)
            both.append((self.x[rows].T.tobytes(), self.y[rows].T.tobytes()))
        return both

    def zeros(self, first: int, count: int) -> int:
        rows = slice(first * self.lanes, (first + count) * self.lanes)
        return int((self.x[rows] == 0).sum())


@dataclass
class Monitor:
    """The events of each cycle, from the ports and the phase, and where snapshots were taken."""

    dut: Any
    cycles: list[dict[str, int]] = field(default_factory=list)
    snapshots: list[int] = field(default_factory=list)

    async def run(self) -> None:
        dut = self.dut
        while True:
            # All that a clock edge takes over has settled here.
            await FallingEdge(dut.aclk)
            x = bool(dut.s_axis_x_tvalid.value), bool(dut.s_axis_x_tready.value)
            y = bool(dut.m_axis_y_tvalid.value), bool(dut.m_axis_y_tready.value)
            if int(dut.counters.snapshot.value):
                self.snapshots.append(len(self.cycles))
            self.cycles.append(
                {
                    "cycles": 1,
                    "busy": int(dut.array.status_phase.value) in (Phase.RUNNING, Phase.CHAINING),
                    "x_stalled": x == (True, False),
                    "x_starved": x == (False, True),
                    "y_stalled": y == (True, False),
                    "tiles": y == (True, True) and bool(dut.m_axis_y_tlast.value),
                }
            )

    def between_the_last_snapshots(self) -> dict[str, int]:
        first, last = self.snapshots[-2:]
        total: Counter[str] = Counter()
        for events in self.cycles[first - DELAY : last - DELAY]:
            total.update({name: int(value) for name, value in events.items()})
        return total


class Bench:
    """The system with a bus, three streams, and a monitor."""

    def __init__(self, dut: Any):
        self.dut, self.case = dut, Case()
        clock, reset = dut.aclk, dut.aresetn
        cocotb.start_soon(Clock(clock, 10, unit="ns").start())
        axi = {"reset_active_level": False}
        self.bus = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), clock, reset, **axi)
        self.program = AxiStreamSource(
            AxiStreamBus.from_prefix(dut, "s_axis_prog"), clock, reset, **axi
        )
        self.x = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis_x"), clock, reset, **axi)
        self.y = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis_y"), clock, reset, **axi)
        self.monitor = Monitor(dut)
        cocotb.start_soon(self.monitor.run())

    async def reset(self) -> None:
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 4)
        for name in ("bvalid", "rvalid", "awready", "wready", "arready"):
            assert int(getattr(self.dut, f"s_axi_{name}").value) == 0, name
        assert int(self.dut.irq.value) == 0
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 2)

    def pause(self, share: float, seed: int) -> None:
        """Every channel pauses in a share of the cycles."""
        write, read = self.bus.write_if, self.bus.read_if
        channels = [write.aw_channel, write.w_channel, write.b_channel]
        channels += [read.ar_channel, read.r_channel, self.program, self.x, self.y]
        for number, channel in enumerate(channels):
            channel.set_pause_generator(_pauses(share, seed + number))

    async def read(self, name: str) -> int:
        answer = await self.bus.read(register(name).address, REGISTER_BYTES)
        assert answer.resp == AxiResp.OKAY, name
        return int.from_bytes(answer.data, "little")

    async def write(self, name: str, word: int) -> None:
        data = word.to_bytes(REGISTER_BYTES, "little")
        answer = await self.bus.write(register(name).address, data)
        assert answer.resp == AxiResp.OKAY, name

    async def acknowledge(self, *events: str) -> None:
        """These have happened and no others; with them cleared, `irq` is low again."""
        expected = sum(INTERRUPTS.field(name).mask for name in events)
        assert await self.read("interrupt_status") == expected
        await self.write("interrupt_status", expected)
        assert await self.read("interrupt_status") == 0
        assert int(self.dut.irq.value) == 0

    async def interrupt(self) -> None:
        if not int(self.dut.irq.value):
            await with_timeout(RisingEdge(self.dut.irq), 1, "ms")

    async def load(self, image: bytes, event: str) -> None:
        await self.program.send(image)
        await self.interrupt()
        await self.program.wait()
        await self.acknowledge(event)

    async def run(self, first: int, count: int) -> None:
        """Tiles of the case, which must come out as expected."""
        tiles = self.case.tiles(first, count)
        for x, _ in tiles:
            await self.x.send(AxiStreamFrame(x))
        for number, (_, y) in enumerate(tiles):
            frame = await with_timeout(self.y.recv(), 1, "ms")
            assert bytes(frame.tdata) == y, f"tile {first + number}"

    async def snapshot(self, *strobes: str) -> None:
        await self.write("control", sum(CONTROL.field(name).mask for name in strobes))

    async def count(self, name: str, width: int) -> int:
        if width == 32:
            return await self.read(name)
        return await self.read(f"{name}_low") | await self.read(f"{name}_high") << 32


def _pauses(share: float, seed: int) -> Iterator[bool]:
    choose = random.Random(seed)
    while True:
        yield choose.random() < share


def bench_test(run: Callable[[Bench], Awaitable[None]]) -> Any:
    """A test of a system that has just been reset, with every event enabled."""

    async def test(dut: Any) -> None:
        bench = Bench(dut)
        await bench.reset()
        await bench.write("interrupt_enable", EVERY)
        await run(bench)

    test.__name__ = test.__qualname__ = run.__name__
    return cocotb.test(timeout_time=10, timeout_unit="ms")(test)


@bench_test
async def says_what_it_is(bench: Bench) -> None:
    for name, word in bench.case.facts["constants"].items():
        assert await bench.read(name) == word, name
    assert await bench.read("status") == Phase.EMPTY


@bench_test
async def answers_for_every_address(bench: Bench) -> None:
    """Registers read; writes go to those that can be written; nothing else is OKAY."""
    bench.pause(0.5, 1)
    known = {entry.address: entry for entry in REGISTERS if entry.name in bench.case.facts["has"]}
    last = max(entry.address for entry in REGISTERS)
    addresses = [*range(0, last + 64, REGISTER_BYTES), 0x800, 0xFFC]
    for address in addresses:
        entry = known.get(address)
        answer = await bench.bus.read(address, REGISTER_BYTES)
        assert answer.resp == (AxiResp.OKAY if entry else AxiResp.SLVERR), hex(address)
        if entry is None:
            assert bytes(answer.data) == bytes(REGISTER_BYTES), hex(address)
        if entry is None or not entry.writable:
            before = await bench.bus.read(address, REGISTER_BYTES)
            refused = await bench.bus.write(address, b"\xff" * REGISTER_BYTES)
            assert refused.resp == AxiResp.SLVERR, hex(address)
            assert (await bench.bus.read(address, REGISTER_BYTES)).data == before.data
    assert await bench.read("scratch") == 0


@bench_test
async def a_reset_clears_every_register(bench: Bench) -> None:
    """After runs that have left something in most of them, and with events that are enabled."""
    readable = [entry for entry in REGISTERS if entry.name in bench.case.facts["has"]]
    counters = [
        entry
        for entry in COUNTERS
        if entry.variant is None or entry.name in bench.case.facts["has"]
    ]

    async def expect_reset() -> None:
        for entry in readable:
            if entry.name not in bench.case.facts["constants"]:
                assert await bench.read(entry.name) == entry.reset, entry.name
        await bench.snapshot("snapshot")
        for counter in counters:
            if counter.name not in ("cycles", "x_starved"):
                assert await bench.count(counter.name, counter.width) == 0, counter.name

    await bench.reset()
    await expect_reset()
    await bench.write("interrupt_enable", EVERY)
    await bench.write("scratch", 0xFFFFFFFF)
    await bench.load(bench.case.program, "program_loaded")
    await bench.run(0, len(bench.case.facts["variants"]))
    await bench.snapshot("snapshot")
    assert int(bench.dut.irq.value)
    bench.dut.aresetn.value = 0
    await RisingEdge(bench.dut.aclk)
    await FallingEdge(bench.dut.aclk)
    assert not int(bench.dut.irq.value), "after a cycle"
    await bench.reset()
    await expect_reset()


@bench_test
async def a_write_changes_one_register(bench: Bench) -> None:
    """Bits are set and cleared by it, and no other register takes its data."""
    await bench.write("scratch", 0x5A5A5A5A)
    for word in (EVERY, 0, EVERY, EVERY & 0b0101, EVERY & 0b1010, 0):
        await bench.write("interrupt_enable", word)
        assert await bench.read("interrupt_enable") == word
        assert await bench.read("scratch") == 0x5A5A5A5A
        await bench.write("interrupt_status", 0xFFFFFFFF)
        assert await bench.read("interrupt_enable") == word
        assert await bench.read("scratch") == 0x5A5A5A5A


@bench_test
async def writes_the_bytes_whose_strobes_are_high(bench: Bench) -> None:
    bench.pause(0.4, 11)
    address, expected = register("scratch").address, bytearray(REGISTER_BYTES)
    choose = random.Random(5)
    for _ in range(40):
        offset = choose.randrange(REGISTER_BYTES)
        data = choose.randbytes(choose.randint(1, REGISTER_BYTES - offset))
        answer = await bench.bus.write(address + offset, data)
        assert answer.resp == AxiResp.OKAY
        expected[offset : offset + len(data)] = data
        assert bytes((await bench.bus.read(address, REGISTER_BYTES)).data) == expected


@bench_test
async def takes_addresses_and_data_in_any_order(bench: Bench) -> None:
    write = bench.bus.write_if
    channels = {"aw": write.aw_channel, "w": write.w_channel}
    for early, late in (("aw", "w"), ("w", "aw")):
        channels[late].pause = True
        writing = cocotb.start_soon(bench.write("scratch", 0x12345678 ^ ord(early[0])))
        await RisingEdge(getattr(bench.dut, f"s_axi_{early}valid"))
        await ClockCycles(bench.dut.aclk, 12)
        assert not int(getattr(bench.dut, f"s_axi_{early}valid").value), f"{early} waits for {late}"
        assert not int(bench.dut.s_axi_bvalid.value)
        channels[late].pause = False
        await writing
        assert await bench.read("scratch") == 0x12345678 ^ ord(early[0])


@bench_test
async def holds_responses_until_they_are_taken(bench: Bench) -> None:
    dut = bench.dut
    await bench.write("scratch", 0xCAFE)
    bench.bus.read_if.r_channel.pause = bench.bus.write_if.b_channel.pause = True
    address = register("scratch").address
    reads = [cocotb.start_soon(bench.bus.read(address, REGISTER_BYTES)) for _ in range(3)]
    bad = cocotb.start_soon(bench.bus.write(0xFF0, bytes(REGISTER_BYTES)))
    good = cocotb.start_soon(bench.bus.write(address, (7).to_bytes(REGISTER_BYTES, "little")))
    await ClockCycles(dut.aclk, 20)
    for _ in range(20):
        await FallingEdge(dut.aclk)
        assert int(dut.s_axi_rvalid.value) and int(dut.s_axi_rdata.value) == 0xCAFE
        assert int(dut.s_axi_bvalid.value) and int(dut.s_axi_bresp.value) == AxiResp.SLVERR
    bench.bus.read_if.r_channel.pause = bench.bus.write_if.b_channel.pause = False
    assert (await bad).resp == AxiResp.SLVERR
    assert (await good).resp == AxiResp.OKAY
    for read in reads:
        await read
    assert await bench.read("scratch") == 7


async def measured_run(bench: Bench, share: float, seed: int) -> None:
    """Some tiles; the counters of the interval are exact, and are of one moment."""
    facts, tiles = bench.case.facts, len(bench.case.facts["variants"])
    bench.pause(share, seed)
    await bench.load(bench.case.program, "program_loaded")
    await bench.snapshot("snapshot", "clear")
    await bench.run(0, tiles)
    await bench.acknowledge("tile_done")
    await bench.snapshot("snapshot", "clear")
    expected = bench.monitor.between_the_last_snapshots()
    expected["zeros"] = bench.case.zeros(0, tiles)
    for number in range(facts["countable_variants"]):
        expected[f"variant_tiles_{number}"] = facts["variants"].count(number)
    assert expected["tiles"] == tiles
    counters = [entry for entry in COUNTERS if entry.name in expected]
    assert len(counters) == len(expected)
    for counter in counters:
        assert await bench.count(counter.name, counter.width) == expected[counter.name], counter
    assert expected["busy"] > 0
    # Nothing is counted twice, and copies stay until the next snapshot.
    await bench.snapshot("clear")
    assert await bench.count("tiles", 64) == tiles
    await bench.snapshot("snapshot")
    assert await bench.count("tiles", 64) == await bench.count("zeros", 64) == 0


@bench_test
async def runs_and_counts(bench: Bench) -> None:
    await measured_run(bench, 0.0, 0)


@bench_test
async def runs_and_counts_with_pauses(bench: Bench) -> None:
    await measured_run(bench, 0.3, 100)


@bench_test
async def runs_and_counts_with_long_pauses(bench: Bench) -> None:
    await measured_run(bench, 0.8, 200)


@bench_test
async def counts_the_tiles_of_every_variant(bench: Bench) -> None:
    """Of programs whose variants have numbers from end to end of those that there can be."""
    facts = bench.case.facts
    for step in facts["steps_of_variants"]:
        image = (FOLDER / f"program{step}.bin").read_bytes()
        await bench.load(image, "program_loaded")
        await bench.snapshot("clear")
        await bench.run(0, len(facts["variants"]))
        await bench.acknowledge("tile_done")
        await bench.snapshot("snapshot")
        count = facts["countable_variants"]
        taken = [(variant + step) % count for variant in facts["variants"]]
        for number in range(count):
            found = await bench.count(f"variant_tiles_{number}", 32)
            assert found == taken.count(number), (step, number)
        shown = register("status").field("variant").get(await bench.read("status"))
        assert shown == taken[-1]


@bench_test
async def raises_irq_for_enabled_events_alone(bench: Bench) -> None:
    await bench.write("interrupt_enable", INTERRUPTS.field("tile_done").mask)
    await bench.program.send(bench.case.program)
    await bench.program.wait()
    await ClockCycles(bench.dut.aclk, 20)
    assert not int(bench.dut.irq.value)
    assert await bench.read("interrupt_status") == INTERRUPTS.field("program_loaded").mask
    await bench.run(0, 1)
    await bench.interrupt()
    # Only what is written as 1 is cleared.
    await bench.write("interrupt_status", INTERRUPTS.field("program_loaded").mask)
    assert int(bench.dut.irq.value)
    await bench.acknowledge("tile_done")


@bench_test
async def refuses_a_bad_program_and_recovers(bench: Bench) -> None:
    bench.pause(0.2, 300)
    facts = bench.case.facts
    for word, error in ((0, LoadError.MAGIC), (2, LoadError.FINGERPRINT), (5, LoadError.COMMAND)):
        image = bytearray(bench.case.program)
        image[4 * word : 4 * word + 4] = b"\xff\xff\xff\xff"
        await bench.load(bytes(image), "program_refused")
        status = await bench.read("status")
        fields = {field.name: field.get(status) for field in register("status").fields}
        after = Phase.ERROR if facts["banks"] == 1 else Phase.EMPTY
        assert (fields["phase"], fields["error"]) == (after, error)
        await bench.snapshot("soft_reset")
        assert await bench.read("status") == Phase.EMPTY
        assert await bench.read("interrupt_enable") != 0, "registers stay"
    await bench.load(bench.case.program, "program_loaded")
    await bench.run(0, 2)
    await bench.acknowledge("tile_done")
    assert await bench.read("fingerprint") == facts["constants"]["fingerprint"]


@bench_test
async def keeps_a_good_program_if_it_has_two_banks(bench: Bench) -> None:
    if bench.case.facts["banks"] == 1:
        return
    bench.pause(0.3, 350)
    good, cut = bench.case.program, bench.case.program[:-8]
    damaged = bytearray(good)
    damaged[len(good) // 2] ^= 4
    await bench.load(good, "program_loaded")
    for image, error in ((cut, LoadError.LENGTH), (bytes(damaged), LoadError.CHECKSUM)):
        await bench.load(image, "program_refused")
        assert register("status").fields[1].get(await bench.read("status")) == error
        await bench.run(0, 2)
        await bench.acknowledge("tile_done")
    await bench.load(good, "program_loaded")
    assert register("status").fields[1].get(await bench.read("status")) == LoadError.NONE
    await bench.run(0, 2)
    await bench.acknowledge("tile_done")


@bench_test
async def a_soft_reset_drops_a_tile_that_is_under_way(bench: Bench) -> None:
    await bench.load(bench.case.program, "program_loaded")
    (x, _), *_ = bench.case.tiles(0, 1)
    half = len(x) // 2 // bench.case.lanes * bench.case.lanes
    # The source ends a frame with TLAST, which is too early here.
    await bench.x.send(AxiStreamFrame(x[:half]))
    await bench.x.wait()
    await bench.snapshot("soft_reset")
    assert await bench.read("status") == Phase.EMPTY
    await bench.acknowledge("x_tlast_wrong")
    await bench.load(bench.case.program, "program_loaded")
    await bench.run(1, 2)
    await bench.acknowledge("tile_done")


@bench_test
async def reports_a_tlast_that_is_missing_or_early(bench: Bench) -> None:
    bench.pause(0.3, 400)
    await bench.load(bench.case.program, "program_loaded")
    (x0, y0), (x1, y1) = bench.case.tiles(0, 2)
    beat = bench.case.lanes
    frames = {
        "missing": [x0 + x1],
        "one early": [x0[:-beat], x0[-beat:] + x1],
        "an early one and the right one": [x0[:beat], x0[beat:], x1],
    }
    for name, parts in frames.items():
        for part in parts:
            await bench.x.send(AxiStreamFrame(part))
        for expected in (y0, y1):
            frame = await with_timeout(bench.y.recv(), 1, "ms")
            assert bytes(frame.tdata) == expected, name
        await bench.acknowledge("tile_done", "x_tlast_wrong")
    await bench.run(0, 2)
    await bench.acknowledge("tile_done")
