# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Programs of products whose columns come one after another, such as the keys of a text.

Where the words of an output say nothing of other outputs, a column's words are the same in every
program that has it. Here they are made once and kept. Outputs go to the elements in turns, so that
those there were stay where they are; words are not filled up, which would take most of the time.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.rpea import ProgramOp
from daqkf.dialects.spaq.attention import Factors
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.words import stream_word
from daqkf.lowering.conversions.streams import pack, product_program
from daqkf.passes.encode import running_sum

_FAMILY = "running_sum"

_MOST = 1 << 16
"""Columns that are kept; with more of them, all are forgotten."""

_Column = tuple[NDArray[np.uint32], int]
"""The words of a column, of which none is a stream's last one, and its correction."""


def separable(machine: Machine) -> bool:
    """Whether the words of an output say nothing of other outputs."""
    return set(machine.families) == {_FAMILY} and not (machine.shared_words or machine.index_bits)


def most_stream_words(machine: Machine, products: Sequence[tuple[int, int, int]]) -> int:
    """Words of an element's stream in all of these products, at most.

    They are of so many features and outputs, and of levels up to so much.
    """
    return sum(
        -(-outputs // machine.pes) * running_sum.most_words(features, most, machine.items)
        for features, outputs, most in products
    )


class SeparateColumns:
    """The words of columns for an array, which are made once for each column."""

    def __init__(self, config: ArrayConfig):
        self._config = config
        self._kept: dict[bytes, _Column] = {}
        self.made = 0
        """Columns whose words have been made."""

    def program(
        self, name: str, array: str, levels: NDArray[np.int8], factors: Factors, keep: bool
    ) -> ProgramOp:
        """The program of int8 [T, K] → int8 [T, N] with these weights [K, N].

        Args:
            name: of the operation.
            array: the name of the array.
            levels: the weights.
            factors: a multiplier and a shift for each output.
            keep: whether other programs may have columns of this one.
        """
        config, count = self._config, levels.shape[1]
        columns = self._columns(levels, keep)
        shares = [np.arange(pe, count, config.pes) for pe in range(config.pes)]
        streams = [self._stream([columns[n] for n in share], pe) for pe, share in enumerate(shares)]
        bias = np.array([correction for _, correction in columns], np.int64)
        return product_program(
            name,
            array,
            levels.shape[0],
            streams=streams,
            shares=shares,
            bias=bias,
            factors=factors,
            config=config,
        )

    def _columns(self, levels: NDArray[np.int8], keep: bool) -> list[_Column]:
        """The words of each column of levels [K, N]."""
        if not keep:
            return self._made(levels)
        names = [column.tobytes() for column in np.ascontiguousarray(levels.T)]
        if len(self._kept) + len(names) > _MOST:
            self._kept.clear()
        unknown = {name: n for n, name in enumerate(names) if name not in self._kept}
        if unknown:
            made = self._made(levels[:, list(unknown.values())])
            self._kept |= zip(unknown, made, strict=True)
        return [self._kept[name] for name in names]

    def _made(self, levels: NDArray[np.int8]) -> list[_Column]:
        """The words of columns that are not known."""
        config = self._config
        stream = running_sum.stream(levels, config.max_shift, config.items, filled=False)
        words = pack(stream, _FAMILY, config, None, ends=False)
        self.made += levels.shape[1]
        corrections = np.broadcast_to(stream.correction, levels.shape[1]).tolist()
        return list(zip(np.split(words, stream.starts[1:-1]), corrections, strict=True))

    def _stream(self, columns: Sequence[_Column], pe: int) -> NDArray[np.uint32]:
        """The words of an element's columns, of which the last one says that they end."""
        if not columns:
            return pack(None, _FAMILY, self._config, None)
        words = np.concatenate([own for own, _ in columns])
        place, bit = divmod(stream_word(self._config, pe).offsets["end"], IMAGE_WORD_BITS)
        words[-1, place] |= np.uint32(1 << bit)
        return words
