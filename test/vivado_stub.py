# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""As much of Vivado as scripts of block designs need to be found wrong: no Vivado runs here.

Tcl is run by Python's own interpreter, with commands that keep what was made. Each of them is an
error where Vivado's is: for an IP, a pin, an interface, a property or a segment that there is not,
for two drivers of a net, and for buses that do not fit each other. `validate_bd_design` also finds
what is not connected, clocks that differ at the two ends of a bus, and addresses that are missing,
misplaced or overlap. What vendors' IPs have is in `IPS`, from their product guides; what ours has
is read from its `component.xml`.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcl_stub import TclStub

SPIRIT = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"

NEEDED = {
    "ARADDR": {"ARVALID", "ARREADY", "RDATA", "RVALID", "RREADY"},
    "AWADDR": {"AWVALID", "AWREADY", "WDATA", "WVALID", "WREADY", "BVALID", "BREADY"},
    "TDATA": {"TVALID", "TREADY"},
}
"""What a bus of AXI has to have beside its address, or its data."""


class VivadoError(Exception):
    """What Vivado would not take."""


@dataclass(frozen=True)
class Pin:
    output: bool
    kind: str = "data"
    """`clk`, `rst`, `intr` or `data`; clocks and resets that go in have to be connected."""
    width: int = 1
    open: bool = False
    """May stay unconnected."""


@dataclass(frozen=True)
class Interface:
    manager: bool
    kind: str
    """`aximm`, `axis`, or of another interface."""
    clock: str = ""
    """The pin whose clock it has."""
    bits: int = 0
    """Of a stream."""
    spaces: tuple[str, ...] = ()
    segments: Mapping[str, tuple[int | None, int]] = field(default_factory=dict)
    """The base, or None if it may be anywhere, and the size, by the name within the cell."""
    address_bits: int = 64
    open: bool = False


@dataclass
class Ip:
    """An IP: what it has for its properties."""

    version: str
    properties: Mapping[str, str]
    build: Callable[[Mapping[str, str]], "tuple[dict[str, Pin], dict[str, Interface]]"]


Parts = tuple[dict[str, Pin], dict[str, Interface]]


def _in(kind: str = "data", **more: Any) -> Pin:
    return Pin(False, kind, **more)


def _out(kind: str = "data", **more: Any) -> Pin:
    return Pin(True, kind, **more)


def _number(config: Mapping[str, str], name: str) -> int:
    return int(config[name], 0)


def _yes(config: Mapping[str, str], name: str) -> bool:
    if config[name].lower() not in ("0", "1", "true", "false"):
        raise VivadoError(f"{name} is {config[name]}")
    return config[name].lower() in ("1", "true")


def _clk_wiz(_: Mapping[str, str]) -> Parts:
    pins = {"clk_in1": _in("clk"), "clk_out1": _out("clk"), "locked": _out()}
    return pins, {}


def _reset(_: Mapping[str, str]) -> Parts:
    names = "mb_reset", "bus_struct_reset", "peripheral_reset"
    return {
        "slowest_sync_clk": _in("clk"),
        "ext_reset_in": _in("rst"),
        "aux_reset_in": _in("rst", open=True),
        "mb_debug_sys_rst": _in("rst", open=True),
        "dcm_locked": _in(open=True),
        **{name: _out("rst") for name in names},
        "interconnect_aresetn": _out("rst"),
        "peripheral_aresetn": _out("rst"),
    }, {}


def _smartconnect(config: Mapping[str, str]) -> Parts:
    clocks = [f"aclk{number or ''}" for number in range(_number(config, "NUM_CLKS"))]
    pins = {name: _in("clk") for name in clocks} | {"aresetn": _in("rst")}
    inner = {f"S{n:02}_AXI": Interface(False, "aximm") for n in range(_number(config, "NUM_SI"))}
    outer = {f"M{n:02}_AXI": Interface(True, "aximm") for n in range(_number(config, "NUM_MI"))}
    if not (1 <= len(inner) <= 16 and 1 <= len(outer) <= 16):
        raise VivadoError("a smartconnect has 1 to 16 ports on each side")
    return pins, inner | outer


def _concat(config: Mapping[str, str]) -> Parts:
    number = _number(config, "NUM_PORTS")
    return {f"In{n}": _in() for n in range(number)} | {"dout": _out(width=number)}, {}


def _gate(_: Mapping[str, str]) -> Parts:
    return {"Op1": _in(), "Op2": _in(), "Res": _out()}, {}


def _buffer(config: Mapping[str, str]) -> Parts:
    pins = {"IBUF_OUT": _out("clk")}
    if config["C_BUF_TYPE"] == "IBUFDSGTE":
        pins["IBUF_DS_ODIV2"] = _out("clk")
    return pins, {"CLK_IN_D": Interface(False, "diff_clock")}


