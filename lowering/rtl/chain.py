# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf_chain`: which kernel of a chain runs, and how its results reach the next one.

Once a kernel has written all its results, they move from the result memory to the activation
memories, one row a cycle; then the next kernel starts. The results of the tile before use the
same way out, and go first. If the next kernel is a normalisation, the row unit starts instead,
and reads the results the same way when it is ready for them. The results of a kernel that fills
operands go to their memories, and the next kernel is of the same activations.
"""

from collections.abc import Mapping

from daqkf.dialects.rpea import ArrayConfig
from daqkf.hw_targets.operands import Fills
from daqkf.hw_targets.words import chain_row
from daqkf.lowering.hdl.circuit import Circuit, Signal, Wire, concat, mux
from daqkf.lowering.hdl.select import index_bits, turns, unpack
from daqkf.lowering.rtl.booth import add


def build_chain_unit(config: ArrayConfig) -> Circuit:
    """The unit of an array whose chain's table has more than one row.

    `ran` pulses when a kernel has written its results, `free` says that no others are leaving.
    In a cycle with `read` the result row `source` is read, in the next one, with `write`, it
    goes to the activations' row `target`. `next` pulses when the next kernel may start.

    With a row unit, `row_start` pulses when that one starts; then a row is read only when it
    asks for one with `wants`, and goes nowhere else. With `rewind` it goes back by the `keys` of
    a softmax.

    With operand memories, `fill_begins` and `fill_write` are for the unit that fills them;
    `paused` pulses when a tile ends without results. A tile that is `final` is the last one of a
    pass: the next one begins behind the pause, or again with the first kernel.
    """
    c = Circuit("daqkf_chain")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    ran, free = c.input("ran", 1), c.input("free", 1)
    bits = index_bits(config.kernels)
    table = c.memory(
        "table", config.banks * config.kernels, chain_row(config).width, style="distributed"
    )
    table.write(
        c.input("chain_address", index_bits(config.banks * config.kernels)),
        c.input("chain_data", chain_row(config).width),
        c.input("chain_write", 1),
    )
    kernel = c.register("kernel", bits, reset=0)
    place = concat(c.input("bank", 1), kernel) if config.double_buffered else kernel
    row = unpack(chain_row(config), table.read(place, c.const(1, 1), "row"))

    # The row of the kernel that follows is there two cycles after `ran`.
    following_kernel, paused, filling = kernel + 1, c.const(0, 1), c.const(0, 1)
    begin: Signal = c.const(0, bits)
    if config.operand_depth:
        final_tile, behind = c.input("final", 1), c.register("behind_pause", bits, reset=0)
        behind.drive(following_kernel, enable=ran & row["pauses"])
        begin = mux(final_tile, begin, behind)
        repeats = row["pauses"] & ~final_tile
        following_kernel = mux(repeats, c.const(0, bits), following_kernel)
    kernel.drive(mux(row["last"], begin, following_kernel), enable=ran)
    results = c.delay(row["outputs"], "results", enable=ran)
    following, row_start = c.wire("following", 1), c.wire("starts_rows", 1)
    if config.operand_depth:
        paused = c.wire("pausing", 1)
        filling = c.delay(row["fills"].any(), "filling", enable=ran, reset=0)
    chaining = c.register("chaining", 1, reset=0)
    chaining.drive((ran & ~row["last"]) | (chaining & ~following & ~row_start & ~paused))
    known = chaining & c.delay(chaining, "settled", reset=0)
    moved = c.register("moved", 1, reset=0)
    moving, asked = known, c.const(0, 1)
    if config.has_rows:
        kinds = [row[name].any() for name in ("normalizes", "gates", "keys") if name in row]
        moving = known & (filling | ~concat(*kinds).any())
        begun = c.register("begun", 1, reset=0)
        begun.drive((row_start | begun) & ~ran)
        asked = begun & c.input("wants", 1)
    row_start.drive(known & ~moving)
    reading = (moving | asked) & free & ~moved
    again = c.wire("again", 1) if config.operand_depth else c.const(0, 1)
    source = c.register("source", results.width, reset=0, clear=rst | ran | again)
    rewind = c.input("rewind", 1) if config.softmax else c.const(0, 1)
    if config.softmax:
        back = ~row["keys"] & rewind.replicate(source.width)
        following_source = add(source, back, c.const(1, 1))
    else:
        following_source = source + 1
    source.drive(following_source, enable=reading | rewind)
    final = reading & following_source.eq(results)
    pauses = c.const(0, 1)
    if isinstance(again, Wire):
        pauses = c.delay(row["pauses"], "pauses", enable=ran)
        again.drive(_fill(c, config, row, ran, reading & filling, final))
    moved.drive(((final & ~again) | moved) & ~(following | paused | ran | rewind))
    arrived = known & c.delay(moved, "arrived", reset=0)
    following.drive(arrived & ~pauses)
    if isinstance(paused, Wire):
        paused.drive(arrived & pauses)
        c.output("paused", paused)

    c.output("kernel", kernel)
    c.output("stream_start", row["stream"])
    c.output("slot_start", row["slot"])
    # A unit that only gates need not be told.
    silent = {"normalizes"} if config.normalizes else {"gates"}
    silent |= {"fills", "pauses", "stride"}
    for name in sorted(row.keys() - {"stream", "slot", *silent}):
        c.output(name, row[name])
    c.output("next", following)
    c.output("source", source[: index_bits(config.result_depth)])
    c.output("read", reading)
    target = source.zext(max(source.width, config.address_width))[: config.address_width]
    c.output("target", c.delay(target, "target"))
    c.output("write", c.delay(reading & ~(asked | filling), "writing", reset=0))
    if config.has_rows:
        c.output("row_start", row_start)
    c.finish()
    return c


def _fill(
    c: Circuit,
    config: ArrayConfig,
    row: Mapping[str, Signal],
    ran: Signal,
    reading: Signal,
    final: Signal,
) -> Signal:
    """Tell the unit that fills operand memories of the kernel that ran, and its results' `reading`.

    Whether they are to be read again, behind the final one: of features, for the next tokens.
    """
    tokens = c.delay(row["fills"].eq(Fills.TOKENS), "of_tokens", enable=ran)
    c.output("fill_tokens", tokens)
    for name in ("operands", "stride"):
        c.output(f"fill_{name}", c.delay(row[name], f"filled_{name}", enable=ran))
    c.output("fill_begins", c.delay(ran & row["fills"].any(), "begins_filling", reset=0))
    c.output("fill_write", c.delay(reading, "fills", reset=0))
    rounds = config.lanes // config.pes
    if rounds == 1:
        return c.const(0, 1)
    # Beside the row, which comes a cycle after it is read.
    turn, last = turns(c, "round", rounds, reading & final & ~tokens)
    c.output("fill_round", c.delay(turn, "fill_round"))
    return reading & final & ~tokens & ~last
