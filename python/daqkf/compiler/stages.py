# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Programs of a network as the host runs them: what they move, and the jobs that they are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.rpea import (
    ChainOp,
    Playable,
    ProgramOp,
    Runnable,
    RunOp,
    TiledOp,
    is_wide,
    result_columns,
)
from daqkf.dialects.rpea.interpreter import require_tokens
from daqkf.dialects.spaq import ConcatOp
from daqkf.dialects.spaq.checks import features as columns_of
from daqkf.hw_targets import numerics
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.operands import AttentionKernel
from daqkf.hw_targets.results import Results, join_top_k, result_rows
from daqkf.lowering.image.encode import encode, for_top_k, parts_of
from daqkf.lowering.image.queue_memory import QueueMemory, Rows
from daqkf.runtime.accelerators import Accelerator
from daqkf.runtime.simulator import Job, padded, sequence_header


@dataclass(frozen=True)
class Stage:
    """A program of a network, and what it moves for a token."""

    name: str
    """The symbol of the kernel that it is part of."""
    program: Runnable = field(repr=False)
    brought: int = 0
    """Bytes of a token that go to the array only to be added there."""

    @property
    def attends(self) -> bool:
        """Whether activations are sequences."""
        return isinstance(self.program, ChainOp) and self.program.tiles is not None

    @property
    def features(self) -> int:
        """Bytes of a token that go to the array; those of sequences go twice."""
        return self.program.features.value.data * (1 + self.attends)

    @property
    def wide(self) -> bool:
        """Whether results are wide."""
        return is_wide(self.program)

    @property
    def outputs(self) -> int:
        """Bytes of a token that come back."""
        return result_rows(result_columns(self.program), self.wide)

    @property
    def kernels(self) -> int:
        """Layers that follow one another on the array."""
        return len(self._layers)

    @property
    def rows(self) -> dict[str, int]:
        """What the row unit does between and behind them, and how often."""
        parts = parts_of(self.program) if isinstance(self.program, ChainOp) else []
        kinds = [part.name for part in parts if not isinstance(part, ProgramOp)]
        return dict(Counter(kind.removeprefix("rpea.") for kind in kinds))

    @property
    def saved(self) -> int:
        """Bytes of a token that neither leave nor come back, as layers follow one another, less
        those that go to the array to be added."""
        # Of attention, the host would get all that it is of, and give the results.
        first = AttentionKernel.QUERIES + 1 if self.attends else 1
        leave = sum(layer.channels for layer in self._layers[:-1])
        come = sum(layer.features.value.data for layer in self._layers[first:])
        return leave + come - self.brought - self.features // 2 * self.attends

    @property
    def _layers(self) -> Sequence[Runnable]:
        if not isinstance(self.program, ChainOp):
            return [self.program]
        return [
            part
            for part in parts_of(self.program)
            if isinstance(part, ProgramOp) and part.operands_from is None
        ]

    @cached_property
    def programs(self) -> list[list[Playable]]:
        """What is loaded: one program, or the parts of each group of a kernel that is tiled."""
        if isinstance(self.program, TiledOp):
            return [list[Playable](group) for group in self.program.groups()]
        return [[self.program]]

    @cached_property
    def images(self) -> list[list[bytes]]:
        """The image of each program."""
        return [[encode(program) for program in group] for group in self.programs]

    def jobs(
        self, x: NDArray[np.int8], lengths: Sequence[int] = (), *, top_k: bool = False
    ) -> list[list[Job]]:
        """The jobs that an array has to run for activations [T, K], by group of outputs.

        Activations may be sequences of these lengths, all for one program. As many tiles as there
        are partial sums for go through a part before the next one. With `top_k`, programs give only
        the largest of their wide results, if they have as many.
        """
        config = self.program.target().config.data
        if isinstance(self.program, ChainOp) and self.attends:
            ((image,),) = self.images
            sequences = tuple(lengths) or (len(x),)
            for tokens in sequences:
                require_tokens(self.program, tokens)
            return [[Job(image, x, self.program.channels, sequences)]]
        groups: list[list[Job]] = []
        for programs, images in zip(self.programs, self.images, strict=True):
            rows, jobs = len(x), list[Job]()
            if len(programs) > 1:
                rows = config.lanes * (config.partial_depth // programs[0].channels)
            for first in range(0, len(x), rows):
                low = 0
                for program, image in zip(programs, images, strict=True):
                    high = low + program.features.value.data
                    part = np.ascontiguousarray(x[first : first + rows, low:high])
                    keeps = program is not programs[-1]
                    outputs = 0 if keeps else result_columns(program)
                    if top_k and outputs > config.top_k:
                        image = for_top_k(image, config)
                        outputs = numerics.TOP_K_COLUMNS * config.top_k
                    jobs.append(Job(image, part, outputs, wide=self.wide and not keeps))
                    low = high
            groups.append(jobs)
        return groups

    def reads(self, rows: Rows) -> bool:
        """Whether jobs of a queue can read these results where they are."""
        parts = self.programs[0]
        lows = np.cumsum([0, *(part.features.value.data for part in parts[:-1])]).tolist()
        step = rows.block if len(parts) == 1 else 1
        every = range(len(rows.sequences))
        if self.attends and any(rows.tiles(sequence) > rows.block for sequence in every):
            return False
        return all(
            rows.at(sequence, tile, low) is not None
            for sequence in every
            for tile in range(0, rows.tiles(sequence), step)
            for low in lows
        )

    def enqueue(
        self, memory: QueueMemory, x: NDArray[np.int8] | Rows, lengths: Sequence[int] = ()
    ) -> Rows:
        """Put jobs for activations into a queue, and say where their results will be.

        Args:
            memory: of the queue.
            x: activations [T, K], or results of jobs before that `reads` has found good.
            lengths: the tokens of each sequence, in a function with attention.

        Raises:
            ValueError: a sequence of more tokens than there is room for.
        """
        if isinstance(x, Rows):
            sequences, given = x.sequences, [x] * len(x.sequences)
        else:
            sequences = tuple(lengths) or (len(x),)
            given = np.split(x, np.cumsum(sequences[:-1], dtype=np.int64))
        rows = [result_rows(result_columns(group[-1]), self.wide) for group in self.programs]
        results = memory.results(rows, sequences, self._block(memory.config, x), self.wide)
        for number, own in enumerate(given):
            if self.attends:
                self._enqueue_sequence(memory, own, results, number)
            else:
                self._enqueue_tiles(memory, own, results, number)
        return results

    def _block(self, config: ArrayConfig, x: NDArray[np.int8] | Rows) -> int | None:
        """The tiles of a job, if it has not all of a sequence."""
        if len(self.programs[0]) == 1:
            return x.block if isinstance(x, Rows) else None
        # A part of the features of a tile is not beside that of the next tile.
        most = config.partial_depth // max(group[0].channels for group in self.programs)
        return 1 if isinstance(x, Rows) else most

    def _enqueue_tiles(
        self, memory: QueueMemory, x: NDArray[np.int8] | Rows, results: Rows, sequence: int
    ) -> None:
        """Jobs for the tiles of a sequence, or of all tokens.

        As many as there are partial sums for go through a part of a kernel before the next one.
        """
        tiles, block = results.tiles(sequence), results.block
        for (own_rows, places), programs, images in zip(
            results.pieces, self.programs, self.images, strict=True
        ):
            for first in range(0, tiles, block):
                low, count = 0, min(block, tiles - first)
                for program, image in zip(programs, images, strict=True):
                    high = low + program.features.value.data
                    address = _place(memory, x, (sequence, first, count), (low, high))
                    kept = program is not programs[-1]
                    to = 0 if kept else places[sequence][first]
                    rows = 0 if kept else count * own_rows
                    own = memory.program(image)
                    memory.add(own, address, count * (high - low), to, rows)
                    low = high

    def _enqueue_sequence(
        self, memory: QueueMemory, x: NDArray[np.int8] | Rows, results: Rows, sequence: int
    ) -> None:
        """Jobs of attention, whose tiles come twice, behind a row with the number of tokens."""
        assert isinstance(self.program, ChainOp)
        tokens, tiles, lanes = results.sequences[sequence], results.tiles(sequence), results.lanes
        require_tokens(self.program, tokens)
        ((image,),) = self.images
        program = memory.program(image)
        ((channels, places),) = results.pieces
        to, rows = places[sequence][0], tiles * channels
        if not isinstance(x, Rows):
            beats = Job(image, x, channels, (tokens,)).beats(lanes)
            memory.add(program, memory.store(beats.tobytes()), len(beats), to, rows)
            return
        source = x.at(sequence)
        assert source is not None
        memory.add(program, memory.store(sequence_header(tokens, lanes).tobytes()), 1)
        memory.add(program, source, tiles * x.features)
        memory.add(program, source, tiles * x.features, to, rows)

    def run(
        self,
        accelerator: Accelerator,
        x: NDArray[np.int8],
        lengths: Sequence[int] = (),
    ) -> Results:
        """The results [T, N] of activations [T, K], which may be sequences."""
        return np.concatenate(self._results(accelerator, self.jobs(x, lengths)), axis=1)

    def largest(
        self, accelerator: Accelerator, x: NDArray[np.int8]
    ) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
        """The largest results of each of the activations [T, K], which the array finds.

        Returns their numbers and values, both [T, `top_k` of the array].

        Raises:
            ProgramImageError: results are not wide, or it is no such array.
        """
        count = self.program.target().config.data.top_k
        outputs = [group[-1].channels for group in self.programs]
        pairs: list[NDArray[np.int16]] = []
        found = self._results(accelerator, self.jobs(x, top_k=True))
        for results, own in zip(found, outputs, strict=True):
            wide = results.astype(np.int16, copy=False)
            # A group that has no more gives all of its results.
            pairs.append(wide if own > count else numerics.top_k(wide, own))
        return join_top_k(pairs, outputs, count)

    def _results(self, accelerator: Accelerator, groups: list[list[Job]]) -> list[Results]:
        """The results of jobs by group."""
        results = iter(accelerator.run([job for jobs in groups for job in jobs]))
        columns: list[Results] = []
        for jobs in groups:
            own = zip(jobs, islice(results, len(jobs)), strict=True)
            columns.append(np.concatenate([y for job, y in own if job.outputs]))
        return columns


def _place(
    memory: QueueMemory,
    x: NDArray[np.int8] | Rows,
    tiles: tuple[int, int, int],
    features: tuple[int, int],
) -> int:
    """Where some features are of the tiles of a sequence, so many from one on."""
    (sequence, first, count), (low, high) = tiles, features
    if isinstance(x, Rows):
        address = x.at(sequence, first, low)
        assert address is not None
        return address
    lanes = memory.config.lanes
    part = np.ascontiguousarray(x[first * lanes : (first + count) * lanes, low:high])
    return memory.store(padded(part, (len(part),), lanes).tobytes())


def brought(op: RunOp) -> int:
    """Bytes of a token that a call brings to the array only to be added there."""
    joined = op.input.owner
    return columns_of(joined.inputs[0]) if isinstance(joined, ConcatOp) else 0
