# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_row_lane`: the row unit's arithmetic, for one of the lanes the post unit takes at once.

    value → u, scaled by the exponent → u·u or u·g → running sum of squares or + offset → shift

One multiplier and one adder do both: they sum squares while the results of a kernel are
written, and normalise these afterwards. Lanes of other groups take turns; their sums go around in
a ring, their factors are in a memory. To be solved, the sums of all lanes go through one shift
register, of which the rings are parts.

A gate is the factor of the value that follows it. For a softmax, values are first compared with the
largest so far, then taken with it subtracted, and multiplied by 1; their exponentials, which are
snooped, go into the running sums. Both need one more ring.
"""

from itertools import pairwise

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import (
    ACTIVATION_BITS,
    EXPONENT_BITS,
    MEAN_FRACTION,
    NORMALIZED_BITS,
)
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, concat, mux
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose, index_bits
from daqkf.lowering.rtl import booth
from daqkf.lowering.rtl.row_solver import (
    MAX_STEPS,
    SCALED_BITS,
    SHIFT_STEP,
    SOLUTION,
    RowWidths,
    fitted,
)

_MULTIPLYING = booth.stages(SCALED_BITS)
SUMMING = 3 + _MULTIPLYING
"""Cycles from a value to the addition: registers for it, for u, and for the multiplicand."""
NORMALIZING = SUMMING + 2
"""Cycles from a value to its sum for the post unit."""
OFFSET_READING = SUMMING - 2
"""Cycles from a value to the read of its offset, which takes as long as one of its factor."""


def build_row_lane(config: ArrayConfig) -> Circuit:
    """The lane. While `streaming` it multiplies what is `selected`, else it sums what is `snooped`.

    A value comes with its group, the exponent a cycle later, `fresh` and `advance` by `SUMMING`
    later: these say that it is of the first output, and that the sums are to move on. In place of
    a sum, `unload` takes the one of the next lane. `store` writes what the solver says of the lane
    in the group `stored`.

    What is selected is there while `present`. While `gating` a value is multiplied by the one
    `groups` before it, while `raising` it is taken with the largest one of its token subtracted,
    which begins with the `first`. Exponentials that are snooped meanwhile are in the total two
    cycles later, if `total_advance` says so after one.
    """
    widths = RowWidths.of(config)
    c = Circuit("daqkf_row_lane")
    c.clock("clk")
    streaming = c.input("streaming", 1)
    valid = c.input("valid", 1)
    summing = valid & ~streaming
    values = {name: c.input(name, ACTIVATION_BITS) for name in ("snooped", "selected")}
    exponent = c.input("exponent", EXPONENT_BITS)
    groups = config.lanes // config.post_lanes
    group, offset_group, stored = (
        c.input(name, index_bits(groups)) for name in ("group", "offset_group", "stored")
    )
    store = c.input("store", 1)
    gating = c.input("gating", 1) if config.gates else c.const(0, 1)
    raising = c.input("raising", 1) if config.softmax else c.const(0, 1)
    scaling = streaming & ~(gating | raising)

    def only(signal: Signal, name: str, phase: Signal) -> Signal:
        """The signal a cycle later, and 0 in another phase, so that an OR joins alternatives."""
        register = c.register(name, signal.width, reset=0, clear=~phase)
        register.drive(signal)
        return register

    selected = values["selected"]
    held: list[Register] = []
    if config.gates or config.softmax:
        held = [c.register(f"held{n}", ACTIVATION_BITS) for n in range(groups)]
        kept = selected
        if config.softmax:
            most = held[-1] & raising.replicate(ACTIVATION_BITS)
            selected = kept.sext(ACTIVATION_BITS + 1) - most.sext(ACTIVATION_BITS + 1)
            larger = ~selected[ACTIVATION_BITS]
            if config.operand_depth:
                larger = larger & ~c.input("absent", 1)
            kept = mux(c.input("first", 1) | larger, kept, held[-1])
        present = c.input("present", 1)
        for register, before in zip(held, [kept, *held], strict=False):
            register.drive(before, enable=present)

    value = only(values["snooped"], "snooped_value", summing).sext(selected.width)
    value = value | only(selected, "selected_value", streaming)
    shifts = range(1 << EXPONENT_BITS)
    options = [concat(value, c.const(0, n)) if n else value for n in shifts]
    scaled = choose(exponent, [fitted(option, SCALED_BITS) for option in options])
    u = c.delay(scaled, "u")

    bits = SOLUTION["factor"]
    factors = c.memory("factors", groups, bits, style="distributed")
    factors.write(stored, c.input("factor", bits), store)
    factor = only(factors.read(group, c.const(1, 1), "factor_row"), "streaming_factor", scaling)
    multiplicand = only(scaled, "summing_u", ~streaming).sext(bits + 1) | factor.zext(bits + 1)
    if config.gates:
        gate = only(c.delay(held[-1], "gate"), "streaming_gate", gating)
        multiplicand = multiplicand | gate.sext(bits + 1)
    if config.softmax:
        multiplicand = multiplicand | raising.zext(bits + 1)
    multiplicand = c.delay(multiplicand, "multiplicand")
    u = c.delay(u, "multiplier")
    product = booth.multiply(c, multiplicand, u, "product")

    bits, steps_bits = SOLUTION["offset"], SOLUTION["steps"]
    offsets = c.memory("offsets", groups, bits + steps_bits, style="distributed")
    row = concat(c.input("steps", steps_bits), c.input("offset", bits))
    offsets.write(stored, row, store)
    row = offsets.read(offset_group, c.const(1, 1), "offset_row")
    offset = only(row[:bits], "streaming_offset", scaling)
    steps = c.delay(row[bits:], "steps1")
    if held:
        # Products as they are.
        steps = mux(gating | raising, c.const(1, steps_bits), steps)
    steps = c.delay(steps, "steps2")

    # The sums so far, at the end of the ring, unless there are none.
    fresh, advance, unload = (c.input(name, 1) for name in ("fresh", "advance", "unload"))
    adds = ~(fresh | streaming | unload)

    def ring(
        name: str,
        width: int,
        own: Signal,
        adds: Signal,
        advance: Signal,
        other: Signal | None = None,
    ) -> Signal:
        """The first register of a ring; `other` is 0 while it has a sum to go on from."""
        parts = [c.register(f"{name}{n}", width) for n in range(groups)]
        following = c.input(f"next_{name}", width)
        addend = (parts[-1] & adds.replicate(width)) | (following & unload.replicate(width))
        addend = addend | other.sext(width) if other is not None else addend
        parts[0].drive(fitted(own, width) + addend, advance)
        for earlier, later in pairwise(parts):
            later.drive(earlier, enable=advance)
        c.output(name, parts[-1])
        return parts[0]

    if config.softmax:
        early = delayed(c, u, "summed_u", _MULTIPLYING - 1)
        summed_u = c.register("summed_value", u.width, reset=0, clear=streaming & ~valid)
        summed_u.drive(mux(streaming, values["snooped"].sext(u.width), early))
        ring("total", widths.total, summed_u, ~(fresh | unload), c.input("total_advance", 1))
    else:
        ring("total", widths.total, delayed(c, u, "summed_u", _MULTIPLYING), adds, advance)
    # What is below the multiples of u·g only has the offset.
    total = ring("squares", widths.squares, product, adds, advance, offset[MEAN_FRACTION:])
    total = total[: bits + 1 - MEAN_FRACTION]
    low = c.delay(offset[:MEAN_FRACTION], "offset_low")

    amounts = [SHIFT_STEP * n for n in range(MAX_STEPS + 1)]
    sums = concat(total, low).sext(max(bits + 1, amounts[-1] + NORMALIZED_BITS))
    sums = choose(steps, [sums[amount : amount + NORMALIZED_BITS] for amount in amounts])
    if config.operand_depth:
        # So far below the largest one that there is no exponential.
        least = c.const(1 << (NORMALIZED_BITS - 1), NORMALIZED_BITS)
        sums = mux(c.input("absent_sums", 1), least, sums)
    c.output("sums", only(sums, "normalized", streaming))
    c.finish()
    return c
