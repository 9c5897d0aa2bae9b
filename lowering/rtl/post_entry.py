# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The entry of the post unit: which element's sums come next, and the parameters for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fan_out import tree_stages
from daqkf.hw_targets.numerics import NORMALIZED_BITS
from daqkf.hw_targets.words import parameter_row, parameters_together
from daqkf.lowering.hdl.bundle import inputs
from daqkf.lowering.hdl.circuit import Circuit, Register, Signal, concat, mux, named
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose, index_bits, unpack


def stages(config: ArrayConfig) -> int:
    """Cycles from a group of lanes that is taken to its sums, beside which are the parameters."""
    return 3 if tree_stages(config) else 2


@dataclass(frozen=True)
class Entry:
    """What is taken in this cycle: a group of lanes of a finished output."""

    polled: Register
    """The element whose turn it is, or the place of a sum of the row unit within its slot."""
    group: Register
    """Of the lanes."""
    taking: Signal
    """There is one to be taken."""
    final: Signal
    """It is the output's last one."""
    streaming: Signal
    """The row unit has the turn, not the elements."""
    slots: Sequence[Register]
    """Of the next output of each element."""

    @classmethod
    def poll(cls, c: Circuit, config: ArrayConfig, rst: Signal, start: Signal) -> "Entry":
        """Ask the elements in turn, and take all groups of a finished output one after another.

        Each element's outputs have the parameters of one slot after another.
        """
        c.section("The entry: elements are asked in turn, and give their lanes in groups.")
        slot_bits = index_bits(config.banks * config.parameter_depth)
        slot_start = c.input("slot_start", slot_bits) if config.relocates else c.const(0, slot_bits)
        full = [c.input(f"full{p}", 1) for p in range(config.pes)]
        turns, rewind, streaming = config.pes, None, c.const(0, 1)
        if config.has_rows:
            # The parameters of its sums follow one another, through the padding of slots too.
            turns, rewind = config.parameter_stride, named(rst | start, "rewind")
            streaming = c.input("streaming", 1)
        groups = config.lanes // config.post_lanes
        polled = c.register("polled", index_bits(turns), reset=0, clear=rewind)
        group = c.register("group", index_bits(groups), reset=0)
        taking, final_turn = choose(polled, full), polled.eq(config.pes - 1)
        if config.has_rows:
            taking = taking | c.input("rows_valid", 1)
            if turns > config.pes:
                final_turn = final_turn & ~streaming
        taking = named(taking, "taking")
        final = named(group.eq(groups - 1), "final_group")
        done = named(taking & final, "output_done")
        group.drive(mux(done, c.const(0, group.width), group + 1), enable=taking)
        around = mux(final_turn, c.const(0, polled.width), polled + 1)
        polled.drive(around, enable=done | ~(taking | streaming))
        slots: list[Register] = []
        for p in range(turns):
            chosen = named(done & named(polled.eq(p), f"polled_is_{p}"), f"done{p}")
            slot = c.register(f"slot{p}", slot_bits, reset=0)
            slot.drive(mux(start, slot_start, slot + 1), enable=start | chosen)
            slots.append(slot)
            if p < config.pes:
                # Elements with a tree count what is taken of them.
                counts = config.has_rows and tree_stages(config)
                c.output(f"take{p}", chosen & ~streaming if counts else chosen)
        if groups > 1:
            c.output("group", group)
        return cls(polled, group, taking, final, streaming, slots)

    def parameters(self, c: Circuit, config: ArrayConfig) -> dict[str, Signal]:
        """The memory of parameters, and `stages` later those of the output that is taken."""
        c.section("The parameters of each output channel.")
        width, together = parameter_row(config).width, parameters_together(config)
        rows = config.banks * config.parameter_depth * config.parameter_stride // together
        memory = c.memory("parameters", rows, together * width)
        write = {"address": index_bits(rows), "data": memory.width, "write": 1}
        memory.write(*inputs(c, "parameters", write).values())
        address = choose(self.polled, self.slots)
        if config.pes > 1:
            address = concat(address, self.polled[: (config.parameter_stride - 1).bit_length()])
        low = (together - 1).bit_length()
        row = memory.read(address[low:], self.taking, "parameter_row")
        if low:
            number = c.delay(address[:low], "parameter_number", enable=self.taking)
            row = choose(number, [row[n : n + width] for n in range(0, together * width, width)])
        row = c.delay(row, "parameters_read")
        return unpack(parameter_row(config), delayed(c, row, "parameters_late", stages(config) - 2))

    def sums(self, c: Circuit, config: ArrayConfig) -> Signal:
        """The sums of the group that is taken, `stages` later, or 0 for those of the row unit."""
        c.section("The sums of the element that is asked.")
        width = config.accumulator_width * config.post_lanes
        sums = [c.input(f"sums{p}", width) for p in range(config.pes)]
        if tree_stages(config):
            # The elements have registered what is chosen of their sums.
            polled: Signal = choose(delayed(c, self.polled, "polled_late", 2), sums)
        else:
            polled = c.delay(choose(self.polled, sums), "polled_sums")
        entered = c.register(
            "entered_sums",
            width,
            reset=0 if config.has_rows else None,
            clear=self.streaming if config.has_rows else None,
        )
        entered.drive(polled)
        return entered

    def late(self, c: Circuit, config: ArrayConfig) -> tuple[Signal, Signal, Signal]:
        """`taking`, `final` and `group` beside the sums."""
        c.section("What travels along with the sums.")
        number = stages(config)
        return (
            delayed(c, self.taking, "entered", number, reset=0),
            delayed(c, self.final, "entered_final", number),
            delayed(c, self.group, "part", number),
        )


def lanes_of(c: Circuit, config: ArrayConfig, sums: Signal) -> list[Signal]:
    """The sums lane by lane, joined with those of the row unit, of which one is 0."""
    width, bits = config.accumulator_width, NORMALIZED_BITS
    lanes = [sums[width * v : width * (v + 1)] for v in range(config.post_lanes)]
    if not config.has_rows:
        return lanes
    rows = c.input("rows_sums", bits * config.post_lanes)
    return [lane | rows[bits * v : bits * (v + 1)].sext(width) for v, lane in enumerate(lanes)]
