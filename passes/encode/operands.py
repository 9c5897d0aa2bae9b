# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Streams of products with operands: all of them compiled, but for the operands."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.spaq import AttendOp
from daqkf.dialects.spaq.checks import features
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import ACTIVATION_BITS, width_for
from daqkf.hw_targets.operands import OPERAND_BITS, feature_words, token_words
from daqkf.passes.encode.coding import Stream

Ints = NDArray[np.int64]


def score_outputs(heads: int, tiles: int, machine: Machine) -> list[Ints]:
    """The scores of each PE, in the order of its operand words: of H heads, S keys each.

    Score h·S + s is of the PE of token s; a token's are together.
    """
    keys, pes = np.arange(tiles * machine.lanes), machine.pes
    outputs = np.arange(heads) * len(keys) + keys[:, np.newaxis]
    return [outputs[pe::pes].reshape(-1) for pe in range(pes)]


def score_rows(outputs: Ints, keys: int, features: int, items: int) -> Ints:
    """The activations [outputs, groups, items] that scores are of: their head's D queries."""
    head = outputs[:, np.newaxis] // keys
    return (head * features + np.arange(features)).reshape(len(outputs), -1, items)


def context_outputs(channels: int, machine: Machine) -> list[Ints]:
    """The results of each PE, in the order of its operand words."""
    return [np.arange(pe, channels, machine.pes) for pe in range(machine.pes)]


def context_rows(outputs: Ints, keys: int, features: int, items: int) -> Ints:
    """The activations [outputs, groups, items] that results are of: their head's S shares."""
    head = outputs[:, np.newaxis] // features
    return (head * keys + np.arange(keys)).reshape(len(outputs), -1, items)


def cost(groups: int) -> int:
    """Words of an output, whose operands are so many words."""
    return OPERAND_BITS * groups + 2


def width(count: int, items: int) -> int:
    """Bits of a sum of so many products of activations with operands, and of what it has too much.

    Each word adds at most one for each odd item, and one more; all are doubled as their items are.
    """
    most = (1 << (2 * ACTIVATION_BITS - 2)) * count
    return width_for(most + (1 << OPERAND_BITS) * -(-count // items) * (items // 2 + 1))


@dataclass(frozen=True)
class Need:
    """What an attention takes of an array."""

    tiles: int
    """Of a sequence."""
    scores: int
    """Outputs of the kernel of scores."""
    words: int
    """Of the streams of a PE."""
    slots: int
    """Of the parameter memory."""
    operands: int
    """Operand words of a PE."""
    width: int
    """Bits of its sums."""


def attention_need(attend: AttendOp, machine: Machine) -> Need:
    """What an attention takes of an array of a machine.

    Raises:
        ValueError: the features of a head are not in whole operand words.
    """
    channels, heads = features(attend.queries), attend.heads.value.data
    lanes, pes, items = machine.lanes, machine.pes, machine.items
    if channels // heads % items:
        raise ValueError(
            f"heads of {channels // heads} features; the target's operand words have {items}"
        )
    tiles = -(-attend.tokens.value.data // lanes)
    scores, results = heads * tiles * lanes, -(-channels // pes)
    groups = channels // heads // items
    return Need(
        tiles,
        scores,
        scores // pes * cost(groups) + results * cost(tiles),
        scores // pes + machine.slots(2 * scores) + results,
        feature_words(channels, tiles, machine) + token_words(channels, tiles, machine),
        max(width(channels // heads, items), width(tiles * lanes, items)),
    )


def stream(rows: Ints, config: ArrayConfig) -> Stream:
    """The words of a PE's outputs, of activations [outputs, groups, items].

    First the operands' top bits, which subtract: Q is then what they sum up to, R with the other
    sign. The next bits' first word doubles and turns it, and all others keep it. Two words more
    turn it again, as a step does `A -= Q`, and take the step.
    """
    outputs, groups, items = rows.shape
    length = cost(groups)
    first = np.arange(OPERAND_BITS) * groups
    plain = np.zeros(length, np.int64)
    fields = {
        name: plain.copy()
        for name in ("keep", "negate", "gated", "double", "shift", "step", "last")
    }
    fields["gated"][:-2] = fields["keep"][:-2] = 1
    fields["keep"][first[:2]] = 0
    fields["double"][first[1:]] = 1
    fields["step"][-1] = fields["last"][-1] = 1
    index = np.full((outputs, length, items), -1)
    index[:, :-2] = np.tile(rows, (1, OPERAND_BITS, 1))
    repeated = {name: np.tile(words, outputs) for name, words in fields.items()}
    for item in range(items):
        repeated[f"index{item}"] = index[:, :, item].reshape(-1)
        if item % 2:
            repeated[f"complement{item}"] = repeated["gated"]
    starts = np.arange(int(outputs) + 1) * length
    nothing = np.zeros((config.activation_depth, 1), np.int64)
    one = {name: words[:length] for name, words in repeated.items()} | {"end": plain}
    family = FAMILIES["running_sum"]
    (excess,) = family.golden(family.word.encoded(one, config), nothing, config)
    return Stream(repeated, starts, -np.full(outputs, int(excess[0])))
