# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The families of processing elements: what a word of their streams says, and what it does.

A family is described once in each room, under the same name: its stream word and its golden
model here, how it lays out weights in `passes/encode/codings.py`, its circuit in
`lowering/rtl/families/`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, override

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets import multiplication
from daqkf.hw_targets.index_coding import Deltas, IndexForm, Windows
from daqkf.hw_targets.numerics import ACTIVATION_MIN, wrap
from daqkf.hw_targets.semirings import INFINITY, Semiring

if TYPE_CHECKING:
    from daqkf.hw_targets.layout import ArrayConfig

Words = Mapping[str, NDArray[np.int64]]
"""The fields [rows] of stream words, unpacked and unsigned."""

Ints = NDArray[np.int64]

_CHUNK = 4096
"""Words whose items are gathered at once."""

_BLOCKS = 256
"""Words whose blocks are multiplied at once."""


class Family(ABC):
    """One kind of processing element."""

    name: ClassVar[str]
    modular: ClassVar[bool] = False
    """Whether sums are right only modulo 2^accumulator_width, until the bias is added."""
    indices: ClassVar[IndexForm | None] = None
    """What words have in place of addresses, where the array has `index_bits`."""

    @abstractmethod
    def fields(self, config: "ArrayConfig") -> dict[str, int]:
        """The fields of a word with whole addresses and their bits, the lowest first.

        Unless the array's counters supply them (`supplied`), every word also has `last`, which
        ends an output, and `end`, which ends the stream.
        """

    def stored(self, config: "ArrayConfig") -> dict[str, int]:
        """The fields of a word as it is in the stream."""
        fields = self.fields(config)
        if config.index_bits and self.indices:
            return self.indices.fields(fields, config)
        return fields

    def encoded(self, words: Words, config: "ArrayConfig") -> Words:
        """Words with whole addresses, -1 for null items, as they are in the stream.

        Raises:
            ValueError: words that `index_bits` cannot tell.
        """
        if config.index_bits and self.indices:
            return self.indices.coded(words, config)
        null = {
            name: np.where(words[name] < 0, config.null_address, words[name])
            for name in self.addresses(config)
        }
        return dict(words) | null

    def played(self, words: Words, config: "ArrayConfig") -> Words:
        """Words as they are in the stream, with whole addresses."""
        if config.index_bits and self.indices:
            return self.indices.addressed(words, config)
        return words

    def supplied(self, words: int, features: int, outputs: int) -> Words:
        """The fields of a PE's `words` that are not in the stream but made by the array."""
        return {}

    def addresses(self, config: "ArrayConfig") -> tuple[str, ...]:
        """The fields that hold rows of the activation memory; null items have the last row."""
        return tuple(name for name in self.fields(config) if name.startswith("index"))

    def completed(self, words: Words) -> int:
        """How many outputs a stream completes."""
        return int(words["last"].sum())

    @abstractmethod
    def sums(self, words: Words, memory: Ints, config: "ArrayConfig") -> Iterator[Ints]:
        """The golden model: the sums [T] of the outputs that a stream completes, in order.

        `memory` is the activation memory [depth, T], features along the first axis.
        """


class RunningSum(Family):
    """Two adders a lane: steps add a running sum to the accumulator, items join it.

    If `step`, A -= Q << shift. Then Q becomes d - Q, or d + Q + 1 if `keep`: d is the sum of
    the items with an even number, less those with an odd one, which a set `complement` turns
    into their ones' complements. So Q is the running sum but for its sign and a constant. A
    word with `last` completes the output instead. See RATIONALE.md.

    Elements with operand memories also have Q `double`d first, and words that are `gated`
    (`operands`).
    """

    name = "running_sum"
    indices = Windows()

    @override
    def fields(self, config: "ArrayConfig") -> dict[str, int]:
        fields: dict[str, int] = {}
        for item in range(config.items):
            fields[f"index{item}"] = config.address_width
            if item % 2:
                fields[f"complement{item}"] = 1
        fields["keep"] = 1
        if config.shift_width:
            fields["shift"] = config.shift_width
        if config.operand_depth:
            fields |= {"gated": 1, "double": 1}
        return fields | {"step": 1, "last": 1, "end": 1}

    @override
    def sums(self, words: Words, memory: Ints, config: "ArrayConfig") -> Iterator[Ints]:
        running = accumulator = np.zeros(memory.shape[1], np.int64)
        nothing = np.zeros_like(words["step"])
        for terms, keep, double, shift, step, last in zip(
            _joining(words, memory),
            words["keep"],
            words.get("double", nothing),
            words.get("shift", nothing),
            words["step"],
            words["last"],
            strict=True,
        ):
            if step:
                accumulator = accumulator - (running << shift)
            running = terms - ((running << double) ^ -keep)
            if last:
                yield accumulator
                running = accumulator = np.zeros(memory.shape[1], np.int64)


