# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The functions that `nn.elementwise` knows by name, over NumPy arrays that broadcast."""

from collections.abc import Callable
from typing import Any

import numpy as np

from daqkf.hw_targets.functions import FUNCTIONS, apply_function

Array = np.ndarray[Any, Any]


def _erf(x: Array) -> Array:
    from scipy.special import erf

    return erf(x)


def _divide(a: Array, b: Array) -> Array:
    """Of integers, the quotient towards zero, as ONNX has it."""
    if a.dtype.kind in "iu":
        quotient, rest = np.divmod(a, b)
        return quotient + ((rest != 0) & ((a < 0) != (b < 0)))
    return a / b


def _activation(name: str) -> Callable[[Array], Array]:
    return lambda x: apply_function(name, x).astype(x.dtype)


UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "erf": _erf,
    "exp": np.exp,
    "log": np.log,
    "neg": np.negative,
    "not": np.logical_not,
    "reciprocal": np.reciprocal,
    "sqrt": np.sqrt,
    **{name: _activation(name) for name in FUNCTIONS},
}
BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "and": np.logical_and,
    "div": _divide,
    "equal": np.equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "or": np.logical_or,
    "pow": np.power,
    "sub": np.subtract,
}
TERNARY: dict[str, Callable[[Array, Array, Array], Array]] = {"where": np.where}

ARITY: dict[str, int] = {
    **dict.fromkeys(UNARY, 1),
    **dict.fromkeys(BINARY, 2),
    **dict.fromkeys(TERNARY, 3),
}
"""Operands of each function."""


def apply_elementwise(kind: str, inputs: tuple[Array, ...]) -> Array:
    """The named function of as many arrays as `ARITY` says."""
    functions: dict[str, Callable[..., Array]] = {**UNARY, **BINARY, **TERNARY}
    return functions[kind](*inputs)
