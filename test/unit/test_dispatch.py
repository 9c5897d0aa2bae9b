# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Choosing a decision table, and the pass that makes a dispatch."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import PassPipeline

from daqkf.dialects.dfke import DispatchOp
from daqkf.dialects.interpreting import run
from daqkf.dialects.rpea import ArrayOp
from daqkf.lowering import PASSES as LOWERINGS
from daqkf.lowering.frontends.arrays import import_layer
from daqkf.passes import PASSES
from daqkf.passes.quantize.dispatch import (
    BUCKETS,
    bucket_shift,
    decision_table,
    expected_errors,
    tile_errors,
)
from daqkf.passes.spaq_calibrate import calibrate
from daqkf.support.ir import make_context, module_text, parse_module

CONTEXT = make_context()
LOWERING = ("dfke-fuse", "dfke-specialize-bitwidth", "dfke-schedule{target=tiny}")


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_every_count_has_a_bucket_and_half_of_them_are_used(most: int, bits: int):
    buckets = 1 << bits
    shift = bucket_shift(most, buckets)
    assert most >> shift < buckets
    assert shift == 0 or most >> (shift - 1) >= buckets


def test_the_error_of_a_tile_is_that_of_its_tokens():
    reference = np.zeros((5, 2))
    results = np.array([[1, 1], [0, 2], [0, 0], [2, 2], [3, 4]], float)
    assert tile_errors(reference, results, 2).tolist() == [1.5, 2.0, 12.5]


TILES = st.lists(
    st.tuples(st.integers(0, 100), st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=30
)


@given(TILES, st.integers(1, 6))
def test_expected_errors_fall_with_the_zeros(tiles: list[tuple[int, float, float]], bits: int):
    zeros = np.array([tile[0] for tile in tiles])
    errors = np.array([tile[1:] for tile in tiles]).T
    buckets = 1 << bits
    shift = bucket_shift(100, buckets)
    expected = expected_errors(zeros, errors, 100, shift, buckets)
    assert expected.shape == (2, buckets)
    first = zeros.min() >> shift
    assert np.isinf(expected[:, :first]).all()
    known = expected[:, first:]
    assert (np.diff(known, axis=1) <= 1e-9).all()
    # Pooling keeps the mean over all tiles.
    assert np.allclose(expected[:, zeros >> shift].mean(axis=1), errors.mean(axis=1))


@given(TILES, st.floats(0, 4), st.permutations([10, 20]))
def test_the_fastest_variant_within_the_budget(
    tiles: list[tuple[int, float, float]], budget: float, cycles: list[int]
):
    zeros = np.array([tile[0] for tile in tiles])
    errors = np.array([tile[1:] for tile in tiles]).T
    table = decision_table(zeros, errors, np.array(cycles), 100, 2, 32, budget)
    expected = expected_errors(zeros, errors, 100, 2, 32)
    fast = int(np.argmin(cycles))
    slow = 1 - fast
    useless = errors[slow].mean() >= errors[fast].mean()
    for bucket, variant in enumerate(table):
        assert variant == (fast if useless or expected[fast, bucket] <= budget**2 else slow)


@given(
    st.integers(1, 5).flatmap(
        lambda variants: st.tuples(
            st.lists(st.integers(0, 100), min_size=variants, max_size=variants),
            st.lists(
                st.tuples(st.integers(0, 100), *[st.floats(0, 10)] * variants),
                min_size=1,
                max_size=20,
            ),
        )
    ),
    st.floats(0, 4),
)
def test_more_zeros_never_lead_to_a_slower_variant(
    case: tuple[list[int], list[tuple[float, ...]]], budget: float
):
    cycles, tiles = np.array(case[0]), np.array(case[1])
    zeros, errors = tiles[:, 0].astype(np.int64), tiles[:, 1:].T
    table = decision_table(zeros, errors, cycles, 100, 2, 32, budget)
    assert (np.diff(cycles[table]) <= 0).all()


def test_a_measured_case():
    zeros = np.array([8, 9, 20, 30])
    errors = np.array([[0.1, 0.1, 0.1, 0.1], [9.0, 7.0, 1.0, 2.0]])
    expected = expected_errors(zeros, errors, 64, 3, 8)
    # Nothing is known below the second bucket; 1 and 2 pool to 1.5; then it goes by 64 - zeros.
    assert np.isinf(expected[1, 0])
    assert np.allclose(expected[1, 1:], [8, 1.5, 1.5, 1.5 * 32 / 40, 0.9, 0.6, 0.3])
    cycles = np.array([9, 5])
    assert decision_table(zeros, errors, cycles, 64, 3, 8, 1.1).tolist() == [0] * 4 + [1] * 4
    assert decision_table(zeros, errors, cycles, 64, 3, 8, 0.0).tolist() == [0] * 8
    # No more is known of tiles with fewer zeros than any, whatever the budget.
    assert decision_table(zeros, errors, cycles, 64, 3, 8, 99.0).tolist() == [0] + [1] * 7
    with pytest.raises(ValueError, match="error budget must be at least 0 output steps, not nan"):
        decision_table(zeros, errors, cycles, 64, 3, 8, float("nan"))


def layer(seed: int) -> tuple[ModuleOp, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    density = np.repeat(rng.random((20, 1)), 3, axis=0)
    x = (rng.standard_normal((60, 24)) * (rng.random((60, 24)) < density)).astype(np.float32)
    module = import_layer(rng.standard_normal((24, 10)), rng.standard_normal(10), "gelu")
    calibrate(module, x)
    return module, x


def apply(module: ModuleOp, spec: str) -> None:
    PassPipeline.parse_spec(PASSES | LOWERINGS, spec).apply(CONTEXT, module)
    module.verify()


def test_the_pass_and_those_after_it_change_no_bit(tmp_path: Path):
    module, x = layer(3)
    np.save(tmp_path / "x.npy", x)
    options = "kinds=codebook,uniform magnitudes=15,2 sparsities=0.0,0.6 budget=2 target=tiny"
    alone = []
    for spec in (
        "spaq-prune{sparsity=0.0},spaq-quantize{kind=codebook magnitudes=15}",
        "spaq-prune{sparsity=0.6},spaq-quantize{magnitudes=2}",
    ):
        apply(variant := module.clone(), spec)
        alone.append(run(variant, x))
    apply(module, f'dfke-dispatch{{samples="{tmp_path / "x.npy"}" {options}}}')
    (op,) = (op for op in module.walk() if isinstance(op, DispatchOp))
    y = run(module, x)
    scale = 127 / np.abs(x).max()
    variants = op.decision.data.variants(np.rint(x * scale).astype(np.int8))
    assert set(variants) == {0, 1}
    for tile, variant in enumerate(variants):
        rows = slice(2 * tile, 2 * tile + 2)
        assert np.array_equal(y[rows], alone[variant][rows])
    for spec in (*LOWERING, "lower-dfke-to-rpea"):
        apply(module, spec)
        assert np.array_equal(run(module, x), y), spec
        again = parse_module(CONTEXT, module_text(module), "printed")
        assert np.array_equal(run(again, x), y), f"printed after {spec}"
    config = next(op for op in module.ops if isinstance(op, ArrayOp)).config.data
    assert config.buckets == BUCKETS
