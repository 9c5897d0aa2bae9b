# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The specification of the running sum family: adders in place of a multiplier."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, override

from daqkf.formal.bits import Bits, all_of, constant, ite
from daqkf.formal.spec import INTEGER_BITS, Rows, Spec, State, Word
from daqkf.hw_targets.config import ArrayConfig


class RunningSumSpec(Spec):
    """A word with a step does A -= Q · 2^shift. Then Q = d - Q, or d + Q + 1 if it has `keep`.

    Q is the circuit's form of the running sum. d is the sum of the even items less the odd ones; an
    item may enter as -x - 1 instead of x.
    """

    control: ClassVar = ("shift", "keep", "step", "last")
    circuits: ClassVar = (
        {},
        {"items": 1},
        {"items": 4},
        {"max_shift": 0},
        {"index_bits": 5},
        {"shared_words": True, "max_shift": 1},
        {"shared_words": True, "items": 4, "max_shift": 0},
    )
    probes: ClassVar = {"A": [{"last": 1}], "A - Q": [{"step": 1, "last": 1}]}

    @override
    def of_array(self, config: ArrayConfig) -> Spec:
        return SharedWordsSpec(config.running_sum_width) if config.shared_words else self

    @override
    def state(self, seen: Mapping[str, Sequence[Bits]]) -> State:
        (before,), (after,) = seen["A"], seen["A - Q"]
        return {"A": before, "Q": before - after}

    @override
    def step(self, state: State, word: Word, rows: Rows) -> State:
        running = self.joined(state, word, rows)
        shift = word.get("shift", constant(0, 1)).zext(INTEGER_BITS)
        term = ite(word["step"], state["Q"] << shift, constant(0, INTEGER_BITS))
        return {"A": state["A"] - term, "Q": running}

    def joined(self, state: State, word: Word, rows: Rows) -> Bits:
        """The value of Q after a word."""
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


class SharedWordsSpec(RunningSumSpec):
    """The same with `shared_words`: a step, which a last word takes in any case, may be of ~(Q · 2^
    shift), and the items of a last word are the first ones of the next output.
    """

    control: ClassVar = ("shift", "keep", "negate", "step", "last")
    probes: ClassVar = {
        "A - Q": [{"last": 1}],
        # A word without items takes a step, and makes -Q of Q.
        "A - Q + Q": [{"step": 1}, {"last": 1}],
    }

    def __init__(self, width: int):
        self.width = width
        """Bits of Q, in which the least number is its own opposite."""

    @override
    def of_array(self, config: ArrayConfig) -> Spec:
        return self

    @override
    def state(self, seen: Mapping[str, Sequence[Bits]]) -> State:
        (once,), (both,) = seen["A - Q"], seen["A - Q + Q"]
        running = (both - once)[: self.width].sext(once.width)
        return {"A": once + running, "Q": running}

    @override
    def step(self, state: State, word: Word, rows: Rows) -> State:
        shift = word.get("shift", constant(0, 1)).zext(INTEGER_BITS)
        shifted = state["Q"] << shift
        term = ite(word["negate"], -shifted - 1, shifted)
        term = ite(word["step"] | word["last"], term, constant(0, INTEGER_BITS))
        return {"A": state["A"] - term, "Q": self.joined(state, word, rows)}

    @override
    def begun(self, state: State, word: Word, rows: Rows) -> State:
        nothing = {"Q": constant(0, INTEGER_BITS)}
        own = self.joined(nothing, dict(word) | {"keep": constant(0, 1)}, rows)
        return {"A": constant(0, INTEGER_BITS), "Q": own}


SPEC = RunningSumSpec()
