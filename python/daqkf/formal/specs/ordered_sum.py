# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The specification of the ordered sum family: a running sum of items that have any sign."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, override

from daqkf.formal.bits import Bits, constant, ite
from daqkf.formal.spec import INTEGER_BITS, Rows, State, Word
from daqkf.formal.specs.running_sum import RunningSumSpec


class OrderedSumSpec(RunningSumSpec):
    """A word with a step does A += R · 2^shift. Then R += Σ ±x, by the signs of the items."""

    # Signs on all paths of a tree take a solver minutes, if they are not known.
    control: ClassVar = ("shift", "step", "last", *(f"negative{item}" for item in range(8)))
    circuits: ClassVar = (
        {},
        {"items": 1},
        {"items": 4, "index_bits": 5},
        {"items": 8, "max_shift": 0},
    )
    probes: ClassVar = {"A": [{"last": 1}], "A + R": [{"step": 1, "last": 1}]}

    @override
    def state(self, seen: Mapping[str, Sequence[Bits]]) -> State:
        (before,), (after,) = seen["A"], seen["A + R"]
        return {"A": before, "Q": after - before}

    @override
    def step(self, state: State, word: Word, rows: Rows) -> State:
        shift = word.get("shift", constant(0, 1)).zext(INTEGER_BITS)
        term = ite(word["step"], state["Q"] << shift, constant(0, INTEGER_BITS))
        return {"A": state["A"] + term, "Q": self.joined(state, word, rows)}

    @override
    def joined(self, state: State, word: Word, rows: Rows) -> Bits:
        running = state["Q"]
        for item, (x,) in enumerate(rows):
            running += ite(word[f"negative{item}"], -x, x)
        return running


SPEC = OrderedSumSpec()
