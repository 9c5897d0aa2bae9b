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
from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fan_out import late_results, tree_stages
from daqkf.hw_targets.operands import Fills
from daqkf.hw_targets.words import chain_row
from daqkf.lowering.hdl.bundle import inputs
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, Wire, concat, mux, named
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import index_bits, turns, unpack
from daqkf.lowering.rtl.booth import add


def build_chain_unit(config: ArrayConfig) -> Circuit:
    """The unit of an array whose chain's table has more than one row.

    `ran` pulses when a kernel has written its results, `free` says that no others are leaving.
    In a cycle with `read` the result row `source` is read. When it is there, it goes to the
    activations' row `target`: `write` says so in the same cycle or, where rows are reached through
    a tree of registers, a cycle before. `next` pulses when the next kernel may start.

    With a row unit, `row_start` pulses when that one starts; then a row is read only when it
    asks for one with `wants`, and goes nowhere else. With `rewind` it goes back by the `keys` of
    a softmax.

    With operand memories, `fill_begins` and `fill_write` are for the unit that fills them;
    `paused` pulses when a tile ends without results. A tile that is `final` is the last one of a
    pass: the next one begins behind the pause, or again with the first kernel.

    Where rows share exponents, `seeks` pulses when the row unit starts with a kernel that has some
    to find; the array is `seeking` them until `sought`, which pulses when all results have gone
    by, and then reads the rows again.
    """
    c = Circuit("daqkf_chain", "follows the kernels of a program.")
    c.clock("clk")
    rst = c.input("rst", 1)
    c.reset(rst)
    ran, free = c.input("ran", 1), c.input("free", 1)
    at = _Kernel.look_up(c, config, ran)
    row = at.row

    c.section("Between two kernels: the next one's row is there two cycles after `ran`.")
    following, row_start = c.wire("following", 1), c.wire("starts_rows", 1)
    paused, filling = c.const(0, 1), c.const(0, 1)
    if config.operand_depth:
        paused = c.wire("pausing", 1)
        filling = c.delay(row["fills"].any(), "filling", enable=ran, reset=0)
    chaining = c.register("chaining", 1, reset=0)
    chaining.drive((ran & ~row["last"]) | (chaining & ~following & ~row_start & ~paused))
    known = named(chaining & c.delay(chaining, "settled", reset=0), "row_known")
    moving, asked = _who_reads(c, config, row, ran, known, filling, row_start)
    row_start.drive(known & ~moving)

    sought = _seek(c, row, row_start) if config.row_exponents else c.const(0, 1)
    reader = _Reader.declare(c, config, rst, ran | sought, at.results)
    reading = named((moving | asked) & free & ~reader.moved, "reads_row")
    final = reader.step(c, row, reading)
    pauses = c.const(0, 1)
    if isinstance(reader.again, Wire):
        pauses = c.delay(row["pauses"], "pauses", enable=ran)
        reader.again.drive(_fill(c, config, row, ran, reading & filling, final))
    stays = following | paused | ran | sought | reader.rewind
    reader.moved.drive(((final & ~reader.again) | reader.moved) & ~stays)
    late = late_results(config)
    # What the row unit has read counts no more once its kernel has run.
    moved = reader.moved & ~ran if late else reader.moved
    arrived: Signal = c.delay(moved, "arrived", reset=0)
    for cycle in range(late):
        arrived = c.delay(arrived & ~ran, f"arrived{cycle + 1}", reset=0)
    arrived = named(known & arrived, "rows_arrived")
    following.drive(arrived & ~pauses)
    if isinstance(paused, Wire):
        paused.drive(arrived & pauses)
        c.output("paused", paused)

    _show_kernel(c, config, at)
    c.section("How the array moves rows.")
    c.output("next", following)
    reader.show(c, config, reading)
    writing = c.delay(reading & ~(asked | filling), "writing", reset=0)
    c.output("write", delayed(c, writing, "writing", _writing_cycles(config), reset=0))
    if config.has_rows:
        c.output("row_start", row_start)
    c.finish()
    return c


def _seek(c: Circuit, row: Mapping[str, Signal], row_start: Signal) -> Signal:
    """Tell the array that the row unit's results are to go by twice; the end of the first time."""
    c.section("The exponents of rows: the first time results go by to find them.")
    sought, seeks = c.input("sought", 1), named(row_start & row["scales"], "begins_seeking")
    c.output("seeks", seeks)
    seeking = c.register("seeking", 1, reset=0)
    seeking.drive((seeks | seeking) & ~sought)
    c.output("seeking", seeking)
    return sought


def _writing_cycles(config: ArrayConfig) -> int:
    """Cycles from the one behind the read of a row to the one in which `write` is said."""
    return late_results(config) - bool(tree_stages(config))


