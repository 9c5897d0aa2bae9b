# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the numbers mean: the one definition of DAQKF's integer arithmetic.

The interpreters, the golden model, the range analysis and the generated circuit are all
held against the functions of this file, bit for bit.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

ACTIVATION_BITS = 8
ACTIVATION_MIN, ACTIVATION_MAX = -128, 127
"""Activations are int8, symmetric."""

WIDE_BITS = 2 * ACTIVATION_BITS
"""Bits of a wide result: int16, which only a host reads."""

TOP_K_COLUMNS = 2
"""Columns of each of the largest results: its number, and its value."""

LEVEL_MAX = 127
"""Weights are integer levels of magnitude 0..127, with one scale per output channel."""

MULTIPLIER_BITS = 16
MULTIPLIER_MAX = (1 << MULTIPLIER_BITS) - 1
SHIFT_MIN, SHIFT_MAX = 1, 47
TABLE_SIZE = 1 << ACTIVATION_BITS
IDENTITY = np.arange(TABLE_SIZE, dtype=np.uint8).view(np.int8)
"""The activation table that changes nothing: the int8 that each entry is for."""

EXPONENT_BITS = 3
EXPONENT_MAX = (1 << EXPONENT_BITS) - 1
"""Before normalisation, channels of a larger range count 2^exponent times."""
MEAN_FRACTION = 4
"""Bits of a mean behind the binary point."""
FACTOR_BITS = 12
"""Significant bits of a reciprocal of a standard deviation."""
NORMALIZED_FRACTION = 10
"""Bits of a normalised value behind the binary point."""
NORMALIZED_BITS = 18
"""Bits of a normalised value, which is within ±√N."""
NORMALIZED_FEATURES = 1 << (FACTOR_BITS - 1)
"""The most that are normalised together, or that share a softmax."""
SCALED_BITS = ACTIVATION_BITS + EXPONENT_MAX
"""Bits of a value times 2 to its channel's exponent."""

GATED_BITS = 2 * ACTIVATION_BITS
"""Bits of the product of a gate and what it lets through."""

MAX_REACH = ACTIVATION_BITS - 1
"""The most bits by which a token's results can be finer than their scales say (`row_exponents`)."""
SHARE_LOG_COUNT = 6
"""Shares are counted as if of 2^so many: what a quotient has that is at least 1."""
SHARE_FRACTION = SHARE_LOG_COUNT + NORMALIZED_FRACTION
"""Bits of a share behind the binary point."""

SHARE_MULTIPLIER, SHARE_SHIFT = ACTIVATION_MAX, SHARE_FRACTION
"""With which a share of 1 becomes ACTIVATION_MAX."""

ACCUMULATOR_MAX_BITS = 32
"""Sums are carried in at most this many bits; range analysis rejects what needs more."""


_OUT_OF_REACH = 1 << 10
"""More than two int8 and their bounds are apart."""

_BLOCK = 1 << 15
"""Values that are computed with at a time: their float64 stays in a core's second-level cache."""
FLOAT32_EXACT = 1 << 24
"""Below it, float32 has every integer."""


def signed_bits(low: int, high: int) -> int:
    """The fewest bits of a two's complement integer that holds low..high."""
    return 1 + max((~bound if bound < 0 else bound).bit_length() for bound in (low, high))


def split_ranks(split: NDArray[Any]) -> NDArray[np.int64]:
    """Of each extra column [E] its rank among those of its feature: 1 for the first.

    `split` names the feature of each extra column, in ascending order.
    """
    return np.arange(len(split)) - np.searchsorted(split, split) + 1


