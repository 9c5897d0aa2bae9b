# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Activations that are kept, and what they add to the sums of a later kernel."""

from collections.abc import Sequence

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.lowering.hdl.circuit import Circuit, Signal
from daqkf.lowering.hdl.pipeline import delayed
from daqkf.lowering.hdl.select import choose
from daqkf.lowering.rtl import booth

READING = 2
"""Cycles from an output's number to the kept activations: the memory, and the choice of lanes."""
MULTIPLYING = booth.stages(ACTIVATION_BITS)


def read_kept(c: Circuit, config: ArrayConfig, output: Signal, group: Signal) -> list[Signal]:
    """The memory, and `READING` later the kept activations of a group of lanes.

    It takes what is written to the activation memories while the kernel that will read it `saves`.
    The row of zeros may come along, but no output has its number.
    """
    address = c.input("activation_address", config.address_width)
    row, writing = c.input("activation_data", config.row_bits), c.input("activation_write", 1)
    memory = c.memory("kept_activations", config.residual_depth, config.row_bits)
    bits = memory.address_width
    inside = writing & c.input("saves", 1)
    if config.address_width > bits:
        inside = inside & ~address[bits:].any()
    memory.write(address.zext(max(bits, address.width))[:bits], row, inside)
    number = output.zext(max(bits, output.width))[:bits]
    kept = memory.read(number, c.const(1, 1), "kept_row")
    taken = ACTIVATION_BITS * config.post_lanes
    parts = [kept[low : low + taken] for low in range(0, config.row_bits, taken)]
    chosen = c.delay(choose(c.delay(group, "kept_part"), parts), "kept_lanes")
    return [chosen[low : low + ACTIVATION_BITS] for low in range(0, taken, ACTIVATION_BITS)]


def subtract_residuals(
    c: Circuit, offsets: Sequence[Signal], kept: Sequence[Signal], multiplier: Signal, late: int
) -> list[Signal]:
    """The offsets of negated sums less the residuals, `MULTIPLYING` after the kept activations.

    The multiplier comes when these are read, which are `late` cycles before the offsets.
    """
    multiplier = delayed(c, multiplier, "residual_multiplier", READING + late)
    factor = multiplier.zext(multiplier.width + 1)
    return [
        booth.subtract_product(
            c, offset, factor, delayed(c, lane, f"kept{v}_", late), f"residual{v}"
        )
        for v, (offset, lane) in enumerate(zip(offsets, kept, strict=True))
    ]
