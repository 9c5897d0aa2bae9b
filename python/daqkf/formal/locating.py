# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The stage that finds the addresses of a word's items, and the theorem `locate` about it.

The theorem says that a word leaves the stage with the addresses that its indices mean, whatever
came before. Delta indices count from the word before, so the proof is an induction. It begins with
a start or with any word, and allows pauses and stalls in between. Distances in runs take several
cycles, and a null item hides the row that it leads to. What a stage has come to is then seen by a
word without steps whose first distance is zero.
"""

from collections.abc import Iterator, Mapping, Sequence

from xdsl.dialects.builtin import ModuleOp

from daqkf.formal.bits import Bits, constant, ite, unknown
from daqkf.formal.btor2 import TransitionSystem, Values
from daqkf.formal.claims import Claim, Reader
from daqkf.formal.datapath import TOP
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.index_coding import DELTA, INDEX, OFFSET, WINDOW, RunDistances, Windows
from daqkf.lowering.hdl.circuit import Circuit, circuit_module
from daqkf.lowering.rtl.indices import STAGES, locate

Word = Mapping[str, Bits]


def build_locator(config: ArrayConfig, family: str) -> ModuleOp:
    """Build the stage, with the fields of a word and the element's control as ports."""
    c = Circuit(TOP)
    c.clock("clk")
    c.reset(c.input("rst", 1))
    start, enable, valid = (c.input(name, 1) for name in ("start", "enable", "valid"))
    word = {name: c.input(f"in_{name}", bits) for name, bits in _fields(config, family).items()}
    located, located_valid = locate(c, config, family, word, valid, start, enable)
    for name, signal in located.items():
        c.output(name, signal)
    c.output("located_valid", located_valid)
    c.finish()
    return circuit_module(c)


def _fields(config: ArrayConfig, family: str) -> dict[str, int]:
    fields = FAMILIES[family].word.stored(config)
    return {name: bits for name, bits in fields.items() if name != "end"}


class _Stage:
    """The stage as a transition system, with the ports of a word."""

    def __init__(self, family: str, config: ArrayConfig, system: TransitionSystem):
        self.config, self.system, self.fields = config, system, _fields(config, family)
        self.form = type(FAMILIES[family].word.indices)
        self.items = sum(name.startswith((OFFSET, DELTA)) for name in self.fields)

    def word(self, name: str) -> Word:
        return {field: unknown(f"{name}.{field}", bits) for field, bits in self.fields.items()}

    def step(
        self, state: Values, word: Word, valid: Bits, enable: Bits, start: int = 0
    ) -> tuple[Values, Values]:
        control = {"clk": constant(0, 1), "rst": constant(0, 1), "start": constant(start, 1)}
        fields = {f"in_{name}": bits for name, bits in word.items()}
        return self.system.step(state, control | {"valid": valid, "enable": enable} | fields)

    def outputs(self, state: Values) -> Values:
        return self.step(state, self.word("later"), constant(0, 1), constant(0, 1))[1]

    def addresses(self, word: Word, base: Bits) -> list[Bits]:
        """The addresses that a word's indices mean; delta indices count from `base`."""
        width, addresses = self.config.address_width, list[Bits]()
        for item in range(self.items):
            if self.form is Windows:
                offset = word[f"{OFFSET}{item}"]
                begin = word[WINDOW].zext(width) << (offset.width - 1)
                null = offset.eq(constant(-1, offset.width))
                addresses.append(ite(null, constant(-1, width), begin + offset.zext(width)))
            else:
                base += word[f"{DELTA}{item}"].zext(width)
                addresses.append(base)
        return addresses

    def passed(self, state: Values, word: Word, valid: Bits, later: bool) -> Values:
        """The outputs when a word has passed the stage, behind which others or pauses follow."""
        one, zero = constant(1, 1), constant(0, 1)
        state = self.step(state, word, valid, one)[0]
        for number in range(STAGES[self.form] - 1):
            following = unknown(f"later{number}.valid", 1) if later else zero
            state = self.step(state, self.word(f"later{number}"), following, one)[0]
        return self.outputs(state)

    def come_to(self, state: Values) -> Bits:
        """The row that the next distance counts from."""
        probe = {name: constant(0, bits) for name, bits in self.fields.items()}
        return self.passed(state, probe, constant(1, 1), later=False)[f"{INDEX}0"]


