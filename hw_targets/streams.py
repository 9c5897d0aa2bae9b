# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How the streams of an array's elements lie in external memory.

A memory port brings the streams of some neighbouring PEs. A kernel there begins with a beat of
the port whose lowest `ROWS_BITS` are its number of rows: the words of the longest stream of any
PE. Behind these 32 bits there is a CRC-32 of all beats that follow, which the array does not look
at. In the beats behind it, row r has word r of each of the port's PEs side by side, and padding
up to whole 32-bit words; the words of a PE whose stream has ended are zero. Rows follow one
another without a gap, across beats. So a kernel takes as many beats on each port.

With a `stream_code`, a row has a slot of bits of each PE's code in place of a word, as many for
all. The elements' decoders take them from their FIFOs as they need them. What stands in place of
the CRC-32 is then a checksum that the array does look at, as it cannot see whether bits of a code
are wrong: `checksum`.
"""

import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets import varint
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.fields import IMAGE_WORD_BITS
from daqkf.hw_targets.words import stream_word, stream_words

Words = NDArray[np.uint32]

ALIGNMENT = 4096
"""What the address of a port's streams is a multiple of, in bytes: no burst of AXI4 crosses it."""

ROWS_BITS = 28
"""Bits of the number of rows in the first beat of a kernel."""

WATCHDOG_BITS = 16
"""Memory that gives nothing for 2^16 cycles, though it was asked to, is taken for dead."""

_CHUNK = 1 << 14
"""Rows whose bits are spread out at once."""


CHECKSUM_BITS = 32
"""Bits of what tells that beats are those that were written."""

_ROTATION = 5
"""Bits by which each 32-bit word of a beat is rotated further than the one before it."""

CODED_BITS_AN_ITEM = 5.3
"""Bits that a word of a dense code takes for each of its places, about, where they are not counted:
4.4 to 6.1 in MiniLM at 50 and 70 % zeros, the most where outputs have many inputs."""


def is_coded(config: ArrayConfig) -> bool:
    """Whether what memory holds is a code of the words."""
    return config.stream_code != "plain"


