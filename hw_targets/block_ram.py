# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Block RAM that a memory takes, as yosys maps it: all of one shape."""

from dataclasses import dataclass
from functools import cache

RAMB36 = {512: 72, 1024: 36, 2048: 18, 4096: 9, 8192: 4, 16384: 2, 32768: 1}
"""Depths of a RAMB36, with a port to write and one to read, and their widths (AMD UG573)."""

RAMB18 = {512: 36, 1024: 18, 2048: 9, 4096: 4, 8192: 2, 16384: 1}
"""The same of a half, and of a block RAM of ECP5, PDPW16KD and DP16KD (Lattice FPGA-TN-02204)."""

ULTRA_RAM = 4096, 72
"""Rows of an UltraRAM, whose two ports read or write, and their width (AMD UG573)."""


@dataclass(frozen=True)
class Mapped:
    """How a memory is made of block RAM."""

    halves: int
    """Of RAMB36, or block RAMs of ECP5."""
    deep: int
    """Blocks among which the address chooses."""


@cache
def mapped(depth: int, width: int, *, ports: int = 1, whole: bool = True) -> Mapped:
    """How a memory of so many words of `width` bits is mapped.

    Args:
        depth: words.
        width: bits.
        ports: that read. With two, one of which writes, too, no block has its widest shape.
        whole: whether two halves can be one of twice the size, as on xcup, not on ECP5.
    """
    kinds = ((1, RAMB18), (2, RAMB36)) if whole else ((1, RAMB18),)
    found = [
        Mapped(halves * -(-depth // rows) * -(-width // bits), -(-depth // rows))
        for halves, shapes in kinds
        for rows, bits in shapes.items()
        if ports == 1 or rows > min(shapes)
    ]
    return min(found, key=lambda one: (one.halves, one.deep))


def ramb18s(depth: int, width: int) -> int:
    """Halves of RAMB36 for a memory of so many words of `width` bits."""
    return mapped(depth, width).halves


def ultra_rams(depth: int, width: int) -> int:
    """UltraRAMs for a memory of so many words of `width` bits."""
    rows, bits = ULTRA_RAM
    return -(-depth // rows) * -(-width // bits)