def _dma(config: Mapping[str, str]) -> Parts:
    if _yes(config, "c_include_sg"):
        raise VivadoError("the stub knows no scatter-gather")
    pins = {"s_axi_lite_aclk": _in("clk"), "axi_resetn": _in("rst")}
    buses = {
        "S_AXI_LITE": Interface(
            False, "aximm", "s_axi_lite_aclk", segments={"S_AXI_LITE/Reg": (None, 0x10000)}
        )
    }
    for way, enabled in (("mm2s", "c_include_mm2s"), ("s2mm", "c_include_s2mm")):
        if not _yes(config, enabled):
            continue
        bits = _number(config, f"c_m_axi_{way}_data_width")
        if bits not in (32, 64, 128, 256, 512, 1024):
            raise VivadoError(f"a DMA has no port of {bits} bits")
        pins |= {f"m_axi_{way}_aclk": _in("clk"), f"{way}_introut": _out("intr")}
        buses[f"M_AXI_{way.upper()}"] = Interface(
            *(True, "aximm", f"m_axi_{way}_aclk"),
            spaces=(f"Data_{way.upper()}",),
            address_bits=_number(config, "c_addr_width"),
        )
        stream = "M_AXIS_MM2S" if way == "mm2s" else "S_AXIS_S2MM"
        width = _number(config, "c_m_axis_mm2s_tdata_width") if way == "mm2s" else 0
        if width > bits:
            raise VivadoError(f"a stream of {width} bits is wider than the memory's {bits}")
        buses[stream] = Interface(way == "mm2s", "axis", f"m_axi_{way}_aclk", bits=width)
    return pins, buses


def _zynqmp(config: Mapping[str, str]) -> Parts:
    pins = {"pl_clk0": _out("clk"), "pl_resetn0": _out("rst")}
    buses: dict[str, Interface] = {}
    if _yes(config, "PSU__USE__IRQ0"):
        pins["pl_ps_irq0"] = _in("intr", width=8)
    for number, name in enumerate(("HPM0_FPD", "HPM1_FPD", "HPM0_LPD")):
        if _yes(config, f"PSU__USE__M_AXI_GP{number}"):
            clock = f"maxi{name.lower()}_aclk"
            pins[clock] = _in("clk")
            buses[f"M_AXI_{name}"] = Interface(
                True, "aximm", clock, spaces=("Data",), address_bits=40
            )
    for number in range(4):
        if _yes(config, f"PSU__USE__S_AXI_GP{number + 2}"):
            clock, place = f"saxihp{number}_fpd_aclk", f"SAXIGP{number + 2}/HP{number}_"
            pins[clock] = _in("clk")
            segments = {
                f"{place}DDR_LOW": (0, 1 << 31),
                f"{place}LPS_OCM": (0xFF00_0000, 1 << 24),
                f"{place}QSPI": (0xC000_0000, 1 << 29),
            }
            if _yes(config, "PSU__DDR_HIGH_ADDRESS_GUI_ENABLE"):
                segments[f"{place}DDR_HIGH"] = 0x8_0000_0000, 1 << 31
            buses[f"S_AXI_HP{number}_FPD"] = Interface(False, "aximm", clock, segments=segments)
    return pins, buses


def _zynq7(config: Mapping[str, str]) -> Parts:
    pins = {"FCLK_CLK0": _out("clk"), "FCLK_RESET0_N": _out("rst")}
    buses = {
        "DDR": Interface(True, "ddrx", open=True),
        "FIXED_IO": Interface(True, "fixedio", open=True),
    }
    if _yes(config, "PCW_USE_FABRIC_INTERRUPT") and _yes(config, "PCW_IRQ_F2P_INTR"):
        pins["IRQ_F2P"] = _in("intr", width=16)
    if _yes(config, "PCW_USE_M_AXI_GP0"):
        pins["M_AXI_GP0_ACLK"] = _in("clk")
        buses["M_AXI_GP0"] = Interface(
            True, "aximm", "M_AXI_GP0_ACLK", spaces=("Data",), address_bits=32
        )
    for number in range(4):
        name = f"S_AXI_HP{number}"
        if _yes(config, f"PCW_USE_{name}"):
            pins[f"{name}_ACLK"] = _in("clk")
            segments = {f"{name}/HP{number}_DDR_LOWOCM": (0, 1 << 29)}
            buses[name] = Interface(False, "aximm", f"{name}_ACLK", segments=segments)
    return pins, buses


