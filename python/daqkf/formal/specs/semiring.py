# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The specification of the semiring family, for its sums over (+, ×)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, override

from daqkf.formal.bits import Bits, constant, ite
from daqkf.formal.spec import INTEGER_BITS, Rows, State, Word
from daqkf.formal.specs.running_sum import RunningSumSpec
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families.semiring import SEMIRINGS
from daqkf.hw_targets.semirings import Semiring

_PLUS_TIMES = SEMIRINGS.index(Semiring.PLUS_TIMES)


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


SPEC = SemiringSpec()
