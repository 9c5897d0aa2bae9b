# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_array`: the elements, the post unit, the loader and the sequencer around them.

There are two result memories in turns, so that a tile's results leave while the next one is
loaded and runs. Between the kernels of a chain, what leaves the result memory goes to the
activation memories instead, or to the row unit. With two banks, a program is
loaded while another one runs, and takes its place between two tiles.

Ports (docs/hardware-interface.md): a program stream, an activation stream of K beats for
each tile of T tokens, a result stream of N beats, and status words. An array whose config
has more than one bucket also has the SPAQ unit, which picks among a program's variants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daqkf.dialects.rpea import ArrayConfig
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.numerics import ACTIVATION_BITS, EXPONENT_BITS
from daqkf.hw_targets.status import Phase
from daqkf.hw_targets.words import stream_word, stream_words
from daqkf.lowering.hdl.circuit import Circuit, Signal, Wire, concat, mux
from daqkf.lowering.hdl.select import choose, index_bits
from daqkf.lowering.rtl.chain import build_chain_unit
from daqkf.lowering.rtl.element import build_element
from daqkf.lowering.rtl.loader import build_loader
from daqkf.lowering.rtl.lockstep import place_elements
from daqkf.lowering.rtl.operands import build_fill_unit
from daqkf.lowering.rtl.post import build_post
from daqkf.lowering.rtl.row_gates import build_gate_unit
from daqkf.lowering.rtl.rows import build_row_unit
from daqkf.lowering.rtl.sequence import SequenceState, follow
from daqkf.lowering.rtl.spaq_unit import DECISION_CYCLES, build_spaq_unit

TOP = "daqkf_array"


