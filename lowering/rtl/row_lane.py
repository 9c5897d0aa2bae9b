# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_row_lane`: the row unit's arithmetic, for one of the lanes the post unit takes at once.

    value → u, scaled by the exponent → u·u or u·g → running sum of squares or + offset → shift

One multiplier and one adder do both: they sum squares while the results of a kernel are
written, and normalise these afterwards. Lanes of other groups take turns; their sums go around in
a ring, their factors are in a memory. To be solved, the sums of all lanes go through one shift
register, of which the rings are parts.
"""

from itertools import pairwise

from daqkf.dialects.rpea import ArrayConfig
from daqkf.dialects.spaq.numerics import (
    ACTIVATION_BITS,
    EXPONENT_BITS,
    MEAN_FRACTION,
    NORMALIZED_BITS,
)
from daqkf.lowering.circuit import Circuit, Signal, concat
from daqkf.lowering.rtl import booth
from daqkf.lowering.rtl.pipeline import delayed
from daqkf.lowering.rtl.row_solver import MAX_STEPS, SCALED_BITS, SHIFT_STEP, SOLUTION, RowWidths
from daqkf.lowering.rtl.select import choose, index_bits

_MULTIPLYING = booth.stages(SCALED_BITS)
SUMMING = 3 + _MULTIPLYING
"""Cycles from a value to the addition: registers for it, for u, and for the multiplicand."""
NORMALIZING = SUMMING + 2
"""Cycles from a value to its sum for the post unit."""
OFFSET_READING = SUMMING - 2
"""Cycles from a value to the read of its offset, which takes as long as one of its factor."""


def build_row_lane(config: ArrayConfig) -> Circuit:
    """The lane. While `streaming` it normalises what is `selected`, else it sums what is `snooped`.

    A value comes with its group, the exponent a cycle later, `fresh` and `advance` by `SUMMING`
    later: these say that it is of the first output, and that the sums are to move on. In place of
    a sum, `unload` takes the one of the next lane. `store` writes what the solver says of the lane
    in the group `stored`.
    """
    widths = RowWidths.of(config)
    c = Circuit("daqkf_row_lane")
    c.clock("clk")
    streaming = c.input("streaming", 1)
    summing = c.input("valid", 1) & ~streaming
    values = {name: c.input(name, ACTIVATION_BITS) for name in ("snooped", "selected")}
    exponent = c.input("exponent", EXPONENT_BITS)
    groups = config.lanes // config.post_lanes
    group, offset_group, stored = (
        c.input(name, index_bits(groups)) for name in ("group", "offset_group", "stored")
    )
    store = c.input("store", 1)

    def only(signal: Signal, name: str, phase: Signal) -> Signal:
        """The signal a cycle later, and 0 in another phase, so that an OR joins alternatives."""
        register = c.register(name, signal.width, reset=0, clear=~phase)
        register.drive(signal)
        return register

    value = only(values["snooped"], "snooped_value", summing)
    value = value | only(values["selected"], "selected_value", streaming)
    shifts = range(1 << EXPONENT_BITS)
    options = [concat(value, c.const(0, n)) if n else value for n in shifts]
    scaled = choose(exponent, [option.sext(SCALED_BITS) for option in options])
    u = c.delay(scaled, "u")

    bits = SOLUTION["factor"]
    factors = c.memory("factors", groups, bits, style="distributed")
    factors.write(stored, c.input("factor", bits), store)
    factor = only(factors.read(group, c.const(1, 1), "factor_row"), "streaming_factor", streaming)
    multiplicand = only(scaled, "summing_u", ~streaming).sext(bits + 1) | factor.zext(bits + 1)
    multiplicand = c.delay(multiplicand, "multiplicand")
    u = c.delay(u, "multiplier")
    product = booth.multiply(c, multiplicand, u, "product")

    bits, steps_bits = SOLUTION["offset"], SOLUTION["steps"]
    offsets = c.memory("offsets", groups, bits + steps_bits, style="distributed")
    row = concat(c.input("steps", steps_bits), c.input("offset", bits))
    offsets.write(stored, row, store)
    row = offsets.read(offset_group, c.const(1, 1), "offset_row")
    offset = only(row[:bits], "streaming_offset", streaming)
    steps = delayed(c, row[bits:], "steps", 2)

    # The sums so far, at the end of the ring, unless there are none.
    fresh, advance, unload = (c.input(name, 1) for name in ("fresh", "advance", "unload"))
    adds = ~(fresh | streaming | unload)

    def ring(name: str, width: int, own: Signal, other: Signal | None = None) -> Signal:
        """The first register of a ring; `other` is 0 while it has a sum to go on from."""
        parts = [c.register(f"{name}{n}", width) for n in range(groups)]
        following = c.input(f"next_{name}", width)
        addend = (parts[-1] & adds.replicate(width)) | (following & unload.replicate(width))
        addend = addend | other.sext(width) if other is not None else addend
        parts[0].drive((own[:width] if own.width > width else own.sext(width)) + addend, advance)
        for earlier, later in pairwise(parts):
            later.drive(earlier, enable=advance)
        c.output(name, parts[-1])
        return parts[0]

    ring("total", widths.total, delayed(c, u, "summed_u", _MULTIPLYING))
    # What is below the multiples of u·g only has the offset.
    total = ring("squares", widths.squares, product, offset[MEAN_FRACTION:])
    total = total[: bits + 1 - MEAN_FRACTION]
    low = c.delay(offset[:MEAN_FRACTION], "offset_low")

    amounts = [SHIFT_STEP * n for n in range(MAX_STEPS + 1)]
    sums = concat(total, low).sext(max(bits + 1, amounts[-1] + NORMALIZED_BITS))
    sums = choose(steps, [sums[amount : amount + NORMALIZED_BITS] for amount in amounts])
    c.output("sums", only(sums, "normalized", streaming))
    c.finish()
    return c
