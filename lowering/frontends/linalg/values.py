# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the values of an imported function become, and the shaping between them."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    FileLineColLoc,
    IndexType,
    NameLoc,
    StringAttr,
    TensorType,
    i1,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Attribute, Block, Operation, OpResult, SSAValue

from daqkf.dialects.dense import from_array, storage_dtype
from daqkf.dialects.nn import (
    ConcatOp,
    ConstantOp,
    ElementwiseOp,
    ExpandOp,
    GatherOp,
    ReduceOp,
    ReshapeOp,
    ShapeOp,
    SqueezeOp,
    TransposeOp,
    UnsqueezeOp,
)
from daqkf.dialects.nn.base import NODE, integers_of
from daqkf.dialects.nn.elementwise import COMPARISONS, apply_elementwise

Array = np.ndarray[Any, Any]


class LinalgImportError(ValueError):
    """What of a module is not supported, and where it is."""

    @classmethod
    def at(cls, op: Operation, reason: str) -> Self:
        """The error of an operation."""
        where = op.location
        place = ""
        if isinstance(where, FileLineColLoc):
            place = f"{where.filename.data}:{where.line.data}:{where.column.data}: "
        return cls(f"{place}{op.name}: {reason}")


def shape(value: SSAValue) -> tuple[int, ...]:
    """The extents of a tensor; none for a scalar."""
    return value.type.get_shape() if isinstance(value.type, TensorType) else ()


def element(value: SSAValue) -> Attribute:
    """The element type of a tensor, or the type of a scalar; an index is an i64.

    Raises:
        ValueError: there are no arrays of such elements.
    """
    kind = value.type.element_type if isinstance(value.type, TensorType) else value.type
    kind = i64 if isinstance(kind, IndexType) else kind
    try:
        storage_dtype(kind)
    except TypeError:
        raise ValueError(f"elements of {kind} are not supported") from None
    return kind


def constant(value: SSAValue) -> Array | None:
    """The array that a new value is known to be."""
    return value.owner.array() if isinstance(value.owner, ConstantOp) else None


