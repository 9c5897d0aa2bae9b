# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The words that an array's memories hold: streams, parameters, tables of variants and of chains.

Each is made here once, from the array's configuration and the families of its elements. The stream
writer, the interpreter, the circuit generator and the simulator's harness read them.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.decision import VARIANT_BITS
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.fields import IMAGE_WORD_BITS, Fields
from daqkf.hw_targets.machine import PROGRAM_BITS
from daqkf.hw_targets.numerics import ACTIVATION_BITS, EXPONENT_BITS, MULTIPLIER_BITS, SHIFT_MAX
from daqkf.hw_targets.operands import Fills

ADDRESS_BITS = 40
"""Bits of the address of a byte in external memory."""

BEAT_BITS = 28
"""Bits of a count of beats of a memory port."""

QUERY_BITS = 8
"""Bits of the number of queries of a token, in causal attention."""


@cache
def stream_words(config: ArrayConfig) -> Mapping[str, Fields]:
    """The word of a PE's stream, by family. All have the `row_words` of the widest one."""
    words = {name: Fields(FAMILIES[name].word.stored(config)) for name in config.members()}
    most = max(word.words for word in words.values())
    return {name: Fields(word.widths, row_words=most) for name, word in words.items()}


def stream_word(config: ArrayConfig, pe: int) -> Fields:
    """The word of this PE's stream."""
    return stream_words(config)[config.family(pe)]


@cache
def stream_row_words(config: ArrayConfig) -> int:
    """32-bit words of a stream's row in a program image."""
    return stream_word(config, 0).words


def stream_place_bits(config: ArrayConfig) -> int:
    """Bits of the place where a kernel's streams begin.

    It is a word of the stream memories, or with `memory_bits`, a beat of what is in the memory.
    """
    return BEAT_BITS if config.memory_bits else (config.stream_depth - 1).bit_length()


@cache
def memory_row(config: ArrayConfig) -> Fields:
    """Where the streams of the PEs of a memory port are.

    They are `beats` of `memory_bits` from a byte `address` on, which is a multiple of
    `streams.ALIGNMENT`.
    """
    return Fields({"address": ADDRESS_BITS, "beats": BEAT_BITS})


@cache
def parameter_row(config: ArrayConfig) -> Fields:
    """What the post unit needs of one output channel.

    The bias already holds the correction of what the families' sums have too much; it is
    negated, as the unit subtracts the rows of its product. `residual` is what the kept
    activation of the output's number is multiplied by, and `exponent` what the output says
    of itself to the unit that normalises. A `plain` output does without the activation table. Sums
    that the exponents of rows shift lack the `correction` before, which is 0 for others.
    """
    return Fields(
        {
            "negated_bias": config.sum_width,
            "multiplier": MULTIPLIER_BITS,
            "shift_minus_1": (SHIFT_MAX - 1).bit_length(),
            "address": max(1, (config.result_depth - 1).bit_length()),
            **({"residual": MULTIPLIER_BITS} if config.residual_depth else {}),
            **({"exponent": EXPONENT_BITS} if config.normalizes else {}),
            **({"plain": 1} if config.gates or config.softmax else {}),
            **({"correction": config.sum_width} if config.row_exponents else {}),
        }
    )


def table_values(config: ArrayConfig) -> int:
    """Values of a row of the activation table, the first one lowest: one, or where programs come by
    more than a word at a time, as many as a word of block RAM has bytes."""
    return 1 if config.program_bits == IMAGE_WORD_BITS else IMAGE_WORD_BITS // ACTIVATION_BITS


@cache
def table_row(config: ArrayConfig) -> Fields:
    """A row of the activation table."""
    names = [f"value{n}" for n in range(table_values(config))]
    return Fields(dict.fromkeys(names if len(names) > 1 else ["value"], ACTIVATION_BITS))


def table_rows(config: ArrayConfig) -> int:
    """Rows of the activation tables of a program, one after another."""
    return config.table_depth // table_values(config)


