# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Packed rows: named fields of some bits each, as memories and program images hold them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

IMAGE_WORD_BITS = 32
"""Bits of a word of a program image."""


@dataclass(frozen=True)
class Fields:
    """A packed row: named unsigned fields, the first in the least significant bits."""

    widths: Mapping[str, int]
    row_words: int = 1
    """The least number of 32-bit words of a row in a program image."""

    @cached_property
    def offsets(self) -> dict[str, int]:
        """The lowest bit of each field."""
        offsets, position = dict[str, int](), 0
        for name, width in self.widths.items():
            offsets[name] = position
            position += width
        return offsets

    @cached_property
    def width(self) -> int:
        """Bits of the row."""
        return sum(self.widths.values())

    @property
    def words(self) -> int:
        """32-bit words that carry a row in a program image."""
        return max(-(-self.width // IMAGE_WORD_BITS), self.row_words)

    def pack(self, fields: Mapping[str, NDArray[np.integer | np.bool]]) -> NDArray[np.uint32]:
        """Rows [n] of fields → words [n, words]; negative values wrap to their width.

        Raises:
            ValueError: a value does not fit its field.
        """
        rows = len(next(iter(fields.values())))
        words = np.zeros((rows, self.words), np.uint64)
        for name, width in self.widths.items():
            values = np.asarray(fields[name], np.int64)
            if values.size and (values.min() < -(1 << (width - 1)) or values.max() >= 1 << width):
                raise ValueError(f"{name} does not fit {width} bits")
            bits = values.astype(np.uint64) & np.uint64((1 << width) - 1)
            index, shift = divmod(self.offsets[name], IMAGE_WORD_BITS)
            taken = 0
            while taken < width:
                words[:, index] |= ((bits >> np.uint64(taken)) << np.uint64(shift)) & np.uint64(
                    0xFFFFFFFF
                )
                taken += IMAGE_WORD_BITS - shift
                index, shift = index + 1, 0
        return words.astype(np.uint32)

    def unpack(self, words: NDArray[np.uint32]) -> dict[str, NDArray[np.int64]]:
        """Words [n, words] → the unsigned fields [n]: what `pack` was given, modulo 2^width."""
        fields: dict[str, NDArray[np.int64]] = {}
        for name, width in self.widths.items():
            index, shift = divmod(self.offsets[name], IMAGE_WORD_BITS)
            value = words[:, index].astype(np.uint64) >> np.uint64(shift)
            taken = IMAGE_WORD_BITS - shift
            while taken < width:
                index += 1
                value |= words[:, index].astype(np.uint64) << np.uint64(taken)
                taken += IMAGE_WORD_BITS
            fields[name] = (value & np.uint64((1 << width) - 1)).astype(np.int64)
        return fields
