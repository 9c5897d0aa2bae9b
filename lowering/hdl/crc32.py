# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""CRC-32 as zlib has it (ISO 3309, reflected), a word at a time.

The register after a word is linear over GF(2) in the register exclusive-or the word: each of its
bits is the parity of a fixed choice of those 32 bits.
"""

from functools import reduce

from daqkf.lowering.hdl.circuit import Signal, concat, named

BITS = 32
_POLYNOMIAL = 0xEDB88320
INITIAL = (1 << BITS) - 1
"""Of the register; its last value is inverted, too."""


def following(register: Signal, word: Signal) -> Signal:
    """The register after this word, whose lowest byte comes first."""
    mixed = named(register ^ word, "crc_mixed")
    columns = [advance(1 << bit) for bit in range(BITS)]
    bits = concat(
        *(
            reduce(Signal.__xor__, (mixed[n] for n in range(BITS) if columns[n] >> bit & 1))
            for bit in reversed(range(BITS))
        )
    )
    return named(bits, "crc_following")


def advance(register: int) -> int:
    """The register after a word of zeros; exclusive-or the word first for any other."""
    for _ in range(BITS):
        register = (register >> 1) ^ (_POLYNOMIAL if register & 1 else 0)
    return register