@lru_cache(maxsize=1 << 14)
def slot_bits(config: ArrayConfig) -> int:
    """Bits that a row has for one PE: a word of the widest family, or the longest packet."""
    if is_coded(config):
        longest = varint.Layout.of(config).longest
        return -(-longest // IMAGE_WORD_BITS) * IMAGE_WORD_BITS
    return max(word.width for word in stream_words(config).values())


def fifo_bits(config: ArrayConfig, pe: int) -> int:
    """Bits of a row of the memory or the FIFO that a PE takes its stream from."""
    # A slot of a code has one more, which marks a kernel's last.
    return slot_bits(config) + 1 if is_coded(config) else stream_word(config, pe).width


def port_pes(config: ArrayConfig) -> int:
    """PEs whose streams one port brings."""
    return config.pes // config.memory_ports


def row_bits(config: ArrayConfig) -> int:
    """Bits of a row in memory."""
    return -(-port_pes(config) * slot_bits(config) // IMAGE_WORD_BITS) * IMAGE_WORD_BITS


def gearbox_grains(config: ArrayConfig) -> tuple[int, int, int]:
    """Bits of a grain, the largest part of which both rows and beats have a whole number; and the
    grains that a port's reader holds at most, and at most when a beat enters."""
    row, beat = row_bits(config), config.memory_bits
    grain = gcd(row, beat)
    held = (row + beat) // grain - 1
    # A beat enters when less than a row is held, or as a row leaves.
    return grain, held, min(held, 2 * row // grain - 1)


def kernel_beats(config: ArrayConfig, rows: int) -> int:
    """Beats of a port that a kernel of so many rows takes; what has no stream has none."""
    return 1 + -(-rows * row_bits(config) // config.memory_bits) if rows else 0


def expected_rows(config: ArrayConfig, words: int) -> int:
    """The rows of a kernel whose longest stream has so many words; of a dense code, about."""
    if not is_coded(config):
        return words
    return int(np.ceil(words * CODED_BITS_AN_ITEM * config.items / slot_bits(config)))


def memory_rows(stream: Words, lengths: Iterable[int], config: ArrayConfig) -> int:
    """The rows of a kernel of these packed words [Σ lengths, words] of all PEs.

    Raises:
        ValueError: words that the array's `stream_code` does not have.
    """
    if not is_coded(config):
        return max(lengths)
    streams = np.split(stream, np.cumsum(list(lengths))[:-1])
    return max(len(coded(words, pe, config)) for pe, words in enumerate(streams))


def coded(words: Words, pe: int, config: ArrayConfig) -> Words:
    """The slots [rows, 32-bit words] of the code of a PE's packed words.

    Raises:
        ValueError: words that the array's `stream_code` does not have.
    """
    found = _coded(words.tobytes(), words.shape[1], pe, config)
    return np.frombuffer(found, "<u4").reshape(-1, slot_bits(config) // IMAGE_WORD_BITS)


@lru_cache(maxsize=256)
def _coded(words: bytes, width: int, pe: int, config: ArrayConfig) -> bytes:
    rows = np.frombuffer(words, "<u4").reshape(-1, width)
    fields = stream_words(config)[config.family(pe)].unpack(rows)
    bits = varint.encode(FAMILIES[config.family(pe)].word.played(fields, config), config)
    bits = np.append(bits, np.zeros(-len(bits) % slot_bits(config), np.uint8))
    return np.packbits(bits, bitorder="little").tobytes()


def checksum(rows: int, beats: bytes, config: ArrayConfig) -> int:
    """What a kernel of coded streams has in its first beat.

    A register of 32 bits holds the number of rows, and with each beat is rotated by 1 and takes the
    XOR of the beat's 32-bit words, each rotated by 5 bits more than the one before. So every single
    wrong bit changes it, and two do unless their places agree.
    """
    lanes = config.memory_bits // CHECKSUM_BITS
    words = np.frombuffer(beats, "<u4").reshape(-1, lanes)
    folded = np.zeros(len(words), np.uint32)
    for lane in range(lanes):
        folded ^= _rotated(words[:, lane], _ROTATION * lane)
    register = np.uint32(rows)
    count = len(folded)
    found = _rotated(np.array([register]), count)
    for age in range(min(count, CHECKSUM_BITS)):
        of_age = folded[::-1][age::CHECKSUM_BITS]
        found ^= _rotated(np.bitwise_xor.reduce(of_age, keepdims=True), age)
    return int(found[0])


def rotation(lane: int) -> int:
    """By how many bits the checksum rotates a 32-bit word of a beat."""
    return _ROTATION * lane % CHECKSUM_BITS


def _rotated(words: Words, bits: int) -> Words:
    """Rotated towards the most significant bit."""
    left = bits % CHECKSUM_BITS
    if not left:
        return words.astype(np.uint32)
    return (words << np.uint32(left)) | (words >> np.uint32(CHECKSUM_BITS - left))


def pack_rows(words: Sequence[Words], rows: int, config: ArrayConfig) -> bytes:
    """The beats of a kernel on one port.

    Args:
        words: the packed words of each of the port's PEs, of shape [at most rows, words]; or of
            a code its slots (`coded`).
        rows: the rows of the kernel, those of the longest stream on any port.
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
    check = checksum(rows, packed, config) if is_coded(config) else zlib.crc32(packed)
    first = np.array([rows, check], "<u4").tobytes()
    return first.ljust(beat, b"\0") + packed


def unpack_rows(data: bytes, place: int, config: ArrayConfig) -> tuple[list[Words], int]:
    """The packed words [at most rows, words] of each of a port's PEs, of the kernel at a beat.

    Also where the next kernel begins.

    Raises:
        ValueError: the beats end before the rows do, are not those of the checksum, or no words
            have such a code.
    """
    beat, slot, width = config.memory_bits // 8, slot_bits(config), row_bits(config)
    count, check = np.frombuffer(data, "<u4", 2, place * beat).tolist()
    following = place + kernel_beats(config, count)
    if not 0 < count < 1 << ROWS_BITS or following * beat > len(data):
        raise ValueError(f"a kernel of {count} rows at beat {place} of {len(data) // beat}")
    beats = data[(place + 1) * beat : following * beat]
    if check != (checksum(count, beats, config) if is_coded(config) else zlib.crc32(beats)):
        raise ValueError(f"the kernel at beat {place} is damaged")
    rows = np.frombuffer(beats, np.uint8, count * width // 8).reshape(-1, width // 8)
    most = -(-slot // IMAGE_WORD_BITS)
    if not is_coded(config):
        most = max(most, *(word.words for word in stream_words(config).values()))
    found = np.zeros((port_pes(config), len(rows), most), np.uint32)
    for start in range(0, len(rows), _CHUNK):
        bits = np.unpackbits(rows[start : start + _CHUNK], axis=1, bitorder="little")
        for number, words in enumerate(found):
            own = np.zeros((len(bits), most * IMAGE_WORD_BITS), np.uint8)
            own[:, :slot] = bits[:, number * slot : (number + 1) * slot]
            words[start : start + _CHUNK] = np.packbits(own, axis=1, bitorder="little").view("<u4")
    if not is_coded(config):
        return list(found), following
    try:
        return [_decoded(slots, pe, config) for pe, slots in enumerate(found)], following
    except ValueError as error:
        raise ValueError(f"the kernel at beat {place}: {error}") from None


def _decoded(slots: Words, pe: int, config: ArrayConfig) -> Words:
    """The packed words of the code in a PE's slots."""
    bits = np.unpackbits(slots.view(np.uint8).reshape(-1), bitorder="little")
    family = config.family(pe)
    fields = varint.decode(bits, config)
    return stream_words(config)[family].pack(FAMILIES[family].word.encoded(fields, config))
