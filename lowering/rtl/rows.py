# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_rows`: the unit that works on the results of a kernel, token by token.

It takes the rows of results through its multipliers into the post unit, as if from one more
element. To normalise them it has summed them and their squares as they were written, and solves
one token after another first. Gates and what they let through follow one another. Of a softmax
the rows are read three times, and what is divided by is what came out of the post unit. An array
that only gates has the smaller unit of `row_gates`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from daqkf.dialects.rpea import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_BITS, EXPONENT_BITS, SHARE_LOG_COUNT
from daqkf.hw_targets.words import chain_row
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose, index_bits, turns
from daqkf.lowering.rtl.post import result_stages, rows_stages
from daqkf.lowering.rtl.row_lane import NORMALIZING, OFFSET_READING, SUMMING, build_row_lane
from daqkf.lowering.rtl.row_solver import SOLUTION, RowWidths, build_row_solver


def build_row_unit(config: ArrayConfig) -> Circuit:
    """The unit of an array that normalises, and what else this one does.

    `start` pulses when a kernel of the elements starts, `row_start` when one of this unit does,
    `ran` when it has written its results. While it `wants` a row of results, `read` says that one
    comes in the next cycle; it has to stay while the unit `holds` it. `streams` pulses before the
    first one is read. `valid` is `post.rows_stages` before the
    sums it is for.

    With softmax, `rewind` asks for the rows of the last `keys` again, and results that are
    written while it is `raising` are only exponentials. Of a program that `attends`, only the
    first `tokens` keys of each group are there.
    """
    c = Circuit("daqkf_rows")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    start, row_start, ran = (c.input(name, 1) for name in ("start", "row_start", "ran"))
    read, row = c.input("read", 1), c.input("row", config.row_bits)
    groups, together = config.lanes // config.post_lanes, ACTIVATION_BITS * config.post_lanes
    values, values_valid = c.input("values", together), c.input("values_valid", 1)
    exponents = {name: c.input(f"{name}_exponent", EXPONENT_BITS) for name in ("row", "values")}
    widths = RowWidths.of(config)
    count = c.input("outputs", index_bits(config.result_depth + 1))
    count = count.zext(max(count.width, widths.count))[: widths.count]
    gating = c.input("gates", 1) if config.gates else c.const(0, 1)
    late = _comparing(config)

    # The groups of what is summed, or of what streams: never both at once.
    streaming, present = (c.register(name, 1, reset=0) for name in ("streaming", "present"))
    summed = delayed(c, values_valid & ~streaming, "summed", SUMMING, reset=0)
    part, final_part = turns(c, "part", groups, present | summed)
    passed = present & final_part
    holds = present & ~final_part
    present.drive((read & streaming) | holds)

    # Lane after lane is solved, once the last values are in the sums: the first of each group, then
    # the second ones, as they come out of the rings.
    solve, solved = c.wire("solve", 1), c.wire("solved", 1)
    solving, final_group = turns(c, "solving", groups, solved)
    lane, final_lane = turns(c, "lane", config.post_lanes, solved & final_group)
    complete = solved & final_group & final_lane

    begins = delayed(c, row_start, "settled", SUMMING, reset=0)
    softmax = _Softmax.absent(c)
    if config.softmax:
        softmax = _Softmax.build(c, config, begins, ran, streaming, read, passed, complete)
        count = mux(softmax.runs, c.const(1 << SHARE_LOG_COUNT, count.width), count)
    unsolved = gating | softmax.runs
    streams = (begins & unsolved) | (complete & ~softmax.runs)
    solve.drive((begins & ~unsolved) | softmax.raised | (solved & ~complete))
    streaming.drive((streams | streaming) & ~ran)
    fresh = c.register("fresh", 1, reset=0)
    started = delayed(c, start, "started", SUMMING, reset=0) | softmax.scoring
    fresh.drive((started | fresh) & ~((summed & final_part) | softmax.first_raised))

    # Of each two rows of gates, or of the rows with the same keys.
    modes: dict[str, Signal] = {}
    silent = softmax.scoring
    if config.gates or config.softmax:
        first = c.register("first", 1, reset=0)
        first.drive(mux(passed, gating & ~first, first) | begins | softmax.opens)
        silent = silent | (gating & first)
        modes["present"] = delayed(c, present, "selected_present", late, reset=0)
        if config.gates:
            modes["gating"] = gating
        if config.softmax:
            returned = c.delay(values_valid & softmax.raising, "returned", reset=0)
            modes |= {
                "raising": softmax.raising,
                "first": delayed(c, first, "selected_first", late),
                **_absence(c, config, softmax, read, late),
                "total_advance": summed | solved | returned,
            }

    # The rows: each stays for its groups.
    selected = choose(part, [row[low : low + together] for low in range(0, row.width, together)])
    selected = delayed(c, selected, "selected", late)
    exponent = delayed(c, exponents["row"], "selected_exponent", late)
    exponent = c.delay(mux(streaming, exponent, exponents["values"]), "exponent")
    row_lane = build_row_lane(config)
    common = {
        **modes,
        "streaming": streaming,
        "exponent": exponent,
        "group": delayed(c, part, "selected_part", late),
        "offset_group": delayed(c, part, "offset_part", OFFSET_READING + late),
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
        count=count,
        **({"shares": softmax.runs} if config.softmax else {}),
        **{name: lanes[-1][name] for name in sums},
    )
    solved.drive(solver["solved"])
    for name, wire in solution.items():
        wire.drive(solver[name])

    c.output("streaming", streaming)
    c.output("streams", streams)
    c.output("holds", holds)
    c.output("wants", streaming & ~holds & ~softmax.read)
    early = late + NORMALIZING - rows_stages(config)
    c.output("valid", delayed(c, present & ~silent, "valid", early, reset=0))
    c.output("sums", concat(*(own["sums"] for own in lanes)))
    if config.softmax:
        c.output("raising", softmax.raising)
        c.output("rewind", softmax.rewind)
    c.finish()
    return c


