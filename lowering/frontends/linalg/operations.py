# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What each operation of linalg, tensor and arith becomes in `nn`.

Structured operations, named ones as well as `linalg.generic`, are read by their maps and bodies
alone: what is parallel is a chain of functions, what is reduced is a product or a reduction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    AffineMapAttr,
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    IntegerAttr,
    TensorType,
)
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.attrs import IteratorType
from xdsl.dialects.linalg.ops import BroadcastOp, ReduceOp
from xdsl.ir import Block, BlockArgument, Operation, SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr

from daqkf.dialects.dense import storage_dtype, to_array
from daqkf.dialects.nn import ConcatOp, MatmulOp, SliceOp
from daqkf.dialects.nn import ReduceOp as NnReduceOp
from daqkf.lowering.frontends.linalg.bodies import Body, cast_to
from daqkf.lowering.frontends.linalg.values import Values, broadcast, constant, element, shape

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "max", "min": "min"}
"""What reduces by each combining function."""

Places = list[int | None]
"""The loop that runs along each dimension of an operand; None for one entry of it."""


@singledispatch
def convert(op: Operation, values: Values) -> None:
    """Make the results of an operation values of the function.

    Raises:
        ValueError, VerifyException: it is not supported, or does not fit.
    """
    # Scalars are looked into where they are used.
    if any(isinstance(result.type, TensorType) for result in op.results) or not op.results:
        raise ValueError("operation not supported")


@convert.register
def _(op: tensor.EmptyOp, values: Values) -> None:
    """Only its extents are read."""


@convert.register
def _(op: arith.ConstantOp, values: Values) -> None:
    if not isinstance(op.result.type, TensorType):
        return
    kind = element(op.result)
    if isinstance(op.value, DenseIntOrFPElementsAttr):
        values[op.result] = values.constant(to_array(op.value), kind)
    elif isinstance(op.value, DenseResourceAttr):
        array = _resource(values.blobs, op.value.resource_handle.data, storage_dtype(kind))
        values[op.result] = values.constant(array.reshape(shape(op.result)), kind)


def _resource(blobs: Mapping[str, str], name: str, dtype: np.dtype) -> np.ndarray:
    """The elements of a resource, which follow four bytes with its alignment.

    Raises:
        ValueError: the text has no such resource, or it is malformed.
    """
    if name not in blobs:
        raise ValueError(f"its elements are not in the text, which has no resource '{name}'")
    try:
        data = bytes.fromhex(blobs[name].removeprefix("0x"))
        return np.frombuffer(data, dtype, offset=4)
    except ValueError as error:
        raise ValueError(f"resource '{name}': {error}") from None


@convert.register
def _(op: tensor.CastOp, values: Values) -> None:
    values[op.dest] = values[op.source]


@convert.register
def _(op: tensor.ConcatOp, values: Values) -> None:
    kind = TensorType(element(op.result), shape(op.result))
    parts = [values.whole(part) for part in op.inputs]
    values[op.result] = values.add(ConcatOp(parts, op.dim.value.data, kind))


@convert.register
def _(op: tensor.CollapseShapeOp, values: Values) -> None:
    groups = _groups(op.reassociation)
    ones = _ones(groups, shape(op.src))
    if ones is not None:
        values[op.result] = values.squeeze(values.whole(op.src), ones)
        return
    # 0 keeps an extent, which is right where nothing before it has moved.
    kept = [group == [axis] for axis, group in enumerate(groups)]
    values[op.result] = _reshaped(values, op.src, op.result, kept)


@convert.register
def _(op: tensor.ExpandShapeOp, values: Values) -> None:
    groups = _groups(op.reassociation)
    ones = _ones(groups, shape(op.result))
    if ones is not None:
        values[op.result] = values.unsqueeze(values.whole(op.src), ones)
        return
    kept = [axis < len(groups) and groups[axis] == [axis] for axis in range(len(shape(op.result)))]
    values[op.result] = _reshaped(values, op.src, op.result, kept, tuple(op.dynamic_output_shape))


