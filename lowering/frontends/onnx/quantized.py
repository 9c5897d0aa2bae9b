# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ONNX's operators of quantised files → `nn`."""

from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerType, TensorType, f32
from xdsl.ir import SSAValue

from daqkf.dialects.errors import from_extra
from daqkf.dialects.nn import (
    CastOp,
    DequantizeOp,
    ElementwiseOp,
    MatmulOp,
    QuantizeOp,
    ReduceOp,
)
from daqkf.dialects.nn.base import element_of
from daqkf.dialects.nn.interpreter import element_dtype
from daqkf.lowering.frontends.onnx.graph import Array, Node


def _wide(node: Node, index: int, zero: int) -> SSAValue:
    """An int8 operand minus its zero point, as int32."""
    value, array = node.input(index), node.array(index)
    offset = node.array(zero) if node.has(zero) else np.zeros((), np.int32)
    if index == 0 and offset is None and node.rank(zero):
        raise ValueError("a zero point for each row that is computed at run time is not supported")
    if index == 0 and offset is not None and offset.size > 1 and offset.ndim == 1:
        offset = offset[:, np.newaxis]  # of the rows, where those of the other side are of columns
    if offset is None:
        kind = value.type
        assert isinstance(kind, TensorType)
        wide = TensorType(IntegerType(32), kind.get_shape())
        single = node.input(zero).type
        assert isinstance(single, TensorType)
        casts = [
            node.add(CastOp(value, wide)),
            node.add(CastOp(node.input(zero), TensorType(IntegerType(32), single.get_shape()))),
        ]
        return node.add(ElementwiseOp("sub", casts, wide))
    if array is not None:
        offset = offset.astype(np.int32)
        return node.graph.constant(array.astype(np.int32) - offset, node.names[index])
    kind = value.type
    assert isinstance(kind, TensorType)
    wide = TensorType(IntegerType(32), kind.get_shape())
    result = node.add(CastOp(value, wide))
    if offset.any():
        subtrahend = node.graph.constant(offset.astype(np.int32), f"{node.label}.zero_point")
        result = node.add(ElementwiseOp("sub", [result, subtrahend], wide))
    return result


def matmul_integer(node: Node) -> SSAValue:
    """MatMulInteger: a product of int8 operands minus their zero points."""
    return node.add(MatmulOp(_wide(node, 0, 2), _wide(node, 1, 3), node.type))


def quantization(node: Node, op: type[QuantizeOp | DequantizeOp]) -> SSAValue | Array:
    """QuantizeLinear and DequantizeLinear; of constants, what they give."""
    arrays = [node.array(index) for index in range(3)]
    axis, block = int(node.attributes.get("axis", 1)), int(node.attributes.get("block_size", 0))
    if arrays[0] is not None and arrays[1] is not None and (arrays[2] is not None) == node.has(2):
        if op is QuantizeOp:
            return quantized(arrays[0], arrays[1], _zero_of(node, arrays[2]), axis, block)
        return dequantized(arrays[0], arrays[1], arrays[2], axis, block)
    if block:
        raise ValueError("attribute 'block_size' is supported for constants alone")
    if node.has(2):
        zero = node.input(2)
    else:
        # What is scaled up may be of another type.
        kind = (
            _zero_of(node, None).dtype
            if op is QuantizeOp
            else element_dtype(element_of(node.input(0)))
        )
        zero = node.graph.constant(np.zeros((), kind), f"{node.label}.zero_point")
    rank = node.rank(0)
    return node.add(op(node.input(0), (node.input(1), zero), axis % rank if rank else 0, node.type))


def _zero_of(node: Node, given: Array | None) -> Array:
    """The zero point of QuantizeLinear, whose type is that of the result; by default uint8."""
    with from_extra("onnx"):
        from onnx import helper

    if given is not None:
        return given
    code = int(node.attributes.get("output_dtype", 0))
    return np.zeros((), helper.tensor_dtype_to_np_dtype(code) if code else np.uint8)


def dequantized(
    levels: Array, scale: Array, zero: Array | None, axis: int = 1, block: int = 0
) -> Array:
    """`(levels - zero) · scale` as float32, of levels of any type that ONNX has.

    Scales and zero points are for all, [N] along an axis, or for blocks of so many along it.
    """
    wide = _wide_array(levels)
    if zero is not None:
        wide = wide - _spread(_wide_array(zero), levels.shape, axis, block)
    return (wide * _spread(_wide_array(scale), levels.shape, axis, block)).astype(np.float32)


