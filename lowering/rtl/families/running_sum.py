# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The running-sum family: adders and a shift in place of a multiplier.

    operands → tree of adders → running sum, accumulator → held sum

`passes/encode/running_sum.py` has the method. An adder's bit is half a logic cell if its first
operand is a plain register and the second takes at most one more signal. Synthesis sorts the
operands of an addition, so where they differ, subtractions say which is the first.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux
from daqkf.lowering.hdl.select import choose
from daqkf.lowering.rtl.families.stage import Datapath, DatapathBuilder, Operands


def build_datapath(c: Circuit, config: ArrayConfig, operands: Operands) -> Datapath:
    """The element's control, stage by stage, and its lanes."""
    enable = operands.enable

    # Through the tree of adders, the word travels along.
    levels = tree_levels(config)
    if config.shared_words:
        # The sum is held as its last step makes it, since the next word may step for another one.
        valid, rest = through_tree(c, operands, levels - 1)
        finished = c.delay(valid & rest["last"], "finished", enable=enable, reset=0)
        valid, rest = through_level(c, enable, levels - 1, valid, rest)
        clear = [operands.start]
    else:
        valid, rest = through_tree(c, operands, levels)
        ending = enable & valid & rest["last"]
        finished = c.delay(valid & rest["last"], "finished", enable=enable, reset=0)
        clear = [operands.start, ending]
    control = {
        "enable": enable,
        **{name: rest[name] for name in ("keep", "double", "negate") if name in rest},
        **({"begins": rest["last"]} if config.shared_words else {}),
        "sum_enable": enable & valid,
        "sum_clear": reduce(or_, clear),
        "step_enable": enable & valid & rest["step"],
        "accumulator_clear": operands.start | operands.hold_enable,
        "hold_enable": operands.hold_enable,
        **({"shift": rest["shift"]} if "shift" in rest else {}),
    }
    return Datapath(finished, place_lanes(c, config, operands, build_lane(config), control))


def through_tree(
    c: Circuit, operands: Operands, levels: int
) -> tuple[Signal, Mapping[str, Signal]]:
    """A word's `valid` and what the end of the lanes needs of it, after levels of the tree."""
    valid = operands.valid
    names = ("keep", "double", "negate", "step", "last", "shift")
    rest = {name: operands.fields[name] for name in names if name in operands.fields}
    for level in range(levels):
        valid, rest = through_level(c, operands.enable, level, valid, rest)
    return valid, rest


def through_level(
    c: Circuit, enable: Signal, level: int, valid: Signal, rest: Mapping[str, Signal]
) -> tuple[Signal, Mapping[str, Signal]]:
    """The same after one more level."""
    valid = c.delay(valid, f"tree{level}_valid", enable=enable, reset=0)
    return valid, {
        name: c.delay(signal, f"tree{level}_{name}", enable=enable) for name, signal in rest.items()
    }


def place_lanes(
    c: Circuit,
    config: ArrayConfig,
    operands: Operands,
    lane: Circuit,
    control: Mapping[str, Signal],
) -> list[Signal]:
    """Each token's lane, with its items and the control of all, and what it holds."""
    fields = operands.fields
    complements = {name: fields[name] for name in fields if name.startswith("complement")}
    controls = operands.spread(c, config, {**control, **complements})
    held: list[Signal] = []
    for t, own in enumerate(controls):
        low = ACTIVATION_BITS * t
        items = {
            f"x{item}": row[low : low + ACTIVATION_BITS] for item, row in enumerate(operands.rows)
        }
        held.append(c.instance(f"lane{t}", lane, clk=c.clk, **items, **own)["held"])
    return held