def _groups(reassociation: ArrayAttr[ArrayAttr[IntegerAttr]]) -> list[list[int]]:
    """The dimensions of the longer shape that are one of the shorter."""
    return [[entry.value.data for entry in group] for group in reassociation]


def _ones(groups: Sequence[Sequence[int]], extents: Sequence[int]) -> list[int] | None:
    """The dimensions of extent 1 of the longer shape, if all others have a group of their own."""
    ones: list[int] = []
    for group in groups:
        spare = [axis for axis in group if extents[axis] == 1]
        if len(spare) == len(group):
            spare = spare[:-1]
        if len(group) - len(spare) != 1:
            return None
        ones += spare
    return ones if groups else None


def _reshaped(
    values: Values,
    source: SSAValue,
    result: SSAValue,
    kept: Sequence[bool],
    sizes: Sequence[SSAValue] = (),
) -> SSAValue:
    kind = TensorType(element(result), shape(result))
    extents = [
        0 if extent == DYNAMIC_INDEX and keep else extent
        for extent, keep in zip(shape(result), kept, strict=True)
    ]
    if extents.count(DYNAMIC_INDEX) > 1:
        if not sizes:
            raise ValueError("more than one extent is not known before it runs")
        return values.reshape(values.whole(source), values.stack(shape(result), sizes), kind)
    left = [-1 if extent == DYNAMIC_INDEX else extent for extent in extents]
    return values.reshape(values.whole(source), left, kind)


@convert.register
def _(op: tensor.ExtractSliceOp, values: Values) -> None:
    if op.offsets or op.sizes or op.strides:
        raise ValueError("a slice by numbers that are computed is not supported")
    offsets, sizes, steps = (
        np.array(entries.get_values())
        for entries in (op.static_offsets, op.static_sizes, op.static_strides)
    )
    if len(sizes) != len(shape(op.result)):
        raise ValueError("a slice of fewer dimensions is not supported")
    kind = TensorType(element(op.result), shape(op.result))
    bounds = (
        values.vector(offsets.tolist()),
        values.vector((offsets + (sizes - 1) * steps + 1).tolist()),
    )
    sliced = SliceOp(values.whole(op.source), bounds, range(len(sizes)), steps.tolist(), kind)
    values[op.result] = values.add(sliced)


@convert.register
def _(op: BroadcastOp, values: Values) -> None:
    (result,) = op.results
    values[result] = values.unsqueeze(
        values.padded(values[op.input], len(shape(op.input))), op.dimensions.get_values()
    )


@convert.register
def _(op: ReduceOp, values: Values) -> None:
    axes, rank = op.dimensions.get_values(), len(shape(op.input))
    kept: Places = [axis for axis in range(rank) if axis not in axes]
    loops = _Loops(values, [op.input, op.init], [list(range(rank)), kept], set(axes), rank, 1)
    (result,) = op.results
    values[result] = loops.result(op.region.block, 1, 0)


@convert.register
def _(op: LinalgStructuredOperation, values: Values) -> None:
    if len(op.res) != len(op.outputs) or not op.res:
        raise ValueError("works on no tensors, or has no outputs; only tensors are supported")
    kinds = [entry.data for entry in op.get_iterator_types()]
    places = [_places(entry) for entry in op.get_indexing_maps()]
    axes = {axis for axis, kind in enumerate(kinds) if kind != IteratorType.PARALLEL}
    inputs = len(op.inputs)
    loops = _Loops(values, list(op.operands), places, axes, len(kinds), inputs)
    for number, result in enumerate(op.res):
        # torch-mlir computes indices beside a maximum, whether they are read or not.
        if result.first_use is not None:
            values[result] = loops.result(op.body.block, inputs + number, number)


def _places(attribute: AffineMapAttr) -> Places:
    """Raises a ValueError for maps that do not pick one loop, or the first entry, each."""
    places: Places = []
    for expression in attribute.data.results:
        if isinstance(expression, AffineDimExpr):
            places.append(expression.position)
        elif isinstance(expression, AffineConstantExpr) and expression.value == 0:
            places.append(None)
        else:
            raise ValueError(f"the indexing map {attribute.data} is not supported")
    loops = [place for place in places if place is not None]
    if len(set(loops)) < len(loops):
        raise ValueError(f"the indexing map {attribute.data} is not supported")
    return places