def quantize(
    x: NDArray[Any], scale: float | NDArray[Any], split: NDArray[Any] | None = None
) -> NDArray[np.int8]:
    """`clamp(rint(x / scale), -128, 127)`, halves to even: [T, K] → [T, K + E].

    `scale` is one for all or [K]. The extra columns carry what the columns before them cannot:
    for q = rint(x / scale), that of rank j holds clamp(q - 127·j, 0, 127) +
    clamp(q + 128·j, -128, 0). So a feature with j of them reaches from -128·(j + 1) to
    127·(j + 1), and q is the sum of its columns.
    """
    shape = np.broadcast_shapes(np.shape(x), np.shape(scale))
    extra = 0 if split is None else len(split)
    result = np.empty((*shape[:-1], shape[-1] + extra) if extra else shape, np.int8)
    single = np.size(scale) == 1 and x.dtype == np.float32
    factor = reciprocal(np.asarray(scale).item()) if single else None
    for rows in blocks(result) if np.ndim(scale) < np.ndim(x) else (slice(None),):
        if factor is None:
            levels = np.divide(x[rows], scale, dtype=np.float64)
        else:
            levels = np.multiply(x[rows], factor, dtype=np.float64)
        np.rint(levels, out=levels)
        own = result[rows, : shape[-1]] if extra else result[rows]
        own[...] = np.clip(levels, ACTIVATION_MIN, ACTIVATION_MAX, out=levels)
    if split is not None and extra:
        scales = np.broadcast_to(scale, shape[1:])[split]
        whole, ranks = np.rint(x[:, split] / scales.astype(np.float64)), split_ranks(split)
        result[:, shape[-1] :] = extra_columns(whole, ranks)
    return result