def build_lane(config: ArrayConfig) -> Circuit:
    """One token's lane; the element's control says in each stage what to do.

    d ← Σ even items - Σ odd items    when `enable`, in as many cycles as the tree has levels
    Q ← d - (Q ^ keep)                when `sum_enable`; 0 when `sum_clear`; of 2Q when `double`
    A ← A - (Q << s)                  when `step_enable`; 0 when `accumulator_clear`
    H ← A                             when `hold_enable`

    With `shared_words`, `negate` inverts the bits of Q << s, H takes what A would become, and Q
    becomes d alone when `begins`. Neither takes a LUT more: an adder's bit has inputs to spare.
    """
    c = Circuit("daqkf_running_sum_lane", "a lane of a running-sum element.")
    c.clock("clk")
    enable = c.input("enable", 1)
    delta = build_tree(c, config, enable)
    keep = c.input("keep", 1)
    sum_enable, sum_clear = c.input("sum_enable", 1), c.input("sum_clear", 1)
    step_enable = c.input("step_enable", 1)
    accumulator_clear = c.input("accumulator_clear", 1)
    shift = c.input("shift", config.shift_width) if config.shift_width else None
    hold_enable = c.input("hold_enable", 1)
    negate = c.input("negate", 1) if config.shared_words else None
    begins = c.input("begins", 1) if config.shared_words else None

    c.section("The running sum.")
    width = config.running_sum_width
    running = c.register("running_sum", width, reset=0, clear=sum_clear)
    before: Signal = running
    if config.operand_depth:
        twice = concat(running[: width - 1], c.const(0, 1))
        before = mux(c.input("double", 1), twice, running)
    before = before ^ keep.replicate(width)
    if begins is not None:
        before = before & ~begins.replicate(width)
    running.drive(fitted(delta, width) - before, enable=sum_enable)

    c.section("The accumulator, and the sum that is held for the post unit.")
    width = config.accumulator_width
    accumulator = c.register("accumulator", width, reset=0, clear=accumulator_clear)
    term = shifted(c, running.sext(width), shift, config.max_shift)
    if negate is not None:
        term = term ^ negate.replicate(width)
    total = accumulator - term
    accumulator.drive(total, enable=step_enable)

    complete = total if config.shared_words else accumulator
    c.output("held", c.delay(complete, "held_sum", enable=hold_enable))
    c.finish()
    return c


def tree_levels(config: ArrayConfig) -> int:
    """Cycles from a word's items to their sum."""
    return max(1, (config.items - 1).bit_length())


def build_tree(c: Circuit, config: ArrayConfig, enable: Signal) -> Signal:
    """A lane's items, as ports, and their sum: the even ones less the odd ones."""
    c.section("The tree of adders: the even items less the odd ones.")
    items = [c.input(f"x{i}", ACTIVATION_BITS) for i in range(config.items)]
    complement = [c.input(f"complement{i}", 1) for i in range(1, config.items, 2)]
    terms = [
        x ^ complement[item // 2].replicate(ACTIVATION_BITS) if item % 2 else x
        for item, x in enumerate(items)
    ]
    return _tree(c, terms, enable)


def _tree(c: Circuit, terms: Sequence[Signal], enable: Signal) -> Signal:
    """The even terms less the odd ones, a power of two of them, a register after each level.

    The terms are in offset binary, and so are sums on their way: no level extends a sign. The
    last one takes the offset out again, which is an inverted top bit.
    """
    if len(terms) == 1:
        return c.delay(offset_binary(terms[0]), "tree0_0", enable=enable)
    for level in range((len(terms) - 1).bit_length()):
        # The first level's offsets cancel, and it puts one in unless it is the last level, too.
        top = c.const((level == 0) != (len(terms) == 2), 1)
        sums: list[Signal] = []
        for a, b in zip(terms[::2], terms[1::2], strict=True):
            a, b = concat(top, a), b.zext(b.width + 1)
            value = a + b if level else a - b
            sums.append(c.delay(value, f"tree{level}_{len(sums)}", enable=enable))
        terms = sums
    return terms[0]


def offset_binary(row: Signal) -> Signal:
    """x + 128 for each signed byte x of a row, and back: the top bits inverted."""
    return row ^ int.from_bytes([1 << (ACTIVATION_BITS - 1)] * (row.width // ACTIVATION_BITS))


def fitted(value: Signal, width: int) -> Signal:
    """Extended or cut to `width` bits: a sum that has so few bits is right modulo 2^width."""
    return value[:width] if width <= value.width else value.sext(width)


def shifted(c: Circuit, value: Signal, shift: Signal | None, max_shift: int) -> Signal:
    """`value << shift`, of the same width; without a shift, the value."""
    if shift is None:
        return value
    options = [value]
    for amount in range(1, max_shift + 1):
        options.append(concat(value[: value.width - amount], c.const(0, amount)))
    return choose(shift, options)


DATAPATH = DatapathBuilder(build_datapath, offset_binary)