@dataclass(frozen=True)
class _Loops:
    """A structured operation: its old operands, by which loops they are read, what is reduced."""

    values: Values
    operands: list[SSAValue]
    places: list[Places]
    axes: set[int]
    count: int
    inputs: int

    def result(self, block: Block, output: int, number: int) -> SSAValue:
        """What becomes of a result, whose initial value is the operand `output`."""
        if not self.axes:
            body = Body(self.values, block, self.count, self._read)
            return self._placed(body.evaluate(body.yielded[number]), self.places[output])
        body = Body(self.values, block, self.count, self._read_input)
        kind, combined = body.combination(number, output)
        factors = _factors(combined) if kind == "add" else None
        if factors is not None and len(self.operands) == 3:
            total = self._product(factors)
        else:
            total = self._reduction(_REDUCTIONS[kind], body.evaluate(combined), output)
        initial = self.values[self.operands[output]]
        if _is_neutral(kind, constant(initial)):
            return total
        return self.values.elementwise(kind, total, initial)

    def _read_input(self, operand: int) -> SSAValue:
        if operand >= self.inputs:
            raise ValueError("a reduction by this body is not supported")
        return self._read(operand)

    def _read(self, operand: int) -> SSAValue:
        """An operand, such that it broadcasts over the loops."""
        old, places = self.operands[operand], self.places[operand]
        if not isinstance(old.type, TensorType):
            return Body(self.values, Block(), 0, self._read).evaluate(old)
        value = self.values[old]
        if not shape(value):
            return value
        if len(places) == self.count and all(p in (axis, None) for axis, p in enumerate(places)):
            fixed = [a for a, p in enumerate(places) if p is None]
            if any(shape(old)[axis] != 1 for axis in fixed):
                raise ValueError("takes one entry of a dimension that has more")
            return value
        value = self.values.padded(value, len(places))
        value = self.values.squeeze(value, [a for a, p in enumerate(places) if p is None])
        loops = [place for place in places if place is not None]
        return self._spread(value, loops, self.count)

    def _spread(self, value: SSAValue, loops: Sequence[int], count: int) -> SSAValue:
        """Dimensions that run along these loops, put where those are; leading ones may lack."""
        order = np.argsort(loops).tolist()
        value = self.values.transpose(value, order)
        first = min(loops, default=count)
        missing = [axis - first for axis in range(first, count) if axis not in loops]
        return self.values.unsqueeze(value, missing)

    def _placed(self, value: SSAValue, places: Places) -> SSAValue:
        """A tensor over the loops, as the output's map stores it."""
        if places == list(range(self.count)):
            return value
        if None in places or len(places) != self.count:
            raise ValueError("an output that does not run along all loops is not supported")
        order = [place for place in places if place is not None]
        return self.values.transpose(self.values.padded(value, self.count), order)

    def _extent(self, loop: int) -> int:
        for operand, places in zip(self.operands, self.places, strict=True):
            if loop in places:
                return shape(operand)[places.index(loop)]
        return DYNAMIC_INDEX

    def _reduction(self, kind: str, value: SSAValue, output: int) -> SSAValue:
        values, places = self.values, self.places[output]
        value = values.padded(value, self.count)
        axes = sorted(self.axes)
        if any(shape(value)[axis] == 1 != self._extent(axis) for axis in axes):
            raise ValueError("a reduction of what is the same along its dimension")
        left = [axis for axis in range(self.count) if axis not in self.axes]
        if places == [None if axis in self.axes else axis for axis in range(self.count)]:
            extents = [1 if axis in self.axes else n for axis, n in enumerate(shape(value))]
            result = TensorType(element(value), extents)
            return values.add(NnReduceOp(kind, value, axes, True, result))
        if sorted(place for place in places if place is not None) != left:
            raise ValueError("an output that does not run along all parallel loops")
        result = TensorType(element(value), [shape(value)[axis] for axis in left])
        value = values.add(NnReduceOp(kind, value, axes, False, result))
        order = [left.index(place) for place in places if place is not None]
        value = values.transpose(value, order)
        return values.unsqueeze(value, [axis for axis, p in enumerate(places) if p is None])

    def _product(self, factors: tuple[int, int]) -> SSAValue:
        """The product of two operands over the loop that only they have."""
        left, right, out = (
            [place for place in self.places[n] if place is not None] for n in (*factors, -1)
        )
        whole = sum(map(len, (left, right, out))) == sum(map(len, self.places))
        batch = [loop for loop in out if loop in left and loop in right]
        rows = [loop for loop in out if loop in left and loop not in right]
        columns = [loop for loop in out if loop in right and loop not in left]
        (k, *more) = self.axes
        fits = whole and not more and k in left and k in right
        if not fits or len(columns) > 1 or (batch and len(rows) > 1):
            raise ValueError("a product by these maps is not supported")
        values, (first, second) = self.values, factors
        lhs = self._ordered(self._factor(first, [*rows, k]), left, [*batch, *rows, k])
        rhs = self._ordered(self._factor(second, [k, *columns]), right, [*batch, k, *columns])
        if not rows:
            lhs = values.unsqueeze(lhs, [len(batch)])
        if not columns:
            rhs = values.unsqueeze(rhs, [len(batch) + 1])
        if constant(rhs) is not None and set(shape(rhs)[:-2]) == {1}:
            # One matrix for all of a batch: weights.
            rhs = values.squeeze(rhs, range(len(batch)))
        extents = [*broadcast([shape(lhs)[:-2], shape(rhs)[:-2]]), shape(lhs)[-2], shape(rhs)[-1]]
        kind = TensorType(element(self.operands[-1]), extents)
        result = values.add(MatmulOp(lhs, rhs, kind))
        if not columns:
            result = values.squeeze(result, [len(extents) - 1])
        if not rows:
            result = values.squeeze(result, [len(batch)])
        return self._ordered(result, [*batch, *rows, *columns], out)

    def _factor(self, operand: int, loops: list[int]) -> SSAValue:
        """An operand of a product in its type, in its full extents along these loops at least."""
        old, places = self.operands[operand], self.places[operand]
        value = self.values.padded(self.values[old], len(places))
        if any(shape(value)[axis] == 1 != shape(old)[axis] for axis in map(places.index, loops)):
            value = self.values.whole(old)
        return cast_to(self.values, value, element(self.operands[-1]))

    def _ordered(self, value: SSAValue, places: list[int], wanted: list[int]) -> SSAValue:
        return self.values.transpose(value, [places.index(loop) for loop in wanted])


def _factors(scalar: SSAValue) -> tuple[int, int] | None:
    """The numbers of the two inputs whose product this is; they may be cast to its type first."""
    if not isinstance(scalar.owner, arith.MulfOp | arith.MuliOp):
        return None
    left, right = map(_argument, scalar.owner.operands)
    return (left, right) if {left, right} == {0, 1} else None


def _argument(scalar: SSAValue) -> int:
    """The number of the block's argument that is cast to give a scalar; -1 for other ones."""
    while isinstance(scalar.owner, arith.ExtFOp | arith.ExtSIOp):
        scalar = scalar.owner.operands[0]
    return scalar.index if isinstance(scalar, BlockArgument) else -1


def _is_neutral(kind: str, initial: np.ndarray | None) -> bool:
    """Whether combining with this changes nothing."""
    if initial is None:
        return False
    if kind in ("add", "mul"):
        return bool(np.all(initial == (kind == "mul")))
    limits = np.finfo if initial.dtype.kind == "f" else np.iinfo
    least, most = limits(initial.dtype).min, limits(initial.dtype).max
    return bool(np.all(initial <= least) if kind == "max" else np.all(initial >= most))