class Ternary(RunningSum):
    """The running sum alone, for levels -1, 0 and 1: its sum is what a `last` word makes of Q."""

    name = "ternary"

    @override
    def fields(self, config: "ArrayConfig") -> dict[str, int]:
        fields = super().fields(config)
        return {name: bits for name, bits in fields.items() if name not in ("step", "shift")}

    @override
    def sums(self, words: Words, memory: Ints, config: "ArrayConfig") -> Iterator[Ints]:
        running = np.zeros(memory.shape[1], np.int64)
        for terms, keep, last in zip(
            _joining(words, memory), words["keep"], words["last"], strict=True
        ):
            running = terms - (running ^ -keep)
            if last:
                yield running
                running = np.zeros_like(running)


def _joining(words: Words, memory: Ints) -> Iterator[Ints]:
    """The sum d of each word's items [T]."""
    items = sum(name.startswith("index") for name in words)
    for start in range(0, len(words["end"]), _CHUNK):
        part = slice(start, start + _CHUNK)
        terms = np.zeros((len(words["end"][part]), memory.shape[1]), np.int64)
        for item in range(items):
            row = memory[words[f"index{item}"][part]]
            if item % 2:
                terms -= row ^ -words[f"complement{item}"][part, np.newaxis]
            else:
                terms += row
        yield from terms


SEMIRINGS = tuple(Semiring)
"""By their code in a word of the semiring family."""


class SemiringSum(Family):
    """Joins over a semiring, which each word names, in the adders of a running sum.

    For (+, ×) the items `±x[index]` join R; then, if `step`, A += R << shift. In a tropical
    semiring the maximum of the items, less the steps of the output so far, joins A, which the
    output ends as its complement in (min, +); an item of -128 is -∞. In (or, and) the items
    join A.
    """

    name = "semiring"

    @override
    def fields(self, config: "ArrayConfig") -> dict[str, int]:
        fields = {"semiring": (len(SEMIRINGS) - 1).bit_length()}
        for item in range(config.items):
            fields |= {f"index{item}": config.address_width, f"negative{item}": 1}
        if config.shift_width:
            fields["shift"] = config.shift_width
        return fields | {"step": 1, "last": 1, "end": 1}

    @override
    def sums(self, words: Words, memory: Ints, config: "ArrayConfig") -> Iterator[Ints]:
        nothing = np.zeros(memory.shape[1], np.int64)
        steps = words["step"] << words.get("shift", np.zeros_like(words["step"]))
        offset, fresh = 0, True
        running = accumulator = nothing
        for terms, code, step, last in zip(
            _items(words, memory), words["semiring"], steps, words["last"], strict=True
        ):
            semiring = SEMIRINGS[code]
            if semiring is Semiring.PLUS_TIMES:
                running = running + terms.sum(axis=0)
                accumulator = accumulator + running * step
            elif semiring is Semiring.OR_AND:
                accumulator = accumulator | np.bitwise_or.reduce(terms, axis=0)
            else:
                joined = terms.max(axis=0)
                joined = np.where(joined == ACTIVATION_MIN, -INFINITY, joined) + offset
                accumulator = joined if fresh else np.maximum(accumulator, joined)
                offset -= int(step)
            fresh = False
            if last:
                yield ~accumulator if semiring is Semiring.MIN_PLUS else accumulator
                offset, fresh = 0, True
                running = accumulator = nothing


def _items(words: Words, memory: Ints) -> Iterator[Ints]:
    """The items [items, T] of each word: a negative one is the ones' complement of its row."""
    items = [name.removeprefix("index") for name in words if name.startswith("index")]
    for start in range(0, len(words["end"]), _CHUNK):
        part = slice(start, start + _CHUNK)
        terms = [
            memory[words[f"index{item}"][part]] ^ -words[f"negative{item}"][part, np.newaxis]
            for item in items
        ]
        yield from np.stack(terms, axis=1)


