# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A component of Intel's Platform Designer: `daqkf_system_hw.tcl`, and a module around the system.

Platform Designer wants every signal of an AXI port, also those that say nothing here, such as those
of a write where nothing is written. The module around the system has them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from daqkf.packaging.ip_xact import VERSION
from daqkf.packaging.system import CLOCK, INTERRUPT, RESET, Bus, Port, Protocol, System
from daqkf.packaging.templates import render

WRAPPER = "daqkf_platform_designer.sv"
COMPONENT = "daqkf_system_hw.tcl"

_KINDS = {
    Protocol.AXI4_LITE: "axi4lite",
    Protocol.AXI4: "axi4",
    Protocol.AXI4_STREAM: "axi4stream",
}

_ADDRESS = {"id": 1, "addr": 0, "len": 8, "size": 3, "burst": 2, "lock": 1, "cache": 4, "prot": 3}
"""Bits of what goes with an address; those of the address are the bus's."""
_ISSUING = 8
"""Bursts that a port of the array may have on their way, for the interconnect's buffers."""


@dataclass(frozen=True)
class Signal:
    """A port of the module around the system, and what Platform Designer calls it."""

    name: str
    role: str
    width: int
    is_input: bool
    inner: bool
    """Whether the system has it, too."""
    value: int = 0
    """What it says if the system does not have it."""


@dataclass(frozen=True)
class Interface:
    """A bus as Platform Designer has it."""

    name: str
    kind: str
    manager: bool
    properties: Mapping[str, str]
    ports: tuple[Signal, ...]


def interfaces(system: System) -> tuple[Interface, ...]:
    """The buses of a system with all signals that Platform Designer wants."""
    return tuple(_interface(bus) for bus in system.buses)


def component_files(system: System, contents: str) -> dict[str, bytes]:
    """The files of a component, by name.

    Args:
        system: what it is of.
        contents: what the array is of, in a line.

    Raises:
        DaqkfError: Jinja is not installed.
    """
    buses = interfaces(system)
    added = [port for bus in buses for port in bus.ports]
    own = [port for port in system.ports if port.name in (CLOCK, RESET, INTERRUPT)]
    wrapper = render(
        f"quartus/{WRAPPER}.j2",
        ports=[*own, *added],
        constants=[port for port in added if not port.inner and not port.is_input],
        unused=[port.name for port in added if not port.inner and port.is_input],
        connected=[port.name for port in (*own, *(port for port in added if port.inner))],
    )
    values: dict[str, Any] = {
        "contents": contents,
        "version": VERSION,
        "files": [*system.files, WRAPPER],
        "buses": buses,
        "clock_port": CLOCK,
        "reset_port": RESET,
        "interrupt_port": INTERRUPT,
    }
    return {
        COMPONENT: render(f"quartus/{COMPONENT}.j2", **values),
        WRAPPER: wrapper,
        **{name: text.encode() for name, text in system.files.items()},
    }


def _interface(bus: Bus) -> Interface:
    properties: dict[str, str] = {}
    if bus.protocol is Protocol.AXI4:
        names = ("readIssuingCapability", "writeIssuingCapability", "combinedIssuingCapability")
        properties = dict.fromkeys(names, str(_ISSUING))
    ports = tuple(_signal(bus, *entry) for entry in _roles(bus))
    return Interface(bus.name, _KINDS[bus.protocol], bus.manager, properties, ports)


def _signal(bus: Bus, role: str, width: int, of_manager: bool, value: int) -> Signal:
    """A signal of a bus, which the system has or the module around it adds."""
    port: Port | None = bus.signals.get(role.upper())
    if port is not None:
        return Signal(port.name, role, port.width, port.is_input, True)
    return Signal(f"{bus.name}_{role}", role, width, of_manager != bus.manager, False, value)


def _roles(bus: Bus) -> Iterator[tuple[str, int, bool, int]]:
    """The signals that Platform Designer wants of a bus: role, bits, whether the manager says it,
    and what a port that has no use for it says."""
    if bus.protocol is Protocol.AXI4_STREAM:
        yield from ((role.lower(), 0, False, 0) for role in bus.signals)
        return
    lite, data = bus.protocol is Protocol.AXI4_LITE, bus.data_bits
    parts = {"addr": bus.address_bits, "prot": 3} if lite else _ADDRESS
    for channel in ("aw", "ar"):
        for part, width in parts.items():
            yield f"{channel}{part}", width or bus.address_bits, True, 0
        yield f"{channel}valid", 1, True, 0
        yield f"{channel}ready", 1, False, 0
    yield from (("wdata", data, True, 0), ("wstrb", data // 8, True, 0))
    if not lite:
        yield from (("wlast", 1, True, 0), ("bid", 1, False, 0), ("rid", 1, False, 0))
        yield "rlast", 1, False, 0
    yield from (("wvalid", 1, True, 0), ("wready", 1, False, 0))
    # An answer that cannot come is taken.
    yield from (("bresp", 2, False, 0), ("bvalid", 1, False, 0), ("bready", 1, True, 1))
    yield from (("rdata", data, False, 0), ("rresp", 2, False, 0), ("rvalid", 1, False, 0))
    yield "rready", 1, True, 1
