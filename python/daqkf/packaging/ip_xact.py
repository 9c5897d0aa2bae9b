# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""IP-XACT of `daqkf_system`: a `component.xml` with its buses, registers, ports and files.

There are two editions of the standard in use, and this writes either: IEEE 1685-2009, which is what
Vivado reads and writes, and IEEE 1685-2014, which newer tools read. They differ in the namespace,
in where a bus has its port maps, a view its module and a port its bits, and in how a reset value is
said.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from daqkf.lowering.rtl.registers import (
    ADDRESS_BITS,
    REGISTER_BITS,
    Access,
    Field,
    Register,
    registers_of,
)
from daqkf.lowering.rtl.system import TOP
from daqkf.packaging.package import Package
from daqkf.packaging.system import CLOCK, INTERRUPT, RESET, Bus, Port, Protocol, System

VENDOR, LIBRARY, VERSION = "daqkf", "ip", "1.0"
VLNV = f"{VENDOR}:{LIBRARY}:{TOP}:{VERSION}"
"""What other tools name the component by: vendor, library, name, version."""

REGISTERS = "registers"
"""The address block of the registers."""

_FILES, _SYNTHESIS, _SIMULATION = (
    "rtl",
    "xilinx_anylanguagesynthesis",
    "xilinx_anylanguagebehavioralsimulation",
)
_LANGUAGE = "systemVerilogSource"
_ENVIRONMENTS = {
    _SYNTHESIS: ":vivado.xilinx.com:synthesis",
    _SIMULATION: ":vivado.xilinx.com:simulation",
}
_FAMILIES = (
    *("artix7", "kintex7", "virtex7", "zynq"),
    *("artixuplus", "kintexuplus", "virtexuplus", "virtexuplusHBM", "zynquplus"),
)
"""Of AMD: those that have the primitives that the circuit is made of."""


class Edition(Enum):
    """An edition of the standard."""

    IEEE_2009 = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
    IEEE_2014 = "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"

    @property
    def prefix(self) -> str:
        """What stands in front of the names of elements, by custom."""
        return "spirit" if self is Edition.IEEE_2009 else "ipxact"


_XILINX = "http://www.xilinx.com"

_BUS_TYPES = {
    Edition.IEEE_2009: {
        Protocol.AXI4_LITE: ("xilinx.com", "interface", "aximm", "1.0"),
        Protocol.AXI4: ("xilinx.com", "interface", "aximm", "1.0"),
        Protocol.AXI4_STREAM: ("xilinx.com", "interface", "axis", "1.0"),
    },
    Edition.IEEE_2014: {
        Protocol.AXI4_LITE: ("amba.com", "AMBA4", "AXI4-Lite", "r0p0_0"),
        Protocol.AXI4: ("amba.com", "AMBA4", "AXI4", "r0p0_0"),
        Protocol.AXI4_STREAM: ("amba.com", "AMBA4", "AXI4Stream", "r0p0_1"),
    },
}
"""Vendor, library, name and version of the definition of each bus."""

_ACCESS = {
    Access.CONSTANT: "read-only",
    Access.READ_ONLY: "read-only",
    Access.READ_WRITE: "read-write",
    Access.SCRATCH: "read-write",
    Access.CLEAR: "read-write",
    Access.STROBE: "write-only",
}
_VOLATILE = (Access.READ_ONLY, Access.CLEAR)
"""What reads as something else than what was written."""


@dataclass(frozen=True)
class _Writer:
    """Makes elements of an edition."""

    edition: Edition

    @property
    def old(self) -> bool:
        return self.edition is Edition.IEEE_2009

    def tag(self, name: str) -> str:
        return f"{{{self.edition.value}}}{name}"

    def __call__(self, name: str, /, *content: ET.Element | None, **attributes: str) -> ET.Element:
        """An element of others; attributes have a namespace in the old edition alone."""
        named = {self.tag(key) if self.old else key: text for key, text in attributes.items()}
        element = ET.Element(self.tag(name), named)
        element.extend(part for part in content if part is not None)
        return element

    def text(self, name: str, text: object) -> ET.Element:
        """An element of text alone."""
        element = self(name)
        element.text = str(text)
        return element

    def vlnv(self, name: str, parts: Sequence[str]) -> ET.Element:
        """An element that names something by vendor, library, name and version."""
        return self(name, **dict(zip(("vendor", "library", "name", "version"), parts, strict=True)))

    def parameters(
        self, values: dict[str, str], owner: str, **attributes: str
    ) -> ET.Element | None:
        """What is said of something in pairs of name and value; None if nothing is.

        In the old edition each value has an identifier that begins with the owner's, as Vivado
        wants it.
        """
        if not values:
            return None
        entries = [
            self("parameter", self.text("name", name), self.text("value", value))
            for name, value in values.items()
        ]
        if self.old:
            for name, entry in zip(values, entries, strict=True):
                identifier = {"id": f"{owner}.{name}", **attributes}
                entry[-1].attrib.update({self.tag(key): text for key, text in identifier.items()})
        return self("parameters", *entries)


