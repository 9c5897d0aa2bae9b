# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Running-sum streams whose items of a level stand in the order of their rows.

They are the words of `running_sum`: groups of items of falling magnitude, and steps between them.
As an item may have any sign in any place, a word takes as many items as it has places, whatever
their signs. Where `index_bits` tell rows by their distances (`index_coding.RunDistances`), a null
item stands in each gap that is too long for a distance.

A dense code (`hw_targets.varint`) is for streams that memory cannot bring fast enough. No weight is
then made of two items, as `splitting` does for fewer words, since items are what takes bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import override

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets import varint
from daqkf.hw_targets.index_coding import deltas_reach
from daqkf.hw_targets.machine import Machine
from daqkf.passes.encode.coding import Coding, Ints, Levels, Stream
from daqkf.passes.encode.gap_steps import parts, step_shifts
from daqkf.passes.encode.grouping import Groups, group_sorted, ranks, sorted_by
from daqkf.passes.encode.running_sum import items_of
from daqkf.passes.encode.splitting import Items


@dataclass(frozen=True)
class _Runs:
    """Groups whose items are in the order of their rows, and the nulls in long gaps."""

    groups: Groups
    nulls: Ints
    """[items] null items in front of each."""

    @classmethod
    def of(cls, levels: Levels, machine: Machine) -> "_Runs":
        dense = machine.stream_code == "varint"
        found = Items.of(levels) if dense else items_of(levels, machine.max_shift, machine.items)
        rising = found.taken(
            sorted_by(found.column, found.level.max(initial=0) - found.level, found.index)
        )
        groups = group_sorted(
            rising.column, rising.level, rising.index, rising.negative, int(levels.shape[1])
        )
        if dense:
            return cls(groups, _nulls(groups, machine))
        if not machine.index_bits:
            return cls(groups, np.zeros_like(groups.index))
        return cls(groups, distances(groups) // deltas_reach(machine.index_bits))

    @property
    def counts(self) -> Ints:
        """[G] items of each group, nulls included."""
        group = np.repeat(np.arange(len(self.groups.items)), self.groups.items)
        nulls = np.bincount(group, self.nulls, len(self.groups.items))
        return self.groups.items + nulls.astype(np.int64)

    def words(self, machine: Machine) -> Ints:
        """[G] words of each group, with those of its further steps."""
        return -(-self.counts // machine.items) + parts(self.groups.gap, machine.max_shift) - 1


def distances(groups: Groups) -> Ints:
    """[items] rows from the item before, or of the first one of a group, from row 0."""
    first = np.cumsum(groups.items) - groups.items
    found = np.diff(groups.index, prepend=0)
    first = first[groups.items > 0]
    found[first] = groups.index[first]
    return found


def _nulls(groups: Groups, machine: Machine) -> Ints:
    """[items] nulls in front of each, where they make the dense code of a group short."""
    gap = distances(groups)
    first = np.cumsum(groups.items) - groups.items
    gap -= 1
    gap[first[groups.items > 0]] += 1
    group = np.repeat(np.arange(len(groups.items)), groups.items)
    layout = varint.Layout.of(machine)
    fresh = np.diff(groups.column, prepend=-1) != 0
    # A level without items has a run, too.
    far = np.append(1, groups.gap[:-1])
    low_bits = varint.best_low_bits(gap, group, fresh, far, layout)
    return gap // varint.reach(low_bits[group])


def cost(levels: Levels, machine: Machine) -> Ints:
    """Words of each output channel [N] of levels [K, N]."""
    runs = _Runs.of(levels, machine)
    words = np.bincount(runs.groups.column, runs.words(machine), levels.shape[1])
    return words.astype(np.int64) + 1


def stream(levels: Levels, machine: Machine) -> Stream:
    """Lay out levels int8 [K, N] as ordered-sum words, channel after channel."""
    runs, columns = _Runs.of(levels, machine), int(levels.shape[1])
    groups, words = runs.groups, runs.words(machine)
    lengths = np.bincount(groups.column, words, columns).astype(np.int64) + 1
    starts = np.append(0, np.cumsum(lengths))
    total = int(starts[-1])
    first = np.cumsum(words) - words + groups.column  # a last word for each earlier column

    group = np.repeat(np.arange(len(groups.items)), groups.items)
    before = np.cumsum(groups.items) - groups.items
    # Nulls stand in front of the item behind their gap.
    nulls = np.cumsum(runs.nulls)
    place = ranks(groups.items) + nulls - np.append(0, nulls)[before][group]
    word, slot = first[group] + place // machine.items, place % machine.items
    index = np.full((machine.items, total), -1)
    negative = np.zeros((machine.items, total), np.int64)
    index[slot, word] = groups.index
    negative[slot, word] = groups.negative
    fields: dict[str, Ints] = {}
    for item in range(machine.items):
        fields |= {f"index{item}": index[item], f"negative{item}": negative[item]}

    steps = parts(groups.gap, machine.max_shift)
    at = np.repeat(first + words + 1 - steps, steps) + ranks(steps)
    for name in ("step", "shift", "last"):
        fields[name] = np.zeros(total, np.int64)
    fields["step"][at] = 1
    fields["shift"][at] = step_shifts(groups.gap, steps, machine.max_shift)
    fields["last"][starts[1:] - 1] = 1
    # An output without items has nothing to step over.
    fields["step"][starts[:-1]] = 0
    return Stream(fields, starts, np.zeros(columns, np.int64))


class OrderedSumCoding(Coding):
    """Items in the order of their magnitudes and then of their rows; the methods of this file."""

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        return cost(levels, machine)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        return stream(levels, machine)

    @override
    def streams(
        self, levels: Levels, shares: Sequence[NDArray[np.integer]], machine: Machine
    ) -> list[Stream]:
        # Columns know nothing of one another, and all at once take a fraction of the time.
        whole = self.stream(levels[:, np.concatenate(shares)], machine)
        return whole.cut([len(share) for share in shares])


CODING = OrderedSumCoding()
