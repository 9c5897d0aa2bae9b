# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The specification of the ternary family: it adds and subtracts only."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, override

from daqkf.formal.bits import Bits
from daqkf.formal.spec import Rows, State, Word
from daqkf.formal.specs.running_sum import RunningSumSpec
from daqkf.hw_targets.config import ArrayConfig


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
        return {"Q": self.joined(state, word, rows)}

    @override
    def sums(self, state: State) -> Sequence[Bits]:
        return [state["Q"]]

    @override
    def fits(self, config: ArrayConfig, state: State) -> Bits:
        return state["Q"].fits(config.accumulator_width)


SPEC = TernarySpec()
