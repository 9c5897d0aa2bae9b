# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Words without whole addresses: they read the same rows, and cost what is announced."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.index_coding import Deltas, Windows
from daqkf.hw_targets.words import stream_words
from daqkf.passes.encode.coding import coding_of

CONFIG = ArrayConfig(
    pes=1,
    lanes=2,
    post_lanes=1,
    max_shift=0,
    activation_depth=256,
    stream_depth=256,
    parameter_depth=8,
    result_depth=8,
    index_bits=3,
    running_sum_width=9,
    accumulator_width=32,
    sum_width=32,
)
MULTIPLY = replace(CONFIG, families=("multiply",))
BITS = st.integers(2, 7)
ARRAYS = st.one_of(
    st.builds(
        lambda items, shift, bits: replace(CONFIG, items=items, max_shift=shift, index_bits=bits),
        st.sampled_from((2, 4, 8)),
        st.sampled_from((0, 3)),
        BITS,
    ),
    st.builds(
        lambda items, bits: replace(CONFIG, families=("ternary",), items=items, index_bits=bits),
        st.sampled_from((2, 4, 8)),
        BITS,
    ),
    st.builds(
        lambda items, shift, bits: replace(
            CONFIG, families=("ordered_sum",), items=items, max_shift=shift, index_bits=bits
        ),
        st.sampled_from((1, 2, 4, 8)),
        st.sampled_from((0, 3)),
        st.integers(0, 7).filter(lambda bits: bits != 1),
    ),
    st.builds(
        lambda width, bits: replace(MULTIPLY, weight_bits=width, index_bits=bits),
        st.sampled_from(((4,), (8,))),
        BITS,
    ),
)
SPARSE = st.one_of(*[st.just(0)] * 6, st.integers(-3, 3), st.integers(-127, 127))


def matrices(config: ArrayConfig) -> st.SearchStrategy[NDArray[np.int8]]:
    most = coding_of(config.family(0)).most(config)
    shape = st.tuples(st.integers(1, 255), st.integers(1, 4))
    # Mostly zeros, so that gaps are longer than windows and deltas.
    return st.builds(
        lambda levels, stride: np.where(
            np.arange(len(levels))[:, np.newaxis] % stride, 0, np.clip(levels, -most, most)
        ).astype(np.int8),
        hnp.arrays(np.int8, shape, elements=SPARSE),
        st.integers(1, 40),
    )


@given(st.data(), ARRAYS)
def test_a_stream_with_its_correction_is_the_product(data: st.DataObject, config: ArrayConfig):
    levels = data.draw(matrices(config))
    x = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-128, 128, (3, len(levels)))
    memory = np.zeros((config.activation_depth, len(x)), np.int64)
    memory[: len(levels)] = x.T
    family, coding = FAMILIES[config.family(0)], coding_of(config.family(0))
    word = family.word

    stream = coding.stream(levels, config)
    lengths = np.diff(stream.starts)
    assert np.array_equal(lengths, coding.cost(levels, config))
    whole = coding.cost(levels, replace(config, index_bits=0))
    assert (lengths >= whole).all() or family.name in ("running_sum", "ternary")
    fields = {**stream.fields, "end": np.arange(stream.starts[-1]) == stream.starts[-1] - 1}
    layout = stream_words(config)[family.name]
    words = layout.unpack(layout.pack(word.encoded(fields, config)))
    played = word.played(words, config)
    for name in word.addresses(config):
        assert (played[name][fields[name] >= 0] == fields[name][fields[name] >= 0]).all()
        rows = played[name]
        assert ((rows < len(levels)) | (rows == config.null_address)).all()
    sums = np.array(list(family.golden(played, memory, config)))
    correction = np.asarray(stream.correction)[:, np.newaxis]
    assert np.array_equal(sums + correction, (x @ levels.astype(np.int64)).T)


def test_a_window_begins_at_halves_and_spares_its_last_row():
    """Windows of 8 rows: row 11 is the last of the one that begins at 4, so it has the next."""
    levels = np.zeros((20, 3), np.int8)
    levels[[5, 10], 0] = -1
    levels[[5, 11], 1] = -1
    levels[[7, 8], 2] = -1
    costs = coding_of("running_sum").cost(levels, CONFIG).tolist()
    assert costs == [2, 3, 2]
    words = coding_of("running_sum").stream(levels[:, :1], CONFIG).fields
    coded = Windows().coded(words, CONFIG)
    assert (coded["window"][0], coded["offset0"][0], coded["offset1"][0]) == (1, 1, 6)
    assert (coded["offset0"][1], coded["offset1"][1]) == (7, 7)


def test_a_group_of_words_that_all_add_gets_one_that_subtracts():
    levels = np.ones((3, 1), np.int8)
    config = replace(CONFIG, items=4)
    assert coding_of("running_sum").cost(levels, config).tolist() == [3]
    assert coding_of("running_sum").cost(-levels, config).tolist() == [2]


def test_a_gap_too_long_for_a_delta_takes_items_without_weight():
    levels = np.zeros((40, 1), np.int8)
    levels[[3, 30]] = 5
    stream = coding_of("multiply").stream(levels, MULTIPLY)
    assert stream.fields["index0"].tolist() == [3, 10, 17, 24, 30]
    assert stream.fields["weight0"].tolist() == [5, 0, 0, 0, 5]
    assert Deltas().coded(stream.fields, MULTIPLY)["delta0"].tolist() == [3, 7, 7, 7, 6]


@pytest.mark.parametrize(
    ("form", "rows", "message"),
    [
        (Windows(), [[0, 1], [5, 11]], r"word 1 does not reach the rows of its items: \[5, 11\]"),
        (Deltas(), [[0, 7], [14, 22]], r"word 1 does not reach the rows of its items: \[14, 22\]"),
        (Deltas(), [[3, 2], [14, 22]], r"word 0 does not reach the rows of its items: \[3, 2\]"),
    ],
)
def test_rows_out_of_reach_are_named(form: Any, rows: list[list[int]], message: str):
    index = np.array(rows)
    words = {"index0": index[:, 0], "index1": index[:, 1], "last": np.array([0, 1])}
    with pytest.raises(ValueError, match=message):
        form.encode(words, CONFIG)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index_bits": 1}, "index_bits must be 2..7 for addresses of 8 bits, not 1"),
        ({"index_bits": 8}, "index_bits must be 2..7 for addresses of 8 bits, not 8"),
        ({"index_bits": -1}, "index_bits cannot be -1"),
        ({"items": 1}, "words of one item have nothing to share"),
        ({"families": ("dense",)}, "dense elements have no index_bits"),
        ({"families": ("multiply", "strassen"), "pes": 2}, "strassen elements have no index_bits"),
    ],
)
def test_what_no_array_can_be(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)
