# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""LUTs that a memory takes which is made of LUTs, as yosys maps it on UltraScale+."""

from dataclasses import dataclass

RAM64 = 64, 7, 8
"""Rows of a RAM64M8, the bits of a row if one port reads and one writes, and its LUTs, of which the
last one has the port that writes (AMD UG574)."""

_JOINED = 3
"""A LUT of six inputs chooses among four signals: each takes the place of three."""


@dataclass(frozen=True)
class MappedLuts:
    """How a memory with one port that reads is made of LUTs."""

    storing: int
    """LUTs that store, which only some of a device can."""
    choosing: int
    """LUTs that choose among what they read, and that say which of them is written."""

    @property
    def luts(self) -> int:
        """All of them."""
        return self.storing + self.choosing


def mapped_luts(depth: int, width: int) -> MappedLuts:
    """How a memory of so many words of `width` bits is mapped."""
    rows, bits, luts = RAM64
    deep = -(-depth // rows)
    storing = luts * deep * -(-width // bits)
    if deep == 1:
        return MappedLuts(storing, 0)
    return MappedLuts(storing, width * -(-(deep - 1) // _JOINED) + deep)
