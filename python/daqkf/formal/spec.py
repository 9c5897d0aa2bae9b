# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a family's arithmetic has to be, as formulas over integers; `specs` has each family's.

A specification is all that a family adds. It knows nothing of the circuit: the state of an
element is what can be seen by feeding a last word into it, so stages, registers and number
representations are the circuit's own affair.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from daqkf.dialects.rpea import ArrayConfig
from daqkf.formal.bits import Bits, constant
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.families.descriptor import load

INTEGER_BITS = 48
"""Wide enough that no sum of a specification overflows: it computes with integers."""

type State = Mapping[str, Bits]
"""The quantities of an element between two words, integers."""

type Word = Mapping[str, Bits]
"""The fields of a word without its addresses and its `end`."""

type Options = Mapping[str, int | str | tuple[int, ...]]
"""Of an array (`ArrayConfig`)."""

type Rows = Sequence[Sequence[Bits]]
"""The activations that a word names, integers, by address and lane."""


class Spec(ABC):
    """The step of a family, and how to see its state."""

    probes: ClassVar[Mapping[str, Sequence[Mapping[str, int]]]]
    """Words without items that show the state in the sum that the last of them finishes.

    Fields that are missing are 0.
    """
    control: ClassVar[Sequence[str]]
    """Fields whose values are proved one by one, so that arithmetic alone is left."""
    lanes: ClassVar[int] = 1
    circuits: ClassVar[Sequence[Options]] = ({},)
    """Options of arrays whose circuits are proved."""
    planted: ClassVar[int] = 1
    """Bugs go into so many of them, the first ones."""

    not_planted: ClassVar[Sequence[str]] = ()
    """Kinds of bugs (`mutations.BUGS`) that may reach only words without a specification."""

    def of_array(self, config: ArrayConfig) -> "Spec":
        """The specification for an array, if it makes a difference."""
        return self

    @abstractmethod
    def state(self, seen: Mapping[str, Sequence[Bits]]) -> State:
        """The state from the sums of the probes by lane, modulo 2^`accumulator_width`."""

    @abstractmethod
    def step(self, state: State, word: Word, rows: Rows) -> State:
        """The state after a word, before a `last` clears it."""

    @abstractmethod
    def sums(self, state: State) -> Sequence[Bits]:
        """The sums by lane that a `last` finishes in this state."""

    @abstractmethod
    def fits(self, config: ArrayConfig, state: State) -> Bits:
        """Whether a state fits the widths that the compiler chose for the array."""

    def rows(self, config: ArrayConfig, word: Word) -> Mapping[str, Bits]:
        """Rows that are known of such words, as a compiler makes them."""
        return {}

    def valid(self, config: ArrayConfig, word: Word) -> Bits:
        """Whether a compiler makes such words."""
        return constant(1, 1)


def spec_of(family: str) -> Spec:
    """The specification of a family."""
    return load(FAMILIES[family].spec, Spec)
