# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The dense family: a multiplier a lane, for every weight in its place, zero or not.

The weights are as in the multiply family, without addresses.
"""

from collections.abc import Iterator
from typing import override

import numpy as np

from daqkf.hw_targets.families.descriptor import Family, Ints, Words
from daqkf.hw_targets.families.multiply import MultiplyWord, weighted
from daqkf.hw_targets.multiplication import DENSE_BITS
from daqkf.hw_targets.shape import ElementShape


class DenseWord(MultiplyWord):
    """The same with every weight in its place, zero or not: a stream of nothing but weights.

    All elements run in lockstep. The array counts features and outputs for them, and reads the
    one activation memory; PE p makes the outputs p, p + P, …
    """

    indices = None

    @override
    def fields(self, shape: ElementShape) -> dict[str, int]:
        return {"weight0": DENSE_BITS}

    @override
    def weight_bits(self, shape: ElementShape) -> tuple[int, ...]:
        return (DENSE_BITS,)

    @override
    def supplied(self, words: int, features: int, outputs: int) -> Words:
        output, index = np.divmod(np.arange(words), features)
        return {
            "index0": index,
            "last": ((index == features - 1) & (output < outputs)).astype(np.int64),
            "end": (np.arange(words) == words - 1).astype(np.int64),
        }


def sums(words: Words, memory: Ints, shape: ElementShape) -> Iterator[Ints]:
    """The golden model: as of the multiply family, with one weight of 8 bits a word."""
    return weighted(words, memory, (DENSE_BITS,), shape.multiplier)


FAMILY = Family("dense", DenseWord(), sums, modular=True, lockstep=True)