def build_array(config: ArrayConfig) -> Circuit:
    """The whole array of this config."""
    c = Circuit(TOP)
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    prog_tdata, prog_tvalid = c.input("prog_tdata", IMAGE_WORD_BITS), c.input("prog_tvalid", 1)
    x_tdata, x_tvalid = c.input("x_tdata", config.row_bits), c.input("x_tvalid", 1)
    y_tready = c.input("y_tready", 1)

    phase = c.register("phase", 3, reset=Phase.EMPTY)
    at = {kind: phase.eq(kind) for kind in Phase}

    # The results of a tile: the half of the memory that is written, and the one that leaves.
    writing, leaving = c.register("writing", 1, reset=0), c.register("leaving", 1, reset=0)
    full = [c.register(f"results{half}_full", 1, reset=0) for half in range(2)]
    storing = full[0] | full[1]

    first_beat = c.wire("first_beat", 1)
    within = c.wire("within", 1) if config.operand_depth else c.const(0, 1)
    if config.double_buffered:
        programs = _take_turns(c, config, rst, at, prog_tdata, prog_tvalid, first_beat, within)
    else:
        idle = at[Phase.READY] & ~storing & ~within
        programs = _replace(c, config, rst, at, prog_tdata, prog_tvalid, idle, within)
    loader, program = programs.loader, programs.program
    bank = [programs.bank] if programs.bank is not None else []
    in_bank = {"bank": programs.bank} if programs.bank is not None else {}

    # Activations: K rows, then the row of zeros that null items read.
    result_bits = index_bits(config.result_depth)
    start = c.wire("start", 1)
    loaded = c.register("loaded", config.address_width, reset=0, clear=rst | start)
    complete = c.register("complete", 1, reset=0)
    x_tready = (at[Phase.READY] & programs.stays) | (at[Phase.LOADING_ACTIVATIONS] & ~complete)
    beat = x_tvalid & x_tready
    done = c.wire("done", 1)
    sequence: SequenceState | None = None
    if isinstance(within, Wire):
        due = c.wire("header_due", 1)
        header, beat = beat & due, beat & ~due
        sequence = follow(c, config, program["attends"], header, x_tdata, done)
        due.drive(sequence.due)
        within.drive(sequence.within)
    first_beat.drive(beat & at[Phase.READY])
    loaded.drive(loaded + 1, enable=beat)
    final_beat = beat & (loaded + 1).eq(program["features"])
    complete.drive(final_beat | (complete & at[Phase.LOADING_ACTIVATIONS]))
    starting = at[Phase.LOADING_ACTIVATIONS] & complete & ~choose(writing, full)
    spaq: Mapping[str, Signal] = {}
    if config.dispatches:
        # The start waits for the decision.
        decided = starting
        for cycle in range(DECISION_CYCLES):
            decided = c.delay(decided, f"decided{cycle}", reset=0)
        starting = starting & decided
        spaq = c.instance(
            "spaq",
            build_spaq_unit(config),
            clk=c.clk,
            rst=rst,
            beat=beat,
            row=x_tdata,
            start=start,
            zero_shift=program["zero_shift"],
            **in_bank,
            **{
                f"dispatch_{port}": loader[f"dispatch_{port}"]
                for port in ("address", "data", "write")
            },
        )
    # The kernel that runs: where it stands, and what it has.
    ran = c.wire("ran", 1)
    kernel = {**program, **spaq}
    chain: Mapping[str, Signal] = {}
    wants: dict[str, Wire] = {}
    rewind = ("rewind",) if config.softmax else ()
    if config.chains:
        if config.has_rows:
            wants = {name: c.wire(name, 1) for name in ("wants", *rewind)}
        chain = c.instance(
            "chain",
            build_chain_unit(config),
            clk=c.clk,
            rst=rst,
            ran=ran,
            free=~storing,
            **({"final": sequence.final} if sequence else {}),
            **wants,
            **in_bank,
            **{port: loader[port] for port in ("chain_address", "chain_data", "chain_write")},
        )
        starting = starting | chain["next"]
        kernel = {**program, **chain}
    start.drive(starting)

    def begin(name: str, depth: int) -> Signal:
        """Where the kernel begins in memories of so many rows a bank."""
        return concat(*bank, kernel.get(name, c.const(0, index_bits(depth))))

    # A register on the way to all memories; nothing reads them until later.
    y_row = c.wire("result_row", config.row_bits)
    address, row, writing_row = loaded, x_tdata, beat | start
    if chain:
        address = mux(chain["write"], chain["target"], address)
        row = mux(chain["write"], y_row, row)
        writing_row = writing_row | chain["write"]
    address = mux(start, c.const(config.null_address, config.address_width), address)
    row = mux(start, c.const(0, config.row_bits), row)
    activation = {
        "activation_address": c.delay(address, "activation_address"),
        "activation_data": c.delay(row, "activation_data"),
        "activation_write": c.delay(writing_row, "activation_write", reset=0),
    }

    groups = config.lanes // config.post_lanes
    group = c.wire("group", index_bits(groups)) if groups > 1 else None
    take = [c.wire(f"take{p}", 1) for p in range(config.pes)]
    control = {"rst": rst, "start": start, **activation}
    fill: Mapping[str, Signal] = {}
    if sequence:
        fill = c.instance(
            "fill",
            build_fill_unit(config),
            clk=c.clk,
            rst=rst,
            row=y_row,
            tile=sequence.tile,
            **{
                name: chain[f"fill_{name}"]
                for name in ("begins", "tokens", "operands", "stride", "write")
            },
            **({"round": chain["fill_round"]} if "fill_round" in chain else {}),
        )
        control |= {"operand_start": chain["operands"], "operand_address": fill["address"]}
    if config.relocates:
        control["stream_start"] = begin("stream_start", config.stream_depth)
    own = [
        {
            "stream_address": loader["stream_address"],
            "stream_data": loader["stream_data"][: stream_word(config, p).width],
            "stream_write": loader[f"stream_write{p}"],
            "take": take[p],
            **({"group": group} if group else {}),
            **(
                {f"operand_{port}": fill[f"{port}{p}"] for port in ("data", "write")}
                if fill
                else {}
            ),
        }
        for p in range(config.pes)
    ]
    elements: list[Mapping[str, Signal]]
    if config.lockstep:
        control |= {name: kernel[name] for name in ("features", "outputs")}
        elements = place_elements(c, config, control, own)
    else:
        kinds = {family: build_element(config, family) for family in stream_words(config)}
        elements = [
            c.instance(f"element{p}", kinds[config.family(p)], clk=c.clk, **control, **own[p])
            for p in range(config.pes)
        ]
    rows: Mapping[str, Signal] = {}
    unit: dict[str, Wire] = {}
    if config.normalizes:
        widths = {
            "values": ACTIVATION_BITS * config.post_lanes,
            "values_valid": 1,
            "values_exponent": EXPONENT_BITS,
            "row_exponent": EXPONENT_BITS,
            **({"written": 1} if config.softmax else {}),
        }
        unit = {name: c.wire(name, bits) for name, bits in widths.items()}
        rows = c.instance(
            "rows",
            build_row_unit(config),
            clk=c.clk,
            rst=rst,
            start=start,
            row_start=chain["row_start"],
            ran=ran,
            read=chain["read"],
            row=y_row,
            outputs=chain["outputs"],
            **({"tokens": sequence.tokens, "attends": program["attends"]} if sequence else {}),
            **{name: chain[name] for name in ("gates", "keys") if name in chain},
            **unit,
        )
    elif config.gates:
        rows = c.instance(
            "rows",
            build_gate_unit(config),
            clk=c.clk,
            rst=rst,
            row_start=chain["row_start"],
            ran=ran,
            read=chain["read"],
            row=y_row,
        )
    for name, wire in wants.items():
        wire.drive(rows[name])
    keeps: Signal = c.const(0, 1)
    partial: dict[str, Signal] = {}
    if config.accumulates:
        # Each tile of a program has its partial sums behind those of the one before.
        keeps = program["keeps"]
        base = c.register("base", index_bits(config.partial_depth), clear=programs.fresh, reset=0)
        wide = max(base.width, program["outputs"].width)
        following = base.zext(wide) + program["outputs"].zext(wide)
        base.drive(following[: base.width], enable=done)
        partial = {"base": base, "adds": program["adds"], "keeps": keeps}
    post = c.instance(
        "post",
        build_post(config),
        clk=c.clk,
        rst=rst,
        start=start | rows["streams"] if rows else start,
        **in_bank,
        **partial,
        **({"saves": chain["saves"], **activation} if config.residual_depth else {}),
        **(
            {
                "streaming": rows["streaming"],
                "rows_valid": rows["valid"],
                "rows_sums": rows["sums"],
            }
            if rows
            else {}
        ),
        **({"slot_start": begin("slot_start", config.parameter_depth)} if config.relocates else {}),
        **({"kernel": kernel["kernel"]} if chain else {}),
        **{f"full{p}": outs["full"] for p, outs in enumerate(elements)},
        **{f"sums{p}": outs["sums"] for p, outs in enumerate(elements)},
        **{
            f"{memory}_{port}": loader[f"{memory}_{port}"]
            for memory in ("parameters", "table")
            for port in ("address", "data", "write")
        },
    )
    for name in sorted(unit.keys() - {"row_exponent", "written"}):
        unit[name].drive(post[name])
    if config.softmax:
        unit["written"].drive(post["result_write"])
    if group:
        group.drive(post["group"])
    for p, wire in enumerate(take):
        wire.drive(post[f"take{p}"])

    stored = post["result_write"] | post["kept"] if partial else post["result_write"]
    if config.softmax:
        # Exponentials are on the way to shares.
        stored = stored & ~rows["raising"]
    written = at[Phase.RUNNING] & stored
    count = c.register("count", kernel["outputs"].width, reset=0, clear=rst | ran)
    count.drive(count + 1, enable=written)
    ran.drive(c.delay(written & (count + 1).eq(kernel["outputs"]), "finishing", reset=0))
    produced = ran & chain["last"] if chain else ran
    done.drive(produced | chain["paused"] if sequence else produced)
    produced = produced & ~keeps

    # Results: once all N rows are written they leave in order.
    exponent = [post["result_exponent"]] if unit else []
    result = concat(*exponent, post["result_data"])
    results = c.memory("results", 2 * config.result_depth, result.width)
    result_address = concat(writing, post["result_address"])
    results.write(result_address, result, post["result_write"])
    outputs = program["outputs"]
    if config.double_buffered:
        # Those of the program before may still leave.
        both = [
            c.delay(outputs, f"outputs{half}", enable=produced & writing.eq(half))
            for half in range(2)
        ]
        outputs = choose(leaving, both)
    y_tvalid = c.register("y_valid", 1, reset=0)
    advance = ~y_tvalid | y_tready
    row = c.register("leaving_row", outputs.width, reset=0)
    more = choose(leaving, full) & row.ne(outputs)
    y_tlast = c.delay((row + 1).eq(outputs), "y_last", enable=advance)
    y_tvalid.drive(more, enable=advance)
    result_address = concat(leaving, row[:result_bits])
    if chain:
        result_address = mux(chain["read"], concat(writing, chain["source"]), result_address)
    moves = advance & ~rows["holds"] if rows else advance
    result = results.read(result_address, moves, "y_row")
    y_tdata = result[: config.row_bits]
    y_row.drive(y_tdata)
    if unit:
        unit["row_exponent"].drive(result[config.row_bits :])
    left = y_tvalid & y_tready & y_tlast
    moved = more & advance
    row.drive(mux(left, c.const(0, row.width), row + 1), enable=moved | left)
    writing.drive(~writing, enable=produced)
    leaving.drive(~leaving, enable=left)
    for half, register in enumerate(full):
        filled, emptied = produced & writing.eq(half), left & leaving.eq(half)
        register.drive(filled | (register & ~emptied))

    following: Signal = phase
    for condition, to in (
        *programs.transitions,
        (at[Phase.READY] & beat, Phase.LOADING_ACTIVATIONS),
        (start | chain["row_start"] if rows else start, Phase.RUNNING),
        (ran, Phase.CHAINING if chain else Phase.READY),
        *([(done, Phase.READY)] if chain else []),
        *programs.failures,
    ):
        following = mux(condition, c.const(to, phase.width), following)
    phase.drive(following)

    c.output("prog_tready", programs.ready)
    c.output("x_tready", x_tready)
    c.output("y_tdata", y_tdata)
    c.output("y_tvalid", y_tvalid)
    c.output("y_tlast", y_tlast)
    waiting = at[Phase.READY] & storing
    status = mux(waiting, c.const(Phase.STORING, phase.width), phase)
    if config.double_buffered:
        unhidden = loader["busy"] & (at[Phase.EMPTY] | (at[Phase.READY] & ~storing))
        status = mux(unhidden, c.const(Phase.LOADING_PROGRAM, phase.width), status)
        for event in ("loaded", "refused"):
            c.output(f"status_{event}", loader[event])
    c.output("status_phase", status)
    c.output("status_error", loader["error"])
    if spaq:
        # Of the tile whose results leave.
        variants = [
            c.delay(spaq["variant"], f"variant{half}", enable=produced & writing.eq(half))
            for half in range(2)
        ]
        c.output("status_variant", choose(leaving, variants))
    c.finish()
    return c


