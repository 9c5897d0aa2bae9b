# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Products over semirings: their definition, their streams and the ranges of their sums."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from xdsl.passes import PassPipeline

from daqkf.dialects.interpreting import run
from daqkf.hw_targets import numerics
from daqkf.hw_targets.semirings import INFINITY, Semiring, product
from daqkf.lowering import PASSES as LOWERINGS
from daqkf.passes import PASSES
from daqkf.passes.encode import semiring as semirings
from daqkf.support.ir import make_context, parse_module

CONTEXT = make_context()

Matrix = NDArray[np.int8]
OTHERS = [semiring for semiring in Semiring if semiring is not Semiring.PLUS_TIMES]
SHAPES = st.tuples(st.integers(1, 16), st.integers(1, 5))
BYTES = st.one_of(st.sampled_from([-128, 127, 0]), st.integers(-3, 3), st.integers(-128, 127))


@st.composite
def matrices(draw: Callable[..., Matrix], semiring: Semiring) -> Matrix:
    """Weights [K, N] that a kernel may have, about half of them absent."""
    shape = draw(SHAPES)
    stored = st.just(-1) if semiring is Semiring.OR_AND else BYTES
    return draw(hnp.arrays(np.int8, shape, elements=st.one_of(st.just(semiring.zero), stored)))


def kernels() -> st.SearchStrategy[tuple[Semiring, Matrix]]:
    return st.sampled_from(OTHERS).flatmap(lambda s: st.tuples(st.just(s), matrices(s)))


def activations(seed: int, features: int, semiring: Semiring) -> Matrix:
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (4, features)).astype(np.int8)
    x[rng.random(x.shape) < 0.3] = semiring.zero
    return x


def plain(x: Matrix, weights: Matrix, semiring: Semiring) -> list[list[int]]:
    """The product by loops over Python's numbers."""
    rows: list[list[int]] = []
    for row in x.tolist():
        sums: list[int] = []
        for column in weights.T.tolist():
            pairs = [
                (a, w)
                for a, w in zip(row, column, strict=True)
                if a != semiring.zero and w != semiring.zero
            ]
            if semiring is Semiring.OR_AND:
                joined = 0
                for a, w in pairs:
                    joined |= a & w
                sums.append(joined)
            elif semiring is Semiring.MAX_PLUS:
                sums.append(max((a + w for a, w in pairs), default=-512))
            else:
                sums.append(min((a + w for a, w in pairs), default=511))
        rows.append(sums)
    return rows


