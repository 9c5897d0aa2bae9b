# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_rows`: the unit that works on the results of a kernel, token by token.

It takes the rows of results through its multipliers into the post unit, as if from one more
element. To normalise them it has summed them and their squares as they were written, and first
solves as many tokens at a time as it has solvers. Gates and what they let through follow one
another. Of a softmax the rows are read three times, and what is divided by is what came out of the
post unit. An array that only gates has the smaller unit of `row_gates`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fan_out import late_results
from daqkf.hw_targets.numerics import ACTIVATION_BITS, EXPONENT_BITS, SHARE_LOG_COUNT
from daqkf.hw_targets.words import QUERY_BITS, chain_row, past_bits
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, Wire, concat, mux, named
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
    first `tokens` keys of each group are there. With `queries`, a lane sees those of its token and
    of the ones before; `fresh` pulses with another program, `done` at the end of a tile.
    """
    c = Circuit("daqkf_rows", "works on rows of results.")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    ports = _Ports.declare(c, config)
    progress = _Progress.follow(c, config, ports)
    softmax = progress.softmax
    modes, totals, silent = _modes(c, config, ports, progress)
    absences = _absence(c, config, progress, ports.read)
    lanes = _place_lanes(c, config, ports, progress, modes, totals, absences)
    count = ports.count
    kernel: dict[str, Signal] = {}
    if config.softmax:
        count = mux(softmax.runs, c.const(1 << SHARE_LOG_COUNT, count.width), count)
        kernel["shares"] = softmax.runs
    if config.rms_norms:
        kernel["rms"] = c.input("rms", 1)
    if config.epsilon_width:
        kernel["epsilon"] = c.input("epsilon", config.epsilon_width)
    c.section("The solver, for one token at a time.")
    kind = build_row_solver(config)
    for n, (turn, solution) in enumerate(zip(progress.turns, lanes.solutions, strict=True)):
        solver = c.instance(
            _numbered(config, "solver", n),
            kind,
            clk=c.clk,
            rst=rst,
            start=turn.solve,
            count=count,
            **kernel,
            **{name: lanes.outputs[n * _turns(config)][name] for name in ("total", "squares")},
        )
        turn.solved.drive(solver["solved"])
        for name, wire in solution.items():
            wire.drive(solver[name])

    c.section("What the array and the post unit are told.")
    c.output("streaming", progress.streaming)
    c.output("streams", progress.streams)
    if not late_results(config):
        c.output("holds", progress.holds)
    c.output("wants", progress.streaming & ~progress.holds & ~softmax.read)
    early = _waiting(config) + NORMALIZING - rows_stages(config)
    c.output("valid", delayed(c, progress.present & ~silent, "valid", early, reset=0))
    c.output("sums", concat(*(own["sums"] for own in reversed(lanes.outputs))))
    if config.softmax:
        c.output("raising", softmax.raising)
        c.output("rewind", softmax.rewind)
    c.finish()
    return c


@dataclass(frozen=True)
class _Ports:
    """The inputs of the unit but for those of a softmax."""

    start: Signal
    row_start: Signal
    ran: Signal
    read: Signal
    row: Signal
    values: Signal
    values_valid: Signal
    exponents: Mapping[str, Signal]
    """Of the row that is read, and of the values that leave the post unit."""
    count: Signal
    """N."""
    gating: Signal

    @classmethod
    def declare(cls, c: Circuit, config: ArrayConfig) -> "_Ports":
        start, row_start, ran = (c.input(name, 1) for name in ("start", "row_start", "ran"))
        read, row = c.input("read", 1), c.input("row", config.row_bits)
        values = c.input("values", ACTIVATION_BITS * config.post_lanes)
        values_valid = c.input("values_valid", 1)
        exponents = {name: c.input(f"{name}_exponent", EXPONENT_BITS) for name in ("row", "values")}
        count, width = c.input("outputs", index_bits(config.result_depth + 1)), _count_bits(config)
        count = count.zext(max(count.width, width))[:width]
        gating = c.input("gates", 1) if config.gates else c.const(0, 1)
        return cls(start, row_start, ran, read, row, values, values_valid, exponents, count, gating)


def _turns(config: ArrayConfig) -> int:
    """Neighbouring lanes whose tokens a solver has."""
    return config.post_lanes // config.row_solvers


def _numbered(config: ArrayConfig, name: str, solver: int) -> str:
    """The name of what belongs to one of the solvers."""
    return f"{name}{solver}" if config.row_solvers > 1 else name


@dataclass(frozen=True)
class _Turn:
    """Which token a solver solves: lane after lane, once the last values are in the sums.

    It is the first one of each group, then the second ones, as they come out of the rings.
    """

    solve: Wire
    solved: Wire
    group: Signal
    """The group of the lane that is solved."""
    lane: Signal
    """That lane, among those of the solver."""
    complete: Signal
    """Pulses when the last token has been solved."""

    @classmethod
    def count(cls, c: Circuit, config: ArrayConfig, solver: int) -> "_Turn":
        """The counters of a solver; `solve` and `solved` are to be driven."""

        def name(what: str) -> str:
            return _numbered(config, what, solver)

        solve, solved = c.wire(name("solve"), 1), c.wire(name("solved"), 1)
        group, final_group = turns(c, name("solving"), config.post_cycles, solved)
        group_solved = named(solved & final_group, name("group_solved"))
        lane, final_lane = turns(c, name("lane"), _turns(config), group_solved)
        complete = named(group_solved & final_lane, name("complete"))
        return cls(solve, solved, group, lane, complete)


def _all_complete(c: Circuit, turns: Sequence[_Turn]) -> Signal:
    """Pulses when all solvers are done; each takes as long as its tokens do."""
    if len(turns) == 1:
        return turns[0].complete
    complete, every = c.wire("all_complete", 1), c.const(1, 1)
    for n, turn in enumerate(turns):
        waits = c.register(f"waits{n}", 1, reset=0)
        done = turn.complete | waits
        waits.drive(done & ~complete)
        every = every & done
    complete.drive(every)
    return complete


def _count_bits(config: ArrayConfig) -> int:
    return RowWidths.of(config).count


@dataclass(frozen=True)
class _Progress:
    """What the unit is at: summing values, solving tokens, or streaming rows."""

    streaming: Register
    present: Register
    """A row is there, of which a group streams."""
    part: Signal
    """The group that streams or is summed."""
    summed: Signal
    """A group is added to the sums."""
    passed: Signal
    """The last group of a row streams."""
    holds: Signal
    begins: Signal
    """Pulses when the last values are in the sums."""
    streams: Signal
    fresh: Signal
    """The next values are the first to be summed."""
    turns: Sequence[_Turn]
    """Of each solver."""
    softmax: "_Softmax"

    @classmethod
    def follow(cls, c: Circuit, config: ArrayConfig, ports: _Ports) -> "_Progress":
        """The control of the unit; `solved` of all turns is to be driven."""
        c.section("The groups of what is summed, or of what streams: never both at once.")
        groups = config.lanes // config.post_lanes
        streaming, present = (c.register(name, 1, reset=0) for name in ("streaming", "present"))
        summed = delayed(c, ports.values_valid & ~streaming, "summed", SUMMING, reset=0)
        part, final_part = turns(c, "part", groups, present | summed)
        passed = named(present & final_part, "passed")
        holds = named(present & ~final_part, "row_holds")
        present.drive((ports.read & streaming) | holds)

        c.section("The token that is solved.")
        solvers = [_Turn.count(c, config, n) for n in range(config.row_solvers)]
        complete = _all_complete(c, solvers)

        begins = delayed(c, ports.row_start, "settled", SUMMING, reset=0)
        softmax = _Softmax.absent(c)
        if config.softmax:
            softmax = _Softmax.build(c, config, ports, begins, streaming, passed, complete)
        c.section("Whether rows stream, and whether sums begin.")
        unsolved = named(ports.gating | softmax.runs, "unsolved")
        streams = named((begins & unsolved) | (complete & ~softmax.runs), "rows_stream")
        for turn in solvers:
            again = turn.solved & ~turn.complete
            turn.solve.drive((begins & ~unsolved) | softmax.raised | again)
        streaming.drive((streams | streaming) & ~ports.ran)
        fresh = c.register("fresh", 1, reset=0)
        started = delayed(c, ports.start, "started", SUMMING, reset=0) | softmax.scoring
        fresh.drive((started | fresh) & ~((summed & final_part) | softmax.first_raised))
        return cls(
            streaming=streaming,
            present=present,
            part=part,
            summed=summed,
            passed=passed,
            holds=holds,
            begins=begins,
            streams=streams,
            fresh=fresh,
            turns=solvers,
            softmax=softmax,
        )


def _modes(
    c: Circuit, config: ArrayConfig, ports: _Ports, progress: _Progress
) -> tuple[dict[str, Signal], list[dict[str, Signal]], Signal]:
    """What lanes are told of gates and softmaxes, what those of each solver are told of their
    totals, and whether nothing comes of a row."""
    softmax, late = progress.softmax, _waiting(config)
    modes: dict[str, Signal] = {}
    totals: list[dict[str, Signal]] = [{} for _ in progress.turns]
    silent = softmax.scoring
    if not (config.gates or config.softmax):
        return modes, totals, silent
    c.section("The first of each two rows of gates, or of the rows with the same keys.")
    first = c.register("first", 1, reset=0)
    other = mux(progress.passed, ports.gating & ~first, first)
    first.drive(other | progress.begins | softmax.opens)
    silent = silent | (ports.gating & first)
    modes["present"] = delayed(c, progress.present, "selected_present", late, reset=0)
    if config.gates:
        modes["gating"] = ports.gating
    if config.softmax:
        returned = c.delay(ports.values_valid & softmax.raising, "returned", reset=0)
        modes |= {
            "raising": softmax.raising,
            "first": delayed(c, first, "selected_first", late),
        }
        totals = [
            {"total_advance": progress.summed | turn.solved | returned} for turn in progress.turns
        ]
    return modes, totals, silent


@dataclass(frozen=True)
class _Lanes:
    """The lanes' outputs, and what each solver tells its lanes."""

    outputs: Sequence[Mapping[str, Signal]]
    solutions: Sequence[Mapping[str, Wire]]


