# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Where an array is in a sequence: before its number of tokens, or at a tile of a pass."""

from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.lowering.hdl.circuit import Circuit, Signal, mux
from daqkf.lowering.hdl.select import index_bits


@dataclass(frozen=True)
class SequenceState:
    """What the array knows of it; of other programs, every tile is a last one."""

    due: Signal
    """Whether the next row is a number of tokens."""
    within: Signal
    """Whether tiles of a sequence are still to come, so that no other program may."""
    final: Signal
    """Whether the tile is the last one of its pass."""
    tile: Signal
    """Its number."""
    tokens: Signal
    """Of the sequence."""


def follow(
    c: Circuit, config: ArrayConfig, attends: Signal, header: Signal, row: Signal, done: Signal
) -> SequenceState:
    """`header` pulses with the row that has the tokens, `done` at the end of each tile."""
    width = config.tokens_width
    tokens = c.register("tokens", width)
    # A row of two lanes may be narrower than the most that there can be.
    count = row.zext(max(width, row.width))[:width]
    tokens.drive(count, enable=header)
    opening = c.register("opening", 1, reset=1)
    second = c.register("second_pass", 1, reset=0)
    tile = c.register("tile", width, reset=0)
    # Whole tiles, less one if no other follows them; no tokens are as many as one.
    bits = index_bits(config.lanes)
    whole = tokens[bits:]
    last = whole - (whole.any() & ~tokens[:bits].any()).zext(whole.width)
    final = tile.eq(last.zext(width))
    ends = done & attends
    tile.drive(mux(final, c.const(0, width), tile + 1), enable=ends)
    second.drive(~second, enable=ends & final)
    complete = ends & final & second
    opening.drive(complete, enable=header | complete)
    return SequenceState(attends & opening, attends & ~opening, final | ~attends, tile, tokens)
