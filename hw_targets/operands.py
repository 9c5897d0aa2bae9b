# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operand memories: products of results with results, as attention has them.

Each PE has a memory of words of `items` int8 operands, which results of kernels fill. A word of a
stream that is `gated` has as items the activations it names, those whose operand has a certain bit
set. So a product is summed bit by bit, from the sign on, and Q doubled in between.

A program of an array that `attends` gets sequences: a row with the number of tokens S, in its low
bits, then the sequence's tiles, then the same tiles once more. In the first pass a tile ends with
the kernel that `pauses`; in the second one it begins behind that. There are results of the second
pass only.
"""

from collections.abc import Mapping
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import ACTIVATION_BITS

Ints = NDArray[np.int64]
Words = Mapping[str, Ints]

OPERAND_BITS = ACTIVATION_BITS
"""Bits of an operand, each of which is a round of gated words."""


class Fills(IntEnum):
    """Whether a kernel's results become operands, and which."""

    NOTHING = 0
    FEATURES = 1
    """An operand word has features of a token: keys."""
    TOKENS = 2
    """An operand word has tokens of a feature: values."""


class AttentionKernel(IntEnum):
    """The kernels that a chain of sequences begins with, by their number in the chain's table."""

    KEYS = 0
    VALUES = 1
    QUERIES = 2
    SCORES = 3
    """Products of queries and keys."""
    SHARES = 4
    """The softmax of the scores."""
    CONTEXT = 5
    """Products of shares and values."""


def empty_operands(config: ArrayConfig) -> NDArray[np.int8]:
    """The memories [P, depth, items] of all PEs, before anything is in them."""
    return np.zeros((config.pes, config.operand_depth, config.items), np.int8)


def feature_words(features: int, tiles: int, config: Machine) -> int:
    """Operand words of a PE for the features of so many tiles' tokens."""
    return tiles * (config.lanes // config.pes) * -(-features // config.items)


def token_words(features: int, tiles: int, config: Machine) -> int:
    """Operand words of a PE for the tokens of so many tiles, feature by feature."""
    return tiles * -(-features // config.pes)


def fill_features(memory: NDArray[np.int8], results: NDArray[np.int8], first: int) -> None:
    """Put results [S, N] into memories [P, depth, I], features of a token side by side.

    Token s is with PE s % P, and its words, I features each, follow those of s - P.
    """
    pes, _, items = memory.shape
    tokens, count = results.shape
    words = -(-count // items)
    padded = np.zeros((tokens, words * items), np.int8)
    padded[:, :count] = results
    s = np.arange(int(tokens))[:, np.newaxis]
    place = first + s // pes * words + np.arange(int(words))
    memory[s % pes, place] = padded.reshape(tokens, words, items)


def fill_tokens(
    memory: NDArray[np.int8], results: NDArray[np.int8], first: int, stride: int
) -> None:
    """Put results [S, N] into memories [P, depth, I], tokens of a tile side by side.

    Feature n is with PE n % P. Its words, a tile each, are `stride` behind those of n - P.
    """
    pes, _, items = memory.shape
    tokens, count = results.shape
    tiles = -(-tokens // items)
    padded = np.zeros((tiles * items, count), np.int8)
    padded[:tokens] = results
    n = np.arange(int(count))[:, np.newaxis]
    tile = np.arange(int(tiles))
    place = first + n // pes * stride + tile
    memory[n % pes, place] = padded.reshape(tiles, items, count).transpose(2, 0, 1)


def walk(words: Words) -> tuple[Ints, Ints]:
    """The operand word that each word of a stream takes, from the program's first on, and its bit.

    An output begins with the operands' top bits. A word that is gated takes the operand word after
    the last one; one that doubles goes back to the output's first, and to the next bit below. Words
    that are not gated take none; theirs say nothing.
    """
    places, bits = np.zeros(len(words["end"]), np.int64), np.zeros(len(words["end"]), np.int64)
    first = following = 0
    bit = OPERAND_BITS - 1
    fields = zip(words["gated"], words["double"], words["last"], strict=True)
    for number, (gated, double, last) in enumerate(fields):
        if gated:
            place = first if double else following
            bit, following = bit - int(double), place + 1
            places[number], bits[number] = place, bit
        if last:
            first, bit = following, OPERAND_BITS - 1
    return places, bits


def gated(words: Words, memory: NDArray[np.int8], first: int, config: ArrayConfig) -> Words:
    """A PE's words with the row of zeros for items whose operand's bit is not set.

    `memory` [depth, items] are its operands, those of the program from `first` on.
    """
    places, bits = walk(words)
    operands = memory[(first + places) % config.operand_depth].astype(np.int64)
    joins = (operands >> bits[:, np.newaxis]) & 1
    found = dict(words)
    for item in range(config.items):
        name = f"index{item}"
        absent = (words["gated"] == 1) & (joins[:, item] == 0)
        found[name] = np.where(absent, config.null_address, words[name])
    return found
