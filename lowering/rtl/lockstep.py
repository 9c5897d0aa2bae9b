# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Elements in step: one control and one activation memory for all.

    counters → operands → each element's datapath → held sum

Feature after feature is broadcast to all elements, and each element reads its own weight for
it, of its stream memory or of a FIFO that external memory fills. If one has to wait, all do.
"""

from collections.abc import Mapping, Sequence

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fan_out import read_cycles
from daqkf.hw_targets.words import stream_words
from daqkf.lowering.hdl.bundle import inputs
from daqkf.lowering.hdl.circuit import Circuit, Signal, mux, named
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import index_bits, unpack
from daqkf.lowering.rtl.element import hold
from daqkf.lowering.rtl.families import datapath_of
from daqkf.lowering.rtl.families.stage import Operands
from daqkf.lowering.rtl.stream_reader import nearly_full


def place_elements(
    c: Circuit,
    config: ArrayConfig,
    control: Mapping[str, Signal],
    elements: Sequence[Mapping[str, Signal]],
) -> list[Mapping[str, Signal]]:
    """The control and the elements in an array's circuit, and the elements' outputs.

    Args:
        control: what `build_control` has for inputs, but for `enable`.
        elements: what the elements each need of the array.
    """
    enable = c.wire("enable", 1)
    shared = c.instance(
        "control",
        build_control(config),
        clk=c.clk,
        rst=control["rst"],
        enable=enable,
        **{name: signal for name, signal in control.items() if name != "rst"},
    )
    kind = build_element(config)
    place = "reads" if config.memory_bits else "address"
    common = {name: shared[name] for name in (place, "valid", "row")}
    placed = [
        c.instance(
            f"element{p}",
            kind,
            clk=c.clk,
            rst=control["rst"],
            start=control["start"],
            enable=enable,
            last=shared[f"last{p}"],
            **common,
            **own,
        )
        for p, own in enumerate(elements)
    ]
    waiting = placed[0]["waits"]
    for outputs in placed[1:]:
        waiting = waiting | outputs["waits"]
    enable.drive(~waiting)
    return placed


def build_control(config: ArrayConfig) -> Circuit:
    """The counters of features, outputs and stream words, and the activation memory."""
    c = Circuit("daqkf_lockstep", "drives elements that work in step.")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    start, enable = c.input("start", 1), c.input("enable", 1)
    if config.memory_bits:
        # The FIFOs may be emptied in the cycle after `start`.
        start = c.delay(start, "begins", reset=0)
    features = c.input("features", config.address_width)
    outputs = c.input("outputs", index_bits(config.result_depth + 1))
    activation_write = (
        c.input("activation_address", config.address_width),
        c.input("activation_data", config.row_bits),
        c.input("activation_write", 1),
    )

    c.section("The feature, the outputs that are left, and the word that elements read.")
    running = c.register("running", 1, reset=0)
    feature = c.register("feature", config.address_width, reset=0)
    last = named(feature.eq(features - 1), "last_feature")
    left = c.register("left", max(outputs.width, index_bits(config.pes + 1)), reset=0)
    final = last & left.ule(config.pes)
    running.drive(start | (running & ~(enable & final)))
    step = named(enable & running, "step")
    if config.memory_bits:
        c.output("reads", running)
    else:
        _count_words(c, config, start, step)
    feature.drive(mux(start | last, c.const(0, feature.width), feature + 1), enable=start | step)
    left.drive(
        mux(start, outputs.zext(left.width), left - config.pes), enable=start | (step & last)
    )

    c.section("The row of activations of that feature, for all elements.")
    activations = c.memory(
        "activations", config.activation_depth, config.row_bits, style=config.activation_memory
    )
    activations.write(*activation_write)
    row = activations.read(feature, enable, "activations_row")
    c.output("row", c.delay(row, "row", enable=enable))
    reading = read_cycles(config, config.family(0))
    c.output("valid", delayed(c, running, "operand_valid", reading, enable=enable, reset=0))
    for p in range(config.pes):
        # The final round may have outputs for the first few elements only.
        own = last & c.const(p, left.width).ult(left)
        c.output(f"last{p}", delayed(c, own, f"last{p}_", reading, enable=enable))
    c.finish()
    return c


def _count_words(c: Circuit, config: ArrayConfig, start: Signal, step: Signal) -> None:
    """The address of the word in the stream memories."""
    bits = index_bits(config.banks * config.stream_depth)
    begin = c.input("stream_start", bits) if config.relocates else c.const(0, bits)
    address = c.register("address", bits, reset=0)
    address.drive(mux(start, begin, address + 1), enable=start | step)
    c.output("address", address)


def build_element(config: ArrayConfig) -> Circuit:
    """An element: its stream memory or FIFO, and its lanes.

    It `waits` while its sums have nowhere to go, or while the FIFO lacks the word that the control
    `reads`.
    """
    family = config.family(0)
    c = Circuit(
        f"daqkf_{family}_element", f"an element of the family {family}, in step with others."
    )
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    layout = stream_words(config)[family]
    start, enable = c.input("start", 1), c.input("enable", 1)
    c.section("The word of the stream.")
    fetch = _fetch_from_fifo if config.memory_bits else _fetch
    read, lacks = fetch(c, config, layout.width, rst, enable)
    word = unpack(layout, c.delay(read, "word", enable=enable))
    fields = {**word, "last": c.input("last", 1)}
    rows = [c.input("row", config.row_bits)]
    hold_enable = c.wire("hold_enable", 1)
    operands = Operands(start, enable, c.input("valid", 1), fields, rows, hold_enable)
    c.section("The datapath: the sums of all lanes.")
    datapath = datapath_of(family).build(c, config, operands)
    full = hold(c, config, datapath, datapath.finished & enable)
    hold_enable.drive(datapath.finished & enable)
    c.output("waits", (datapath.finished & full) | lacks)
    c.finish()
    return c


def _fetch(
    c: Circuit, config: ArrayConfig, width: int, rst: Signal, enable: Signal
) -> tuple[Signal, Signal]:
    """The word at the control's address, which never lacks."""
    depth = config.banks * config.stream_depth
    bits = index_bits(depth)
    stream = c.memory("stream", depth, width, style=config.stream_memory)
    stream.write(*inputs(c, "stream", {"address": bits, "data": width, "write": 1}).values())
    return stream.read(c.input("address", bits), enable, "stream_row"), c.const(0, 1)


def _fetch_from_fifo(
    c: Circuit, config: ArrayConfig, width: int, rst: Signal, enable: Signal
) -> tuple[Signal, Signal]:
    """The FIFO's next word when the control reads one, and whether it lacks."""
    depth = config.stream_depth
    bits = index_bits(depth)
    write, reads = inputs(c, "stream", {"data": width, "write": 1, "flush": 1}), c.input("reads", 1)
    flush = named(rst | write["flush"], "empties")
    # A bit more than an address tells a full FIFO from an empty one.
    pc, written = (c.register(name, bits + 1, reset=0, clear=flush) for name in ("pc", "written"))
    stream = c.memory("stream", depth, width, style=config.stream_memory)
    stream.write(written[:bits], write["data"], write["write"])
    written.drive(written + 1, enable=write["write"])
    pc.drive(pc + 1, enable=enable & reads)
    level = named(written - pc, "level")
    c.output("stream_full", nearly_full(c, level, depth))
    return stream.read(pc[:bits], enable, "stream_row"), named(reads & pc.eq(written), "lacks")
