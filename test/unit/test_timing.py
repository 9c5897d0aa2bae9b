# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How the cycles of a kernel grow; the simulations of `test_row_unit.py` give their constants."""

from dataclasses import replace

import numpy as np
import pytest
from networks import MACHINE

from daqkf.hw_targets import timing

WIDE = replace(MACHINE, lanes=12, post_lanes=4)
"""The post unit takes three cycles for an output."""


def test_a_tile_takes_as_long_as_its_longest_stream_or_as_the_post_unit():
    assert timing.tile_cycles(np.array([7, 40, 9]), 5, WIDE) == 40
    assert timing.tile_cycles(np.array([7, 40, 9]), 15, WIDE) == 45


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
