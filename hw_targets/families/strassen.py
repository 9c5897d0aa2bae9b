# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The Strassen family: 2×2×2 blocks of seven multiplications.

`passes/encode/strassen.py` has the method.
"""

from collections.abc import Iterator, Mapping
from typing import override

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.families.descriptor import Family, Ints, StreamWord, Words
from daqkf.hw_targets.numerics import wrap
from daqkf.hw_targets.shape import ElementShape

_BLOCKS = 256
"""Words whose blocks are multiplied at once."""


OPERANDS: Mapping[str, int] = {f"m{i}": 8 if i in (2, 5) else 9 for i in range(1, 8)}
"""Bits of the products' weights, which are signed."""


class StrassenWord(StreamWord):
    """Seven multipliers for two lanes: 2×2 blocks of activations times 2×2 blocks of weights.

    `m1` … `m7` are the weights' side of the seven products. If `third0` or `third1`, a direct
    word multiplies a third row for that one of the pair's outputs. See RATIONALE.md.
    """

    signed = OPERANDS

    @override
    def require(self, shape: ElementShape) -> None:
        if shape.lanes % 2:
            raise ValueError(f"a strassen element pairs its lanes, and {shape.lanes} are odd")

    @override
    def fields(self, shape: ElementShape) -> dict[str, int]:
        indices = {f"index{row}": shape.address_width for row in range(3)}
        flags = dict.fromkeys(("third0", "third1", "both", "last", "end"), 1)
        return indices | dict(OPERANDS) | flags

    @override
    def completed(self, words: Words) -> int:
        return int(words["last"].sum() + words["both"].sum())


def sums(words: Words, memory: Ints, shape: ElementShape) -> Iterator[Ints]:
    """The golden model: the sums of a pair of outputs, or of a single one."""
    tokens = memory.shape[1]
    memory = np.pad(memory, ((0, 0), (0, tokens % 2))).reshape(len(memory), -1, 2)
    totals = np.zeros((2, *memory.shape[1:]), np.int64)
    begin = 0
    for end in np.flatnonzero(words["last"]) + 1:
        for start in range(begin, end, _BLOCKS):
            part = slice(start, min(start + _BLOCKS, end))
            totals += _blocks({name: words[name][part] for name in words}, memory)
        for total in totals[: 1 + words["both"][end - 1]]:
            yield total.reshape(-1)[:tokens]
        totals, begin = np.zeros_like(totals), end


def _blocks(words: Words, memory: Ints) -> Ints:
    """What words add to the two outputs [2, T/2, 2]; `memory` is [depth, T/2, 2]."""
    rows: list[Ints] = [np.moveaxis(memory[words[f"index{row}"]], 2, 0) for row in range(3)]
    (a11, a21), (a12, a22), (d1, d2) = rows
    third0, third1 = (words[f"third{output}"][:, np.newaxis] == 1 for output in range(2))
    sides: tuple[Ints, ...] = (
        _either(third1, d2, _either(third0, d1, a11 + a22)),
        _either(third0, d2, a21 + a22),
        a11,
        a22,
        _either(third1, d1, a11 + a12),
        a21 - a11,
        a12 - a22,
    )
    weights = [wrap(words[name], bits)[:, np.newaxis] for name, bits in OPERANDS.items()]
    products: list[Ints] = [side * weight for side, weight in zip(sides, weights, strict=True)]
    m1, m2, m3, m4, m5, m6, m7 = products
    c11: Ints = np.where(third1, 0, m1 - m5) + m4 + m7
    c22: Ints = np.where(third0, 0, m1 - m2) + m3 + m6
    terms: Ints = np.array([[c11, m2 + m4], [m3 + m5, c22]])
    return np.moveaxis(terms.sum(axis=2), 1, 2)


def _either(flags: NDArray[np.bool], chosen: Ints, other: Ints) -> Ints:
    return np.where(flags, chosen, other)


FAMILY = Family("strassen", StrassenWord(), sums)
