# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Projects for Vivado: a block design of a board around `daqkf_system`, and what builds it.

    registers ← control ← the processor, or the host behind PCI Express
    array, DMAs → memory_0, memory_1, … → ports of the memory
    interrupts of the array and the DMAs → the processor, or the host

An array with a queue reads and writes memory by itself. One without has its streams fed and emptied
by two DMAs, one for programs and one for activations and results. Boards are TOML files in
`vivado_boards/`, and what their processing systems are is in `vivado_systems/`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daqkf.lowering.rtl.registers import ADDRESS_BITS
from daqkf.packaging.boards import facts, read
from daqkf.packaging.ip_xact import REGISTERS, VLNV, Edition, component_xml
from daqkf.packaging.package import Package, check_clock, fit_note
from daqkf.packaging.system import CLOCK, INTERRUPT, RESET, Bus, System
from daqkf.packaging.templates import render
from daqkf.support.errors import DaqkfError

_SYSTEMS = Path(__file__).parent / "vivado_systems"

DESIGN = "daqkf_soc"
"""The block design."""
ARRAY = "daqkf"
"""The cell of the array in it."""
_ARRAY_CLOCK, _ARRAY_RESET = "clock/clk_out1", "reset/peripheral_aresetn"
_SYNCHRONIZER = "daqkf_interrupt_synchronizer.v"

_STRIDE = 1 << 16
"""Bytes from the registers of one cell to those of the next."""
_STREAM_BITS = frozenset(8 << power for power in range(8))
"""Widths that the streams of a DMA can have (AMD PG021)."""
_SMALLEST_MEMORY_BITS = 32
_REALIGNED_BITS = 64
_MOST_MANAGERS = 16
"""That a SmartConnect joins (AMD PG247)."""


@dataclass(frozen=True)
class Region:
    """Memory at an address."""

    name: str
    base: int
    bytes: int


@dataclass(frozen=True)
class Board:
    """A board, and what its processing system has to be told of it."""

    name: str
    description: str
    device: str
    """One of `hw_targets/devices`."""
    part: str
    board_part: str
    """Of the files that Vivado has of the board, without their version."""
    system: str
    """One of `vivado_systems/`."""
    clock_mhz: float
    """Of the array, where nothing else is asked for."""
    clocks_mhz: tuple[float, float]
    """The slowest and the fastest one that its clock wizard makes."""
    regions: tuple[Region, ...]
    needs_board_files: bool = False
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    pins: tuple[Mapping[str, str], ...] = ()
    clocks: Mapping[str, float] = field(default_factory=dict[str, float])
    """Periods in ns of clocks that come in and that no IP says, by port."""


def load_board(name: str) -> Board:
    """The board of this name.

    Raises:
        DaqkfError: there is none.
    """
    data = facts("vivado", name)
    regions = [
        Region(
            entry["name"].format(index=index),
            entry["base"] + index * entry["bytes"],
            entry["bytes"],
        )
        for entry in data["regions"]
        for index in range(entry.get("number", 1))
    ]
    pins = tuple({"pull": "", **pin} for pin in data.get("pins", ()))
    own = {"regions": tuple(regions), "pins": pins, "clocks_mhz": tuple(data["clocks_mhz"])}
    return Board(name=name, **{**data, **own})


@dataclass(frozen=True)
class Manager:
    """What begins transfers: an interface, its address space, and its clock."""

    interface: str
    space: str
    clock: str = _ARRAY_CLOCK


@dataclass(frozen=True)
class Segment:
    """Where a cell can be addressed."""

    path: str
    base: int
    bytes: int


@dataclass(frozen=True)
class MemoryPort:
    """A port of the memory."""

    number: int
    interface: str
    clock: str
    """What it works with."""
    clock_input: str
    """The pin that takes the array's clock; empty where the memory has a clock of its own."""
    reset_input: str
    segments: tuple[Segment, ...]
    excluded: tuple[str, ...]
    """What else is behind it, and has no address."""


@dataclass(frozen=True)
class Connection:
    """Managers that share a port of the memory."""

    name: str
    managers: tuple[Manager, ...]
    port: MemoryPort

    @property
    def clocks(self) -> tuple[str, ...]:
        """The clocks of both sides, each once, the array's first if it is one."""
        found = dict.fromkeys([*(manager.clock for manager in self.managers), self.port.clock])
        return tuple(sorted(found, key=lambda clock: clock != _ARRAY_CLOCK))


