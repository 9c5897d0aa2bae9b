# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the indices of streams take: the choice of `index_bits`, and other ways to store weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.block_ram import ramb18s
from daqkf.hw_targets.config import ArrayConfig, memory_depth, smallest_array
from daqkf.hw_targets.fields import Fields
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.streams import fifo_bits
from daqkf.hw_targets.timing import tile_cycles
from daqkf.hw_targets.words import stream_word
from daqkf.passes.encode.channels import share_out_channels
from daqkf.passes.encode.grouping import group_sorted
from daqkf.passes.encode.splitting import Items

Levels = NDArray[np.int8]
Ints = NDArray[np.int64]

SLOWDOWN = 0.05
"""The share of cycles that may be spent on block RAM."""


@dataclass(frozen=True)
class Streams:
    """The streams of some kernels on a machine."""

    machine: Machine
    words: Sequence[Ints]
    """[P] of each kernel's PEs."""
    layouts: Sequence[Fields]
    """Of the word of each PE, for the kernel with the most features."""
    cycles: int
    """Of a tile, through all kernels."""

    @classmethod
    def of(cls, kernels: Sequence[Levels], machine: Machine) -> "Streams":
        """The streams of kernels of levels [K, N].

        Raises:
            ValueError: levels that the machine's families cannot hold.
        """
        layouts = word_layouts(machine, max(len(levels) for levels in kernels))
        words, cycles = list[Ints](), 0
        for levels in kernels:
            _, each = share_out_channels(levels, machine)
            words.append(np.maximum(each, 1))
            cycles += tile_cycles(words[-1], levels.shape[1], machine)
        return cls(machine, words, layouts, cycles)

    @property
    def depth(self) -> int:
        """Words of a PE's stream memory, a power of two."""
        most = max(int(each.max()) for each in self.words)
        return memory_depth(most)

    @property
    def ramb18s(self) -> int:
        """Block RAM of the stream memories, in halves of RAMB36."""
        return sum(ramb18s(self.depth, layout.width) for layout in self.layouts)

    @property
    def bits(self) -> int:
        """Of all words, as they are in memory."""
        widths = np.array([layout.width for layout in self.layouts])
        return int(sum(each @ widths for each in self.words))


def choose(kernels: Sequence[Levels], machine: Machine) -> Machine:
    """The machine with the `index_bits` at which the streams of kernels take least block RAM.

    Of those that add at most `SLOWDOWN` to the cycles; of several the one of the fewest. They are
    whole addresses, if none takes less than those.

    Raises:
        ValueError: levels that the machine's families cannot hold.
    """
    features = max(len(levels) for levels in kernels)
    best = whole = Streams.of(kernels, replace(machine, index_bits=0))
    for bits in range(smallest_array(whole.machine, features).address_width - 1, 1, -1):
        try:
            candidate = replace(machine, index_bits=bits)
        except ValueError:
            continue  # not for these elements
        # Fewer bits only make streams longer.
        if replace(whole, layouts=word_layouts(candidate, features)).ramb18s >= best.ramb18s:
            continue
        found = Streams.of(kernels, candidate)
        if found.cycles > whole.cycles * (1 + SLOWDOWN):
            break
        if found.depth <= machine.stream_limit and found.ramb18s < best.ramb18s:
            best = found
    return best.machine


def word_layouts(machine: Machine, features: int) -> list[Fields]:
    """The word of each PE for kernels of so many features."""
    config = smallest_array(machine, features)
    return [stream_word(config, pe) for pe in range(machine.pes)]


@dataclass(frozen=True)
class Storage:
    """Bits of levels [K, N] in other forms: divide by `nonzeros` for bits per weight."""

    nonzeros: int
    bitmap: float
    """A bit for every weight, and for each non-zero its value: a sign and a magnitude's number."""
    csr: float
    """For each non-zero a row of ceil(log2 K) bits and its value; a pointer for each output."""
    bound: float
    """Entropy of a uniform choice among all matrices that have as many weights of each magnitude
    in each output, with any signs; what tells the counts themselves is left out."""

    @classmethod
    def of(cls, levels: Levels) -> "Storage":
        """What levels int8 [K, N] take."""
        rows, outputs = levels.shape
        items = Items.of(levels)
        nonzeros = len(items.index)
        groups = group_sorted(items.column, items.level, items.index, items.negative, outputs)
        real = groups.items > 0
        magnitudes = np.bincount(groups.column[real], minlength=outputs)
        value = 1 + _index_bits(max(int(magnitudes.max()), 1))
        counts = np.bincount(groups.column, groups.items, outputs)
        return cls(
            nonzeros,
            bitmap=float(rows * outputs + nonzeros * value),
            csr=float(
                nonzeros * (_index_bits(rows) + value) + (outputs + 1) * _index_bits(nonzeros + 1)
            ),
            bound=nonzeros + _arrangements(rows, counts, groups.items),
        )


def storage_facts(
    config: ArrayConfig,
    programs: Sequence[Ints],
    kernels: Sequence[Levels],
    beats: int = 0,
) -> dict[str, Any]:
    """What the streams of an array take, and other forms of the weights; JSON-able.

    Args:
        config: the array.
        programs: [P] stream words of each PE, of each program.
        kernels: levels [K, N] of each program.
        beats: those of a memory port that brings the streams of all programs.

    Returns:
        `stream_ramb36`, the block RAM of the stream memories; and `bits_per_weight`, bits per
        non-zero weight of all streams, of the forms in `Storage`, by name, and of the `entropy` of
        the levels. Where streams come from external memory, they are what that holds, with all
        that it takes: `stream`, and `all`, which is per weight, zeros included.
    """
    widths = np.array([fifo_bits(config, pe) for pe in range(config.pes)])
    forms = [Storage.of(levels) for levels in kernels]
    nonzeros = max(sum(form.nonzeros for form in forms), 1)
    totals = {"stream": float(sum(words @ widths for words in programs))}
    if config.memory_bits:
        totals["stream"] = float(beats * config.memory_bits * config.memory_ports)
    totals |= {name: sum(getattr(f, name) for f in forms) for name in ("bitmap", "csr", "bound")}
    totals["entropy"] = sum(entropy(levels) for levels in kernels)
    found = {name: round(bits / nonzeros, 3) for name, bits in totals.items()}
    if config.memory_bits:
        weights = max(sum(levels.size for levels in kernels), 1)
        found["all"] = round(totals["stream"] / weights, 3)
    return {
        "stream_ramb36": sum(ramb18s(config.stream_depth, int(width)) for width in widths) / 2,
        "bits_per_weight": found,
    }


def entropy(levels: Levels) -> float:
    """Bits of levels [K, N] if each weight is drawn by itself, with the shares that they have."""
    _, counts = np.unique(levels, return_counts=True)
    return float(-(counts * np.log2(counts / levels.size)).sum())


def _index_bits(count: int) -> int:
    """Bits that tell `count` things apart."""
    return (count - 1).bit_length()


def _arrangements(rows: int, nonzeros: NDArray[np.float64], counts: Ints) -> float:
    """Σ log2 (K! / ((K - nnz)! · Π c!)) over outputs, c being the counts of their magnitudes."""
    from scipy.special import gammaln  # pyright: ignore[reportMissingTypeStubs]

    logs = len(nonzeros) * gammaln(rows + 1) - gammaln(rows - nonzeros + 1).sum()
    return float((logs - gammaln(counts + 1).sum()) / np.log(2))
