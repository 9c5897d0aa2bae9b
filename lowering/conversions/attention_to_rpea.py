# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`spaq.attend` → the kernels of a chain of sequences: scores, their softmax, results."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerAttr, i32, i64

from daqkf.dialects.dense import from_array
from daqkf.dialects.rpea import ProgramOp, SoftmaxOp
from daqkf.dialects.spaq import AttendOp
from daqkf.dialects.spaq.attention import Factors
from daqkf.dialects.spaq.checks import features
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import ACTIVATION_MAX
from daqkf.hw_targets.operands import feature_words
from daqkf.lowering.conversions.streams import pack, product_program
from daqkf.passes.encode import operands

Ints = NDArray[np.int64]


def lower_attend(
    attend: AttendOp, name: str, array: str, config: ArrayConfig
) -> list[ProgramOp | SoftmaxOp]:
    """The kernels of an attention, behind those of its keys, values and queries.

    Raises:
        ValueError: the features of a head are not in whole operand words.
    """
    need = operands.attention_need(attend, config)
    channels, heads = features(attend.queries), attend.heads.value.data
    keys, own, items = need.scores // heads, channels // heads, config.items
    factors = attend.channel_factors(keys)
    make = partial(_program, array=array, config=config)
    return [
        make(
            f"{name}_scores",
            count=channels,
            shares=operands.score_outputs(heads, need.tiles, config),
            rows=lambda outputs: operands.score_rows(outputs, keys, own, items),
            place=0,
            factors=factors["scores"],
        ),
        SoftmaxOp(
            f"{name}_shares",
            array,
            keys=IntegerAttr(keys, i64),
            table=attend.table,
            offset=from_array(np.full(need.scores, ACTIVATION_MAX), i32),
            multiplier=from_array(factors["shares"].multipliers, i32),
            shift=from_array(factors["shares"].shifts, i32),
        ),
        make(
            f"{name}_results",
            count=need.scores,
            shares=operands.context_outputs(channels, config),
            rows=lambda outputs: operands.context_rows(outputs, keys, own, items),
            place=feature_words(channels, need.tiles, config),
            factors=factors["results"],
        ),
    ]


def _program(
    name: str,
    *,
    array: str,
    config: ArrayConfig,
    count: int,
    shares: Sequence[Ints],
    rows: Callable[[Ints], Ints],
    place: int,
    factors: Factors,
) -> ProgramOp:
    """A kernel of an attention, whose weights are in the operand memories.

    Args:
        name: of the operation.
        array: the name of the array.
        config: of the array.
        count: the number of activations.
        shares: the outputs of each element.
        rows: the operand rows that outputs are sums of.
        place: where the operands begin in their memories, in words.
        factors: the multiplier and the shift of each output.
    """
    streams = [operands.stream(rows(share), config) for share in shares]
    packed = [pack(stream, "running_sum", config, None) for stream in streams]
    bias = np.zeros(sum(map(len, shares)), np.int64)
    for share, stream in zip(shares, streams, strict=True):
        bias[share] = stream.correction
    return product_program(
        name,
        array,
        count,
        streams=packed,
        shares=shares,
        bias=bias,
        factors=factors,
        config=config,
        operands_from=place,
    )
