# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Fabrics, netlists and the frame around a circuit, without any tool."""

import copy
import importlib.util
from typing import Any

import pytest

from daqkf.hw_targets import UnknownFabricError, fabric_names, load_fabric
from daqkf.hw_targets.fabric import UncountedPrimitiveError
from daqkf.runtime import tools
from daqkf.synthesis import SynthesisError
from daqkf.synthesis.netlist import load
from daqkf.synthesis.output_registers import absorb_output_registers
from daqkf.synthesis.placement import CriticalPath, frame


def test_a_family_makes_a_fabric_with_dsps_and_one_without():
    assert fabric_names() == ["ecp5", "ecp5-dsp", "xcup", "xcup-dsp"]
    for family in ("ecp5", "xcup"):
        assert "-nodsp" in load_fabric(family).flat
        assert "-nodsp" not in load_fabric(f"{family}-dsp").flat
    with pytest.raises(UnknownFabricError, match=r"unknown fabric '\.\./x' \(known: ecp5, "):
        load_fabric("../x")


def test_counts_are_those_of_the_devices():
    cells = {"LUT6": 5, "LUT2": 3, "SRL16E": 2, "RAM64M8": 1, "CARRY4": 4, "FDRE": 7, "FDSE": 1}
    memories = {"RAMB18E2": 3, "RAMB36E2": 2, "URAM288": 4}
    counts = load_fabric("xcup").count(cells | memories | {"INV": 9})
    assert (counts.logic_cells, counts.luts, counts.lut_rams) == (7, 8, 10)
    assert (counts.carries, counts.flip_flops, counts.dsps) == (4, 8, 0)
    assert (counts.block_rams_18k, counts.block_rams_36k, counts.ultra_rams) == (7, 3.5, 4)
    cells = {"LUT4": 10, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "DP16KD": 3, "MULT18X18D": 1, "PFUMX": 4}
    counts = load_fabric("ecp5-dsp").count(cells)
    assert (counts.logic_cells, counts.luts, counts.lut_rams) == (28, 10, 12)
    assert (counts.block_rams_36k, counts.dsps) == (1.5, 1)


def test_no_primitive_goes_uncounted():
    with pytest.raises(UncountedPrimitiveError, match="xcup: nothing says what URAM288E4 counts"):
        load_fabric("xcup").count({"LUT6": 1, "URAM288E4": 1})


def test_the_frame_reaches_every_port_bit_once():
    text = frame(
        "top", {"clk": ("input", 1), "a": ("input", 3), "b": ("input", 1), "y": ("output", 5)}
    )
    assert (
        "top array(.clk(clk), .a(driven[0 +: 3]), .b(driven[3 +: 1]), .y(results[0 +: 5]));" in text
    )
    assert "reg [4:0] driven" in text
    assert "wire [5:0] results" in text


def test_a_missing_tool_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DAQKF_NEXTPNR_ECP5", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(tools.ToolNotFoundError, match=r"pip install 'daqkf\[synth\]'"):
        tools.nextpnr_ecp5()


def cell(kind: str, ways: str, parameters: dict[str, str], **pins: list[int | str]):
    directions = dict(zip(pins, (("input", "output")[way == "o"] for way in ways), strict=True))
    return {
        "type": kind,
        "parameters": parameters,
        "port_directions": directions,
        "connections": pins,
    }


def module(cells: list[dict[str, Any]], **ports: tuple[str, list[int]]):
    return {
        "ports": {name: {"direction": way, "bits": bits} for name, (way, bits) in ports.items()},
        "cells": {f"c{number}": cell for number, cell in enumerate(cells)},
    }


PORTS: dict[str, tuple[str, list[int]]] = {"clk": ("input", [2]), "rst": ("input", [3])}


def test_a_netlist_is_flattened_and_fan_out_crosses_modules():
    inverter = module([cell("INV", "io", {}, I=[2], O=[3])], a=("input", [2]), y=("output", [3]))
    flop = cell("FDRE", "iiiio", {}, C=[2], CE=["1"], D=[4], R=[3], Q=[5])
    outer = module(
        [cell("inverter", "io", {}, a=[5], y=[4]), flop], **PORTS, y_tvalid=("output", [5])
    )
    netlist = load({"inverter": inverter, "top": outer}, "top")
    fan_out = netlist.fan_out()
    (q,), (rst,) = netlist.ports["y_tvalid"], netlist.ports["rst"]
    assert fan_out[q] == 2  # the inverter's input and the port
    assert fan_out[rst] == 1
    assert fan_out[netlist.ports["clk"][0]] == 0
    ((_, d, _, _, _),) = netlist.flops
    assert netlist.drivers == {q: "top", d: "inverter"}
    assert [gate.inputs for gate in netlist.gates] == [[q]]


