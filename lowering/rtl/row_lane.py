# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_row_lane`: the row unit's arithmetic, for one of the lanes the post unit takes at once.

    value → u, scaled by the exponent → u·u or u·g → running sum of squares or + offset → shift

One multiplier and one adder do both: they sum squares while the results of a kernel are
written, and normalise these afterwards. Lanes of other groups take turns; their sums go around in a
ring, their factors are in a memory.
"""

from itertools import pairwise

from daqkf.dialects.rpea import ArrayConfig
from daqkf.dialects.spaq.numerics import (
    ACTIVATION_BITS,
    EXPONENT_BITS,
    FACTOR_BITS,
    MEAN_FRACTION,
    NORMALIZED_BITS,
)
from daqkf.lowering.circuit import Circuit, Signal, concat
from daqkf.lowering.rtl import booth
from daqkf.lowering.rtl.pipeline import delayed
from daqkf.lowering.rtl.row_solver import MAX_SHIFT, SCALED_BITS, SOLUTION, RowWidths
from daqkf.lowering.rtl.select import choose, index_bits

_FINE = 2
"""Low bits of the shift that its second stage handles."""
_MULTIPLYING = booth.stages(SCALED_BITS)
SUMMING = 3 + _MULTIPLYING
"""Cycles from a value to the addition: registers for it, for u, and for the multiplicand."""
NORMALIZING = SUMMING + 3
"""Cycles from a value to its sum for the post unit."""
OFFSET_READING = SUMMING - 2
"""Cycles from a value to the read of its offset, which takes as long as one of its factor."""


def build_row_lane(config: ArrayConfig) -> Circuit:
    """The lane. While `streaming` it normalises what is `selected`, else it sums what is `snooped`.

    A value comes with its group, the exponent a cycle later, `fresh` and `advance` by `SUMMING`
    later: these say that it is of the first output, and that the sums are to move on. `store`
    writes what the solver says of the lane in the group `stored`.
    """
    widths = RowWidths.of(config)
    c = Circuit("daqkf_row_lane")
    c.clock("clk")
    streaming = c.input("streaming", 1)
    summing = ~streaming
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

    factors = c.memory("factors", groups, FACTOR_BITS, style="distributed")
    factors.write(stored, c.input("factor", FACTOR_BITS), store)
    factor = only(factors.read(group, c.const(1, 1), "factor_row"), "streaming_factor", streaming)
    multiplicand = only(scaled, "summing_u", summing) | factor.zext(SCALED_BITS)
    multiplicand = c.delay(multiplicand, "multiplicand")
    u = c.delay(u, "multiplier")
    product = booth.multiply(c, multiplicand, u, "product")

    offset_bits, shift_bits = SOLUTION["offset"], SOLUTION["shift"]
    offsets = c.memory("offsets", groups, offset_bits + shift_bits, style="distributed")
    row = concat(c.input("shift", shift_bits), c.input("offset", offset_bits))
    offsets.write(stored, row, store)
    row = offsets.read(offset_group, c.const(1, 1), "offset_row")
    offset = only(row[:offset_bits], "streaming_offset", streaming)
    shift = delayed(c, row[offset_bits:], "shift", 2)

    # The sums so far, at the end of the ring, unless there are none.
    fresh, advance = c.input("fresh", 1), c.input("advance", 1)
    squares, total = (
        [c.register(f"{name}{n}", bits) for n in range(groups)]
        for name, bits in (("squares", widths.squares), ("total", widths.total))
    )
    ended = ~(fresh | streaming)
    addend = squares[-1] & ended.replicate(widths.squares)
    addend = addend | offset[MEAN_FRACTION:].sext(widths.squares)
    squares[0].drive(_fitted(product, widths.squares) + addend, enable=advance)
    addend = total[-1] & (~fresh).replicate(widths.total)
    own = delayed(c, u, "summed_u", _MULTIPLYING).sext(widths.total)
    total[0].drive(own + addend, enable=advance)
    for ring in (squares, total):
        for earlier, later in pairwise(ring):
            later.drive(earlier, enable=advance)

    # What is below the multiples of u·g only has the offset.
    low = c.delay(offset[:MEAN_FRACTION], "offset_low")
    upper = offset_bits + 1 - MEAN_FRACTION
    summed, window = concat(squares[0][:upper], low), NORMALIZED_BITS + (1 << _FINE) - 1
    amounts = range(0, MAX_SHIFT + 1, 1 << _FINE)
    summed = summed.sext(max(summed.width, amounts[-1] + window))
    coarse = choose(shift[_FINE:], [summed[amount : amount + window] for amount in amounts])
    coarse = c.delay(coarse, "coarse")
    amount = c.delay(shift[:_FINE], "fine_shift")
    sums = choose(amount, [coarse[n : n + NORMALIZED_BITS] for n in range(1 << _FINE)])
    c.output("sums", only(sums, "normalized", streaming))
    c.output("squares", squares[-1])
    c.output("total", total[-1])
    c.finish()
    return c


def _fitted(value: Signal, width: int) -> Signal:
    return value[:width] if width <= value.width else value.sext(width)
