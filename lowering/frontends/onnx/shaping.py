# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ONNX's operators that move elements about, or ask for the shape → `nn`."""

import math

import numpy as np
from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType, i64
from xdsl.ir import SSAValue

from daqkf.dialects.nn import (
    ConcatOp,
    ExpandOp,
    GatherOp,
    ReduceOp,
    ReshapeOp,
    ShapeOp,
    SliceOp,
    SqueezeOp,
    TransposeOp,
    UnsqueezeOp,
)
from daqkf.dialects.nn.base import shape_of
from daqkf.dialects.nn.interpreter import onnx_slice
from daqkf.dialects.nn.ops import constant_of
from daqkf.lowering.frontends.onnx.graph import Array, Node


def reshape(node: Node) -> SSAValue | Array:
    """Reshape."""
    found, shape = node.array(0), node.array(1)
    if found is not None and shape is not None:
        return found.reshape(
            [found.shape[i] if extent == 0 else int(extent) for i, extent in enumerate(shape)]
        )
    return node.add(ReshapeOp(node.input(0), node.input(1), node.type))


def flatten(node: Node) -> SSAValue:
    """[Π of the extents before the axis, Π of the others]."""
    rank, axis = node.rank(0), int(node.attributes.get("axis", 1))
    axis = axis + rank if axis < 0 else axis
    kind = node.input(0).type
    assert isinstance(kind, TensorType)
    before = kind.get_shape()[:axis]
    if DYNAMIC_INDEX not in before:
        extents = node.vector([math.prod(before), -1])
    elif axis == 1:
        extents = node.vector([0, -1])
    else:
        extents = node.add(ShapeOp(node.input(0), TensorType(i64, [rank])))
        bounds = node.vector([0]), node.vector([axis])
        extents = node.add(SliceOp(extents, bounds, [0], [1], TensorType(i64, [axis])))
        extents = node.add(ReduceOp("prod", extents, [0], True, TensorType(i64, [1])))
        extents = node.add(ConcatOp([extents, node.vector([-1])], 0, TensorType(i64, [2])))
    return node.add(ReshapeOp(node.input(0), extents, node.type))


def transpose(node: Node) -> SSAValue | Array:
    """Transpose, by default with the dimensions reversed."""
    found = node.array(0)
    axes = node.attributes.get("perm")
    if found is not None:
        return np.ascontiguousarray(found.transpose(axes))
    order = list(axes) if axes is not None else list(reversed(range(node.rank(0))))
    return node.add(TransposeOp(node.input(0), order, node.type))


def unsqueeze(node: Node) -> SSAValue | Array:
    """Unsqueeze."""
    axes, found = node.integers(1, "axes"), node.array(0)
    if found is not None:
        return np.expand_dims(found, tuple(axes))
    return node.add(UnsqueezeOp(node.input(0), axes, node.type))


def squeeze(node: Node) -> SSAValue | Array:
    """Squeeze."""
    found = node.array(0)
    if found is not None:
        axes = node.integers(1, "axes", [i for i, n in enumerate(found.shape) if n == 1])
        return np.squeeze(found, tuple(axes))
    kind = node.input(0).type
    shape = kind.get_shape() if isinstance(kind, TensorType) else ()
    # Without axes all extents of 1 go, which must be known then.
    fixed = DYNAMIC_INDEX not in shape and isinstance(kind, TensorType)
    default = [axis for axis, extent in enumerate(shape) if extent == 1] if fixed else None
    return node.add(SqueezeOp(node.input(0), node.integers(1, "axes", default), node.type))


def gather(node: Node) -> SSAValue | Array:
    """Gather."""
    axis, arrays = int(node.attributes.get("axis", 0)), (node.array(0), node.array(1))
    if arrays[0] is not None and arrays[1] is not None:
        return np.asarray(np.take(arrays[0], arrays[1], axis=axis))
    extents = _extents(node.input(0))
    if extents is not None and arrays[1] is not None and axis in (0, -1):
        picked = np.asarray(np.take(extents, arrays[1]))
        if (picked != DYNAMIC_INDEX).all():
            return picked
    return node.add(GatherOp(node.input(0), node.input(1), axis, node.type))