def _place_lanes(
    c: Circuit,
    config: ArrayConfig,
    ports: _Ports,
    progress: _Progress,
    modes: Mapping[str, Signal],
    totals: Sequence[Mapping[str, Signal]],
    absences: Sequence[Mapping[str, Signal]],
) -> _Lanes:
    """The lanes; a row stays for its groups."""
    c.section("The row that is read, group by group.")
    widths, late = RowWidths.of(config), _waiting(config)
    row, together = ports.row, ACTIVATION_BITS * config.post_lanes
    parts = [row[low : low + together] for low in range(0, row.width, together)]
    part = delayed(c, progress.part, "arriving_part", late_results(config))
    selected = named(choose(part, parts), "selected_values")
    selected = delayed(c, selected, "selected", _comparing(config))
    exponent = delayed(c, ports.exponents["row"], "selected_exponent", _comparing(config))
    exponent = mux(progress.streaming, exponent, ports.exponents["values"])
    solutions = [
        {name: c.wire(_numbered(config, name, n), bits) for name, bits in SOLUTION.items()}
        for n in range(config.row_solvers)
    ]
    common = {
        **modes,
        "streaming": progress.streaming,
        "exponent": c.delay(exponent, "exponent"),
        "group": delayed(c, progress.part, "selected_part", late),
        "offset_group": delayed(c, progress.part, "offset_part", OFFSET_READING + late),
        "fresh": progress.fresh,
        "valid": ports.values_valid,
    }
    told = [
        {**solution, **total, **_told(progress, turn)}
        for turn, solution, total in zip(progress.turns, solutions, totals, strict=True)
    ]
    c.section("The lanes, from the last one on, as each unloads into the one before.")
    kind, sums = build_row_lane(config), {"total": widths.total, "squares": widths.squares}
    nothing = {f"next_{name}": c.const(0, bits) for name, bits in sums.items()}
    following, lanes = nothing, list[Mapping[str, Signal]]()
    for v in reversed(range(config.post_lanes)):
        low, (n, lane) = ACTIVATION_BITS * v, divmod(v, _turns(config))
        turn = progress.turns[n]
        if lane == _turns(config) - 1:
            following = nothing
        own = c.instance(
            f"lane{v}",
            kind,
            clk=c.clk,
            **common,
            **told[n],
            **absences[v],
            **following,
            store=turn.solved & turn.lane.eq(lane),
            snooped=ports.values[low : low + ACTIVATION_BITS],
            selected=selected[low : low + ACTIVATION_BITS],
        )
        following = {f"next_{name}": own[name] for name in sums}
        lanes.append(own)
    return _Lanes(lanes[::-1], solutions)