@dataclass(frozen=True)
class Transfer:
    """A DMA that feeds a stream, and may empty another one."""

    name: str
    stream: str
    results: str
    """Empty if it only feeds."""
    bits: int
    """Of a beat."""

    @property
    def memory_bits(self) -> int:
        """Of its ports to memory."""
        return max(self.bits, _SMALLEST_MEMORY_BITS)

    @property
    def realigns(self) -> int:
        """1 if it takes any address; a DMA of wider streams wants multiples of a beat."""
        return int(self.bits <= _REALIGNED_BITS)

    @property
    def managers(self) -> tuple[Manager, ...]:
        """Its ports to memory."""
        ways = ("MM2S", "S2MM") if self.results else ("MM2S",)
        return tuple(Manager(f"{self.name}/M_AXI_{way}", f"{self.name}/Data_{way}") for way in ways)

    @property
    def interrupts(self) -> tuple[str, ...]:
        """Its interrupts."""
        ways = ("mm2s", "s2mm") if self.results else ("mm2s",)
        return tuple(f"{self.name}/{way}_introut" for way in ways)


@dataclass(frozen=True)
class Registers:
    """The registers of a cell, at their address."""

    interface: str
    segment: str
    base: int
    bytes: int


@dataclass(frozen=True)
class BlockDesign:
    """All that a block design has, beside what its processing system needs."""

    board: Board
    system: Mapping[str, Any]
    """The file of the processing system."""
    clock: float
    """Of the array, in MHz."""
    transfers: tuple[Transfer, ...]
    registers: tuple[Registers, ...]
    connections: tuple[Connection, ...]
    interrupts: tuple[str, ...]

    @classmethod
    def of(cls, system: System, board: Board, clock: float) -> "BlockDesign":
        """The block design of a system on a board.

        Raises:
            DaqkfError: a DMA cannot have the width of a stream, or the board's memory has no place
                for all that reads and writes it.
        """
        data = read(_SYSTEMS / f"{board.system}.toml")
        transfers = _transfers(system)
        managers = [
            *(Manager(**entry) for entry in data.get("managers", ())),
            *(Manager(f"{ARRAY}/{bus.name}", f"{ARRAY}/{bus.name}") for bus in system.memory_buses),
            *(manager for transfer in transfers for manager in transfer.managers),
        ]
        interrupts = (f"{ARRAY}/{INTERRUPT}", *(pin for one in transfers for pin in one.interrupts))
        return cls(
            board,
            data,
            clock,
            transfers,
            _registers(transfers, data["control"]["base"]),
            _connections(managers, data["memory"], board),
            interrupts,
        )

    @property
    def control_clocks(self) -> tuple[str, ...]:
        """Of who writes registers, and of the registers."""
        own = self.system["control"].get("clock", _ARRAY_CLOCK)
        return tuple(dict.fromkeys([_ARRAY_CLOCK, own]))

    @property
    def crosses(self) -> bool:
        """Whether interrupts go to another clock."""
        return "clock" in self.system["interrupts"]

    def addresses(self) -> dict[str, Any]:
        """What a driver has to know: where registers and memory are, and whose interrupts are."""
        return {
            "board": self.board.name,
            "clock_mhz": self.clock,
            "registers": {
                entry.interface.partition("/")[0]: {"base": entry.base, "bytes": entry.bytes}
                for entry in self.registers
            },
            "memory": [vars(region) for region in self.board.regions],
            "interrupts": list(self.interrupts),
        }

    def render(self, template: str, contents: str) -> bytes:
        """A file of the project."""
        return render(
            f"vivado/{template}",
            board=self.board,
            system=self.system,
            clock=f"{self.clock:g}",
            name=DESIGN,
            vlnv=VLNV,
            contents=contents,
            array=ARRAY,
            array_clock=_ARRAY_CLOCK,
            array_reset=_ARRAY_RESET,
            clock_port=CLOCK,
            reset_port=RESET,
            transfers=self.transfers,
            registers=self.registers,
            connections=self.connections,
            interrupts=self.interrupts,
            control_clocks=self.control_clocks,
            synchronizer=_SYNCHRONIZER if self.crosses else "",
        )


