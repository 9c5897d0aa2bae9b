# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Cycles that a program takes on an array behind a memory, from one tile to the next.

`timing.speed` compares schedules and leaves out what all have in common; this is for plans, so it
also has the rows that arrive and that move from one kernel to the next, the latency of elements and
post unit, and how far the FIFOs are ahead of the elements. The constants are those of the RTL, as
`test/integration/test_planning.py` holds them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fan_out import late_results, tree_latency
from daqkf.hw_targets.image_format import beat_words
from daqkf.hw_targets.memory import MemoryTiming
from daqkf.hw_targets.numerics import TABLE_SIZE
from daqkf.hw_targets.results import result_rows
from daqkf.hw_targets.streams import expected_rows, kernel_beats, row_bits
from daqkf.hw_targets.words import (
    parameter_row,
    parameters_together,
    stream_row_words,
    table_values,
)

LATENCY = 26
"""Cycles from the last word of a kernel to its last result: the stages of an element of eight items
and those of the post unit. The ones that some arrays have more are less than ten."""

POLLING = 5
"""Cycles from the start of a kernel to its first output, before which the post unit idles."""

MOVING = 3
"""Cycles between two kernels beside one for each row that moves, and those by which rows of results
come late."""

STORING = 1
"""Cycles from the last result of a tile to the first row of the next one."""

DROPPED = 96
"""Beats at most that a reader has asked for in vain, where it did not know which kernel follows."""

BURST = 1.01
"""What refreshes cost beside their own time, as bursts begin anew behind them."""


@dataclass(frozen=True)
class KernelWork:
    """A product of activations with weights, as an array runs it."""

    features: int
    outputs: int
    words: int
    """Of the longest stream."""
    wide: bool = False
    """Whether its results are wide, of which each takes two rows."""
    stream_rows: int = 0
    """Rows of external memory that its streams take; 0: as many as `words` take, or of a dense code
    about."""

    @property
    def rows(self) -> int:
        """Rows of its results."""
        return result_rows(self.outputs, self.wide)

    def beats(self, config: ArrayConfig) -> int:
        """Beats of a memory port."""
        return kernel_beats(config, self.stream_rows or expected_rows(config, self.words))


@dataclass(frozen=True)
class RowWork:
    """What the row unit does with the results of the kernel before it."""

    cycles: int
    outputs: int

    @property
    def rows(self) -> int:
        """Rows of its results."""
        return self.outputs


Step = KernelWork | RowWork


@dataclass
class TileCycles:
    """Cycles from one tile to the next, by what they are for."""

    lanes: float = 0
    """Elements add, and keep up with everything else."""
    post: float = 0
    """Elements wait for the post unit."""
    memory: float = 0
    """Elements or results wait for external memory."""
    rows: float = 0
    """The row unit works."""
    moving: float = 0
    """Rows arrive, or move from one kernel to the next, and pipelines fill and empty."""
    beats: int = field(default=0, kw_only=True)
    """Of each memory port; they are not in the total."""

    @property
    def total(self) -> float:
        """The sum of all cycles."""
        return self.lanes + self.post + self.memory + self.rows + self.moving

    def causes(self) -> dict[str, float]:
        """What the cycles are for."""
        names = ("lanes", "post", "memory", "rows", "moving")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class _Array:
    """What of an array is the same for all of its tiles."""

    latency: int
    """Cycles from the last word of a kernel to its last result."""
    moving: int
    """Cycles between two kernels, beside those of the rows that move."""
    most: float
    """Beats that the FIFOs hold."""


@lru_cache(maxsize=1 << 14)
def _array(config: ArrayConfig) -> _Array:
    return _Array(
        latency=LATENCY + tree_latency(config),
        moving=MOVING + late_results(config),
        most=config.stream_depth * row_bits(config) / config.memory_bits
        if config.memory_bits
        else 0.0,
    )


class _Ahead:
    """How many beats the FIFOs are ahead of the elements."""

    def __init__(self, most: float, memory: MemoryTiming):
        lost = BURST * memory.pause / memory.interval if memory.interval else 0
        self.rate = memory.beats / memory.cycles * (1 - lost)
        self.most = most
        self.beats = 0.0

    def empty(self) -> None:
        """What the FIFOs have is not what the elements need."""
        self.beats = 0.0

    def wait(self, cycles: float) -> None:
        """The elements do nothing for so long; or memory, if that is negative."""
        self.beats = min(self.most, self.beats + cycles * self.rate)

    def take(self, beats: int, cycles: float) -> float:
        """The elements take so many beats in so many cycles; how many more they wait for them."""
        lacking = beats - self.beats - cycles * self.rate
        self.beats = min(self.most, max(0.0, -lacking))
        return max(0.0, lacking / self.rate)