@dataclass(frozen=True)
class _Programs:
    """How programs come and go."""

    loader: Mapping[str, Signal]
    program: Mapping[str, Signal]
    """`features`, `outputs` and what else there is of the program that runs."""
    ready: Signal
    """Whether a word of an image can come."""
    stays: Signal
    """Whether the next tile is for the program that is there."""
    fresh: Signal
    """Another program comes."""
    transitions: Sequence[tuple[Signal, Phase]]
    failures: Sequence[tuple[Signal, Phase]] = ()
    bank: Signal | None = None
    """The one that runs."""


def _replace(
    c: Circuit,
    config: ArrayConfig,
    rst: Signal,
    at: Mapping[Phase, Signal],
    prog_tdata: Signal,
    prog_tvalid: Signal,
    idle: Signal,
    within: Signal,
) -> _Programs:
    """Between tiles a new image may replace the old one; an error swallows the rest."""
    ready = at[Phase.EMPTY] | at[Phase.LOADING_PROGRAM] | idle | at[Phase.ERROR]
    loader = c.instance(
        "loader",
        build_loader(config),
        clk=c.clk,
        rst=rst,
        word=prog_tdata,
        valid=prog_tvalid & ready,
    )
    return _Programs(
        loader=loader,
        program=loader,
        ready=ready,
        stays=~(prog_tvalid | loader["acting"]) | within,
        fresh=rst | loader["begun"],
        transitions=(
            (loader["begun"] & ~at[Phase.ERROR], Phase.LOADING_PROGRAM),
            (at[Phase.LOADING_PROGRAM] & loader["loaded"], Phase.READY),
        ),
        failures=((loader["failed"], Phase.ERROR),),
    )


