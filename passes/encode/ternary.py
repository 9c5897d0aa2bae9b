# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Streams of sums and differences alone: levels -1, 0 and 1.

A running-sum stream takes its items with the other sign, since its last word subtracts, and its
register then has the sum itself, without the word for the step.
"""

from typing import override

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.machine import Machine
from daqkf.passes.encode import running_sum
from daqkf.passes.encode.coding import Coding, Ints, Levels, Stream


def cost(levels: NDArray[np.int8], items: int, index_bits: int = 0) -> NDArray[np.int64]:
    """[N] words of each channel of levels [K, N]: its non-zeros, some to a word; at least one."""
    return np.maximum(running_sum.cost(-levels, 0, items, index_bits) - 1, 1)


def stream(levels: NDArray[np.int8], items: int, index_bits: int = 0) -> Stream:
    """Lay out levels [K, N], channel after channel."""
    whole = running_sum.stream(-levels, 0, items, index_bits)
    lengths, ends = np.diff(whole.starts), whole.starts[1:] - 1
    empty = lengths == 1
    kept = np.ones(whole.starts[-1], bool)
    kept[ends[~empty]] = False
    fields = {
        name: values[kept] for name, values in whole.fields.items() if name not in ("step", "shift")
    }
    starts = np.append(0, np.cumsum(np.maximum(lengths - 1, 1)))
    fields["last"] = np.zeros(starts[-1], np.int64)
    fields["last"][starts[1:] - 1] = 1
    fields["keep"][starts[1:][empty] - 1] = 0
    return Stream(fields, starts, -whole.correction)


class TernaryCoding(Coding):
    """Items without steps."""

    @override
    def most(self, machine: Machine) -> int:
        return 1

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        return cost(levels, machine.items, machine.index_bits)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        return stream(levels, machine.items, machine.index_bits)


CODING = TernaryCoding()