def tile_cycles_of(
    steps: Sequence[Step], config: ArrayConfig, memory: MemoryTiming | None = None
) -> TileCycles:
    """Cycles from one tile to the next of a program that runs over many.

    Args:
        steps: of the program, in order; the first one is a kernel.
        config: of the array.
        memory: behind each of its ports; without one, a beat comes in each cycle.
    """
    if not config.memory_bits:
        return _tile(steps, config, None)
    ahead = _Ahead(_array(config).most, memory or MemoryTiming(latency=0, beats=1, cycles=1))
    _tile(steps, config, ahead)
    # The FIFOs are then as full as they are when the next tile comes.
    return _tile(steps, config, ahead)


def least_cycles(steps: Sequence[Step], config: ArrayConfig) -> int:
    """Cycles of a tile in which rows arrive and pipelines fill and empty: those that every array
    has beside the ones in which its elements, its post unit or its row unit work."""
    first = steps[0]
    assert isinstance(first, KernelWork)
    kernels = sum(isinstance(each, KernelWork) for each in steps)
    return config.tile_beats(first.features) + STORING + LATENCY * kernels


def _tile(steps: Sequence[Step], config: ArrayConfig, ahead: _Ahead | None) -> TileCycles:
    found = TileCycles()
    first = steps[0]
    assert isinstance(first, KernelWork)
    array = _array(config)
    moving = array.moving
    _move(found, ahead, config.tile_beats(first.features) + STORING)
    for before, step in zip((None, *steps), steps, strict=False):
        if isinstance(step, RowWork):
            found.rows += step.cycles
            if ahead:
                ahead.wait(step.cycles)
            continue
        if before is not None:
            _move(found, ahead, before.rows + moving)
        _run(found, ahead, step, config, array.latency)
    # A tile's results leave while the next one runs.
    last = config.tile_beats(steps[-1].rows)
    found.moving += max(0.0, last + moving - found.total)
    return found


def _move(found: TileCycles, ahead: _Ahead | None, cycles: int) -> None:
    found.moving += cycles
    if ahead:
        ahead.wait(cycles)


def _run(
    found: TileCycles,
    ahead: _Ahead | None,
    step: KernelWork,
    config: ArrayConfig,
    latency: int,
) -> None:
    """Elements run, until the last result is there, so many cycles behind their last word."""
    post = step.rows * config.post_cycles + POLLING
    if ahead:
        beats = step.beats(config)
        found.beats += beats
        found.memory += ahead.take(beats, max(step.words, post) + latency)
    found.lanes += step.words
    found.post += max(0, post - step.words)
    found.moving += latency


class Turns:
    """Programs that run for one tile each, of which a host makes the activations of the next one.

    Each is loaded into the other bank while the one before runs. Where that one ends the banks
    change; results leave, a host makes activations of them, and these arrive. Meanwhile the readers
    fill the FIFOs, and those that read ahead (`Machine.reads_ahead`) have begun to before.
    """

    def __init__(self, config: ArrayConfig, memory: MemoryTiming):
        """An array with two banks, and what is behind each of its ports."""
        self._config, self._memory = config, memory
        self._ahead = _Ahead(_array(config).most, memory)

    def take(self, step: KernelWork, results: int = 0, host: float = 0.0) -> TileCycles:
        """Cycles of the next program, from the end of the one before.

        Args:
            step: what it does.
            results: rows of results that its activations are made of; 0 if these are there already.
            host: cycles from the last of these results to the first activation.
        """
        config, found, ahead = self._config, TileCycles(), self._ahead
        comes: float = config.tile_beats(step.features) + STORING
        if results:
            comes += config.tile_beats(results) + _array(config).moving + host
        found.moving += comes
        pause = self._memory.latency
        if not config.reads_ahead:
            ahead.empty()
            pause = max(pause, DROPPED)
        # Nothing comes while memory still owes something of the program before.
        ahead.wait(comes - pause)
        _run(found, ahead, step, config, _array(config).latency)
        return found


def program_beats(steps: Sequence[Step], config: ArrayConfig) -> int:
    """Beats of a program's image, about: as many cycles does it take to load one."""
    return sum(_parts(steps, config))


def _parts(steps: Sequence[Step], config: ArrayConfig) -> Iterator[int]:
    parameters = _beats(parameter_row(config).words, config)
    for step in steps:
        yield TABLE_SIZE // table_values(config)
        # A slot of the elements has a row for each of them, one of the row unit has no gaps.
        own = config.pes if isinstance(step, KernelWork) else config.parameter_stride
        rows = -(-step.outputs // own) * config.parameter_stride
        yield -(-rows * parameters // parameters_together(config))
        if isinstance(step, KernelWork) and not config.memory_bits:
            yield config.pes * step.words * _beats(stream_row_words(config), config)


def _beats(words: int, config: ArrayConfig) -> int:
    """Beats of a row of so many words of an image."""
    return -(-words // beat_words(config))
