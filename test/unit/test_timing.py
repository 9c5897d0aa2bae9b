# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How the cycles of a kernel grow; the simulations of `test_row_unit.py` give their constants."""

from dataclasses import replace

import numpy as np
import pytest
from networks import MACHINE

from daqkf.hw_targets import timing
from daqkf.hw_targets.config import smallest_array
from daqkf.hw_targets.streams import kernel_beats

WIDE = replace(MACHINE, lanes=12, post_lanes=4)
"""The post unit takes three cycles for an output."""


def test_a_tile_takes_as_long_as_its_longest_stream_or_as_the_post_unit():
    assert timing.tile_cycles(np.array([7, 40, 9]), 5, WIDE) == 40
    assert timing.tile_cycles(np.array([7, 40, 9]), 15, WIDE) == 45


def test_what_binds_is_told_apart():
    words = np.array([7, 40, 9])
    config = smallest_array(replace(WIDE, memory_bits=512, items=8), 60)
    assert timing.speed([(words, 5), (words, 15)], config) == timing.Speed(40, 45, 12)
    assert timing.Speed(40, 45, 12, 7).cycles == 92
    narrow = smallest_array(replace(WIDE, memory_bits=64, items=8), 60)
    beats = kernel_beats(narrow, 40)
    assert beats > 45
    assert timing.speed([(words, 5), (words, 90)], narrow) == timing.Speed(0, 270, 12, beats)


@pytest.mark.parametrize("features", [1, 10, 300])
def test_each_feature_takes_the_cycles_of_the_post_unit(features: int):
    normalizing = [timing.normalization_cycles(WIDE, n) for n in (features, 2 * features)]
    assert normalizing[1] - normalizing[0] == 3 * features
    gating = [timing.gating_cycles(WIDE, n) for n in (features, 2 * features)]
    assert gating[1] - gating[0] == 2 * 3 * features
    # Of groups of so many keys, each is read three times.
    sharing = [timing.softmax_cycles(WIDE, 4 * n, n) for n in (features, 2 * features)]
    assert sharing[1] - sharing[0] == 4 * 3 * 3 * features


def test_each_lane_takes_a_solution_and_each_group_its_shares():
    narrow, wide = replace(WIDE, lanes=4, post_lanes=4), replace(WIDE, lanes=8, post_lanes=8)
    solving = [timing.normalization_cycles(machine, 50) for machine in (narrow, wide)]
    assert solving[1] - solving[0] == 4 * timing.SOLVING_CYCLES
    assert timing.softmax_cycles(wide, 60, 20) == 3 * timing.softmax_cycles(wide, 20, 20)
    sharing = [timing.softmax_cycles(machine, 20, 20) for machine in (narrow, wide)]
    assert sharing[1] - sharing[0] == 4 * timing.SHARING_CYCLES
