# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Netlists of UltraScale+ primitives, read from yosys' JSON for `gates/Vdaqkf_array.h` to run.

Every LUT, multiplexer and bit of a carry chain becomes a gate: a table of up to six inputs.
Memories are kept. Nets have numbers, of which 0 and 1 are the constants.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.synthesis.running import SynthesisError

MEMORY = "$mem_v2"
CLOCK = "clk"
PORTS = (
    *("rst", "prog_tvalid", "x_tvalid", "y_tready", "prog_tdata", "x_tdata"),
    *("prog_tready", "x_tready", "y_tvalid", "y_tlast"),
    *("status_phase", "status_error", "status_variant", "y_tdata"),
)
"""The order of the ports in the netlist's file."""

_LUT, _SHIFT, _ASYNCHRONOUS = range(3)

LUT_DELAY, CARRY_DELAY = 261, 15
"""Of a gate, in picoseconds: a LUT of a 22 nm FPGA as the architecture files of VTR have it
(k6_N10_I40_Fi6_L4_frac0_ff1_22nm), and a bit of a carry chain."""

PIN_DELAY, HOP_DELAY, HOPS = 167, 58, 4
"""Of a net, in picoseconds: the connection block and crossbar before a pin, and each switch on the
way there, of which a net that is not placed has any number up to `HOPS`. From the same file."""
_BUFFER, _INVERTER, _OR, _XOR, _MUX = 0b10, 0b01, 0b1110, 0b0110, 0b1100_1010
_RESET_TO = {"FDRE": 0, "FDSE": 1}


@dataclass
class _Gate:
    kind: int
    out: int
    inputs: Sequence[int]
    table: int = 0
    index: int = 0
    outs: Sequence[int] = ()
    """All output nets, if the gate has several."""
    carry: bool = False
    """Whether its output is the carry of the next bit, which is not routed."""


@dataclass
class Netlist:
    """A flattened netlist."""

    nets: int = 2
    gates: list[_Gate] = field(default_factory=list)
    flops: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    """The nets q, d, enable and reset of each flip-flop, and its value after a reset."""
    shifts: list[tuple[int, int]] = field(default_factory=list)
    """The nets enable and d of each shift register."""
    memories: list[dict[str, Any]] = field(default_factory=list)
    reads: list[dict[str, Any]] = field(default_factory=list)
    ports: dict[str, list[int]] = field(default_factory=dict)
    loads: list[int] = field(default_factory=list)
    """For each pin of a primitive, a memory or an output, the net that drives it. Pins of the clock
    are left out."""
    drivers: dict[int, str] = field(default_factory=dict)
    """The module that drives each net; the circuit's inputs have none."""

    def fan_out(self) -> NDArray[np.int64]:
        """The number of pins that each net drives, [nets]; for the two constants it is 0."""
        counts = np.bincount(np.array(self.loads, np.int64), minlength=self.nets)
        counts[:2] = 0
        return counts

    def encode(self) -> bytes:
        """The bytes of the netlist's file.

        Raises:
            SynthesisError: the logic has a combinational loop.
        """
        words: list[int] = [self.nets, len(self.gates)]
        hops = np.random.default_rng(0).integers(1, HOPS + 1, len(self.gates)).tolist()
        for gate, way in zip(_sorted(self.gates), hops, strict=True):
            inputs = [*gate.inputs, *[0] * 6][:6] if gate.kind != _ASYNCHRONOUS else [0] * 6
            words += [gate.kind, gate.out, gate.index, *inputs]
            words += [gate.table & 0xFFFFFFFF, gate.table >> 32]
            words.append(CARRY_DELAY if gate.carry else LUT_DELAY + PIN_DELAY + HOP_DELAY * way)
        words.append(len(self.flops))
        words += [word for flop in self.flops for word in flop]
        words.append(len(self.shifts))
        words += [word for shift in self.shifts for word in shift]
        words.append(len(self.memories))
        for memory in self.memories:
            words += [memory["width"], memory["size"], len(memory["writes"])]
            for write in memory["writes"]:
                words += [word for nets in write for word in (len(nets), *nets)]
        words.append(len(self.reads))
        for read in self.reads:
            words += [read["clocked"], read["transparent"], read["enable"], read["memory"]]
            words += [len(read["address"]), *read["address"], len(read["data"]), *read["data"]]
        for name in PORTS:
            nets = self.ports.get(name, [])
            words += [len(nets), *nets]
        return np.array(words, "<u4").tobytes()


def load(modules: Mapping[str, Any], top: str) -> Netlist:
    """Read the netlist of the module `top`, with its submodules, from the `modules` of yosys' JSON.

    Raises:
        SynthesisError: the simulation does not know a primitive, or one of its properties.
    """
    return _Loader(modules).load(top)


