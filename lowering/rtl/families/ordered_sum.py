# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The ordered-sum family: a running sum of items that have any sign.

    operands → tree of adders → running sum, accumulator → held sum

`passes/encode/ordered_sum.py` has the method. No item is negated by itself. An adder of the tree
adds or subtracts its second operand as the signs of its two are equal or not, and what it gives has
the sign of the first; the running sum then adds or subtracts the whole. So an item's sign costs the
lane a carry, and the choice is made once for all lanes.
"""

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.rtl.families.running_sum import (
    fitted,
    offset_binary,
    place_lanes,
    shifted,
    through_tree,
    tree_levels,
)
from daqkf.lowering.rtl.families.stage import Datapath, DatapathBuilder, Operands


def build_datapath(c: Circuit, config: ArrayConfig, operands: Operands) -> Datapath:
    """The element's control, stage by stage, and its lanes."""
    enable = operands.enable
    valid, rest = through_tree(c, operands, tree_levels(config))
    ending = enable & valid & rest["last"]
    finished = c.delay(valid & rest["last"], "finished", enable=enable, reset=0)
    control = {
        "enable": enable,
        **_signs(c, config, operands),
        "sum_enable": enable & valid,
        "sum_clear": operands.start | ending,
        "step_enable": enable & valid & rest["step"],
        "accumulator_clear": operands.start | operands.hold_enable,
        "hold_enable": operands.hold_enable,
        **({"shift": rest["shift"]} if "shift" in rest else {}),
    }
    return Datapath(finished, place_lanes(c, config, operands, build_lane(config), control))


def _signs(c: Circuit, config: ArrayConfig, operands: Operands) -> dict[str, Signal]:
    """Which adders of the tree subtract, each in its cycle, and whether the running sum does."""
    c.section("Signs: which adders of the lanes subtract.")
    enable = operands.enable
    signs = [operands.fields[f"negative{item}"] for item in range(config.items)]
    first = delayed(c, signs[0], "negates", tree_levels(config), enable=enable)
    subtracts: dict[str, Signal] = {}
    level = 0
    while len(signs) > 1:
        for number, (a, b) in enumerate(zip(signs[::2], signs[1::2], strict=True)):
            name = f"subtracts{level}_{number}"
            subtracts[name] = delayed(c, a ^ b, f"{name}_stage", level, enable=enable)
        signs, level = signs[::2], level + 1
    return subtracts | {"negates": first}


def build_lane(config: ArrayConfig) -> Circuit:
    """One token's lane; the element's control says in each stage what to do.

    d ← Σ ±items                when `enable`, in as many cycles as the tree has levels
    R ← R ± d                   when `sum_enable`; 0 when `sum_clear`
    A ← A + (R << s)            when `step_enable`; 0 when `accumulator_clear`
    H ← A                       when `hold_enable`
    """
    c = Circuit("daqkf_ordered_sum_lane", "a lane of an ordered-sum element.")
    c.clock("clk")
    delta = _build_tree(c, config, c.input("enable", 1))
    negates = c.input("negates", 1)
    sum_enable, sum_clear = c.input("sum_enable", 1), c.input("sum_clear", 1)
    step_enable = c.input("step_enable", 1)
    accumulator_clear = c.input("accumulator_clear", 1)
    shift = c.input("shift", config.shift_width) if config.shift_width else None
    hold_enable = c.input("hold_enable", 1)

    c.section("The running sum.")
    width = config.running_sum_width
    running = c.register("running_sum", width, reset=0, clear=sum_clear)
    running.drive(add_or_subtract(running, fitted(delta, width), negates), enable=sum_enable)

    c.section("The accumulator, and the sum that is held for the post unit.")
    width = config.accumulator_width
    accumulator = c.register("accumulator", width, reset=0, clear=accumulator_clear)
    term = shifted(c, running.sext(width), shift, config.max_shift)
    accumulator.drive(accumulator + term, enable=step_enable)

    c.output("held", c.delay(accumulator, "held_sum", enable=hold_enable))
    c.finish()
    return c


def add_or_subtract(a: Signal, b: Signal, subtracts: Signal) -> Signal:
    """`subtracts ? a - b : a + b`, in one adder: the sign is also its carry."""
    return a + (b ^ subtracts.replicate(b.width)) + subtracts.zext(a.width)


def _build_tree(c: Circuit, config: ArrayConfig, enable: Signal) -> Signal:
    """A lane's items, as ports, and their sum, in terms of the first one's sign.

    Terms of n bits have 2^(n-1) added, so that no level extends a sign. For sums as well as for
    differences of two of them, what has been added is then 2^n. The last level takes it out, which
    inverts the top bit.
    """
    c.section("The tree of adders, of which each adds or subtracts.")
    terms: list[Signal] = [c.input(f"x{item}", ACTIVATION_BITS) for item in range(config.items)]
    if len(terms) == 1:
        return c.delay(offset_binary(terms[0]), "tree0_0", enable=enable)
    level = 0
    while len(terms) > 1:
        sums: list[Signal] = []
        for number, (a, b) in enumerate(zip(terms[::2], terms[1::2], strict=True)):
            width = a.width + 1
            subtracts = c.input(f"subtracts{level}_{number}", 1)
            second = (b ^ subtracts.replicate(b.width)).zext(width)
            total = a.zext(width) + second + subtracts.zext(width)
            if len(terms) == 2:
                total = concat(~total[width - 1], total[: width - 1])
            sums.append(c.delay(total, f"tree{level}_{number}", enable=enable))
        terms, level = sums, level + 1
    return terms[0]


DATAPATH = DatapathBuilder(build_datapath, offset_binary)
