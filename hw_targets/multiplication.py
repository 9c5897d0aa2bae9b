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

An array with weights of 4 and of 8 bits has words of either kind: two weights, or the halves of
one. With rows of digits, both items of a wide word have one activation, and the upper half
counts 16 times as much. In a DSP block, `(x0·2 + 1 + x1·2^14)·(w1 + w0·2^13)` has
`x0·w0 + x1·w1` in the middle. Below it stands `w1·(2·x0 + 1)`, whose sign is that of w1 if x0 is
unsigned, so what the middle lends to it is the compiler's. A wide weight takes the place of w1,
with nothing for x0.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.numerics import ACTIVATION_BITS, wrap

Ints = NDArray[np.int64]

DENSE_BITS = 8
"""Bits of a weight of the dense family."""

PRODUCT_BITS = 18
"""Bits that hold a lane's sum of a word's products, surplus included."""

ROW_BITS = ACTIVATION_BITS + 1
"""Bits of a digit's row."""


MIDDLE = 14
"""The lowest bit of the sum of two products in a product of a DSP block."""


def items(weight_bits: Sequence[int]) -> int:
    """Items of a word whose weights have so many bits, or one of so many."""
    return 8 // min(weight_bits)


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


def weigh(
    words: Mapping[str, Ints], weight_bits: Sequence[int], multiplier: str
) -> tuple[list[Ints], Ints]:
    """What a lane adds for words [n]: the factor [n] of each item's x, and the surplus [n]."""
    bits = min(weight_bits)
    weights = [wrap(words[f"weight{item}"], bits) for item in range(items(weight_bits))]
    lone = np.sum([surplus(weight, bits, multiplier) for weight in weights], axis=0)
    if len(weight_bits) == 1:
        return weights, lone
    narrow, (low, high) = words["narrow"] == 1, weights
    wide = (high << bits) + (low & ((1 << bits) - 1))
    if multiplier == "booth":
        halves, extra = (low, wide - low), surplus(wide, 2 * bits, multiplier)
    else:
        halves, extra = (np.zeros_like(wide), wide), (wide + (wide << ACTIVATION_BITS)) >> MIDDLE
        lone = (high + (low << (MIDDLE - 1)) + (low << (MIDDLE + ACTIVATION_BITS - 1))) >> MIDDLE
    factors = [np.where(narrow, *pair) for pair in zip(weights, halves, strict=True)]
    return factors, np.where(narrow, lone, extra)