class _Loader:
    def __init__(self, modules: Mapping[str, Any]):
        self.modules = modules
        self.netlist = Netlist()
        self.same: dict[int, int] = {}
        self.clocks: list[int] = []

    def load(self, top: str) -> Netlist:
        result = self.netlist
        local: dict[int, int] = {}
        ports = self.modules[top]["ports"]
        result.ports = {name: self.nets(local, port["bits"]) for name, port in ports.items()}
        for name, port in ports.items():
            if port["direction"] == "output":
                result.loads += result.ports[name]
        self.expand(top, local)
        self.rename()
        if unknown := sorted(ports.keys() - {CLOCK, *PORTS}):
            raise SynthesisError(f"{top} has a port {unknown[0]}, which the harness does not know")
        (clock,) = result.ports[CLOCK]
        if any(net != clock for net in self.clocks):
            raise SynthesisError(f"{top} clocks something by another net than {CLOCK}")
        return result

    # Nets

    def fresh(self) -> int:
        self.netlist.nets += 1
        return self.netlist.nets - 1

    def nets(self, local: dict[int, int], bits: Iterable[int | str]) -> list[int]:
        """The nets of a module's bits; an undefined bit is net 0."""
        found = []
        for bit in bits:
            if isinstance(bit, str):
                found.append(int(bit == "1"))
            else:
                if bit not in local:
                    local[bit] = self.fresh()
                found.append(local[bit])
        return found

    def find(self, net: int) -> int:
        while net in self.same:
            net = self.same[net]
        return net

    def join(self, one: int, other: int) -> None:
        """Note that two numbers are one net; a constant keeps its number."""
        one, other = sorted((self.find(one), self.find(other)))
        if one != other:
            self.same[other] = one

    def rename(self) -> None:
        """Give each net one number."""
        result = self.netlist
        new = [self.find(net) for net in range(result.nets)]

        def renamed(nets: Sequence[int]) -> list[int]:
            return [new[net] for net in nets]

        for gate in result.gates:
            gate.out, gate.inputs, gate.outs = (
                new[gate.out],
                renamed(gate.inputs),
                renamed(gate.outs),
            )
        result.flops = [(*renamed(flop[:4]), flop[4]) for flop in result.flops]  # pyright: ignore
        result.shifts = [(new[enable], new[d]) for enable, d in result.shifts]
        for memory in result.memories:
            memory["writes"] = [tuple(map(renamed, write)) for write in memory["writes"]]
        for read in result.reads:
            read["enable"] = new[read["enable"]]
            read["address"], read["data"] = renamed(read["address"]), renamed(read["data"])
        result.ports = {name: renamed(nets) for name, nets in result.ports.items()}
        result.loads = renamed(result.loads)
        result.drivers = {new[net]: module for net, module in result.drivers.items()}
        self.clocks = renamed(self.clocks)

    # Cells

    def expand(self, module: str, local: dict[int, int]) -> None:
        for name, cell in self.modules[module]["cells"].items():
            kind = cell["type"]
            if kind == "$scopeinfo":
                continue
            pins = {pin: self.nets(local, bits) for pin, bits in cell["connections"].items()}
            if kind in self.modules:
                self.instance(kind, pins)
                continue
            for pin, nets in pins.items():
                if cell["port_directions"][pin] == "output":
                    self.netlist.drivers |= dict.fromkeys(nets, module)
                elif pin in ("C", "CLK", "RD_CLK", "WR_CLK"):
                    self.clocks += [net for net in nets if kind != MEMORY or net > 1]
                else:
                    self.netlist.loads += nets
            try:
                self.primitive(kind, pins, cell["parameters"])
            except _Unknown as problem:
                message = f"{module}: the simulation cannot run {name}: {problem}"
                raise SynthesisError(message) from None

    def instance(self, module: str, pins: Mapping[str, list[int]]) -> None:
        inner: dict[int, int] = {}
        for name, port in self.modules[module]["ports"].items():
            inside = self.nets(inner, port["bits"])
            for outer, net in zip(pins.get(name, ()), inside, strict=False):
                self.join(outer, net)
        self.expand(module, inner)

    def primitive(self, kind: str, pins: dict[str, list[int]], values: Mapping[str, Any]) -> None:
        if kind == MEMORY:
            self.memory(pins, values)
            return
        if int(_number(values.get("IS_C_INVERTED"))) or _number(values.get("IS_CLK_INVERTED")):
            raise _Unknown("an inverted clock")
        one = {pin: nets[0] for pin, nets in pins.items() if nets}
        if kind.startswith("LUT") and kind[3:].isdigit():
            inputs = [one[f"I{number}"] for number in range(int(kind[3:]))]
            self.gate(one["O"], inputs, _number(values["INIT"]))
        elif kind in ("MUXF7", "MUXF8", "MUXF9"):
            self.gate(one["O"], [one["I0"], one["I1"], one["S"]], _MUX)
        elif kind == "INV":
            self.gate(one["O"], [one["I"]], _INVERTER)
        elif kind == "CARRY4":
            self.carry(pins)
        elif kind in _RESET_TO:
            reset = "R" if kind == "FDRE" else "S"
            d = self.plain(one["D"], values, "IS_D_INVERTED")
            r = self.plain(one[reset], values, f"IS_{reset}_INVERTED")
            self.netlist.flops.append((one["Q"], d, one["CE"], r, _RESET_TO[kind]))
        elif kind in ("SRL16E", "SRLC32E"):
            self.shift(pins, [one[f"A{n}"] for n in range(4)] if kind == "SRL16E" else pins["A"])
        else:
            raise _Unknown(f"a {kind}")

    def gate(self, out: int, inputs: Sequence[int], table: int) -> int:
        self.netlist.gates.append(_Gate(_LUT, out, inputs, table))
        return out

    def plain(self, net: int, values: Mapping[str, Any], inverted: str) -> int:
        """The net that a pin sees: its own, or an inverted one if the pin has an inverter."""
        return self.gate(self.fresh(), [net], _INVERTER) if _number(values.get(inverted)) else net

    def carry(self, pins: Mapping[str, list[int]]) -> None:
        carry = self.gate(self.fresh(), [pins["CI"][0], pins["CYINIT"][0]], _OR)
        outs = [pins.get(pin) or [self.fresh() for _ in range(4)] for pin in ("O", "CO")]
        for s, d, out, up in zip(pins["S"], pins["DI"], *outs, strict=True):
            self.gate(out, [s, carry], _XOR)
            carry = self.gate(up, [d, carry, s], _MUX)
            self.netlist.gates[-1].carry = True

    def shift(self, pins: Mapping[str, list[int]], address: list[int]) -> None:
        index = len(self.netlist.shifts)
        self.netlist.shifts.append((pins["CE"][0], pins["D"][0]))
        taps = [("Q", address), ("Q31", [1] * 5)]
        for pin, bits in taps:
            if pins.get(pin):
                self.netlist.gates.append(_Gate(_SHIFT, pins[pin][0], bits, index=index))

    def memory(self, pins: Mapping[str, list[int]], values: Mapping[str, Any]) -> None:
        width, size, abits = (_number(values[name]) for name in ("WIDTH", "SIZE", "ABITS"))
        reads, writes = _number(values["RD_PORTS"]), _number(values["WR_PORTS"])
        if set(values["INIT"]) - {"x"}:
            raise _Unknown("a memory with contents")
        odd = ("OFFSET", "RD_WIDE_CONTINUATION", "WR_WIDE_CONTINUATION")
        if any(_number(values[name]) for name in odd) or any(pins["RD_ARST"] + pins["RD_SRST"]):
            raise _Unknown("a memory with an offset, ports of several widths or resets")
        index = len(self.netlist.memories)

        def part(pin: str, number: int, bits: int) -> list[int]:
            return pins[pin][number * bits :][:bits]

        self.netlist.memories.append(
            {
                "width": width,
                "size": size,
                "writes": [
                    (part("WR_ADDR", n, abits), part("WR_EN", n, width), part("WR_DATA", n, width))
                    for n in range(writes)
                ],
            }
        )
        clocked, seen = (
            _number(values[name]) for name in ("RD_CLK_ENABLE", "RD_TRANSPARENCY_MASK")
        )
        for n in range(reads):
            transparent = seen >> (n * writes) & ((1 << writes) - 1)
            if transparent not in (0, (1 << writes) - 1):
                raise _Unknown("a memory that shows only some of what is written")
            read = {
                "clocked": clocked >> n & 1,
                "transparent": int(transparent != 0),
                "enable": pins["RD_EN"][n],
                "memory": index,
                "address": part("RD_ADDR", n, abits),
                "data": part("RD_DATA", n, width),
            }
            if not read["clocked"]:
                gate = _Gate(_ASYNCHRONOUS, read["data"][0], read["address"], outs=read["data"])
                gate.index = len(self.netlist.reads)
                self.netlist.gates.append(gate)
            self.netlist.reads.append(read)


class _Unknown(Exception):
    """A primitive or a property that the simulation does not know."""


def _number(bits: str | int | None) -> int:
    """The value of a parameter; its undefined bits count as 0."""
    if bits is None or isinstance(bits, int):
        return bits or 0
    return int("".join("1" if bit == "1" else "0" for bit in bits) or "0", 2)


def _sorted(gates: Sequence[_Gate]) -> list[_Gate]:
    """Sort gates so that each comes after those whose outputs it reads."""
    users: dict[int, list[int]] = {}
    driven = {net for gate in gates for net in (gate.outs or (gate.out,))}
    waits = []
    for number, gate in enumerate(gates):
        needs = driven.intersection(gate.inputs)
        waits.append(len(needs))
        for net in needs:
            users.setdefault(net, []).append(number)
    ready = deque(number for number, count in enumerate(waits) if not count)
    order = []
    while ready:
        gate = gates[ready.popleft()]
        order.append(gate)
        for net in gate.outs or (gate.out,):
            for number in users.get(net, ()):
                waits[number] -= 1
                if not waits[number]:
                    ready.append(number)
    if len(order) != len(gates):
        raise SynthesisError("the logic has a combinational loop")
    return order