def _told(progress: _Progress, turn: _Turn) -> dict[str, Signal]:
    """What the lanes of a solver are told of its turns."""
    return {
        "stored": turn.group,
        "advance": progress.summed | progress.streaming | turn.solved,
        "unload": turn.solved,
    }


def _comparing(config: ArrayConfig) -> int:
    """Cycles from the rows to the lanes: a softmax's begin with a comparison, in a cycle alone."""
    return int(config.softmax)


def _waiting(config: ArrayConfig) -> int:
    """Cycles by which lanes are behind the unit's control."""
    return late_results(config) + _comparing(config)


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
    again: Signal
    """Pulses before the first one is read, or read again."""

    @classmethod
    def absent(cls, c: Circuit) -> "_Softmax":
        return cls(*[c.const(0, 1)] * 10)

    @classmethod
    def build(
        cls,
        c: Circuit,
        config: ArrayConfig,
        ports: _Ports,
        begins: Signal,
        streaming: Signal,
        passed: Signal,
        complete: Signal,
    ) -> "_Softmax":
        """`passed` pulses with the last group of a row, `complete` when all tokens are solved."""
        c.section("A softmax: the rows go by for maxima, for exponentials and for shares.")
        read, ran = ports.read, ports.ran
        keys = c.input("keys", chain_row(config).widths["keys"])
        runs = c.delay(keys.any(), "softmax", reset=0)
        scoring, raising = (c.register(name, 1, reset=0) for name in ("scoring", "raising"))

        # Behind the last row the pipeline runs empty, unless nothing came of the rows.
        latency = _waiting(config) + NORMALIZING + result_stages(config)
        draining = c.register("draining", latency.bit_length(), reset=0)
        drained = named(draining.eq(1), "drained")
        rewind, opens = c.wire("rewound", 1), c.wire("opens", 1)
        count = c.register("rows_read", keys.width, reset=0, clear=rewind | opens)
        count.drive(count + 1, enable=read)
        whole = c.register("whole", 1, reset=0)
        again = named(rewind | opens, "reads_again")
        whole.drive(((runs & read & (count + 1).eq(keys)) | whole) & ~again)
        last = named(whole & passed, "last_passed")
        ending = named(last & ~scoring, "passing_ends")
        following = mux(ending, c.const(latency, draining.width), draining - 1)
        draining.drive(following, enable=ending | draining.any())

        opens.drive((begins & runs) | (drained & ~raising & streaming))
        scoring.drive((opens | (scoring & ~last)) & ~ran)
        raising.drive((opens | (raising & ~drained)) & ~ran)
        # A cycle later, as `complete` comes late in its own.
        rewind.drive(c.delay((last & scoring) | (complete & runs), "rewinds", reset=0))
        raised, written = named(drained & raising, "raised"), c.input("written", 1)
        first_raised = written & raising
        return cls(runs, opens, scoring, raising, raised, first_raised, whole, rewind, count, again)


