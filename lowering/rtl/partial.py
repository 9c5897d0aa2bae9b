# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Partial sums: those of a tile that keeps them are where a later one goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.lowering.hdl.circuit import Circuit, Memory, Signal, concat
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import index_bits

STAGES = 3
"""From a parameter row to the sums' offsets: the memory, the register behind it, an addition."""


@dataclass(frozen=True)
class Partial:
    """The memory of negated partial sums, a row for each group of lanes of each output.

    The outputs of a tile are `base` and what follows it.
    """

    memory: Memory
    place: Signal
    rows: Signal
    width: int

    @classmethod
    def read(
        cls, c: Circuit, config: ArrayConfig, address: Signal, group: Signal, waiting: int
    ) -> "Partial":
        """The memory, and the row of a group of an output's lanes, `waiting` before it is written.

        Args:
            c: the post unit.
            config: of the array.
            address: the output.
            group: of the lanes.
            waiting: cycles from these to the negated sums, less the one of the negation.
        """
        c.section("Partial sums: the memory, and what the sums go on from.")
        bits, groups = index_bits(config.partial_depth), config.lanes // config.post_lanes
        base = c.input("base", bits)
        wide = max(bits, address.width)
        output = (base.zext(wide) + address.zext(wide))[:bits]
        place = concat(output, group) if groups > 1 else output
        width = config.sum_width * config.post_lanes
        depth = config.partial_depth << group_bits(groups)
        memory = c.memory("partial", depth, width, style=config.partial_memory)
        row = c.delay(memory.read(place, c.const(1, 1), "partial_row"), "partial_sums")
        return cls(memory, delayed(c, place, "partial_place", 1 + waiting), row, width)

    def offsets(self, c: Circuit, bias: Signal) -> list[Signal]:
        """What each lane's sum is subtracted from."""
        bias, adds = c.delay(bias, "offset_of_all"), c.input("adds", 1)
        lanes = [self.rows[low : low + bias.width] for low in range(0, self.width, bias.width)]
        return [
            c.delay(bias + (lane & adds.replicate(bias.width)), f"offset{v}")
            for v, lane in enumerate(lanes)
        ]

    def write(self, c: Circuit, negated: Sequence[Signal], enable: Signal) -> None:
        """Keep the negated sums of a group."""
        self.memory.write(self.place, concat(*reversed(negated)), enable)


def group_bits(groups: int) -> int:
    """Address bits that tell groups of lanes apart."""
    return (groups - 1).bit_length()