def ip_xact_package(system: System) -> Package:
    """A component of IEEE 1685-2014 with its files."""
    sources = {f"rtl/{file}": text.encode() for file, text in system.files.items()}
    component = component_xml(system, Edition.IEEE_2014, "rtl/")
    files = {"component.xml": component.encode(), **sources}
    return Package("ip-xact", "tools that read IP-XACT", files, "component.xml names them")


def component_xml(system: System, edition: Edition, folder: str = "") -> str:
    """The `component.xml` of a system.

    Args:
        system: what it is of.
        edition: of the standard; the one of 2009 also says what Vivado wants to know.
        folder: where the files are, from where the `component.xml` is, with a `/` behind.
    """
    make = _Writer(edition)
    buses = [_bus_interface(make, bus) for bus in system.buses]
    if make.old:
        buses += _signal_interfaces(make, system)
    root = make(
        "component",
        make.text("vendor", VENDOR),
        make.text("library", LIBRARY),
        make.text("name", TOP),
        make.text("version", VERSION),
        make("busInterfaces", *buses),
        _address_spaces(make, system),
        make("memoryMaps", _memory_map(make, system)),
        make("model", *_views(make), make("ports", *(_port(make, port) for port in system.ports))),
        _file_sets(make, system, folder),
        make.text("description", "A sparse, quantised matrix engine behind AXI ports, by DAQKF."),
        make.parameters({"Component_Name": TOP}, "PARAM_VALUE", resolve="user", order="1")
        if make.old
        else None,
        make("vendorExtensions", _core_extensions()) if make.old else None,
    )
    ET.register_namespace(edition.prefix, edition.value)
    ET.register_namespace("xilinx", _XILINX)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _bus_interface(make: _Writer, bus: Bus) -> ET.Element:
    """A bus, with the port of each of its signals."""
    vendor, library, name, version = _BUS_TYPES[make.edition][bus.protocol]
    maps = _port_maps(make, {signal: port.name for signal, port in bus.signals.items()})
    abstraction = (vendor, library, f"{name}_rtl", version)
    if bus.protocol is Protocol.AXI4_STREAM:
        mode = make("master" if bus.manager else "slave")
    elif bus.manager:
        mode = make("master", make("addressSpaceRef", addressSpaceRef=bus.name))
    else:
        mode = make("slave", make("memoryMapRef", memoryMapRef=bus.name))
    parameters: dict[str, str] = {}
    if make.old and bus.protocol is not Protocol.AXI4_STREAM:
        protocol = "AXI4" if bus.protocol is Protocol.AXI4 else "AXI4LITE"
        parameters = {"PROTOCOL": protocol, "DATA_WIDTH": str(bus.data_bits)}
        if bus.manager:
            parameters["READ_WRITE_MODE"] = "READ_WRITE" if bus.writes else "READ_ONLY"
    return _interface(
        make, bus.name, (vendor, library, name, version), abstraction, mode, maps, parameters
    )


def _interface(
    make: _Writer,
    name: str,
    kind: Sequence[str],
    abstraction: Sequence[str],
    mode: ET.Element,
    maps: ET.Element,
    parameters: dict[str, str],
) -> ET.Element:
    """A bus interface of either edition."""
    said = make.parameters(parameters, f"BUSIFPARAM_VALUE.{name.upper()}")
    first = make.text("name", name), make.vlnv("busType", kind)
    if make.old:
        return make(
            "busInterface", *first, make.vlnv("abstractionType", abstraction), mode, maps, said
        )
    reference = make.vlnv("abstractionRef", abstraction)
    types = make("abstractionTypes", make("abstractionType", reference, maps))
    return make("busInterface", *first, types, mode, said)


def _port_maps(make: _Writer, ports: dict[str, str]) -> ET.Element:
    """Which port each signal of a bus is."""
    entries = (
        make(
            "portMap",
            make("logicalPort", make.text("name", signal)),
            make("physicalPort", make.text("name", port)),
        )
        for signal, port in ports.items()
    )
    return make("portMaps", *entries)


def _signal_interfaces(make: _Writer, system: System) -> list[ET.Element]:
    """Clock, reset and interrupt, which Vivado has interfaces for."""
    names = ":".join(bus.name for bus in system.buses)
    return [
        _interface(
            make,
            name,
            ("xilinx.com", "signal", kind, "1.0"),
            ("xilinx.com", "signal", f"{kind}_rtl", "1.0"),
            make("master" if name == INTERRUPT else "slave"),
            _port_maps(make, {signal: name}),
            parameters,
        )
        for name, kind, signal, parameters in (
            (CLOCK, "clock", "CLK", {"ASSOCIATED_BUSIF": names, "ASSOCIATED_RESET": RESET}),
            (RESET, "reset", "RST", {"POLARITY": "ACTIVE_LOW"}),
            (INTERRUPT, "interrupt", "INTERRUPT", {"SENSITIVITY": "LEVEL_HIGH"}),
        )
    ]


