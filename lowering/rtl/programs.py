# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How programs come to an array and take the place of the one that runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.results import top_k_rows
from daqkf.hw_targets.status import Phase
from daqkf.lowering.hdl.circuit import Signal, concat, mux
from daqkf.lowering.rtl.frame import Frame
from daqkf.lowering.rtl.loader import build_loader

FLAGS = ("adds", "keeps", "attends", "wide", "top_k")
"""What images say of a program beside K and N, as far as arrays know it."""


@dataclass(frozen=True)
class Programs:
    """How programs come and go."""

    loader: Mapping[str, Signal]
    """The outputs of the loader."""
    program: Mapping[str, Signal]
    """`features`, `outputs` and what else there is of the program that runs."""
    ready: Signal
    """A word of an image can come."""
    stays: Signal
    """The next tile is for the program that is there."""
    fresh: Signal
    """Another program comes."""
    begins: Signal
    """It is there as a whole, and the next tile is for it."""
    transitions: Sequence[tuple[Signal, Phase]]
    failures: Sequence[tuple[Signal, Phase]] = ()
    bank: Signal | None = None
    """The bank of the program that runs, where there are two."""
    pending: Mapping[str, Signal] = field(default_factory=dict[str, Signal])
    """Whether a whole program is in the other bank, and how many `tiles` it is for."""

    def wide(self, chain: Mapping[str, Signal]) -> Signal:
        """Whether the results of the kernel that runs are wide: of a chain, only the last one's."""
        wide = self.program["wide"]
        return wide & chain["last"] if chain else wide

    def result_rows(
        self, config: ArrayConfig, outputs: Signal, chain: Mapping[str, Signal]
    ) -> Signal:
        """The rows of results that so many outputs take, or the largest of them.

        They are the outputs of the kernel of a chain that runs, or without one, of the program.
        """
        if "wide" not in self.program:
            return outputs
        c = outputs.circuit
        twice = concat(outputs[: outputs.width - 1], c.const(0, 1))
        rows = mux(self.wide(chain), twice, outputs)
        if "top_k" in self.program:
            rows = mux(self.program["top_k"], c.const(top_k_rows(config.top_k), rows.width), rows)
        return rows

    @property
    def in_bank(self) -> Mapping[str, Signal]:
        """The port `bank` of units that have memories in two banks."""
        return {} if self.bank is None else {"bank": self.bank}


def receive_programs(frame: Frame, word: Signal, valid: Signal, storing: Signal) -> Programs:
    """The loader, and when it may take a `word` of an image.

    Args:
        frame: the array.
        word: the program stream's data.
        valid: whether it has a word.
        storing: whether results are still leaving.
    """
    frame.c.section("Programs: the loader writes them to the memories.")
    receive = _take_turns if frame.config.double_buffered else _replace
    return receive(frame, word, valid, storing)


def _replace(frame: Frame, word: Signal, valid: Signal, storing: Signal) -> Programs:
    """Between tiles a new image may replace the old one; an error swallows the rest."""
    c, at = frame.c, frame.phase.at
    idle = at(Phase.READY) & ~storing & ~frame.within
    ready = at(Phase.EMPTY) | at(Phase.LOADING_PROGRAM) | idle | at(Phase.ERROR)
    loader = c.instance(
        "loader",
        build_loader(frame.config),
        clk=c.clk,
        rst=frame.rst,
        word=word,
        valid=valid & ready,
    )
    return Programs(
        loader=loader,
        program=loader,
        ready=ready,
        stays=~(valid | loader["acting"]) | frame.within,
        fresh=frame.rst | loader["begun"],
        begins=loader["loaded"],
        transitions=(
            (loader["begun"] & ~at(Phase.ERROR), Phase.LOADING_PROGRAM),
            (at(Phase.LOADING_PROGRAM) & loader["loaded"], Phase.READY),
        ),
        failures=((loader["failed"], Phase.ERROR),),
    )


def _take_turns(frame: Frame, word: Signal, valid: Signal, storing: Signal) -> Programs:
    """A new image is loaded into the other bank, which runs once the tiles of this one have.

    A program for any number of tiles gives way at the next one after the whole image has arrived.
    Results that leave do not hinder it.
    """
    c, at, first_beat = frame.c, frame.phase.at, frame.first_beat
    bank, swap, ready = c.register("bank", 1, reset=1), c.wire("swap", 1), c.wire("ready", 1)
    loader = c.instance(
        "loader",
        build_loader(frame.config),
        clk=c.clk,
        rst=frame.rst,
        word=word,
        valid=valid & ready,
        last=c.input("prog_tlast", 1),
        bank=~bank,
        swap=swap,
    )
    ready.drive(loader["ready"])
    bank.drive(~bank, enable=swap)
    pending = c.register("pending", 1, reset=0)
    pending.drive(loader["loaded"] | (pending & ~swap))
    program = {
        name: c.delay(loader[name], f"running_{name}", enable=swap)
        for name in ("features", "outputs", "zero_shift", *FLAGS)
        if name in loader
    }
    tiles = c.register("tiles", loader["tiles"].width, reset=0)
    tiles.drive(mux(swap, loader["tiles"], tiles - 1), enable=swap | first_beat)
    limited = c.delay(loader["tiles"].any(), "limited", enable=swap, reset=0)
    spent = c.register("spent", 1, reset=0)
    spent.drive(((limited & first_beat & tiles.eq(1)) | spent) & ~swap)
    between = at(Phase.EMPTY) | at(Phase.READY)
    swap.drive(pending & (spent | ~limited) & ~frame.within & between)
    return Programs(
        loader=loader,
        program=program,
        ready=ready,
        stays=(~spent & (limited | ready)) | frame.within,
        fresh=frame.rst | swap,
        begins=swap,
        transitions=((swap, Phase.READY),),
        bank=bank,
        pending={"pending": pending, "tiles": loader["tiles"]},
    )
