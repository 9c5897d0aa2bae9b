# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Running-sum streams re-evaluate to the exact dot product, at the cost they announce."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from daqkf.hw_targets import numerics
from daqkf.hw_targets.machine import ITEM_COUNTS
from daqkf.passes.encode import gap_steps, running_sum, ternary

MATRICES = hnp.arrays(
    np.int8,
    st.tuples(st.integers(1, 24), st.integers(1, 6)),
    elements=st.one_of(st.just(0), st.integers(-3, 3), st.integers(-127, 127)),
)


def evaluate(stream: running_sum.Stream, x: NDArray[np.int8]) -> NDArray[np.int64]:
    """Play a stream, one word at a time, over x [T, K], and correct its sums."""
    memory = np.concatenate([x.astype(np.int64), np.zeros((len(x), 1), np.int64)], axis=1)
    sums: list[NDArray[np.int64]] = []
    running = total = np.zeros(len(x), np.int64)
    fields = stream.fields
    items = sum(name.startswith("index") for name in fields)
    for word in range(len(fields["last"])):
        if "step" in fields and fields["step"][word]:
            total = total - (running << fields["shift"][word])
        if "step" in fields and fields["last"][word]:
            sums.append(total)
            running = total = np.zeros(len(x), np.int64)
            continue
        running = running + 1 if fields["keep"][word] else -running
        for item in range(items):
            row = memory[:, fields[f"index{item}"][word]]
            if item % 2 and fields[f"complement{item}"][word]:
                row = -row - 1
            running = running - row if item % 2 else running + row
        if "step" not in fields and fields["last"][word]:
            sums.append(running)
            running = np.zeros_like(running)
    return np.array(sums).T + stream.correction


ITEMS = st.sampled_from(ITEM_COUNTS)


@given(MATRICES, st.integers(0, 7), ITEMS, st.integers(0, 2**32 - 1))
def test_stream_is_the_dot_product(levels: NDArray[np.int8], max_shift: int, items: int, seed: int):
    x = np.random.default_rng(seed).integers(-128, 128, (3, len(levels))).astype(np.int8)
    stream = running_sum.stream(levels, max_shift, items)
    assert np.array_equal(evaluate(stream, x), x.astype(np.int64) @ levels.astype(np.int64))


TERNARY = hnp.arrays(
    np.int8, st.tuples(st.integers(1, 24), st.integers(1, 6)), elements=st.integers(-1, 1)
)


@given(TERNARY, ITEMS, st.integers(0, 2**32 - 1))
def test_ternary_streams_need_no_steps(levels: NDArray[np.int8], items: int, seed: int):
    """Each output is a word shorter than with steps, unless it has no items at all."""
    x = np.random.default_rng(seed).integers(-128, 128, (3, len(levels))).astype(np.int8)
    stream, cost = ternary.stream(levels, items), ternary.cost(levels, items)
    assert np.array_equal(evaluate(stream, x), x.astype(np.int64) @ levels.astype(np.int64))
    assert np.array_equal(np.diff(stream.starts), cost)
    assert stream.fields["last"].sum() == levels.shape[1]
    assert (cost >= np.maximum(-(-np.count_nonzero(levels, axis=0) // items), 1)).all()
    steps = np.where(levels.any(axis=0), 1, 0)
    assert np.array_equal(cost + steps, running_sum.cost(-levels, 0, items))


@given(TERNARY, ITEMS)
def test_ternary_sums_fit_the_accumulator(levels: NDArray[np.int8], items: int):
    """With their surplus, for the activations that take each output furthest."""
    stream, bounds = ternary.stream(levels, items), numerics.accumulator_bound(levels)
    for low, high in ((-128, 127), (127, -128)):
        x = np.where(levels > 0, high, low).astype(np.int8).T
        sums = np.diag(evaluate(stream, x) - stream.correction)
        for total, bound in zip(sums, bounds, strict=True):
            assert numerics.width_for(abs(int(total))) <= max(numerics.width_for(int(bound)), 9)


@given(MATRICES, st.integers(0, 7), ITEMS)
def test_cost_is_the_length_of_the_stream(levels: NDArray[np.int8], max_shift: int, items: int):
    stream = running_sum.stream(levels, max_shift, items)
    fields = stream.fields
    assert np.array_equal(np.diff(stream.starts), running_sum.cost(levels, max_shift, items))
    assert fields["last"].sum() == levels.shape[1]
    assert fields["step"][fields["last"] == 1].all(), "the last word of an output steps"
    assert not fields["step"][stream.starts[:-1]][np.diff(stream.starts) > 1].any(), "not the first"
    for item in range(items):
        assert (fields[f"index{item}"][fields["last"] == 1] == -1).all(), "nor has it items"
    assert fields["shift"].max() <= max_shift
    placed = sum(int((fields[f"index{item}"] >= 0).sum()) for item in range(items))
    # Without shifts a weight may be two items.
    assert np.count_nonzero(levels) <= placed <= np.count_nonzero(levels) * (1 if max_shift else 2)


@given(st.integers(1, 127), st.integers(0, 7))
def test_parts_are_the_fewest_powers_of_two(gap: int, max_shift: int):
    best = [0] + [gap + 1] * gap
    for amount in range(1, gap + 1):
        best[amount] = 1 + min(best[amount - 2**s] for s in range(max_shift + 1) if 2**s <= amount)
    assert gap_steps.parts(np.array([gap]), max_shift)[0] == best[gap]


@pytest.mark.parametrize("shape", [(1, 1), (5, 3)])
def test_all_zero_columns_have_one_word(shape: tuple[int, int]):
    stream = running_sum.stream(np.zeros(shape, np.int8), 3)
    assert np.array_equal(np.diff(stream.starts), np.ones(shape[1]))
    assert (stream.fields["index0"] == -1).all()
    assert stream.fields["step"].all()
    assert stream.fields["last"].all()


@pytest.mark.parametrize("max_shift", [0, 1, 3])
@pytest.mark.parametrize("lay_out", [running_sum.stream, running_sum.shared_stream])
def test_what_a_lane_accumulates_is_within_its_bound(
    lay_out: Callable[..., running_sum.Stream], max_shift: int
):
    rng = np.random.default_rng(max_shift)
    for items in (1, 2, 8) * 8:
        levels = rng.integers(-127, 128, (int(rng.integers(1, 7)), 1)).astype(np.int8)
        surplus = -int(lay_out(levels, max_shift, items).correction[0])
        weights = levels.astype(np.int64)
        positive, negative = weights[weights > 0].sum(), -weights[weights < 0].sum()
        most = 127 * positive + 128 * negative + surplus
        least = -128 * positive - 127 * negative + surplus
        bound = int(numerics.streamed_bound(levels)[0])
        assert -bound <= least <= most <= bound