def broadcast(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The extents of tensors that broadcast together.

    Raises:
        ValueError: they do not.
    """
    rank = max(map(len, shapes))
    columns = zip(*((1,) * (rank - len(s)) + tuple(s) for s in shapes), strict=True)
    extents: list[int] = []
    for column in columns:
        fixed = {extent for extent in column if extent not in (1, DYNAMIC_INDEX)}
        if len(fixed) > 1:
            raise ValueError(f"extents {sorted(fixed)} do not fit")
        extents.append(fixed.pop() if fixed else min(column))
    return tuple(extents)


class Values:
    """The function under way: its block, and what the old tensors are in it.

    A new value may be narrower than the old one, which it then broadcasts to, as NumPy does.
    """

    def __init__(self, source: FuncOp, blobs: Mapping[str, str]):
        for argument in source.body.block.args:
            if not isinstance(argument.type, TensorType):
                raise LinalgImportError.at(source, f"an argument is of {argument.type}, no tensor")
        args = source.body.block.args
        try:
            kinds = [TensorType(element(argument), shape(argument)) for argument in args]
        except ValueError as error:
            raise LinalgImportError.at(source, str(error)) from None
        self.block = Block(arg_types=kinds)
        self.current: Operation = source
        self.blobs = blobs
        self._known: dict[SSAValue, SSAValue] = {}
        for old, new in zip(args, self.block.args, strict=True):
            new.name_hint = old.name_hint
            self._known[old] = new

    def __setitem__(self, old: SSAValue, new: SSAValue) -> None:
        if old.name_hint and isinstance(new, OpResult) and not new.name_hint:
            new.name_hint = old.name_hint
        self._known[old] = new

    def __getitem__(self, old: SSAValue) -> SSAValue:
        """What a tensor has become.

        Raises:
            ValueError: its elements are not known.
        """
        if old not in self._known:
            name = getattr(old.owner, "name", "an argument")
            raise ValueError(f"reads the elements of {name}, which has none")
        return self._known[old]

    def whole(self, old: SSAValue) -> SSAValue:
        """What a tensor has become, in all its extents."""
        new, extents = self[old], shape(old)
        if len(shape(new)) == len(extents) and all(
            own != 1 or whole == 1 for own, whole in zip(shape(new), extents, strict=True)
        ):
            return new
        kind = TensorType(element(old), extents)
        array = constant(new)
        if array is not None and DYNAMIC_INDEX not in extents:
            return self.constant(np.broadcast_to(array, extents), element(old))
        return self.add(ExpandOp(new, self.extents(old), kind))

    def add(self, op: Any) -> SSAValue:
        """The result of an op, put into the function under the name of the current one.

        That is the name in its location, or of its result, or else what it does and its line.
        """
        where, name = self.current.location, self.current.name.split(".")[-1]
        hints = [result.name_hint for result in self.current.results if result.name_hint]
        if isinstance(where, NameLoc):
            name = where.desc.data
        elif hints:
            name = hints[0]
        elif isinstance(where, FileLineColLoc):
            name = f"{name}.{where.line.data}"
        op.attributes[NODE] = StringAttr(name)
        op.verify_()
        self.block.add_op(op)
        return op.results[0]

    def constant(self, array: Array, kind: Attribute) -> SSAValue:
        """A constant of these elements."""
        op = ConstantOp(from_array(np.asarray(array), kind))  # pyright: ignore[reportArgumentType]
        self.block.add_op(op)
        return op.result

    def vector(self, values: Sequence[int]) -> SSAValue:
        """A constant vector."""
        return self.constant(np.array(values, np.int64), i64)

    def elementwise(self, kind: str, *inputs: SSAValue) -> SSAValue:
        """A function of each element; of constants, a constant."""
        arrays = [constant(value) for value in inputs]
        result = element(inputs[-1])
        if kind in COMPARISONS:
            result = i1
        if all(array is not None for array in arrays):
            with np.errstate(all="ignore"):
                found = apply_elementwise(kind, tuple(a for a in arrays if a is not None))
            return self.constant(np.asarray(found), result)
        extents = broadcast([shape(value) for value in inputs])
        return self.add(ElementwiseOp(kind, inputs, TensorType(result, extents)))

    def transpose(self, value: SSAValue, axes: Sequence[int]) -> SSAValue:
        """Dimensions in another order; of a constant, a constant."""
        if list(axes) == list(range(len(axes))):
            return value
        array = constant(value)
        if array is not None:
            return self.constant(array.transpose(axes), element(value))
        extents = [shape(value)[axis] for axis in axes]
        return self.add(TransposeOp(value, axes, TensorType(element(value), extents)))

    def unsqueeze(self, value: SSAValue, axes: Sequence[int]) -> SSAValue:
        """Extents of 1 inserted at these axes of the result."""
        if not axes:
            return value
        array = constant(value)
        if array is not None:
            return self.constant(np.expand_dims(array, tuple(axes)), element(value))
        extents = list(shape(value))
        for axis in sorted(axes):
            extents.insert(axis, 1)
        kind = TensorType(element(value), extents)
        reduction = value.owner
        if isinstance(reduction, ReduceOp) and integers_of(reduction.axes) == list(axes):
            return self.add(ReduceOp(reduction.kind.data, reduction.input, axes, True, kind))
        return self.add(UnsqueezeOp(value, axes, kind))

    def squeeze(self, value: SSAValue, axes: Sequence[int]) -> SSAValue:
        """Extents of 1 removed.

        Raises:
            ValueError: one of them is not 1.
        """
        if not axes:
            return value
        if any(shape(value)[axis] != 1 for axis in axes):
            raise ValueError("takes one entry of a dimension that has more")
        array = constant(value)
        if array is not None:
            return self.constant(np.squeeze(array, tuple(axes)), element(value))
        extents = [extent for axis, extent in enumerate(shape(value)) if axis not in axes]
        return self.add(SqueezeOp(value, axes, TensorType(element(value), extents)))

    def padded(self, value: SSAValue, rank: int) -> SSAValue:
        """As many dimensions, the first ones of extent 1 if there are too few."""
        return self.unsqueeze(value, range(rank - len(shape(value))))

    def reshape(
        self, value: SSAValue, extents: Sequence[int] | SSAValue, result: TensorType
    ) -> SSAValue:
        """The same elements in other extents, as `nn.reshape` has them."""
        array = constant(value)
        if array is not None and result.has_static_shape():
            return self.constant(array.reshape(result.get_shape()), element(value))
        wanted = extents if isinstance(extents, SSAValue) else self.vector(extents)
        kind = TensorType(element(value), result.get_shape())
        return self.add(ReshapeOp(value, wanted, kind))

    def extents(self, old: SSAValue) -> SSAValue:
        """The extents of an old tensor as a vector."""
        if DYNAMIC_INDEX not in shape(old):
            return self.vector(shape(old))
        owner = old.owner
        if isinstance(owner, tensor.EmptyOp):
            return self.stack(shape(old), owner.dynamic_sizes)
        if isinstance(owner, tensor.CastOp):
            return self.extents(owner.source)
        if isinstance(owner, LinalgStructuredOperation) and isinstance(old, OpResult):
            return self.extents(owner.outputs[old.index])
        return self.add(ShapeOp(self[old], TensorType(i64, [len(shape(old))])))

    def stack(self, extents: Sequence[int], sizes: Sequence[SSAValue]) -> SSAValue:
        """Extents as a vector; old scalars stand for those that are `?`."""
        left = iter(sizes)
        parts = [
            self.unsqueeze(self.index(next(left)), [0])
            if extent == DYNAMIC_INDEX
            else self.vector([extent])
            for extent in extents
        ]
        return self.add(ConcatOp(parts, 0, TensorType(i64, [len(parts)])))

    def index(self, old: SSAValue) -> SSAValue:
        """An index that is computed outside linalg, as a tensor without dimensions.

        Raises:
            ValueError: it is computed in a way that is not supported.
        """
        owner = old.owner
        if isinstance(owner, arith.ConstantOp):
            return self.constant(np.array(number(owner)), i64)
        if isinstance(owner, tensor.DimOp):
            extents = self.extents(owner.source)
            return self.add(GatherOp(extents, self.index(owner.index), 0, TensorType(i64, [])))
        if isinstance(owner, arith.IndexCastOp):
            return self.index(owner.input)
        kinds = {arith.AddiOp: "add", arith.SubiOp: "sub", arith.MuliOp: "mul"}
        kinds |= {arith.DivSIOp: "div", arith.DivUIOp: "div"}
        if isinstance(owner, Operation) and type(owner) in kinds:
            sides = [self.index(operand) for operand in owner.operands]
            return self.elementwise(kinds[type(owner)], *sides)
        name = getattr(owner, "name", "an argument")
        raise ValueError(f"an extent by {name} is not supported")


def number(op: arith.ConstantOp) -> float | int:
    """The number that a scalar constant is.

    Raises:
        ValueError: its data is elsewhere.
    """
    value = op.value
    data = getattr(value, "value", None)
    if data is None or not isinstance(data.data, int | float):
        raise ValueError("only numbers are supported")
    return data.data
