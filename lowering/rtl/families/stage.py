# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What an element and the datapath of its family say to each other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from daqkf.hw_targets.config import ArrayConfig
from daqkf.lowering.hdl.circuit import Circuit, Signal
from daqkf.lowering.rtl.fan_out import fan_out


@dataclass(frozen=True)
class Operands:
    """A word whose activation rows have arrived, and the element's control.

    Every stage of a datapath moves when `enable`, so that a stall stops all at once. Where control
    reaches the lanes through a tree of registers, nothing behind the fetched word ever stops: what
    is not `valid` comes in place of words. Control is then as many cycles ahead of the rows as the
    tree has levels.
    """

    start: Signal
    enable: Signal
    valid: Signal
    fields: Mapping[str, Signal]
    """The word without its addresses and its `end`."""
    rows: Sequence[Signal]
    """The rows of T activations, by item."""
    hold_enable: Signal
    """When a finished sum moves to the holding registers."""
    groups: Sequence[range] = ()
    """The lanes of each leaf of the tree, if there is one."""
    stages: int = 0
    """Its levels."""

    def spread(
        self, c: Circuit, config: ArrayConfig, control: Mapping[str, Signal]
    ) -> Iterator[Mapping[str, Signal]]:
        """The control of each lane: what it is for all, or its group's copy."""
        if not self.stages:
            yield from [control] * config.lanes
            return
        moving = {name: signal for name, signal in control.items() if signal is self.enable}
        copied = {name: signal for name, signal in control.items() if name not in moving}
        copies = fan_out(c, copied, self.stages, len(self.groups))
        for group, own in zip(self.groups, copies, strict=True):
            yield from [own | moving] * len(group)


@dataclass(frozen=True)
class Datapath:
    """The end of a family's pipeline."""

    finished: Signal
    """A register: the sums of all lanes are complete, and may be held in this cycle; with a tree,
    as many cycles later as it has levels."""
    held: Sequence[Signal]
    """The holding register of each lane, `accumulator_width` bits."""
    both: Signal | None = None
    """For families that complete two outputs at once. A register: they do this time."""
    second_held: Sequence[Signal] = ()
    """The holding registers of the second output."""


@dataclass(frozen=True)
class DatapathBuilder:
    """How a family's circuit is made."""

    build: Callable[[Circuit, ArrayConfig, Operands], Datapath]
    """Add the datapath to an element's circuit."""
    stored: Callable[[Signal], Signal] = lambda row: row
    """The form in which the element's memories hold a row of activations."""