def _xdma(config: Mapping[str, str]) -> Parts:
    number = _number(config, "xdma_num_usr_irq")
    if not 1 <= number <= 16:
        raise VivadoError("XDMA has 1 to 16 interrupts")
    pins = {
        "sys_clk": _in("clk"),
        "sys_clk_gt": _in("clk"),
        "sys_rst_n": _in("rst"),
        "axi_aclk": _out("clk"),
        "axi_aresetn": _out("rst"),
        "usr_irq_req": _in("intr", width=number),
        "usr_irq_ack": _out(width=number),
    }
    buses = {
        "pcie_mgt": Interface(True, "pcie_7x_mgt"),
        "M_AXI": Interface(True, "aximm", "axi_aclk", spaces=("M_AXI",)),
    }
    if _yes(config, "axilite_master_en"):
        buses["M_AXI_LITE"] = Interface(
            *(True, "aximm", "axi_aclk"),
            spaces=("M_AXI_LITE",),
            address_bits=(_number(config, "axilite_master_size") * (1 << 20) - 1).bit_length(),
        )
        assert config["axilite_master_scale"] == "Megabytes"
    return pins, buses


def _hbm(config: Mapping[str, str]) -> Parts:
    names = "HBM_REF_CLK_0", "HBM_REF_CLK_1", "APB_0_PCLK", "APB_1_PCLK"
    pins = {name: _in("clk") for name in names}
    pins |= {"APB_0_PRESET_N": _in("rst"), "APB_1_PRESET_N": _in("rst")}
    pins |= {f"DRAM_{stack}_STAT_CATTRIP": _out() for stack in range(2)}
    buses: dict[str, Interface] = {}
    for port in range(32):
        if _yes(config, f"USER_SAXI_{port:02}"):
            pins |= {f"AXI_{port:02}_ACLK": _in("clk"), f"AXI_{port:02}_ARESET_N": _in("rst")}
            buses[f"SAXI_{port:02}"] = Interface(
                *(False, "aximm", f"AXI_{port:02}_ACLK"),
                segments={
                    f"SAXI_{port:02}/HBM_MEM{part:02}": (part << 28, 1 << 28) for part in range(32)
                },
                address_bits=33,
                open=port in (0, 16),
            )
    for stack in range(2):
        if config[f"USER_CLK_SEL_LIST{stack}"] not in pins:
            raise VivadoError(f"stack {stack} of the HBM has no clock")
    return pins, buses


def _ddr4(config: Mapping[str, str]) -> Parts:
    pins = {
        "sys_rst": _in("rst"),
        "c0_ddr4_ui_clk": _out("clk"),
        "c0_ddr4_ui_clk_sync_rst": _out("rst"),
        "c0_ddr4_aresetn": _in("rst"),
    }
    segment = "C0_DDR4_MEMORY_MAP/C0_DDR4_ADDRESS_BLOCK"
    assert config["C0_DDR4_BOARD_INTERFACE"] != "Custom"
    return pins, {
        "C0_SYS_CLK": Interface(False, "diff_clock"),
        "C0_DDR4": Interface(True, "ddr4"),
        "C0_DDR4_S_AXI": Interface(
            False, "aximm", "c0_ddr4_ui_clk", segments={segment: (0, 1 << 31)}, address_bits=31
        ),
    }