def theorems(family: str, config: ArrayConfig, system: TransitionSystem) -> Iterator[Claim]:
    """Claim `locate` after a start and after any word, and that a stall changes no register."""
    stage, one, zero = _Stage(family, config, system), constant(1, 1), constant(0, 1)
    any_state = system.any_state()
    started = stage.step(any_state, stage.word("idle"), zero, unknown("enable", 1), start=1)[0]
    if stage.form is RunDistances:
        yield from _runs(stage, any_state, started)
    else:
        yield from _words(stage, any_state, started)

    after = stage.step(any_state, stage.word("word"), unknown("valid", 1), zero)[0]
    yield Claim(
        "locate",
        [any_state[name].eq(after[name]) for name in after],
        one,
        lambda read: ["a register changes in a stalled cycle"],
    )


def _words(stage: _Stage, any_state: Values, started: Values) -> Iterator[Claim]:
    """The same for stages of one cycle."""
    one, row_zero = constant(1, 1), constant(0, stage.config.address_width)
    yield _locate(stage, _paused(stage, started), row_zero, [])

    before = stage.word("before")
    played = stage.step(any_state, before, one, one)[0]
    last = stage.outputs(played)[f"{INDEX}{len(stage.addresses(before, row_zero)) - 1}"]
    base = ite(before["last"], row_zero, last)
    yield _locate(stage, _paused(stage, played), base, [before])


def _runs(stage: _Stage, any_state: Values, started: Values) -> Iterator[Claim]:
    """The same for distances in runs: an induction over the row that a stage has come to."""
    one, width = constant(1, 1), stage.config.address_width
    row_zero, row = constant(0, width), stage.come_to(any_state)
    begun, paused = (stage.come_to(_paused(stage, state)) for state in (started, any_state))
    yield Claim(
        "locate",
        [begun.eq(row_zero), paused.eq(row)],
        one,
        lambda read: [
            f"row {read(row)}, after a pause {read(paused)}, after a start {read(begun)}"
        ],
    )

    word, valid = stage.word("word"), unknown("valid", 1)
    rows = stage.addresses(word, ite(word["step"], row_zero, row))
    nulls = [
        word[f"{DELTA}{n}"].eq(constant(-1, stage.config.index_bits)) for n in range(len(rows))
    ]
    expected = [
        ite(null, constant(-1, width), each) for null, each in zip(nulls, rows, strict=True)
    ]
    yield _goals(stage, stage.passed(any_state, word, valid, later=True), word, valid, expected, [])

    after = stage.come_to(stage.step(any_state, word, one, one)[0])
    following = ite(word["last"], row_zero, rows[-1])
    yield Claim(
        "locate",
        [after.eq(following)],
        one,
        lambda read: [f"row {read(following)} expected behind a word, {read(after)} found"],
    )


def _paused(stage: _Stage, state: Values) -> Values:
    """The registers after a cycle without a word, stalled or not."""
    return stage.step(state, stage.word("pause"), constant(0, 1), unknown("paused", 1))[0]


def _locate(stage: _Stage, state: Values, base: Bits, before: Sequence[Word]) -> Claim:
    word, valid = stage.word("word"), unknown("valid", 1)
    found = stage.outputs(stage.step(state, word, valid, constant(1, 1))[0])
    return _goals(stage, found, word, valid, stage.addresses(word, base), before)


def _goals(
    stage: _Stage,
    found: Values,
    word: Word,
    valid: Bits,
    expected: Sequence[Bits],
    before: Sequence[Word],
) -> Claim:
    """The outputs that are found for a word, and the addresses that are expected."""
    names = [f"{INDEX}{item}" for item in range(stage.items)]
    rest = [name for name in word if name in found]

    def explain(read: Reader) -> list[str]:
        lines = [
            "word: " + ", ".join(f"{name} {read(bits)}" for name, bits in played.items())
            for played in (*before, word)
        ]
        wanted = [read(bits) for bits in expected]
        return [*lines, f"addresses {wanted} expected, {[read(found[n]) for n in names]} found"]

    goals = [
        found["located_valid"].eq(valid),
        *(~valid | found[name].eq(bits) for name, bits in zip(names, expected, strict=True)),
        *(~valid | found[name].eq(word[name]) for name in rest),
    ]
    return Claim("locate", goals, constant(1, 1), explain)
