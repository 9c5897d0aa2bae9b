# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The post units of several arrays alone: ties, limits, and every digit of a multiplier."""

from dataclasses import replace

import numpy as np
import pytest
import test_array
import test_elements
from unit_bench import Bench

from daqkf.hw_targets import numerics
from daqkf.hw_targets.results import split_rows
from daqkf.hw_targets.words import parameter_row
from daqkf.lowering.rtl.post import build_post

OUTPUTS = 24


def levels_that_are_close(rng: np.random.Generator, lanes: int, sum_bits: int, wide: bool = False):
    """Sums [lanes, N], multipliers and shifts [N] whose results are at ties and at limits.

    A power of two, or the sum of two, as a multiplier leaves most of its digits 0. Some of a wide
    result round from one of its bytes into the other.
    """
    place, other = rng.integers(0, 16, (2, OUTPUTS))
    multiplier = np.where(rng.random(OUTPUTS) < 0.5, 1 << place, (1 << place) | (1 << other))
    shift = np.clip(place + rng.integers(-1, 4, OUTPUTS), 1, 47)
    most = (1 << (sum_bits - 1)) - 1
    sums = rng.integers(-260, 261, (lanes, OUTPUTS))
    if wide:
        shift = np.clip(place + rng.integers(-1, 2, OUTPUTS), 1, 47)
        sums = (sums << rng.choice([0, 7, 8], sums.shape)) + rng.integers(-2, 3, sums.shape)
        sums = np.clip(sums, 1 - (1 << (sum_bits - 1)), (1 << (sum_bits - 1)) - 1)
    sums[rng.random(sums.shape) < 0.1] = most
    sums[rng.random(sums.shape) < 0.1] = -most
    return sums, multiplier, shift


@pytest.mark.parametrize(
    ("name", "multiplier", "wide_results"),
    [
        ("P2-T2", "dsp", False),
        ("multiply-modes", "luts", True),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("deltas-4", "luts", False),
                ("multiply-modes", "luts", False),
                ("multiply-modes", "dsp", True),
                ("ternary-eight-items", "luts", False),
                ("P2-T2", "luts", False),
                ("P2-T2", "dsp", True),
            )
        ),
    ],
)
def test_results_are_rounded_and_limited(name: str, multiplier: str, wide_results: bool):
    """With wide results, every second program has them."""
    assert name in test_array.MACHINES
    config = test_elements.kernels_on_an_array(name).config
    config = replace(config, post_multiplier=multiplier, wide_results=wide_results)
    rng, layout = np.random.default_rng(17), parameter_row(config)
    width, groups = config.accumulator_width, config.lanes // config.post_lanes
    scattered = rng.permutation(256).astype(np.uint8).view(np.int8)
    with Bench(build_post(config)) as bench:
        for turn in range(12):
            wide = wide_results and turn % 2 > 0
            table = numerics.IDENTITY if wide else scattered
            for address, value in enumerate(table if wide_results or not turn else ()):
                bench.step(table_address=address, table_data=int(value) % 256, table_write=1)
            bench.step(table_write=0, **({"wide": int(wide)} if wide_results else {}))
            sums, multiplier, shift = levels_that_are_close(rng, config.lanes, width - 1, wide)
            bias = rng.integers(-3, 4, OUTPUTS)
            rows = layout.pack(
                {
                    "negated_bias": -bias,
                    "multiplier": multiplier,
                    "shift_minus_1": shift - 1,
                    "address": np.arange(OUTPUTS),
                }
            )
            for n, words in enumerate(rows):
                slot, p = divmod(n, config.pes)
                bench.step(
                    parameters_address=slot * config.parameter_stride + p,
                    parameters_data=test_elements.packed(words, 32),
                    parameters_write=1,
                )
            bench.step(parameters_write=0, start=1)
            bench.inputs["start"] = 0
            kind = np.int16 if wide else np.int8
            levels = split_rows(numerics.requantize(sums + bias, multiplier, shift, kind=kind))
            expected = dict(enumerate(numerics.look_up(table, levels).T.tolist()))
            pending = [list(range(p, OUTPUTS, config.pes)) for p in range(config.pes)]
            found: dict[int, list[int]] = {}
            for _ in range(4 * OUTPUTS * groups * (1 + wide) + 60):
                group = bench.peek().get("group", 0)
                now = slice(group * config.post_lanes, (group + 1) * config.post_lanes)
                shown = {
                    f"sums{p}": test_elements.packed(sums[now, queue[0]], width)
                    for p, queue in enumerate(pending)
                    if queue
                }
                full = {f"full{p}": int(bool(queue)) for p, queue in enumerate(pending)}
                out = bench.step(**full, **shown)
                for p, queue in enumerate(pending):
                    if out[f"take{p}"]:
                        queue.pop(0)
                if out["result_write"]:
                    values = test_elements.split(out["result_data"], config.lanes, 8)
                    found[out["result_address"]] = [(v + 128) % 256 - 128 for v in values]
            assert found == expected
