# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Programs and jobs → external memory as a queue finds it, and the results that are there then.

`hw_targets.descriptors` has what a descriptor says. Everything else lies where a `QueueMemory` puts
it: programs and their streams once each, activations, room for results, and the descriptors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.descriptors import (
    DESCRIPTOR_BYTES,
    MAX_QUEUE,
    JobFlags,
    QueuedJob,
    pack_descriptors,
)
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.results import Results, join_rows
from daqkf.hw_targets.streams import ALIGNMENT
from daqkf.hw_targets.words import ADDRESS_BITS
from daqkf.lowering.image.encode import at_addresses, split_image

_WORD_BYTES = IMAGE_WORD_BITS // 8


@dataclass(frozen=True)
class Rows:
    """Activations or results in external memory: a row for each feature of a tile, T bytes each.

    The features of wide results are their rows, two of each.

    The features may be in several pieces, one behind another, each with all tiles.
    """

    pieces: tuple[tuple[int, tuple[tuple[int, ...], ...]], ...]
    """The features of each piece, and where its tiles of each sequence are."""
    sequences: tuple[int, ...]
    """Tokens that tiles begin anew for; of one sequence, if it does not matter."""
    lanes: int
    block: int
    """So many tiles are side by side."""
    wide: bool = False
    """They are wide results, which take two rows each, and which no job reads."""

    @property
    def features(self) -> int:
        """Of all pieces."""
        return sum(features for features, _ in self.pieces)

    def tiles(self, sequence: int) -> int:
        """The tiles of a sequence."""
        return -(-self.sequences[sequence] // self.lanes)

    def at(self, sequence: int, tile: int = 0, low: int = 0) -> int | None:
        """Where the features of a tile from one on are; none if they are in several pieces, or not
        at a multiple of `DESCRIPTOR_BYTES`."""
        (_, places), *others = self.pieces
        place = places[sequence][tile] + low * self.lanes
        return None if others or place % DESCRIPTOR_BYTES else place


@dataclass(frozen=True)
class StoredProgram:
    """Where a program's image is, whose streams are in memory, too."""

    address: int
    words: int


@dataclass(frozen=True)
class Queue:
    """External memory with a queue in it, of which all jobs are to run at one doorbell."""

    content: bytes
    """What memory holds from `base` on."""
    base: int
    """A multiple of `streams.ALIGNMENT`."""
    descriptors: int
    """The address of the first one."""
    jobs: tuple[QueuedJob, ...]

    @property
    def rows(self) -> int:
        """Rows of activations that go into the array."""
        return sum(job.activation_rows for job in self.jobs)


class QueueMemory:
    """External memory that a host fills with what its jobs need.

    Args:
        config: the array that runs them.
        base: the address of the first byte that may be used.

    Raises:
        ValueError: the system of this array has no queue, or a base that is no multiple of
            `streams.ALIGNMENT`.
    """

    def __init__(self, config: ArrayConfig, base: int = 0):
        if not config.queue:
            raise ValueError(
                "the system of this array has no queue; compile for a target with queue = true, "
                "such as 'wide-queue'"
            )
        if base % ALIGNMENT or not 0 <= base < 1 << ADDRESS_BITS:
            raise ValueError(f"memory at {base:#x}; it begins at a multiple of {ALIGNMENT}")
        self.config, self.base = config, base
        self.jobs: list[QueuedJob] = []
        self._content = bytearray()
        self._programs: dict[bytes, StoredProgram] = {}
        self._loaded: StoredProgram | None = None

    @property
    def content(self) -> bytes:
        """What memory holds from `base` on so far."""
        return bytes(self._content)

    def reserve(self, size: int, alignment: int = DESCRIPTOR_BYTES) -> int:
        """The address of so many bytes that are free, and zero until something is written there.

        Raises:
            ValueError: they are beyond what addresses reach.
        """
        self._content += bytes(-len(self._content) % alignment)
        place = self.base + len(self._content)
        if place + size > 1 << ADDRESS_BITS:
            raise ValueError(f"the queue needs memory beyond 2^{ADDRESS_BITS}")
        self._content += bytes(size)
        return place

    def store(self, data: bytes, alignment: int = DESCRIPTOR_BYTES) -> int:
        """The address of these bytes."""
        place = self.reserve(len(data), alignment)
        self._content[place - self.base :] = data
        return place

    def program(self, image: bytes) -> StoredProgram:
        """A program, for any number of tiles, and its streams; each image is stored once."""
        if image not in self._programs:
            loaded, outside = split_image(image)
            size = len(outside) // self.config.memory_ports
            parts = [outside[first : first + size] for first in range(0, len(outside), size or 1)]
            addresses = [self.store(part, ALIGNMENT) for part in parts]
            loaded = at_addresses(loaded, addresses, self.config)
            words = len(loaded) // _WORD_BYTES
            self._programs[image] = StoredProgram(self.store(loaded), words)
        return self._programs[image]

    def results(
        self,
        features: Sequence[int],
        sequences: Sequence[int],
        block: int | None = None,
        wide: bool = False,
    ) -> Rows:
        """Room for results, a piece for each number of features.

        Of a sequence, so many tiles are side by side; all of them, if it is not said.
        """
        lanes, pieces = self.config.lanes, list[tuple[int, tuple[tuple[int, ...], ...]]]()
        tiles = [-(-tokens // lanes) for tokens in sequences]
        block = block or max(tiles)
        for count in features:
            size, places = count * lanes, list[tuple[int, ...]]()
            for number in tiles:
                own: list[int] = []
                for first in range(0, number, block):
                    some = min(block, number - first)
                    place = self.reserve(some * size)
                    own += [place + tile * size for tile in range(some)]
                places.append(tuple(own))
            pieces.append((count, tuple(places)))
        return Rows(tuple(pieces), tuple(sequences), lanes, block, wide)

    def add(
        self,
        program: StoredProgram,
        activations: int,
        activation_rows: int,
        results: int = 0,
        result_rows: int = 0,
    ) -> None:
        """A job. The program is loaded unless it is that of the job before.

        Activations that are no results of the job before are read ahead.
        """
        stays = program == self._loaded
        self._loaded = program
        last = self.jobs[-1] if self.jobs else None
        lanes, flags = self.config.lanes, JobFlags.INDEPENDENT
        if last is not None:
            end = last.results + last.result_rows * lanes
            if last.results < activations + activation_rows * lanes and activations < end:
                flags = JobFlags.NONE
        self.jobs.append(
            QueuedJob(
                activations=activations,
                activation_rows=activation_rows,
                results=results,
                result_rows=result_rows,
                program=0 if stays else program.address,
                program_words=0 if stays else program.words,
                flags=flags,
            )
        )

    def queue(self) -> Queue:
        """The memory with the descriptors of all jobs, of which the last one interrupts.

        Raises:
            ValueError: there are no jobs, or more than a ring of descriptors has room for.
        """
        if not 0 < len(self.jobs) <= MAX_QUEUE:
            raise ValueError(f"{len(self.jobs)} jobs; a queue has 1 to {MAX_QUEUE}")
        *before, last = self.jobs
        jobs = (*before, replace(last, flags=last.flags | JobFlags.INTERRUPT))
        place = self.store(pack_descriptors(jobs), ALIGNMENT)
        return Queue(bytes(self._content), self.base, place, jobs)

    def read(self, rows: Rows, content: bytes) -> Results:
        """The results [tokens, outputs] in what memory holds when a queue has run.

        Lanes without a token are left out.
        """
        lanes, columns = rows.lanes, list[NDArray[np.int8]]()
        for features, places in rows.pieces:
            tokens: list[NDArray[np.int8]] = []
            for own, count in zip(places, rows.sequences, strict=True):
                size = features * lanes
                tiles = [
                    np.frombuffer(content, np.int8, size, place - self.base).reshape(-1, lanes).T
                    for place in own
                ]
                tokens.append(np.concatenate(tiles)[:count])
            columns.append(np.concatenate(tokens))
        return join_rows(np.concatenate(columns, axis=1), rows.wide)
