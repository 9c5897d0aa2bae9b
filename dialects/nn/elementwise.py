# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The functions of `nn.elementwise` and `nn.reduce`: their names, and what they compute."""

from collections.abc import Callable, Sequence
from enum import StrEnum, auto
from typing import Any

import numpy as np
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import SpacedOpaqueSyntaxAttribute
from xdsl.irdl import irdl_attr_definition

from daqkf.hw_targets.functions import FUNCTIONS, apply_function

Array = np.ndarray[Any, Any]


class Function(StrEnum):
    """A function of each element. Those of `hw_targets.functions` are among them."""

    ABS = auto()
    ADD = auto()
    AND = auto()
    DIV = auto()
    EQUAL = auto()
    ERF = auto()
    EXP = auto()
    GELU = auto()
    GELU_TANH = auto()
    GREATER = auto()
    GREATER_EQUAL = auto()
    LESS = auto()
    LESS_EQUAL = auto()
    LOG = auto()
    MAX = auto()
    MIN = auto()
    MUL = auto()
    NEG = auto()
    NOT = auto()
    OR = auto()
    POW = auto()
    RECIPROCAL = auto()
    RELU = auto()
    SIGMOID = auto()
    SILU = auto()
    SQRT = auto()
    SUB = auto()
    TANH = auto()
    WHERE = auto()

    @property
    def operands(self) -> int:
        """The number of tensors that it is a function of."""
        return ARITY[self]


class Reduction(StrEnum):
    """What the elements along some axes are reduced to."""

    MEAN = auto()
    SUM = auto()
    MAX = auto()
    MIN = auto()
    PROD = auto()


@irdl_attr_definition
class FunctionAttr(
    EnumAttribute[Function],  # pyright: ignore[reportInvalidTypeArguments]  # as xDSL asks for its own
    SpacedOpaqueSyntaxAttribute,
):
    """`#nn<function add>`, or in an operation `add`."""

    name = "nn.function"


@irdl_attr_definition
class ReductionAttr(
    EnumAttribute[Reduction],  # pyright: ignore[reportInvalidTypeArguments]  # as xDSL asks for its own
    SpacedOpaqueSyntaxAttribute,
):
    """`#nn<reduction sum>`, or in an operation `sum`."""

    name = "nn.reduction"


def _erf(x: Array) -> Array:
    from scipy.special import erf  # pyright: ignore[reportMissingTypeStubs]

    return erf(x)


def _divide(a: Array, b: Array) -> Array:
    """Of integers, the quotient towards zero, as ONNX has it."""
    if a.dtype.kind in "iu":
        quotient, rest = np.divmod(a, b)
        return quotient + ((rest != 0) & ((a < 0) != (b < 0)))
    return a / b


def _activation(name: str) -> Callable[[Array], Array]:
    return lambda x: apply_function(name, x).astype(x.dtype)


UNARY: dict[Function, Callable[[Array], Array]] = {
    Function.ABS: np.abs,
    Function.ERF: _erf,
    Function.EXP: np.exp,
    Function.LOG: np.log,
    Function.NEG: np.negative,
    Function.NOT: np.logical_not,
    Function.RECIPROCAL: np.reciprocal,
    Function.SQRT: np.sqrt,
    **{Function(name): _activation(name) for name in FUNCTIONS},
}
BINARY: dict[Function, Callable[[Array, Array], Array]] = {
    Function.ADD: np.add,
    Function.AND: np.logical_and,
    Function.DIV: _divide,
    Function.EQUAL: np.equal,
    Function.GREATER: np.greater,
    Function.GREATER_EQUAL: np.greater_equal,
    Function.LESS: np.less,
    Function.LESS_EQUAL: np.less_equal,
    Function.MAX: np.maximum,
    Function.MIN: np.minimum,
    Function.MUL: np.multiply,
    Function.OR: np.logical_or,
    Function.POW: np.power,
    Function.SUB: np.subtract,
}
TERNARY: dict[Function, Callable[[Array, Array, Array], Array]] = {Function.WHERE: np.where}

ELEMENTWISE: dict[Function, Callable[..., Array]] = {**UNARY, **BINARY, **TERNARY}
"""All functions of elements."""

ARITY: dict[Function, int] = {
    **dict.fromkeys(UNARY, 1),
    **dict.fromkeys(BINARY, 2),
    **dict.fromkeys(TERNARY, 3),
}
"""Operands of each function."""

COMPARISONS = frozenset(
    (
        Function.EQUAL,
        Function.GREATER,
        Function.GREATER_EQUAL,
        Function.LESS,
        Function.LESS_EQUAL,
    )
)
"""Functions of numbers that give bits."""

LOGICAL = frozenset((Function.AND, Function.NOT, Function.OR))
"""Functions of bits that give bits."""


def _extreme(reduction: Callable[..., Array], sign: int) -> Callable[..., Array]:
    """A maximum or a minimum, which of no elements is the end of their type, as ONNX has it."""

    def reduce(x: Array, **options: Any) -> Array:
        if x.size or x.dtype.kind == "b":
            return reduction(x, **options)
        if x.dtype.kind == "f":
            return reduction(x, initial=-sign * np.inf, **options)
        info = np.iinfo(x.dtype)
        return reduction(x, initial=info.min if sign > 0 else info.max, **options)

    return reduce


REDUCTIONS: dict[Reduction, Callable[..., Array]] = {
    Reduction.MEAN: np.mean,
    Reduction.SUM: np.sum,
    Reduction.MAX: _extreme(np.maximum.reduce, 1),
    Reduction.MIN: _extreme(np.minimum.reduce, -1),
    Reduction.PROD: np.prod,
}
"""Over the axes `axis`, which stay with an extent of 1 if `keepdims` says so."""


def apply_elementwise(kind: str, inputs: Sequence[Array]) -> Array:
    """The named function of as many arrays as `ARITY` says.

    Raises:
        ValueError: there is no such function.
    """
    return ELEMENTWISE[Function(kind)](*inputs)
