# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Cycles that an array takes, apart from latency: what schedules are compared by."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fan_out import late_results
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.streams import expected_rows, kernel_beats

SOLVING_CYCLES = 80
"""Cycles in which the row unit finds the mean and the deviation of a token, about."""

SHARING_CYCLES = 28
"""Cycles in which the row unit divides for the shares of a token, about."""

EMPTYING_CYCLES = 26
"""Cycles in which the last rows of the row unit become results, about."""


SHIFTING_CYCLES = 2
"""Cycles in which the post unit corrects sums and shifts them by the exponents of rows, if the
array has any."""


def tile_cycles(words: NDArray[np.int64], rows: int, machine: Machine) -> int:
    """Cycles of a tile of a kernel: those of the longest PE of words [P], or of the post unit.

    `rows` are those of its results (`results.result_rows`).
    """
    return max(int(words.max()), rows * machine.post_cycles)


@dataclass(frozen=True)
class Speed:
    """How fast an array runs over a tile of tokens, and what it waits for."""

    streams: int
    """Cycles of the programs whose longest stream takes longer than the post unit."""
    post: int
    """Cycles of the others, in which elements wait for the post unit."""
    lanes: int
    """Tokens of a tile."""
    memory: int = 0
    """Cycles of the programs whose streams take longest to come over the memory ports, with a beat
    a cycle."""

    @property
    def cycles(self) -> int:
        """Those of all programs, one after another."""
        return self.streams + self.post + self.memory


def speed(programs: Iterable[tuple[NDArray[np.int64], int]], config: ArrayConfig) -> Speed:
    """The speed of programs with these words of each PE [P] and so many rows of results."""
    streams = post = memory = 0
    for words, rows in programs:
        longest = int(words.max())
        cycles = tile_cycles(words, rows, config)
        beats = kernel_beats(config, expected_rows(config, longest)) if config.memory_bits else 0
        if beats > cycles:
            memory += beats
        elif longest >= cycles:
            streams += cycles
        else:
            post += cycles
    return Speed(streams, post, config.lanes, memory)


def solved_in_turn(machine: Machine) -> int:
    """Tokens that each solver of the row unit solves, one after another."""
    return machine.lanes // machine.row_solvers


def normalization_cycles(machine: Machine, features: int) -> int:
    """Cycles in which the row unit normalises a tile's results, once they are complete."""
    reading = features * machine.post_cycles + late_results(machine)
    return solved_in_turn(machine) * SOLVING_CYCLES + reading


def gating_cycles(machine: Machine, outputs: int, shares: bool = False) -> int:
    """Cycles in which the row unit makes so many products of a tile's results.

    It makes them twice where rows share exponents, which are found first.
    """
    return (2 * outputs * machine.post_cycles + _emptying(machine)) * (1 + shares)


def _emptying(machine: Machine) -> int:
    """Cycles in which the last rows of the row unit arrive and become results, about."""
    shifting = SHIFTING_CYCLES if machine.row_exponents else 0
    return EMPTYING_CYCLES + late_results(machine) + shifting


def softmax_cycles(machine: Machine, outputs: int, keys: int) -> int:
    """Cycles in which the row unit turns scores into their softmax, in groups of so many keys."""
    # The unit reads each group for its maximum, for its exponentials and for its shares.
    reading = 3 * keys * machine.post_cycles + 2 * _emptying(machine)
    return outputs // keys * (reading + solved_in_turn(machine) * SHARING_CYCLES)