def _comparing(config: ArrayConfig) -> int:
    """Cycles from the rows to the lanes: a softmax's begin with a comparison, in a cycle alone."""
    return int(config.softmax)


@dataclass(frozen=True)
class _Softmax:
    """How the rows with the same keys go by: for their maxima, their exponentials, their shares."""

    runs: Signal
    """Whether the kernel is a softmax."""
    opens: Signal
    """Pulses before the next keys."""
    scoring: Signal
    """The rows are read for their maxima."""
    raising: Signal
    """They are, or are read for their exponentials, or these are on their way."""
    raised: Signal
    """Pulses when these are written and summed."""
    first_raised: Signal
    """Pulses with all exponentials of a key: the sums go on from what they are."""
    read: Signal
    """Whether all rows have been read that can be."""
    rewind: Signal
    count: Signal
    """Of the keys that have been read."""

    @classmethod
    def absent(cls, c: Circuit) -> "_Softmax":
        return cls(*[c.const(0, 1)] * 9)

    @classmethod
    def build(
        cls,
        c: Circuit,
        config: ArrayConfig,
        begins: Signal,
        ran: Signal,
        streaming: Signal,
        read: Signal,
        passed: Signal,
        complete: Signal,
    ) -> "_Softmax":
        """`passed` pulses with the last group of a row, `complete` when all tokens are solved."""
        keys = c.input("keys", chain_row(config).widths["keys"])
        runs = c.delay(keys.any(), "softmax", reset=0)
        scoring, raising = (c.register(name, 1, reset=0) for name in ("scoring", "raising"))

        # Behind the last row the pipeline runs empty, unless nothing came of the rows.
        latency = _comparing(config) + NORMALIZING + result_stages()
        draining = c.register("draining", latency.bit_length(), reset=0)
        drained = draining.eq(1)
        rewind, opens = c.wire("rewound", 1), c.wire("opens", 1)
        count = c.register("rows_read", keys.width, reset=0, clear=rewind | opens)
        count.drive(count + 1, enable=read)
        whole = c.register("whole", 1, reset=0)
        whole.drive(((runs & read & (count + 1).eq(keys)) | whole) & ~(rewind | opens))
        last = whole & passed
        ending = last & ~scoring
        following = mux(ending, c.const(latency, draining.width), draining - 1)
        draining.drive(following, enable=ending | draining.any())

        opens.drive((begins & runs) | (drained & ~raising & streaming))
        scoring.drive((opens | (scoring & ~last)) & ~ran)
        raising.drive((opens | (raising & ~drained)) & ~ran)
        # A cycle later, as `complete` comes late in its own.
        rewind.drive(c.delay((last & scoring) | (complete & runs), "rewinds", reset=0))
        raised, written = drained & raising, c.input("written", 1)
        return cls(runs, opens, scoring, raising, raised, written & raising, whole, rewind, count)


def _absence(
    c: Circuit, config: ArrayConfig, softmax: _Softmax, read: Signal, late: int
) -> dict[str, Signal]:
    """Which of the selected values are of keys that are not there, and which sums then."""
    if not config.operand_depth:
        return {}
    count, tokens = softmax.count, c.input("tokens", config.tokens_width)
    absent = c.input("attends", 1) & ~count.ult(tokens)
    absent = delayed(c, c.delay(absent, "absent", enable=read), "selected_absent", late)
    sums = delayed(c, absent & softmax.raising, "absent_sums", NORMALIZING - 1, reset=0)
    return {"absent": absent, "absent_sums": sums}
