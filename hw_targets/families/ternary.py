# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The ternary family: additions and subtractions alone, for levels -1, 0 and 1.

`passes/encode/ternary.py` has the method.
"""

from collections.abc import Iterator
from typing import override

import numpy as np

from daqkf.hw_targets.families.descriptor import Family, Ints, Words
from daqkf.hw_targets.families.running_sum import RunningSumWord, joining
from daqkf.hw_targets.shape import ElementShape


class TernaryWord(RunningSumWord):
    """The running sum alone, for levels -1, 0 and 1: its sum is what a `last` word makes of Q."""

    @override
    def fields(self, shape: ElementShape) -> dict[str, int]:
        fields = super().fields(shape)
        return {name: bits for name, bits in fields.items() if name not in ("step", "shift")}


def sums(words: Words, memory: Ints, shape: ElementShape) -> Iterator[Ints]:
    """The golden model: Q is the sum of an output, with its last word."""
    running = np.zeros(memory.shape[1], np.int64)
    for terms, keep, last in zip(joining(words, memory), words["keep"], words["last"], strict=True):
        running = terms - (running ^ -keep)
        if last:
            yield running
            running = np.zeros_like(running)


FAMILY = Family("ternary", TernaryWord(), sums)
