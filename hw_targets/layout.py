# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The array's shapes and bit layouts, each defined once.

The stream word, the parameter row and the program image are read from here by the stream
writer, the interpreter, the circuit generator and the simulator harness.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.decision import MAX_BUCKETS, MAX_VARIANTS
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.machine import UNITS, Machine
from daqkf.hw_targets.numerics import (
    ACCUMULATOR_MAX_BITS,
    ACTIVATION_BITS,
    EXPONENT_BITS,
    MULTIPLIER_BITS,
    NORMALIZED_BITS,
    SHIFT_MAX,
    TABLE_SIZE,
)

IMAGE_MAGIC = 0x464B5144
"""`DQKF` in little-endian bytes, the first word of a program image."""

IMAGE_VERSION = 7

IMAGE_WORD_BITS = 32


class Header(IntEnum):
    """The words of a program image's header, in order; the body follows."""

    MAGIC = 0
    VERSION = 1
    FINGERPRINT = 2
    """CRC-32 of the array's configuration: `ArrayConfig.fingerprint`."""
    LENGTH = 3
    """Words of the body."""
    CRC = 4
    """CRC-32 of the body's bytes."""


class Command(IntEnum):
    """Commands of a program image's body.

    A command is `{op[31:28], unit[27:0]}` and a second word: a count of rows, each row
    `row_words` words, the least significant first. KERNEL has K as its second word and N
    as its one row; END has no rows, and as its second word the tiles that the program is for, or
    0 if that is any number. Only arrays of two banks take a number other than 0.
    """

    END = 0
    STREAM = 1
    """Rows of the stream memory of PE `unit`, from address 0."""
    PARAMETERS = 2
    """Rows of the parameter memory, from address 0: row `slot · parameter_stride + pe`."""
    TABLE = 3
    """The activation table: 256 rows of one byte."""
    KERNEL = 4
    """The kernel's features K and outputs N."""
    DISPATCH = 5
    """Rows of the decision table, by bucket; `unit` is the shift that makes a bucket of a
    count of zeros. Only for arrays that have a SPAQ unit."""
    CHAIN = 6
    """Rows of the chain's table, a kernel each. Only for arrays that chain kernels; KERNEL then
    has the first one's K and the last one's N."""


COMMAND_OP_SHIFT = 28

KERNEL_ATTENDS, KERNEL_ADDS, KERNEL_KEEPS = 1 << 29, 1 << 30, 1 << 31
"""Bits beside N in the row of KERNEL: its activations are sequences (`operands`), only of arrays
with operand memories; its sums go on from partial sums, and stay partial ones, only of arrays that
keep these."""

MAX_KERNELS = 16
"""Of a chain."""

MAX_TILES = (1 << 16) - 1
"""That a program can say it is for."""

VARIANT_BITS = (MAX_VARIANTS - 1).bit_length()
"""Of the port `status_variant`."""


class Fills(IntEnum):
    """Whether a kernel's results become operands, and which: `rpea.operands`."""

    NOTHING = 0
    FEATURES = 1
    """An operand word has features of a token: keys."""
    TOKENS = 2
    """An operand word has tokens of a feature: values."""


class Phase(IntEnum):
    """What the array is doing: its port `status_phase`."""

    EMPTY = 0
    LOADING_PROGRAM = 1
    READY = 2
    LOADING_ACTIVATIONS = 3
    RUNNING = 4
    STORING = 5
    CHAINING = 6
    """Results of a kernel become the activations of the next one."""
    ERROR = 7


class LoadError(IntEnum):
    """Why the array refused a program: its port `status_error`."""

    NONE = 0
    MAGIC = 1
    VERSION = 2
    FINGERPRINT = 3
    COMMAND = 4
    LENGTH = 5
    """It ended before its header's length, or went on. Only seen by arrays of two banks."""
    CHECKSUM = 6
    """Its words are not those of its header's CRC-32. Only seen by arrays of two banks."""


