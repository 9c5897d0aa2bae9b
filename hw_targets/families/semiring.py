# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The semiring family: joins over a semiring that each word names.

`passes/encode/semiring.py` has the method.
"""

from collections.abc import Iterator
from typing import override

import numpy as np

from daqkf.hw_targets.families.descriptor import Family, Ints, StreamWord, Words
from daqkf.hw_targets.numerics import ACTIVATION_MIN
from daqkf.hw_targets.semirings import INFINITY, Semiring
from daqkf.hw_targets.shape import ElementShape

_CHUNK = 4096
"""Words whose items are gathered at once."""

SEMIRINGS: tuple[Semiring, ...] = tuple(Semiring)
"""By their code in a word."""


class SemiringWord(StreamWord):
    """Joins over a semiring, which each word names, in the adders of a running sum.

    For (+, ×) the items `±x[index]` join R; then, if `step`, A += R << shift. In a tropical
    semiring the maximum of the items, less the steps of the output so far, joins A, which the
    output ends as its complement in (min, +); an item of -128 is -∞. In (or, and) the items
    join A.
    """

    @override
    def fields(self, shape: ElementShape) -> dict[str, int]:
        fields = {"semiring": (len(SEMIRINGS) - 1).bit_length()}
        for item in range(shape.items):
            fields |= {f"index{item}": shape.address_width, f"negative{item}": 1}
        if shape.shift_width:
            fields["shift"] = shape.shift_width
        return fields | {"step": 1, "last": 1, "end": 1}


def sums(words: Words, memory: Ints, shape: ElementShape) -> Iterator[Ints]:
    """The golden model: A, or in (min, +) its complement, is the sum of an output."""
    nothing = np.zeros(memory.shape[1], np.int64)
    steps = words["step"] << words.get("shift", np.zeros_like(words["step"]))
    offset, fresh = 0, True
    running = accumulator = nothing
    for terms, code, step, last in zip(
        _items(words, memory), words["semiring"], steps, words["last"], strict=True
    ):
        semiring = SEMIRINGS[int(code)]
        if semiring is Semiring.PLUS_TIMES:
            running = running + terms.sum(axis=0)
            accumulator = accumulator + running * step
        elif semiring is Semiring.OR_AND:
            accumulator = accumulator | np.bitwise_or.reduce(terms, axis=0)
        else:
            joined = terms.max(axis=0)
            joined = np.where(joined == ACTIVATION_MIN, -INFINITY, joined) + offset
            accumulator = joined if fresh else np.maximum(accumulator, joined)
            offset -= int(step)
        fresh = False
        if last:
            yield ~accumulator if semiring is Semiring.MIN_PLUS else accumulator
            offset, fresh = 0, True
            running = accumulator = nothing


def _items(words: Words, memory: Ints) -> Iterator[Ints]:
    """The items [items, T] of each word: a negative one is the ones' complement of its row."""
    items = [name.removeprefix("index") for name in words if name.startswith("index")]
    for start in range(0, len(words["end"]), _CHUNK):
        part = slice(start, start + _CHUNK)
        terms = [
            memory[words[f"index{item}"][part]] ^ -words[f"negative{item}"][part, np.newaxis]
            for item in items
        ]
        yield from np.stack(terms, axis=1)


FAMILY = Family("semiring", SemiringWord(), sums, semirings=SEMIRINGS)
