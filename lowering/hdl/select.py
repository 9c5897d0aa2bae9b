# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Selecting among signals by an index, in turns, counting them, and fields out of a packed row."""

from collections.abc import Sequence

from daqkf.hw_targets.fields import Fields
from daqkf.lowering.hdl.circuit import Circuit, Signal, mux, named


def choose(index: Signal, options: Sequence[Signal]) -> Signal:
    """`options[index]`, as a tree of multiplexers; the last option also answers beyond the end."""
    if len(options) == 1:
        return options[0]
    bits = (len(options) - 1).bit_length()
    half = 1 << (bits - 1)
    return mux(index[bits - 1], choose(index, options[half:]), choose(index, options[:half]))


def index_bits(count: int) -> int:
    """Bits of an index into `count` things; a single thing still takes one."""
    return max(1, (count - 1).bit_length())


def turns(c: Circuit, name: str, most: int, enable: Signal) -> tuple[Signal, Signal]:
    """A counter, and whether it is at the last number, behind which it begins again."""
    counter = c.register(name, index_bits(most), reset=0)
    final = named(counter.eq(most - 1), f"{name}_is_last")
    counter.drive(mux(final, c.const(0, counter.width), counter + 1), enable=enable)
    return counter, final


def ceil_shift(count: Signal, low: int) -> Signal:
    """`count / 2^low`, rounded up. It has `low` bits less: the largest count is a multiple."""
    if not low:
        return count
    return count[low:] + count[:low].any().zext(count.width - low)


def unpack(layout: Fields, row: Signal) -> dict[str, Signal]:
    """The fields of a packed row."""
    return {
        name: row[offset : offset + layout.widths[name]] for name, offset in layout.offsets.items()
    }


def count_ones(flags: Sequence[Signal]) -> Signal:
    """How many of the flags are set, as a tree of adders."""
    if len(flags) == 1:
        return flags[0]
    half = len(flags) // 2
    low, high = count_ones(flags[:half]), count_ones(flags[half:])
    width = len(flags).bit_length()
    return low.zext(width) + high.zext(width)
