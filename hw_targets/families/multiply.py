# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The multiply family: a multiplier a lane, for the non-zeros.

`hw_targets/multiplication.py` says what a lane computes, `passes/encode/multiply.py` how weights
become words.
"""

from collections.abc import Iterator, Sequence
from typing import override

import numpy as np

from daqkf.hw_targets.families.descriptor import Family, Ints, StreamWord, Words
from daqkf.hw_targets.index_coding import Deltas
from daqkf.hw_targets.multiplication import items, weigh
from daqkf.hw_targets.shape import ElementShape


class MultiplyWord(StreamWord):
    """A multiplier a lane: A += Σ x[index]·weight, one item of 8 bits or two of 4.

    Of a machine with both, a word is `narrow` and has two items, or its weights are the halves
    of one, and its indices are as `multiplication` says.
    """

    indices = Deltas()

    @override
    def require(self, shape: ElementShape) -> None:
        if shape.index_bits and len(shape.weight_bits) > 1:
            raise ValueError("large weights come before small ones, which index_bits do not allow")

    @override
    def fields(self, shape: ElementShape) -> dict[str, int]:
        fields: dict[str, int] = {}
        bits = min(shape.weight_bits)
        for item in range(items(shape.weight_bits)):
            fields |= {f"index{item}": shape.address_width, f"weight{item}": bits}
        modes = {"narrow": 1} if len(shape.weight_bits) > 1 else {}
        return fields | modes | {"last": 1, "end": 1}

    def weight_bits(self, shape: ElementShape) -> tuple[int, ...]:
        """Widths that a weight can have."""
        return shape.weight_bits


def weighted(
    words: Words, memory: Ints, weight_bits: Sequence[int], multiplier: str
) -> Iterator[Ints]:
    """The sums [T] of words whose weights have so many bits, with the surplus of each weight."""
    factors, surplus = weigh(words, weight_bits, multiplier)
    start = 0
    for stop in np.flatnonzero(words["last"]) + 1:
        part = slice(start, stop)
        totals = [
            factor[part] @ memory[words[f"index{item}"][part]]
            for item, factor in enumerate(factors)
        ]
        yield np.sum(totals, axis=0) + surplus[part].sum()
        start = stop


def sums(words: Words, memory: Ints, shape: ElementShape) -> Iterator[Ints]:
    """The golden model: the sum of an output's products, with the surplus of each weight."""
    return weighted(words, memory, shape.weight_bits, shape.multiplier)


FAMILY = Family("multiply", MultiplyWord(), sums, modular=True)