IPS: Mapping[str, Ip] = {
    "clk_wiz": Ip(
        "6.0",
        {"PRIM_SOURCE": "Single_ended", "CLKOUT1_REQUESTED_OUT_FREQ": "100", "USE_RESET": "true"},
        _clk_wiz,
    ),
    "proc_sys_reset": Ip("5.0", {}, _reset),
    "smartconnect": Ip("1.0", {"NUM_SI": "2", "NUM_MI": "1", "NUM_CLKS": "1"}, _smartconnect),
    "xlconcat": Ip("2.1", {"NUM_PORTS": "2"}, _concat),
    "util_vector_logic": Ip("2.0", {"C_OPERATION": "and", "C_SIZE": "8"}, _gate),
    "util_ds_buf": Ip(
        "2.2",
        {
            "C_BUF_TYPE": "IBUFDS",
            "DIFF_CLK_IN_BOARD_INTERFACE": "Custom",
            "USE_BOARD_FLOW": "false",
        },
        _buffer,
    ),
    "axi_dma": Ip(
        "7.1",
        {
            **dict.fromkeys(("c_include_sg", "c_include_mm2s", "c_include_s2mm"), "1"),
            "c_sg_include_stscntrl_strm": "1",
            "c_sg_length_width": "14",
            "c_addr_width": "32",
            **{f"c_include_{way}_dre": "0" for way in ("mm2s", "s2mm")},
            **{f"c_m_axi_{way}_data_width": "32" for way in ("mm2s", "s2mm")},
            "c_m_axis_mm2s_tdata_width": "32",
        },
        _dma,
    ),
    "zynq_ultra_ps_e": Ip(
        "3.5",
        {
            "PSU__FPGA_PL0_ENABLE": "0",
            "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": "100",
            "PSU__USE__IRQ0": "0",
            "PSU__DDR_HIGH_ADDRESS_GUI_ENABLE": "0",
            **{f"PSU__USE__M_AXI_GP{n}": str(int(n < 2)) for n in range(3)},
            **{f"PSU__USE__S_AXI_GP{n}": "0" for n in range(7)},
        },
        _zynqmp,
    ),
    "processing_system7": Ip(
        "5.5",
        {
            "PCW_CRYSTAL_PERIPHERAL_FREQMHZ": "33.333333",
            "PCW_UIPARAM_DDR_PARTNO": "MT41J256M8 HX-15E",
            "PCW_UIPARAM_DDR_BUS_WIDTH": "32 Bit",
            "PCW_FPGA0_PERIPHERAL_FREQMHZ": "50",
            "PCW_USE_FABRIC_INTERRUPT": "0",
            "PCW_IRQ_F2P_INTR": "0",
            "PCW_USE_M_AXI_GP0": "1",
            **{f"PCW_USE_S_AXI_HP{n}": "0" for n in range(4)},
        },
        _zynq7,
    ),
    "xdma": Ip(
        "4.1",
        {
            "PCIE_BOARD_INTERFACE": "Custom",
            "SYS_RST_N_BOARD_INTERFACE": "Custom",
            "functional_mode": "DMA",
            "xdma_axi_intf_mm": "AXI_Memory_Mapped",
            "pl_link_cap_max_link_width": "X1",
            "pl_link_cap_max_link_speed": "2.5_GT/s",
            "axi_data_width": "64_bit",
            "axisten_freq": "125",
            "axilite_master_en": "false",
            "axilite_master_size": "1",
            "axilite_master_scale": "Megabytes",
            "xdma_num_usr_irq": "1",
        },
        _xdma,
    ),
    "hbm": Ip(
        "1.0",
        {
            "USER_HBM_DENSITY": "4GB",
            "USER_HBM_STACK": "1",
            "USER_APB_EN": "true",
            **{f"USER_HBM_REF_CLK_{n}": "100" for n in range(2)},
            **{f"USER_SWITCH_ENABLE_0{n}": "TRUE" for n in range(2)},
            "USER_CLK_SEL_LIST0": "AXI_00_ACLK",
            "USER_CLK_SEL_LIST1": "AXI_16_ACLK",
            "USER_AXI_INPUT_CLK_FREQ": "450",
            "USER_AXI_INPUT_CLK1_FREQ": "450",
            **{f"USER_SAXI_{n:02}": "true" for n in range(32)},
        },
        _hbm,
    ),
    "ddr4": Ip(
        "2.2",
        {
            "C0_DDR4_BOARD_INTERFACE": "Custom",
            "C0_CLOCK_BOARD_INTERFACE": "Custom",
            "RESET_BOARD_INTERFACE": "Custom",
        },
        _ddr4,
    ),
}
"""By name; the properties have the values that they have where nothing is said."""

AUTOMATIONS = {"zynq_ultra_ps_e": "zynq_ultra_ps_e", "processing_system7": "processing_system7"}
"""The rules that are known, by name, and the IP that each is for."""

CROSSBARS = ("smartconnect",)


@dataclass
class Cell:
    name: str
    ip: str
    config: dict[str, str]
    build: Callable[[Mapping[str, str]], Parts]

    @property
    def pins(self) -> dict[str, Pin]:
        return self.build(self.config)[0]

    @property
    def interfaces(self) -> dict[str, Interface]:
        return self.build(self.config)[1]


