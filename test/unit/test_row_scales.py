# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The scales of gates and of attention, and the table of exponentials."""

from dataclasses import asdict

import numpy as np
import pytest

from daqkf.hw_targets.functions import SATURATION
from daqkf.hw_targets.numerics import SHARE_FRACTION
from daqkf.passes.quantize.attention import attention_scales, exponential_table
from daqkf.passes.quantize.calibration import HEADROOM
from daqkf.passes.quantize.gating import gate_scales, gated_scale


def test_gates_share_a_scale_and_values_have_their_own():
    scales = gate_scales("silu", np.array([1.0, 2.0, 4.0, 8.0]))
    np.testing.assert_allclose(scales * 127, [4.0, 2 * HEADROOM, 4.0, 8 * HEADROOM])


def test_gates_that_saturate_reach_no_further():
    scales = gate_scales("sigmoid", np.array([100.0, 2.0]))
    assert scales[0] * 127 == pytest.approx(SATURATION["sigmoid"])


@pytest.mark.parametrize(
    ("function", "scale", "most"), [("relu", 0.5, 63.5), ("sigmoid", 1.0, 1.0), ("tanh", 1.0, 1.0)]
)
def test_a_gates_function_is_within_its_scale(function: str, scale: float, most: float):
    assert gated_scale(function, scale) * 127 == pytest.approx(most)


def test_exponentials_fall_by_the_step_and_what_is_masked_has_none():
    table = exponential_table(0.01)
    assert table[127] == 127
    assert table[126] == round(127 * np.exp(-0.01))
    assert table[-127 & 0xFF] == round(127 * np.exp(-2.54))
    assert table[-128 & 0xFF] == 0


def ranges(**others: float) -> dict[str, np.ndarray]:
    names = "queries", "keys", "scores", "shares", "values", "results"
    return {name: np.array([others.get(name, 127.0), 254.0]) for name in names}


def test_scores_and_queries_share_a_step_and_heads_have_the_others():
    scales, factors = attention_scales(ranges(), 0.5, 127)
    assert (scales.queries, scales.keys.tolist()) == (2.0, [1.0, 2.0])
    # No finer than a step of the sums, q·k·scale.
    assert scales.scores == 2.0
    np.testing.assert_allclose(scales.shares, [1.0, 2.0])
    np.testing.assert_allclose(scales.results, [1.0, 4.0])
    ratios = {name: found.multipliers / 2.0**found.shifts for name, found in factors.items()}
    np.testing.assert_allclose(ratios["scores"], [0.5, 1.0], rtol=2**-15)
    np.testing.assert_allclose(ratios["shares"], 2.0**-SHARE_FRACTION / scales.shares, rtol=2**-15)
    np.testing.assert_allclose(ratios["results"], [1.0, 1.0], rtol=2**-15)


def test_fewer_levels_are_larger_steps():
    scales, _ = attention_scales(ranges(), 0.5, 15)
    np.testing.assert_allclose(scales.keys, [127 / 15, 254 / 15])


def test_heads_of_zeros_still_have_steps():
    scales, _ = attention_scales(ranges(keys=0.0, values=0.0, results=0.0), 0.5, 127)
    for name, steps in asdict(scales).items():
        assert np.isfinite(steps).all(), name
        assert (np.asarray(steps) > 0).all(), name


def test_ranges_that_are_not_finite_are_named():
    with pytest.raises(ValueError, match="shares that are not finite"):
        attention_scales(ranges(shares=np.nan), 0.5, 127)