def _take_turns(
    c: Circuit,
    config: ArrayConfig,
    rst: Signal,
    at: Mapping[Phase, Signal],
    prog_tdata: Signal,
    prog_tvalid: Signal,
    first_beat: Signal,
    within: Signal,
) -> _Programs:
    """A new image is loaded into the other bank, which runs once the tiles of this one have.

    A program for any number of tiles gives way at the next one after the whole image has arrived.
    """
    bank, swap, ready = c.register("bank", 1, reset=1), c.wire("swap", 1), c.wire("ready", 1)
    loader = c.instance(
        "loader",
        build_loader(config),
        clk=c.clk,
        rst=rst,
        word=prog_tdata,
        valid=prog_tvalid & ready,
        last=c.input("prog_tlast", 1),
        bank=~bank,
        swap=swap,
    )
    ready.drive(loader["ready"])
    bank.drive(~bank, enable=swap)
    pending = c.register("pending", 1, reset=0)
    pending.drive(loader["loaded"] | (pending & ~swap))
    program = {
        name: c.delay(loader[name], f"running_{name}", enable=swap)
        for name in ("features", "outputs", "zero_shift", "adds", "keeps", "attends")
        if name in loader
    }
    tiles = c.register("tiles", loader["tiles"].width, reset=0)
    tiles.drive(mux(swap, loader["tiles"], tiles - 1), enable=swap | first_beat)
    limited = c.delay(loader["tiles"].any(), "limited", enable=swap, reset=0)
    spent = c.register("spent", 1, reset=0)
    spent.drive(((limited & first_beat & tiles.eq(1)) | spent) & ~swap)
    swap.drive(pending & (spent | ~limited) & ~within & (at[Phase.EMPTY] | at[Phase.READY]))
    return _Programs(
        loader=loader,
        program=program,
        ready=ready,
        stays=(~spent & (limited | ready)) | within,
        fresh=rst | swap,
        transitions=((swap, Phase.READY),),
        bank=bank,
    )
