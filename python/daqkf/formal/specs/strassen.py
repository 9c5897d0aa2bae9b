# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The specification of the strassen family: seven multiplications make eight products."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, override

from daqkf.formal.bits import Bits, all_of, constant, ite
from daqkf.formal.spec import INTEGER_BITS, Rows, Spec, State, Word
from daqkf.hw_targets.config import ArrayConfig


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


SPEC = StrassenSpec()
