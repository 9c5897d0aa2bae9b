# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The running-sum form of a sparse integer matrix product.

Sort the non-zeros of an output by magnitude, the largest first. Add ±x of each to a running
sum R, and at every step from one magnitude down to the next do `A += R << s`: an item then
counts in A as often as its magnitude says, so A ends as Σ w·x without a multiplication.
Grouping an output's inputs by weight value is the factorisation of UCNN (Hegde et al., ISCA
2018); letting the order of the groups stand for the values is this project's.

A word has at most one step and a few items, which join R after the step; R starts from zero
in a word of its own, the one with the output's last step. So an output costs, over its
levels m with c(m) items and gap g(m) to the next one below, `1 + Σ ceil(c/items) + parts(g) - 1`
words, where parts counts the powers of two of the gap, and at most one more for each level
(`splitting.item_words`). Without shifts, `splitting` fills words that are half empty.

With `shared_words`, the word with an output's last step has the first items of the next one, and
no level needs a further word for its signs: `Σ ceil(c/items) + parts(g) - 1` words an output, and
one more at the end of a PE's stream. There `filling` fills words.
"""

from collections.abc import Mapping, Sequence
from typing import override

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.machine import Machine
from daqkf.passes.encode.coding import Coding, Ints, Levels, Stream
from daqkf.passes.encode.filling import fill, fill_words
from daqkf.passes.encode.gap_steps import parts, step_shifts
from daqkf.passes.encode.grouping import Groups, group_sorted, ranks
from daqkf.passes.encode.placing import Placing, place, place_freely, word_counts
from daqkf.passes.encode.splitting import Items, item_words, split, split_words

ITEMS = 2
"""Items of a stream word unless a machine says otherwise: the ports of a block RAM."""


def group(items: Items, columns: int) -> Groups:
    """Group the sorted items of so many columns."""
    return group_sorted(items.column, items.level, items.index, items.negative, columns)


def items_of(levels: NDArray[np.int8], max_shift: int, items: int, filled: bool = True) -> Items:
    """What joins R for levels [K, N]: see `splitting`, which shifts leave no room for."""
    return split(levels, items) if filled and not max_shift else Items.of(levels)


def _starts(
    groups: Groups, words: NDArray[np.int64], columns: int, last: Ints | int = 1
) -> NDArray[np.int64]:
    """[N + 1] the first word of each column, and the end; `last` words of a column are extra."""
    lengths = np.bincount(groups.column, words, columns).astype(np.int64) + last
    return np.concatenate(([0], np.cumsum(lengths)))


def cost(
    levels: NDArray[np.int8], max_shift: int, items: int = ITEMS, index_bits: int = 0
) -> NDArray[np.int64]:
    """Words, which are cycles of a PE, of each output channel [N] of levels [K, N]."""
    if not max_shift and not index_bits:
        return 1 + split_words(levels, items)
    groups = group(items_of(levels, max_shift, items), levels.shape[1])
    # Steps that the next word does not carry have words of their own.
    words = word_counts(groups, items, index_bits) + parts(groups.gap, max_shift) - 1
    return np.diff(_starts(groups, words, levels.shape[1]))


def most_words(features: int, most: int, items: int) -> int:
    """Words of an output of so many features at most, of levels up to `most`, none of them filled.

    A level takes as many words as its items need, if none is negative, or one for its step.
    """
    count = np.arange(min(features, 2 * items) + 1)
    needed = np.maximum(item_words(count, 0 * count, items), 1)
    # The most words of so many items [features + 1], of levels with few items each.
    found = np.zeros(features + 1, np.int64)
    for _ in range(most):
        none = -most * features
        options = [np.append(np.full(n, none), found[: features + 1 - n]) for n in count.tolist()]
        found = np.max(options + needed[:, np.newaxis], axis=0)
    # Levels with more items have further words, which are full.
    return 1 + int(np.max(found + np.arange(features, -1, -1) // items))


def stream(
    levels: NDArray[np.int8],
    max_shift: int,
    items: int = ITEMS,
    index_bits: int = 0,
    filled: bool = True,
) -> Stream:
    """Lay out levels int8 [K, N] as running-sum words, channel after channel.

    Words are `filled` as far as `items_of` can, which takes most of the time.
    """
    groups = group(items_of(levels, max_shift, items, filled), levels.shape[1])
    placing = place(groups, items, index_bits)
    words = placing.words + parts(groups.gap, max_shift) - 1
    starts = _starts(groups, words, levels.shape[1])
    total = int(starts[-1])
    first = np.cumsum(words) - words + groups.column  # a last word for each earlier column

    minus, placed = _placed(groups, placing, first, total, items)
    # Before its first word, an output's register is as if it had subtracted.
    before = np.append(1, minus[:-1])
    fields = {"keep": (minus == before).astype(np.int64)}
    fields |= placed

    # The steps of a gap follow the group's words, the largest first.
    steps = parts(groups.gap, max_shift)
    at = np.repeat(first + words + 1 - steps, steps) + ranks(steps)
    for name in ("step", "shift", "last"):
        fields[name] = np.zeros(total, np.int64)
    fields["step"][at], fields["shift"][at] = 1, step_shifts(groups.gap, steps, max_shift)
    fields["last"][starts[1:] - 1] = 1

    # A lane takes x + 1 for an odd item of its word's sign, since ~x = -x - 1, and one more
    # for each word: no adder needs a carry of its own. The bias gives it back, as often as
    # steps follow the word.
    steps_until = np.cumsum(fields["step"] << fields["shift"])
    lengths = np.diff(starts)
    following = np.repeat(steps_until[starts[1:] - 1], lengths) - steps_until
    ones = 1 + np.sum([fields[f"complement{item}"] for item in range(1, items, 2)], axis=0)
    excess = following * ones * (1 - 2 * minus)
    correction = -np.add.reduceat(excess, starts[:-1])
    return Stream(fields, starts, correction)


def _placed(
    groups: Groups, placing: Placing, first: Ints, total: int, items: int
) -> tuple[Ints, dict[str, Ints]]:
    """[words] whether each of `total` words subtracts, and the fields of its items.

    The words of a group begin with `first` [G].
    """
    word, slot = placing.word + np.repeat(first, groups.items), placing.slot
    minus = np.ones(total, np.int64)
    minus[np.repeat(first, placing.words) + ranks(placing.words)] = ~placing.adding
    index, complement = np.full((items, total), -1), np.zeros((items, total), np.int64)
    index[slot, word] = groups.index
    complement[slot, word] = groups.negative == minus[word]
    fields = {f"index{item}": index[item] for item in range(items)}
    fields |= {f"complement{item}": complement[item] for item in range(1, items, 2)}
    return minus, fields


def shared_cost(
    levels: NDArray[np.int8], max_shift: int, items: int, index_bits: int = 0
) -> NDArray[np.int64]:
    """The same with `shared_words`, without the word at the end of a stream."""
    if not index_bits:
        return fill_words(levels, items, max_shift)
    groups = group(Items.of(levels), levels.shape[1])
    words = _shared_lengths(groups, word_counts(groups, items, index_bits), max_shift)
    return np.diff(_starts(groups, words, levels.shape[1], 0))


def _shared_lengths(groups: Groups, words: Ints, max_shift: int) -> Ints:
    """[G] words of each group, of which so many have items; one without any takes a word."""
    return np.maximum(words, 1) + parts(groups.gap, max_shift) - 1


def shared_stream(
    levels: NDArray[np.int8],
    max_shift: int,
    items: int,
    index_bits: int = 0,
    shares: Sequence[NDArray[np.integer]] | None = None,
) -> Stream:
    """Lay out levels int8 [K, N] as words of `shared_words`, channel after channel.

    The stream of a PE ends behind the last channel of each share; there is one of all, by default.
    """
    columns = int(levels.shape[1])
    shares = [np.arange(columns)] if shares is None else shares
    order = np.concatenate(shares)
    closes = np.isin(np.arange(columns), np.cumsum([len(share) for share in shares]) - 1)
    if index_bits:
        found = Items.of(levels[:, order])
    else:
        found = fill(levels, items, max_shift, order)
    groups = group(found, columns)
    placing = place(groups, items, index_bits) if index_bits else place_freely(groups, items)
    words = _shared_lengths(groups, placing.words, max_shift)
    starts = _starts(groups, words, columns, closes.astype(np.int64))
    total = int(starts[-1])
    first = np.cumsum(words) - words + (np.cumsum(closes) - closes)[groups.column]

    minus, placed = _placed(groups, placing, first, total, items)
    begins = np.zeros(total, bool)
    begins[starts[:-1]] = True
    keep = (minus == np.append(1, minus[:-1])) & ~begins
    last = begins.copy()
    ends = starts[1:][closes]
    last[starts[:-1]] = np.append(False, ~closes[:-1])
    last[ends - 1] = True
    fields = {"keep": (keep & ~last).astype(np.int64)}
    fields |= placed

    # The steps of a gap follow the group's words, the largest first; the last one of an output is
    # in the next one's first word, or in the one that closes the stream.
    steps = parts(groups.gap, max_shift)
    at = np.repeat(first + words + 1 - steps, steps) + ranks(steps)
    shifts = step_shifts(groups.gap, steps, max_shift)
    for name in ("step", "shift", "negate"):
        fields[name] = np.zeros(total, np.int64)
    fields["step"][at], fields["shift"][at], fields["negate"][at] = 1, shifts, 1 - minus[at - 1]
    fields["last"] = last.astype(np.int64)
    output: Ints = np.repeat(groups.column, steps)
    negations: Ints = fields["negate"][at]
    negated = np.bincount(output, negations, columns).astype(np.int64)
    excess = _following(output, at, shifts, starts) * _ones(fields) * (1 - 2 * minus)
    excess[ends - 1] = 0
    return Stream(fields, starts, -np.add.reduceat(excess, starts[:-1]) - negated)


def _ones(fields: Mapping[str, Ints]) -> Ints:
    """[words] what Q has too much: ~x = -x - 1, of the items, and of Q itself where it is kept."""
    return fields["keep"] + sum(
        bits for name, bits in fields.items() if name.startswith("complement")
    )


def _following(output: Ints, at: Ints, shifts: Ints, starts: Ints) -> Ints:
    """[words] levels of the steps that follow a word in its output.

    Steps [steps] are of these outputs, in these words; that of an output's first word is of the
    output before.
    """
    sizes, total = np.diff(starts), int(starts[-1])
    taken = np.bincount(output, 1 << shifts, len(sizes)).astype(np.int64)
    before = np.zeros(total + 1, np.int64)
    before[at + 1] = 1 << shifts
    before = np.cumsum(before)
    return np.repeat(taken, sizes) - before[1:] + np.repeat(before[starts[:-1] + 1], sizes)


class RunningSumCoding(Coding):
    """Items in the order of their magnitudes, and steps; the methods of this file."""

    @override
    def cost(self, levels: Levels, machine: Machine) -> Ints:
        own = shared_cost if machine.shared_words else cost
        return own(levels, machine.max_shift, machine.items, machine.index_bits)

    @override
    def closing(self, machine: Machine) -> int:
        return int(machine.shared_words)

    @override
    def stream(self, levels: Levels, machine: Machine) -> Stream:
        own = shared_stream if machine.shared_words else stream
        return own(levels, machine.max_shift, machine.items, machine.index_bits)

    @override
    def streams(
        self, levels: Levels, shares: Sequence[NDArray[np.integer]], machine: Machine
    ) -> list[Stream]:
        # Columns know nothing of one another, and all at once take a fraction of the time.
        if machine.shared_words:
            shape = machine.max_shift, machine.items, machine.index_bits
            whole = shared_stream(levels, *shape, shares)
        else:
            whole = self.stream(levels[:, np.concatenate(shares)], machine)
        return whole.cut([len(share) for share in shares])


CODING = RunningSumCoding()
