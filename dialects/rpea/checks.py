# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the verifiers of `rpea` say of properties."""

from typing import cast

import numpy as np
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, TensorType
from xdsl.ir import Attribute
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import to_array
from daqkf.hw_targets.config import ArrayConfig


def require(condition: object, message: str) -> None:
    """Raise a VerifyException with the message unless the condition holds."""
    if not condition:
        raise VerifyException(message)


def require_length(name: str, attribute: DenseIntOrFPElementsAttr) -> int:
    """The length of a property that is a list of something.

    Raises:
        VerifyException: it is of another rank, or empty.
    """
    shape = attribute.get_shape()
    require(len(shape) == 1 and shape[0], f"{name} must be a tensor of one dimension, not empty")
    return shape[0]


def require_tensor(name: str, attribute: Attribute | None, kind: Attribute, length: int) -> None:
    """Check that a property is a dense constant [length].

    Raises:
        VerifyException: it is not.
    """
    assert isinstance(attribute, DenseIntOrFPElementsAttr)
    dense = cast(DenseIntOrFPElementsAttr, attribute)
    require(
        dense.get_element_type() == kind
        and dense.get_shape() == (length,)
        and dense.shape_is_complete,
        f"{name} must be {TensorType(kind, (length,))}",
    )


def require_range(
    names: str, attribute: DenseIntOrFPElementsAttr, least: int, greatest: int
) -> None:
    """Check that all values are within bounds.

    Raises:
        VerifyException: one is not.
    """
    values = to_array(attribute)
    require(
        values.min() >= least and values.max() <= greatest,
        f"{names} must be {least}..{greatest}",
    )


def require_bias(
    name: str, attribute: DenseIntOrFPElementsAttr, config: ArrayConfig, least: int = 0
) -> None:
    """Check that the array can add a bias, and to no less than `least`.

    Raises:
        VerifyException: it is too large.
    """
    limit, bias = 1 << (config.sum_width - 1), to_array(attribute).astype(np.int64)
    require(
        -limit <= bias.min() + least and bias.max() < limit,
        f"{name} does not fit the array's sums of {config.sum_width} bits",
    )
