# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Residuals and normalisations on arrays: the golden model, and where the image has what."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from networks import MACHINES, activations_for
from row_networks import Rows

from daqkf.dialects.interpreting import run

CASES: Mapping[str, tuple[Sequence[int], dict[str, Any]]] = {
    "residual": ((24, 40, 20), {"saves": [0], "adds": [1]}),
    "own residual": ((24, 9), {"saves": [0], "adds": [0]}),
    "normalisation": ((24, 40, 9), {"normalizes": [0]}),
    "normalisation last": ((24, 13), {"normalizes": [0]}),
    "block": ((24, 20, 24, 40, 24), {"saves": [0, 2], "adds": [1, 3], "normalizes": [1, 3]}),
    "another save": ((24, 20, 11, 9), {"saves": [0, 1], "adds": [0, 1, 2], "normalizes": [0]}),
}


def rows(case: str) -> Rows:
    shape, options = CASES[case]
    return Rows.random(5, shape, **options)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("case", CASES)
def test_the_golden_model_is_the_formulas(case: str, name: str):
    made = rows(case)
    x = activations_for(made.layers, 9)
    y = run(made.module(MACHINES[name]), x)
    np.testing.assert_array_equal(y, made.expected(x))
    # Tokens and channels differ, so a test of equality means something.
    assert len(np.unique(y)) > y.size // 8
