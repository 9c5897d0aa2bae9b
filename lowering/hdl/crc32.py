# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""CRC-32 as zlib has it (ISO 3309, reflected), one or several words at a time.

The register after a word is linear over GF(2) in the register exclusive-or the word: each of its
bits is the parity of a fixed choice of those 32 bits. After several words it is the parity of a
choice of the bits of all words, the register joining the first one.
"""

from collections.abc import Sequence
from functools import reduce

from daqkf.lowering.hdl.circuit import Signal, concat, named

BITS = 32
_POLYNOMIAL = 0xEDB88320
INITIAL = (1 << BITS) - 1
"""Of the register; its last value is inverted, too."""


def following(register: Signal, words: Signal) -> Signal:
    """The register after these words, whose lowest byte comes first."""
    mixed = named(register ^ words[:BITS], "crc_mixed")
    # A word acts as often on the register as there are words from it on.
    columns = [advance(1 << bit) for bit in range(BITS)]
    others: list[Signal] = []
    for place in range(words.width - BITS, 0, -BITS):
        word = words[place : place + BITS]
        others.append(named(_parities(word, columns), f"crc_word{place // BITS}"))
        columns = [advance(column) for column in columns]
    total = reduce(Signal.__xor__, others, _parities(mixed, columns))
    return named(total, "crc_following")


def _parities(bits: Signal, columns: Sequence[int]) -> Signal:
    """The parity of those bits in whose columns each bit of the result is."""
    return concat(
        *(
            reduce(Signal.__xor__, (bits[n] for n in range(BITS) if columns[n] >> bit & 1))
            for bit in reversed(range(BITS))
        )
    )


def advance(register: int) -> int:
    """The register after a word of zeros; exclusive-or the word first for any other."""
    for _ in range(BITS):
        register = (register >> 1) ^ (_POLYNOMIAL if register & 1 else 0)
    return register
