# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the operations of `nn` share: the constraints of their types, and their verification."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    Float32Type,
    Float64Type,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    TensorType,
    UnrankedTensorType,
    f32,
    f64,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    AttrConstraint,
    EqAttrConstraint,
    IRDLOperation,
    ParsePropInAttrDict,
    VarConstraint,
    VerificationContext,
    traits_def,
)
from xdsl.traits import HasFolder, Pure
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import storage_dtype

NODE = "node"
"""The attribute with the name that an op has in the file it comes from."""

QUANTIZED = "quantized"
"""The attribute of a network whose file has levels for weights, which are constants here."""

SCALED = "scaled"
"""The attribute of a network in which the host scales the rows that kernels read."""

ROWS = "rows"
"""The inputs of a network that take any number of rows, where a file fixes a batch of one."""

RANKED = "ranked"
"""The attribute of a kernel whose integers are in the order of what they stand for, by token."""

UNSCALED = "unscaled"
"""The attribute of a product whose rows the host does not scale, as int8 suits them."""

EXACT = "exact"
"""The attribute of a product, and of a kernel, whose weights int8 has, and stay what they are."""

HOST = "host"
"""The attribute that says why an op which the array might do stays with the host."""

Tensor = TensorType[Attribute] | UnrankedTensorType[Attribute]


@dataclass(frozen=True)
class ElementConstraint(AttrConstraint[Attribute]):
    """Elements that NumPy arrays hold: integers of up to 64 bits, f32 and f64."""

    kinds: tuple[type[Attribute], ...] = (IntegerType, Float32Type, Float64Type)
    """Those of them that are allowed."""
    what: str = "numbers"
    """What they are called in messages."""

    def verify(self, attr: Attribute, constraint_context: VerificationContext) -> None:
        """Raise a VerifyException for any other attribute."""
        require_elements(attr)
        require(isinstance(attr, self.kinds), f"elements are {self.what}, not {attr}")

    def mapping_type_vars(self, type_var_mapping: Any) -> "ElementConstraint":
        """The same, as there are no type variables in it."""
        return self


@dataclass(frozen=True)
class TensorConstraint(AttrConstraint[Tensor]):
    """A tensor, with or without a rank, whose element type has a constraint of its own."""

    element: AttrConstraint[Attribute]

    def verify(self, attr: Attribute, constraint_context: VerificationContext) -> None:
        """Raise a VerifyException for what is no tensor, or is one of other elements."""
        kind: Any = attr
        if not isinstance(kind, TensorType | UnrankedTensorType):
            raise VerifyException(f"a tensor is expected, not {attr}")
        self.element.verify(cast(Tensor, kind).element_type, constraint_context)

    def variables(self) -> set[str]:
        """Those of the element type."""
        return self.element.variables()

    def mapping_type_vars(self, type_var_mapping: Any) -> "TensorConstraint":
        """With the type variables of the element type replaced."""
        return TensorConstraint(self.element.mapping_type_vars(type_var_mapping))


NUMBERS = ElementConstraint()
FLOATS = ElementConstraint((Float32Type, Float64Type), "f32 or f64")
WHOLE = ElementConstraint((IntegerType,), "integers")

TENSOR = TensorConstraint(NUMBERS)
"""A tensor of any numbers."""

SINGLES = TensorConstraint(EqAttrConstraint(f32))
"""A tensor of f32, which is what the array's work begins and ends with."""

EXTENTS = TensorConstraint(WHOLE)
"""Extents, bounds or indices."""

SAME = TensorConstraint(VarConstraint("Element", NUMBERS))
"""Tensors of one element type, whichever it is."""

SAME_FLOATS = TensorConstraint(VarConstraint("Element", FLOATS))
"""Tensors of one floating-point type."""

INTEGER = IntegerAttr.constr(i64)
STEP = FloatAttr.constr(f64)
INTEGERS = DenseArrayBase.constr(i64)
PLAIN = "operands attr-dict `:` functional-type(operands, results)"


def shape_of(value: SSAValue) -> tuple[int, ...] | None:
    """The extents of a tensor, `DYNAMIC_INDEX` where they are not known; None without a rank."""
    kind: Any = value.type
    return cast(TensorType, kind).get_shape() if isinstance(kind, TensorType) else None


def element_of(value: SSAValue) -> Attribute:
    """The element type of a tensor."""
    kind: Any = value.type
    assert isinstance(kind, TensorType | UnrankedTensorType)
    return cast(Tensor, kind).element_type


def node_name(op: Operation) -> str:
    """What to call an op in messages: its name in the file, or that of the operation."""
    name = op.attributes.get(NODE)
    return f"'{name.data}'" if isinstance(name, StringAttr) else op.name


def integers(values: Sequence[int]) -> DenseArrayBase[IntegerType]:
    """`array<i64: …>`."""
    return DenseArrayBase.from_list(i64, list(values))


def integers_of(attribute: DenseArrayBase[IntegerType]) -> list[int]:
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
    """Raise a VerifyException unless arrays can hold elements of this type."""
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


def require_axis(axis: int, value: SSAValue, extra: int = 0) -> None:
    """Check that a tensor, with `extra` more dimensions, has this axis."""
    shape = shape_of(value)
    rank = len(shape) + extra if shape is not None else abs(axis) + 1
    require(-rank <= axis < rank, f"axis {axis} of a tensor of {rank} dimensions")


class TensorOp(IRDLOperation):
    """A pure operation on tensors."""

    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(Pure())


class GivesWhatItReads(HasFolder):
    """An operation that may do nothing, which is folded away then."""

    @classmethod
    def fold(cls, op: Operation) -> Sequence[SSAValue | Attribute] | None:
        """The first operand, if the operation says that it is the result, and the types agree."""
        assert isinstance(op, IdentityOperation)
        if op.is_identity() and op.operands[0].type == op.results[0].type:
            return (op.operands[0],)
        return None


class IdentityOperation(TensorOp, ABC):
    """An operation that gives, with some attributes, what it reads."""

    traits = traits_def(GivesWhatItReads())

    @abstractmethod
    def is_identity(self) -> bool:
        """Whether the result is the first operand, as far as the attributes and types tell."""
