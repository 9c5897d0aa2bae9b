# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What designs are compared by, and which of them no other one is better than."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from daqkf.support.errors import DaqkfError


@dataclass(frozen=True)
class Objective:
    """Something that designs are good at, or cost."""

    label: str
    largest: bool
    """Whether more of it is better."""
    shown: Callable[[float], str]


OBJECTIVES: Mapping[str, Objective] = {
    "loss": Objective("1 − cosine", False, lambda value: f"{value:.5f}"),
    "sqnr": Objective("SQNR, dB", True, lambda value: f"{value:.1f}"),
    "cycles": Objective("cycles a tile", False, lambda value: f"{value:,.0f}"),
    "tokens": Objective("tokens/s", True, lambda value: f"{value:,.0f}"),
    "luts": Objective("LUTs", False, lambda value: f"{value:,.0f}"),
    "block_ram": Objective("RAMB18", False, lambda value: f"{value:,.0f}"),
    "share": Objective("share of the device", False, lambda value: f"{value:.1%}"),
}
"""What can be an aim, by the name of a trial's value."""

DEFAULT = ("loss", "tokens", "share")
"""The aims where nobody names any."""


def checked(names: Sequence[str]) -> tuple[str, ...]:
    """The aims of these names.

    Raises:
        DaqkfError: an unknown one, one twice, or none.
    """
    for name in names:
        if name not in OBJECTIVES:
            raise DaqkfError(f"unknown objective '{name}' (known: {', '.join(OBJECTIVES)})")
    if not names or len(set(names)) < len(names):
        raise DaqkfError("objectives are one or more, and each of them once")
    return tuple(names)


def costs(values: Mapping[str, float], objectives: Sequence[str]) -> tuple[float, ...]:
    """The values of the aims, such that less is better."""
    return tuple(-values[name] if OBJECTIVES[name].largest else values[name] for name in objectives)


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether costs are nowhere more than others, and somewhere less."""
    pairs = list(zip(one, other, strict=True))
    return all(own <= its for own, its in pairs) and any(own < its for own, its in pairs)


def front(every: Sequence[Sequence[float]]) -> list[int]:
    """The places of the costs that no others dominate; of equal ones the first."""
    found: list[int] = []
    for place, own in enumerate(every):
        beaten = any(dominates(other, own) for other in every)
        if not beaten and not any(tuple(every[first]) == tuple(own) for first in found):
            found.append(place)
    return found
