# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The specification of the multiply family: each lane multiplies by the non-zero weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, override

import numpy as np

from daqkf.formal.bits import Bits, constant
from daqkf.formal.spec import Rows, Spec, State, Word
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.multiplication import DENSE_BITS, weigh


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
        return constant(1, 1)  # A modular sum cannot overflow.

    @override
    def rows(self, config: ArrayConfig, word: Word) -> Mapping[str, Bits]:
        wide = "narrow" in word and not word["narrow"].value and self.multiplier == "dsp"
        return {"row0": constant(0, config.row_bits)} if wide else {}


SPEC = MultiplySpec()
