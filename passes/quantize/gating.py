# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The scales of gated units, before and behind the gates' function."""

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.functions import SATURATION, apply_function
from daqkf.hw_targets.numerics import IDENTITY
from daqkf.passes.quantize.calibration import HEADROOM
from daqkf.passes.quantize.quantization import symmetric_scale


def gate_scales(function: str, ranges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scales [2N] of sums of ranges [2N], gates and values in turns.

    Gates share a table and so a scale; each value has its own.
    """
    scales = symmetric_scale(ranges * HEADROOM)
    scales[0::2] = symmetric_scale(min(float(ranges[0::2].max()), SATURATION.get(function, np.inf)))
    return scales


def gated_scale(function: str, scale: float) -> float:
    """The scale at which int8 just reaches a function of int8 at another scale."""
    return symmetric_scale(float(np.abs(apply_function(function, IDENTITY * scale)).max()))
