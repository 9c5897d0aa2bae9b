# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Products and sums in `nn`, taken apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from xdsl.ir import SSAValue

from daqkf.dialects.nn import ElementwiseOp
from daqkf.dialects.nn.elementwise import Function
from daqkf.dialects.nn.ops import constant_of

_CLOSE = 1e-3
"""Relative: files round constants like √2, some to three digits."""

_DEPTH = 6
"""How deep products and sums are taken apart; what is looked for nests less."""


def inputs_of(value: SSAValue, kind: Function) -> Sequence[SSAValue] | None:
    """The operands of the function of this kind that computes a value."""
    op = value.owner
    return op.inputs if isinstance(op, ElementwiseOp) and op.kind.data is kind else None


def scalar_of(value: SSAValue) -> float | None:
    """The number that a value is known to be."""
    array = constant_of(value)
    return float(array.reshape(())) if array is not None and array.size == 1 else None


def near(value: float | None, expected: float) -> bool:
    """Whether a number is there, and is as good as the expected one."""
    return value is not None and math.isclose(value, expected, rel_tol=_CLOSE)


@dataclass
class Product:
    """A product, taken apart down to what is `whole`: `factor · Π over / Π under`."""

    whole: SSAValue | None = None
    factor: float = 1.0
    over: list[SSAValue] = field(default_factory=list[SSAValue])
    under: list[SSAValue] = field(default_factory=list[SSAValue])

    @classmethod
    def of(cls, value: SSAValue, whole: SSAValue | None = None) -> "Product":
        """The product that a value is."""
        found = cls(whole)
        found._take(value, inverted=False)
        return found

    def _take(self, value: SSAValue, *, inverted: bool, depth: int = _DEPTH) -> None:
        take = partial(self._take, depth=depth - 1)
        if value == self.whole or not depth:
            (self.under if inverted else self.over).append(value)
        elif (number := scalar_of(value)) is not None and number:
            self.factor *= 1 / number if inverted else number
        elif factors := inputs_of(value, Function.MUL):
            for part in factors:
                take(part, inverted=inverted)
        elif parts := inputs_of(value, Function.DIV):
            take(parts[0], inverted=inverted)
            take(parts[1], inverted=not inverted)
        elif parts := inputs_of(value, Function.RECIPROCAL):
            take(parts[0], inverted=not inverted)
        elif parts := inputs_of(value, Function.NEG):
            self.factor = -self.factor
            take(parts[0], inverted=inverted)
        elif (parts := inputs_of(value, Function.POW)) and _whole(scalar_of(parts[1])):
            for _ in range(round(scalar_of(parts[1]) or 0)):
                take(parts[0], inverted=inverted)
        else:
            (self.under if inverted else self.over).append(value)

    def is_power(self, x: SSAValue, exponent: int, factor: float) -> bool:
        """Whether this is `factor · x^exponent`."""
        return not self.under and self.over == [x] * exponent and near(self.factor, factor)


def _whole(number: float | None) -> bool:
    return number in (2.0, 3.0)


def terms_of(value: SSAValue, depth: int = _DEPTH) -> tuple[list[SSAValue], float]:
    """A sum, taken apart: its terms and what is added to them."""
    if (number := scalar_of(value)) is not None:
        return [], number
    if depth and (parts := inputs_of(value, Function.ADD)):
        (left, first), (right, second) = (terms_of(part, depth - 1) for part in parts)
        return left + right, first + second
    return [value], 0.0
