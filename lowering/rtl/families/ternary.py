# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The ternary family: the running sum of a lane, and nothing after it.

    operands → tree of adders → running sum and held sum

`passes/encode/ternary.py` has the method. The sum is held as it leaves its adder, and the
register cleared by its reset in the same cycle.
"""

from daqkf.hw_targets.config import ArrayConfig
from daqkf.lowering.hdl.circuit import Circuit, named
from daqkf.lowering.rtl.families.running_sum import (
    build_tree,
    fitted,
    offset_binary,
    place_lanes,
    through_tree,
    tree_levels,
)
from daqkf.lowering.rtl.families.stage import Datapath, DatapathBuilder, Operands


def build_datapath(c: Circuit, config: ArrayConfig, operands: Operands) -> Datapath:
    """The element's control, stage by stage, and its lanes."""
    enable = operands.enable
    valid, rest = through_tree(c, operands, tree_levels(config) - 1)
    finished = c.delay(valid & rest["last"], "finished", enable=enable, reset=0)
    ends = named(enable & finished, "ends")
    control = {
        "enable": enable,
        "keep": c.delay(rest["keep"], "keep", enable=enable),
        "sum_enable": enable & c.delay(valid, "sum_valid", enable=enable, reset=0),
        "sum_clear": operands.start | ends,
        "hold_enable": operands.hold_enable,
    }
    return Datapath(finished, place_lanes(c, config, operands, build_lane(config), control))


def build_lane(config: ArrayConfig) -> Circuit:
    """One token's lane.

    d ← Σ even items - Σ odd items    when `enable`, in as many cycles as the tree has levels
    Q ← d - (Q ^ keep)                when `sum_enable`; 0 when `sum_clear`
    H ← d - (Q ^ keep)                when `hold_enable`
    """
    c = Circuit("daqkf_ternary_lane", "a lane of a ternary element.")
    c.clock("clk")
    delta = build_tree(c, config, c.input("enable", 1))
    keep = c.input("keep", 1)
    sum_enable, sum_clear = c.input("sum_enable", 1), c.input("sum_clear", 1)
    hold_enable = c.input("hold_enable", 1)
    c.section("The running sum, and the one that is held for the post unit.")
    width = config.accumulator_width
    running = c.register("running_sum", width, reset=0, clear=sum_clear)
    total = fitted(delta, width) - (running ^ keep.replicate(width))
    running.drive(total, enable=sum_enable)
    c.output("held", c.delay(total, "held_sum", enable=hold_enable))
    c.finish()
    return c


DATAPATH = DatapathBuilder(build_datapath, offset_binary)
