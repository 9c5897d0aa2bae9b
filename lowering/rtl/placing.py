# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The instances in an array, each with what its ports need of the others.

Units that a configuration does not have are empty bundles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_BITS, EXPONENT_BITS
from daqkf.hw_targets.status import ERROR_BITS, LoadError
from daqkf.hw_targets.streams import is_coded, port_pes
from daqkf.hw_targets.words import BEAT_BITS, stream_word, stream_words
from daqkf.lowering.hdl.bundle import Bundle, inputs, outputs, part, ports
from daqkf.lowering.hdl.circuit import Circuit, Signal, Wire, concat, mux, named
from daqkf.lowering.hdl.select import index_bits
from daqkf.lowering.rtl import lockstep
from daqkf.lowering.rtl.arrival import Arrival
from daqkf.lowering.rtl.chain import build_chain_unit
from daqkf.lowering.rtl.element import build_element
from daqkf.lowering.rtl.frame import Frame
from daqkf.lowering.rtl.operands import build_fill_unit
from daqkf.lowering.rtl.post import build_post
from daqkf.lowering.rtl.programs import Programs
from daqkf.lowering.rtl.row_gates import build_gate_unit
from daqkf.lowering.rtl.rows import build_row_unit
from daqkf.lowering.rtl.spaq_unit import build_spaq_unit
from daqkf.lowering.rtl.stream_reader import build_stream_reader, read_port


@dataclass(frozen=True)
class Kernel:
    """The kernel that runs: where it stands in the memories, and what it has."""

    programs: Programs
    arrival: Arrival
    fields: Bundle
    """`features` and `outputs`; `stream_start`, `slot_start` where a kernel does not stand at
    the beginning."""
    chain: Bundle
    """The outputs of the chain unit."""

    def begin(self, c: Circuit, name: str, depth: int) -> Signal:
        """Where the kernel begins in memories of so many rows a bank."""
        place = self.fields.get(name, c.const(0, index_bits(depth)))
        return concat(*self.programs.in_bank.values(), place)


def place_spaq(frame: Frame, programs: Programs, arrival: Arrival) -> Bundle:
    """The unit that decides on a tile's variant, in arrays that have several."""
    c = frame.c
    if not frame.config.dispatches:
        return {}
    c.section("The SPAQ unit picks a variant of the program by the zeros of a tile.")
    return c.instance(
        "spaq",
        build_spaq_unit(frame.config),
        clk=c.clk,
        rst=frame.rst,
        beat=arrival.beat,
        row=arrival.row,
        start=frame.start,
        zero_shift=programs.program["zero_shift"],
        **programs.in_bank,
        **ports("dispatch", part(programs.loader, "dispatch")),
    )


def place_chain(
    frame: Frame, programs: Programs, arrival: Arrival, storing: Signal
) -> tuple[Bundle, Mapping[str, Wire]]:
    """The unit that follows a program's kernels, and what it is to be told by the row unit."""
    c, config = frame.c, frame.config
    wants: dict[str, Wire] = {}
    if not config.chains:
        return {}, wants
    c.section("The chain unit: where each kernel stands, and how its results become activations.")
    if config.has_rows:
        names = ("wants", "rewind") if config.softmax else ("wants",)
        wants = {name: c.wire(name, 1) for name in names}
    outputs = c.instance(
        "chain",
        build_chain_unit(config),
        clk=c.clk,
        rst=frame.rst,
        ran=frame.ran,
        free=~storing,
        **({"sought": frame.sought} if frame.sought is not None else {}),
        **({"final": arrival.sequence.final} if arrival.sequence else {}),
        **wants,
        **programs.in_bank,
        **ports("chain", part(programs.loader, "chain")),
    )
    return outputs, wants


def place_fill(frame: Frame, kernel: Kernel) -> Bundle:
    """The unit that fills the operand memories, in arrays that have them."""
    c, sequence = frame.c, kernel.arrival.sequence
    if sequence is None:
        return {}
    c.section("The fill unit: results become operands.")
    return c.instance(
        "fill",
        build_fill_unit(frame.config),
        clk=c.clk,
        rst=frame.rst,
        row=frame.result_row,
        tile=sequence.tile,
        **part(kernel.chain, "fill"),
    )


@dataclass(frozen=True)
class Memory:
    """The readers of the memory ports, in arrays whose streams come from there."""

    readers: Sequence[Bundle] = ()
    full: Sequence[Wire] = ()
    """Whether the FIFO of each element is full."""
    faults: Sequence[Wire] = ()
    """Whether the decoder of each element has found its code cut, where streams are coded."""

    def error(self, c: Circuit) -> Signal:
        """The code of the first reader that failed."""
        code = c.const(LoadError.NONE, ERROR_BITS)
        for reader in self.readers:
            code = mux(code.any(), code, reader["error"])
        return named(code, "memory_error")