def _transfers(system: System) -> tuple[Transfer, ...]:
    """The DMAs of the streams."""
    if not system.streams:
        return ()
    program, x, y = (system.bus(name) for name in ("s_axis_prog", "s_axis_x", "m_axis_y"))
    for bus in (program, x):
        _check_width(bus)
    return (
        Transfer("dma_program", program.name, "", program.data_bits),
        Transfer("dma_data", x.name, y.name, x.data_bits),
    )


def _check_width(bus: Bus) -> None:
    if bus.data_bits not in _STREAM_BITS:
        raise DaqkfError(
            f"{bus.name} has {bus.data_bits} bits, and a DMA has a power of two up to "
            f"{max(_STREAM_BITS)}: compile for a number of lanes that is one, or for a queue"
        )


def _registers(transfers: tuple[Transfer, ...], base: int) -> tuple[Registers, ...]:
    """Where the registers of the array and of the DMAs are."""
    array = Registers(f"{ARRAY}/s_axi", f"{ARRAY}/s_axi/{REGISTERS}", base, 1 << ADDRESS_BITS)
    others = (
        Registers(
            f"{entry.name}/S_AXI_LITE",
            f"{entry.name}/S_AXI_LITE/Reg",
            base + index * _STRIDE,
            _STRIDE,
        )
        for index, entry in enumerate(transfers, start=1)
    )
    return (array, *others)


def _connections(
    managers: list[Manager], memory: Mapping[str, Any], board: Board
) -> tuple[Connection, ...]:
    """The managers in turns on as many ports of the memory as there are, or as there are of them.

    Raises:
        DaqkfError: there are more managers than places.
    """
    ports = min(len(managers), memory["ports"])
    if len(managers) > ports * _MOST_MANAGERS:
        raise DaqkfError(
            f"{board.description} has {ports * _MOST_MANAGERS} places for what reads and writes "
            f"memory, and the array and its host need {len(managers)}: compile for fewer "
            "memory_ports"
        )
    return tuple(
        Connection(
            f"memory_{number}", tuple(managers[number::ports]), _port(memory, number, board.regions)
        )
        for number in range(ports)
    )


def _port(memory: Mapping[str, Any], number: int, regions: tuple[Region, ...]) -> MemoryPort:
    def named(pattern: str, region: str = "") -> str:
        return pattern.format(port=number, other=number + memory.get("first", 0), region=region)

    return MemoryPort(
        number,
        named(memory["interface"]),
        memory.get("clock", _ARRAY_CLOCK),
        named(memory.get("clock_input", "")),
        named(memory.get("reset_input", "")),
        tuple(
            Segment(named(memory["segment"], region.name), region.base, region.bytes)
            for region in regions
        ),
        tuple(named(pattern) for pattern in memory.get("excluded", ())),
    )


def vivado_package(system: System, name: str, clock: float | None, contents: str) -> Package:
    """A project for Vivado.

    Args:
        system: what is packaged.
        name: the board's, of `boards.names`.
        clock: of the array, in MHz; None for the board's own.
        contents: what the array is of, in a line.

    Raises:
        DaqkfError: there is no such board, or no such clock on it, the array does not fit on its
            device, a stream has a width that no DMA has, or there are too many ports for the
            board's memory.
    """
    board = load_board(name)
    check_clock(clock, board.clocks_mhz, board.description)
    note = fit_note(system.config, board.device, board.description)
    design = BlockDesign.of(system, board, clock or board.clock_mhz)
    sources = {f"ip/{file}": text.encode() for file, text in system.files.items()}
    files = {
        "build.tcl": design.render("build.tcl.j2", contents),
        "design.tcl": design.render("design.tcl.j2", contents),
        "board.xdc": design.render("board.xdc.j2", contents),
        "addresses.json": (json.dumps(design.addresses(), indent=2) + "\n").encode(),
        "ip/component.xml": component_xml(system, Edition.IEEE_2009).encode(),
        **sources,
    }
    if design.crosses:
        files[_SYNCHRONIZER] = design.render(f"{_SYNCHRONIZER}.j2", contents)
    usage = "in this folder: vivado -mode batch -source build.tcl"
    return Package("vivado", board.description, files, usage, (note,) if note else ())
