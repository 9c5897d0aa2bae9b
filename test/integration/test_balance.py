# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The schedule's model of the post unit counts the cycles of the generated array."""

from pathlib import Path

import numpy as np
import pytest

import daqkf
from daqkf.dialects.dense import to_array
from daqkf.dialects.rpea import ProgramOp
from daqkf.passes.encode import running_sum
from daqkf.passes.encode.balance import run_cycles

LATENCY = 20
"""From the start to the first word, and from the post unit's entry to the result memory."""

BEFORE = 8
"""Cycles from the reset to the run in which a simulation neither loads nor runs."""

MACHINE = """[machine]
pes = {}
lanes = {}
post_lanes = {}
max_shift = 3
activation_depth = 256
stream_depth = 4096
parameter_depth = 256
result_depth = 256
"""
LAYERS = [(120, 200, 0.9), (40, 37, 0.7), (3, 90, 0.8), (64, 2, 0.0), (16, 16, 0.5)]
"""Features, outputs and sparsity; the first makes the array. Elements and unit both wait."""


@pytest.mark.slow
@pytest.mark.parametrize(("pes", "lanes", "post_lanes"), [(3, 4, 1), (4, 2, 2)])
def test_model_counts_the_cycles_of_the_array(
    pes: int, lanes: int, post_lanes: int, tmp_path: Path
):
    target: str | daqkf.Design = str(tmp_path / "machine.toml")
    Path(target).write_text(MACHINE.format(pes, lanes, post_lanes))
    rng = np.random.default_rng(0)
    for features, outputs, sparsity in LAYERS:
        weights = rng.normal(size=(features, outputs)) * rng.uniform(0.3, 1, outputs)
        design = daqkf.compile(weights, sparsity=sparsity, levels=7, split=0, target=target)
        target = design
        cycles = design.measure(rng.normal(size=(lanes, features))).cycles

        program = next(op for op in design.module.ops if isinstance(op, ProgramOp))
        bounds = np.cumsum(to_array(program.counts))[:-1]
        shares = np.split(to_array(program.outputs).astype(np.int64), bounds)
        costs = running_sum.cost(design.weight_levels, design.config.max_shift)
        # The unit polls all the time, so where it stands depends on how long loading took.
        polled = (cycles.loading_program + cycles.loading_activations + BEFORE) % pes
        assert cycles.running == run_cycles(costs, shares, lanes // post_lanes, polled) + LATENCY