def packaged(component: Path) -> tuple[str, Ip]:
    """The IP of a `component.xml`, by its VLNV; each file that it names has to be there."""
    root = ET.parse(component).getroot()

    def text(element: ET.Element, path: str) -> str:
        found = element.findtext("/".join(f"{SPIRIT}{part}" for part in path.split("/")))
        assert found is not None, path
        return found

    for file in root.iter(f"{SPIRIT}file"):
        if not (component.parent / text(file, "name")).is_file():
            raise VivadoError(f"{component}: {text(file, 'name')} is not there")
    widths: dict[str, tuple[bool, int]] = {}
    for port in root.iterfind(f"{SPIRIT}model/{SPIRIT}ports/{SPIRIT}port"):
        vector = port.find(f"{SPIRIT}wire/{SPIRIT}vector")
        width = 1 if vector is None else int(text(vector, "left")) - int(text(vector, "right")) + 1
        widths[text(port, "name")] = text(port, "wire/direction") == "out", width
    pins: dict[str, Pin] = {}
    interfaces: dict[str, Interface] = {}
    clocks: dict[str, str] = {}
    for bus in root.iter(f"{SPIRIT}busInterface"):
        kind = bus.find(f"{SPIRIT}busType")
        assert kind is not None
        name, bus_type = text(bus, "name"), kind.get(f"{SPIRIT}name", "")
        maps = {
            text(entry, "logicalPort/name"): text(entry, "physicalPort/name")
            for entry in bus.iter(f"{SPIRIT}portMap")
        }
        for physical in maps.values():
            if physical not in widths:
                raise VivadoError(f"{component}: {name} has no port {physical}")
        parameters = {
            text(entry, "name"): text(entry, "value") for entry in bus.iter(f"{SPIRIT}parameter")
        }
        if bus_type in ("clock", "reset", "interrupt"):
            (physical,) = maps.values()
            short = {"clock": "clk", "reset": "rst", "interrupt": "intr"}[bus_type]
            pins[physical] = Pin(widths[physical][0], short)
            for other in parameters.get("ASSOCIATED_BUSIF", "").split(":"):
                clocks[other] = physical
            continue
        manager = bus.find(f"{SPIRIT}master") is not None
        for first, needed in NEEDED.items():
            missing = needed - maps.keys()
            if first in maps and missing:
                raise VivadoError(f"{component}: {name} has no {', '.join(sorted(missing))}")
        spaces = [
            entry.get(f"{SPIRIT}addressSpaceRef", "")
            for entry in bus.iter(f"{SPIRIT}addressSpaceRef")
        ]
        segments: dict[str, tuple[int | None, int]] = {}
        for reference in bus.iter(f"{SPIRIT}memoryMapRef"):
            memory_map = reference.get(f"{SPIRIT}memoryMapRef")
            for entry in root.iter(f"{SPIRIT}memoryMap"):
                if text(entry, "name") == memory_map:
                    for block in entry.iter(f"{SPIRIT}addressBlock"):
                        key = f"{memory_map}/{text(block, 'name')}"
                        segments[key] = None, int(text(block, "range"))
        bits = widths[maps["TDATA"]][1] if "TDATA" in maps else 0
        address_bits = widths[maps["ARADDR"]][1] if "ARADDR" in maps else 64
        interfaces[name] = Interface(
            manager,
            bus_type,
            bits=bits,
            spaces=tuple(spaces),
            segments=segments,
            address_bits=address_bits,
        )
    missing = interfaces.keys() - clocks.keys()
    if missing:
        raise VivadoError(f"{component}: no clock is associated with {sorted(missing)}")
    whole = {
        name: Interface(**{**vars(entry), "clock": clocks[name]})
        for name, entry in interfaces.items()
    }
    vlnv = ":".join(text(root, part) for part in ("vendor", "library", "name", "version"))
    return vlnv, Ip(vlnv.rpartition(":")[2], {}, lambda _: (pins, whole))


def module_of(source: str) -> tuple[str, Ip]:
    """The cell of a module of Verilog with one parameter, WIDTH."""
    (name,) = re.findall(r"^module (\w+)", source, re.MULTILINE)
    ports = re.findall(r"(input|output)\s+wire\s+(\[WIDTH-1:0\]\s+)?(\w+)", source)

    def build(config: Mapping[str, str]) -> Parts:
        return {
            port: Pin(
                way == "output",
                "clk" if port == "clk" else "data",
                int(config["WIDTH"]) if vector else 1,
            )
            for way, vector, port in ports
        }, {}

    return name, Ip("", {"WIDTH": "1"}, build)


