# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_rows` of an array that gates and does not normalise: products of neighbouring results."""

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fan_out import late_results
from daqkf.hw_targets.numerics import ACTIVATION_BITS, NORMALIZED_BITS
from daqkf.lowering.hdl.circuit import Circuit, concat, named
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose, turns
from daqkf.lowering.rtl import booth
from daqkf.lowering.rtl.post import rows_stages
from daqkf.lowering.rtl.row_solver import fitted

_GATING = 1 + booth.stages(ACTIVATION_BITS)
"""Cycles from a value to its product: a register for it, and the multiplication."""


def build_gate_unit(config: ArrayConfig) -> Circuit:
    """The unit: `row_start` pulses when it starts, `ran` when its results are written.

    Rows of results come and go as `rows.build_row_unit` has them: gates, and after each the values
    that it lets through.
    """
    c = Circuit("daqkf_rows", "gates rows of results.")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    row_start, ran, read = (c.input(name, 1) for name in ("row_start", "ran", "read"))
    row = c.input("row", config.row_bits)
    c.section("The groups of a row that stream, gates and then what they let through.")
    groups, together = config.lanes // config.post_lanes, ACTIVATION_BITS * config.post_lanes

    streaming, present, first = (
        c.register(name, 1, reset=0) for name in ("streaming", "present", "first")
    )
    streaming.drive((row_start | streaming) & ~ran)
    part, final_part = turns(c, "part", groups, present)
    holds = named(present & ~final_part, "row_holds")
    present.drive((read & streaming) | holds)
    first.drive(row_start | (first ^ (present & final_part)))

    c.section("The products of gates and values.")
    # The post unit may ask for the products later than they are there.
    late = late_results(config)
    early = rows_stages(config) - _GATING - late
    part = delayed(c, part, "arriving_part", late)
    selected = choose(part, [row[low : low + together] for low in range(0, row.width, together)])
    selected = delayed(c, selected, "selected", max(early, 0))
    moves = delayed(c, present, "present", late + max(early, 0), reset=0)
    gates = selected
    for group in range(groups):
        gates = c.delay(gates, f"gates{group}", enable=moves)
    gates = c.delay(gates, "multiplicands")
    values = c.register("values", together, reset=0, clear=~streaming)
    values.drive(selected)
    products = [
        booth.multiply(
            c,
            gates[low : low + ACTIVATION_BITS].sext(ACTIVATION_BITS + 1),
            values[low : low + ACTIVATION_BITS],
            f"product{v}",
        )
        for v, low in enumerate(range(0, together, ACTIVATION_BITS))
    ]

    c.output("streaming", streaming)
    c.output("streams", row_start)
    if not late:
        c.output("holds", holds)
    c.output("wants", streaming & ~holds)
    c.output("valid", delayed(c, present & ~first, "valid", max(-early, 0), reset=0))
    c.output("sums", concat(*(fitted(product, NORMALIZED_BITS) for product in reversed(products))))
    c.finish()
    return c