def quantized(values: Array, scale: Array, zero: Array, axis: int = 1, block: int = 0) -> Array:
    """`values / scale + zero`, rounded to the type of the zero point and clipped to its range."""
    import ml_dtypes

    levels = values / _spread(scale, values.shape, axis, block)
    offset = _spread(_wide_array(zero), values.shape, axis, block)
    if _is_integer(zero.dtype):
        info = ml_dtypes.iinfo(zero.dtype)
        levels = np.rint(levels) + offset
        return np.clip(levels, float(info.min), float(info.max)).astype(zero.dtype)
    most = float(ml_dtypes.finfo(zero.dtype).max)
    return np.clip(levels + offset, -most, most).astype(zero.dtype)


def _wide_array(array: Array) -> Array:
    """The numbers that elements of few bits stand for, in a type that has room for differences."""
    if array.dtype.kind == "f" and array.dtype.itemsize >= 4:
        return array
    return array.astype(np.int64 if _is_integer(array.dtype) else np.float32)


def _is_integer(dtype: np.dtype[Any]) -> bool:
    import ml_dtypes

    try:
        ml_dtypes.iinfo(dtype)
    except ValueError:
        return False
    return True


def _spread(factors: Array, shape: tuple[int, ...], axis: int, block: int) -> Array:
    """Factors for all, along an axis, or for blocks along it, ready to broadcast."""
    if factors.size == 1 and not block:
        return factors.reshape(())
    if block:
        repeated = np.repeat(factors, block, axis)
        return repeated.take(np.arange(shape[axis]), axis)
    extents = [1] * len(shape)
    extents[axis] = -1
    return factors.reshape(extents)


def qlinear_matmul(node: Node) -> SSAValue:
    """QLinearMatMul: the product of what two operands stand for, quantised."""
    lhs, rhs = real_operand(node, 0, last=False), real_operand(node, 3, last=True)
    kind = node.type
    assert isinstance(kind, TensorType)
    product = node.add(MatmulOp(lhs, rhs, TensorType(f32, kind.get_shape())))
    rank = len(kind.get_shape())
    return node.add(QuantizeOp(product, (node.input(6), node.input(7)), rank - 1, kind))


def real_operand(node: Node, index: int, *, last: bool) -> SSAValue:
    """What a quantised operand, its scale and its zero point stand for.

    Vectors of scales are for the rows of the first operand, and for the columns of the last.
    """
    arrays = [node.array(index + part) for part in range(3)]
    rank = node.rank(index)
    axis = max(rank - 1 if last else rank - 2, 0)
    if arrays[0] is not None and arrays[1] is not None and arrays[2] is not None:
        real = dequantized(arrays[0], arrays[1], arrays[2], axis)
        return node.graph.constant(real, node.names[index])
    kind = node.input(index).type
    assert isinstance(kind, TensorType)
    factors = node.input(index + 1), node.input(index + 2)
    result = TensorType(f32, kind.get_shape())
    return node.add(DequantizeOp(node.input(index), factors, axis, result))


def dynamic_quantize(node: Node) -> tuple[SSAValue, SSAValue, SSAValue]:
    """uint8 over the range of the tensor itself, which 0 is in; its scale and its zero point."""
    x = node.input(0)
    kinds = [node.type_of(index) for index in range(3)]
    zero = node.graph.constant(np.zeros((), np.float32), f"{node.label}.zero")
    unit = node.graph.constant(np.ones((), np.float32), f"{node.label}.unit")
    count = node.graph.constant(np.array(255, np.float32), f"{node.label}.steps")
    level = node.graph.constant(np.zeros((), np.uint8), f"{node.label}.level")

    def scalar(kind: str, *inputs: SSAValue) -> SSAValue:
        result = TensorType(IntegerType(1), []) if kind == "equal" else zero.type
        return node.add(ElementwiseOp(kind, inputs, result))

    low, high = (
        scalar(kind, node.add(ReduceOp(kind, x, range(node.rank(0)), False, zero.type)), zero)
        for kind in ("min", "max")
    )
    step = scalar("div", scalar("sub", high, low), count)
    scale = scalar("where", scalar("equal", step, zero), unit, step)
    point = node.add(QuantizeOp(scalar("neg", low), (scale, level), 0, kinds[2]))
    return node.add(QuantizeOp(x, (scale, point), 0, kinds[0])), scale, point
