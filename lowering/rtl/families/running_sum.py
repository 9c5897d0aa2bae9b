# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The running-sum family: adders and a shift in place of a multiplier.

    operands → delta → running sum → accumulator → held sum

`passes/maths/running_sum.py` has the method.
"""

from collections.abc import Sequence

from daqkf.dialects.rpea import ArrayConfig
from daqkf.dialects.spaq.numerics import ACTIVATION_BITS
from daqkf.lowering.circuit import Circuit, Signal, concat, mux
from daqkf.lowering.rtl.families.stage import Datapath, Operands
from daqkf.lowering.rtl.select import choose


def build_datapath(c: Circuit, config: ArrayConfig, operands: Operands) -> Datapath:
    """The element's control, stage by stage, and its lanes."""
    enable, start = operands.enable, operands.start
    operand = operands.fields

    # Delta: the items are added up; what follows them travels along.
    delta_valid = c.delay(operands.valid, "delta_valid", enable=enable, reset=0)
    delta = {
        name: c.delay(operand[name], f"delta_{name}", enable=enable)
        for name in operand
        if not name.startswith("negative")
    }
    first = c.register("first", 1, reset=1)
    sum_enable = enable & delta_valid
    first.drive(start | delta["last"], enable=start | sum_enable)

    # Running sum, then accumulator.
    sum_valid = c.delay(delta_valid, "sum_valid", enable=enable, reset=0)
    following = {name: c.delay(delta[name], f"sum_{name}", enable=enable) for name in delta}
    fresh = c.register("fresh", 1, reset=1)
    step_enable = enable & sum_valid & following["step"]
    fresh.drive(start | following["last"], enable=start | step_enable)
    finished = c.delay(sum_valid & following["last"], "finished", enable=enable, reset=0)

    lane = build_lane(config)
    held: list[Signal] = []
    for t in range(config.lanes):
        shift = {"shift": following["shift"]} if "shift" in following else {}
        items = {
            name: signal
            for item, row in enumerate(operands.rows)
            for name, signal in (
                (f"x{item}", row[ACTIVATION_BITS * t : ACTIVATION_BITS * (t + 1)]),
                (f"negative{item}", operand[f"negative{item}"]),
            )
        }
        outputs = c.instance(
            f"lane{t}",
            lane,
            clk=c.clk,
            enable=enable,
            sum_enable=sum_enable,
            first=first,
            step_enable=step_enable,
            fresh=fresh,
            hold_enable=operands.hold_enable,
            **items,
            **shift,
        )
        held.append(outputs["held"])
    return Datapath(finished, held)


def build_lane(config: ArrayConfig) -> Circuit:
    """One token's lane; the element's control says in each stage what to do.

    d ← Σ (x ^ n) over the items     when `enable`
    R ← (first ? 0 : R) + d          when `sum_enable`
    A ← (fresh ? 0 : A) + (R << s)   when `step_enable`
    H ← A                            when `hold_enable`
    """
    c = Circuit("daqkf_running_sum_lane")
    c.clock("clk")
    enable = c.input("enable", 1)
    items = [
        (c.input(f"x{i}", ACTIVATION_BITS), c.input(f"negative{i}", 1)) for i in range(config.items)
    ]
    sum_enable, first = c.input("sum_enable", 1), c.input("first", 1)
    step_enable, fresh = c.input("step_enable", 1), c.input("fresh", 1)
    shift = c.input("shift", config.shift_width) if config.shift_width else None
    hold_enable = c.input("hold_enable", 1)

    # A negative item enters as its ones' complement; the bias makes up for the missing ones.
    signed = [x ^ negative.replicate(ACTIVATION_BITS) for x, negative in items]
    delta = c.delay(added(signed), "delta", enable=enable)

    width = config.running_sum_width
    running = c.register("running_sum", width)
    running.drive(mux(first, c.const(0, width), running) + fitted(delta, width), enable=sum_enable)

    width = config.accumulator_width
    accumulator = c.register("accumulator", width)
    term = shifted(c, running.sext(width), shift, config.max_shift)
    accumulator.drive(mux(fresh, c.const(0, width), accumulator) + term, enable=step_enable)

    c.output("held", c.delay(accumulator, "held_sum", enable=hold_enable))
    c.finish()
    return c


def added(terms: Sequence[Signal]) -> Signal:
    """The sum of a power of two of signed terms, as a tree, one bit wider at each level."""
    if len(terms) == 1:
        return terms[0]
    width = terms[0].width + 1
    pairs = zip(terms[::2], terms[1::2], strict=True)
    return added([a.sext(width) + b.sext(width) for a, b in pairs])


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
