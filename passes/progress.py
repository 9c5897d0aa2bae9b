# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How long work says what it is doing; `daqkf.support.console.showing` shows it."""

from collections.abc import Callable
from typing import Self

Progress = Callable[[str], None]
"""Told of each step before it begins: by its name, or by a `Step`, which is counted, too."""


class Part(str):
    """A step of other work; as a text it begins with that of the other work."""

    __slots__ = ("outer",)

    outer: str
    """The step that it is a part of; empty if it is of none."""


class Step(Part):
    """One of several steps of a kind; as a text it is like "prune 3/24 kernels (fc1)"."""

    __slots__ = ("kind", "number", "total")

    kind: str
    """What steps that are counted together have in common."""
    number: int
    """1 of the first one."""
    total: int

    def __new__(cls, what: str, number: int, total: int, unit: str, name: str = "") -> Self:
        """Step `number` of `total` that do this, with so many things of this kind."""
        step = super().__new__(cls, f"{what} {number}/{total} {unit}" + f" ({name})" * bool(name))
        step.kind, step.number, step.total, step.outer = f"{what} {unit}", number, total, ""
        return step

    def within(self, place: str) -> "Step":
        """The step as a part of other work."""
        step = str.__new__(Step, f"{place}: {self}")
        step.kind, step.number, step.total = f"{place}: {self.kind}", self.number, self.total
        step.outer = place
        return step


def silent(step: str) -> None:
    """Tell nobody of a step."""


def within(progress: Progress, place: str) -> Progress:
    """What tells of steps as parts of other work."""

    def tell(step: str) -> None:
        if isinstance(step, Step):
            progress(step.within(place))
            return
        part = Part(f"{place}: {step}")
        part.outer = place
        progress(part)

    return tell


def counted(progress: Progress, what: str, total: int, unit: str = "kernels") -> Progress:
    """What takes the name of each of `total` steps in turn, and tells of it as a `Step`."""
    number = 0

    def tell(name: str) -> None:
        nonlocal number
        number += 1
        progress(Step(what, number, total, unit, name))

    return tell
