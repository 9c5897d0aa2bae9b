# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The queue of an array: a ring of descriptors in external memory, and what can go wrong with it.

A descriptor is a job: a program, activations and results, all in external memory. Rows of
activations and of results lie one after another without gaps, a row a byte for each lane.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np

from daqkf.hw_targets.fields import IMAGE_WORD_BITS, Fields
from daqkf.hw_targets.words import ADDRESS_BITS

DESCRIPTOR_BYTES = 64
"""The size of a descriptor, and what its address and the three addresses in it are multiples of."""

ROW_COUNT_BITS = 28
"""Bits of a count of rows, and of a count of words of a program."""

SIZE_BITS = 15
"""Bits of the number of descriptors of a queue."""

COUNT_BITS = SIZE_BITS + 1
"""Bits of the head and the tail of a queue of N descriptors, which count modulo 2·N: so a full
queue differs from an empty one, and a tail that is too far ahead can be told."""

MAX_QUEUE = (1 << SIZE_BITS) - 1
"""The most descriptors of a queue."""

QUEUE_ERROR_BITS = 4
"""Bits of a `QueueError`."""


class JobFlags(IntFlag):
    """What a descriptor says besides addresses and counts."""

    NONE = 0
    INTERRUPT = 1
    """The event `queue_done` when its results are in memory."""
    INDEPENDENT = 2
    """Its activations are no results of the job before, and can be read while that one runs."""


class QueueError(IntEnum):
    """Why a queue stopped: the field `error` of the register `queue_status`."""

    NONE = 0
    DOORBELL = 1
    """The doorbell's tail is not below twice the size of the queue."""
    ADDRESS = 2
    """The queue, or what a descriptor points at, is at no multiple of 64 below 2^40."""
    DESCRIPTOR = 3
    """A descriptor without rows of activations, or with bits that mean nothing."""
    READ = 4
    """External memory answered a read with an error."""
    WRITE = 5
    """External memory answered a write with an error."""
    TIMEOUT = 6
    """External memory did not answer for 2^16 cycles."""
    PROGRAM = 7
    """The array refused a program; `status.error` says why."""
    TILES = 8
    """The END of a program has a number of tiles; a queue runs programs for any number."""
    RESULTS = 9
    """The last row of results is not the last one of a tile."""
    STALLED = 10
    """Nothing moved for 2^16 cycles: the counts of rows are not those of the program, or there is
    none."""
    ARRAY = 11
    """The array failed; `status.error` says why."""
    OVERRUN = 12
    """The doorbell's tail is behind the one before, or says that there are more jobs than the queue
    has room for: descriptors were written over that had not been done."""


DESCRIPTOR = Fields(
    {
        "program": ADDRESS_BITS,
        "program_reserved": 2 * IMAGE_WORD_BITS - ADDRESS_BITS,
        "activations": ADDRESS_BITS,
        "activations_reserved": 2 * IMAGE_WORD_BITS - ADDRESS_BITS,
        "results": ADDRESS_BITS,
        "results_reserved": 2 * IMAGE_WORD_BITS - ADDRESS_BITS,
        "program_words": ROW_COUNT_BITS,
        "program_words_reserved": IMAGE_WORD_BITS - ROW_COUNT_BITS,
        "activation_rows": ROW_COUNT_BITS,
        "activation_rows_reserved": IMAGE_WORD_BITS - ROW_COUNT_BITS,
        "result_rows": ROW_COUNT_BITS,
        "result_rows_reserved": IMAGE_WORD_BITS - ROW_COUNT_BITS,
        "flags": max(JobFlags).bit_length(),
        "flags_reserved": IMAGE_WORD_BITS - max(JobFlags).bit_length(),
    },
    row_words=8 * DESCRIPTOR_BYTES // IMAGE_WORD_BITS,
)
"""The layout of a descriptor. Reserved fields are 0; what follows the flags is not looked at."""

RESERVED = tuple(name for name in DESCRIPTOR.widths if name.endswith("_reserved"))
ADDRESSES = ("program", "activations", "results")
"""The fields that are addresses of bytes."""


@dataclass(frozen=True)
class QueuedJob:
    """What a descriptor says.

    Raises:
        ValueError: an address or a count that an array would refuse.
    """

    activations: int
    """The address of the rows that go into the array."""
    activation_rows: int
    results: int
    """The address that its rows of results go to."""
    result_rows: int
    """0 for a program that keeps its sums."""
    program: int = 0
    """The address of the program's image, whose END has no number of tiles."""
    program_words: int = 0
    """Its 32-bit words; 0 keeps the program of the job before."""
    flags: JobFlags = JobFlags.NONE

    def __post_init__(self):
        for name in ADDRESSES:
            address = getattr(self, name)
            if address % DESCRIPTOR_BYTES or not 0 <= address < 1 << ADDRESS_BITS:
                raise ValueError(
                    f"{name} at {address:#x}; addresses are multiples of {DESCRIPTOR_BYTES} below "
                    f"2^{ADDRESS_BITS}"
                )
        for name, least in (("activation_rows", 1), ("result_rows", 0), ("program_words", 0)):
            count = getattr(self, name)
            if not least <= count < 1 << ROW_COUNT_BITS:
                raise ValueError(
                    f"{name} cannot be {count}; it is at least {least}, and below "
                    f"2^{ROW_COUNT_BITS}"
                )


def pack_descriptors(jobs: Sequence[QueuedJob]) -> bytes:
    """The descriptors of some jobs, as memory holds them one after another."""
    fields = {
        name: np.array([0 if name in RESERVED else getattr(job, name) for job in jobs], np.int64)
        for name in DESCRIPTOR.widths
    }
    return DESCRIPTOR.pack(fields).astype("<u4").tobytes()


def unpack_descriptors(data: bytes) -> list[QueuedJob]:
    """The jobs of descriptors that lie one after another.

    Raises:
        ValueError: bytes that are no whole number of descriptors, or a descriptor that an array
            would refuse.
    """
    if len(data) % DESCRIPTOR_BYTES:
        raise ValueError(f"{len(data)} bytes are no descriptors of {DESCRIPTOR_BYTES}")
    fields = DESCRIPTOR.unpack(np.frombuffer(data, "<u4").reshape(-1, DESCRIPTOR.words))
    jobs: list[QueuedJob] = []
    for number in range(len(data) // DESCRIPTOR_BYTES):
        found = {name: int(values[number]) for name, values in fields.items()}
        wrong = [name for name in RESERVED if found.pop(name)]
        if wrong:
            raise ValueError(f"descriptor {number} has bits in {wrong[0]}")
        flags = JobFlags(found.pop("flags"))
        jobs.append(QueuedJob(**found, flags=flags))
    return jobs
