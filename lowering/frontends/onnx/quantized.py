# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ONNX's operators of quantised files → `nn`."""

import numpy as np
from xdsl.dialects.builtin import IntegerType, TensorType
from xdsl.ir import SSAValue

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
    if index == 0 and (offset is None or offset.size > 1) and node.rank(zero):
        raise ValueError("a zero point for each row is not supported")
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
    """QuantizeLinear and DequantizeLinear; constants are scaled up here."""
    axis = int(node.attributes.get("axis", 1))
    if node.has(2):
        zero = node.input(2)
    else:
        # Quantised numbers are uint8 then; what is scaled up may be of another type.
        kind = np.uint8 if op is QuantizeOp else element_dtype(element_of(node.input(0)))
        zero = node.graph.constant(np.zeros((), kind), f"{node.label}.zero_point")
    arrays = [node.array(index) for index in range(3)]
    if op is DequantizeOp and arrays[0] is not None and arrays[1] is not None:
        offset = arrays[2] if arrays[2] is not None else np.zeros((), np.int32)
        shape = [1] * arrays[0].ndim
        if arrays[1].size > 1:
            shape[axis] = -1
        scale, offset = arrays[1].reshape(shape), offset.astype(np.int32)
        offset = offset.reshape(shape) if offset.size > 1 else offset.reshape(())
        scale = scale if arrays[0].ndim else scale.reshape(())
        return ((arrays[0].astype(np.int32) - offset) * scale).astype(np.float32)
    rank = node.rank(0)
    return node.add(op(node.input(0), (node.input(1), zero), axis % rank if rank else 0, node.type))


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
