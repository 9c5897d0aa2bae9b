# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Coded streams play the same items, and have the sizes that are announced."""

from itertools import product
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from daqkf.passes.maths import joining
from daqkf.passes.maths.index_coding import FORMS, decode, encode, measure, smallest
from daqkf.passes.maths.running_sum import Stream

MATRICES = hnp.arrays(
    np.int8,
    st.tuples(st.integers(1, 70), st.integers(1, 5)),
    elements=st.one_of(st.just(0), st.integers(-2, 2), st.integers(-127, 127)),
)
BITS = st.integers(1, 8)
SHIFTS = st.integers(0, 7)
ITEMS = st.sampled_from([1, 2, 4])


def items_by_step(stream: Stream, items: int) -> list[list[tuple[int, int]]]:
    """The (row, sign) of the items that each step is the first to count, in order."""
    found: list[list[tuple[int, int]]] = [[]]
    for word, step in enumerate(stream.fields["step"]):
        for item in range(items):
            row = int(stream.fields[f"index{item}"][word])
            if row >= 0:
                found[-1].append((row, int(stream.fields[f"negative{item}"][word])))
        if step:
            found.append([])
    return found


def play(stream: Stream, bits: int, items: int, address_bits: int) -> list[tuple[int, int]]:
    """The addresses and signs that the lanes get, register by register as in the docstring."""
    null_address = (1 << address_bits) - 1
    base, played = null_address, []
    for word in range(len(stream.fields["step"])):
        for item in range(items):
            delta = int(stream.fields[f"delta{item}"][word])
            sign = int(stream.fields[f"negative{item}"][word])
            assert 0 <= delta < 1 << bits
            null = delta == 0
            base = (base + ((1 << bits) - 1 if null and sign else delta)) & null_address
            played.append((null_address, 0) if null else (base, sign))
        if stream.fields["step"][word]:
            base = null_address
    return played


@given(MATRICES, SHIFTS, ITEMS, BITS)
def test_coded_streams_play_the_same_items(
    levels: NDArray[np.int8], max_shift: int, items: int, bits: int
):
    stream = joining.lay_out(joining.group(levels), max_shift, items)
    coded = encode(stream, bits, items)
    decoded = decode(coded, bits, items)
    assert items_by_step(decoded, items) == items_by_step(stream, items)
    for name in ("shift", "last"):
        steps = [fields[name][fields["step"] == 1] for fields in (stream.fields, decoded.fields)]
        assert np.array_equal(steps[0], steps[1])
    assert not decoded.fields["last"][decoded.fields["step"] == 0].any()


@given(MATRICES, ITEMS, BITS)
def test_decoding_is_what_the_registers_do(levels: NDArray[np.int8], items: int, bits: int):
    address_bits = len(levels).bit_length()
    coded = encode(joining.lay_out(joining.group(levels), 3, items), bits, items)
    decoded = decode(coded, bits, items).fields
    index = np.stack([decoded[f"index{item}"] for item in range(items)], axis=1).ravel()
    negative = np.stack([decoded[f"negative{item}"] for item in range(items)], axis=1).ravel()
    index = np.where(index < 0, (1 << address_bits) - 1, index)
    assert play(coded, bits, items, address_bits) == list(
        zip(index.tolist(), negative.tolist(), strict=True)
    )


@given(MATRICES, SHIFTS, ITEMS)
def test_announced_words_are_those_of_the_stream(
    levels: NDArray[np.int8], max_shift: int, items: int
):
    groups = joining.group(levels)
    stream = joining.lay_out(joining.group(levels), max_shift, items)
    found = smallest(groups, levels.shape, "order", max_shift, items)
    plain = smallest(groups, levels.shape, "absolute", max_shift, items)
    assert np.array_equal(plain.words, np.diff(stream.starts))
    assert found.total <= plain.total
    if found.bits < plain.bits:
        coded = encode(stream, found.bits, items)
        assert np.array_equal(found.words, np.diff(coded.starts))


@given(MATRICES, SHIFTS, st.sampled_from([form for form in FORMS if form != "absolute"]))
def test_slowdown_is_a_limit(levels: NDArray[np.int8], max_shift: int, form: str):
    groups = joining.group(levels)
    plain = smallest(groups, levels.shape, "absolute", max_shift)
    bounded = smallest(groups, levels.shape, form, max_shift, slowdown=0.0)
    free = smallest(groups, levels.shape, form, max_shift)
    assert bounded.words.sum() <= plain.words.sum()
    assert free.total <= bounded.total <= plain.total


@given(MATRICES)
def test_deltas_need_no_more_escapes_than_windows(levels: NDArray[np.int8]):
    codings = measure(levels, 3).codings
    assert codings["order"].total <= codings["windows"].total


def test_bound_is_the_count_of_matrices():
    levels = np.array([[3], [-1], [0], [3], [0]], np.int8)
    same = [
        column
        for column in product(range(-3, 4), repeat=5)
        if sorted(map(abs, column)) == [0, 0, 1, 3, 3]
    ]
    assert measure(levels, 3).bound == pytest.approx(log2(len(same)))


def test_bitmap_and_csr_count_rows_and_values():
    levels = np.array([[3, 0], [-1, 0], [0, 5], [3, 0], [0, 0]], np.int8)
    found = measure(levels, 3)
    assert found.nonzeros == 4
    assert found.bitmap == 10 + 4 * 2
    assert found.csr == 4 * (3 + 2) + 3 * 3


@pytest.mark.parametrize(
    ("index", "step", "bits", "reason"),
    [
        ([3, 1], [0, 1], 3, "row 1 follows"),
        ([1, 1], [0, 1], 3, "row 1 follows"),
        ([1, 3], [1, 0], 3, "does not end with a step"),
        ([1, 3], [0, 1], 0, "at least 1 bit"),
    ],
)
def test_streams_that_cannot_be_coded(index: list[int], step: list[int], bits: int, reason: str):
    fields = dict.fromkeys(("negative0", "shift", "last"), np.zeros(2, np.int64))
    fields |= {"index0": np.array(index), "step": np.array(step)}
    with pytest.raises(ValueError, match=reason):
        encode(Stream(fields, np.array([0, 2])), bits, items=1)


def test_unknown_forms_are_named():
    groups = joining.group(np.ones((2, 1), np.int8))
    with pytest.raises(ValueError, match=r"unknown coding .huffman. \(known: absolute, order"):
        smallest(groups, (2, 1), "huffman", 3)