def place_memory(frame: Frame, kernel: Kernel, memory_rst: Signal | None) -> Memory:
    """The readers, with the ports `mem0_…`, `mem1_…`; `memory_rst` forgets what memory owes."""
    c, config, programs = frame.c, frame.config, kernel.programs
    if memory_rst is None:
        return Memory()
    c.section("Memory ports: streams come from external memory.")
    full = [c.wire(f"stream_full{p}", 1) for p in range(config.pes)]
    coded = config.pes if is_coded(config) else 0
    faults = [c.wire(f"stream_fault{p}", 1) for p in range(coded)]
    place = kernel.fields.get("stream_start", c.const(0, BEAT_BITS))
    count, readers = port_pes(config), list[Bundle]()
    kinds: dict[tuple[str, ...], Circuit] = {}
    for port in range(config.memory_ports):
        pes = range(port * count, (port + 1) * count)
        own = full[pes.start : pes.stop]
        families = tuple(config.family(pe) for pe in pes)
        if families not in kinds:
            kinds[families] = build_stream_reader(config, port)
        reader = c.instance(
            f"reader{port}",
            kinds[families],
            clk=c.clk,
            rst=frame.rst,
            memory_rst=memory_rst,
            begin=programs.begins,
            **(programs.pending if config.reads_ahead else {}),
            region_data=programs.loader["memory_data"],
            region_write=programs.loader[f"memory_write{port}"],
            start=frame.start,
            stream_start=place,
            **ports("axi", inputs(c, f"mem{port}", read_port(config))),
            **{f"full{p}": wire for p, wire in enumerate(own)},
            **{f"fault{p}": wire for p, wire in enumerate(faults[pes.start : pes.stop])},
        )
        outputs(c, f"mem{port}", part(reader, "axi"))
        readers.append(reader)
    return Memory(readers, full, faults)


@dataclass(frozen=True)
class Elements:
    """The elements' outputs, and what the post unit tells them."""

    outputs: Sequence[Bundle]
    take: Sequence[Wire]
    group: Wire | None

    def drive(self, post: Bundle) -> None:
        """Connect the post unit."""
        if self.group is not None:
            self.group.drive(post["group"])
        for p, wire in enumerate(self.take):
            wire.drive(post[f"take{p}"])


def place_elements(
    frame: Frame, kernel: Kernel, activation: Bundle, fill: Bundle, memory: Memory
) -> Elements:
    """The processing elements.

    Args:
        frame: the array.
        kernel: the one that they run.
        activation: the write port of their activation memories.
        fill: the fill unit, if there is one.
        memory: what brings their streams, if these come from external memory.
    """
    c, config, loader = frame.c, frame.config, kernel.programs.loader
    c.section("The processing elements.")
    groups = config.lanes // config.post_lanes
    group = c.wire("group", index_bits(groups)) if groups > 1 else None
    take = [c.wire(f"take{p}", 1) for p in range(config.pes)]
    control = {"rst": frame.rst, "start": frame.start, **ports("activation", activation)}
    if fill:
        control |= {"operand_start": kernel.chain["operands"], "operand_address": fill["address"]}
    if config.relocates and not memory.readers:
        control["stream_start"] = kernel.begin(c, "stream_start", config.stream_depth)
    own = [
        {
            **(_from_memory(config, memory, p) if memory.readers else _loaded(config, loader, p)),
            "take": take[p],
            **({"group": group} if group else {}),
            **({f"operand_{port}": fill[f"{port}{p}"] for port in _FILLED} if fill else {}),
        }
        for p in range(config.pes)
    ]
    if config.lockstep:
        control |= {name: kernel.fields[name] for name in ("features", "outputs")}
        elements = lockstep.place_elements(c, config, control, own)
    else:
        kinds = {family: build_element(config, family) for family in stream_words(config)}
        elements = [
            c.instance(f"element{p}", kinds[config.family(p)], clk=c.clk, **control, **own[p])
            for p in range(config.pes)
        ]
    for wire, element in zip(memory.full, elements, strict=False):
        wire.drive(element["stream_full"])
    for wire, element in zip(memory.faults, elements, strict=False):
        wire.drive(element["stream_fault"])
    return Elements(elements, take, group)


def _loaded(config: ArrayConfig, loader: Bundle, pe: int) -> dict[str, Signal]:
    """The write port of an element's stream memory, which the loader fills."""
    return {
        "stream_address": loader["stream_address"],
        "stream_data": loader["stream_data"][: stream_word(config, pe).width],
        "stream_write": loader[f"stream_write{pe}"],
    }


def _from_memory(config: ArrayConfig, memory: Memory, pe: int) -> dict[str, Signal]:
    """The write port of an element's FIFO, which a reader fills."""
    port, number = divmod(pe, port_pes(config))
    reader = memory.readers[port]
    return {
        "stream_data": reader[f"data{number}"],
        "stream_write": reader[f"write{number}"],
        "stream_flush": reader["flush"],
    }


