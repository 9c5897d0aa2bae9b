# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a trial does: judge a design by what is known already, quantise, lower, and predict.

The steps are in the order of what they take. A design is given up as soon as it is known that no
array is so, that it does not fit its device, or that another one is better at everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daqkf.compiler.options import level_set
from daqkf.exploring.front import costs, dominates
from daqkf.exploring.predicting import least, predicted
from daqkf.exploring.sources import Quantised, Refused, Source
from daqkf.exploring.space import Point
from daqkf.hw_targets.device import LABELS, Device, load_device
from daqkf.support.errors import DaqkfError, describe

COMPLETE, PRUNED = "complete", "pruned"

_MARGIN = 0.8
"""Coarser integers are taken to lose this part at least of what finer ones were seen to lose."""


@dataclass(frozen=True)
class Trial:
    """A design that was tried."""

    number: int
    point: Point
    state: str
    """`COMPLETE`, or `PRUNED` if it was given up."""
    values: Mapping[str, float] = field(default_factory=dict[str, float])
    """What it loses and takes, by the names of `OBJECTIVES` and of resources."""
    reason: str = ""
    """Why it was given up."""

    def facts(self) -> dict[str, Any]:
        """All of it as values for JSON."""
        return {
            "number": self.number,
            "state": self.state,
            "reason": self.reason,
            "parameters": self.point.facts(),
            "values": dict(self.values),
        }


@dataclass
class Judge:
    """What is known of a source's designs, and what follows of another one."""

    source: Source
    objectives: Sequence[str]
    clock: float
    use: float
    integers: dict[Point, Quantised | Refused] = field(
        default_factory=dict[Point, Quantised | Refused]
    )
    """Those that were made, by `Point.quality`."""
    losses: dict[Point, tuple[float, float]] = field(
        default_factory=dict[Point, tuple[float, float]]
    )
    """Losses and SQNRs that were measured, by the same; those of earlier runs, too."""
    best: list[tuple[float, ...]] = field(default_factory=list[tuple[float, ...]])
    """The costs of complete trials that no others dominate."""

    def quality(self, point: Point) -> Point:
        """What the integers of a design depend on."""
        return point.quality(self.source.is_network)

    def learn(self, trial: Trial) -> None:
        """Take in a trial of this run, or of an earlier one."""
        values = trial.values
        if "loss" in values:
            self.losses[self.quality(trial.point)] = values["loss"], values["sqnr"]
        if trial.state != COMPLETE:
            return
        own = costs(values, self.objectives)
        if not any(dominates(other, own) for other in self.best):
            self.best = [other for other in self.best if not dominates(own, other)] + [own]

    def objection(self, point: Point) -> str:
        """Why a design is given up before any work; empty if nothing is known against it."""
        try:
            machine = point.machine
            # An array that no command could name cannot be built.
            point.target_name  # noqa: B018
            device = load_device(point.device)
            bound = least(machine, self.source.shape, device, self.clock)
        except ValueError as error:
            return f"no such array: {describe(error)}"
        values = bound.values(self.clock)
        if reason := self._unfit(values, device):
            return f"at least {reason}"
        loss, sqnr = self._expected(point)
        own = costs(values | {"loss": loss, "sqnr": sqnr}, self.objectives)
        if any(dominates(other, own) for other in self.best):
            return "dominated, whatever its streams are"
        return ""

    def _expected(self, point: Point) -> tuple[float, float]:
        """The least loss and the highest SQNR that the integers of a design can have.

        Nobody has proved that finer level sets and fewer zeros lose less, but they do.
        """
        if (known := self.losses.get(self.quality(point))) is not None:
            return known
        loss, sqnr = 0.0, float("inf")
        own = level_set(point.levels)
        for other, found in self.losses.items():
            finer = level_set(other.levels)
            if other.target != point.target or other.sparsity > point.sparsity:
                continue
            if finer.kind == own.kind and finer.magnitudes >= own.magnitudes:
                loss, sqnr = max(loss, _MARGIN * found[0]), min(sqnr, found[1] + 1)
        return loss, sqnr

    def _unfit(self, values: Mapping[str, float], device: Device) -> str:
        """Which resource of a device there is too little of."""
        for name, label in LABELS.items():
            has = getattr(device, name)
            # A device that tells LUTs that store from others not has none of these.
            if name == "lut_rams" and not has:
                continue
            if values[name] > self.use * has:
                most = f"{self.use:.0%} of the {has:,} of {device.name} may be taken"
                return f"{values[name]:,.0f} {label}, where {most}"
        return ""

    def tried(self, number: int, point: Point) -> Trial:
        """The trial of a design, whose integers are there.

        Programs that no array of the target holds are a reason to give it up, too.
        """
        found = self.integers[self.quality(point)]
        if isinstance(found, Refused):
            return Trial(number, point, PRUNED, reason=found.reason)
        device = load_device(point.device)
        try:
            compiled = self.source.on_array(found.module, point)
            prediction = predicted(compiled, device, self.clock)
        except (DaqkfError, ValueError) as error:
            return Trial(number, point, PRUNED, reason=describe(error))
        accuracy = found.accuracy
        values = prediction.values(self.clock) | {
            "loss": accuracy.loss,
            "sqnr": accuracy.sqnr,
            "compiled_cycles": compiled.cycles,
        }
        if reason := self._unfit(values, device):
            return Trial(number, point, PRUNED, values, reason)
        return Trial(number, point, COMPLETE, values)
