# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How a family of processing elements lays out weights: the interface that each of them has."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets import numerics
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.families.descriptor import load
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.semirings import Semiring

Levels = NDArray[np.int8]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """Words of all output channels, one after another. Arrays are [words], int64.

    An item without a place has index -1.
    """

    fields: Mapping[str, NDArray[np.int64]]
    """By their names in the word, without `end`."""
    starts: NDArray[np.int64]
    """[N + 1] the first word of each channel, and the end."""
    correction: NDArray[np.int64] | int = 0
    """[N] what has to be added to the sums that a PE makes of these words."""

    def cut(self, channels: Sequence[int]) -> "list[Stream]":
        """The streams of so many channels each, one after another."""
        ends = np.cumsum([0, *channels])
        correction = np.broadcast_to(self.correction, len(self.starts) - 1)
        return [
            Stream(
                {name: words[slice(*self.starts[[a, b]])] for name, words in self.fields.items()},
                self.starts[a : b + 1] - self.starts[a],
                correction[a:b],
            )
            for a, b in pairwise(ends.tolist())
        ]


class Coding(ABC):
    """The compiler's side of a family."""

    group: ClassVar[int] = 1
    """Consecutive channels that an element completes together; the last group may have fewer."""

    def over(self, semiring: Semiring) -> "Coding":
        """The coding of products over a semiring of the family's `semirings`."""
        return self

    def most(self, machine: Machine) -> int:
        """The largest magnitude that the family holds."""
        return numerics.LEVEL_MAX

    def jobs(self, levels: Levels) -> Ints:
        """[jobs, group] the channels of levels [K, N] that an element completes together.

        Only the last job may lack channels, which are -1.
        """
        return np.arange(int(levels.shape[1]))[:, np.newaxis]

    @abstractmethod
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        """Words, which are cycles of a PE, of each group of the channels of levels [K, N]."""

    def closing(self, machine: Machine) -> int:
        """Words at the end of a PE's stream that are of none of its groups."""
        return 0

    @abstractmethod
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        """The words of levels [K, N], group after group; N > 0."""

    def streams(
        self, levels: Levels, shares: Sequence[NDArray[np.integer]], machine: Machine
    ) -> list[Stream]:
        """The words of several elements, each of a share of the columns of levels [K, N]."""
        return [self.stream(levels[:, share], machine) for share in shares]


def coding_of(family: str) -> Coding:
    """The coding of a family."""
    return load(FAMILIES[family].coding, Coding)


def codings(machine: Machine, semiring: Semiring) -> Mapping[str, Coding]:
    """The codings of a product over a semiring, by those families of a machine that can run it.

    Raises:
        ValueError: none can.
    """
    members = machine.members()
    able = [name for name in members if semiring in FAMILIES[name].semirings]
    if not able:
        known = [name for name, family in FAMILIES.items() if semiring in family.semirings]
        raise ValueError(
            f"a product over {semiring} needs elements of the family {' or '.join(known)}; there "
            f"are those of {', '.join(members)}"
        )
    return {name: coding_of(name).over(semiring) for name in able}