_FILLED = ("data", "write")
"""What the fill unit has for each element."""


@dataclass(frozen=True)
class Rows:
    """The row unit's outputs, and what it is to be told by the post unit."""

    outputs: Bundle = field(default_factory=dict[str, Signal])
    feeds: Mapping[str, Wire] = field(default_factory=dict[str, Wire])

    def drive(self, post: Bundle) -> None:
        """Connect the post unit; `row_exponent` comes from the result memory."""
        for name, wire in sorted(self.feeds.items()):
            if name != "row_exponent":
                wire.drive(post["result_write" if name == "written" else name])


_TOLD = ("gates", "keys", "queries", "past", "rms", "epsilon")
"""The fields of CHAIN that the row unit is told, if an array has them."""


def place_rows(frame: Frame, kernel: Kernel) -> Rows:
    """The unit that normalises or gates rows of results, in arrays that have one."""
    c, config, chain = frame.c, frame.config, kernel.chain
    if not config.has_rows:
        return Rows()
    c.section("The row unit: normalisations, softmaxes and gates of rows of results.")
    common = {
        "clk": c.clk,
        "rst": frame.rst,
        "row_start": chain["row_start"],
        "ran": frame.ran,
        "read": chain["read"],
        "row": frame.result_row,
    }
    if not config.normalizes:
        return Rows(c.instance("rows", build_gate_unit(config), **common))
    widths = {
        "values": ACTIVATION_BITS * config.post_lanes,
        "values_valid": 1,
        "values_exponent": EXPONENT_BITS,
        "row_exponent": EXPONENT_BITS,
        **({"written": 1} if config.softmax else {}),
    }
    feeds = {name: c.wire(name, bits) for name, bits in widths.items()}
    program, sequence = kernel.programs.program, kernel.arrival.sequence
    outputs = c.instance(
        "rows",
        build_row_unit(config),
        start=frame.start,
        outputs=chain["outputs"],
        **({"tokens": sequence.tokens, "attends": program["attends"]} if sequence else {}),
        **{name: chain[name] for name in _TOLD if name in chain},
        **({"fresh": kernel.programs.fresh, "done": frame.done} if config.causal else {}),
        **common,
        **feeds,
    )
    return Rows(outputs, feeds)


def place_post(
    frame: Frame, kernel: Kernel, activation: Bundle, rows: Rows, elements: Elements
) -> Bundle:
    """The post unit, which makes results of sums.

    Args:
        frame: the array.
        kernel: the one that runs.
        activation: the write port of the activation memories, of which it may keep rows.
        rows: the row unit, whose sums it takes, too.
        elements: whose sums it takes.
    """
    c, config, programs, row = frame.c, frame.config, kernel.programs, rows.outputs
    partial = _partial_sums(frame, programs)
    c.section("The post unit: sums become results.")
    optional: dict[str, Signal] = {**programs.in_bank, **partial}
    if config.residual_depth:
        optional |= {"saves": kernel.chain["saves"], **ports("activation", activation)}
    if row:
        optional |= {"streaming": row["streaming"]}
        optional |= {"rows_valid": row["valid"], "rows_sums": row["sums"]}
    if config.wide_results:
        optional["wide"] = programs.wide(kernel.chain)
    if config.top_k:
        optional |= {name: programs.program[name] for name in ("top_k", "outputs")}
    if config.relocates:
        optional["slot_start"] = kernel.begin(c, "slot_start", config.parameter_depth)
    if kernel.chain:
        optional["kernel"] = kernel.chain["kernel"]
    starts = frame.start | row["streams"] if row else frame.start
    if frame.sought is not None:
        starts = starts | frame.sought
        optional |= {name: kernel.chain[name] for name in ("seeks", "seeking", "scales")}
    return c.instance(
        "post",
        build_post(config),
        clk=c.clk,
        rst=frame.rst,
        start=starts,
        **optional,
        **{f"full{p}": outs["full"] for p, outs in enumerate(elements.outputs)},
        **{f"sums{p}": outs["sums"] for p, outs in enumerate(elements.outputs)},
        **ports("parameters", part(programs.loader, "parameters")),
        **ports("table", part(programs.loader, "table")),
    )


def _partial_sums(frame: Frame, programs: Programs) -> Bundle:
    """What the post unit is told of partial sums, in arrays that keep them.

    Each tile of a program has its own behind those of the one before.
    """
    c, config = frame.c, frame.config
    if not config.accumulates:
        return {}
    c.section("Where a tile's partial sums begin.")
    outputs = programs.program["outputs"]
    base = c.register("base", index_bits(config.partial_depth), clear=programs.fresh, reset=0)
    wide = max(base.width, outputs.width)
    following = base.zext(wide) + outputs.zext(wide)
    base.drive(following[: base.width], enable=frame.done)
    return {"base": base, "adds": programs.program["adds"], "keeps": programs.program["keeps"]}