@dataclass(frozen=True)
class Fields:
    """A packed row: named unsigned fields, the first in the least significant bits."""

    widths: Mapping[str, int]
    row_words: int = 1
    """The least number of 32-bit words of a row in a program image."""

    @cached_property
    def offsets(self) -> dict[str, int]:
        """The lowest bit of each field."""
        offsets, position = {}, 0
        for name, width in self.widths.items():
            offsets[name] = position
            position += width
        return offsets

    @cached_property
    def width(self) -> int:
        """Bits of the row."""
        return sum(self.widths.values())

    @property
    def words(self) -> int:
        """32-bit words that carry a row in a program image."""
        return max(-(-self.width // IMAGE_WORD_BITS), self.row_words)

    def pack(self, fields: Mapping[str, NDArray]) -> NDArray[np.uint32]:
        """Rows [n] of fields → words [n, words]; negative values wrap to their width.

        Raises:
            ValueError: a value does not fit its field.
        """
        rows = len(next(iter(fields.values())))
        words = np.zeros((rows, self.words), np.uint64)
        for name, width in self.widths.items():
            values = np.asarray(fields[name], np.int64)
            if values.size and (values.min() < -(1 << (width - 1)) or values.max() >= 1 << width):
                raise ValueError(f"{name} does not fit {width} bits")
            bits = values.astype(np.uint64) & np.uint64((1 << width) - 1)
            index, shift = divmod(self.offsets[name], IMAGE_WORD_BITS)
            taken = 0
            while taken < width:
                words[:, index] |= ((bits >> np.uint64(taken)) << np.uint64(shift)) & np.uint64(
                    0xFFFFFFFF
                )
                taken += IMAGE_WORD_BITS - shift
                index, shift = index + 1, 0
        return words.astype(np.uint32)

    def unpack(self, words: NDArray[np.uint32]) -> dict[str, NDArray[np.int64]]:
        """Words [n, words] → the unsigned fields [n]: what `pack` was given, modulo 2^width."""
        fields = {}
        for name, width in self.widths.items():
            index, shift = divmod(self.offsets[name], IMAGE_WORD_BITS)
            value = words[:, index].astype(np.uint64) >> np.uint64(shift)
            taken = IMAGE_WORD_BITS - shift
            while taken < width:
                index += 1
                value |= words[:, index].astype(np.uint64) << np.uint64(taken)
                taken += IMAGE_WORD_BITS
            fields[name] = (value & np.uint64((1 << width) - 1)).astype(np.int64)
        return fields


@dataclass(frozen=True)
class ArrayConfig(Machine):
    """Everything that shapes the generated circuit; two arrays of one config are one circuit.

    Raises:
        ValueError: as for a machine, widths that shrink or exceed 32 bits, or counts of buckets
            or kernels that are not powers of two within their limits.
    """

    running_sum_width: int
    """Bits of a lane's running sum R."""
    accumulator_width: int
    """Bits of a lane's accumulator A."""
    sum_width: int
    """Bits of A + bias."""
    buckets: int = 1
    """Rows of the SPAQ unit's decision table. With 1 there is no unit and nothing to decide."""
    kernels: int = 1
    """Kernels that can follow one another on the array. With 1 nothing is chained."""

    def __post_init__(self):
        super().__post_init__()
        if self.running_sum_width <= ACTIVATION_BITS:
            raise ValueError("the running sum must be wider than an activation")
        if not self.running_sum_width <= self.accumulator_width <= self.sum_width:
            raise ValueError("widths must not shrink from running sum to accumulator to sum")
        if self.accumulator_width < self.sum_width and any(
            FAMILIES[name].modular for name in self.families
        ):
            raise ValueError(
                f"accumulators of {self.accumulator_width} bits; these families need all "
                f"{self.sum_width} of a sum"
            )
        if self.sum_width > ACCUMULATOR_MAX_BITS:
            raise ValueError(f"sums of {self.sum_width} bits; at most {ACCUMULATOR_MAX_BITS}")
        if self.buckets > MAX_BUCKETS or self.buckets & (self.buckets - 1):
            raise ValueError(
                f"buckets must be a power of two, 1..{MAX_BUCKETS}, not {self.buckets}"
            )
        if not 1 <= self.kernels <= MAX_KERNELS or self.kernels & (self.kernels - 1):
            raise ValueError(
                f"kernels must be a power of two, 1..{MAX_KERNELS}, not {self.kernels}"
            )
        if self.dispatches and self.chains:
            raise ValueError("an array picks among variants or chains kernels, not both")
        if (self.residual_depth or self.has_rows) and not self.chains:
            raise ValueError("residuals and row units are for arrays that chain kernels")
        if self.has_rows and self.accumulator_width < NORMALIZED_BITS:
            raise ValueError(
                f"accumulators of {self.accumulator_width} bits; what a row unit gives has "
                f"{NORMALIZED_BITS}"
            )

    @property
    def address_width(self) -> int:
        """Bits of an activation address."""
        return self.activation_depth.bit_length() - 1

    @property
    def null_address(self) -> int:
        """The address of the row that always holds zeros: all ones."""
        return self.activation_depth - 1

    @property
    def shift_width(self) -> int:
        """Bits of a stream word's gap shift; 0 if every step is one level."""
        return self.max_shift.bit_length()

    @property
    def row_bits(self) -> int:
        """Bits of an activation or result row: one int8 for each lane, lane 0 lowest."""
        return ACTIVATION_BITS * self.lanes

    @cached_property
    def stream_words(self) -> Mapping[str, Fields]:
        """The word of a PE's stream, by family. All have the `row_words` of the widest one."""
        words = {name: Fields(FAMILIES[name].stored(self)) for name in self.members()}
        most = max(word.words for word in words.values())
        return {name: Fields(word.widths, row_words=most) for name, word in words.items()}

    def stream_word(self, pe: int) -> Fields:
        """The word of this PE's stream."""
        return self.stream_words[self.family(pe)]

    @property
    def stream_row_words(self) -> int:
        """32-bit words of a stream's row in a program image."""
        return self.stream_word(0).words

    @cached_property
    def parameter_row(self) -> Fields:
        """What the post unit needs of one output channel.

        The bias already holds the correction of what the families' sums have too much; it is
        negated, as the unit subtracts the rows of its product. `residual` is what the kept
        activation of the output's number is multiplied by, and `exponent` what the output says
        of itself to the unit that normalises. A `plain` output does without the activation table.
        """
        return Fields(
            {
                "negated_bias": self.sum_width,
                "multiplier": MULTIPLIER_BITS,
                "shift_minus_1": (SHIFT_MAX - 1).bit_length(),
                "address": max(1, (self.result_depth - 1).bit_length()),
                **({"residual": MULTIPLIER_BITS} if self.residual_depth else {}),
                **({"exponent": EXPONENT_BITS} if self.normalizes else {}),
                **({"plain": 1} if self.gates or self.softmax else {}),
            }
        )

    @cached_property
    def table_row(self) -> Fields:
        """A row of the activation table: one byte."""
        return Fields({"value": ACTIVATION_BITS})

    @property
    def table_depth(self) -> int:
        """Rows of the activation tables, one after another."""
        return TABLE_SIZE * self.kernels

    @property
    def dispatches(self) -> bool:
        """Whether the array has a SPAQ unit, which picks each tile's variant."""
        return self.buckets > 1

    @property
    def chains(self) -> bool:
        """Whether kernels follow one another on the array."""
        return self.kernels > 1

    @property
    def relocates(self) -> bool:
        """Whether what runs does not always begin at address 0 of the memories."""
        return self.dispatches or self.chains or self.double_buffered

    @property
    def has_rows(self) -> bool:
        """Whether the array has a row unit, which works on the results of a kernel."""
        return any(getattr(self, name) for name in UNITS)

    @property
    def tokens_width(self) -> int:
        """Bits of the tokens of a sequence, in the row before its activations."""
        return self.result_depth.bit_length()

    @property
    def accumulates(self) -> bool:
        """Whether sums can go on in another program."""
        return self.partial_depth > 0

    @property
    def double_buffered(self) -> bool:
        """Whether a program is loaded while another one runs."""
        return self.banks > 1

    @property
    def zeros_width(self) -> int:
        """Bits of a count of a tile's zeros; a decision's shift is below it."""
        return (self.lanes * self.null_address).bit_length()

    @cached_property
    def chain_row(self) -> Fields:
        """Where a kernel of a chain begins, its outputs, and whether it is the last.

        Elements in step also need its features. Its activation table is the one of its number.
        `saves` says that its activations are kept for residuals. A kernel that `normalizes`,
        `gates` or has `keys` is the row unit's: it takes the results of the one before as they
        stand in the result memory. `gates` takes two for each of its own, of which the second one
        was plain. `keys` are how many neighbouring results share a softmax, or 0: its parameters
        are those of exponentials and of shares in turns, for each group of keys; shares are plain.

        What a kernel `fills` with its results are the operand words from `operands` on; of TOKENS,
        `stride` from one to the next. Other kernels take theirs from there. Behind one that
        `pauses`, the tile has no results yet.
        """
        return Fields(
            {
                "stream": (self.stream_depth - 1).bit_length(),
                "slot": (self.parameter_depth - 1).bit_length(),
                **({"features": self.address_width} if self.lockstep else {}),
                "outputs": self.result_depth.bit_length(),
                "last": 1,
                **({"saves": 1} if self.residual_depth else {}),
                **({"normalizes": 1} if self.normalizes else {}),
                **({"gates": 1} if self.gates else {}),
                **({"keys": self.result_depth.bit_length()} if self.softmax else {}),
                **(
                    {
                        "fills": max(Fills).bit_length(),
                        "pauses": 1,
                        "operands": (self.operand_depth - 1).bit_length(),
                        "stride": (self.operand_depth - 1).bit_length(),
                    }
                    if self.operand_depth
                    else {}
                ),
            }
        )

    @cached_property
    def dispatch_row(self) -> Fields:
        """Where the variant of a bucket begins: in the streams, and in the parameters' slots."""
        return Fields(
            {
                "stream": (self.stream_depth - 1).bit_length(),
                "slot": (self.parameter_depth - 1).bit_length(),
                "variant": VARIANT_BITS,
            }
        )

    @cached_property
    def fingerprint(self) -> int:
        """CRC-32 of the canonical JSON of this config and of the image version."""
        canonical = json.dumps([IMAGE_VERSION, asdict(self)], sort_keys=True)
        return zlib.crc32(canonical.encode())


def memory_depth(rows: int) -> int:
    """Rows of a memory for so many: a power of two above 1, as block RAM has them anyway."""
    return 1 << max(rows - 1, 1).bit_length()


def activation_rows(features: int, index_bits: int) -> int:
    """Rows of the smallest activation memory for so many features and one row of zeros."""
    # Indices of so many bits are for longer addresses.
    return max(1 << features.bit_length(), 2 << index_bits)


def smallest_array(machine: Machine, features: int) -> ArrayConfig:
    """An array of the machine with words for so many features, and sums as wide as any."""
    depth = activation_rows(features, machine.index_bits)
    return ArrayConfig(
        **asdict(replace(machine, activation_depth=depth)),
        running_sum_width=ACTIVATION_BITS + 1,
        accumulator_width=ACCUMULATOR_MAX_BITS,
        sum_width=ACCUMULATOR_MAX_BITS,
    )
