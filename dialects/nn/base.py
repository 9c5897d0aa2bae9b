# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the operations of `nn` share."""

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    StringAttr,
    TensorType,
    UnrankedTensorType,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    ParsePropInAttrDict,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import storage_dtype

NODE = "node"
"""The attribute with the name that an op has in the file it comes from."""

HOST = "host"
"""The attribute that says why an op which the array might do stays with the host."""

Tensor = TensorType[Attribute] | UnrankedTensorType[Attribute]
TENSOR = AnyAttr()
INTEGERS = DenseArrayBase.constr(i64)
PLAIN = "operands attr-dict `:` functional-type(operands, results)"


def shape_of(value: SSAValue) -> tuple[int, ...] | None:
    """The extents of a tensor, `DYNAMIC_INDEX` where they are not known; None without a rank."""
    return value.type.get_shape() if isinstance(value.type, TensorType) else None


def node_name(op: IRDLOperation) -> str:
    """What to call an op in messages: its name in the file, or that of the operation."""
    name = op.attributes.get(NODE)
    return f"'{name.data}'" if isinstance(name, StringAttr) else op.name


def integers(values: Sequence[int]) -> DenseArrayBase:
    """`array<i64: …>`."""
    return DenseArrayBase.from_list(i64, list(values))


def integers_of(attribute: DenseArrayBase) -> list[int]:
    """The numbers of `array<i64: …>`."""
    return np.frombuffer(attribute.data.data, "<i8").tolist()


def require(condition: object, message: str) -> None:
    """Raise a VerifyException with the message unless the condition holds."""
    if not condition:
        raise VerifyException(message)


def differ(a: int, b: int) -> bool:
    """Whether two extents cannot be the same."""
    return DYNAMIC_INDEX not in (a, b) and a != b


def require_elements(kind: Attribute) -> None:
    """Check that arrays can hold elements of this type."""
    try:
        storage_dtype(kind)
    except TypeError as error:
        raise VerifyException(str(error)) from None


def require_product(lhs: SSAValue, rhs: SSAValue) -> None:
    """Check that two tensors, as far as their shapes are known, have a product of matrices."""
    left, right = shape_of(lhs), shape_of(rhs)
    if left is not None and right is not None:
        require(min(len(left), len(right)) > 0, "a product of scalars is none of matrices")
        columns, rows = left[-1], right[max(len(right) - 2, 0)]
        require(not differ(columns, rows), f"{columns} columns meet {rows} rows")


class TensorOp(IRDLOperation):
    """A pure operation on tensors."""

    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(Pure())

    def verify_(self) -> None:
        """Raise a VerifyException for what is no tensor, and for what `_check` finds."""
        for value in (*self.operands, *self.results):
            require(
                isinstance(value.type, TensorType | UnrankedTensorType),
                f"{self.name} works on tensors, not on {value.type}",
            )
            assert isinstance(value.type, TensorType | UnrankedTensorType)
            require_elements(value.type.element_type)
        self._check()

    def _check(self) -> None:
        """Raise a VerifyException for what does not fit together."""

    def require_axis(self, axis: int, value: SSAValue, extra: int = 0) -> None:
        """Check that a tensor, with `extra` more dimensions, has this axis."""
        shape = shape_of(value)
        rank = len(shape) + extra if shape is not None else abs(axis) + 1
        require(-rank <= axis < rank, f"axis {axis} of a tensor of {rank} dimensions")
