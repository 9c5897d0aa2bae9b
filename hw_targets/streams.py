# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How the streams of an array's elements lie in external memory.

A memory port brings the streams of some neighbouring PEs. A kernel there begins with a beat of
the port whose lowest `ROWS_BITS` are its number of rows: the words of the longest stream of any
PE. Behind these 32 bits there is a CRC-32 of all beats that follow, which the array does not look
at. In the beats behind it, row r has word r of each of the port's PEs side by side, and padding
up to whole 32-bit words; the words of a PE whose stream has ended are zero. Rows follow one
another without a gap, across beats. So a kernel takes as many beats on each port.
"""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.words import stream_words

ALIGNMENT = 4096
"""What the address of a port's streams is a multiple of, in bytes: no burst of AXI4 crosses it."""

ROWS_BITS = 28
"""Bits of the number of rows in the first beat of a kernel."""

WATCHDOG_BITS = 16
"""Memory that gives nothing for 2^16 cycles, though it was asked to, is taken for dead."""

_CHUNK = 1 << 14
"""Rows whose bits are spread out at once."""


def slot_bits(config: ArrayConfig) -> int:
    """Bits that a row has for the word of one PE: those of the widest family."""
    return max(word.width for word in stream_words(config).values())


def port_pes(config: ArrayConfig) -> int:
    """PEs whose streams one port brings."""
    return config.pes // config.memory_ports


def row_bits(config: ArrayConfig) -> int:
    """Bits of a row in memory."""
    return -(-port_pes(config) * slot_bits(config) // IMAGE_WORD_BITS) * IMAGE_WORD_BITS


def kernel_beats(config: ArrayConfig, rows: int) -> int:
    """Beats of a port that a kernel of so many rows takes; what has no stream has none."""
    return 1 + -(-rows * row_bits(config) // config.memory_bits) if rows else 0


def pack_rows(words: Sequence[NDArray[np.uint32]], rows: int, config: ArrayConfig) -> bytes:
    """The beats of a kernel on one port.

    Args:
        words: the packed words of each of the port's PEs, of shape [at most rows, words].
        rows: the length of the longest stream on any port.
        config: of the array.
    """
    slot, width = slot_bits(config), row_bits(config)
    parts: list[bytes] = []
    for start in range(0, rows, _CHUNK):
        bits = np.zeros((min(_CHUNK, rows - start), width), np.uint8)
        for number, stream in enumerate(words):
            own = np.ascontiguousarray(stream[start : start + _CHUNK].astype("<u4")).view(np.uint8)
            spread = np.unpackbits(own, axis=1, bitorder="little")[:, :slot]
            low = number * slot
            bits[: len(own), low : low + spread.shape[1]] = spread
        parts.append(np.packbits(bits, axis=1, bitorder="little").tobytes())
    beat = config.memory_bits // 8
    packed = b"".join(parts).ljust((kernel_beats(config, rows) - 1) * beat, b"\0")
    first = np.array([rows, zlib.crc32(packed)], "<u4").tobytes()
    return first.ljust(beat, b"\0") + packed


def unpack_rows(data: bytes, place: int, config: ArrayConfig) -> list[NDArray[np.uint32]]:
    """The packed words [rows, words] of each of a port's PEs, of the kernel at a beat.

    Raises:
        ValueError: the beats end before the rows do, or are not those of the CRC-32.
    """
    beat, slot, width = config.memory_bits // 8, slot_bits(config), row_bits(config)
    count, crc = np.frombuffer(data, "<u4", 2, place * beat).tolist()
    end = (place + kernel_beats(config, count)) * beat
    if not 0 < count < 1 << ROWS_BITS or end > len(data):
        raise ValueError(f"a kernel of {count} rows at beat {place} of {len(data) // beat}")
    if zlib.crc32(data[(place + 1) * beat : end]) != crc:
        raise ValueError(f"the kernel at beat {place} is damaged")
    rows = np.frombuffer(data, np.uint8, count * width // 8, (place + 1) * beat)
    rows = rows.reshape(-1, width // 8)
    most = max(word.words for word in stream_words(config).values())
    found = np.zeros((port_pes(config), len(rows), most), np.uint32)
    for start in range(0, len(rows), _CHUNK):
        bits = np.unpackbits(rows[start : start + _CHUNK], axis=1, bitorder="little")
        for number, words in enumerate(found):
            own = np.zeros((len(bits), most * IMAGE_WORD_BITS), np.uint8)
            own[:, :slot] = bits[:, number * slot : (number + 1) * slot]
            words[start : start + _CHUNK] = np.packbits(own, axis=1, bitorder="little").view("<u4")
    return list(found)
