# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_system` as other tools see it: its files, its ports, and the buses that ports make.

All of it is read from the circuit, so that a package has the ports that the circuit has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from xdsl.dialects import hw
from xdsl.dialects.builtin import IntegerType, ModuleOp

from daqkf.compiler.rtl_files import system_module
from daqkf.hw_targets.config import ArrayConfig
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.rtl.system import TOP

CLOCK, RESET, INTERRUPT = "aclk", "aresetn", "irq"
"""The ports that belong to no bus."""


class Protocol(Enum):
    """What a bus speaks."""

    AXI4_LITE = "AXI4-Lite"
    AXI4 = "AXI4"
    AXI4_STREAM = "AXI4-Stream"


@dataclass(frozen=True)
class Port:
    """A port of the top module."""

    name: str
    width: int
    """Bits."""
    is_input: bool


@dataclass(frozen=True)
class Bus:
    """Ports that make an interface, such as `s_axi` or `m_axi0`."""

    name: str
    protocol: Protocol
    manager: bool
    """Whether it begins transfers: a manager of AXI, or a source of a stream."""
    signals: Mapping[str, Port]
    """By the name that the protocol gives them, in capitals: `AWADDR`, `TDATA`."""

    @property
    def data_bits(self) -> int:
        """Bits that a beat carries."""
        names = ("TDATA", "RDATA")
        return next(self.signals[name].width for name in names if name in self.signals)

    @property
    def address_bits(self) -> int:
        """Bits of an address; 0 of a stream."""
        return self.signals["ARADDR"].width if "ARADDR" in self.signals else 0

    @property
    def writes(self) -> bool:
        """Whether it has the channels of writes."""
        return "AWADDR" in self.signals

    @property
    def tells_ends(self) -> bool:
        """Whether a stream has a last beat."""
        return "TLAST" in self.signals


@dataclass(frozen=True)
class System:
    """`daqkf_system` around an array."""

    config: ArrayConfig
    files: Mapping[str, str]
    """SystemVerilog by file name; a module comes after those it has instances of."""
    ports: tuple[Port, ...]

    @classmethod
    def of(cls, config: ArrayConfig) -> "System":
        """The system of an array, generated.

        Raises:
            VerilogExportError: the exporter failed.
        """
        module = system_module(config)
        return cls(config, emit_verilog(module), tuple(_ports(module)))

    @property
    def buses(self) -> tuple[Bus, ...]:
        """The buses, in the order of their first ports."""
        found: dict[str, dict[str, Port]] = {}
        for port in self.ports:
            if port.name not in (CLOCK, RESET, INTERRUPT):
                name, _, signal = port.name.rpartition("_")
                found.setdefault(name, {})[signal.upper()] = port
        return tuple(_bus(name, signals) for name, signals in found.items())

    def bus(self, name: str) -> Bus:
        """The bus of this name.

        Raises:
            StopIteration: there is none.
        """
        return next(bus for bus in self.buses if bus.name == name)

    @property
    def memory_buses(self) -> tuple[Bus, ...]:
        """Those that read or write external memory."""
        return tuple(bus for bus in self.buses if bus.protocol is Protocol.AXI4)

    @property
    def streams(self) -> tuple[Bus, ...]:
        """Those that a host feeds and empties, where there is no queue."""
        return tuple(bus for bus in self.buses if bus.protocol is Protocol.AXI4_STREAM)


def _ports(module: ModuleOp) -> list[Port]:
    tops = (op for op in module.ops if isinstance(op, hw.HWModuleOp) and op.sym_name.data == TOP)
    return [
        Port(
            port.port_name.data,
            port.type.width.data if isinstance(port.type, IntegerType) else 1,
            port.dir.data is hw.Direction.INPUT,
        )
        for port in next(tops).module_type.ports.data
    ]


def _bus(name: str, signals: dict[str, Port]) -> Bus:
    """A bus of these ports: `s_` and `m_` say who begins, and the signals what it speaks."""
    if "TDATA" in signals:
        protocol = Protocol.AXI4_STREAM
    elif "ARLEN" in signals:
        protocol = Protocol.AXI4
    else:
        protocol = Protocol.AXI4_LITE
    return Bus(name, protocol, name.startswith("m_"), signals)
