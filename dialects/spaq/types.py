# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The constraints of the types that `spaq`, `dfke` and `rpea` work on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from xdsl.dialects.builtin import Float32Type, IntAttr, TensorType, f32, i8
from xdsl.ir import Attribute
from xdsl.irdl import (
    AnyAttr,
    AttrConstraint,
    EqAttrConstraint,
    IntConstraint,
    VarConstraint,
    VerificationContext,
)
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import integer_bits
from daqkf.hw_targets.numerics import ACCUMULATOR_MAX_BITS, ACTIVATION_BITS, WIDE_BITS

Tensor = TensorType[Attribute]
TypeVariables = Mapping[TypeVar, AttrConstraint[Attribute] | IntConstraint]

TOKENS = VarConstraint("Tokens", AnyAttr())
"""How many tokens the tensors of an operation have, which is the same number for all of them."""


@dataclass(frozen=True)
class Elements(AttrConstraint[Attribute]):
    """f32, and integers of so many bits."""

    least: int = 1
    greatest: int = 64
    real: bool = True
    """Whether f32 is one of them."""
    step: int = 1
    """How many bits more the next ones have."""

    def verify(self, attr: Attribute, constraint_context: VerificationContext) -> None:
        """Raise a VerifyException for any other attribute."""
        if self.real and isinstance(attr, Float32Type):
            return
        bits = integer_bits(attr)
        if bits is not None and bits in range(self.least, self.greatest + 1, self.step):
            return
        kinds = "i8" if self.least == self.greatest == 8 else f"i{self.least}..i{self.greatest}"
        if self.step > 1:
            kinds = kinds.replace("..", " or ")
        raise VerifyException(f"elements are {'f32 or ' if self.real else ''}{kinds}, not {attr}")

    def mapping_type_vars(self, type_var_mapping: TypeVariables) -> "Elements":
        """The same, as there are no type variables in it."""
        return self


@dataclass(frozen=True)
class RankedTensor(AttrConstraint[Tensor]):
    """A tensor of so many dimensions, whose element type has a constraint of its own."""

    rank: int
    element: AttrConstraint[Attribute]

    def verify(self, attr: Attribute, constraint_context: VerificationContext) -> None:
        """Raise a VerifyException for any other attribute."""
        if not isinstance(attr, TensorType):
            raise VerifyException(f"a tensor is expected, not {attr}")
        kind = cast(Tensor, attr)
        self.verify_shape(kind.get_shape(), constraint_context)
        self.element.verify(kind.element_type, constraint_context)

    def verify_shape(self, shape: tuple[int, ...], context: VerificationContext) -> None:
        """Raise a VerifyException for another number of dimensions."""
        if len(shape) != self.rank:
            raise VerifyException(f"a tensor of rank {self.rank} is expected, not {len(shape)}")

    def variables(self) -> set[str]:
        """Those of the element type."""
        return self.element.variables()

    def mapping_type_vars(self, type_var_mapping: TypeVariables) -> "RankedTensor":
        """With the type variables of the element type replaced."""
        return type(self)(self.rank, self.element.mapping_type_vars(cast(Any, type_var_mapping)))


@dataclass(frozen=True)
class Activations(RankedTensor):
    """A tensor [T, K] of any number of tokens, the same for the whole operation, and K features."""

    def verify_shape(self, shape: tuple[int, ...], context: VerificationContext) -> None:
        """Raise a VerifyException unless the shape is [T, K], of a static K above 0."""
        if len(shape) != self.rank:
            raise VerifyException("a tensor of two dimensions is expected, tokens and features")
        tokens, features = shape
        if features <= 0:
            raise VerifyException("a static count of features above 0 is needed")
        try:
            TOKENS.verify(IntAttr(tokens), context)
        except VerifyException:
            raise VerifyException("the number of tokens cannot change") from None


def activations_of(element: AttrConstraint[Attribute]) -> Activations:
    """Activations of such elements."""
    return Activations(2, element)


NUMBERS = Elements()
REAL = EqAttrConstraint(f32)
INT8 = EqAttrConstraint(i8)
ACCUMULATORS = Elements(8, ACCUMULATOR_MAX_BITS, real=False)
"""Integers that sums may be of."""
SUMS = Elements(8, ACCUMULATOR_MAX_BITS)
LEVELS = Elements(8, 8)
"""f32, or i8 once quantised."""

RESULTS = Elements(ACTIVATION_BITS, WIDE_BITS, real=False, step=ACTIVATION_BITS)
"""What sums are requantised to: i8, or i16 of wide results."""

ANY_ACTIVATIONS = activations_of(NUMBERS)
REAL_ACTIVATIONS = activations_of(REAL)
INT8_ACTIVATIONS = activations_of(INT8)
RESULT_ACTIVATIONS = activations_of(RESULTS)
"""Results of a kernel, which are activations of another one unless they are wide."""

SAME_ELEMENTS = activations_of(VarConstraint("Element", NUMBERS))
"""Activations of one element type, whichever it is."""

SAME_REAL = VarConstraint("Type", REAL_ACTIVATIONS)
"""Values of one type, activations over f32."""

SAME_LEVELS = VarConstraint("Type", activations_of(LEVELS))
"""Values of one type, activations over f32 or i8."""
