# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The theorems about a datapath; together they say that every stream yields its dot product.

`start`, `step` and `finish` are an induction over the words of a stream, with pauses in between.
`bubble` shows that pauses change nothing, and `stall` that nothing moves in a stalled cycle.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from daqkf.formal.bits import Bits, constant, ite, unknown
from daqkf.formal.btor2 import TransitionSystem, Values
from daqkf.formal.claims import Claim, Reader
from daqkf.formal.datapath import operands
from daqkf.formal.spec import INTEGER_BITS, Spec, State
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.passes.encode.coding import coding_of
from daqkf.support.errors import DaqkfError

DEEPEST = 32
"""The most cycles that a datapath may take to become empty."""


class PipelineError(DaqkfError):
    """The datapath never becomes empty, or never finishes a sum."""


class Bench:
    """A datapath with its specification, and functions that send it words."""

    def __init__(self, family: str, config: ArrayConfig, spec: Spec, system: TransitionSystem):
        self.family, self.config, self.system = family, config, system
        self.spec = spec.of_array(config)
        self.fields, self.addresses = operands(config, family)
        self.idle = self.word("idle")
        """What stands at the inputs while no word is valid."""

    def word(self, name: str) -> dict[str, Bits]:
        """A word whose fields and rows are all unknown."""
        fields = {field: unknown(f"{name}.{field}", w) for field, w in self.fields.items()}
        rows = {
            f"row{number}": unknown(f"{name}.row{number}", self.config.row_bits)
            for number in range(len(self.addresses))
        }
        return fields | rows

    def known(
        self, fields: Mapping[str, int], rows: Mapping[str, Bits] | None = None
    ) -> dict[str, Bits]:
        """A word whose fields are all known; fields and rows that are not given are zeros."""
        word = {name: constant(fields.get(name, 0), width) for name, width in self.fields.items()}
        for number in range(len(self.addresses)):
            word[f"row{number}"] = constant(0, self.config.row_bits)
        return word | dict(rows or {})

    def activations(self, word: Values) -> list[list[Bits]]:
        """The rows of a word as integers, by address and lane."""
        return [
            [
                word[f"row{number}"][t * ACTIVATION_BITS : (t + 1) * ACTIVATION_BITS].sext(
                    INTEGER_BITS
                )
                for t in range(self.config.lanes)
            ]
            for number in range(len(self.addresses))
        ]

    def cycle(
        self, state: Values, word: Values | None = None, start: int = 0, enable: int = 1
    ) -> Values:
        """The registers after a cycle, in which a word enters or, without one, a bubble."""
        valid = constant(int(word is not None), 1)
        return self.step(state, self.idle if word is None else word, valid, start, enable)[0]

    def step(
        self, state: Values, word: Values, valid: Bits, start: int = 0, enable: int = 1
    ) -> tuple[Values, Values]:
        """The registers after a cycle, and the outputs during the cycle."""
        control = {"clk": 0, "rst": 0, "start": start, "enable": enable}
        inputs = {name: constant(value, 1) for name, value in control.items()}
        return self.system.step(state, inputs | {"valid": valid} | dict(word))

    def bubbles(self, state: Values, count: int) -> Values:
        """The registers after `count` cycles without a word."""
        for _ in range(count):
            state = self.cycle(state)
        return state

    def outputs(self, state: Values) -> Values:
        """The outputs in this state."""
        return self.step(state, self.idle, constant(0, 1))[1]

    def held(self, state: Values) -> list[Bits]:
        """The holding registers by lane, of one output or of two."""
        return self.sums(self.outputs(state))

    def sums(self, outputs: Values) -> list[Bits]:
        """The values that the holding registers put out, by lane, of one output or of two."""
        names = [name for name in ("held", "second") if f"{name}0" in outputs]
        return [outputs[f"{name}{lane}"] for name in names for lane in range(self.config.lanes)]

    @cached_property
    def depth(self) -> int:
        """The number of bubbles after which further bubbles change no state.

        Raises:
            PipelineError: there are more than `DEEPEST`.
        """
        state = self.system.any_state()
        for count in range(DEEPEST):
            after = self.cycle(state)
            if after == state:
                return count
            state = after
        raise PipelineError(f"{self.family}: the datapath is not empty after {DEEPEST} cycles")

    @cached_property
    def empty(self) -> Values:
        """A state that stands for every state of an empty pipeline.

        Registers that have the same value in all of these states are known; the others are unknown.
        """
        state = self.bubbles(self.system.any_state(), self.depth)
        return {
            name: bits if bits.known else unknown(f"empty.{name}", bits.width)
            for name, bits in state.items()
        }

    @cached_property
    def latency(self) -> int:
        """The cycles from a last word to `finished`.

        Raises:
            PipelineError: there are more than `DEEPEST`.
        """
        state = self.cycle(self.cycle(self.empty, start=1), self.known({"last": 1}))
        for count in range(DEEPEST):
            if self.outputs(state)["finished"] == constant(1, 1):
                return count
            state = self.cycle(state)
        raise PipelineError(f"{self.family}: no sum is finished within {DEEPEST} cycles")

    def wrapped(self, number: Bits) -> Bits:
        """A sum as the circuit holds it: modulo the accumulator's width if modular."""
        if not FAMILIES[self.family].modular:
            return number
        return number[: self.config.accumulator_width].sext(INTEGER_BITS)

    def after(self, state: Values, word: Values) -> Values:
        """The registers after a word has passed an empty pipeline."""
        return self.bubbles(self.cycle(state, word), self.depth)

    def observed(self, state: Values) -> dict[str, Bits]:
        """The quantities of the specification, read from the state of an empty pipeline."""
        seen: dict[str, list[Bits]] = {}
        for name, words in self.spec.probes.items():
            after = state
            for fields in words:
                after = self.after(after, self.known(fields))
            seen[name] = self.held(after)
        return {name: bits.sext(INTEGER_BITS) for name, bits in self.spec.state(seen).items()}