def play(
    weights: Matrix, x: Matrix, max_shift: int, semiring: Semiring
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lanes' sums [T, N] of a stream, and all that they joined, in the direction of max."""
    stream = semirings.stream(weights, max_shift, semiring)
    memory = np.concatenate([x.astype(np.int64), np.zeros((len(x), 1), np.int64)], axis=1)
    offset, held, joined = 0, [], []
    best: NDArray[np.int64] | None = None
    for word in range(len(stream.fields["step"])):
        items = (
            memory[:, stream.fields["index0"][word]] ^ -stream.fields["negative0"][word],
            memory[:, stream.fields["index1"][word]] ^ -stream.fields["negative1"][word],
        )
        if semiring is Semiring.OR_AND:
            item = items[0] | items[1]
            best = item if best is None else best | item
        else:
            item = np.maximum(*items)
            item = np.where(item == -128, -INFINITY, item) + offset
            best = item if best is None else np.maximum(best, item)
        joined.append(item)
        offset -= int(stream.fields["step"][word] << stream.fields["shift"][word])
        if stream.fields["last"][word]:
            held.append(~best if semiring is Semiring.MIN_PLUS else best)
            best, offset = None, 0
    return np.array(held).T, np.array(joined)


@given(kernels(), st.integers(0, 2**16))
def test_product_is_what_loops_compute(kernel: tuple[Semiring, Matrix], seed: int):
    semiring, weights = kernel
    x = activations(seed, len(weights), semiring)
    assert product(x, weights, semiring).tolist() == plain(x, weights, semiring)


@given(kernels(), st.integers(0, 7), st.integers(0, 2**16))
def test_stream_gives_the_product(kernel: tuple[Semiring, Matrix], max_shift: int, seed: int):
    semiring, weights = kernel
    x = activations(seed, len(weights), semiring)
    expected = np.array(plain(x, weights, semiring))
    sums, _ = play(weights, x, max_shift, semiring)
    sums = sums + semirings.correction(weights, semiring)
    finite = np.abs(expected) < INFINITY - 1
    assert np.array_equal(sums[finite], expected[finite])
    # An infinite sum is one beyond every finite sum, which saturation makes one number.
    outermost = expected[~finite]
    assert ((sums[~finite] < -256 - 127) == (outermost < 0)).all()
    assert ((sums[~finite] > 254 + 127) == (outermost > 0)).all()


@given(kernels(), st.integers(0, 7))
def test_cost_is_the_length_of_the_stream(kernel: tuple[Semiring, Matrix], max_shift: int):
    semiring, weights = kernel
    stream = semirings.stream(weights, max_shift, semiring)
    assert np.array_equal(np.diff(stream.starts), semirings.cost(weights, max_shift, semiring))
    assert stream.fields["last"].sum() == weights.shape[1]
    if semiring is Semiring.OR_AND:
        assert not stream.fields["step"].any()
    filled = (weights != semiring.zero).any(axis=0)
    for channel in np.flatnonzero(filled):
        words = slice(stream.starts[channel], stream.starts[channel + 1])
        read = np.concatenate([stream.fields["index0"][words], stream.fields["index1"][words]])
        assert set(read) == set(np.flatnonzero(weights[:, channel] != semiring.zero))


@given(kernels(), st.integers(0, 2**16), st.integers(-300, 300))
def test_ranges_hold(kernel: tuple[Semiring, Matrix], seed: int, largest: int):
    semiring, weights = kernel
    rng = np.random.default_rng(seed)
    x = activations(seed, len(weights), semiring)
    x = np.concatenate([x, np.full_like(x[:1], -128), np.full_like(x[:1], 127)])
    bias = rng.integers(-abs(largest), abs(largest) + 1, weights.shape[1])
    ranges = semirings.ranges(weights, bias, semiring)
    held, joined = play(weights, x, 3, semiring)
    exact = np.array(plain(x, weights, semiring))
    correction = semirings.correction(weights, semiring) + bias
    for (low, high), values in (
        (ranges.running, joined),
        (ranges.accumulator, held),
        (ranges.accumulator, exact),
        (ranges.total, held + correction),
        (ranges.total, exact + bias),
        (ranges.total, correction),
    ):
        assert low <= values.min() and values.max() <= high
    assert numerics.signed_bits(*ranges.running) <= 11


PASSES_OF_A_KERNEL = (
    "dfke-fuse",
    "dfke-specialize-bitwidth",
    "dfke-schedule{target=tiny-semiring}",
    "lower-dfke-to-rpea",
)


@given(kernels(), st.integers(0, 2**16))
@settings(max_examples=25)
@example((Semiring.MAX_PLUS, np.array([[-1]], np.int8)), 0)  # infinity and the first weight
def test_passes_change_no_bit(kernel: tuple[Semiring, Matrix], seed: int):
    semiring, weights = kernel
    (features, channels), x = weights.shape, activations(seed, len(weights), semiring)
    literal = weights.tolist()
    vector = f"tensor<{channels}xi32>"
    module = parse_module(
        CONTEXT,
        f"""
        func.func @f(%x: tensor<?x{features}xi8>) -> tensor<?x{channels}xi8> {{
          %w = spaq.constant dense<{literal}> : tensor<{features}x{channels}xi8>
          %0 = spaq.matmul %x, %w semiring {semiring} : (tensor<?x{features}xi8>,
            tensor<{features}x{channels}xi8>) -> tensor<?x{channels}xi32>
          %1 = spaq.requantize %0 multiplier dense<2> : {vector} shift dense<1> : {vector}
            : tensor<?x{channels}xi32> -> tensor<?x{channels}xi8>
          func.return %1 : tensor<?x{channels}xi8>
        }}""",
        "test",
    )
    expected = np.clip(plain(x, weights, semiring), -128, 127)
    assert np.array_equal(run(module, x), expected)
    for spec in PASSES_OF_A_KERNEL:
        PassPipeline.parse_spec(PASSES | LOWERINGS, spec).apply(CONTEXT, module)
        module.verify()
        assert np.array_equal(run(module, x), expected), spec


def test_a_repeated_item_takes_the_place_of_a_null_item():
    weights = np.array([[5, -128], [-2, -128], [5, -128], [5, -128]], np.int8)
    stream = semirings.stream(weights, 1, Semiring.MAX_PLUS)
    # Three items of weight 5, steps of 2, 2, 2 and 1 down to -2, one item; an empty channel.
    assert stream.fields["index0"].tolist() == [0, 3, 3, 3, 3, 1, -1]
    assert stream.fields["index1"].tolist() == [2, 3, 3, 3, 3, 1, -1]
    assert stream.fields["step"].tolist() == [0, 1, 1, 1, 1, 0, 0]
    assert stream.fields["shift"].tolist() == [0, 1, 1, 1, 0, 0, 0]
    assert stream.fields["last"].tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert semirings.correction(weights, Semiring.MAX_PLUS).tolist() == [5, -512]


@pytest.mark.parametrize("semiring", Semiring)
def test_the_zero_is_neutral_and_absorbs(semiring: Semiring):
    one = {Semiring.PLUS_TIMES: 1, Semiring.OR_AND: -1}.get(semiring, 0)
    x = np.array([[5, semiring.zero], [semiring.zero, semiring.zero]], np.int8)
    weights = np.array([[one, semiring.zero], [one, one]], np.int8)
    assert product(x, weights, semiring).tolist() == [
        [5, semiring.sum_zero],
        [semiring.sum_zero, semiring.sum_zero],
    ]


def test_ranges_of_a_tropical_sum_begin_at_its_infinity():
    """Weights above 0 leave the lowest sum where infinity and the bias are."""
    levels, bias = np.array([[3, 5], [9, 1]], np.int8), np.array([7, -2])
    found = semirings.ranges(levels, bias, Semiring.MAX_PLUS)
    assert found.total[0] == -INFINITY - 2
    below = semirings.ranges(np.array([[-4, 5]], np.int8), 0 * bias, Semiring.MAX_PLUS)
    assert below.total[0] == -INFINITY - 4
