# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The faster forms of the integer arithmetic against the one that defines it."""

from typing import Any

import numpy as np
import pytest

from daqkf.hw_targets import numerics
from daqkf.hw_targets.fused import Attention, Epilogue, Normalization, Product, Rescaling


def factors(rng: np.random.Generator, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers and shifts, among them powers of two, where sums lie halfway between levels."""
    multiplier = rng.integers(1 << 15, 1 << 16, channels)
    multiplier[::5] = 1 << rng.integers(0, 16, len(multiplier[::5]))
    multiplier[1::7] = 0
    return multiplier, rng.integers(1, 30, channels)


def test_every_sum_becomes_the_same_level():
    rng, bound = np.random.default_rng(1), 40_000
    multiplier, shift = factors(rng, 64)
    sums = np.repeat(np.arange(-bound, bound + 1)[:, np.newaxis], 64, axis=1)
    rescaling = Rescaling.of(multiplier, shift, bound)
    assert 0 < len(rescaling.rest) < 64
    found = rescaling.round(sums.astype(np.float32))
    np.testing.assert_array_equal(found, numerics.requantize(sums, multiplier, shift))


@pytest.mark.parametrize("kind", [np.int8, np.int16])
@pytest.mark.parametrize("bound", [(1 << 24) - 1, (1 << 31) - 1])
def test_sums_around_every_step(bound: int, kind: Any):
    rng = np.random.default_rng(2)
    multiplier, shift = rng.integers(1 << 15, 1 << 16, 512), rng.integers(16, 40, 512)
    rescaling = Rescaling.of(multiplier, shift, bound, kind)
    assert rescaling.sums == (np.float32 if bound < 1 << 24 else np.float64)
    levels = np.arange(-127, 128)[:, np.newaxis] * (np.iinfo(kind).max // 127)
    steps = ((levels - 0.5) * 2.0**shift / multiplier).astype(np.int64)
    ends = np.full((1, 512), bound)
    sums = np.clip(np.concatenate([steps - 1, steps, steps + 1, ends, -ends]), -bound, bound)
    found = rescaling.round(sums.astype(rescaling.sums))
    wanted = numerics.requantize(sums, multiplier, shift, kind=kind)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", [np.int8, np.int16])
@pytest.mark.parametrize("largest", [15, 127])
def test_a_product_with_its_bias_its_residual_and_gathered_columns(largest: int, kind: Any):
    rng = np.random.default_rng(largest)
    columns = np.concatenate([np.arange(1800), [3, 3, 17]])
    levels = rng.integers(-largest, largest + 1, (1803, 70)).astype(np.int8)
    bias, own = rng.integers(-9000, 9000, 70), rng.integers(0, 1 << 16, 70)
    multiplier, shift = factors(rng, 70)
    shift += 10
    x = rng.integers(-128, 128, (60, 1800)).astype(np.int8)
    kept = rng.integers(-128, 128, (60, 80)).astype(np.int8)
    sums = numerics.add_residual(numerics.matmul(x[:, columns], levels) + bias, kept, own)
    bound = numerics.largest_sum(levels) + 9000 + 128 * int(own.max())
    epilogue = Epilogue.of(multiplier, shift, bound, own, kind)
    product = Product.of(levels, bias, epilogue, (columns, 1800))
    assert product.weights.dtype == (np.float32 if largest == 15 else np.float64)
    for _ in range(2):  # the second time with memory that is not new
        found = product(x, kept)
        np.testing.assert_array_equal(
            found, numerics.requantize(sums, multiplier, shift, kind=kind)
        )


def test_a_product_of_more_tokens_than_are_computed_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("daqkf.hw_targets.fused._CHUNK", 100)
    rng = np.random.default_rng(3)
    levels = rng.integers(-15, 16, (40, 30)).astype(np.int8)
    multiplier, shift = factors(rng, 30)
    bound = numerics.largest_sum(levels)
    product = Product.of(levels, np.zeros(30, int), Epilogue.of(multiplier, shift, bound))
    x = rng.integers(-128, 128, (11, 40)).astype(np.int8)
    wanted = numerics.requantize(numerics.matmul(x, levels), multiplier, shift)
    np.testing.assert_array_equal(product(x), wanted)


@pytest.mark.parametrize(("epsilon", "rms"), [(0, False), (5000, False), (12345, True)])
def test_a_normalisation(epsilon: int, rms: bool):
    rng = np.random.default_rng(4)
    q = rng.integers(-128, 128, (90, 48)).astype(np.int8)
    q[0], q[1, 1:] = 5, 0
    exponent, bias = rng.integers(0, 8, 48), rng.integers(-5000, 5000, 48)
    multiplier, shift = factors(rng, 48)
    epilogue = Epilogue.of(multiplier, shift, (1 << 17) + 5000)
    found = Normalization(exponent, epsilon, rms, bias.astype(np.float64), epilogue)(q)
    sums = numerics.normalize(q, exponent, epsilon, rms=rms) + bias
    np.testing.assert_array_equal(found, numerics.requantize(sums, multiplier, shift))


@pytest.mark.parametrize("tokens", [1, 2, 33])
def test_attention(tokens: int):
    rng, heads, features = np.random.default_rng(tokens), 3, 8
    q, k, v = rng.integers(-128, 128, (3, tokens, heads * features)).astype(np.int8)
    scores = rng.integers(1 << 15, 1 << 16, heads), np.array([22, 23, 26])
    results = rng.integers(1 << 15, 1 << 16, heads * features), np.full(heads * features, 22)
    table = np.sort(rng.integers(0, 128, 256)).astype(np.int8)
    table = np.roll(table, 128)  # entries of negative levels come last
    attention = Attention.of(40, features, scores, results, table)
    assert attention is not None
    count = heads * tokens
    shares = np.full(count, numerics.SHARE_MULTIPLIER), np.full(count, numerics.SHARE_SHIFT)
    by_channel = np.repeat(scores[0], tokens), np.repeat(scores[1], tokens)
    keys, values = (np.stack(np.split(x, heads, axis=1)) for x in (k, v))
    wanted = numerics.attend(
        q,
        keys.swapaxes(1, 2),
        values,
        {"scores": by_channel, "shares": shares, "results": results},
        table,
    )
    np.testing.assert_array_equal(attention(q, k, v), wanted)


def test_attention_of_sums_beyond_a_float32_is_left_alone():
    one = np.ones(1, np.int64)
    table = np.full(256, 127, np.int8)
    assert Attention.of(1024, 8, (one, one), (one, one), table) is None
    assert Attention.of(8, 8, (one, one), (one, one), -table) is None


@pytest.mark.parametrize("scale", [0.37, 1 / 3, 2.0**-20, 0.1, 1e-30, 7e5])
def test_levels_at_every_step_of_a_scale(scale: float):
    steps = ((np.arange(-140, 140) + 0.5) * scale).astype(np.float32)
    near = [
        steps,
        np.nextafter(steps, np.float32(np.inf)),
        np.nextafter(steps, -np.float32(np.inf)),
    ]
    x = np.concatenate(near)[:, np.newaxis]
    wanted = np.clip(np.rint(x.astype(np.float64) / scale), -128, 127)
    np.testing.assert_array_equal(numerics.quantize(x, scale), wanted)
