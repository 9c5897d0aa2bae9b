# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a specification has: the arithmetic of a family, as formulas over integers.

`specs` has the specification of each family. It is all that a new family has to add for the proofs,
and it says nothing about the circuit. It sees the state of an element only by sending a last word
and reading the sum, so that it does not depend on pipeline stages, registers or representations
of numbers.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from daqkf.formal.bits import Bits, constant
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.families.descriptor import load

INTEGER_BITS = 48
"""The width in which specifications compute; none of their sums overflows it."""

type State = Mapping[str, Bits]
"""The quantities of an element between two words, as integers."""

type Word = Mapping[str, Bits]
"""The fields of a word without its addresses and its `end`."""

type Options = Mapping[str, int | str | tuple[int, ...]]
"""Options of an array (`ArrayConfig`)."""

type Rows = Sequence[Sequence[Bits]]
"""The activations that a word names, as integers, by address and lane."""


class Spec(ABC):
    """What a word does to the state of an element, and how to read that state."""

    probes: ClassVar[Mapping[str, Sequence[Mapping[str, int]]]]
    """For each quantity, words without items; the sum that the last of them finishes shows the
    quantity.

    Fields that are missing are 0.
    """
    control: ClassVar[Sequence[str]]
    """Fields whose values are proved one by one, so that each claim is about arithmetic only."""
    lanes: ClassVar[int] = 1
    circuits: ClassVar[Sequence[Options]] = ({},)
    """The options of the arrays whose circuits are proved."""
    planted: ClassVar[int] = 1
    """Bugs are planted into this many circuits, the first ones."""

    not_planted: ClassVar[Sequence[str]] = ()
    """Kinds of bugs (`mutations.BUGS`) that may change only words that the specification leaves
    open."""

    def of_array(self, config: ArrayConfig) -> "Spec":
        """The specification for one array; most families have the same for all."""
        return self

    @abstractmethod
    def state(self, seen: Mapping[str, Sequence[Bits]]) -> State:
        """The state, from the sums of the probes by lane, modulo 2^`accumulator_width`."""

    @abstractmethod
    def step(self, state: State, word: Word, rows: Rows) -> State:
        """The state after a word, apart from what the word's `last` does to it (`begun`)."""

    def begun(self, state: State, word: Word, rows: Rows) -> State:
        """The state in which a word with `last` leaves the element; most begin with zeros."""
        return dict.fromkeys(state, constant(0, INTEGER_BITS))

    @abstractmethod
    def sums(self, state: State) -> Sequence[Bits]:
        """The sums by lane that a word with `last` finishes in this state."""

    @abstractmethod
    def fits(self, config: ArrayConfig, state: State) -> Bits:
        """One bit, which is 1 if the state fits the widths that the compiler chose."""

    def rows(self, config: ArrayConfig, word: Word) -> Mapping[str, Bits]:
        """The rows whose values are known in every such word that the compiler makes."""
        return {}

    def valid(self, config: ArrayConfig, word: Word) -> Bits:
        """One bit, which is 1 if the compiler makes such words."""
        return constant(1, 1)


def spec_of(family: str) -> Spec:
    """The specification of a family."""
    return load(FAMILIES[family].spec, Spec)