def _extents(value: SSAValue) -> Array | None:
    """The extents that a value is, some of which may not be known."""
    shape = shape_of(value.owner.input) if isinstance(value.owner, ShapeOp) else None
    return None if shape is None else np.array(shape, np.int64)


def concat(node: Node) -> SSAValue | Array:
    """Concat."""
    axis, arrays = int(node.attributes["axis"]), [node.array(i) for i in range(len(node.names))]
    if all(array is not None for array in arrays):
        return np.concatenate([array for array in arrays if array is not None], axis)
    inputs = [node.input(index) for index in range(len(node.names))]
    return node.add(ConcatOp(inputs, axis, node.type))


def sliced(node: Node) -> SSAValue | Array:
    """Slice: bounds are attributes before opset 10, and inputs since."""
    if node.has(1):
        bounds = node.input(1), node.input(2)
        count = node.input(1).type
        assert isinstance(count, TensorType)
        if DYNAMIC_INDEX in count.get_shape() and not node.has(3):
            raise ValueError("the number of axes is not known")
        axes = node.integers(3, "axes", range(count.get_shape()[0]))
        steps = node.integers(4, "steps", [1] * len(axes))
    else:
        bounds = tuple(node.vector(node.integers(9, name)) for name in ("starts", "ends"))
        axes = node.integers(9, "axes", range(len(node.integers(9, "starts"))))
        steps = [1] * len(axes)
    rank = node.rank(0)
    axes = [axis % rank for axis in axes]
    found, (starts, ends) = node.array(0), (constant_of(bound) for bound in bounds)
    if found is not None and starts is not None and ends is not None:
        places = [slice(None)] * rank
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            places[axis] = onnx_slice(found.shape[axis], int(start), int(end), step)
        return np.ascontiguousarray(found[tuple(places)])
    extents = _extents(node.input(0))
    if extents is not None and starts is not None and ends is not None and len(axes) == 1:
        picked = extents[onnx_slice(len(extents), int(starts[0]), int(ends[0]), steps[0])]
        if (picked != DYNAMIC_INDEX).all():
            return picked
    return node.add(SliceOp(node.input(0), (bounds[0], bounds[1]), axes, steps, node.type))


def split(node: Node) -> tuple[SSAValue | Array, ...]:
    """Split, into slices."""
    axis, rank = int(node.attributes.get("axis", 0)), node.rank(0)
    axis %= rank
    count = len(node.node.output)
    sizes = node.integers(1, "split", ())
    if not sizes:
        kind = node.input(0).type
        extent = kind.get_shape()[axis] if isinstance(kind, TensorType) else DYNAMIC_INDEX
        if extent == DYNAMIC_INDEX:
            raise ValueError(f"the extent of axis {axis} is not known")
        share = -(-extent // count)
        sizes = [min(share, extent - share * part) for part in range(count)]
    ends = np.cumsum(sizes).tolist()
    found = node.array(0)
    if found is not None:
        parts = np.split(found, ends[:-1], axis)
        return tuple(np.ascontiguousarray(part) for part in parts)
    bounds = [
        (node.vector([end - size]), node.vector([end]))
        for size, end in zip(sizes, ends, strict=True)
    ]
    return tuple(
        node.add(SliceOp(node.input(0), bound, [axis], [1], node.type_of(part)))
        for part, bound in enumerate(bounds)
    )


def shape(node: Node) -> SSAValue | Array:
    """Shape, or the part of it from `start` to `end`."""
    kind, rank = node.input(0).type, node.rank(0)
    start, end = (int(node.attributes.get(*entry)) for entry in (("start", 0), ("end", rank)))
    first, last, _ = slice(start, end).indices(rank)
    if isinstance(kind, TensorType) and kind.has_static_shape():
        return np.array(kind.get_shape()[first:last], np.int64)
    extents = node.add(ShapeOp(node.input(0), TensorType(i64, [rank])))
    if (first, last) == (0, rank):
        return extents
    bounds = node.vector([first]), node.vector([last])
    return node.add(SliceOp(extents, bounds, [0], [1], node.type))


def expand(node: Node) -> SSAValue:
    """Expand."""
    return node.add(ExpandOp(node.input(0), node.input(1), node.type))