def extra_columns(levels: NDArray[np.float64], ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """What extra columns [T, E] of these ranks hold of the levels [T, E], which are not clamped."""
    above = np.minimum(np.maximum(levels - ACTIVATION_MAX * ranks, 0), ACTIVATION_MAX)
    below = np.maximum(np.minimum(levels - ACTIVATION_MIN * ranks, 0), ACTIVATION_MIN)
    return above + below


@functools.lru_cache(maxsize=1024)
def reciprocal(scale: float) -> np.float64 | None:
    """What float32 times it has the clamped level of `x / scale` in all cases; None if nothing has.

    Neither the product nor the quotient decreases as x increases. So it suffices to compare them at
    the float32 around each of the 255 values at which a level begins. The levels of infinities and
    of NaNs are the same by both; where a scale is so small that its reciprocal is infinite, or so
    large that the steps are, the quotient stays.
    """
    if not np.finfo(np.float32).tiny < scale < np.finfo(np.float32).max / TABLE_SIZE:
        return None
    factor = 1 / np.float64(scale)
    steps = ((np.arange(ACTIVATION_MIN, ACTIVATION_MAX + 1) + 0.5) * scale).astype(np.float32)
    near = [steps]
    for towards in (np.inf, -np.inf):
        moved = steps
        for _ in range(2):
            moved = np.nextafter(moved, np.float32(towards))
            near.append(moved)
    x = np.concatenate(near).astype(np.float64)
    return factor if np.array_equal(np.rint(x * factor), np.rint(x / scale)) else None


def dequantize(
    q: NDArray[np.int8] | NDArray[np.int16],
    scale: float | NDArray[Any],
    split: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """`q · scale` in float32, a feature's extra columns added to its own: [T, N + E] → [T, N].

    `scale` is one for all or [N].
    """
    kept = q.shape[1] - (0 if split is None else len(split))
    result = np.empty((len(q), kept), np.float32)
    for rows in blocks(result):
        whole = q[rows, :kept].astype(np.float64)
        if split is not None and len(split):
            np.add.at(whole.T, split, q[rows, kept:].T.astype(np.float64))
        whole *= scale
        result[rows] = whole
    return result


def blocks(values: NDArray[Any], size: int = _BLOCK) -> Iterator[slice]:
    """Rows of `values` by about `size` values, which by default stay in a cache."""
    rows = max(size * len(values) // max(values.size, 1), 1)
    return (slice(first, first + rows) for first in range(0, len(values), rows))


@dataclass(frozen=True)
class Factors:
    """Levels [K, N] as products with int8 need them, for levels that are multiplied often."""

    values: NDArray[np.floating]
    """[K, N] in a float in which no partial sum is rounded.

    Float32 has every integer below 2^24, float64 every one below 2^53: 2^39 products."""
    bound: int
    """The largest |Σ x·w| that any int8 activations can reach."""

    @classmethod
    def of(cls, levels: NDArray[np.int8]) -> "Factors":
        """Those of the levels, which are counted for that."""
        bound = largest_sum(levels)
        exact = np.float32 if bound < FLOAT32_EXACT else np.float64
        return cls(levels.astype(exact), bound)


def matmul(
    x: NDArray[np.int8], levels: NDArray[np.int8] | Factors, sums: type[np.integer] = np.int64
) -> NDArray[np.integer]:
    """The exact `x @ levels`, [T, K] × [K, N] → [T, N] of the type `sums`, which must hold them.

    Computed in floating point, since BLAS is far faster than NumPy's integer product.
    """
    factors = levels if isinstance(levels, Factors) else Factors.of(levels)
    return (x.astype(factors.values.dtype) @ factors.values).astype(sums)


_BOUND = 1 << (ACCUMULATOR_MAX_BITS - 1)


@overload
def requantize(
    accumulator: NDArray[np.number],
    multiplier: NDArray[Any],
    shift: NDArray[Any],
    bound: int = _BOUND,
    *,
    kind: type[np.int8] = np.int8,
) -> NDArray[np.int8]: ...


@overload
def requantize(
    accumulator: NDArray[np.number],
    multiplier: NDArray[Any],
    shift: NDArray[Any],
    bound: int = _BOUND,
    *,
    kind: type[np.int16],
) -> NDArray[np.int16]: ...


def requantize(
    accumulator: NDArray[np.number],
    multiplier: NDArray[Any],
    shift: NDArray[Any],
    bound: int = _BOUND,
    *,
    kind: type[np.int8] | type[np.int16] = np.int8,
) -> NDArray[np.int8] | NDArray[np.int16]:
    """`clamp((acc·M[n] + 2^(S[n]-1)) >> S[n], -128, 127)` over [T, N] with M, S of [N].

    A wide result, of the `kind` int16, is limited to -32768..32767 instead.

    The accumulators are integers, of any type that holds them, and |acc| ≤ bound ≤ 2^31. The shift
    is arithmetic. As M < 2^16, the sum in parentheses is below 2^48, so that float64 computes
    `floor(acc·(M·2^-S) + 1/2)` without rounding anything but by the floor; where a lower bound
    keeps that sum below 2^24, float32 does.
    """
    largest = bound * int(multiplier.max(initial=0)) + (1 << int(shift.max(initial=1)) - 1)
    exact = np.float32 if largest < FLOAT32_EXACT else np.float64
    factor = np.ldexp(multiplier.astype(exact), -shift.astype(np.int32))
    limits = np.iinfo(kind)
    result: NDArray[Any] = np.empty(accumulator.shape, kind)
    for rows in blocks(result):
        scaled = accumulator[rows].astype(exact)
        scaled *= factor
        scaled += 0.5
        np.floor(scaled, out=scaled)
        result[rows] = np.clip(scaled, limits.min, limits.max, out=scaled)
    return result


def top_k(results: NDArray[np.int16], count: int) -> NDArray[np.int16]:
    """The largest wide results of each token, with their numbers: [T, N] → [T, 2·count].

    Of the pair n, column 2n is the number of the n-th largest result, unsigned, and column 2n + 1
    its value. Of equal results the one of the lower number comes first. N is at least `count`, and
    at most 2^16.
    """
    # The complement turns the order around without overflowing, and a stable sort keeps numbers.
    numbers = np.argsort(~results, axis=1, kind="stable")[:, :count]
    pairs = np.empty((len(results), count, TOP_K_COLUMNS), np.int16)
    pairs[..., 0] = numbers.astype(np.uint16).view(np.int16)
    pairs[..., 1] = np.take_along_axis(results, numbers, axis=1)
    return pairs.reshape(len(results), -1)


def add_residual[T: np.integer](
    accumulator: NDArray[T], residual: NDArray[np.int8], multiplier: NDArray[Any]
) -> NDArray[T]:
    """`acc + r·M[n]`: [T, N] and [T, R], of which the first N count, M in 0..MULTIPLIER_MAX.

    The result has the accumulator's type, int32 or int64, which must hold it.
    """
    added = residual[:, : accumulator.shape[1]].astype(accumulator.dtype)
    added *= multiplier.astype(accumulator.dtype)
    added += accumulator
    return added


def epsilon_limit(count: int) -> int:
    """What the epsilon of `normalize` is below, for so many features: the most that their squares
    can add up to."""
    return count << 2 * (SCALED_BITS - 1)


def normalize(
    q: NDArray[np.int8], exponent: NDArray[Any], epsilon: int = 0, *, rms: bool = False
) -> NDArray[np.int64]:
    """`(u - mean(u)) / √(var(u) + ε / N)` of u = q·2^exponent[n], for each token: [T, N] → [T, N].

    With `rms` nothing is subtracted: it is `u / √(mean(u²) + ε / N)`. ε is a number of steps of u²,
    for all features together.

    In steps of 2^-NORMALIZED_FRACTION, rounded down. As the circuit computes it:

    - S = Σu, or 0 with `rms`;
    - Q = ⌊√(N·(Σu² + ε) - S²)⌋, N times what is divided by, at least 1;
    - m = ⌊S·2^MEAN_FRACTION / N⌋;
    - g = ⌊N·2^k / Q⌋ with the least k ≥ 0 for which it has FACTOR_BITS bits;
    - z = (u·2^MEAN_FRACTION - m)·g >> (k + MEAN_FRACTION - NORMALIZED_FRACTION), where a negative
      shift is none: so large a factor is only that of values which hardly differ.

    Raises:
        ValueError: N is beyond NORMALIZED_FEATURES, or ε not in 0..`epsilon_limit(N)` - 1.
    """
    result = np.empty(q.shape, np.int64)
    for rows, normal in normalized(q, exponent, epsilon, rms=rms):
        result[rows] = normal
    return result


def normalized(
    q: NDArray[np.int8], exponent: NDArray[Any], epsilon: int = 0, *, rms: bool = False
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """What `normalize` gives, by blocks of rows, as floats that hold its integers.

    Raises:
        ValueError: as for `normalize`.
    """
    count = q.shape[1]
    if count > NORMALIZED_FEATURES:
        raise ValueError(f"{count} features to normalise; at most {NORMALIZED_FEATURES}")
    if not 0 <= epsilon < max(epsilon_limit(count), 1):
        raise ValueError(
            f"an epsilon of {epsilon} for {count} features; it is in 0..{epsilon_limit(count) - 1}"
        )
    scale = np.ldexp(1.0, exponent.astype(np.int32))
    for rows in blocks(q):
        # Nothing here comes near 2^53: float64 has all of these integers.
        u = q[rows] * scale
        total = np.zeros(len(u), np.int64) if rms else u.sum(axis=1).astype(np.int64)
        squares = np.einsum("tn,tn->t", u, u).astype(np.int64) + epsilon
        # Below 2^52 the rounded root of a float has the right integer part.
        deviation = np.sqrt((count * squares - total * total).astype(np.float64)).astype(np.int64)
        mean = (total << MEAN_FRACTION) // count
        factor, shift = _quotient(count, np.maximum(deviation, 1))
        u *= 1 << MEAN_FRACTION
        u -= mean[:, np.newaxis]
        u *= np.ldexp(factor.astype(np.float64), -shift.astype(np.int32))[:, np.newaxis]
        yield rows, np.floor(u, out=u)


def _quotient(count: int, divisor: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """g and the shift of `normalize`: u·2^MEAN_FRACTION·g >> shift is about u·count / divisor."""
    exact = np.log2((divisor << (FACTOR_BITS - 1)) / count)
    k = np.maximum(np.ceil(exact).astype(np.int64), 0)
    k = k + ((count << k) // divisor < 1 << (FACTOR_BITS - 1))
    return (count << k) // divisor, np.maximum(k + MEAN_FRACTION - NORMALIZED_FRACTION, 0)


def gate(q: NDArray[np.int8], table: NDArray[np.int8]) -> NDArray[np.int64]:
    """`table[q[2n]] · q[2n + 1]`, each gate and its value side by side: [T, 2N] → [T, N]."""
    return look_up(table, q[:, 0::2]).astype(np.int64) * q[:, 1::2]


def row_exponents(q: NDArray[np.int8], reach: int) -> NDArray[np.int8]:
    """The exponent that the results of a token share, by int8 [T, N] of their scales: [T, 1].

    `bit_length(min(max |q|, 127) >> (7 - reach))`, 0..reach. With an exponent of e, steps that are
    finer by `reach - e` bits than those of q still have room for the values that q is of: int8 of
    e < reach never saturate.
    """
    most = np.abs(q.astype(np.int16)).max(axis=1, keepdims=True)
    most = np.minimum(most, ACTIVATION_MAX) >> (ACTIVATION_BITS - 1 - reach)
    return np.frexp(most.astype(np.float32))[1].astype(np.int8)


def requantize_rows(
    accumulator: NDArray[np.integer],
    multiplier: NDArray[Any],
    shift: NDArray[Any],
    reach: int,
    bound: int = _BOUND,
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """`requantize` in steps that suit each token: int8 [T, N] and exponents [T, 1].

    The exponents e are the `row_exponents` of what `requantize` gives; what it gives of
    `acc · 2^(reach - e)` are the results. Those are in steps of 2^(e - reach) times those of the
    multipliers' scales: a block floating point of rows. |acc| · 2^reach ≤ bound.
    """
    exponents = row_exponents(requantize(accumulator, multiplier, shift, bound), reach)
    finer = scale_rows(accumulator.astype(np.int64), reach - exponents)
    return requantize(finer, multiplier, shift, bound), exponents


def scale_rows[Number: np.number](x: NDArray[Number], exponents: NDArray[Any]) -> NDArray[Number]:
    """`x · 2^e`, for the exponents [T, 1] of the rows of [T, N]; x has the type of the result."""
    result: Any = x * (1 << exponents.astype(np.int32)).astype(x.dtype)
    return result


def exponentials(
    q: NDArray[np.int8],
    keys: int,
    offset: NDArray[Any],
    table: NDArray[np.int8],
    present: int | NDArray[Any] | None = None,
) -> NDArray[np.int8]:
    """`table[clamp(q - max(q) + offset[n])]`, for `keys` neighbours of a token: [T, N] → [T, N].

    The first step of a softmax. With an offset of ACTIVATION_MAX the largest of them reads the
    table's entry for that; with a negative one of the largest magnitude a key is masked, as it
    reads the entry for ACTIVATION_MIN. So do all behind the first `present` keys, by default none,
    whose scores count for nothing; that is one number for all tokens, or [T], each at least 1.
    """
    grouped = q.reshape(len(q), -1, keys)
    absent = _absent(len(q), keys, present)
    seen = grouped if absent is None else np.where(absent, np.int8(ACTIVATION_MIN), grouped)
    largest = seen.max(axis=2, keepdims=True)
    level = np.subtract(grouped, largest, dtype=np.int16).reshape(q.shape)
    # An offset that is out of reach of the scores moves all of them to an end.
    level += np.clip(offset, -_OUT_OF_REACH, _OUT_OF_REACH).astype(np.int16)
    np.clip(level, ACTIVATION_MIN, ACTIVATION_MAX, out=level)
    if absent is not None:
        np.copyto(level.reshape(grouped.shape), ACTIVATION_MIN, where=absent)
    return look_up(table, level.astype(np.int8))


def _absent(tokens: int, keys: int, present: int | NDArray[Any] | None) -> NDArray[np.bool_] | None:
    """[T, 1, keys] which keys are not there for a token; None if all are for all."""
    if present is None:
        return None
    counts = np.broadcast_to(np.asarray(present), tokens)
    return np.arange(keys) >= counts[:, np.newaxis, np.newaxis]


def visible_keys(tokens: int, queries: int, past: int) -> NDArray[np.int64]:
    """How many keys each query of a causal attention sees, [T].

    A token has so many `queries`, one after another, and there are `past` queries of tokens before
    the first one. Query n sees the keys s with `s·queries ≤ n + past`: those of its own token and
    of all before it.
    """
    return (np.arange(tokens) + past) // queries + 1


def shares(e: NDArray[np.int8], keys: int) -> NDArray[np.int32]:
    """`e / Σe`, for `keys` neighbours of a token, in steps of 2^-SHARE_FRACTION: [T, N] → [T, N].

    The second step of a softmax; e ≥ 0. With Q = Σe, at least 1, and g and k as `normalize` has
    them for N = 2^SHARE_LOG_COUNT: `e·2^MEAN_FRACTION·g >> (k + MEAN_FRACTION -
    NORMALIZED_FRACTION)`. So a share is at most 1, and rounded down.

    Raises:
        ValueError: keys are beyond NORMALIZED_FEATURES.
    """
    if keys > NORMALIZED_FEATURES:
        raise ValueError(f"{keys} keys share a softmax; at most {NORMALIZED_FEATURES}")
    return _shares(e, keys).astype(np.int32)


def _shares(e: NDArray[np.int8], keys: int) -> NDArray[np.float32]:
    """`shares` as floats, which hold all of these integers: products have at most 24 bits."""
    share = e.reshape(len(e), -1, keys).astype(np.float32)
    share *= share_factors(share @ np.ones(keys, np.float32))[:, :, np.newaxis]
    return np.floor(share, out=share).reshape(e.shape)


def share_factors(totals: NDArray[Any]) -> NDArray[np.float32]:
    """What exponentials are multiplied by, before they are rounded down, to be shares.

    By their sums, which are integers; with 0 as with 1.
    """
    factor, shift = _quotient(1 << SHARE_LOG_COUNT, np.maximum(totals, 1).astype(np.int64))
    return np.ldexp(factor.astype(np.float32), MEAN_FRACTION - shift.astype(np.int32))


def attend(
    q: NDArray[np.int8],
    keys: NDArray[np.int8],
    values: NDArray[np.int8],
    factors: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    table: NDArray[np.int8],
    bias: NDArray[Any] | int = 0,
    offset: NDArray[Any] | int = ACTIVATION_MAX,
    present: int | NDArray[Any] | None = None,
) -> NDArray[np.int8]:
    """Softmax attention of queries [T, H·D] to keys [H, D, S] and values [H, S, D]: [T, H·D].

    `factors` are the multipliers and shifts of `scores` and `shares`, [H·S], and of `results`,
    [H·D]. `bias` is added to the sums of scores; `offset`, `table` and `present` are those of
    `exponentials`.
    """
    count = keys.shape[2]
    scores = _product_of_heads(q, keys)
    if np.any(bias):
        scores = scores + np.asarray(bias, np.float64)
    scores = requantize(scores, *factors["scores"])
    e = exponentials(scores, count, np.asarray(offset), table, present)
    share = requantize(_shares(e, count), *factors["shares"], 1 << SHARE_FRACTION)
    return requantize(_product_of_heads(share, values), *factors["results"])


def _product_of_heads(x: NDArray[np.int8], operands: NDArray[np.int8]) -> NDArray[np.floating]:
    """The exact products of [T, H·D] and [H, D, N] by head: [T, H·N], side by side, as floats."""
    heads, features, columns = operands.shape
    # The largest sum of products of two int8.
    bound = features * ACTIVATION_MIN * ACTIVATION_MIN
    exact = np.float32 if bound < FLOAT32_EXACT else np.float64
    sums = np.empty((len(x), heads, columns), exact)
    by_head = x.astype(exact).reshape(len(x), heads, features).transpose(1, 0, 2)
    np.matmul(by_head, operands.astype(exact), out=sums.transpose(1, 0, 2))
    return sums.reshape(len(x), heads * columns)


def look_up(table: NDArray[np.int8], q: NDArray[np.int8]) -> NDArray[np.int8]:
    """`table[q & 0xff]`: the table is indexed by the unsigned byte of its input."""
    levels = bytearray(np.ascontiguousarray(q)).translate(table.tobytes())
    return np.frombuffer(levels, np.int8).reshape(q.shape)


def accumulator_bound(levels: NDArray[np.int8]) -> NDArray[np.int64]:
    """The largest |Σ x·w| any int8 activations can reach, per output channel [N]."""
    return -ACTIVATION_MIN * np.abs(levels.astype(np.int64)).sum(axis=0)


def streamed_bound(levels: NDArray[np.int8]) -> NDArray[np.int64]:
    """The same of what a lane of a running-sum stream accumulates, before the bias corrects it.

    Each word has one too much, as often as steps follow it: a word with items at most as often as
    the least of their levels says, and one for a step alone at most as often as its level says.
    """
    magnitudes = np.abs(levels.astype(np.int64))
    largest = magnitudes.max(axis=0, initial=0)
    return accumulator_bound(levels) + magnitudes.sum(axis=0) + largest * (largest + 1) // 2


def largest_sum(levels: NDArray[np.int8]) -> int:
    """The largest of `accumulator_bound` over all output channels."""
    magnitudes = np.abs(levels, dtype=np.int16).sum(axis=0, dtype=np.int64)
    return -ACTIVATION_MIN * int(magnitudes.max(initial=0))


def running_sum_bound(levels: NDArray[np.int8]) -> NDArray[np.int64]:
    """The largest |Σ ±x| over the non-zeros of an output channel [N].

    With one more for each word of a running-sum stream, at most one a non-zero and a level.
    """
    items = np.count_nonzero(levels, axis=0).astype(np.int64)
    largest = np.abs(levels.astype(np.int64)).max(axis=0, initial=0)
    return -ACTIVATION_MIN * items + items + largest


_FLAGS, _FEW_FLAGS = 64, 16
"""Bits of the largest integers that NumPy joins at once, and of smaller ones, which are faster."""


def distinct_magnitudes(levels: NDArray[np.integer]) -> NDArray[np.int64]:
    """How many magnitudes besides zero each output channel [N] of levels [K, N] uses."""
    magnitudes = np.abs(levels.astype(np.int16))
    most = int(magnitudes.max(initial=0))
    counts = np.zeros(levels.shape[1], np.int64)
    for first in range(1, most + 1, _FLAGS):
        # A flag for each magnitude of a stretch; those of a channel's levels are joined.
        flags = np.zeros(most + 1, np.uint64)
        stretch = flags[first : first + _FLAGS]
        stretch[:] = np.uint64(1) << np.arange(len(stretch), dtype=np.uint64)
        if len(stretch) <= _FEW_FLAGS:
            flags = flags.astype(np.uint16)
        for rows in blocks(magnitudes.T):
            joined = np.bitwise_or.reduce(flags[magnitudes[:, rows]], axis=0)
            counts[rows] += np.bitwise_count(joined)
    return counts


def wrap(value: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """The two's complement number of `bits` bits that equals `value` modulo 2^bits."""
    low = value & ((1 << bits) - 1)
    return low - ((low >> (bits - 1)) << bits)


def width_for(bound: int) -> int:
    """The bits of a signed integer that holds -bound..bound."""
    return signed_bits(-bound, bound)
