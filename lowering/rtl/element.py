# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_element`: a processing element, which plays its stream into T lanes.

    fetch → word → operands → delta → running sum → accumulator → held sum

One word enters in each cycle. A finished sum moves to the holding register, where the post
unit takes it lane by lane while the next output is summed; only if that register is still
taken does the whole element wait.
"""

from daqkf.dialects.rpea import ArrayConfig
from daqkf.lowering.circuit import Circuit, Signal, concat, mux
from daqkf.lowering.rtl.lane import build_lane
from daqkf.lowering.rtl.select import choose, index_bits, unpack


def build_element(config: ArrayConfig) -> Circuit:
    """The element: its stream memory, its activation memory, its control and its lanes."""
    c = Circuit("daqkf_element")
    c.clock("clk")
    c.reset(c.input("rst", 1))
    start = c.input("start", 1)
    pc_bits = index_bits(config.stream_depth)
    stream_start = c.input("stream_start", pc_bits) if config.dispatches else c.const(0, pc_bits)
    stream_write = (
        c.input("stream_address", pc_bits),
        c.input("stream_data", config.stream_word.width),
        c.input("stream_write", 1),
    )
    activation_write = (
        c.input("activation_address", config.address_width),
        c.input("activation_data", config.row_bits),
        c.input("activation_write", 1),
    )
    groups = config.lanes // config.post_lanes
    group = [c.input("group", index_bits(groups))] if groups > 1 else []
    take = c.input("take", 1)

    # Stalling stops every stage at once, memories included.
    enable = c.wire("enable", 1)

    # Fetch: from the variant's first word on, until the one that carries the end.
    word_valid = c.register("word_valid", 1, reset=0)
    fetching = c.register("fetching", 1, reset=0)
    pc = c.register("pc", pc_bits, reset=0)
    stream = c.memory("stream", config.stream_depth, config.stream_word.width)
    stream.write(*stream_write)
    word = unpack(config.stream_word, stream.read(pc, enable, "word"))
    ending = word_valid & word["end"]
    fetching.drive(start | (fetching & ~(enable & ending)))
    pc.drive(mux(start, stream_start, pc + (enable & fetching).zext(pc.width)))
    word_valid.drive(fetching & ~ending, enable=enable)

    # Operands: both items' rows of T activations.
    activations = c.memory("activations", config.activation_depth, config.row_bits)
    activations.write(*activation_write)
    rows = [activations.read(word[f"index{i}"], enable, f"row{i}") for i in range(2)]
    operand_valid = c.delay(word_valid, "operand_valid", enable=enable, reset=0)
    operand = {
        name: c.delay(word[name], f"operand_{name}", enable=enable)
        for name in word
        if name not in ("index0", "index1", "end")
    }

    # Delta: the two items are added up; what follows them travels along.
    delta_valid = c.delay(operand_valid, "delta_valid", enable=enable, reset=0)
    delta = {
        name: c.delay(operand[name], f"delta_{name}", enable=enable)
        for name in operand
        if not name.startswith("negative")
    }
    first = c.register("first", 1, reset=1)
    sum_enable = enable & delta_valid
    first.drive(start | delta["last"], enable=start | sum_enable)

    # Running sum, then accumulator.
    sum_valid = c.delay(delta_valid, "sum_valid", enable=enable, reset=0)
    following = {name: c.delay(delta[name], f"sum_{name}", enable=enable) for name in delta}
    fresh = c.register("fresh", 1, reset=1)
    step_enable = enable & sum_valid & following["step"]
    fresh.drive(start | following["last"], enable=start | step_enable)

    # Holding: a finished sum waits for the post unit.
    finished = c.delay(sum_valid & following["last"], "finished", enable=enable, reset=0)
    full = c.register("full", 1, reset=0)
    enable.drive(~(finished & full))
    hold_enable = finished & enable
    full.drive(hold_enable | (full & ~take))

    lane = build_lane(config)
    held: list[Signal] = []
    for t in range(config.lanes):
        shift = {"shift": following["shift"]} if "shift" in following else {}
        outputs = c.instance(
            f"lane{t}",
            lane,
            clk=c.clk,
            enable=enable,
            x0=rows[0][8 * t : 8 * t + 8],
            negative0=operand["negative0"],
            x1=rows[1][8 * t : 8 * t + 8],
            negative1=operand["negative1"],
            sum_enable=sum_enable,
            first=first,
            step_enable=step_enable,
            fresh=fresh,
            hold_enable=hold_enable,
            **shift,
        )
        held.append(outputs["held"])

    sums = [
        concat(*reversed(held[low : low + config.post_lanes]))
        for low in range(0, config.lanes, config.post_lanes)
    ]
    c.output("full", full)
    c.output("sums", choose(group[0], sums) if group else sums[0])
    c.finish()
    return c
