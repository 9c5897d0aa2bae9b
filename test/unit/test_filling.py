# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Words that outputs share: what fills them, and what their sums are."""

from dataclasses import replace

import numpy as np
import pytest

from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig, smallest_array
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.image_format import fingerprint
from daqkf.hw_targets.numerics import ACTIVATION_MIN, running_sum_bound, width_for
from daqkf.passes.encode import filling
from daqkf.passes.encode.channels import share_out_channels
from daqkf.passes.encode.coding import coding_of
from daqkf.passes.encode.filling import fill, fill_words
from daqkf.passes.encode.gap_steps import parts
from daqkf.passes.encode.running_sum import items_of
from daqkf.passes.encode.splitting import split_words

CODING, FAMILY = coding_of("running_sum"), FAMILIES["running_sum"]
WIDE = load_target("wide").machine


def random_levels(seed: int, shape: tuple[int, int], most: int, density: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    levels = rng.integers(-most, most + 1, shape) * (rng.random(shape) < density)
    return levels.astype(np.int8)


def array(features: int, **options: int) -> ArrayConfig:
    return smallest_array(replace(WIDE, shared_words=True, **options), features)


@pytest.mark.parametrize("items", [1, 4, 8])
@pytest.mark.parametrize("max_shift", [0, 1, 2])
def test_items_sum_up_and_fill_the_words_that_are_counted(items: int, max_shift: int):
    for most, density in ((1, 1.0), (7, 0.5), (20, 0.2), (127, 0.3), (5, 0.0)):
        levels = random_levels(most, (60, 9), most, density)
        made = fill(levels, items, max_shift)
        found = np.zeros(levels.shape, np.int64)
        np.add.at(
            found, (made.index, made.column), np.where(made.negative, -made.level, made.level)
        )
        assert np.array_equal(found, levels)
        counted = fill_words(levels, items, max_shift)
        for column, words in enumerate(counted):
            own, counts = np.unique(made.level[made.column == column], return_counts=True)
            gaps = np.diff(np.append(0, own))
            steps = parts(gaps, max_shift) - 1
            assert words == max((-(-counts // items)).sum() + steps.sum(), 1)


def test_words_are_fuller():
    levels = random_levels(3, (390, 40), 15, 0.3)
    least = np.count_nonzero(levels) / 8
    plain = (1 + split_words(levels, 8)).sum() / least
    assert fill_words(levels, 8, 0).sum() < (plain - 0.04) * least
    assert fill_words(levels, 8, 1).sum() < 0.99 * fill_words(levels, 8, 0).sum()


def test_no_running_sum_is_wider_than_that_of_the_widest_column():
    levels = random_levels(3, (390, 40), 15, 0.3)
    levels[:, :20] *= levels[:, :20] % 3 == 0
    bound = running_sum_bound(levels)
    more = np.bincount(fill(levels, 8, 1).column) - np.count_nonzero(levels, axis=0)
    assert more.max() > 5
    most = bound + more * (1 - ACTIVATION_MIN)
    assert width_for(int(most.max())) == width_for(int(bound.max()))
    assert (most > (1 << np.frexp(bound)[1]) - 1).any()


def test_a_column_is_solved_alike_wherever_it_stands(monkeypatch: pytest.MonkeyPatch):
    """Costs and streams see columns in different orders, and large kernels in several blocks."""
    levels = random_levels(4, (80, 30), 15, 0.4)
    levels[0, 3], levels[:, 7] = 31, 0
    words = fill_words(levels, 8, 1)
    order = np.random.default_rng(0).permutation(30)
    assert np.array_equal(fill_words(levels[:, order], 8, 1), words[order])
    filling._solution.cache_clear()
    monkeypatch.setattr(filling, "_BLOCK", 7 * filling._TRIES)
    assert np.array_equal(fill_words(levels, 8, 1), words)
    filling._solution.cache_clear()


@pytest.mark.parametrize(
    "options",
    [
        {"max_shift": 1},
        {"items": 1, "max_shift": 0},
        {"items": 2, "max_shift": 7},
        {"items": 4, "max_shift": 0, "index_bits": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("most", [1, 15, 127])
def test_streams_yield_products(options: dict[str, int], most: int):
    levels = random_levels(most, (40, 17), most, 0.3)
    levels[:, 2] = levels[:, 16] = 0
    config = array(40, **options)
    x = np.random.default_rng(1).integers(-128, 128, (40, 3))
    memory = np.zeros((config.activation_depth, 3), np.int64)
    memory[:40] = x
    cost = CODING.cost(levels, config)
    shares = [np.arange(16, 9, -1), np.array([0]), np.arange(1, 10)]
    for share, stream in zip(shares, CODING.streams(levels, shares, config), strict=True):
        count = int(stream.starts[-1])
        assert count == cost[share].sum() + 1
        fields = dict(stream.fields) | {"end": np.arange(count) == count - 1}
        words = FAMILY.word.played(FAMILY.word.encoded(fields, config), config)
        sums = np.array(list(FAMILY.golden(words, memory, config)))
        correction = np.broadcast_to(stream.correction, len(share))
        expected = levels[:, share].astype(np.int64).T @ x
        assert np.array_equal(sums + correction[:, np.newaxis], expected)


def test_the_end_of_a_stream_is_counted_once():
    levels = random_levels(5, (40, 9), 7, 0.5)
    machine = replace(WIDE, shared_words=True, max_shift=1, pes=2)
    shares, words = share_out_channels(levels, machine)
    cost = CODING.cost(levels, machine)
    assert words.tolist() == [cost[share].sum() + 1 for share in shares]
    # A PE without outputs has nothing to end.
    assert share_out_channels(levels[:, :1], machine)[1].tolist().count(0) == 1


def test_only_arrays_with_the_option_are_other_arrays():
    config = smallest_array(WIDE, 40)
    assert fingerprint(config) != fingerprint(replace(config, shared_words=True))
    assert "negate" not in FAMILY.word.fields(config)
    assert "negate" in FAMILY.word.fields(replace(config, shared_words=True))
    levels = random_levels(6, (40, 9), 7, 0.5)
    assert len(items_of(levels, 1, 8).column) == np.count_nonzero(levels)


def test_other_families_have_no_shared_words():
    for families in (("ternary",), ("running_sum", "multiply")):
        with pytest.raises(ValueError, match="shared_words are for running_sum elements alone"):
            replace(WIDE, shared_words=True, families=families)
