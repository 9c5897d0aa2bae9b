# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The running-sum family: adders in place of a multiplier.

`passes/encode/running_sum.py` has the method.
"""

from collections.abc import Iterator
from typing import override

import numpy as np

from daqkf.hw_targets.families.descriptor import Family, Ints, StreamWord, Words
from daqkf.hw_targets.index_coding import Windows
from daqkf.hw_targets.shape import ElementShape

_CHUNK = 4096
"""Words whose items are gathered at once."""


class RunningSumWord(StreamWord):
    """Two adders a lane: steps add a running sum to the accumulator, items join it.

    If `step`, A -= Q << shift. Then Q becomes d - Q, or d + Q + 1 if `keep`: d is the sum of
    the items with an even number, less those with an odd one, which a set `complement` turns
    into their ones' complements. So Q is the running sum but for its sign and a constant. A
    word with `last` completes the output instead. See RATIONALE.md.

    Where the array has `shared_words`, a step is of ~(Q << shift) if the word says `negate`, so
    that R may have either sign then. A word with `last` takes a step in any case, and its items
    are the first ones of the next output: Q becomes d, whatever it was.

    Elements with operand memories also have Q `double`d first, and words that are `gated`
    (`operands`).
    """

    indices = Windows()

    @override
    def require(self, shape: ElementShape) -> None:
        if shape.index_bits and shape.items == 1:
            raise ValueError("words of one item have nothing to share; they have no index_bits")

    @override
    def fields(self, shape: ElementShape) -> dict[str, int]:
        fields: dict[str, int] = {}
        for item in range(shape.items):
            fields[f"index{item}"] = shape.address_width
            if item % 2:
                fields[f"complement{item}"] = 1
        fields["keep"] = 1
        if shape.shared_words:
            fields["negate"] = 1
        if shape.shift_width:
            fields["shift"] = shape.shift_width
        if shape.operand_depth:
            fields |= {"gated": 1, "double": 1}
        return fields | {"step": 1, "last": 1, "end": 1}


def sums(words: Words, memory: Ints, shape: ElementShape) -> Iterator[Ints]:
    """The golden model: A is the sum of an output."""
    running = accumulator = np.zeros(memory.shape[1], np.int64)
    nothing = np.zeros_like(words["step"])
    steps = words["step"] | words["last"] if shape.shared_words else words["step"]
    for terms, keep, double, negate, shift, step, last in zip(
        joining(words, memory),
        words["keep"],
        words.get("double", nothing),
        words.get("negate", nothing),
        words.get("shift", nothing),
        steps,
        words["last"],
        strict=True,
    ):
        if step:
            accumulator = accumulator - ((running << shift) ^ -negate)
        running = terms - ((running << double) ^ -keep)
        if last:
            yield accumulator
            accumulator = np.zeros(memory.shape[1], np.int64)
            running = terms if shape.shared_words else accumulator


def joining(words: Words, memory: Ints) -> Iterator[Ints]:
    """The sum d of each word's items [T]."""
    items = sum(name.startswith("index") for name in words)
    for start in range(0, len(words["end"]), _CHUNK):
        part = slice(start, start + _CHUNK)
        terms = np.zeros((len(words["end"][part]), memory.shape[1]), np.int64)
        for item in range(items):
            row = memory[words[f"index{item}"][part]]
            if item % 2:
                terms -= row ^ -words[f"complement{item}"][part, np.newaxis]
            else:
                terms += row
        yield from terms


FAMILY = Family("running_sum", RunningSumWord(), sums, fans_out=True)
