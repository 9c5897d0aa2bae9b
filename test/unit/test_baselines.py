# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Plain ways to make weights fewer or smaller."""

import numpy as np
import pytest

from daqkf.studies.language.baselines import GROUP, round_to_nearest, wanda_prune


@pytest.mark.parametrize("features", [GROUP, 3 * GROUP, 2 * GROUP + 5])
def test_rounding_keeps_what_has_the_levels(features: int):
    rng = np.random.default_rng(features)
    levels = rng.integers(-7, 8, (features, 4))
    for first in range(0, features, GROUP):
        levels[first] = -8
    scales = np.repeat(2.0 ** rng.integers(-9, 0, (-(-features // GROUP), 4)), GROUP, axis=0)
    weights = (levels * scales[:features]).astype(np.float32)
    assert np.array_equal(round_to_nearest(weights), weights)


def test_rounding_is_at_most_a_step_off():
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((4 * GROUP, 6)).astype(np.float32)
    weights[:GROUP, 0] = 0
    found = round_to_nearest(weights)
    most = np.abs(weights.reshape(4, GROUP, 6)).max(axis=1)
    # The other end of the range has 7 steps, not 8.
    assert (np.abs(found - weights).reshape(4, GROUP, 6).max(axis=1) <= most / 8 * 1.01).all()
    assert len(np.unique(found[:GROUP, 1])) <= 16


def test_wanda_zeroes_what_is_read_least():
    rng = np.random.default_rng(2)
    rows = [rng.standard_normal((50, 6)) * [1, 10, 1, 1, 0.01, 1] for _ in range(2)]
    weights = np.full((6, 3), 0.5, np.float32)
    weights[0, 1] = 0.001
    found = wanda_prune(weights, rows, 0.5)
    assert ((found == 0).sum(axis=0) == 3).all()
    assert (found[4] == 0).all() and (found[1] == 0.5).all() and found[0, 1] == 0
    assert set(np.unique(found)) <= {0, np.float32(0.5)}
