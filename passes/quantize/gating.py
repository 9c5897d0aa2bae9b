# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The scales of gated units, before and behind the gates' function, and whether a scale for each
token is worth it."""

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.functions import SATURATION, apply_function
from daqkf.hw_targets.numerics import (
    ACTIVATION_MAX,
    ACTIVATION_MIN,
    IDENTITY,
    row_exponents,
    scale_rows,
)
from daqkf.passes.defaults import SPLIT
from daqkf.passes.quantize.calibration import HEADROOM, Columns
from daqkf.passes.quantize.quantization import symmetric_scale


def gate_scales(function: str, ranges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scales [2N] of sums of ranges [2N], gates and values in turns.

    Gates share a table and so a scale; each value has its own.
    """
    scales = symmetric_scale(ranges * HEADROOM)
    scales[0::2] = symmetric_scale(min(float(ranges[0::2].max()), SATURATION.get(function, np.inf)))
    return scales


WORTH = 0.5
"""Exponents of rows are worth their cycles if they leave at most this share of the noise, ..."""

NEGLIGIBLE_NOISE = 1e-5
"""... and if there was more of it than this share of the energy, -50 dB."""


def noise_shares(
    x: NDArray[np.floating],
    weights: NDArray[np.floating],
    ranges: NDArray[np.float64],
    reach: int,
) -> tuple[float, float]:
    """The noise of int8 in the sums of a product, as a share of their energy, averaged over tokens.

    That of scales for all tokens, and that of rows that share exponents of a `reach`. What each
    feature of x [T, K] adds to it is counted by itself, times the energy of its weights [K, N]; a
    few tokens of large values count no more than others.
    """
    scales = np.broadcast_to(Columns.single(ranges, SPLIT).scale, x.shape[1])
    levels, energy = x / scales, (weights.astype(np.float64) ** 2).sum(axis=1)
    total = np.maximum((levels * scales) ** 2 @ energy, np.finfo(np.float64).tiny)

    def share(finer: NDArray[np.int64]) -> float:
        steps = scale_rows(levels, finer)
        rounded = np.clip(np.rint(steps), ACTIVATION_MIN, ACTIVATION_MAX)
        noise = np.ldexp(rounded - steps, -finer) * scales
        return float((noise**2 @ energy / total).mean())

    coarse = np.clip(np.rint(levels), -ACTIVATION_MAX, ACTIVATION_MAX).astype(np.int8)
    exponents = row_exponents(coarse, reach).astype(np.int64)
    return share(np.zeros_like(exponents)), share(reach - exponents)


def exponents_pay(
    x: NDArray[np.floating],
    weights: NDArray[np.floating],
    ranges: NDArray[np.float64],
    reach: int,
) -> bool:
    """Whether exponents that the rows of x [T, K] share are worth a second pass over them."""
    static, shared = noise_shares(x, weights, ranges, reach)
    return static > NEGLIGIBLE_NOISE and shared <= WORTH * static


def gated_scale(function: str, scale: float) -> float:
    """The scale at which int8 just reaches a function of int8 at another scale."""
    return symmetric_scale(float(np.abs(apply_function(function, IDENTITY * scale)).max()))
