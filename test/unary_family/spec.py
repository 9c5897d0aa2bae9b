# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The specification of the unary family: a word does A += x or A -= x."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, override

from daqkf.formal.bits import Bits, ite
from daqkf.formal.spec import Rows, Spec, State, Word
from daqkf.hw_targets.config import ArrayConfig


class UnarySpec(Spec):
    """Its only state is A, the sum of the output so far."""

    probes: ClassVar = {"A": [{"last": 1}]}
    control: ClassVar = ("negative", "last")

    @override
    def state(self, seen: Mapping[str, Sequence[Bits]]) -> State:
        (total,) = seen["A"]
        return {"A": total}

    @override
    def step(self, state: State, word: Word, rows: Rows) -> State:
        ((x,),) = rows
        return {"A": state["A"] + ite(word["negative"], -x, x)}

    @override
    def sums(self, state: State) -> Sequence[Bits]:
        return [state["A"]]

    @override
    def fits(self, config: ArrayConfig, state: State) -> Bits:
        return state["A"].fits(config.accumulator_width)


SPEC = UnarySpec()
