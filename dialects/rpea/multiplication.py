# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a lane that multiplies computes: x·w and a surplus that depends on the weight alone.

Since weights are known at compile time, so are the surpluses of an output, and its bias makes
up for them. That frees the lane from carries and sign bits.

In LUTs a weight is recoded into radix-4 digits -2..2 (Booth, 1951, as modified by MacSorley,
1961): digit j is `w[2j-1] + w[2j] - 2·w[2j+1]`, and its row `digit·x·4^j`. A negative row is
the ones' complement of its magnitude, and the sign bit of each row is inverted, which makes it
an unsigned number that needs no extension: `digit·x - (digit < 0) + 256`.

Packed in a DSP block, `(x1·2^18 + x0)·w` needs no borrow between the activations if these are
unsigned, `x + 128`.
"""

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.spaq.numerics import ACTIVATION_BITS

Ints = NDArray[np.int64]

DENSE_BITS = 8
"""Bits of a weight of the dense family."""

PRODUCT_BITS = 18
"""Bits that hold a lane's sum of a word's products, surplus included."""

ROW_BITS = ACTIVATION_BITS + 1
"""Bits of a digit's row."""


def items(bits: int) -> int:
    """Items of a word whose weights have so many bits."""
    return 8 // bits


def digits(weights: Ints, bits: int) -> Ints:
    """Signed weights of `bits` bits [n] → their radix-4 digits [n, bits / 2], the lowest first."""
    doubled = weights[..., np.newaxis] << 1
    triple = doubled >> np.arange(0, bits, 2)
    return (triple & 1) + ((triple >> 1) & 1) - 2 * ((triple >> 2) & 1)


def surplus(weights: Ints, bits: int, multiplier: str) -> Ints:
    """[n] what a lane adds beyond x·w for each signed weight [n] of `bits` bits."""
    if multiplier == "booth":
        row = (1 << ACTIVATION_BITS) - (digits(weights, bits) < 0)
        return row @ (1 << np.arange(0, bits, 2))
    if multiplier == "packed":
        return weights << (ACTIVATION_BITS - 1)
    return np.zeros_like(weights)
