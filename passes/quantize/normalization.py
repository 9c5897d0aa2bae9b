# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The integers of a normalisation: exponents before it, its epsilon, and factors behind."""

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.numerics import EXPONENT_MAX, NORMALIZED_FRACTION, epsilon_limit
from daqkf.passes.quantize.calibration import HEADROOM
from daqkf.passes.quantize.quantization import requantization, symmetric_scale

_SHIFT_BITS = 20
"""A shift β is at most so many bits long, in steps of what is added to it."""


def summable_scales(ranges: NDArray[np.float64], epsilon: float = 0.0) -> NDArray[np.float64]:
    """Scales [N] that reach beyond ranges [N] and are powers of two times a common one.

    The largest range sets the common one; what is more than 2^EXPONENT_MAX times smaller has it,
    too, and loses precision. Where all ranges are small beside the root of ε, as many steps as
    squares can have are not less than ε.
    """
    ranges = ranges * HEADROOM
    common = symmetric_scale(float(ranges.max())) / (1 << EXPONENT_MAX)
    common = max(common, np.sqrt(epsilon / (epsilon_limit(1) - 1)) * (1 + 1e-6))
    exponents = np.ceil(np.log2(symmetric_scale(ranges) / common) - 1e-9)
    return common * 2.0 ** np.clip(exponents, 0, EXPONENT_MAX)


def exponents_of(scales: NDArray[np.float64]) -> NDArray[np.int64]:
    """The exponents [N] of scales [N] that are powers of two times the smallest one.

    Raises:
        ValueError: they are not, or the powers are beyond EXPONENT_MAX.
    """
    exact = np.log2(scales / scales.min())
    exponents = np.rint(exact).astype(np.int64)
    if np.abs(exact - exponents).max() > 1e-6 or exponents.max() > EXPONENT_MAX:
        raise ValueError(
            f"scales of what is normalised must be 1..2^{EXPONENT_MAX} times a common one"
        )
    return exponents


def epsilon_of(epsilon: float, scales: NDArray[np.float64]) -> int:
    """What is added to the squares of N features, in their steps, for ε beside their mean.

    `scales` [N] are those of `exponents_of`.
    """
    return round(len(scales) * epsilon / float(scales.min()) ** 2)


def affine_factors(
    gamma: NDArray[np.float64], beta: NDArray[np.float64], scale: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Bias, multiplier and shift [N] that make `(z·γ + β) / scale` of normalised values.

    Where γ is tiny beside β the multiplier is a little larger than it should be, so that the bias
    stays within its bits; that is less than half a step of the result.

    Raises:
        ValueError: a γ that is not positive.
    """
    if not (gamma > 0).all():
        raise ValueError(f"channel {int((gamma <= 0).argmax())} has a scale that is not positive")
    ratio = gamma / (scale * (1 << NORMALIZED_FRACTION))
    ratio = np.maximum(ratio, np.abs(beta) / scale / (1 << _SHIFT_BITS))
    multiplier, shift = requantization(ratio)
    return np.rint(beta / scale / ratio).astype(np.int64), multiplier, shift
