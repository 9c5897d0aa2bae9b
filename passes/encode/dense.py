# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Streams of elements that multiply by all weights, zero or not."""

from typing import override

import numpy as np

from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.multiplication import DENSE_BITS
from daqkf.passes.encode.coding import Coding, Ints, Levels, Stream
from daqkf.passes.encode.multiply import corrected


def stream(levels: Levels, multiplier: str) -> Stream:
    """All weights of levels [K, N], channel after channel."""
    features, channels = levels.shape
    fields = {"weight0": levels.T.reshape(-1).astype(np.int64)}
    starts = np.arange(int(channels) + 1) * features
    return corrected(fields, starts, (DENSE_BITS,), multiplier)


class DenseCoding(Coding):
    """All weights, zero or not."""

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        features, channels = levels.shape
        return np.full(channels, features, np.int64)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        return stream(levels, machine.multiplier)


CODING = DenseCoding()
