# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_lane`: one token's running sum, accumulator and holding register.

Two adders and a shift in place of a multiplier (passes/maths/running_sum.py has the method).
"""

from daqkf.dialects.rpea import ArrayConfig
from daqkf.dialects.spaq.numerics import ACTIVATION_BITS
from daqkf.lowering.circuit import Circuit, Signal, concat, mux
from daqkf.lowering.rtl.select import choose


def build_lane(config: ArrayConfig) -> Circuit:
    """The lane; the element's control says in each stage what to do.

    d ← (x0 ^ n0) + (x1 ^ n1)        when `enable`
    R ← (first ? 0 : R) + d          when `sum_enable`
    A ← (fresh ? 0 : A) + (R << s)   when `step_enable`
    H ← A                            when `hold_enable`
    """
    c = Circuit("daqkf_lane")
    c.clock("clk")
    enable = c.input("enable", 1)
    items = [(c.input(f"x{i}", ACTIVATION_BITS), c.input(f"negative{i}", 1)) for i in range(2)]
    sum_enable, first = c.input("sum_enable", 1), c.input("first", 1)
    step_enable, fresh = c.input("step_enable", 1), c.input("fresh", 1)
    shift = c.input("shift", config.shift_width) if config.shift_width else None
    hold_enable = c.input("hold_enable", 1)

    # A negative item enters as its ones' complement; the bias makes up for the missing ones.
    x0, x1 = ((x ^ negative.replicate(ACTIVATION_BITS)) for x, negative in items)
    delta = c.delay(
        x0.sext(ACTIVATION_BITS + 1) + x1.sext(ACTIVATION_BITS + 1), "delta", enable=enable
    )

    width = config.running_sum_width
    running = c.register("running_sum", width)
    running.drive(mux(first, c.const(0, width), running) + delta.sext(width), enable=sum_enable)

    width = config.accumulator_width
    accumulator = c.register("accumulator", width)
    term = _shifted(c, running.sext(width), shift, config.max_shift)
    accumulator.drive(mux(fresh, c.const(0, width), accumulator) + term, enable=step_enable)

    c.output("held", c.delay(accumulator, "held_sum", enable=hold_enable))
    c.finish()
    return c


def _shifted(c: Circuit, value: Signal, shift: Signal | None, max_shift: int) -> Signal:
    if shift is None:
        return value
    options = [value]
    for amount in range(1, max_shift + 1):
        options.append(concat(value[: value.width - amount], c.const(0, amount)))
    return choose(shift, options)