@pytest.mark.parametrize(
    ("primitive", "message"),
    [
        (cell("DSP48E2", "o", {}, P=[4]), "top: the simulation cannot run c0: a DSP48E2"),
        (
            cell("FDRE", "iiiio", {"IS_C_INVERTED": "1"}, C=[2], CE=["1"], D=[3], R=["0"], Q=[4]),
            "c0: an inverted clock",
        ),
        (
            cell("FDRE", "iiiio", {}, C=[3], CE=["1"], D=[3], R=["0"], Q=[4]),
            "top clocks something by another net than clk",
        ),
    ],
)
def test_what_the_simulation_does_not_know_is_refused(primitive: dict[str, Any], message: str):
    with pytest.raises(SynthesisError, match=message):
        load({"top": module([primitive], **PORTS)}, "top")


def test_a_combinational_loop_is_refused():
    gates = [cell("INV", "io", {}, I=[4], O=[5]), cell("INV", "io", {}, I=[5], O=[4])]
    with pytest.raises(SynthesisError, match="combinational loop"):
        load({"top": module(gates, **PORTS)}, "top").encode()


def block_ram(**registers: dict[str, list[Any]]) -> dict[str, Any]:
    """A netlist of a block RAM with two outputs at port A, bits 10 and 11, and flip-flops."""
    ram = {
        "type": "DP16KD",
        "parameters": {"REGMODE_A": "NOREG"},
        "port_directions": {"CLKA": "input", "OCEA": "input", "DOA0": "output", "DOA1": "output"},
        "connections": {"CLKA": [2], "OCEA": ["1"], "DOA0": [10], "DOA1": [11]},
    }
    cells = {"ram": ram}
    for number, (name, changes) in enumerate(registers.items()):
        wires = {"CLK": [2], "CE": [3], "LSR": ["0"], "DI": [10 + number], "Q": [20 + number]}
        cells[name] = {
            "type": "TRELLIS_FF",
            "parameters": {},
            "port_directions": dict.fromkeys(wires, "input") | {"Q": "output"},
            "connections": wires | changes,
        }
    return {"cells": cells, "ports": {"y": {"direction": "output", "bits": [20, 21]}}}


def test_registers_behind_a_block_ram_move_into_it():
    module = block_ram(first={}, second={})
    assert absorb_output_registers(module) == 2
    assert list(module["cells"]) == ["ram"]
    ram = module["cells"]["ram"]
    assert ram["parameters"]["REGMODE_A"] == "OUTREG"
    assert ram["connections"] == {"CLKA": [2], "OCEA": [3], "DOA0": [20], "DOA1": [21]}


@pytest.mark.parametrize(
    "changes",
    [{"CLK": [4]}, {"CE": [4]}, {"LSR": [4]}, {"DI": [10]}],
    ids=["clock", "enable", "reset", "two readers"],
)
def test_registers_that_differ_stay(changes: dict[str, list[int]]):
    module = block_ram(first={}, second=changes)
    before = copy.deepcopy(module)
    assert absorb_output_registers(module) == 0
    assert module == before


def step(kind: str, delay: float, start: tuple[str, str], end: tuple[str, str], net: str = ""):
    ends = {"from": start, "to": end}
    places = {name: {"cell": cell, "port": port} for name, (cell, port) in ends.items()}
    return {"type": kind, "delay": delay, "net": net, **places}


def test_the_critical_path_is_read_from_a_report():
    """Of register to register, with the nets' own names, and without the carry chain's."""
    first, adder = "array.loader.left_TRELLIS_FF_Q_3", "array.sum_CCU2C_S0$CCU2_COMB0"
    last = "array.loader.left_TRELLIS_FF_Q"
    slow = [
        step("clk-to-q", 0.5, (first, "Q"), (first, "Q")),
        step("routing", 1.25, (first, "Q"), (adder, "A"), "array.loader.left[3]"),
        step("logic", 0.25, (adder, "A"), (adder, "FCO")),
        step("routing", 0.0, (adder, "FCO"), (adder, "FCI"), "array.sum$CCU2_FCI_INT"),
        step("routing", 1.0, (adder, "F"), (last, "DI"), "array.loader.left_LUT4_Z_D"),
        step("setup", 0.0, (last, "DI"), (last, "DI")),
    ]
    clock = "posedge $glbnet$clk"
    report = {
        "critical_paths": [
            {"from": clock, "to": clock, "path": slow[:2]},
            {"from": clock, "to": clock, "path": slow},
            {
                "from": "<async>",
                "to": clock,
                "path": [step("routing", 9.0, ("in", "O"), ("in", "O"))],
            },
        ]
    }
    found = CriticalPath.read(report)
    assert found == CriticalPath("loader.left[3]", "loader.left.DI", ("loader.left",), 0.75, 2.25)
