# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_counters`: performance counters, copied and cleared in one cycle."""

from collections.abc import Mapping

from daqkf.lowering.hdl.circuit import Circuit, mux


def build_counters(widths: Mapping[str, tuple[int, int]]) -> Circuit:
    """Counters by name: their bits, and the bits of what each adds in a cycle.

    `snapshot` copies all of them to the outputs, `clear` sets them to 0. What is added in the
    cycle of either counts afterwards, so that no event is in two intervals or in none.
    """
    c = Circuit("daqkf_counters", "performance counters.")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    snapshot, clear = c.input("snapshot", 1), c.input("clear", 1)
    for name, (width, step_width) in widths.items():
        step = c.input(f"{name}_step", step_width).zext(width)
        count = c.register(f"{name}_count", width, reset=0)
        count.drive(mux(clear, c.const(0, width), count) + step)
        c.output(name, c.delay(count, f"{name}_copy", enable=snapshot, reset=0))
    c.finish()
    return c
