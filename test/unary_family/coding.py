# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The coding of the unary family: a non-zero weight becomes as many words as its magnitude."""

from typing import override

import numpy as np

from daqkf.hw_targets.machine import Machine
from daqkf.passes.encode.coding import Coding, Ints, Levels, Stream


class UnaryCoding(Coding):
    """Makes streams; an output without weights is one word with a null item."""

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        return np.maximum(np.abs(levels.astype(np.int64)).sum(axis=0), 1)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        starts = np.append(0, np.cumsum(self.cost(levels, machine)))
        column, row = np.nonzero(levels.T)
        weight = levels[row, column].astype(np.int64)
        times = np.abs(weight)
        filled = np.ones(starts[-1], bool)
        filled[starts[:-1][~levels.any(axis=0)]] = False
        index, negative, last = np.full(starts[-1], -1), *np.zeros((2, starts[-1]), np.int64)
        index[filled] = np.repeat(row, times)
        negative[filled] = np.repeat(weight < 0, times)
        last[starts[1:] - 1] = 1
        return Stream({"index0": index, "negative": negative, "last": last}, starts)


CODING = UnaryCoding()
