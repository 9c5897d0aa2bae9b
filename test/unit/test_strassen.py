# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Strassen streams re-evaluate to the exact dot product, at the cost they announce."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.words import stream_word
from daqkf.lowering.conversions.streams import pack_streams
from daqkf.passes.dfke_schedule import schedule
from daqkf.passes.encode import strassen
from daqkf.passes.encode.channels import share_out_channels
from daqkf.passes.encode.coding import coding_of

CONFIG = ArrayConfig(
    pes=1,
    lanes=2,
    post_lanes=1,
    max_shift=0,
    activation_depth=64,
    stream_depth=4096,
    parameter_depth=64,
    result_depth=64,
    running_sum_width=15,
    accumulator_width=24,
    sum_width=24,
    families=("strassen",),
)
MATRICES = hnp.arrays(
    np.int8,
    st.tuples(st.integers(1, 24), st.integers(1, 7)),
    elements=st.one_of(st.just(0), st.integers(-2, 2), st.sampled_from([-127, 127])),
)
TOKENS = hnp.arrays(
    np.int8,
    st.tuples(st.integers(1, 5), st.just(24)),
    elements=st.one_of(st.sampled_from([-128, 127]), st.integers(-128, 127)),
)
EXTREME = np.full((24, 2), 127, np.int8)


def fewest(features: int, first: int, second: int) -> int:
    """The fewest words by trying every number of direct ones, of each composition."""
    most = features
    for a in range(first + 1):
        for b in range(second + 1):
            direct = (a + b) // 3
            # Each direct word has one or two of either output.
            if a + b == 3 * direct and direct <= min(a, b):
                most = min(most, direct + -(-(features - a - b) // 2))
    return max(most, 1)


@given(MATRICES, TOKENS)
@example(EXTREME, np.full((2, 24), -128, np.int8))
@example(-EXTREME, np.tile(np.array([[-128], [127]], np.int8), 24))
@example(EXTREME * np.array([1, -1], np.int8), np.tile(np.array([-128, 127], np.int8), (2, 12)))
def test_a_packed_stream_is_the_dot_product(levels: NDArray[np.int8], x: NDArray[np.int8]):
    """The golden model runs the bits of the words, so that the width of every field is tested."""
    x = x[:, : len(levels)]
    share = np.arange(levels.shape[1], dtype=np.int32)
    packed, rows, _ = pack_streams(levels, [share], CONFIG)
    words = stream_word(CONFIG, 0).unpack(packed)
    memory = np.zeros((CONFIG.activation_depth, len(x)), np.int64)
    memory[: len(levels)] = x.T
    sums = list(FAMILIES["strassen"].golden(words, memory, CONFIG))
    assert np.array_equal(np.array(sums).T, x.astype(np.int64) @ levels.astype(np.int64))
    assert FAMILIES["strassen"].word.completed(words) == levels.shape[1]
    assert rows[0] == strassen.cost(levels).sum()


@given(MATRICES)
def test_words_are_the_fewest_and_hold_each_weight_once(levels: NDArray[np.int8]):
    layout = strassen.Layout.of(levels)
    padded = np.pad(levels, ((0, 0), (0, levels.shape[1] % 2)))
    rebuilt = np.zeros_like(padded, np.int64)
    rebuilt.reshape(len(levels), -1, 2)[layout.index, layout.pair] += layout.weights
    assert np.array_equal(rebuilt, padded)
    places = np.stack([layout.pair, layout.word, layout.slot], axis=1)
    assert len(np.unique(places, axis=0)) == len(places)
    assert (layout.word < layout.counts[layout.pair]).all()
    for number, columns in enumerate(np.split(padded != 0, padded.shape[1] // 2, axis=1)):
        one = columns.sum(axis=1) == 1
        singles = [int((one & columns[:, output]).sum()) for output in range(2)]
        assert layout.counts[number] == fewest(int(columns.any(axis=1).sum()), *singles)


@given(st.integers(1, 24), st.integers(1, 6))
def test_dense_weights_take_a_block_a_word(features: int, channels: int):
    levels = np.full((features, channels), 5, np.int8)
    even = levels[:, : channels // 2 * 2]
    assert (strassen.cost(levels) == -(-features // 2)).all()
    assert (strassen.Layout.of(even).direct == 0).all()


@given(MATRICES)
def test_direct_words_have_one_weight_a_feature_and_both_outputs(levels: NDArray[np.int8]):
    layout = strassen.Layout.of(levels)
    direct = layout.word < layout.direct[layout.pair]
    assert set(layout.slot[~direct]) <= {0, 1}
    single = layout.weights[direct] != 0
    assert (single.sum(axis=1) == 1).all()
    assert single[layout.slot[direct] == 0, 1].all()
    assert single[layout.slot[direct] == 1, 0].all()
    assert (np.bincount(layout.slot[direct], minlength=3) == layout.direct.sum()).all()


@given(MATRICES)
def test_pairs_name_each_channel_once(levels: NDArray[np.int8]):
    pairs = strassen.pair(levels)
    named = pairs.ravel()
    assert np.array_equal(np.sort(named[named >= 0]), np.arange(levels.shape[1]))
    assert (named < 0).sum() == levels.shape[1] % 2
    assert (named[:-1] >= 0).all(), "only the last pair lacks a channel"


def test_channels_of_one_pattern_are_paired():
    patterns = np.array([[1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0]], np.int8)
    pairs = strassen.pair(patterns)
    assert sorted(map(sorted, pairs.tolist())) == [[0, 3], [1, 2]]
    assert strassen.cost(patterns[:, pairs.ravel()]).sum() == 2


@given(MATRICES, st.integers(1, 4), st.booleans())
def test_a_schedule_announces_the_words_of_its_streams(
    levels: NDArray[np.int8], pes: int, mixed: bool
):
    families = ("running_sum", "strassen") if mixed and pes > 1 else ("strassen",)
    config = replace(CONFIG, pes=pes, families=families)
    shares, words = share_out_channels(levels, config)
    assert np.array_equal(np.sort(np.concatenate(shares)), np.arange(levels.shape[1]))
    for pe, share in enumerate(shares):
        coding = coding_of(config.family(pe))
        assert words[pe] == (coding.cost(levels[:, share], config).sum() if len(share) else 0)
    _, rows, _ = pack_streams(levels, [share.astype(np.int32) for share in shares], config)
    assert np.array_equal(rows, np.maximum(words, 1))


def machine(lanes: int) -> Machine:
    return Machine(2, lanes, 1, 0, 64, 4096, 64, 64, families=("strassen",))


def test_odd_lanes_are_refused():
    with pytest.raises(ValueError, match="pairs its lanes, and 3 are odd"):
        machine(3)


def test_a_level_that_no_operand_holds_is_refused():
    with pytest.raises(ValueError, match="magnitude 128; a strassen element holds up to 127"):
        schedule(np.array([[-128]], np.int8), machine(2))
