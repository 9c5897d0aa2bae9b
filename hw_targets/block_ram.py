# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Block RAM that a memory takes, as yosys maps it: all of one shape."""

RAMB36 = {512: 72, 1024: 36, 2048: 18, 4096: 9, 8192: 4, 16384: 2, 32768: 1}
"""Depths of a RAMB36, with a port to write and one to read, and their widths (AMD UG573)."""

RAMB18 = {512: 36, 1024: 18, 2048: 9, 4096: 4, 8192: 2, 16384: 1}
"""The same of a half."""


def ramb18s(depth: int, width: int) -> int:
    """Halves of RAMB36 for a memory of so many words of `width` bits."""
    return min(
        halves * -(-depth // rows) * -(-width // bits)
        for halves, shapes in ((1, RAMB18), (2, RAMB36))
        for rows, bits in shapes.items()
    )
