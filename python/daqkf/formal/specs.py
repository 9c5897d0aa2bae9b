# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The arithmetic that each family has to do, as formulas over integers.

A specification is all that a new family has to add here. It says nothing about the circuit. It sees
the state of an element only by sending a last word and reading the sum, so that it does not depend
on pipeline stages, registers or representations of numbers.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, override

import numpy as np

from daqkf.dialects.rpea import ArrayConfig
from daqkf.dialects.spaq import Semiring
from daqkf.formal.bits import Bits, all_of, constant, ite
from daqkf.hw_targets.families import SEMIRINGS
from daqkf.hw_targets.multiplication import DENSE_BITS, weigh

_PLUS_TIMES = SEMIRINGS.index(Semiring.PLUS_TIMES)

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
        """The state after a word, before the word's `last` clears it."""

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


class RunningSumSpec(Spec):
    """A word with a step does A -= Q · 2^shift. Then Q = d - Q, or d + Q + 1 if it has `keep`.

    Q is the circuit's form of the running sum. d is the sum of the even items less the odd ones; an
    item may enter as -x - 1 instead of x.
    """

    control: ClassVar = ("shift", "keep", "step", "last")
    circuits: ClassVar = ({}, {"items": 1}, {"items": 4}, {"max_shift": 0}, {"index_bits": 5})
    probes: ClassVar = {"A": [{"last": 1}], "A - Q": [{"step": 1, "last": 1}]}

    @override
    def state(self, seen: Mapping[str, Sequence[Bits]]) -> State:
        (before,), (after,) = seen["A"], seen["A - Q"]
        return {"A": before, "Q": before - after}

    @override
    def step(self, state: State, word: Word, rows: Rows) -> State:
        running = self._joined(state, word, rows)
        shift = word.get("shift", constant(0, 1)).zext(INTEGER_BITS)
        term = ite(word["step"], state["Q"] << shift, constant(0, INTEGER_BITS))
        return {"A": state["A"] - term, "Q": running}

    def _joined(self, state: State, word: Word, rows: Rows) -> Bits:
        running = ite(word["keep"], state["Q"] + 1, -state["Q"])
        for item, (x,) in enumerate(rows):
            odd = item % 2
            running += -ite(word[f"complement{item}"], -x - 1, x) if odd else x
        return running

    @override
    def sums(self, state: State) -> Sequence[Bits]:
        return [state["A"]]

    @override
    def fits(self, config: ArrayConfig, state: State) -> Bits:
        return all_of(
            [
                state["A"].fits(config.accumulator_width),
                state["Q"].fits(config.running_sum_width),
            ]
        )

    @override
    def valid(self, config: ArrayConfig, word: Word) -> Bits:
        if "shift" not in word:
            return constant(1, 1)
        return ~constant(config.max_shift, word["shift"].width).ult(word["shift"])


class TernarySpec(RunningSumSpec):
    """Q becomes d - Q or d + Q + 1, and the sum is the Q after the last word."""

    control: ClassVar = ("keep", "last")
    circuits: ClassVar = ({}, {"items": 1}, {"items": 4})
    probes: ClassVar = {"-Q": [{"last": 1}]}

    @override
    def state(self, seen: Mapping[str, Sequence[Bits]]) -> State:
        (negated,) = seen["-Q"]
        return {"Q": -negated}

    @override
    def step(self, state: State, word: Word, rows: Rows) -> State:
        return {"Q": self._joined(state, word, rows)}

    @override
    def sums(self, state: State) -> Sequence[Bits]:
        return [state["Q"]]

    @override
    def fits(self, config: ArrayConfig, state: State) -> Bits:
        return state["Q"].fits(config.accumulator_width)


class SemiringSpec(RunningSumSpec):
    """The sums over (+, ×); the other semirings have no dot product to prove.

    A word does Q += Σ ±x, where -x enters as -x - 1. Then a step does A += Q · 2^shift. The last
    word of an output always has a step. The proof does not see the multiplexers that choose a
    maximum, which come before the others in the circuit.
    """

    not_planted: ClassVar = (
        "the arms of a multiplexer swapped",
        "adds instead of subtracting",
    )

    control: ClassVar = ("semiring", "shift", "step", "last")
    circuits: ClassVar = ({}, {"items": 1})
    probes: ClassVar = {
        "A + Q": [{"semiring": _PLUS_TIMES, "step": 1, "last": 1}],
        "A + 2Q": [
            {"semiring": _PLUS_TIMES, "step": 1},
            {"semiring": _PLUS_TIMES, "step": 1, "last": 1},
        ],
    }

    @override
    def state(self, seen: Mapping[str, Sequence[Bits]]) -> State:
        (once,), (twice,) = seen["A + Q"], seen["A + 2Q"]
        running = twice - once
        return {"A": once - running, "Q": running}

    @override
    def step(self, state: State, word: Word, rows: Rows) -> State:
        running = state["Q"]
        for item, (x,) in enumerate(rows):
            running += ite(word[f"negative{item}"], -x - 1, x)
        shift = word.get("shift", constant(0, 1)).zext(INTEGER_BITS)
        term = ite(word["step"], running << shift, constant(0, INTEGER_BITS))
        return {"A": state["A"] + term, "Q": running}

    @override
    def valid(self, config: ArrayConfig, word: Word) -> Bits:
        stepped = (~word["last"] | word["step"]) & word["semiring"].eq(_PLUS_TIMES)
        return stepped & super().valid(config, word)


