# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Elements of many lanes, which reach them through a tree of registers."""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from networks import MACHINE, activations_for, chained_on_one_array, lint

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fan_out import BRANCHES, GROUP_LANES, fan_out_stages, lane_groups
from daqkf.hw_targets.machine import Machine
from daqkf.lowering.hdl.circuit import Circuit, circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.image.encode import encode, playable
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.lowering.rtl.element import build_element
from daqkf.lowering.rtl.fan_out import fan_out
from daqkf.runtime.simulator import Job, Simulator
from daqkf.synthesis.fan_outs import fan_outs
from daqkf.synthesis.resources import synthesize

WIDE = replace(MACHINE, pes=2, lanes=40, post_lanes=10, items=8, max_shift=0)
MACHINES = {
    "from memory": replace(WIDE, memory_bits=128, stream_depth=16, banks=2),
    "post unit binds": replace(WIDE, post_lanes=2, items=2, max_shift=2),
    "one element": replace(WIDE, pes=1, lanes=36, post_lanes=36),
    "windows": replace(WIDE, index_bits=3, activation_depth=64),
    "deep tree": replace(WIDE, pes=1, lanes=292, post_lanes=4, items=2),
}
SHAPES = ((24, 40, 9), (5, 1, 3), (30, 30))


@cache
def networks(name: str):
    return chained_on_one_array(MACHINES[name], SHAPES)


@cache
def files(name: str) -> dict[str, str]:
    return emit_verilog(circuit_module(build_array(networks(name)[0])))


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
def test_the_results_are_the_formulas(name: str):
    config, entries = networks(name)
    array = Simulator.verilated(files(name), config)
    for stalls in (0.0, 0.4):
        made, expected = list[Job](), []
        for layers, module in [*entries, entries[0]]:
            (program,) = playable(module)
            x = activations_for(layers, 2 * config.lanes + 3)
            made.append(Job(encode(program), x, program.channels))
            expected.append(layers.expected(x))
        for trace, y in zip(array.trace(made, stalls=stalls, seed=3), expected, strict=True):
            np.testing.assert_array_equal(trace.y, y)


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
def test_rtl_is_clean_for_verilator_and_yosys(name: str, tmp_path: Path):
    lint(files(name), TOP, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [64, 128])
def test_no_net_goes_to_more_lanes_than_a_group(lanes: int):
    """Nothing but the clock and the reset has more sinks than the accumulators of a group."""
    machine = Machine(
        pes=1,
        lanes=lanes,
        post_lanes=16,
        max_shift=0,
        activation_depth=1024,
        stream_depth=512,
        parameter_depth=512,
        result_depth=1024,
        items=8,
        memory_bits=64,
    )
    config = ArrayConfig(**vars(machine), running_sum_width=16, accumulator_width=22, sum_width=23)
    element = emit_verilog(circuit_module(build_element(config, "running_sum")))
    found = Counter(fan_outs(element, "daqkf_running_sum_element"))
    most = GROUP_LANES * config.accumulator_width
    assert {name: sinks for name, sinks in found.items() if sinks > most} == {}
    # The lanes' own nets are counted, and so are the leaves of the tree.
    assert max(found.values()) >= GROUP_LANES * config.running_sum_width


def test_groups_are_all_lanes_and_trees_have_few_branches():
    for lanes, stages in ((1, 0), (32, 0), (33, 1), (64, 1), (256, 1), (288, 1), (289, 2)):
        machine = replace(MACHINE, lanes=lanes, post_lanes=1)
        groups = lane_groups(machine, "running_sum")
        assert [lane for group in groups for lane in group] == list(range(lanes))
        assert fan_out_stages(machine, "running_sum") == stages
        assert len(groups) <= BRANCHES**stages
        assert fan_out_stages(machine, "ternary") == 0
        assert fan_out_stages(replace(machine, shared_words=True), "running_sum") == 0


def test_synthesis_keeps_the_copies():
    """Of 40 bits, which are three times the same for it, unless it is told."""
    c = Circuit("copies", "copies of one signal.")
    c.clock("clk")
    for number, copy in enumerate(fan_out(c, {"word": c.input("word", 40)}, 1, 3)):
        c.output(f"copy{number}", copy["word"])
    c.finish()
    found = synthesize(emit_verilog(circuit_module(c)), "copies", "ecp5")
    assert found.counts.flip_flops == 3 * 40
