# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Normalisations on an array that attends: its row unit has other widths than those of chains."""

import numpy as np
import pytest
import test_operands
import test_row_unit

from daqkf.lowering.image.encode import encode, playable
from daqkf.runtime.simulator import Job


@pytest.mark.slow
@pytest.mark.parametrize("name", ["P2-T4", "banks"])
def test_an_array_that_attends_normalizes(name: str):
    """Rows of every size and of every exponent, which hardly differ or as much as any."""
    machine, (config, _) = test_operands.MACHINES[name], test_operands.chains(name)
    made = test_row_unit.extreme_rows("normalizes")
    jobs, expected = list[Job](), list[np.ndarray]()
    for rows in made:
        (program,) = playable(rows.module(machine, config))
        x = test_row_unit.activations(rows, config.lanes)
        jobs.append(Job(encode(program), x, program.channels))
        expected.append(rows.expected(x))
    traces = test_operands.simulator(name).trace(
        jobs, stalls=0.3, seed=7, overlap=config.double_buffered
    )
    for trace, y in zip(traces, expected, strict=True):
        np.testing.assert_array_equal(trace.y, y)