def _number(read: Reader, bits: Bits) -> int:
    return constant(read(bits), bits.width).offset


def _word_line(bench: Bench, read: Reader, word: Values) -> str:
    fields = [f"{name} {read(word[name])}" for name in bench.fields]
    rows = [
        f"x{number} {' '.join(str(_number(read, x)) for x in lanes)}"
        for number, lanes in enumerate(bench.activations(word))
    ]
    return "word: " + ", ".join(fields + rows)


def _state_line(what: str, read: Reader, state: State) -> str:
    values = ", ".join(f"{name} = {_number(read, bits)}" for name, bits in state.items())
    return f"{what}: {values}"


def _difference(read: Reader, one: Values, other: Values, words: tuple[str, str]) -> list[str]:
    return [
        f"register {name}: {read(one[name])} {words[0]}, {read(other[name])} {words[1]}"
        for name in one
        if read(one[name]) != read(other[name])
    ]


def _equal(one: Values, other: Values) -> list[Bits]:
    return [one[name].eq(other[name]) for name in one]


TRUE = constant(1, 1)


def stall(bench: Bench) -> Iterator[Claim]:
    """No register of the datapath changes while `enable` is 0."""
    state, word = bench.system.any_state(), bench.word("word")
    after = bench.step(state, word, unknown("valid", 1), enable=0)[0]
    yield Claim(
        "stall",
        _equal(state, after),
        TRUE,
        lambda read: _difference(read, state, after, ("before a stalled cycle", "after")),
    )


def bubble(bench: Bench) -> Iterator[Claim]:
    """In any state, a pause before a word has the same effect as a pause after it."""
    state, word = bench.system.any_state(), bench.word("word")
    late = bench.bubbles(bench.cycle(bench.cycle(state), word), bench.depth)
    early = bench.bubbles(bench.cycle(state, word), bench.depth + 1)
    yield Claim(
        "bubble",
        _equal(early, late),
        TRUE,
        lambda read: [
            _word_line(bench, read, word),
            *_difference(read, early, late, ("without a pause before the word", "with one")),
        ],
    )


