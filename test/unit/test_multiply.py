# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Elements that multiply: what a lane adds up, streams, costs and corrections."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from daqkf.hw_targets import multiplication
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.machine import MULTIPLIERS, WEIGHT_BITS
from daqkf.hw_targets.numerics import wrap
from daqkf.hw_targets.words import stream_words
from daqkf.passes.encode.channels import share_out_channels
from daqkf.passes.encode.coding import coding_of

CONFIG = ArrayConfig(
    pes=3,
    lanes=2,
    post_lanes=1,
    max_shift=0,
    activation_depth=64,
    stream_depth=256,
    parameter_depth=8,
    result_depth=8,
    families=("multiply",),
    running_sum_width=9,
    accumulator_width=32,
    sum_width=32,
)
X = np.arange(-128, 128)
X_BYTES = st.integers(-128, 127)


def weights(bits: int) -> NDArray[np.int64]:
    return np.arange(-(1 << (bits - 1)), 1 << (bits - 1))


@pytest.mark.parametrize("bits", [4, 8])
def test_digits_make_the_weight(bits: int):
    digits = multiplication.digits(weights(bits), bits)
    assert np.abs(digits).max() == 2
    assert np.array_equal(digits @ (4 ** np.arange(bits // 2)), weights(bits))


@pytest.mark.parametrize("bits", [4, 8])
def test_booth_rows_add_up_to_the_product_and_the_surplus(bits: int):
    """Row by row in bits, as the lane makes them, for all activations and weights."""
    w = weights(bits)[:, np.newaxis]
    total = np.zeros((len(w), len(X)), np.int64)
    for j in range(bits // 2):
        triple = ((w << 1) >> (2 * j)) & 7
        magnitude = np.array([0, 1, 1, 2, 2, 1, 1, 0])[triple] * X
        row = np.where((triple >= 4) & (triple < 7), ~magnitude, magnitude)
        total += ((row & 0x1FF) ^ 0x100) << (2 * j)
    surplus = multiplication.surplus(weights(bits), bits, "booth")[:, np.newaxis]
    assert np.array_equal(total, w * X + surplus)


@given(X_BYTES, X_BYTES, st.integers(-8, 7), st.integers(-8, 7), st.integers(-128, 127))
def test_two_products_or_one_are_in_the_middle_of_a_product(
    x0: int, x1: int, low: int, high: int, wide: int
):
    """As `multiplication` says, in integers: the middle of a product, without its borrow."""
    factor = (x1 << 14) + 2 * (x0 + 128) + 1
    fields = {"weight0": np.array(low), "weight1": np.array(high), "narrow": np.array(1)}
    _, surplus = multiplication.weigh(fields, (4, 8), "dsp")
    middle = np.array((factor * (high + (low << 13))) >> 14)
    assert wrap(middle, 13) == x0 * low + x1 * high + surplus

    fields = {"weight0": np.array(wide), "weight1": np.array(wide >> 4), "narrow": np.array(0)}
    _, surplus = multiplication.weigh(fields, (4, 8), "dsp")
    middle = (((x1 << 14) + 257) * wide) >> 14
    assert -(1 << 15) <= middle == x1 * wide + surplus < 1 << 15


def test_packed_products_come_apart():
    w, low, high = np.meshgrid(weights(8), X[::5], X[::7], indexing="ij")
    product = (((high + 128) << 18) + low + 128) * w
    lower = wrap(product, 18)
    upper = (product >> 18) + ((product >> 17) & 1)
    surplus = multiplication.surplus(w, 8, "packed")
    assert np.array_equal(lower, low * w + surplus)
    assert np.array_equal(upper, high * w + surplus)


CASES = st.one_of(
    st.tuples(st.just("multiply"), st.sampled_from(WEIGHT_BITS), st.sampled_from(MULTIPLIERS)),
    st.tuples(st.just("dense"), st.just((8,)), st.sampled_from(MULTIPLIERS)),
).filter(lambda case: case[1:] != ((4, 8), "packed"))


@given(st.data(), CASES)
def test_a_stream_with_its_correction_is_the_product(
    data: st.DataObject, case: tuple[str, tuple[int, ...], str]
):
    family, bits, multiplier = case
    config = replace(CONFIG, families=(family,), weight_bits=bits, multiplier=multiplier)
    most = coding_of(family).most(config)
    shape = st.tuples(st.integers(1, 20), st.integers(1, 5))
    elements = st.one_of(st.just(0), st.integers(-7, 7), st.integers(-most, most))
    levels = data.draw(hnp.arrays(np.int8, shape, elements=elements))
    x = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-128, 128, (3, len(levels)))
    memory = np.zeros((config.activation_depth, len(x)), np.int64)
    memory[: len(levels)] = x.T

    stream = coding_of(family).stream(levels, config)
    assert np.array_equal(np.diff(stream.starts), coding_of(family).cost(levels, config))
    count, (features, channels) = int(stream.starts[-1]), levels.shape
    layout = stream_words(config)[family]
    fields = {**stream.fields, "end": np.arange(count) == count - 1}
    for name in FAMILIES[family].word.addresses(config):
        fields[name] = np.where(fields[name] < 0, config.null_address, fields[name])
    words = {
        **layout.unpack(layout.pack(fields)),
        **FAMILIES[family].word.supplied(count, features, channels),
    }
    sums = np.array(list(FAMILIES[family].golden(words, memory, config)))
    correction = np.asarray(coding_of(family).stream(levels, config).correction)[:, np.newaxis]
    assert np.array_equal(sums + correction, (x @ levels.astype(np.int64)).T)


def test_costs():
    levels = np.array([[1, 0, 5], [0, 0, -7], [3, 0, 2]], np.int8)
    wide, narrow = CONFIG, replace(CONFIG, weight_bits=(4,))
    assert coding_of("multiply").cost(levels, wide).tolist() == [2, 1, 3]
    assert coding_of("multiply").cost(levels, narrow).tolist() == [1, 1, 2]
    mixed = np.array([[9, 0, -8], [8, 0, 7], [3, 0, 2], [1, 0, 0], [-9, 0, 0]], np.int8)
    both = replace(CONFIG, weight_bits=(4, 8))
    assert coding_of("multiply").cost(mixed, both).tolist() == [4, 1, 2]
    assert coding_of("multiply").stream(mixed, both).fields["narrow"].tolist() == [0] * 3 + [1] * 4
    assert coding_of("dense").cost(levels, wide).tolist() == [3, 3, 3]


@pytest.mark.parametrize(("multiplier", "first"), [("booth", 1), ("dsp", -1)])
def test_a_wide_weight_has_one_activation(multiplier: str, first: int):
    """Of both halves, or of the upper place alone: the lower one has a row of zeros."""
    config = replace(CONFIG, weight_bits=(4, 8), multiplier=multiplier)
    fields = coding_of("multiply").stream(np.array([[0], [100]], np.int8), config).fields
    assert fields["narrow"].tolist() == [0]
    assert (fields["index0"].tolist(), fields["index1"].tolist()) == ([first], [1])


def test_dense_outputs_go_round():
    shares, words = share_out_channels(
        np.zeros((9, 7), np.int8), replace(CONFIG, families=("dense",))
    )
    assert [share.tolist() for share in shares] == [[0, 3, 6], [1, 4], [2, 5]]
    assert words.tolist() == [27, 18, 18]


def test_narrow_weights_are_small():
    levels = np.array([[8]], np.int8)
    with pytest.raises(ValueError, match="magnitude 8; a multiply element holds up to 7"):
        share_out_channels(levels, replace(CONFIG, weight_bits=(4,)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_bits": (6,)}, r"weight_bits must be one of \[8\], \[4\], \[4, 8\], not \[6\]"),
        (
            {"weight_bits": (4, 8), "multiplier": "packed"},
            r"packed products have weights of one width, not of \[4, 8\] bits",
        ),
        ({"multiplier": "wallace"}, "unknown multiplier 'wallace'"),
        ({"multiplier": "packed", "lanes": 3}, "even number of lanes, not 3"),
        ({"families": ("dense", "multiply")}, "dense elements share an array with no other"),
        ({"accumulator_width": 31}, "accumulators of 31 bits; these families need all 32"),
    ],
)
def test_what_no_array_can_be(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


def test_a_machine_is_in_step_or_not():
    assert not CONFIG.lockstep
    assert replace(CONFIG, families=("dense",)).lockstep