def _absence(
    c: Circuit, config: ArrayConfig, progress: _Progress, read: Signal
) -> list[dict[str, Signal]]:
    """For each lane: which of the selected values are of keys that are not there, and which sums
    then."""
    lanes = config.post_lanes
    if not config.hides_keys:
        return [{}] * lanes
    softmax, late = progress.softmax, _waiting(config)

    def told(absent: Signal, number: str) -> dict[str, Signal]:
        absent = delayed(c, absent, f"selected_absent{number}", late)
        name = f"absent_sums{number}"
        sums = delayed(c, absent & softmax.raising, name, NORMALIZING - 1, reset=0)
        return {"absent": absent, "absent_sums": sums}

    beyond = c.const(0, 1)
    if config.operand_depth:
        beyond = c.input("attends", 1) & ~softmax.count.ult(c.input("tokens", config.tokens_width))
        beyond = c.delay(beyond, "absent", enable=read)
    if not config.causal:
        return [told(beyond, "")] * lanes
    hidden = _hidden(c, config, progress, read)
    return [told(own | beyond, f"_{lane}_") for lane, own in enumerate(hidden)]


def _hidden(c: Circuit, config: ArrayConfig, progress: _Progress, read: Signal) -> list[Signal]:
    """Whether the row that is there is of a key that the query of a lane does not see.

    Query n of a program sees key s if `s·queries ≤ n + past`. Both sides are counted up:
    `s·queries` with the rows, and the queries before the tile's first one with the tiles.
    """
    c.section("Causal attention: by how many queries a key is ahead of the tile's first one.")
    queries, past = c.input("queries", QUERY_BITS), c.input("past", past_bits(config))
    width = past.width + 1
    before = c.register("queries_before", width, reset=0, clear=c.input("fresh", 1))
    # So many that they see all keys need not be counted further.
    counting = c.input("done", 1) & ~before[width - 1]
    before.drive(before + config.lanes, enable=counting)
    width += 2
    first = c.delay(before.zext(width) + past.zext(width), "first_query")
    place = c.register("key_place", past.width, reset=0, clear=progress.softmax.again)
    place.drive(place + queries.zext(place.width), enable=read)
    ahead = named(place.zext(width) - first, "key_ahead")
    bits = config.lanes.bit_length()
    many = named(ahead[bits : width - 1].any(), "far_ahead")
    ahead = (ahead[:bits] | many.replicate(bits)) & (~ahead[width - 1]).replicate(bits)
    ahead = c.delay(ahead, "ahead", enable=read)
    together = config.post_lanes
    return [
        choose(
            progress.part,
            [c.const(lane, bits).ult(ahead) for lane in range(v, config.lanes, together)],
        )
        for v in range(together)
    ]
