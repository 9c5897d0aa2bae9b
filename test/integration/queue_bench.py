# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What cocotb runs on `daqkf_system` with a queue, between AXI memories that are not ours."""

import json
import os
import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam, AxiReadBus, AxiResp
from cocotbext.axi.axi_ram import AxiRamRead

from daqkf.hw_targets.descriptors import QueueError
from daqkf.hw_targets.memory import MemoryTiming
from daqkf.hw_targets.status import LoadError
from daqkf.lowering.rtl.registers import register

FOLDER = Path(os.environ.get("DAQKF_SYSTEM_TEST", "."))
FACTS = json.loads((FOLDER / "facts.json").read_text())
EVENTS = register("interrupt_status")


def _pauses(timing: MemoryTiming, seed: int) -> Iterator[bool]:
    """Whether a channel pauses: in refreshes, and at random as often as its bandwidth says."""
    choose = random.Random(seed)
    for now in count():
        refreshes = timing.interval and now % timing.interval < timing.pause
        yield bool(refreshes) or choose.random() >= timing.beats / timing.cycles


class System:
    """The system with a host on its bus, and memory behind its two ports."""

    def __init__(self, dut: Any):
        self.dut, clock, reset = dut, dut.aclk, dut.aresetn
        cocotb.start_soon(Clock(clock, 4, unit="ns").start())
        low = {"reset_active_level": False}
        self.bus: Any = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), clock, reset, **low)
        size = 1 << FACTS["content"].bit_length()
        self.data: Any = AxiRam(
            AxiBus.from_prefix(dut, "m_axi_data"), clock, reset, size=size, **low
        )
        streams = AxiReadBus.from_prefix(dut, "m_axi0")
        self.streams = AxiRamRead(streams, clock, reset, mem=self.data.mem, size=size, **low)
        self.data.write(0, (FOLDER / "content.bin").read_bytes())

    def slow(self, timing: MemoryTiming, seed: int) -> None:
        """Behave as a memory of this timing."""
        read, write = self.data.read_if, self.data.write_if
        channels = (read.r_channel, self.streams.r_channel, write.w_channel, write.b_channel)
        for number, channel in enumerate(channels):
            channel.set_pause_generator(_pauses(timing, seed + number))
        for port in (read, self.streams):
            self._delay(port, timing.latency)

    def _delay(self, port: Any, latency: int) -> None:
        """Let a burst's address wait; the model takes the next one when it is done with it."""
        take = port.ar_channel.recv

        async def recv() -> Any:
            address = await take()
            await ClockCycles(self.dut.aclk, latency)
            return address

        port.ar_channel.recv = recv

    async def reset(self) -> None:
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 4)
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 2)

    async def write(self, address: int, word: int) -> None:
        answer = await self.bus.write(address, word.to_bytes(4, "little"))
        assert answer.resp == AxiResp.OKAY

    async def read(self, name: str, part: str) -> int:
        answer = await self.bus.read(register(name).address, 4)
        return register(name).field(part).get(int.from_bytes(answer.data, "little"))

    async def run(self) -> QueueError:
        """Ring the doorbell, and wait for the interrupt."""
        for write in FACTS["writes"]:
            await self.write(write["address"], write["word"])
        if not int(self.dut.irq.value):
            await with_timeout(RisingEdge(self.dut.irq), 2, "ms")
        error = QueueError(await self.read("queue_status", "error"))
        assert await self.read("interrupt_status", "queue_failed") == (error != QueueError.NONE)
        return error

    def check(self) -> None:
        expected = (FOLDER / "expected.bin").read_bytes()
        assert self.data.read(0, len(expected)) == expected


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def one_doorbell_runs_all(dut: Any) -> None:
    system = System(dut)
    await system.reset()
    assert await system.run() == QueueError.NONE
    system.check()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def a_memory_of_latency_bandwidth_and_refreshes(dut: Any) -> None:
    system = System(dut)
    system.slow(MemoryTiming(**FACTS["timing"]), 5)
    await system.reset()
    assert await system.run() == QueueError.NONE
    system.check()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def errors_of_memory_end_in_a_code(dut: Any) -> None:
    """Streams cannot be read; then they can, and the next queue is right."""
    system = System(dut)
    port, good = system.streams, system.streams._read

    async def fail(address: int, length: int) -> bytes:
        raise ValueError("no such memory")

    port._read = fail
    await system.reset()
    assert await system.run() == QueueError.ARRAY
    assert await system.read("status", "error") == LoadError.MEMORY
    port._read = good
    control = register("control")
    await system.write(control.address, control.field("soft_reset").mask)
    await system.write(EVENTS.address, 0xFFFFFFFF)
    assert await system.run() == QueueError.NONE
    system.check()