def start(bench: Bench) -> Iterator[Claim]:
    """After a start, the state is zero, whatever came before."""
    state = bench.bubbles(bench.cycle(bench.empty, start=1), bench.depth)
    observed = bench.observed(state)
    yield Claim(
        "start",
        [bits.eq(0) for bits in observed.values()],
        TRUE,
        lambda read: [_state_line("after a start", read, observed)],
    )


def step(bench: Bench) -> Iterator[Claim]:
    """A word changes the state as the specification says, if the new state fits its widths.

    A last word holds the sum of the new state, and begins another one.
    """
    before = bench.observed(bench.empty)
    splits = [name for name in bench.spec.control if name in bench.fields]
    for values in product(*(range(1 << bench.fields[name]) for name in splits)):
        known = {
            name: constant(value, bench.fields[name])
            for name, value in zip(splits, values, strict=True)
        }
        known |= bench.spec.rows(bench.config, known)
        yield _step(bench, before, bench.word("word") | known)


def _step(bench: Bench, before: State, word: Values) -> Claim:
    spec, state = bench.spec, bench.after(bench.empty, word)
    found, held = bench.observed(state), bench.held(state)
    rows = bench.activations(word)
    full = {name: bench.wrapped(bits) for name, bits in spec.step(before, word, rows).items()}
    begun = spec.begun(full, word, rows)
    expected = {name: ite(word["last"], begun[name], bits) for name, bits in full.items()}
    sums = spec.sums(full)
    goals = [found[name].eq(expected[name]) for name in expected] + [
        ~word["last"] | got.sext(INTEGER_BITS).eq(total)
        for got, total in zip(held, sums, strict=True)
    ]

    def explain(read: Reader) -> list[str]:
        lines = [
            _state_line("state before", read, before),
            _word_line(bench, read, word),
            _state_line("state expected", read, expected),
            _state_line("state found", read, found),
        ]
        if read(word["last"]):
            lines.append(f"sums expected: {[_number(read, bits) for bits in sums]}")
            lines.append(f"sums held: {[_number(read, bits) for bits in held]}")
        return lines

    given = spec.fits(bench.config, full) & spec.valid(bench.config, word)
    return Claim("step", goals, given, explain)


def finish(bench: Bench) -> Iterator[Claim]:
    """`finished` follows every last word and no other; later words do not change its sum."""
    begin, word, valid = bench.system.any_state(), bench.word("word"), unknown("valid", 1)
    state = bench.step(begin, word, valid)[0]
    alone = bench.bubbles(state, bench.latency + 1)
    following = [bench.word(f"later{n}") for n in range(bench.latency + 1)]
    trace = [state]
    for n, later in enumerate(following):
        trace.append(bench.step(trace[-1], later, unknown(f"valid{n}", 1))[0])
    outputs = bench.outputs(trace[-2])
    due, finished = valid & word["last"], outputs["finished"]
    held, quiet = bench.held(trace[-1]), bench.held(alone)
    before = bench.held(trace[-2])
    yield Claim(
        "finish",
        [
            finished.eq(due),
            *(
                [~due | outputs["finished_both"].eq(word["both"])]
                if "finished_both" in outputs
                else []
            ),
            *(~due | a.eq(b) for a, b in zip(held, quiet, strict=True)),
            *(finished | a.eq(b) for a, b in zip(held, before, strict=True)),
        ],
        TRUE,
        lambda read: [
            f"valid {read(valid)}, {_word_line(bench, read, word)}",
            *(f"then {_word_line(bench, read, later)}" for later in following),
            f"finished {bench.latency} cycles later: {read(finished)}",
            f"held: {[_number(read, bits) for bits in held]}, "
            f"{[_number(read, bits) for bits in quiet]} without the later words",
        ],
    )


