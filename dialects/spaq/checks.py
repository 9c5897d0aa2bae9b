# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the operations of `spaq` ask of their types and attributes."""

import numpy as np
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    IntegerType,
    TensorType,
    i32,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import to_array
from daqkf.hw_targets.numerics import ACCUMULATOR_MAX_BITS


def features(value: SSAValue) -> int:
    """The second dimension of a value of tensor type [T, features]."""
    assert isinstance(value.type, TensorType)
    return value.type.get_shape()[1]


def element(value: SSAValue) -> Attribute:
    """The element type of a value of tensor type."""
    assert isinstance(value.type, TensorType)
    return value.type.element_type


def width(value: SSAValue) -> int:
    """The bits of the integers of a value of tensor type."""
    kind = element(value)
    assert isinstance(kind, IntegerType)
    return kind.width.data


def is_accumulator(kind: Attribute) -> bool:
    """Whether sums may be of this type."""
    return isinstance(kind, IntegerType) and 8 <= kind.width.data <= ACCUMULATOR_MAX_BITS


def require(condition: object, message: str) -> None:
    """Fail verification with the message unless the condition holds."""
    if not condition:
        raise VerifyException(message)


def require_activations(op: Operation, *others: SSAValue) -> None:
    """Every result, the first operand and `others` are rank-2 tensors; token counts agree."""
    values = [*op.operands[:1], *others, *op.results]
    shapes = [value.type.get_shape() for value in values if isinstance(value.type, TensorType)]
    require(
        len(shapes) == len(values) and all(len(shape) == 2 for shape in shapes),
        f"{op.name} works on tensors of two dimensions, tokens and features",
    )
    require(
        all(shape[1] > 0 for shape in shapes), f"{op.name} needs a static count of features above 0"
    )
    require(
        len({shape[0] for shape in shapes}) == 1, f"{op.name} cannot change the number of tokens"
    )


def require_channels(op: Operation, name: str, attribute: DenseIntOrFPElementsAttr) -> None:
    """The attribute has one entry for each feature of the op's result."""
    expected = (features(op.results[0]),)
    require(
        attribute.get_shape() == expected and attribute.shape_is_complete,
        f"{name} must have one entry for each of the {expected[0]} output channels",
    )


def require_within(
    op: Operation, name: str, attribute: DenseIntOrFPElementsAttr, low: int, high: int
) -> None:
    """The attribute is of i32, with an entry of low..high for each feature of the op's result."""
    require(attribute.get_element_type() == i32, f"{name} must be of i32")
    require_channels(op, name, attribute)
    values = to_array(attribute)
    outside = np.flatnonzero((values < low) | (values > high))
    require(
        not outside.size,
        f"{name} of channel {outside[0] if outside.size else 0} is outside {low}..{high}",
    )