class StrassenSpec(Spec):
    """The sums of two outputs for two tokens: each word adds a block C += X·W by seven products.

    The specification takes the weights of the products as they are. `dot product` proves that the
    compiler chooses them rightly.
    """

    probes: ClassVar = {"C": [{"last": 1, "both": 1}]}
    control: ClassVar = ("third0", "third1", "both", "last")
    lanes: ClassVar = 2

    @override
    def state(self, seen: Mapping[str, Sequence[Bits]]) -> State:
        return dict(zip(("C11", "C21", "C12", "C22"), seen["C"], strict=True))

    @override
    def step(self, state: State, word: Word, rows: Rows) -> State:
        (a11, a21), (a12, a22), (d1, d2) = rows
        w1, w2, w3, w4, w5, w6, w7 = (word[f"m{i}"].sext(INTEGER_BITS) for i in range(1, 8))
        zero = constant(0, INTEGER_BITS)
        third0, third1 = word["third0"], word["third1"]
        m1 = ite(third1, d2, ite(third0, d1, a11 + a22)) * w1
        m2 = ite(third0, d2, a21 + a22) * w2
        m3, m4 = a11 * w3, a22 * w4
        m5 = ite(third1, d1, a11 + a12) * w5
        m6, m7 = (a21 - a11) * w6, (a12 - a22) * w7
        return {
            "C11": state["C11"] + ite(third1, zero, m1 - m5) + m4 + m7,
            "C12": state["C12"] + m3 + m5,
            "C21": state["C21"] + m2 + m4,
            "C22": state["C22"] + ite(third0, zero, m1 - m2) + m3 + m6,
        }

    @override
    def sums(self, state: State) -> Sequence[Bits]:
        return [state[name] for name in ("C11", "C21", "C12", "C22")]

    @override
    def fits(self, config: ArrayConfig, state: State) -> Bits:
        return all_of([total.fits(config.accumulator_width) for total in state.values()])

    @override
    def valid(self, config: ArrayConfig, word: Word) -> Bits:
        return ~(word["third0"] & word["third1"])


@dataclass(frozen=True)
class MultiplySpec(Spec):
    """A += Σ x·w plus a surplus of each weight, by lane, modulo 2^`accumulator_width`.

    The bias cancels the surpluses, which `dot product` proves.
    """

    bits: tuple[int, ...] = (DENSE_BITS,)
    """The widths of weights in bits (`Machine.weight_bits`)."""
    multiplier: str = "booth"

    control: ClassVar = ("narrow", "weight0", "weight1", "last")
    probes: ClassVar = {"A": [{"last": 1}]}
    circuits: ClassVar = (
        {},
        {"weight_bits": (4, 8)},
        {"multiplier": "dsp", "weight_bits": (4, 8)},
        {"weight_bits": (4,)},
        {"multiplier": "dsp"},
        {"multiplier": "dsp", "weight_bits": (4,)},
        {"multiplier": "packed", "lanes": 2},
        {"index_bits": 4},
        {"index_bits": 3, "weight_bits": (4,)},
    )
    planted: ClassVar = 3

    @override
    def of_array(self, config: ArrayConfig) -> Spec:
        return replace(self, bits=config.weight_bits, multiplier=config.multiplier)

    @override
    def state(self, seen: Mapping[str, Sequence[Bits]]) -> State:
        _, null = self._weigh(dict.fromkeys(self.control, 0))
        return {f"A{lane}": total - null for lane, total in enumerate(seen["A"])}

    @override
    def step(self, state: State, word: Word, rows: Rows) -> State:
        sums = dict(state)
        factors, surplus = self._weigh(
            {name: word[name].value for name in self.control if name in word}
        )
        for lane in range(len(sums)):
            sums[f"A{lane}"] += surplus
            for factor, activations in zip(factors, rows, strict=True):
                sums[f"A{lane}"] += activations[lane] * factor
        return sums

    def _weigh(self, word: Mapping[str, int]) -> tuple[list[int], int]:
        fields = {name: np.array(value) for name, value in word.items()}
        factors, surplus = weigh(fields, self.bits, self.multiplier)
        return [int(factor) for factor in factors], int(surplus)

    @override
    def sums(self, state: State) -> Sequence[Bits]:
        return list(state.values())

    @override
    def fits(self, config: ArrayConfig, state: State) -> Bits:
        return constant(1, 1)  # The sum is modular, so it cannot overflow.

    @override
    def rows(self, config: ArrayConfig, word: Word) -> Mapping[str, Bits]:
        wide = "narrow" in word and not word["narrow"].value and self.multiplier == "dsp"
        return {"row0": constant(0, config.row_bits)} if wide else {}


class DenseSpec(MultiplySpec):
    """The same as `MultiplySpec` with one 8-bit weight a word; counters supply all other fields."""

    circuits: ClassVar = ({}, {"multiplier": "dsp"}, {"multiplier": "packed", "lanes": 2})
    planted: ClassVar = 1

    @override
    def of_array(self, config: ArrayConfig) -> Spec:
        return replace(self, multiplier=config.multiplier)


SPECS: Mapping[str, Spec] = {
    "running_sum": RunningSumSpec(),
    "ternary": TernarySpec(),
    "semiring": SemiringSpec(),
    "strassen": StrassenSpec(),
    "multiply": MultiplySpec(),
    "dense": DenseSpec(),
}

UNPROVED: Mapping[str, str] = {}
"""The families that have no specification yet, each with the reason."""
