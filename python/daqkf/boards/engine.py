# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_system` in a LiteX SoC: its registers on the bus, its memory ports at LiteDRAM's crossbar.

A port of an engine has the width that the engine wants, and a native port of LiteDRAM that of what
the memory gives in a cycle. LiteX's converters of widths lose a third of the bandwidth, LiteDRAM's
own one a fifth, as a cycle passes before each group of commands. Here a burst becomes a longer one
of narrow beats before LiteDRAM sees it, so that one command follows another.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from xdsl.dialects import hw

from daqkf.dialects.errors import from_extra
from daqkf.hw_targets.config import ArrayConfig
from daqkf.lowering.rtl.registers import ADDRESS_BITS
from daqkf.lowering.rtl.system import TOP, build_system
from daqkf.support.errors import DaqkfError

with from_extra("board"):
    from litedram.frontend.axi import LiteDRAMAXI2Native
    from litex.gen import LiteXModule
    from litex.soc.integration.soc import SoCRegion
    from litex.soc.interconnect import axi, stream
    from litex.soc.interconnect.csr import CSRStatus
    from litex.soc.interconnect.csr_eventmanager import EventManager, EventSourceLevel
    from migen import ClockSignal, Instance, ResetSignal, Signal

REGISTERS, DATA = "s_axi", "m_axi_data"
"""What the system's ports begin with."""

_BUS_BITS = 32
"""Of the addresses of a SoC."""

_BUFFER = 64
"""Beats of LiteDRAM that a port has room for, and asks for ahead of those that it has."""

_LONGEST = 256
"""Beats of a burst of AXI4."""


class _Narrow(LiteXModule):
    """A port of wide beats as bursts of narrow ones: addresses stay, lengths are multiplied."""

    comb: Any

    def __init__(self, wide: axi.AXIInterface, narrow: axi.AXIInterface):
        ratio = wide.data_width // narrow.data_width
        for channel in ("aw", "ar"):
            source, sink = getattr(wide, channel), getattr(narrow, channel)
            self.comb += [
                source.connect(sink, omit={"len", "size"}),
                sink.len.eq((source.len + 1) * ratio - 1),
                sink.size.eq((narrow.data_width // 8).bit_length() - 1),
            ]
        written = [("data", wide.data_width), ("strb", wide.data_width // 8)]
        writes = [("data", narrow.data_width), ("strb", narrow.data_width // 8)]
        self.splits = stream.StrideConverter(written, writes)
        self.joins = stream.StrideConverter([writes[0]], [written[0]])
        self.comb += [
            wide.w.connect(self.splits.sink, omit={"id", "dest", "user"}),
            self.splits.source.connect(narrow.w, omit={"id", "dest", "user"}),
            narrow.r.connect(self.joins.sink, omit={"resp", "id", "dest", "user"}),
            self.joins.source.connect(wide.r, omit={"resp", "id", "dest", "user"}),
            wide.r.resp.eq(axi.RESP_OKAY),
            narrow.b.connect(wide.b),
        ]


class Engine(LiteXModule):
    """`daqkf_system`, with its interrupt as an event of the SoC.

    Args:
        config: of an array with a queue.
    """

    comb: Any
    sync: Any
    specials: Any

    def __init__(self, config: ArrayConfig):
        self.registers = axi.AXILiteInterface(data_width=32, address_width=_BUS_BITS)
        self.memories = {
            name: axi.AXIInterface(config.memory_bits, _BUS_BITS, id_width=1)
            for name in (*(f"m_axi{port}" for port in range(config.memory_ports)), DATA)
        }
        irq, self.ev = Signal(), EventManager()
        self.ev.job = EventSourceLevel(description="the engine's interrupt, until it is cleared")
        self.ev.finalize()
        self.comb += self.ev.job.trigger.eq(irq)
        bound: dict[str, Any] = {
            "i_aclk": ClockSignal(),
            "i_aresetn": ~ResetSignal(),
            "o_irq": irq,
        }
        for name, direction in _ports(config).items():
            prefix, _, signal = name.rpartition("_")
            if prefix == REGISTERS:
                bound[f"{direction}_{name}"] = _signal(self.registers, signal)
            elif prefix in self.memories:
                bound[f"{direction}_{name}"] = _signal(self.memories[prefix], signal)
        self.specials += Instance(TOP, **bound)
        self.beats = CSRStatus(
            32, description="Beats that the memory has given and taken, modulo 2^32."
        )

    def count(self, ports: Sequence[axi.AXIInterface]) -> None:
        """Count what passes through these ports, of the width of LiteDRAM's."""
        moved = [channel.valid & channel.ready for port in ports for channel in (port.r, port.w)]
        self.sync += self.beats.status.eq(self.beats.status + sum(moved))


def _ports(config: ArrayConfig) -> Mapping[str, str]:
    """`i` or `o` for each port of the system."""
    ways = {hw.Direction.INPUT: "i", hw.Direction.OUTPUT: "o"}
    ports = build_system(config).finished().module_type.ports
    return {port.port_name.data: ways[port.dir.data] for port in ports}


def _signal(bus: Any, name: str) -> Any:
    """The signal of a bus by its name in AXI, such as `awaddr`."""
    channel = name[:2] if name[:2] in ("aw", "ar") else name[:1]
    return getattr(getattr(bus, channel), name.removeprefix(channel))


def add_engine(soc: Any, config: ArrayConfig) -> None:
    """Put an engine into a SoC that has LiteDRAM.

    Args:
        soc: a `SoCCore` with `sdram`, which is not finalized.
        config: of the engine's array.

    Raises:
        DaqkfError: the array has no queue, or its port does not go with this memory.
    """
    if not config.queue:
        raise DaqkfError(
            "the engine of a SoC takes its jobs from a queue: compile for a target that has "
            "queue = true, such as 'ulx3s'"
        )
    native = soc.sdram.crossbar.controller.data_width
    if config.memory_bits % native or 32 * config.memory_bits > _LONGEST * native:
        raise DaqkfError(
            f"a memory port of {config.memory_bits} bits does not go with a memory that gives "
            f"{native} bits a cycle: memory_bits has to be {max(native, 64)} to "
            f"{_LONGEST // 32 * native}"
        )
    soc.engine = engine = Engine(config)
    soc.irq.add("engine", use_loc_if_exists=True)
    size = 1 << ADDRESS_BITS
    soc.bus.add_slave("engine", engine.registers, SoCRegion(size=size, cached=False))
    ports: list[axi.AXIInterface] = []
    for name, wide in engine.memories.items():
        port = soc.sdram.crossbar.get_port()
        narrow = axi.AXIInterface(native, _BUS_BITS, id_width=1)
        to_native = LiteDRAMAXI2Native(
            narrow,
            port,
            w_buffer_depth=_BUFFER,
            r_buffer_depth=_BUFFER,
            base_address=soc.bus.regions["main_ram"].origin,
        )
        ports.append(narrow)
        soc.add_module(f"{name}_narrow", _Narrow(wide, narrow))
        soc.add_module(f"{name}_port", to_native)
    engine.count(ports)