class Vivado(TclStub):
    """An interpreter with Vivado's commands."""

    def __init__(self, board_files: Sequence[str] = (), slack: float = 0.1):
        super().__init__(VivadoError)
        self.board_files, self.slack = board_files, slack
        self.parts: list[str] = []
        self.catalogue: dict[str, Ip] = {
            f"xilinx.com:ip:{name}:{ip.version}": ip for name, ip in IPS.items()
        }
        self.modules: dict[str, Ip] = {}
        self.cells: dict[str, Cell] = {}
        self.ports: dict[str, Pin] = {}
        self.interface_ports: dict[str, Interface] = {}
        self.nets: dict[str, str] = {}
        """The driver of each input."""
        self.buses: dict[str, str] = {}
        """The other end of each interface, both ways."""
        self.assigned: dict[str, dict[str, tuple[int, int]]] = {}
        self.excluded: set[tuple[str, str]] = set()
        self.files: list[str] = []
        self.properties: dict[tuple[str, str], str] = {}
        self.design = ""

    # What there is.

    def _pin(self, name: str) -> Pin:
        cell, _, pin = name.rpartition("/")
        if not cell:
            return self.ports[name]
        return self.cells[cell].pins[pin]

    def _interface(self, name: str) -> Interface:
        cell, _, bus = name.rpartition("/")
        return self.cells[cell].interfaces[bus] if cell else self.interface_ports[name]

    def _found(self, what: str, name: str, there: bool) -> str:
        if not there:
            raise VivadoError(f"no {what} '{name}'")
        return name

    def do_get_bd_cells(self, name: str) -> str:
        return self._found("cell", name, name in self.cells)

    def do_get_bd_pins(self, name: str) -> str:
        cell, _, pin = name.rpartition("/")
        return self._found("pin", name, cell in self.cells and pin in self.cells[cell].pins)

    def do_get_bd_intf_pins(self, name: str) -> str:
        cell, _, bus = name.rpartition("/")
        there = cell in self.cells and bus in self.cells[cell].interfaces
        return self._found("interface", name, there)

    def do_get_bd_ports(self, name: str) -> str:
        return self._found("port", name, name in self.ports)

    def do_get_bd_intf_ports(self, name: str) -> str:
        return self._found("interface port", name, name in self.interface_ports)

    def do_get_bd_addr_spaces(self, name: str) -> str:
        cell, _, space = name.partition("/")
        found = {s for bus in self.cells[cell].interfaces.values() for s in bus.spaces}
        return self._found("address space", name, space in found)

    def do_get_bd_addr_segs(self, name: str) -> str:
        cell, _, segment = name.partition("/")
        found = {s for bus in self.cells[cell].interfaces.values() for s in bus.segments}
        return self._found("segment", name, segment in found)

    # The project.

    def do_create_project(self, *arguments: str) -> None:
        force, name, folder, flag, part = arguments
        assert (force, flag) == ("-force", "-part") and name and folder
        self.parts.append(part)

    def do_get_board_parts(self, *arguments: str) -> tuple[str, ...]:
        quiet, latest, pattern = arguments
        assert (quiet, latest) == ("-quiet", "-latest_file_version")
        return tuple(name for name in self.board_files if name.startswith(pattern.rstrip("*")))

    def do_current_project(self) -> str:
        return "project"

    def do_current_fileset(self) -> str:
        return "sources_1"

    def do_current_design(self) -> str:
        return "design"

    def do_get_runs(self, name: str) -> str:
        return self._found("run", name, name == "impl_1")

    def do_set_property(self, *arguments: str) -> None:
        if arguments[0] == "-dict":
            _, values, target = arguments
            words = list(map(str, self.tcl.splitlist(values)))
            pairs = dict(zip(words[::2], words[1::2], strict=True))
        else:
            name, value, target = arguments
            pairs = {name: value}
        for name, value in pairs.items():
            if target in self.cells:
                self._configure(self.cells[target], name, value)
            else:
                self.properties[target, name] = value

    def _configure(self, cell: Cell, name: str, value: str) -> None:
        key = name.removeprefix("CONFIG.")
        if key == name or key not in cell.config:
            raise VivadoError(f"{cell.ip} has no property '{name}'")
        cell.config[key] = value
        cell.build(cell.config)

    def do_get_property(self, name: str, target: str) -> str:
        known = {"PROGRESS": "100%", "STATUS": "complete", "STATS.WNS": str(self.slack)}
        known["STATS.WHS"] = "0.01"
        assert target == "impl_1" and "wait_on_run" in self.done
        return known[name]

    def do_update_ip_catalog(self) -> None:
        for folder in self.tcl.splitlist(self.properties["project", "ip_repo_paths"]):
            for component in sorted(Path(str(folder)).rglob("component.xml")):
                vlnv, ip = packaged(component)
                self.catalogue[vlnv] = ip

    def do_get_ipdefs(self, *arguments: str) -> tuple[str, ...]:
        everything, flag, text = arguments
        assert (everything, flag) == ("-all", "-filter")
        match = re.fullmatch(r"VLNV =~ \*:ip:(\w+):\*", text)
        assert match, text
        return tuple(name for name in self.catalogue if name.split(":")[2] == match[1])

    def do_add_files(self, *arguments: str) -> None:
        for file in self.tcl.splitlist(arguments[-1]):
            if not Path(str(file)).is_file():
                raise VivadoError(f"no file '{file}'")
            self.files.append(str(file))
            if str(file).endswith(".v"):
                name, ip = module_of(Path(str(file)).read_text())
                self.modules[name] = ip

    def do_get_files(self, name: str) -> str:
        return self._found("file", name, name == f"{self.design}.bd")

    def do_make_wrapper(self, *arguments: str) -> None:
        assert arguments == ("-top", "-import", "-files", f"{self.design}.bd")

    def do_update_compile_order(self, *arguments: str) -> None:
        assert arguments == ("-fileset", "sources_1")

    def do_launch_runs(self, *arguments: str) -> None:
        assert arguments == ("impl_1", "-to_step", "write_bitstream", "-jobs", "4")
        assert "validate_bd_design" in self.done and "make_wrapper" in self.done
        top = self.properties["sources_1", "top"]
        if top != f"{self.design}_wrapper":
            raise VivadoError(f"no top '{top}'")
        for file in self.files:
            if file.endswith(".xdc"):
                self.tcl.call("source", file)

    def do_wait_on_run(self, name: str) -> None:
        assert name == "impl_1" and "launch_runs" in self.done

    def do_write_hw_platform(self, *arguments: str) -> None:
        assert arguments[:3] == ("-fixed", "-include_bit", "-force")
        Path(arguments[3]).write_text("")

    # Constraints.

    def do_get_ports(self, name: str) -> str:
        own = {*self.ports}
        for port, bus in self.interface_ports.items():
            if bus.kind == "diff_clock":
                own |= {f"{port}_clk_p", f"{port}_clk_n"}
        # A port of one bit may be a vector, whose index the pattern allows.
        return self._found("port", name, name.removesuffix("*") in own)

    def do_get_pins(self, *arguments: str) -> str:
        hierarchical, flag, text = arguments
        assert (hierarchical, flag) == ("-hierarchical", "-filter")
        match = re.fullmatch(r"NAME =~ \*(\w+)\*/(\w+)\*/D", text)
        assert match
        (source,) = [file for file in self.files if file.endswith(".v")]
        there = match[1] in self.cells and f" {match[2].removesuffix('_reg')};" in (
            Path(source).read_text()
        )
        return self._found("register", text, there)

    def do_create_clock(self, *arguments: str) -> None:
        flag, _, other, period, port = arguments
        assert (flag, other) == ("-name", "-period") and float(period) > 0 and port

    def do_set_false_path(self, flag: str, _: str) -> None:
        assert flag == "-to"

    # The block design.

    def do_create_bd_design(self, name: str) -> None:
        self.design = name

    def do_create_bd_cell(self, *arguments: str) -> str:
        flag, kind, source, what, name = arguments
        assert flag == "-type" and (kind, source) in (("ip", "-vlnv"), ("module", "-reference"))
        known = self.catalogue if kind == "ip" else self.modules
        self._found("IP", what, what in known)
        if name in self.cells:
            raise VivadoError(f"there is a cell '{name}'")
        ip = what.split(":")[2] if kind == "ip" else what
        self.cells[name] = Cell(name, ip, dict(known[what].properties), known[what].build)
        return name

    def do_create_bd_port(self, *arguments: str) -> str:
        flag, way, *more, name = arguments
        assert flag == "-dir" and way in "IO" and more in ([], ["-type", "rst"])
        # An input of the design drives what is in it.
        self.ports[name] = Pin(way == "I", "rst" if more else "data")
        return name

    def do_create_bd_intf_port(self, *arguments: str) -> str:
        flag, mode, source, vlnv, name = arguments
        assert (flag, source) == ("-mode", "-vlnv")
        kind = vlnv.split(":")[2].removesuffix("_rtl")
        # A port is seen from outside: a slave brings what goes to a slave within.
        self.interface_ports[name] = Interface(mode == "Slave", kind)
        return name

    def do_apply_bd_automation(self, *arguments: str) -> None:
        flag, rule, _, settings, cell = arguments
        assert flag == "-rule"
        name = rule.rpartition(":")[2]
        self._found("rule", rule, AUTOMATIONS.get(name) == self.cells[cell].ip)
        words = list(map(str, self.tcl.splitlist(settings)))
        wanted = dict(zip(words[::2], words[1::2], strict=True))
        assert wanted.keys() <= {"make_external", "apply_board_preset", "Master", "Slave"}
        if wanted["apply_board_preset"] == "1" and ("project", "board_part") not in self.properties:
            raise VivadoError("there is no board whose settings could be applied")

    def do_connect_bd_net(self, source: str, target: str) -> None:
        first, second = self._pin(source), self._pin(target)
        if not first.output or second.output:
            raise VivadoError(f"{source} does not drive {target}")
        if self.nets.get(target, source) != source:
            raise VivadoError(f"{target} has two drivers, {self.nets[target]} and {source}")
        if (first.kind == "clk") != (second.kind == "clk"):
            raise VivadoError(f"{source} is a {first.kind}, and {target} a {second.kind}")
        if second.kind == "rst" and first.kind != "rst":
            raise VivadoError(f"{source} is no reset, and {target} is")
        enough = (
            first.width <= second.width if second.kind == "intr" else first.width == second.width
        )
        if not enough:
            raise VivadoError(f"{source} has {first.width} bits, and {target} {second.width}")
        self.nets[target] = source

    def do_connect_bd_intf_net(self, source: str, target: str) -> None:
        first, second = self._interface(source), self._interface(target)
        outside = "/" not in source
        if first.kind != second.kind:
            raise VivadoError(f"{source} is {first.kind}, and {target} {second.kind}")
        passes = (
            first.manager == second.manager
            if outside and not first.manager
            else (first.manager and not second.manager)
        )
        if outside and not first.manager:
            passes = second.manager
        if not passes:
            raise VivadoError(f"{source} is no manager of {target}")
        for end in (source, target):
            if end in self.buses:
                raise VivadoError(f"{end} is connected twice")
        if first.bits and second.bits and first.bits != second.bits:
            raise VivadoError(f"{source} has {first.bits} bits, and {target} {second.bits}")
        self.buses |= {source: target, target: source}

    # Addresses.

    def reached(self, space: str) -> dict[str, tuple[int | None, int, int]]:
        """The segments behind an address space: base, size, and bits of an address there."""
        cell, _, name = space.partition("/")
        found: dict[str, tuple[int | None, int, int]] = {}
        for bus, entry in self.cells[cell].interfaces.items():
            if name in entry.spaces and f"{cell}/{bus}" in self.buses:
                for end in self._ends(self.buses[f"{cell}/{bus}"]):
                    other, own = end.partition("/")[0], self._interface(end)
                    for segment, (base, size) in own.segments.items():
                        # What may be anywhere gets the lower bits of its addresses alone.
                        bits = entry.address_bits
                        bits = bits if base is None else min(bits, own.address_bits)
                        found[f"{other}/{segment}"] = base, size, bits
        return found

    def _ends(self, subordinate: str) -> list[str]:
        cell = self.cells[subordinate.partition("/")[0]]
        if cell.ip not in CROSSBARS:
            return [subordinate]
        outer = (f"{cell.name}/{name}" for name, bus in cell.interfaces.items() if bus.manager)
        return [end for name in outer if name in self.buses for end in self._ends(self.buses[name])]

    def do_assign_bd_address(self, *arguments: str) -> None:
        offset, base, span, size, flag, space, segment = arguments
        assert (offset, span, flag) == ("-offset", "-range", "-target_address_space")
        start, length = int(base, 0), int(size, 0)
        reached = self.reached(space)
        self._found(f"segment behind {space}", segment, segment in reached)
        fixed, most, bits = reached[segment]
        if start % length or (fixed is not None and start != fixed) or length > most:
            raise VivadoError(f"{segment} cannot be at {base} with {size}")
        if start + length > 1 << bits:
            raise VivadoError(f"{segment} at {base} is beyond the {bits} bits of {space}")
        for other, (begin, own) in self.assigned.setdefault(space, {}).items():
            if start < begin + own and begin < start + length:
                raise VivadoError(f"{segment} overlaps {other} in {space}")
        self.assigned[space][segment] = start, length

    def do_exclude_bd_addr_seg(self, flag: str, space: str, segment: str) -> None:
        assert flag == "-target_address_space"
        self._found(f"segment behind {space}", segment, segment in self.reached(space))
        self.excluded.add((space, segment))

    def do_save_bd_design(self) -> None:
        assert "validate_bd_design" in self.done

    def do_validate_bd_design(self) -> None:
        for cell in self.cells.values():
            for name, pin in cell.pins.items():
                full = f"{cell.name}/{name}"
                if not pin.output and not pin.open and full not in self.nets:
                    raise VivadoError(f"{full} is not connected")
            for name, bus in cell.interfaces.items():
                full = f"{cell.name}/{name}"
                if full in self.buses:
                    self._check_clocks(full)
                elif not bus.open:
                    raise VivadoError(f"{full} is not connected")
                for space in bus.spaces:
                    self._check_addresses(f"{cell.name}/{space}")
        for name, pin in self.ports.items():
            if not pin.output and name not in self.nets:
                raise VivadoError(f"nothing drives {name}")
        for name in self.interface_ports:
            self._found("connection of", name, name in self.buses)

    def clock_of(self, interface: str) -> set[str]:
        """The clocks that an end of a bus may have."""
        cell, _, name = interface.rpartition("/")
        if not cell:
            return set()
        found = self.cells[cell]
        if found.ip in CROSSBARS:
            return {self.nets[f"{cell}/{pin}"] for pin in found.pins if pin.startswith("aclk")}
        clock = found.interfaces[name].clock
        if not clock:
            return set()
        pin = f"{cell}/{clock}"
        return {pin if self._pin(pin).output else self.nets[pin]}

    def _check_clocks(self, interface: str) -> None:
        own, other = self.clock_of(interface), self.clock_of(self.buses[interface])
        if own and other and not own & other:
            raise VivadoError(f"{interface} has the clock {own}, and the other end {other}")

    def _check_addresses(self, space: str) -> None:
        known = {*self.assigned.get(space, {}), *(s for own, s in self.excluded if own == space)}
        for segment in self.reached(space).keys() - known:
            raise VivadoError(f"{segment} has no address in {space}")
