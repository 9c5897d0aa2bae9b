# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The integers of attention: its scales, and its table of exponentials."""

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.nn.attention import Scales
from daqkf.dialects.spaq.attention import Factors
from daqkf.hw_targets.numerics import ACTIVATION_MAX, ACTIVATION_MIN, IDENTITY, SHARE_FRACTION
from daqkf.passes.quantize.quantization import requantization, symmetric_scale

Floats = NDArray[np.float64]


def attention_scales(
    ranges: dict[str, Floats], scale: float, levels: int
) -> tuple[Scales, dict[str, Factors]]:
    """Steps of attention, and multipliers and shifts [H] of `scores`, `shares` and `results`.

    `ranges` are the largest magnitudes of each head [H] by name. Queries and scores have one step
    for all heads, as they share rows of activations and a table. What is finer than a step of the
    sums says nothing.

    Raises:
        ValueError: ranges that are not finite.
    """
    for name, found in ranges.items():
        if not np.isfinite(found).all():
            raise ValueError(f"{name} that are not finite")
    held = {name: np.where(found > 0, found, 1.0) for name, found in ranges.items()}
    queries = symmetric_scale(float(held["queries"].max()))
    keys, values = held["keys"] / levels, held["values"] / levels
    sums = queries * keys * scale
    scores = max(symmetric_scale(float(held["scores"].max())), float(sums.max()))
    shares = symmetric_scale(held["shares"])
    results = np.maximum(symmetric_scale(held["results"]), shares * values)
    ratios = {
        "scores": sums / scores,
        "shares": 2.0**-SHARE_FRACTION / shares,
        "results": shares * values / results,
    }
    steps = Scales(queries, scores, keys, shares, values, results)
    return steps, {name: Factors(*requantization(ratio)) for name, ratio in ratios.items()}


def exponential_table(step: float) -> NDArray[np.int8]:
    """`numerics.exponentials`' table [256]: 127·e^-(what is below the largest score, in steps).

    Its last entry, that of what is masked, is 0.
    """
    below = IDENTITY.astype(np.float64) - ACTIVATION_MAX
    table = np.rint(ACTIVATION_MAX * np.exp(below * step))
    return np.where(IDENTITY == ACTIVATION_MIN, 0, table).astype(np.int8)