def pack_table(values: NDArray[np.int8], config: ArrayConfig) -> NDArray[np.uint32]:
    """The values [n] of tables → rows [n / table_values, 1]."""
    rows = values.view(np.uint8).reshape(-1, table_values(config))
    return table_row(config).pack(dict(zip(table_row(config).widths, rows.T, strict=True)))


def unpack_table(rows: NDArray[np.uint32], config: ArrayConfig) -> NDArray[np.int8]:
    """Rows [m, 1] → the values [m · table_values] of tables."""
    fields = table_row(config).unpack(rows)
    return np.stack([*fields.values()], axis=1).astype(np.uint8).view(np.int8).reshape(-1)


def parameters_together(config: ArrayConfig) -> int:
    """Rows of the parameter memory that are written at once, and share a beat of an image."""
    return 2 if config.program_bits == PROGRAM_BITS[-1] else 1


def join_parameters(rows: NDArray[np.uint32], config: ArrayConfig) -> NDArray[np.uint32]:
    """Parameter rows [n, words] → rows of an image, of which each has as many as are written at
    once; the last one is filled up with rows of 0."""
    together = parameters_together(config)
    if together == 1:
        return rows
    each = config.program_bits // IMAGE_WORD_BITS // together
    padding = -len(rows) % together, each - rows.shape[1]
    return np.pad(rows, [(0, count) for count in padding]).reshape(-1, together * each)


def past_bits(config: ArrayConfig) -> int:
    """Bits of a number of queries, of as many tokens as there can be keys."""
    return config.result_depth.bit_length() + QUERY_BITS


@cache
def chain_row(config: ArrayConfig) -> Fields:
    """Where a kernel of a chain begins, its outputs, and whether it is the last.

    Elements in step also need its features. Its activation table is the one of its number.
    `saves` says that its activations are kept for residuals. A kernel that `normalizes`,
    `gates` or has `keys` is the row unit's: it takes the results of the one before as they
    stand in the result memory. Of one that normalises, `rms` says that nothing is subtracted, and
    `epsilon` is added to the squares. `gates` takes two for each of its own, of which the second
    one was plain. `keys` are how many neighbouring results share a softmax, or 0: its parameters
    are those of exponentials and of shares in turns, for each group of keys; shares are plain.
    With `queries` it is causal: a token has so many, behind `past` ones of earlier tokens.
    A kernel of the row unit that `scales` finds the exponents that results of a token share, and
    the sums of a program that `scales` are shifted by them.

    What a kernel `fills` with its results are the operand words from `operands` on; of TOKENS,
    `stride` from one to the next. Other kernels take theirs from there. Behind one that
    `pauses`, the tile has no results yet.
    """
    return Fields(
        {
            "stream": stream_place_bits(config),
            "slot": (config.parameter_depth - 1).bit_length(),
            **({"features": config.address_width} if config.lockstep else {}),
            "outputs": config.result_depth.bit_length(),
            "last": 1,
            **({"saves": 1} if config.residual_depth else {}),
            **({"normalizes": 1} if config.normalizes else {}),
            **({"rms": 1} if config.rms_norms else {}),
            **({"epsilon": config.epsilon_width} if config.epsilon_width else {}),
            **({"gates": 1} if config.gates else {}),
            **({"keys": config.result_depth.bit_length()} if config.softmax else {}),
            **({"queries": QUERY_BITS, "past": past_bits(config)} if config.causal else {}),
            **({"scales": 1} if config.row_exponents else {}),
            **(
                {
                    "fills": max(Fills).bit_length(),
                    "pauses": 1,
                    "operands": (config.operand_depth - 1).bit_length(),
                    "stride": (config.operand_depth - 1).bit_length(),
                }
                if config.operand_depth
                else {}
            ),
        }
    )


@cache
def dispatch_row(config: ArrayConfig) -> Fields:
    """Where the variant of a bucket begins: in the streams, and in the parameters' slots."""
    return Fields(
        {
            "stream": stream_place_bits(config),
            "slot": (config.parameter_depth - 1).bit_length(),
            "variant": VARIANT_BITS,
        }
    )
