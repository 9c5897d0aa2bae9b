# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The levels that a quantised file states for a value, and how int8 on the array has them.

A file's levels are `(q - zero) · scale`. The array's int8 has no zero point: it counts from the
middle of its range. So the array's levels are `(q - centre) · scale`, with a centre such that all
of the file's are among them, and what they differ by, `(centre - zero) · scale`, goes to the bias
of whatever reads or makes them.
"""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from xdsl.dialects.builtin import IntegerType, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import SSAValue

from daqkf.dialects.dense import integer_range
from daqkf.dialects.nn import DequantizeOp, QuantizeOp
from daqkf.dialects.nn.base import QUANTIZED, element_of
from daqkf.dialects.nn.ops import constant_of
from daqkf.hw_targets.numerics import ACTIVATION_MAX, ACTIVATION_MIN
from daqkf.passes.nn_terms import scalar_of

_BITS = 8
"""Of the widest levels that int8 has room for."""


@dataclass(frozen=True)
class Levels:
    """The levels of a whole tensor: `(q - zero) · scale` for low ≤ q ≤ high."""

    scale: float
    zero: int
    low: int
    high: int

    @classmethod
    def of(cls, op: QuantizeOp | DequantizeOp) -> "Levels | None":
        """The levels that an operation states, if they are constants, for the whole tensor."""
        integers = op.result if isinstance(op, QuantizeOp) else op.input
        kind, scale, zero = element_of(integers), scalar_of(op.scale), scalar_of(op.zero_point)
        if scale is None or zero is None or not isinstance(kind, IntegerType):
            return None
        if not (math.isfinite(scale) and scale > 0):
            return None
        return cls(scale, int(zero), *integer_range(cast(IntegerType, kind)))

    @property
    def fit(self) -> bool:
        """Whether int8 has as many levels."""
        return self.high - self.low < 1 << _BITS

    @property
    def centre(self) -> int:
        """The level that is int8's 0: the zero point, where all levels are in reach of it."""
        if self.low - self.zero >= ACTIVATION_MIN and self.high - self.zero <= ACTIVATION_MAX:
            return self.zero
        return self.low - ACTIVATION_MIN

    @property
    def offset(self) -> float:
        """What a value has more than its level on the array says."""
        return (self.centre - self.zero) * self.scale

    @property
    def fill(self) -> bool:
        """Whether int8 saturates where these levels do."""
        return self.low - self.centre == ACTIVATION_MIN and self.high - self.centre == (
            ACTIVATION_MAX
        )

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value."""
        return (self.low - self.zero) * self.scale, (self.high - self.zero) * self.scale


def is_quantized(module: ModuleOp) -> bool:
    """Whether a network is of a file that has levels, of activations or of weights."""
    return any(
        isinstance(op, QuantizeOp | DequantizeOp)
        or (isinstance(op, FuncOp) and QUANTIZED in op.attributes)
        for op in module.walk()
    )


def same_constant(a: SSAValue, b: SSAValue) -> bool:
    """Whether two values are one, or are equal constants."""
    left, right = constant_of(a), constant_of(b)
    if left is None or right is None:
        return a is b
    return bool(np.array_equal(left, right))
