# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the operations of `spaq` ask of their types and attributes."""

from typing import cast

import numpy as np
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    TensorType,
    i32,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import integer_bits, to_array
from daqkf.dialects.spaq.types import Tensor
from daqkf.hw_targets.numerics import WIDE_BITS


def tensor_type(value: SSAValue) -> Tensor:
    """The type of a value that is a tensor."""
    kind: Attribute = value.type
    assert isinstance(kind, TensorType)
    return cast(Tensor, kind)


def features(value: SSAValue) -> int:
    """The second dimension of a value of tensor type [T, features]."""
    return tensor_type(value).get_shape()[1]


def element(value: SSAValue) -> Attribute:
    """The element type of a value of tensor type."""
    return tensor_type(value).element_type


def width(value: SSAValue) -> int:
    """The bits of the integers of a value of tensor type."""
    kind = element(value)
    bits = integer_bits(kind)
    assert bits is not None
    return bits


def is_wide(value: SSAValue) -> bool:
    """Whether a value of tensor type has wide results."""
    return integer_bits(element(value)) == WIDE_BITS


def require(condition: object, message: str) -> None:
    """Fail verification with the message unless the condition holds."""
    if not condition:
        raise VerifyException(message)


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
