# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The word of the unary family, whose weights are repeated additions or subtractions."""

from collections.abc import Iterator
from pathlib import Path
from typing import override

import numpy as np

from daqkf.hw_targets.families.descriptor import Family, Ints, StreamWord, Words
from daqkf.hw_targets.shape import ElementShape


class UnaryWord(StreamWord):
    """A word does A += x[index], or A -= x[index] if it is `negative`."""

    @override
    def fields(self, shape: ElementShape) -> dict[str, int]:
        return {"index0": shape.address_width, "negative": 1, "last": 1, "end": 1}


def sums(words: Words, memory: Ints, shape: ElementShape) -> Iterator[Ints]:
    """The golden model: A is the sum of an output."""
    accumulator = np.zeros(memory.shape[1], np.int64)
    for index, negative, last in zip(
        words["index0"], words["negative"], words["last"], strict=True
    ):
        accumulator = accumulator + (-memory[index] if negative else memory[index])
        if last:
            yield accumulator
            accumulator = np.zeros_like(accumulator)


FAMILY = Family(
    "unary",
    UnaryWord(),
    sums,
    coding="unary_family.coding:CODING",
    datapath="unary_family.datapath:DATAPATH",
    price=Path(__file__).with_name("price.toml"),
    spec="unary_family.spec:SPEC",
)
