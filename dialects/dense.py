# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""NumPy views of byte-backed dense constants.

Big constants never pass through Python numbers: an array becomes the bytes of a
`dense<"0x…">` attribute and back without a loop.
"""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    AnyFloat,
    BytesAttr,
    DenseIntOrFPElementsAttr,
    Float32Type,
    Float64Type,
    IntegerType,
    Signedness,
    TensorType,
)
from xdsl.ir import Attribute

_FLOATS: dict[type[Attribute], str] = {Float32Type: "<f4", Float64Type: "<f8"}


def storage_dtype(element_type: Attribute) -> np.dtype[Any]:
    """The little-endian NumPy dtype in which xDSL stores elements of this type.

    Integers take the next power of two of bytes, as in xDSL's packing.

    Raises:
        TypeError: the element type has no such storage.
    """
    if isinstance(element_type, IntegerType):
        kind = cast("IntegerType", element_type)
        sign = "u" if kind.signedness.data is Signedness.UNSIGNED else "i"
        for size in (1, 2, 4, 8):
            if kind.width.data <= 8 * size:
                return np.dtype(f"<{sign}{size}")
    for kind, name in _FLOATS.items():
        if isinstance(element_type, kind):
            return np.dtype(name)
    raise TypeError(f"no array storage for elements of type {element_type}")


def integer_bits(kind: Attribute) -> int | None:
    """The width of an integer type; None for any other."""
    return cast("IntegerType", kind).width.data if isinstance(kind, IntegerType) else None


def to_array(attribute: DenseIntOrFPElementsAttr) -> NDArray[Any]:
    """A read-only array over the attribute's bytes, in the shape of its type."""
    dtype = storage_dtype(attribute.get_element_type())
    return np.frombuffer(attribute.data.data, dtype).reshape(attribute.get_shape())


def from_array(
    array: NDArray[Any], element_type: IntegerType | AnyFloat, encoding: Attribute | None = None
) -> DenseIntOrFPElementsAttr:
    """The dense attribute holding `array`; values must fit the element type.

    Raises:
        ValueError: an integer lies outside the element type's signed range.
    """
    dtype = storage_dtype(element_type)
    if isinstance(element_type, IntegerType) and array.size:
        low, high = integer_range(element_type)
        if array.min() < low or array.max() > high:
            raise ValueError(f"values beyond {element_type}: {array.min()}..{array.max()}")
    tensor_type: Any = tensor(element_type, array.shape, encoding)
    data = np.ascontiguousarray(array, dtype=dtype).tobytes()
    return DenseIntOrFPElementsAttr(tensor_type, BytesAttr(data))


def integer_range(kind: IntegerType) -> tuple[int, int]:
    """The least and the largest value; a single bit without a sign is 0 or 1."""
    width = kind.width.data
    if width == 1 or kind.signedness.data is Signedness.UNSIGNED:
        return 0, (1 << width) - 1
    return -(1 << (width - 1)), (1 << (width - 1)) - 1


def tensor(
    element_type: Attribute, shape: tuple[int, ...], encoding: Attribute | None = None
) -> TensorType:
    """`tensor<shape x element_type, encoding>`."""
    if encoding is None:
        return TensorType(element_type, shape)
    return TensorType(element_type, shape, encoding)
