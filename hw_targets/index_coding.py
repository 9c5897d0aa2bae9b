# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How stream words tell the rows of their items, where they do not hold whole addresses.

With `index_bits` = D, a word has D bits for each item in place of the A bits of an address. What
they mean is up to the family, and is defined here for the compiler and the golden model; the
circuits are in `lowering/rtl/indices.py`. See RATIONALE.md.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import override

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.shape import ElementShape

Ints = NDArray[np.int64]
Words = Mapping[str, Ints]
"""The fields [rows] of stream words."""

INDEX, OFFSET, WINDOW, DELTA = "index", "offset", "window", "delta"
"""Fields of a word: an item's address, and what stands for it. All but `WINDOW` are numbered."""


class IndexForm(ABC):
    """What a word has in place of its items' addresses."""

    name: str
    """Of an item's field."""

    @abstractmethod
    def shared(self, shape: ElementShape) -> dict[str, int]:
        """The fields that a word has once, with their bits."""

    @abstractmethod
    def encode(self, words: Words, shape: ElementShape) -> dict[str, Ints]:
        """The fields in place of the addresses, of which -1 is that of a null item.

        Raises:
            ValueError: an item is out of the reach of its word.
        """

    @abstractmethod
    def decode(self, words: Words, shape: ElementShape) -> Ints:
        """The addresses [rows, items]; those of null items are the null address."""

    def fields(self, fields: Mapping[str, int], shape: ElementShape) -> dict[str, int]:
        """The fields of a word and their bits, for those with whole addresses."""
        coded = self.shared(shape)
        for name, bits in fields.items():
            if name.startswith(INDEX):
                coded[self.name + name.removeprefix(INDEX)] = shape.index_bits
            else:
                coded[name] = bits
        return coded

    def coded(self, words: Words, shape: ElementShape) -> dict[str, Ints]:
        """The words with their addresses encoded."""
        rest = {name: value for name, value in words.items() if not name.startswith(INDEX)}
        return self.encode(words, shape) | rest

    def addressed(self, words: Words, shape: ElementShape) -> dict[str, Ints]:
        """The words with their addresses decoded."""
        rows = self.decode(words, shape)
        return dict(words) | {f"{INDEX}{item}": rows[:, item] for item in range(rows.shape[1])}


class Windows(IndexForm):
    """A window of 2^D rows for all items of a word, which may be in any order.

    Item i reads row `2^(D-1)·window + offset<i>`, modulo the depth: windows begin at every half
    of their length, so that no adder is needed. An offset of all ones is a null item's.
    """

    name = OFFSET

    @override
    def shared(self, shape: ElementShape) -> dict[str, int]:
        return {WINDOW: shape.address_width - shape.index_bits + 1}

    @override
    def encode(self, words: Words, shape: ElementShape) -> dict[str, Ints]:
        rows, null = _stack(words, INDEX), window_reach(shape.index_bits)
        lowest = np.where(rows < 0, shape.null_address, rows).min(axis=1)
        begin = window_begin(lowest, shape.index_bits)
        offset = rows - begin[:, np.newaxis]
        _require_reach(rows, (rows < 0) | (offset < null))
        window = begin >> (shape.index_bits - 1)
        return {WINDOW: window} | _numbered(OFFSET, np.where(rows < 0, null, offset))

    @override
    def decode(self, words: Words, shape: ElementShape) -> Ints:
        offset = _stack(words, OFFSET)
        rows = (words[WINDOW] << (shape.index_bits - 1))[:, np.newaxis] + offset
        null = offset == window_reach(shape.index_bits)
        return np.where(null, shape.null_address, rows % shape.activation_depth)


def window_begin(row: Ints, bits: int) -> Ints:
    """The last row up to this one where a window begins."""
    return row >> (bits - 1) << (bits - 1)


def window_reach(bits: int) -> int:
    """Rows of a window, of which the one at the end cannot be told from a null item."""
    return (1 << bits) - 1