def _address_spaces(make: _Writer, system: System) -> ET.Element | None:
    """What each manager can address."""
    spaces = [
        make(
            "addressSpace",
            make.text("name", bus.name),
            make.text("range", 1 << bus.address_bits),
            make.text("width", bus.data_bits),
        )
        for bus in system.memory_buses
    ]
    return make("addressSpaces", *spaces) if spaces else None


def _memory_map(make: _Writer, system: System) -> ET.Element:
    """The registers that the system has."""
    (bus,) = (bus for bus in system.buses if bus.protocol is Protocol.AXI4_LITE)
    block = make(
        "addressBlock",
        make.text("name", REGISTERS),
        make.text("baseAddress", 0),
        make.text("range", 1 << ADDRESS_BITS),
        make.text("width", REGISTER_BITS),
        make.text("usage", "register"),
        *(_register(make, entry) for entry in registers_of(system.config)),
    )
    return make("memoryMap", make.text("name", bus.name), block, make.text("addressUnitBits", 8))


def _register(make: _Writer, entry: Register) -> ET.Element:
    reset = None
    if make.old and entry.writable:
        value = make.text("value", f"{entry.reset:#x}")
        reset = make("reset", value)
    return make(
        "register",
        make.text("name", entry.name),
        make.text("description", entry.description),
        make.text("addressOffset", f"{entry.address:#x}"),
        make.text("size", REGISTER_BITS),
        reset,
        *(_field(make, field) for field in entry.fields),
    )


def _field(make: _Writer, field: Field) -> ET.Element:
    width = make.text("bitWidth", field.width)
    reset = None
    if not make.old and _ACCESS[field.access] != "read-only":
        reset = make("resets", make("reset", make.text("value", f"{field.reset:#x}")))
    clears = make.text("modifiedWriteValue", "oneToClear")
    return make(
        "field",
        make.text("name", field.name),
        make.text("description", field.description),
        make.text("bitOffset", field.low),
        reset,
        width,
        make.text("volatile", "true") if field.access in _VOLATILE else None,
        make.text("access", _ACCESS[field.access]),
        clears if field.access is Access.CLEAR else None,
    )


def _views(make: _Writer) -> Iterable[ET.Element]:
    """How the files are used: to synthesise, and to simulate."""
    files = make("fileSetRef", make.text("localName", _FILES))
    if make.old:
        module = make.text("language", "SystemVerilog"), make.text("modelName", TOP), files
        yield make(
            "views",
            *(
                make("view", make.text("name", name), make.text("envIdentifier", tool), *module)
                for name, tool in _ENVIRONMENTS.items()
            ),
        )
        return
    reference = make.text("componentInstantiationRef", _FILES)
    yield make("views", make("view", make.text("name", _FILES), reference))
    yield make(
        "instantiations",
        make(
            "componentInstantiation",
            make.text("name", _FILES),
            make.text("language", "SystemVerilog"),
            make.text("moduleName", TOP),
            files,
        ),
    )


def _port(make: _Writer, port: Port) -> ET.Element:
    """A port with its bits, of which a single one is no vector."""
    vector = None
    if port.width > 1:
        vector = make("vector", make.text("left", port.width - 1), make.text("right", 0))
        vector = vector if make.old else make("vectors", vector)
    direction = make.text("direction", "in" if port.is_input else "out")
    return make("port", make.text("name", port.name), make("wire", direction, vector))


def _file_sets(make: _Writer, system: System, folder: str) -> ET.Element:
    files = (
        make("file", make.text("name", f"{folder}{name}"), make.text("fileType", _LANGUAGE))
        for name in system.files
    )
    return make("fileSets", make("fileSet", make.text("name", _FILES), *files))


def _core_extensions() -> ET.Element:
    """What Vivado's catalogue wants to know."""

    def element(name: str, *content: ET.Element, text: str | None = None) -> ET.Element:
        found = ET.Element(f"{{{_XILINX}}}{name}")
        found.text = text
        found.extend(content)
        return found

    families = [element("family", text=name) for name in _FAMILIES]
    for family in families:
        family.set(f"{{{_XILINX}}}lifeCycle", "Production")
    return element(
        "coreExtensions",
        element("supportedFamilies", *families),
        element("taxonomies", element("taxonomy", text="/UserIP")),
        element("displayName", text=TOP),
        element("coreRevision", text="1"),
    )
