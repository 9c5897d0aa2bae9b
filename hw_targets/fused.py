# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Faster forms of `numerics` for operations that follow one another and run often.

A product, its bias, its residual and the requantisation behind them run as one operation here:
BLAS gives the sums as floats, the bias among them, and blocks of these become int8 while they are
in a core's cache. What comes out is what the functions of `numerics` give one after another, bit
for bit. Where a float32 has to round, it is shown beforehand that no result differs; what this
cannot be shown for is computed in float64, which does not round.
"""

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets import numerics
from daqkf.hw_targets.numerics import ACTIVATION_MAX, ACTIVATION_MIN, FLOAT32_EXACT

_NUDGES = 4
"""Neighbouring float32 that are tried on either side of a factor."""
_CHUNK = 1 << 20
"""Sums of a product that are computed at a time, which bounds the memory for them."""

_local = threading.local()


def _scratch(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Memory of this thread that stays until the next call of the same name.

    The system clears new memory page by page, which takes as long as half of a product.
    """
    size = math.prod(shape) * dtype.itemsize
    memory = getattr(_local, name, None)
    if memory is None or len(memory) < size:
        memory = np.empty(size, np.uint8)
        setattr(_local, name, memory)
    return memory[:size].view(dtype).reshape(shape)


def thresholds(
    multiplier: NDArray[np.int64], shift: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The levels -127..127 [255, 1], and the least sum that requantises to at least each [255, N].

    Those sums are `⌈(2j - 1)·2^(S[n]-1) / M[n]⌉`, and mean nothing where M[n] = 0.
    """
    levels = np.arange(ACTIVATION_MIN + 1, ACTIVATION_MAX + 1, dtype=np.int64)[:, np.newaxis]
    halves = (2 * levels - 1) << (shift - 1)
    return levels, -(-halves // np.maximum(multiplier, 1))


@dataclass(frozen=True)
class Rescaling:
    """`numerics.requantize` of sums in floating point, for factors that are used often.

    In float32, `rint(sum·factor)` rounds the product, too. But it never decreases as the sum
    increases, and neither does the exact result. So the two are equal for all sums within the bound
    if they are equal on both sides of each of the 255 sums at which the exact result steps up. That
    is tried; a factor that fails is moved to a neighbouring float32 that does not.
    """

    sums: np.dtype[np.floating]
    """float32, or float64 if sums are beyond the integers of a float32."""
    factor: NDArray[np.floating]
    """[N] of the type of the sums, or float64."""
    rest: NDArray[np.intp]
    """The channels that are computed in float64 since float32 would not do."""
    exact: NDArray[np.float64]
    """The factors M·2^-S of all channels [N], or of the rest if factors are float32."""
    kind: type[np.int8] | type[np.int16] = np.int8
    """What the sums become."""

    @classmethod
    def of(
        cls,
        multiplier: NDArray[np.integer],
        shift: NDArray[np.integer],
        bound: int,
        kind: type[np.int8] | type[np.int16] = np.int8,
    ) -> "Rescaling":
        """That of sums of at most this magnitude, for multipliers and shifts [N].

        Wide results have too many steps to try, and are computed in float64.
        """
        multipliers, shifts = multiplier.astype(np.int64), shift.astype(np.int64)
        exact = np.ldexp(multipliers.astype(np.float64), -shifts)
        sums = np.dtype(np.float32 if bound < FLOAT32_EXACT else np.float64)
        if sums == np.float64 or kind is np.int16:
            return cls(sums, exact, np.arange(0), exact, kind)
        levels, steps = thresholds(multipliers, shifts)
        steps = np.where(multipliers > 0, steps, np.where(levels > 0, bound + 1, -bound))

        def agrees(factor: NDArray[np.float32], places: NDArray[np.intp]) -> NDArray[np.bool_]:
            first = np.maximum(steps[:, places], -bound)
            last = np.minimum(steps[:, places] - 1, bound)
            above = np.rint(first.astype(np.float32) * factor) >= levels
            below = np.rint(last.astype(np.float32) * factor) < levels
            return ((above | (first > bound)) & (below | (last < -bound))).all(axis=0)

        # M has 16 bits: the factor is exact in float32, unlike products with it.
        factor = exact.astype(np.float32)
        rest = np.flatnonzero(~agrees(factor, np.arange(len(factor))))
        for towards in (np.inf, -np.inf):
            tried = exact.astype(np.float32)
            for _ in range(_NUDGES):
                tried = np.nextafter(tried, np.float32(towards))
                right = agrees(tried[rest], rest)
                factor[rest[right]] = tried[rest[right]]
                rest = rest[~right]
        return cls(sums, factor, rest, exact[rest])

    def round(self, sums: NDArray[np.floating]) -> NDArray[np.floating]:
        """What sums [T, N] of the type `sums` become; it may stand in their place."""
        if not len(self.rest):
            return self._round(sums.astype(self.factor.dtype, copy=False), self.factor)
        rest = sums[:, self.rest].astype(np.float64)
        self._round(sums, self.factor)
        sums[:, self.rest] = self._round(rest, self.exact)
        return sums

    def _round(
        self, sums: NDArray[np.floating], factor: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        sums *= factor
        if sums.dtype == np.float32:
            np.rint(sums, out=sums)
        else:
            sums += 0.5
            np.floor(sums, out=sums)
        return _clip(sums, self.kind)


@dataclass(frozen=True)
class Epilogue:
    """What becomes of sums [T, N]: a residual is added, perhaps, and they are requantised."""

    rescaling: Rescaling
    residual: NDArray[np.floating] | None = None
    """The residual's multipliers [N]."""

    @classmethod
    def of(
        cls,
        multiplier: NDArray[np.integer],
        shift: NDArray[np.integer],
        bound: int,
        residual: NDArray[np.integer] | None = None,
        result: type[np.int8] | type[np.int16] = np.int8,
    ) -> "Epilogue":
        """That of sums of at most the magnitude `bound`, the residual among them."""
        rescaling = Rescaling.of(multiplier, shift, bound, result)
        kind = rescaling.sums
        return cls(rescaling, None if residual is None else residual.astype(kind))

    def levels(
        self, sums: NDArray[np.floating], kept: NDArray[np.int8] | None
    ) -> NDArray[np.floating]:
        """What sums become, perhaps in their place; `kept` [T, R] is what the residual is of."""
        if self.residual is not None:
            assert kept is not None
            added = kept[:, : len(self.residual)].astype(sums.dtype)
            added *= self.residual
            sums += added
        return self.rescaling.round(sums)


@dataclass(frozen=True)
class Quantization:
    """`numerics.quantize`, prepared for many rows, whose int8 stay floats."""

    factor: np.float64 | None
    """By which values are multiplied; None if they are divided by the scale."""
    scale: float | NDArray[Any]
    split: NDArray[Any]
    """The feature of each extra column [E]."""
    split_scale: NDArray[np.float64]
    ranks: NDArray[np.int64]

    @classmethod
    def of(cls, scale: float | NDArray[Any], split: NDArray[Any]) -> "Quantization":
        """That of a scale for all features, or [K], and of the features of extra columns."""
        single = np.size(scale) == 1
        factor = numerics.reciprocal(np.asarray(scale).item()) if single else None
        own = np.float64(scale) if single else np.asarray(scale, np.float64)[split]
        scales = np.broadcast_to(own, split.shape)
        return cls(factor, scale, split, scales, numerics.split_ranks(split))

    def store(self, x: NDArray[np.float32], out: NDArray[np.floating]) -> None:
        """Write the levels of rows [T, K], and their extra columns, to [T, K + E]."""
        if self.factor is None:
            levels = np.divide(x, self.scale, dtype=np.float64)
        else:
            levels = np.multiply(x, self.factor, dtype=np.float64)
        np.rint(levels, out=levels)
        out[:, : x.shape[1]] = _clip(levels)
        if len(self.split):
            whole = np.rint(x[:, self.split] / self.split_scale)
            out[:, x.shape[1] :] = numerics.extra_columns(whole, self.ranks)


def _clip[Kind: np.floating](
    levels: NDArray[Kind], kind: type[np.int8] | type[np.int16] = np.int8
) -> NDArray[Kind]:
    """Bring levels into the range of an integer type, in place."""
    limits = np.iinfo(kind)
    np.maximum(levels, limits.min, out=levels)
    return np.minimum(levels, limits.max, out=levels)


@dataclass(frozen=True)
class Product:
    """`requantize(x @ levels + bias + kept·residual)`, prepared for many activations."""

    weights: NDArray[np.floating]
    """[K + 1, N]: the bias is the last row, since it costs BLAS next to nothing."""
    epilogue: Epilogue

    @classmethod
    def of(
        cls,
        levels: NDArray[np.int8],
        bias: NDArray[np.integer],
        epilogue: Epilogue,
        gathered: tuple[NDArray[np.integer], int] | None = None,
    ) -> "Product":
        """That of levels [K, N] and a bias [N].

        With `gathered`, columns [K] and a number of features F, products are with the columns
        `x[:, columns]` of x [T, F]: then features get the sums of their columns' weights.
        """
        rows: NDArray[np.integer] = levels
        if gathered is not None:
            columns, features = gathered
            rows = np.zeros((features, levels.shape[1]), np.int64)
            np.add.at(rows, columns, levels)
        # At once, since integers of 64 bits on the way take as long as a product with 100 rows.
        weights = np.empty((len(rows) + 1, rows.shape[1]), epilogue.rescaling.sums)
        weights[:-1], weights[-1] = rows, bias
        return cls(weights, epilogue)

    def __call__(
        self,
        x: NDArray[Any],
        kept: NDArray[np.int8] | None = None,
        quantization: Quantization | None = None,
        scale: float | NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """The results [T, N] of activations [T, K].

        Args:
            x: int8; or float32, of which the `quantization` makes int8.
            kept: what the residual is of, [T, R].
            quantization: see `x`.
            scale: what the integers of the results are worth, one for all or [N], if they are to be
                float32, as `numerics.dequantize` gives them.
        """
        features, channels = len(self.weights) - 1, self.weights.shape[1]
        kind = self.epilogue.rescaling.kind if scale is None else np.float32
        result = np.empty((len(x), channels), kind)
        for chunk in numerics.blocks(result, _CHUNK):
            part, own = x[chunk], None if kept is None else kept[chunk]
            inputs = _scratch("inputs", (len(part), features + 1), self.weights.dtype)
            inputs[:, features] = 1
            if quantization is None:
                inputs[:, :features] = part
            else:
                for rows in numerics.blocks(inputs):
                    quantization.store(part[rows], inputs[rows, :features])
            sums = _scratch("sums", (len(part), channels), self.weights.dtype)
            np.matmul(inputs, self.weights, out=sums)
            for rows in numerics.blocks(sums):
                levels = self.epilogue.levels(sums[rows], None if own is None else own[rows])
                if scale is None:
                    result[chunk][rows] = levels
                else:
                    np.multiply(levels, scale, out=result[chunk][rows], dtype=np.float64)
        return result


@dataclass(frozen=True)
class Normalization:
    """`requantize(normalize(q) + bias + kept·residual)`, prepared for many activations."""

    exponent: NDArray[np.integer]
    epsilon: int
    rms: bool
    bias: NDArray[np.float64]
    epilogue: Epilogue

    def __call__(
        self, q: NDArray[np.int8], kept: NDArray[np.int8] | None = None
    ) -> NDArray[np.int8]:
        """The results [T, N] of activations [T, N]; `kept` [T, R] is what the residual is of."""
        result = np.empty(q.shape, np.int8)
        kind = self.epilogue.rescaling.sums
        for rows, normal in numerics.normalized(q, self.exponent, self.epsilon, rms=self.rms):
            normal += self.bias
            sums = normal.astype(kind, copy=False)
            own = None if kept is None else kept[rows]
            result[rows] = self.epilogue.levels(sums, own)
        return result


@dataclass(frozen=True)
class Attention:
    """`numerics.attend` of queries, keys and values [T, H·D] of one sequence, for many of them."""

    heads: int
    scores: Rescaling
    """One channel for each head."""
    exponentials: NDArray[np.int8]
    """The table of exponentials."""
    quotients: NDArray[np.float32]
    """By what exponentials are multiplied to be shares, for each sum of them."""
    results: Rescaling

    @classmethod
    def of(
        cls,
        tokens: int,
        features: int,
        scores: tuple[NDArray[np.integer], NDArray[np.integer]],
        results: tuple[NDArray[np.integer], NDArray[np.integer]],
        table: NDArray[np.int8],
    ) -> "Attention | None":
        """That of at most so many tokens and D features of a head; None if a sum may need more
        than a float32.

        `scores` are multipliers and shifts [H], `results` such [H·D], and `table` has no negative
        exponentials.
        """
        largest = ACTIVATION_MIN * ACTIVATION_MIN
        if max(tokens, features) * largest >= FLOAT32_EXACT or table.min() < 0:
            return None
        return cls(
            len(scores[0]),
            Rescaling.of(*scores, features * largest),
            table,
            numerics.share_factors(np.arange(tokens * ACTIVATION_MAX + 1)),
            Rescaling.of(*results, tokens * largest),
        )

    def __call__(
        self, q: NDArray[np.int8], k: NDArray[np.int8], v: NDArray[np.int8]
    ) -> NDArray[np.int8]:
        """The results [T, H·D]."""
        queries, keys, values = (
            x.astype(np.float32).reshape(len(x), self.heads, -1).transpose(1, 0, 2)
            for x in (q, k, v)
        )
        shape = self.heads, len(q), len(k)
        level = _scratch("scores", shape, np.dtype(np.float32))
        np.matmul(queries, keys.swapaxes(1, 2), out=level)
        self.scores.round(level.reshape(self.heads, -1).T)
        level -= level.max(axis=2, keepdims=True) - np.float32(ACTIVATION_MAX)
        np.maximum(level, np.float32(ACTIVATION_MIN), out=level)
        level[...] = numerics.look_up(self.exponentials, level.astype(np.int8))
        total = level.sum(axis=2).astype(np.intp)
        level *= self.quotients[total][:, :, np.newaxis]
        np.floor(level, out=level)
        # A share of 1 becomes ACTIVATION_MAX: none is beyond.
        level *= np.float32(numerics.SHARE_MULTIPLIER / (1 << numerics.SHARE_SHIFT))
        level += np.float32(0.5)
        np.floor(level, out=level)
        sums = _scratch("sums", q.shape, np.dtype(np.float32))
        by_head = sums.reshape(len(q), self.heads, -1).transpose(1, 0, 2)
        np.matmul(level, values, out=by_head)
        return self.results.round(sums).astype(np.int8)
