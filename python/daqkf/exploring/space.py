# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What can be varied: the choices of each parameter, and the design that some of them make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import prod
from typing import Any, Self

from daqkf.compiler.options import level_set
from daqkf.hw_targets import load_target
from daqkf.hw_targets.device import load_device
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.machine import STREAM_CODES, UNITS, Machine
from daqkf.hw_targets.target import derived_name
from daqkf.support.errors import DaqkfError, shortened

FAMILIES_EXPLORED = ("running_sum", "ordered_sum", "multiply", "dense")
"""Those of which something says what whole arrays take (`hw_targets.engine`)."""

_PACKED = ("multiply", "dense")
"""Of which it is known for two products in each DSP block alone."""

_MOST = 1 << 40
"""Designs of a space at most."""


@dataclass(frozen=True)
class Point:
    """A design, by what it is made of."""

    target: str
    """What stands for everything that is not varied."""
    device: str
    pes: int
    lanes: int
    turns: int
    """In which the post unit takes a result: it has `lanes / turns` lanes, and one at least."""
    items: int
    family: str
    levels: str
    sparsity: float
    index_bits: int
    stream_code: str

    @cached_property
    def machine(self) -> Machine:
        """The organisation of the array.

        Raises:
            ValueError: no array can have it.
        """
        return replace(self._plain, families=(self.family,), index_bits=self.index_bits)

    @cached_property
    def _plain(self) -> Machine:
        """The same with elements of the target, as a target's name says it."""
        base = load_target(self.target).machine
        multiplier = "packed" if self.family in _PACKED else base.multiplier
        return replace(
            base,
            pes=self.pes,
            lanes=self.lanes,
            post_lanes=max(self.lanes // self.turns, 1),
            items=self.items,
            multiplier=multiplier,
            stream_code=self.stream_code,
        )

    @property
    def target_name(self) -> str:
        """The name by which every command finds this array, but for its family and indices.

        Raises:
            ValueError: as `machine`.
        """
        return derived_name(self.target, self._plain)

    @property
    def elements(self) -> dict[str, Any]:
        """The options of a compilation that say how elements differ from those of the target."""
        found: dict[str, Any] = {}
        if self._plain.families != (self.family,):
            found["family"] = self.family
        if self._plain.index_bits != self.index_bits:
            found["index_bits"] = self.index_bits
        return found

    @property
    def weights(self) -> dict[str, Any]:
        """The options of a compilation that say what becomes of weights."""
        pruned = {"sparsity": self.sparsity} if self.sparsity else {}
        return {"levels": self.levels, **pruned}

    def quality(self, network: bool) -> "Point":
        """The design of the target's own array that has the same integers.

        Those of a network for a target with a row unit also depend on the shape of the array: where
        the host is quicker, it normalises and gates in place of the array.
        """
        machine = load_target(self.target).machine
        if network and any(getattr(machine, unit) for unit in UNITS):
            return replace(self, device="")
        return replace(
            self,
            device="",
            pes=machine.pes,
            lanes=machine.lanes,
            turns=machine.lanes // machine.post_lanes,
            items=machine.items,
            family=machine.families[0],
            index_bits=machine.index_bits,
            stream_code=machine.stream_code,
        )

    @property
    def label(self) -> str:
        """A few words for tables: PEs × lanes / lanes of the post unit, and items."""
        post = max(self.lanes // self.turns, 1)
        return f"{self.pes}×{self.lanes}/{post}, {self.items} items"

    def facts(self) -> dict[str, Any]:
        """All parameters by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


@dataclass(frozen=True, kw_only=True)
class Space:
    """The choices of each parameter; one with a single choice stays as it is.

    Args:
        targets: whose memories, units and steps arrays have; for networks `explore`
            takes one whose streams stay in external memory, where none are given.
        devices: of `hw_targets.device.device_names()`, on which designs have to fit.
        pes: elements.
        lanes: tokens of a tile.
        turns: lanes that share a lane of the post unit.
        items: of a word.
        families: of `FAMILIES_EXPLORED`.
        levels: level sets, as `daqkf.compile` takes them.
        sparsity: shares of zeros to prune to; 0 leaves weights as they are.
        index_bits: of an item's row; 0 are whole addresses.
        stream_codes: None leaves that of the targets.
    """

    targets: Sequence[str] = ("wide",)
    devices: Sequence[str] = ("xck26",)
    pes: Sequence[int] = (1, 2, 4, 8, 16)
    lanes: Sequence[int] = (1, 2, 4, 8, 16, 32)
    turns: Sequence[int] = (1, 2, 4, 8)
    items: Sequence[int] = (2, 4, 8)
    families: Sequence[str] = ("running_sum",)
    levels: Sequence[str] = ("int8", "uniform-31", "uniform-15", "uniform-7", "codebook-15")
    sparsity: Sequence[float] = (0.0, 0.3, 0.5, 0.7)
    index_bits: Sequence[int] = (0,)
    stream_codes: Sequence[str | None] = (None,)

    @classmethod
    def of(cls, named: Mapping[str, Any]) -> Self:
        """A space of these choices; those of a parameter may be one value, or several.

        Raises:
            DaqkfError: an unknown parameter or choice, or none.
        """
        known = [entry.name for entry in fields(cls)]
        if surplus := sorted(set(named) - set(known)):
            raise DaqkfError(f"'{surplus[0]}' cannot be varied (known: {', '.join(known)})")
        chosen: dict[str, tuple[Any, ...]] = {}
        for name, value in named.items():
            several = isinstance(value, Sequence) and not isinstance(value, str)
            chosen[name] = tuple(dict.fromkeys(value if several else (value,)))
        found = cls(**chosen)
        found.check()
        return found

    def check(self) -> None:
        """Refuse choices that do not exist.

        Raises:
            DaqkfError: the first of them.
        """
        for name, values in self.choices.items():
            if not values:
                raise DaqkfError(f"{name} has no choice")
        for name, least in (("pes", 1), ("lanes", 1), ("turns", 1), ("items", 1)):
            self._require_numbers(name, least)
        self._require_numbers("index_bits", 0)
        for share in self.sparsity:
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
                raise DaqkfError(f"sparsity must be 0 <= sparsity < 1, not {shortened(share)}")
        for levels in self.levels:
            if not isinstance(levels, str):
                raise DaqkfError(f"levels must be texts, not {shortened(levels)}")
            level_set(levels)
        for family in self.families:
            if family not in FAMILIES_EXPLORED:
                known = ", ".join(FAMILIES_EXPLORED)
                what = (
                    "nothing says what arrays take of" if family in FAMILIES else "unknown family"
                )
                raise DaqkfError(f"{what} '{family}' (known: {known})")
        for code in self.stream_codes:
            if code not in (None, *STREAM_CODES):
                known = ", ".join(STREAM_CODES)
                raise DaqkfError(f"unknown stream code '{code}' (known: {known})")
        try:
            for target in self.targets:
                load_target(target)
            for device in self.devices:
                load_device(device)
        except ValueError as error:
            raise DaqkfError(str(error)) from None
        if self.size > _MOST:
            raise DaqkfError(f"{self.size:,} designs are too many to explore")

    def _require_numbers(self, name: str, least: int) -> None:
        for value in getattr(self, name):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise DaqkfError(f"{name} must be {least} or more, not {shortened(value)}")

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """What can be chosen, by parameter."""
        return {entry.name: tuple(getattr(self, entry.name)) for entry in fields(self)}

    @property
    def size(self) -> int:
        """How many designs there are."""
        return prod(len(values) for values in self.choices.values())

    def point(self, places: Mapping[str, int]) -> Point:
        """The design with these choices, each by its place in the list; 0 where none is given."""
        chosen = {name: values[places.get(name, 0)] for name, values in self.choices.items()}
        base = load_target(chosen["targets"]).machine
        code = chosen["stream_codes"]
        return Point(
            target=chosen["targets"],
            device=chosen["devices"],
            pes=chosen["pes"],
            lanes=chosen["lanes"],
            turns=chosen["turns"],
            items=chosen["items"],
            family=chosen["families"],
            levels=chosen["levels"],
            sparsity=float(chosen["sparsity"]),
            index_bits=chosen["index_bits"],
            stream_code=base.stream_code if code is None else code,
        )
