# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Products whose columns' words are made once and kept."""

from dataclasses import replace

import numpy as np
import pytest
from networks import MACHINE
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.rpea import ArrayOp
from daqkf.dialects.rpea.interpreter import run_kernel
from daqkf.dialects.spaq.attention import Factors
from daqkf.hw_targets import numerics
from daqkf.hw_targets.config import ArrayConfig, smallest_array
from daqkf.hw_targets.machine import Machine
from daqkf.lowering.conversions import separate_columns
from daqkf.lowering.conversions.separate_columns import (
    SeparateColumns,
    most_stream_words,
    separable,
)
from daqkf.passes.encode import running_sum

MACHINES = {
    "steps of one": replace(MACHINE, pes=3, max_shift=0, items=4),
    "shifts": replace(MACHINE, pes=2, max_shift=2),
    "more elements than outputs": replace(MACHINE, pes=8, lanes=2, items=8, max_shift=0),
}


def array(machine: Machine, features: int) -> ArrayConfig:
    config = smallest_array(machine, features)
    return replace(config, running_sum_width=20, stream_depth=4096, parameter_depth=64)


def random_levels(seed: int, features: int, outputs: int) -> NDArray[np.int8]:
    rng = np.random.default_rng(seed)
    levels = rng.integers(-31, 32, (features, outputs)).astype(np.int8)
    return levels * (rng.random(levels.shape) < 0.7).astype(np.int8)


def results(columns: SeparateColumns, config: ArrayConfig, levels: NDArray[np.int8], keep: bool):
    """What the golden model makes of the product's program, and the formula."""
    features, outputs = levels.shape
    factors = Factors(np.full(outputs, 300), np.full(outputs, 15))
    program = columns.program("product", "array", levels, factors, keep)
    module = ModuleOp([ArrayOp("array", config), program])
    module.verify()
    program.verify_streams()
    x = np.random.default_rng(features).integers(-128, 128, (5, features)).astype(np.int8)
    expected = numerics.requantize(numerics.matmul(x, levels), *factors)
    return run_kernel(program, x), expected


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("keep", [False, True])
def test_columns_that_come_later_do_not_change_those_before(name: str, keep: bool):
    config = array(MACHINES[name], 20)
    columns, levels = SeparateColumns(config), random_levels(1, 20, 7)
    levels[:, 2] = 0
    for count in (1, 4, 5, 7):
        y, expected = results(columns, config, levels[:, :count], keep)
        np.testing.assert_array_equal(y, expected)
        assert len(np.unique(y)) > y.size // 8
    assert columns.made == (7 if keep else 1 + 4 + 5 + 7)


def test_columns_are_forgotten_before_there_are_too_many(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(separate_columns, "_MOST", 6)
    config = array(MACHINES["steps of one"], 20)
    columns = SeparateColumns(config)
    for seed in range(3):
        y, expected = results(columns, config, random_levels(seed, 20, 4), True)
        np.testing.assert_array_equal(y, expected)
    assert columns.made == 12


@pytest.mark.parametrize(("features", "most", "items"), [(64, 31, 8), (9, 127, 2), (300, 7, 4)])
def test_no_output_has_more_words_than_there_can_be(features: int, most: int, items: int):
    rng = np.random.default_rng(features)
    bound = running_sum.most_words(features, most, items)
    levels = rng.integers(-most, most + 1, (features, 200)).astype(np.int8)
    levels[:, :100] = np.abs(levels[:, :100])
    # As many levels as there can be, each of which begins a word for one more.
    few = 1 + items - -(-items // 2)
    levels[:, 0] = np.maximum(most - np.arange(features) // few, 0)
    found = np.diff(running_sum.stream(levels, 0, items, filled=False).starts)
    assert found.max() <= bound
    assert found.max() > 0.9 * bound


def test_room_is_for_all_elements():
    machine = MACHINES["steps of one"]
    words = running_sum.most_words(20, 31, 4), running_sum.most_words(7, 15, 4)
    found = most_stream_words(machine, [(20, 7, 31), (7, 6, 15)])
    assert found == 3 * words[0] + 2 * words[1]


def test_words_that_several_outputs_share_cannot_be_kept():
    machine = MACHINES["steps of one"]
    assert separable(machine)
    for other in (
        replace(machine, shared_words=True),
        replace(machine, index_bits=3),
        replace(machine, families=("ternary",)),
    ):
        assert not separable(other)
