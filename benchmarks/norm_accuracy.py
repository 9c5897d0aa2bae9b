# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What int8 normalisations of random rows are worth beside float64 ones: their SQNR.

The row unit normalises int8 to int8. Beside it stand a float64 normalisation of the same int8
values, rounded to int8 in the same way, which shows what the integers between add; and the row unit
without ε, which shows what ε is worth.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from daqkf.hw_targets import numerics
from daqkf.passes.quantize.calibration import HEADROOM
from daqkf.passes.quantize.normalization import (
    affine_factors,
    epsilon_of,
    exponents_of,
    summable_scales,
)
from daqkf.passes.quantize.quantization import symmetric_scale
from daqkf.support.tables import table_console

Floats = NDArray[np.float64]

TOKENS, FEATURES, EPSILON = 256, 576, 1e-5
"""Features and ε are those of SmolLM2."""


def _normal(rng: np.random.Generator) -> Floats:
    return rng.standard_normal((TOKENS, FEATURES))


def _spread(rng: np.random.Generator) -> Floats:
    return _normal(rng) * np.exp(rng.standard_normal(FEATURES))


def _with_means(rng: np.random.Generator) -> Floats:
    return _spread(rng) + rng.standard_normal(FEATURES)


def _with_outliers(rng: np.random.Generator) -> Floats:
    x = _spread(rng)
    x[:, :3] *= 60
    return x


def _different_tokens(rng: np.random.Generator) -> Floats:
    return _spread(rng) * np.exp(rng.normal(0, 0.7, (TOKENS, 1)))


def _tiny(rng: np.random.Generator) -> Floats:
    return _different_tokens(rng) * np.sqrt(EPSILON) / 3


DATA: Mapping[str, Callable[[np.random.Generator], Floats]] = {
    "normal": _normal,
    "channels of different ranges": _spread,
    "with a mean for each channel": _with_means,
    "three channels 60 times as large": _with_outliers,
    "tokens of different magnitudes": _different_tokens,
    "the same, squares of about ε": _tiny,
}


def normalized(x: Floats, rms: bool, epsilon: float) -> Floats:
    """Layer or RMS normalisation of rows [T, N]."""
    centred = x if rms else x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + epsilon)


def ratios(x: Floats, gamma: Floats, rms: bool) -> tuple[float, float, float]:
    """SQNR in dB: of the row unit, of float64 between int8, of the row unit without ε."""
    expected = normalized(x, rms, EPSILON) * gamma
    scales = summable_scales(np.abs(x).max(axis=0), EPSILON)
    q, exponent = numerics.quantize(x, scales), exponents_of(scales)
    steps = symmetric_scale(np.abs(expected).max(axis=0) * HEADROOM)
    bias, multiplier, shift = affine_factors(gamma, np.zeros(FEATURES), steps)

    def of_row_unit(epsilon: int) -> Floats:
        z = numerics.normalize(q, exponent, epsilon, rms=rms)
        return numerics.requantize(z + bias, multiplier, shift) * steps

    between = normalized(q * scales, rms, EPSILON) * gamma
    found = (
        of_row_unit(epsilon_of(EPSILON, scales)),
        numerics.quantize(between, steps) * steps,
        of_row_unit(0),
    )
    power = (expected**2).sum()
    whole, float_between, without = (
        float(10 * np.log10(power / ((y - expected) ** 2).sum())) for y in found
    )
    return whole, float_between, without


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(arguments)
    table = Table(title=f"SQNR in dB of {TOKENS} rows of {FEATURES} features, ε = {EPSILON}")
    for heading in ("rows", "by", "row unit", "float64 between int8", "row unit without ε"):
        table.add_column(heading, justify="left" if heading in ("rows", "by") else "right")
    for name, drawn in DATA.items():
        for rms in (False, True):
            rng = np.random.default_rng(0)
            x, gamma = drawn(rng), rng.uniform(0.3, 2.0, FEATURES)
            found = (f"{ratio:.1f}" for ratio in ratios(x, gamma, rms))
            table.add_row(name, "root mean square" if rms else "deviation", *found)
    table_console().print(table)


if __name__ == "__main__":
    main()
