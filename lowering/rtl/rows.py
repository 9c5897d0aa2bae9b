# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_rows`: the unit that normalises the results of a kernel, token by token.

While results are written it sums them and their squares for each token. When the chain says so it
solves one token after another, then takes the rows of results through the same multipliers
into the post unit, as if from one more element.
"""

from collections.abc import Mapping

from daqkf.dialects.rpea import ArrayConfig
from daqkf.dialects.spaq.numerics import ACTIVATION_BITS, EXPONENT_BITS
from daqkf.lowering.circuit import Circuit, Signal, concat, mux
from daqkf.lowering.rtl.pipeline import delayed
from daqkf.lowering.rtl.post import rows_stages
from daqkf.lowering.rtl.row_lane import NORMALIZING, OFFSET_READING, SUMMING, build_row_lane
from daqkf.lowering.rtl.row_solver import SOLUTION, RowWidths, build_row_solver
from daqkf.lowering.rtl.select import choose, index_bits


def build_row_unit(config: ArrayConfig) -> Circuit:
    """The unit of an array that normalises.

    `start` pulses when a kernel of the elements starts, `normalize` when one of this unit does,
    `ran` when it has written its results. While it `wants` a row of results, `read` says that one
    comes in the next cycle; it has to stay while the unit `holds` it. `streams` pulses before the
    first one is read. `valid` is `post.rows_stages` before the
    sums it is for.
    """
    c = Circuit("daqkf_rows")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    start, normalize, ran = (c.input(name, 1) for name in ("start", "normalize", "ran"))
    read, row = c.input("read", 1), c.input("row", config.row_bits)
    groups, together = config.lanes // config.post_lanes, ACTIVATION_BITS * config.post_lanes
    values, values_valid = c.input("values", together), c.input("values_valid", 1)
    exponents = {name: c.input(f"{name}_exponent", EXPONENT_BITS) for name in ("row", "values")}
    widths = RowWidths.of(config)
    count = c.input("outputs", index_bits(config.result_depth + 1))

    # The groups of what is summed, or of what streams: never both at once.
    streaming, present = (c.register(name, 1, reset=0) for name in ("streaming", "present"))
    summed = delayed(c, values_valid & ~streaming, "summed", SUMMING, reset=0)
    part, final_part = _turns(c, "part", groups, present | summed)
    fresh = c.register("fresh", 1, reset=0)
    fresh.drive((delayed(c, start, "started", SUMMING, reset=0) | fresh) & ~(summed & final_part))

    # Lane after lane is solved, once the last values are in the sums: the first of each group, then
    # the second ones, as they come out of the rings.
    solve, solved = c.wire("solve", 1), c.wire("solved", 1)
    solving, final_group = _turns(c, "solving", groups, solved)
    lane, final_lane = _turns(c, "lane", config.post_lanes, solved & final_group)
    streams = solved & final_group & final_lane
    solve.drive(delayed(c, normalize, "settled", SUMMING, reset=0) | (solved & ~streams))
    streaming.drive((streams | streaming) & ~ran)

    # Then the rows: each stays for its groups.
    holds = present & ~final_part
    present.drive((read & streaming) | holds)
    selected = choose(part, [row[low : low + together] for low in range(0, row.width, together)])
    exponent = c.delay(
        mux(streaming, exponents["row"], exponents["values"]),
        "exponent",
    )
    row_lane = build_row_lane(config)
    common = {
        "streaming": streaming,
        "exponent": exponent,
        "group": part,
        "offset_group": delayed(c, part, "offset_part", OFFSET_READING),
        "stored": solving,
        "fresh": fresh,
        "advance": summed | streaming | solved,
        "unload": solved,
        "valid": values_valid,
    }
    solution = {name: c.wire(name, bits) for name, bits in SOLUTION.items()}
    sums = {"total": widths.total, "squares": widths.squares}
    following = {f"next_{name}": c.const(0, bits) for name, bits in sums.items()}
    lanes: list[Mapping[str, Signal]] = []
    # From the last one on, as each unloads into the one before.
    for v in reversed(range(config.post_lanes)):
        low = ACTIVATION_BITS * v
        own = c.instance(
            f"lane{v}",
            row_lane,
            clk=c.clk,
            **common,
            **solution,
            **following,
            store=solved & lane.eq(v),
            snooped=values[low : low + ACTIVATION_BITS],
            selected=selected[low : low + ACTIVATION_BITS],
        )
        following = {f"next_{name}": own[name] for name in sums}
        lanes.append(own)
    solver = c.instance(
        "solver",
        build_row_solver(config),
        clk=c.clk,
        rst=rst,
        start=solve,
        count=count.zext(max(count.width, widths.count))[: widths.count],
        **{name: lanes[-1][name] for name in sums},
    )
    solved.drive(solver["solved"])
    for name, wire in solution.items():
        wire.drive(solver[name])

    c.output("streaming", streaming)
    c.output("streams", streams)
    c.output("holds", holds)
    c.output("wants", streaming & ~holds)
    early = NORMALIZING - rows_stages(config)
    c.output("valid", delayed(c, present, "valid", early, reset=0))
    c.output("sums", concat(*(own["sums"] for own in lanes)))
    c.finish()
    return c


def _turns(c: Circuit, name: str, most: int, enable: Signal) -> tuple[Signal, Signal]:
    """A counter, and whether it is at the last number, behind which it begins again."""
    counter = c.register(name, index_bits(most), reset=0)
    final = counter.eq(most - 1)
    counter.drive(mux(final, c.const(0, counter.width), counter + 1), enable=enable)
    return counter, final
