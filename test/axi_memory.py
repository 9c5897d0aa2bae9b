# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""External memory behind an AXI4 manager port of a unit on a `Bench`, as slow as it may be.

It holds the manager to the protocol: what is offered stays until it is taken, bursts stay within
4 KiB, and `wlast` comes with the last beat of a burst. A read sees what was there when its
address was taken, and a write is there when it is answered: as early and as late as can be.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

OKAY, SLVERR, DECERR = 0, 2, 3
PAGE = 4096


@dataclass
class AxiMemory:
    """Memory of some bytes from address 0 on; what lies beyond is answered with an error."""

    content: bytearray
    beat: int
    """Bytes of a beat."""
    rng: np.random.Generator
    stalls: float = 0.0
    """The share of cycles in which each channel pauses."""
    latency: tuple[int, int] = (5, 6)
    """The least cycles to an answer, and more than the most."""
    prefix: str = "axi"
    bad_reads: range = range(0)
    """Addresses that are answered with an error."""
    bad_writes: range = range(0)
    dead: bool = False
    """It takes addresses and data, but answers nothing."""
    now: int = 0
    reads: deque[tuple[int, int, int, bool]] = field(default_factory=deque)
    """Beats that are owed: when, data, response, last."""
    addresses: deque[tuple[int, int]] = field(default_factory=deque)
    """Bursts that are written: address and beats."""
    beats: deque[tuple[int, int, bool]] = field(default_factory=deque)
    """Data, strobes and whether it is the last one, of beats whose burst is not complete."""
    answers: deque[tuple[int, int, bytes, bytes]] = field(default_factory=deque)
    """When, address, data and strobes of bursts that are complete."""
    offered: dict[str, int] = field(default_factory=dict)
    held: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """What the manager has offered on each channel, and has to go on with."""
    bursts: int = 0

    def offers(self) -> dict[str, int]:
        """The unit's inputs in a cycle."""
        go = dict(zip(("ar", "r", "aw", "w", "b"), self.rng.random(5) >= self.stalls, strict=True))
        old, due = self.offered, not self.dead
        read = due and bool(self.reads) and self.reads[0][0] <= self.now
        read = read and bool(go["r"] or old.get("rvalid"))
        answer = due and bool(self.answers) and self.answers[0][0] <= self.now
        answer = answer and bool(go["b"] or old.get("bvalid"))
        _, data, response, last = self.reads[0] if read else (0, 0, 0, False)
        self.offered = {
            "arready": int(go["ar"]),
            "rvalid": int(read),
            "rdata": data,
            "rresp": response,
            "rlast": int(last),
            "awready": int(go["aw"]),
            "wready": int(go["w"]),
            "bvalid": int(answer),
            "bresp": self._respond(self.answers[0][1], self.bad_writes) if answer else 0,
        }
        return {f"{self.prefix}_{name}": value for name, value in self.offered.items()}

    def takes(self, unit: Mapping[str, int]) -> None:
        """What the unit, which may only read, does in that cycle."""
        outputs = {
            name.removeprefix(f"{self.prefix}_"): value
            for name, value in unit.items()
            if name.startswith(self.prefix)
        }
        for channel, payload in (
            ("ar", ("araddr", "arlen")),
            ("aw", ("awaddr", "awlen")),
            ("w", ("wdata", "wstrb", "wlast")),
        ):
            if f"{channel}valid" not in outputs:
                continue
            values = tuple(outputs[name] for name in payload)
            if channel in self.held:
                assert outputs[f"{channel}valid"], f"{channel} was taken back"
                assert values == self.held[channel], f"{channel} changed"
            if not outputs[f"{channel}valid"]:
                continue
            if self.offered[f"{channel}ready"]:
                self.held.pop(channel, None)
                getattr(self, f"_take_{channel}")(*values)
            else:
                self.held[channel] = values
        if self.offered["rvalid"] and outputs.get("rready", 1):
            self.reads.popleft()
        if self.offered["bvalid"]:
            self._write(*self.answers.popleft()[1:])
        self.now += 1

    def _respond(self, address: int, bad: range) -> int:
        if address + self.beat > len(self.content):
            return DECERR
        return SLVERR if address in bad else OKAY

    def _due(self) -> int:
        return self.now + int(self.rng.integers(*self.latency))

    def _take_ar(self, address: int, length: int) -> None:
        due, beats = self._due(), length + 1
        self._check_burst(address, beats)
        for number in range(beats):
            place = address + number * self.beat
            data = int.from_bytes(self.content[place : place + self.beat], "little")
            last = number == length
            self.reads.append((due, data, self._respond(place, self.bad_reads), last))

    def _check_burst(self, address: int, beats: int) -> None:
        assert address % self.beat == 0
        assert address // PAGE == (address + beats * self.beat - 1) // PAGE, hex(address)
        self.bursts += 1

    def _take_aw(self, address: int, length: int) -> None:
        self._check_burst(address, length + 1)
        self.addresses.append((address, length + 1))
        self._complete()

    def _take_w(self, data: int, strobes: int, last: int) -> None:
        self.beats.append((data, strobes, bool(last)))
        self._complete()

    def _complete(self) -> None:
        """Take the first burst if all of it is there."""
        if not self.addresses or len(self.beats) < self.addresses[0][1]:
            return
        address, count = self.addresses.popleft()
        taken = [self.beats.popleft() for _ in range(count)]
        assert [last for _, _, last in taken] == [False] * (count - 1) + [True]
        data = b"".join(value.to_bytes(self.beat, "little") for value, _, _ in taken)
        bits = b"".join(value.to_bytes(-(-self.beat // 8), "little") for _, value, _ in taken)
        strobes = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
        self.answers.append((self._due(), address, data, strobes.tobytes()))

    def _write(self, address: int, data: bytes, strobes: bytes) -> None:
        if self._respond(address, self.bad_writes):
            return
        for offset, (value, strobe) in enumerate(zip(data, strobes, strict=True)):
            if strobe:
                self.content[address + offset] = value
