# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_spaq`: picks the variant of a tile by the zeros among its activations.

    zero bytes of a beat → their number → total → bucket → row of the decision table

It counts while the beats arrive, so the decision is there `DECISION_CYCLES` after the last
one is counted in. What it decides is `hw_targets/decision.py`.
"""

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.decision import VARIANT_BITS
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.hw_targets.words import dispatch_row
from daqkf.lowering.hdl.circuit import Circuit, concat, mux, named
from daqkf.lowering.hdl.select import choose, count_ones, index_bits, unpack

DECISION_CYCLES = 3
"""From the cycle after the last beat to the first with its decision."""


def build_spaq_unit(config: ArrayConfig) -> Circuit:
    """The unit of an array whose decision table has more than one row."""
    c = Circuit("daqkf_spaq", "picks a variant of a program by a tile's zeros.")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    beat = c.input("beat", 1)
    row = c.input("row", config.row_bits)
    start = c.input("start", 1)
    amount = c.input("zero_shift", index_bits(config.zeros_width))
    table_write = (
        c.input("dispatch_address", index_bits(config.banks * config.buckets)),
        c.input("dispatch_data", dispatch_row(config).width),
        c.input("dispatch_write", 1),
    )

    c.section("The zeros of the tile, counted as they arrive.")
    # A cycle without a beat counts nothing, so no stage needs to know whether there was one.
    # What is under way at a reset is of no tile that follows.
    lanes = [row[t * ACTIVATION_BITS : (t + 1) * ACTIVATION_BITS] for t in range(config.lanes)]
    flags = [c.delay(beat & lane.eq(0), f"zero{t}", reset=0) for t, lane in enumerate(lanes)]
    count = c.delay(count_ones(flags), "count", reset=0)
    total = c.register("total", config.zeros_width, reset=0)
    counted = total + count.zext(total.width)
    total.drive(mux(start, c.const(0, total.width), counted))

    c.section("The bucket of that number, and its row of the decision table.")
    shifted = choose(amount, [total[s:].zext(total.width) for s in range(total.width)])
    shifted = named(shifted, "shifted")
    bits = index_bits(config.buckets)
    bucket = shifted.zext(max(bits, shifted.width))
    if bucket.width > bits:
        bucket = mux(bucket[bits:].any(), c.const(config.buckets - 1, bits), bucket[:bits])

    if config.double_buffered:
        bucket = concat(c.input("bank", 1), bucket)
    table = c.memory(
        "decisions", config.banks * config.buckets, dispatch_row(config).width, style="distributed"
    )
    table.write(*table_write)
    decision = unpack(dispatch_row(config), table.read(bucket, c.const(1, 1), "decision"))
    c.output("stream_start", decision["stream"])
    c.output("slot_start", decision["slot"])
    variant = c.register("variant", VARIANT_BITS, reset=0)
    variant.drive(decision["variant"], enable=start)
    c.output("variant", variant)
    c.finish()
    return c
