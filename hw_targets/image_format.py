# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The format of a program image: its header, its commands, and which array it is for."""

import json
import zlib
from dataclasses import asdict
from enum import IntEnum
from functools import cache

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fields import IMAGE_WORD_BITS

IMAGE_MAGIC = 0x464B5144
"""`DQKF` in little-endian bytes, the first word of a program image."""

IMAGE_VERSION = 8
"""The version of the format, the second word of a program image."""


class Header(IntEnum):
    """The words of a program image's header, in order; the body follows.

    Behind the body of an image for an array with memory ports is what the memory has to hold
    (`streams`), port after port. The array never sees it there.
    """

    MAGIC = 0
    VERSION = 1
    FINGERPRINT = 2
    """CRC-32 of the array's configuration: `fingerprint`."""
    LENGTH = 3
    """Words of the body."""
    CRC = 4
    """CRC-32 of the body's bytes."""


def beat_words(config: ArrayConfig) -> int:
    """Words of a beat, in which an array takes its images.

    Each word of a command, K, N, and each row begins with a beat, which words of 0 fill up.
    """
    return config.program_bits // IMAGE_WORD_BITS


def header_padding(config: ArrayConfig) -> int:
    """Words of 0 with which a body begins: those that fill the last beat of the header."""
    return -len(Header) % beat_words(config)


class Command(IntEnum):
    """Commands of a program image's body.

    A command is `{op[31:28], unit[27:0]}` and a second word: a count of rows, each row
    `row_words` words, the least significant first. Each of the two words and each row begins with
    a beat (`beat_words`), at which images for arrays that take a word at a time have nothing to
    fill up. KERNEL has K as its second word and N
    as its one row; END has no rows, and as its second word the tiles that the program is for, or
    0 if that is any number. Only arrays of two banks take a number other than 0.
    """

    END = 0
    STREAM = 1
    """Rows of the stream memory of PE `unit`, from address 0."""
    PARAMETERS = 2
    """Rows of the parameter memory, from address 0: row `slot · parameter_stride + pe`. Where two
    share a beat (`words.parameters_together`), such pairs are counted."""
    TABLE = 3
    """The activation table: 256 values of a byte, `words.table_values` in a row."""
    KERNEL = 4
    """The kernel's features K and outputs N."""
    DISPATCH = 5
    """Rows of the decision table, by bucket; `unit` is the shift that makes a bucket of a
    count of zeros. Only for arrays that have a SPAQ unit."""
    CHAIN = 6
    """Rows of the chain's table, a kernel each. Only for arrays that chain kernels; KERNEL then
    has the first one's K and the last one's N."""
    MEMORY = 7
    """One row, `memory_row`: where the streams of the PEs of memory port `unit` are. Only for
    arrays that have such ports, and in place of STREAM."""


COMMAND_OP_SHIFT = 28
"""The lowest bit of a command's `op`."""

KERNEL_TOP_K, KERNEL_WIDE, KERNEL_ATTENDS, KERNEL_ADDS, KERNEL_KEEPS = (
    1 << bit for bit in range(27, 32)
)
"""Bits beside N in the row of KERNEL: only the largest of its wide results are given, only of
arrays with a `top_k`; its results are wide (`results`), only of arrays with `wide_results`; its
activations are sequences (`operands`), only of arrays with operand memories; its sums go on from
partial sums, and stay partial ones, only of arrays that keep these."""

MAX_TILES = (1 << 16) - 1
"""The most tiles that a program can say it is for."""


_ADDED = {
    "row_solvers": 1,
    "program_bits": IMAGE_WORD_BITS,
    "post_multiplier": "luts",
    "shared_words": False,
    "stream_code": "plain",
    "wide_results": False,
    "row_exponents": 0,
    "result_memory": "block",
    "partial_memory": "block",
    "table_memory": "block",
    "stream_memory": "block",
    "causal": False,
    "rms_norms": False,
    "epsilon_width": 0,
    "top_k": 0,
    "features_together": 1,
    "reads_ahead": False,
}
"""Options that came after this version of images, and what arrays without them have."""


@cache
def fingerprint(config: ArrayConfig) -> int:
    """CRC-32 of the canonical JSON of a config and of the image version.

    An image is for the array: whether there is a queue in front of it is not part of it. Options
    that an array does without are not, either, if they came later.
    """
    shape = {
        name: value
        for name, value in asdict(config).items()
        if name != "queue" and not (name in _ADDED and value == _ADDED[name])
    }
    canonical = json.dumps([IMAGE_VERSION, shape], sort_keys=True)
    return zlib.crc32(canonical.encode())
