# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The activation functions that `spaq.activation` knows by name."""

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Function(StrEnum):
    """The name of an activation function.

    `TABLE` is a function over int8 that nothing is known of but its table.
    """

    RELU = "relu"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    SILU = "silu"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    TABLE = "table"


def _sigmoid(x: Array) -> Array:
    from scipy.special import expit  # pyright: ignore[reportMissingTypeStubs]

    return expit(x)


def _gelu(x: Array) -> Array:
    from scipy.special import ndtr  # pyright: ignore[reportMissingTypeStubs]

    return x * ndtr(x)


def _gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda x: x * _sigmoid(x),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
}
"""Float references, over float64. `gelu` is x·Φ(x), `gelu_tanh` its usual approximation
(Hendrycks and Gimpel, 2016), `silu` is x·sigmoid(x)."""


SATURATION: dict[str, float] = {"sigmoid": math.log(253), "tanh": math.atanh(253 / 254)}
"""Where |x| need not be told apart any more: beyond, the function is within half an int8 step
of its limit, if 127 steps reach from 0 to 1."""

RECTIFIERS: dict[str, float] = {
    "relu": 0.0,
    "gelu": 2.6575,
    "gelu_tanh": 2.6425,
    "silu": math.log(253),
}
"""Functions with f(x) - f(-x) = x and f(-x) → 0, and the least range from which on |f(-x)| is
within half an int8 step, if 127 steps reach that far: there they are zero and the identity."""


def apply_function(name: str, x: NDArray[Any]) -> NDArray[np.float64]:
    """The named function of each element, in float64.

    Raises:
        ValueError: no such function.
    """
    if name not in FUNCTIONS:
        raise ValueError(f"unknown activation '{name}' (known: {', '.join(FUNCTIONS)})")
    return FUNCTIONS[name](np.asarray(x, np.float64))