def dot_products(bench: Bench, levels: NDArray[np.int8]) -> Iterator[Claim]:
    """The compiler's stream of int8 levels [K, N] yields Σ w·x for all activations.

    All channels are in one stream, as in an element.
    """
    coding = coding_of(bench.family)
    stream = coding.stream(levels, bench.config)
    features = [unknown(f"x{k}", bench.config.row_bits) for k in range(len(levels))]
    total = int(stream.starts[-1])
    supplied = FAMILIES[bench.family].word.supplied(total, *levels.shape)
    fields = {name: values.tolist() for name, values in {**stream.fields, **supplied}.items()}
    state = bench.bubbles(bench.cycle(bench.empty, start=1), bench.depth)
    held: list[list[Bits]] = []
    lanes = bench.config.lanes
    for number in range(total + bench.latency + 2):
        word, valid = bench.idle, constant(int(number < total), 1)
        if number < total:
            rows = {
                f"row{n}": features[fields[name][number]]
                for n, name in enumerate(bench.addresses)
                if fields[name][number] >= 0
            }
            word = bench.known({name: fields[name][number] for name in bench.fields}, rows)
        state, outputs = bench.step(state, word, valid)
        last = number - bench.latency - 2
        if last >= 0 and fields["last"][last]:
            sums = bench.sums(outputs)
            completed = 1 + fields["both"][last] if coding.group > 1 else 1
            held += [sums[n * lanes : (n + 1) * lanes] for n in range(completed)]
    corrections = np.broadcast_to(stream.correction, levels.shape[1])
    for channel, sums in enumerate(held):
        group = channel // coding.group
        part = range(*stream.starts[group : group + 2].tolist())
        words = [{name: values[number] for name, values in fields.items()} for number in part]
        fix = int(corrections[channel])
        yield _dot_product(bench, levels[:, channel], features, sums, fix, words)


def _dot_product(
    bench: Bench,
    weights: NDArray[np.int8],
    features: Sequence[Bits],
    sums: Sequence[Bits],
    fix: int,
    words: Sequence[Mapping[str, int]],
) -> Claim:
    """The claim for one output: its sums by lane plus `fix`, and the words that make them."""
    lanes = [
        [x[t * ACTIVATION_BITS : (t + 1) * ACTIVATION_BITS].sext(INTEGER_BITS) for x in features]
        for t in range(bench.config.lanes)
    ]
    expected = []
    for lane in lanes:
        total = constant(0, INTEGER_BITS)
        for weight, x in zip(weights.tolist(), lane, strict=True):
            total += x * weight
        expected.append(total)
    found = [bench.wrapped(bits.sext(INTEGER_BITS) + fix) for bits in sums]

    def explain(read: Reader) -> list[str]:
        lines = [f"weights {weights.tolist()}"]
        for word in words:
            fields = [
                f"{name} null" if name in bench.addresses and value < 0 else f"{name} {value}"
                for name, value in word.items()
            ]
            lines.append(f"word: {', '.join(fields)}")
        for lane, want, got in zip(lanes, expected, found, strict=True):
            x = [_number(read, bits) for bits in lane]
            lines.append(
                f"activations {x}: {_number(read, want)} expected, {_number(read, got)} found"
            )
        return lines

    goals = [a.eq(b) for a, b in zip(found, expected, strict=True)]
    return Claim("dot product", goals, TRUE, explain)


def every_weight(most: int, features: int) -> NDArray[np.int8]:
    """Int8 levels [features, N] of all vectors of weights with magnitudes up to `most`."""
    values = np.arange(-most, most + 1, dtype=np.int8)
    grid = np.meshgrid(*[values] * features, indexing="ij")
    return np.stack([axis.reshape(-1) for axis in grid])


INDUCTION = {"stall": stall, "start": start, "step": step, "bubble": bubble, "finish": finish}