class Deltas(IndexForm):
    """The distance of each item from the one before it in the output, the first from row 0.

    For families whose items come in ascending order. No delta is a null item's: an item that
    only fills a place, or a gap that is too long for a delta, has a weight of zero.
    """

    name = DELTA

    @override
    def shared(self, shape: ElementShape) -> dict[str, int]:
        return {}

    @override
    def encode(self, words: Words, shape: ElementShape) -> dict[str, Ints]:
        rows = _stack(words, INDEX)
        flat, first = rows.reshape(-1), _first(words, rows.shape[1])
        # A null item stays where the last item was.
        known = np.maximum.accumulate(np.where(flat >= 0, np.arange(len(flat)), -1))
        filled = np.where(known >= first, flat[known], 0)
        before = np.where(first == np.arange(len(flat)), 0, np.append(0, filled[:-1]))
        delta = filled - before
        within = (delta >= 0) & (delta <= deltas_reach(shape.index_bits))
        _require_reach(rows, within.reshape(rows.shape))
        return _numbered(DELTA, delta.reshape(rows.shape))

    @override
    def decode(self, words: Words, shape: ElementShape) -> Ints:
        delta = _stack(words, DELTA)
        first = _first(words, delta.shape[1])
        sums = np.append(0, np.cumsum(delta.reshape(-1)))
        return ((sums[1:] - sums[first]) % shape.activation_depth).reshape(delta.shape)


def deltas_reach(bits: int) -> int:
    """The most rows from one item to the next."""
    return (1 << bits) - 1


class RunDistances(IndexForm):
    """The distance of each item from the one before it in its run, the first from row 0.

    A run is the items of one level, in ascending order: it begins with the word that has the step
    to the level, and with an output. A distance of all ones is a null item's: it leads as many rows
    on, and fills a gap that is too long for a distance, or a place behind the last item of a run.
    """

    name = DELTA

    @override
    def shared(self, shape: ElementShape) -> dict[str, int]:
        return {}

    @override
    def encode(self, words: Words, shape: ElementShape) -> dict[str, Ints]:
        rows, null = _stack(words, INDEX), deltas_reach(shape.index_bits)
        flat = rows.reshape(-1)
        places, first = np.arange(len(flat)), np.repeat(run_begins(words), rows.shape[1])
        first *= rows.shape[1]
        # The last item before each place, if it is of the same run.
        known = np.maximum.accumulate(np.where(flat >= 0, places, -1))
        known = np.append(-1, known[:-1])
        inside = known >= first
        before = np.where(inside, flat[known], 0)
        nulls = places - np.where(inside, known + 1, first)
        distance = np.where(flat >= 0, flat - before - null * nulls, null)
        within = (flat < 0) | ((distance >= 0) & (distance < null))
        _require_reach(rows, within.reshape(rows.shape))
        return _numbered(DELTA, distance.reshape(rows.shape))

    @override
    def decode(self, words: Words, shape: ElementShape) -> Ints:
        distance, null = _stack(words, DELTA), deltas_reach(shape.index_bits)
        first = np.repeat(run_begins(words), distance.shape[1]) * distance.shape[1]
        sums = np.append(0, np.cumsum(distance.reshape(-1)))
        rows = ((sums[1:] - sums[first]) % shape.activation_depth).reshape(distance.shape)
        return np.where(distance == null, shape.null_address, rows)


def run_begins(words: Words) -> Ints:
    """[rows] the first word of each word's run: of the level that its items are of."""
    count = len(words["last"])
    begins = (words["step"] > 0) | (np.append(1, words["last"][:-1]) > 0)
    return np.maximum.accumulate(np.where(begins, np.arange(count), 0))


def _first(words: Words, items: int) -> Ints:
    """[rows · items] the first item of each item's output."""
    last = words["last"]
    begins = np.flatnonzero(np.append(1, last[:-1])) if len(last) else np.zeros(0, np.int64)
    output = np.cumsum(last) - last
    return np.repeat(begins[output] * items, items)


def _stack(words: Words, name: str) -> Ints:
    """The numbered fields of this name, [rows, items]."""
    count = sum(field.startswith(name) for field in words)
    return np.stack([words[f"{name}{item}"] for item in range(count)], axis=1)


def _numbered(name: str, values: Ints) -> dict[str, Ints]:
    return {f"{name}{item}": values[:, item] for item in range(values.shape[1])}


def _require_reach(rows: Ints, within: NDArray[np.bool]) -> None:
    if not within.all():
        word = int(np.flatnonzero(~within.all(axis=1))[0])
        raise ValueError(f"word {word} does not reach the rows of its items: {rows[word].tolist()}")