class Strassen(Family):
    """Seven multipliers for two lanes: 2×2 blocks of activations times 2×2 blocks of weights.

    `m1` … `m7` are the weights' side of the seven products. If `third0` or `third1`, a direct
    word multiplies a third row for that one of the pair's outputs. See RATIONALE.md.
    """

    name = "strassen"
    operands: ClassVar[Mapping[str, int]] = {f"m{i}": 8 if i in (2, 5) else 9 for i in range(1, 8)}
    """Bits of the products' weights."""

    @override
    def fields(self, config: "ArrayConfig") -> dict[str, int]:
        indices = {f"index{row}": config.address_width for row in range(3)}
        flags = dict.fromkeys(("third0", "third1", "both", "last", "end"), 1)
        return indices | dict(self.operands) | flags

    @override
    def completed(self, words: Words) -> int:
        return int(words["last"].sum() + words["both"].sum())

    @override
    def sums(self, words: Words, memory: Ints, config: "ArrayConfig") -> Iterator[Ints]:
        tokens = memory.shape[1]
        memory = np.pad(memory, ((0, 0), (0, tokens % 2))).reshape(len(memory), -1, 2)
        totals = np.zeros((2, *memory.shape[1:]), np.int64)
        begin = 0
        for end in np.flatnonzero(words["last"]) + 1:
            for start in range(begin, end, _BLOCKS):
                part = slice(start, min(start + _BLOCKS, end))
                totals += self._blocks({name: words[name][part] for name in words}, memory)
            for total in totals[: 1 + words["both"][end - 1]]:
                yield total.reshape(-1)[:tokens]
            totals, begin = np.zeros_like(totals), end

    def _blocks(self, words: Words, memory: Ints) -> Ints:
        """What words add to the two outputs [2, T/2, 2]; `memory` is [depth, T/2, 2]."""
        rows = [np.moveaxis(memory[words[f"index{row}"]], 2, 0) for row in range(3)]
        (a11, a21), (a12, a22), (d1, d2) = rows
        third0, third1 = (words[f"third{output}"][:, np.newaxis] == 1 for output in range(2))
        sides = (
            np.where(third1, d2, np.where(third0, d1, a11 + a22)),
            np.where(third0, d2, a21 + a22),
            a11,
            a22,
            np.where(third1, d1, a11 + a12),
            a21 - a11,
            a12 - a22,
        )
        weights = [wrap(words[name], bits)[:, np.newaxis] for name, bits in self.operands.items()]
        m1, m2, m3, m4, m5, m6, m7 = (
            side * weight for side, weight in zip(sides, weights, strict=True)
        )
        c11 = np.where(third1, 0, m1 - m5) + m4 + m7
        c22 = np.where(third0, 0, m1 - m2) + m3 + m6
        terms = np.array([[c11, m2 + m4], [m3 + m5, c22]])
        return np.moveaxis(terms.sum(axis=2), 1, 2)


class Multiply(Family):
    """A multiplier a lane: A += Σ x[index]·weight, one item of 8 bits or two of 4.

    Of a machine with both, a word is `narrow` and has two items, or its weights are the halves
    of one, and its indices are as `multiplication` says.
    """

    name = "multiply"
    modular = True
    indices = Deltas()

    @override
    def fields(self, config: "ArrayConfig") -> dict[str, int]:
        fields: dict[str, int] = {}
        bits = min(config.weight_bits)
        for item in range(multiplication.items(config.weight_bits)):
            fields |= {f"index{item}": config.address_width, f"weight{item}": bits}
        modes = {"narrow": 1} if len(config.weight_bits) > 1 else {}
        return fields | modes | {"last": 1, "end": 1}

    def weight_bits(self, config: "ArrayConfig") -> tuple[int, ...]:
        """Widths that a weight can have."""
        return config.weight_bits

    @override
    def sums(self, words: Words, memory: Ints, config: "ArrayConfig") -> Iterator[Ints]:
        bits = self.weight_bits(config)
        factors, surplus = multiplication.weigh(words, bits, config.multiplier)
        start = 0
        for stop in np.flatnonzero(words["last"]) + 1:
            part = slice(start, stop)
            totals = [
                factor[part] @ memory[words[f"index{item}"][part]]
                for item, factor in enumerate(factors)
            ]
            yield np.sum(totals, axis=0) + surplus[part].sum()
            start = stop


class Dense(Multiply):
    """The same with every weight in its place, zero or not: a stream of nothing but weights.

    All elements play in step. The array counts features and outputs for them, and reads the
    one activation memory; PE p makes the outputs p, p + P, …
    """

    name = "dense"
    indices = None

    @override
    def fields(self, config: "ArrayConfig") -> dict[str, int]:
        return {"weight0": multiplication.DENSE_BITS}

    @override
    def weight_bits(self, config: "ArrayConfig") -> tuple[int, ...]:
        return (multiplication.DENSE_BITS,)

    @override
    def supplied(self, words: int, features: int, outputs: int) -> Words:
        output, index = np.divmod(np.arange(words), features)
        return {
            "index0": index,
            "last": ((index == features - 1) & (output < outputs)).astype(np.int64),
            "end": (np.arange(words) == words - 1).astype(np.int64),
        }


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (RunningSum(), Ternary(), SemiringSum(), Strassen(), Multiply(), Dense())
}
