# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The ordered-sum family: a running sum whose items may have any sign in any place of a word.

So the items of a level can stand in the order of their rows, where the distance from one to the
next takes few bits. `passes/encode/ordered_sum.py` has the method.
"""

from collections.abc import Iterator
from typing import override

import numpy as np

from daqkf.hw_targets.families.descriptor import Family, Ints, StreamWord, Words
from daqkf.hw_targets.index_coding import RunDistances
from daqkf.hw_targets.shape import ElementShape

_CHUNK = 4096
"""Words whose items are gathered at once."""


class OrderedSumWord(StreamWord):
    """Two adders a lane: steps add the running sum to the accumulator, items join it.

    If `step`, A += R << shift. Then R += Σ ±x over the items, of which those with `negative` are
    subtracted. A word with `last` completes the output A, and R and A begin at 0 again.
    """

    indices = RunDistances()

    @override
    def require(self, shape: ElementShape) -> None:
        if shape.operand_depth:
            raise ValueError("ordered_sum words cannot be gated, as operand memories need")

    @override
    def fields(self, shape: ElementShape) -> dict[str, int]:
        fields: dict[str, int] = {}
        for item in range(shape.items):
            fields |= {f"index{item}": shape.address_width, f"negative{item}": 1}
        if shape.shift_width:
            fields["shift"] = shape.shift_width
        return fields | {"step": 1, "last": 1, "end": 1}


def sums(words: Words, memory: Ints, shape: ElementShape) -> Iterator[Ints]:
    """The golden model: A is the sum of an output."""
    nothing = np.zeros_like(words["step"])
    running = accumulator = np.zeros(memory.shape[1], np.int64)
    for terms, shift, step, last in zip(
        _joining(words, memory),
        words.get("shift", nothing),
        words["step"],
        words["last"],
        strict=True,
    ):
        if step:
            accumulator = accumulator + (running << shift)
        running = running + terms
        if last:
            yield accumulator
            running = accumulator = np.zeros(memory.shape[1], np.int64)


def _joining(words: Words, memory: Ints) -> Iterator[Ints]:
    """The sum of each word's items [T]."""
    items = sum(name.startswith("index") for name in words)
    for start in range(0, len(words["end"]), _CHUNK):
        part = slice(start, start + _CHUNK)
        terms = np.zeros((len(words["end"][part]), memory.shape[1]), np.int64)
        for item in range(items):
            sign = 1 - 2 * words[f"negative{item}"][part, np.newaxis]
            terms += sign * memory[words[f"index{item}"][part]]
        yield from terms


FAMILY = Family("ordered_sum", OrderedSumWord(), sums)
