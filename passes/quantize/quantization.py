# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Scales, fixed-point multipliers and activation tables."""

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.functions import apply_function
from daqkf.hw_targets.numerics import (
    ACTIVATION_MAX,
    IDENTITY,
    MULTIPLIER_BITS,
    MULTIPLIER_MAX,
    SHIFT_MAX,
    SHIFT_MIN,
    quantize,
)


def symmetric_scale[R: float | NDArray[np.float64]](absmax: R) -> R:
    """The scale at which int8 just reaches ±absmax."""
    return absmax / ACTIVATION_MAX  # pyright: ignore[reportReturnType]


def requantization(ratios: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Multipliers M and shifts S [N] with M / 2^S closest to each ratio, M as long as it can be.

    The relative error is at most 2^-16 while S is below its limit. Smaller ratios have
    shorter multipliers, down to 1 / 2^47.

    Raises:
        ValueError: a ratio that is not positive and finite, or above the largest multiplier
            over 2; the message names the channel.
    """
    ratios = np.asarray(ratios, np.float64)
    limit = MULTIPLIER_MAX / (1 << SHIFT_MIN)
    bad = np.flatnonzero(~(np.isfinite(ratios) & (ratios > 0) & (ratios <= limit)))
    if len(bad):
        raise ValueError(
            f"channel {bad[0]} needs a requantisation by {ratios[bad[0]]:g}, outside 0..{limit:g}"
        )
    _, exponent = np.frexp(ratios)
    shift = np.clip(MULTIPLIER_BITS - exponent, SHIFT_MIN, SHIFT_MAX)
    multiplier = np.rint(np.ldexp(ratios, shift))
    # Rounding up to 2^16 takes one bit more than there is: halve both.
    over = (multiplier > MULTIPLIER_MAX) & (shift > SHIFT_MIN)
    shift = np.where(over, shift - 1, shift)
    multiplier = np.clip(np.rint(np.ldexp(ratios, shift)), 1, MULTIPLIER_MAX)
    return multiplier.astype(np.int64), shift.astype(np.int64)


def activation_table(function: str, input_scale: float, output_scale: float) -> NDArray[np.int8]:
    """The 256 entries of a function from int8 at one scale to int8 at another.

    Entry `q & 0xff` is `clamp(rint(f(q · input_scale) / output_scale))`.

    Raises:
        ValueError: an unknown function.
    """
    return quantize(apply_function(function, IDENTITY * input_scale), output_scale)
