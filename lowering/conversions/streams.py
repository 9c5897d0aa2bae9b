# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The streams of an array's elements, packed, and programs that have nothing else."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import i8, i32

from daqkf.dialects.dense import from_array
from daqkf.dialects.rpea import ProgramOp
from daqkf.dialects.spaq.attention import Factors
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.numerics import IDENTITY, wrap
from daqkf.hw_targets.semirings import Semiring
from daqkf.hw_targets.words import stream_words
from daqkf.passes.encode.coding import Stream, codings


def pack_streams(
    levels: NDArray[np.int8],
    shares: list[NDArray[np.int32]],
    config: ArrayConfig,
    semiring: Semiring = Semiring.PLUS_TIMES,
    addresses: NDArray[np.int32] | None = None,
) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """The streams of all PEs, packed [rows, words], and their lengths [P].

    `shares` are the output channels of each PE, in order, and `addresses` [K] where the features
    stand in the activation memories, if not in order. Also what has to be added to the sum of each
    channel [N].

    Raises:
        ValueError: `addresses`, of an array whose words have no whole addresses, or none at all.
    """
    if addresses is not None and config.index_bits:
        raise ValueError("features out of order need whole addresses, index_bits = 0")
    for name in config.families if addresses is not None else ():
        if not FAMILIES[name].word.addresses(config):
            raise ValueError(
                f"features out of order need elements with addresses, and {name} elements have none"
            )
    able, correction = codings(config, semiring), np.zeros(levels.shape[1], np.int64)
    streams: dict[int, Stream] = {}
    for family, pes in config.members().items():
        own = [pe for pe in pes if family in able and len(shares[pe])]
        if own:
            found = able[family].streams(levels, [shares[pe] for pe in own], config)
            streams |= dict(zip(own, found, strict=True))
    packed: list[NDArray[np.uint32]] = []
    for pe, share in enumerate(shares):
        stream = streams.get(pe)
        if stream is not None:
            correction[share] = stream.correction
        packed.append(pack(stream, config.family(pe), config, addresses))
    return np.concatenate(packed), np.array([len(part) for part in packed]), correction


def product_program(
    name: str,
    array: str,
    count: int,
    *,
    streams: Sequence[NDArray[np.uint32]],
    shares: Sequence[NDArray[np.integer]],
    bias: NDArray[np.int64],
    factors: Factors,
    config: ArrayConfig,
    operands_from: int | None = None,
) -> ProgramOp:
    """The program of a product without a function.

    Args:
        name: of the operation.
        array: the name of the array.
        count: the number of activations.
        streams: the packed words of each element.
        shares: the outputs of each element.
        bias: what is added to the sums of each output [N].
        factors: the multiplier and the shift of each output.
        config: of the array.
        operands_from: where operands begin in their memories, in words, if weights are there.
    """
    return ProgramOp(
        name,
        array,
        count,
        operands_from=operands_from,
        stream=from_array(np.concatenate(streams).view(np.int32), i32),
        rows=from_array(np.array(list(map(len, streams))), i32),
        outputs=from_array(np.concatenate(shares), i32),
        counts=from_array(np.array(list(map(len, shares))), i32),
        bias=from_array(wrap(bias, config.sum_width), i32),
        multiplier=from_array(factors.multipliers, i32),
        shift=from_array(factors.shifts, i32),
        table=from_array(IDENTITY, i8),
    )


def pack(
    stream: Stream | None,
    family: str,
    config: ArrayConfig,
    addresses: NDArray[np.int32] | None,
    ends: bool = True,
) -> NDArray[np.uint32]:
    """The words of a PE's channels, or if nothing `ends` there, of some of them; a PE without any
    still plays its end."""
    word = FAMILIES[family].word
    if stream is not None:
        fields = dict(stream.fields)
    else:
        fields = dict.fromkeys(word.fields(config), np.zeros(1, np.int64))
        fields |= dict.fromkeys(word.addresses(config), np.full(1, -1))
    if addresses is not None:
        # Index -1, an item without a place, stays what it is.
        gathered = np.append(addresses, -1)
        fields |= {name: gathered[fields[name]] for name in word.addresses(config)}
    count = len(next(iter(fields.values())))
    if config.operand_depth:
        fields = dict.fromkeys(("gated", "double"), np.zeros(count, np.int64)) | fields
    fields["end"] = (np.arange(count) == count - 1) & ends
    return stream_words(config)[family].pack(word.encoded(fields, config))
