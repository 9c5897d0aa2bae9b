# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What decoders compute over NumPy arrays of tokens.

Letters in shapes: T tokens, S tokens before them, H heads of queries, G heads of keys and values,
D features of a head, E features of a head of values.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = np.ndarray[Any, Any]


def rms_norm(x: Array, gamma: Array, epsilon: float) -> Array:
    """`x / √(mean(x²) + epsilon) · gamma` over the last dimension of x [..., D]; gamma is [D].

    Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
    """
    # `np.mean` does the same, in twice the time for one token.
    power = np.add.reduce(x * x, axis=-1, keepdims=True) / x.dtype.type(x.shape[-1])
    return x / np.sqrt(power + x.dtype.type(epsilon)) * gamma


def rotary_frequencies(features: int, base: float, factors: Array | None = None) -> Array:
    """The radians by which each pair of features turns from a position to the next one.

    Pair i turns by `base^(-2i / features)`, over `factors[i]` where they are given.

    Args:
        features: an even number.
        base: a positive number.
        factors: [features / 2]; None of a model whose rotation is not scaled.
    """
    frequencies = np.power(float(base), -np.arange(0, features, 2, dtype=np.float64) / features)
    return frequencies if factors is None else frequencies / factors


def rotate(x: Array, positions: Array, frequencies: NDArray[np.float64], halves: bool) -> Array:
    """Features of heads x [..., T, H, D], turned by angles that grow with positions [..., T].

    Twice as many features as there are frequencies turn, the first ones; the others stay. Pairs
    are a feature and the one that is half of the turning features behind it, or neighbours.
    Angles, sines and cosines are float64, products are of the type of x.

    Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.
    """
    count = 2 * len(frequencies)
    angles = positions[..., np.newaxis].astype(np.float64) * frequencies
    # One angle for all heads.
    cosines, sines = (f(angles)[..., np.newaxis, :].astype(x.dtype) for f in (np.cos, np.sin))
    half = count // 2
    first, second = (
        (np.s_[..., :half], np.s_[..., half:count])
        if halves
        else (np.s_[..., 0:count:2], np.s_[..., 1:count:2])
    )
    y = x.copy()
    y[first] = x[first] * cosines - x[second] * sines
    y[second] = x[first] * sines + x[second] * cosines
    return y


def grouped(queries: Array, groups: int) -> Array:
    """Queries [..., T, H, D] by the head of keys that they read, [..., G, H/G, T, D].

    Raises:
        ValueError: H is not a multiple of G.
    """
    *batch, tokens, heads, features = queries.shape
    if not groups or heads % groups:
        raise ValueError(f"{heads} heads of queries do not share {groups} of keys")
    rows = queries.reshape(*batch, tokens, groups, heads // groups, features)
    return rows.swapaxes(-4, -3).swapaxes(-3, -2)


def ungrouped(rows: Array) -> Array:
    """What `grouped` takes apart, [..., G, H/G, T, D], as queries [..., T, H, D]."""
    *batch, groups, share, tokens, features = rows.shape
    heads = rows.swapaxes(-3, -2).swapaxes(-4, -3)
    return heads.reshape(*batch, tokens, groups * share, features)


def attention_shares(rows: Array, keys: Array, scale: float) -> Array:
    """How much of each token [..., G, H/G, T, S + T] queries take that are grouped.

    The queries are of the last T tokens of the keys [..., S + T, G, D]; each of them takes of its
    own token and of those before.

    Raises:
        ValueError: fewer keys than queries, or shapes that do not fit.
    """
    return softmax(attention_scores(rows, keys, scale))


def softmax(scores: Array) -> Array:
    """The softmax over the last dimension, in the place of what it is of."""
    scores -= scores.max(axis=-1, keepdims=True, initial=-np.inf)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def attention_scores(rows: Array, keys: Array, scale: float) -> Array:
    """What `attention_shares` is the softmax of; -inf of tokens that queries do not take of.

    Raises:
        ValueError: fewer keys than queries, or shapes that do not fit.
    """
    tokens, length = rows.shape[-2], keys.shape[-3]
    if length < tokens:
        raise ValueError(f"{tokens} tokens attend to {length}")
    columns = keys.swapaxes(-3, -2).swapaxes(-2, -1)[..., np.newaxis, :, :]
    scores = np.matmul(rows, columns)
    scores *= rows.dtype.type(scale)
    # The last tokens are those of the queries: of these alone some see others that they may not.
    hidden = ~np.tri(tokens, dtype=bool)
    scores[..., length - tokens :][..., hidden] = -np.inf
    return scores


def attend(queries: Array, keys: Array, values: Array, scale: float) -> Array:
    """Causal attention of queries [..., T, H, D] over keys [..., S + T, G, D]: [..., T, H·E].

    Values are [..., S + T, G, E]. The queries are of the last T tokens; each of them attends to
    its own token and to those before. Heads h·H/G … (h + 1)·H/G - 1 of the queries read head h of
    keys and values.

    Vaswani et al., "Attention Is All You Need", 2017; Ainslie et al., "GQA: Training Generalized
    Multi-Query Transformer Models from Multi-Head Checkpoints", 2023.

    Raises:
        ValueError: fewer keys than queries, or shapes that do not fit.
    """
    shares = attention_shares(grouped(queries, keys.shape[-2]), keys, scale)
    heads = ungrouped(np.matmul(shares, values.swapaxes(-3, -2)[..., np.newaxis, :, :]))
    return heads.reshape(*heads.shape[:-2], heads.shape[-2] * heads.shape[-1])