@dataclass(frozen=True)
class _Kernel:
    """The kernel that is next or runs."""

    number: Register
    row: Mapping[str, Signal]
    """Its row of the chain's table."""
    results: Signal
    """N of the kernel that ran."""

    @classmethod
    def look_up(cls, c: Circuit, config: ArrayConfig, ran: Signal) -> "_Kernel":
        """The table of the program's kernels, and the counter that points to one."""
        c.section("The table of kernels, and the one that is next or runs.")
        bits, rows = index_bits(config.kernels), config.banks * config.kernels
        table = c.memory("kernels", rows, chain_row(config).width, style="distributed")
        widths = {"address": index_bits(rows), "data": table.width, "write": 1}
        table.write(*inputs(c, "chain", widths).values())
        kernel = c.register("kernel", bits, reset=0)
        place = concat(c.input("bank", 1), kernel) if config.double_buffered else kernel
        row = unpack(chain_row(config), table.read(place, c.const(1, 1), "row"))
        following, begin = kernel + 1, c.const(0, bits)
        if config.operand_depth:
            final_tile, behind = c.input("final", 1), c.register("behind_pause", bits, reset=0)
            behind.drive(following, enable=ran & row["pauses"])
            begin = mux(final_tile, begin, behind)
            repeats = row["pauses"] & ~final_tile
            following = mux(repeats, c.const(0, bits), following)
        kernel.drive(mux(row["last"], begin, following), enable=ran)
        return cls(kernel, row, c.delay(row["outputs"], "results", enable=ran))


def _who_reads(
    c: Circuit,
    config: ArrayConfig,
    row: Mapping[str, Signal],
    ran: Signal,
    known: Signal,
    filling: Signal,
    row_start: Signal,
) -> tuple[Signal, Signal]:
    """Whether rows move by themselves, and whether the row unit asks for one."""
    if not config.has_rows:
        return known, c.const(0, 1)
    kinds = [row[name].any() for name in ("normalizes", "gates", "keys") if name in row]
    moving = named(known & (filling | ~concat(*kinds).any()), "moving")
    begun = c.register("begun", 1, reset=0)
    begun.drive((row_start | begun) & ~ran)
    return moving, named(begun & c.input("wants", 1), "asked")


@dataclass(frozen=True)
class _Reader:
    """The row of results that is read next."""

    source: Register
    results: Signal
    """How many rows there are."""
    moved: Register
    """All rows have been read."""
    again: Signal
    """They are to be read once more."""
    rewind: Signal
    """The row unit goes back by the keys of a softmax."""

    @classmethod
    def declare(
        cls, c: Circuit, config: ArrayConfig, rst: Signal, begins: Signal, results: Signal
    ) -> "_Reader":
        """The registers, of rows from the first one on when `begins`; `moved` is to be driven."""
        c.section("The rows of results that are read.")
        moved = c.register("moved", 1, reset=0)
        again = c.wire("again", 1) if config.operand_depth else c.const(0, 1)
        source = c.register(
            "source", results.width, reset=0, clear=named(rst | begins, "source_begins") | again
        )
        rewind = c.input("rewind", 1) if config.softmax else c.const(0, 1)
        return cls(source, results, moved, again, rewind)

    def step(self, c: Circuit, row: Mapping[str, Signal], reading: Signal) -> Signal:
        """Go on behind a row that is read, or back; whether that row is the last one."""
        source = self.source
        if "keys" in row:
            back = ~row["keys"] & self.rewind.replicate(source.width)
            following = add(source, back, c.const(1, 1), "back")
        else:
            following = source + 1
        following = named(following, "following_source")
        source.drive(following, enable=reading | self.rewind)
        return named(reading & following.eq(self.results), "final_row")

    def show(self, c: Circuit, config: ArrayConfig, reading: Signal) -> None:
        """The ports of the row that is read, and of where it goes in the next cycle."""
        source, width = self.source, config.address_width
        c.output("source", source[: index_bits(config.result_depth)])
        c.output("read", reading)
        target = source.zext(max(source.width, width))[:width]
        target = c.delay(target, "target")
        c.output("target", delayed(c, target, "target", _writing_cycles(config)))


def _show_kernel(c: Circuit, config: ArrayConfig, at: _Kernel) -> None:
    """The ports of the kernel and of its row."""
    row = at.row
    c.output("kernel", at.number)
    c.output("stream_start", row["stream"])
    c.output("slot_start", row["slot"])
    # A unit that only gates need not be told.
    silent = {"normalizes"} if config.normalizes else {"gates"}
    silent |= {"fills", "pauses", "stride"}
    for name in sorted(row.keys() - {"stream", "slot", *silent}):
        c.output(name, row[name])


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
    c.section("What the unit that fills operands is told of the kernel that ran.")
    tokens = c.delay(row["fills"].eq(Fills.TOKENS), "of_tokens", enable=ran)
    c.output("fill_tokens", tokens)
    for name in ("operands", "stride"):
        c.output(f"fill_{name}", c.delay(row[name], f"filled_{name}", enable=ran))
    c.output("fill_begins", c.delay(ran & row["fills"].any(), "begins_filling", reset=0))
    late = late_results(config)
    fills = c.delay(reading, "fills", reset=0)
    c.output("fill_write", delayed(c, fills, "fills", late, reset=0))
    rounds = config.lanes // config.pes
    if rounds == 1:
        return c.const(0, 1)
    # Beside the row, which comes later than it is read.
    turn, last = turns(c, "round", rounds, reading & final & ~tokens)
    turn = c.delay(turn, "fill_round")
    c.output("fill_round", delayed(c, turn, "fill_round", late))
    return reading & final & ~tokens & ~last
