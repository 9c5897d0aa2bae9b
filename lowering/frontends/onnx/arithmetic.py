# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ONNX's functions of elements, products and reductions → `nn`."""

import math
from collections.abc import Callable

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue

from daqkf.dialects.errors import from_extra
from daqkf.dialects.memory import require_memory
from daqkf.dialects.nn import (
    CastOp,
    ElementwiseOp,
    ExpandOp,
    LayerNormOp,
    MatmulOp,
    ReduceOp,
    SoftmaxOp,
    TransposeOp,
)
from daqkf.dialects.nn.elementwise import Function, apply_elementwise
from daqkf.dialects.nn.interpreter import element_dtype
from daqkf.lowering.frontends.onnx.graph import Array, Node

_SOFTMAX_OF_AXIS = 13
"""The opset since which softmax is along its axis alone, not over all dimensions from it on."""


def elementwise(kind: str) -> Callable[[Node], SSAValue | Array]:
    """Functions of each element; of constants, a constant."""

    def convert(node: Node) -> SSAValue | Array:
        count = Function(kind).operands
        arrays = [node.array(index) for index in range(count)]
        if all(array is not None for array in arrays):
            found = [array for array in arrays if array is not None]
            _require_numbers(*found)
            count = math.prod(np.broadcast_shapes(*(array.shape for array in found)))
            require_memory(count * max(array.itemsize for array in found), "its constant result")
            return np.asarray(apply_elementwise(kind, found))
        inputs = [node.input(index) for index in range(count)]
        return node.add(ElementwiseOp(kind, inputs, node.type))

    return convert


def _require_numbers(*arrays: Array) -> None:
    """Raise a ValueError for elements that are not NumPy's own, of which it has other sums."""
    for array in arrays:
        if array.dtype.kind not in "biuf" or array.dtype == np.float16:
            raise ValueError(f"elements of {array.dtype} are not computed with")


def variadic(kind: str) -> Callable[[Node], SSAValue]:
    """Functions of two or more tensors, applied to two at a time."""

    def convert(node: Node) -> SSAValue:
        result = node.input(0)
        for index in range(1, len(node.names)):
            result = node.add(ElementwiseOp(kind, [result, node.input(index)], node.type))
        return result

    return convert


def matmul(node: Node) -> SSAValue:
    """MatMul."""
    return node.add(MatmulOp(node.input(0), node.input(1), node.type))


def gemm(node: Node) -> SSAValue:
    """alpha·A'·B' + beta·C; constant operands are transposed and scaled here."""
    alpha, beta = (float(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    operands: list[SSAValue] = []
    for index, flag in enumerate(("transA", "transB")):
        array, turned = node.array(index), bool(node.attributes.get(flag, 0))
        if array is not None:
            array = np.ascontiguousarray(array.T if turned else array)
            array = array * array.dtype.type(alpha) if index == 1 and alpha != 1 else array
            operands.append(node.graph.constant(array, node.names[index]))
            continue
        value = node.input(index)
        if turned:
            kind = value.type
            assert isinstance(kind, TensorType)
            turned_type = TensorType(kind.element_type, kind.get_shape()[::-1])
            value = node.add(TransposeOp(value, [1, 0], turned_type))
        operands.append(value)
    result = node.add(MatmulOp(operands[0], operands[1], node.type))
    if node.array(1) is None:
        result = _scaled(node, result, alpha)
    if node.has(2):
        bias = node.array(2)
        addend = (
            _scaled(node, node.input(2), beta)
            if bias is None
            else node.graph.constant(bias * bias.dtype.type(beta), node.names[2])
        )
        result = node.add(ElementwiseOp("add", [result, addend], node.type), f"{node.label}.bias")
    return result


def _scaled(node: Node, value: SSAValue, factor: float) -> SSAValue:
    if factor == 1:
        return value
    kind = value.type
    assert isinstance(kind, TensorType)
    scale = np.array(factor, element_dtype(kind.element_type))
    return node.add(
        ElementwiseOp("mul", [value, node.graph.constant(scale, f"{node.label}.factor")], kind)
    )


def clip(node: Node) -> SSAValue:
    """Bounds are attributes before opset 11, and inputs that may be missing since."""
    result = node.input(0)
    for index, (bound, kind) in enumerate((("min", "max"), ("max", "min")), start=1):
        if bound in node.attributes:
            array = np.array(node.attributes[bound], np.float32)
            limit = node.graph.constant(array, f"{node.label}.{bound}")
        elif node.has(index):
            limit = node.input(index)
        else:
            continue
        result = node.add(ElementwiseOp(kind, [result, limit], node.type))
    return result


def layer_norm(node: Node) -> SSAValue:
    """LayerNormalization over the last dimension."""
    axis = int(node.attributes.get("axis", -1))
    if axis not in (-1, node.rank(0) - 1):
        raise ValueError(f"normalises from axis {axis} on; only the last one is supported")
    if node.has(2):
        beta = node.input(2)
    else:
        beta = node.graph.constant(np.zeros(1, np.float32), f"{node.label}.beta")
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    return node.add(LayerNormOp(node.input(0), node.input(1), beta, epsilon))


def gelu(node: Node) -> SSAValue:
    """Gelu, exact or by tanh."""
    approximate = node.attributes.get("approximate", b"none")
    kind = "gelu_tanh" if approximate == b"tanh" else "gelu"
    return node.add(ElementwiseOp(kind, [node.input(0)], node.type))


def softmax(node: Node) -> SSAValue:
    """Softmax along one axis."""
    axis = int(node.attributes.get("axis", 1 if node.graph.opset < _SOFTMAX_OF_AXIS else -1))
    if node.graph.opset < _SOFTMAX_OF_AXIS and axis not in (-1, node.rank(0) - 1):
        raise ValueError(f"of all dimensions from {axis} on, as before opset 13, not supported")
    return node.add(SoftmaxOp(node.input(0), axis))


def reduce(kind: str) -> Callable[[Node], SSAValue | Array]:
    """A reduction along axes, all of them by default."""

    def convert(node: Node) -> SSAValue | Array:
        axes = node.integers(1, "axes", ())
        if not axes and node.attributes.get("noop_with_empty_axes", 0):
            return identity(node)
        axes = axes or range(node.rank(0))
        keep = bool(node.attributes.get("keepdims", 1))
        return node.add(ReduceOp(kind, node.input(0), axes, keep, node.type))

    return convert


def cast(node: Node) -> SSAValue | Array:
    """Cast: the same numbers in another element type."""
    with from_extra("onnx"):
        from onnx import helper

    found, dtype = node.array(0), helper.tensor_dtype_to_np_dtype(node.attributes["to"])
    _require_numbers(np.empty(0, dtype))
    if found is not None:
        _require_numbers(found)
        return found.astype(dtype)
    return node.add(CastOp(node.input(0), node.type))


def constant(node: Node) -> Array:
    """Constant, by one of its attributes."""
    (name, value), *_ = node.attributes.items()
    if name == "value":
        return node.graph.read(value)
    kinds = {"value_float": np.float32, "value_floats": np.float32}
    kinds |= {"value_int": np.int64, "value_ints": np.int64}
    if name not in kinds:
        raise ValueError(f"a constant by {name} is not supported")
    return np.array(value, kinds[name])


def constant_of_shape(node: Node) -> SSAValue | Array:
    """ConstantOfShape: one value in extents that may be computed."""
    value = node.attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else node.graph.read(value)
    shape = node.array(0)
    if shape is not None:
        size = math.prod(int(extent) for extent in shape) * fill.dtype.itemsize
        require_memory(size, "a constant of this shape")
        return np.full([int(extent) for extent in shape], fill[0], fill.dtype)
    single = node.graph.constant(fill, f"{node.label}.value")
    return node.add(ExpandOp(single, node.input(0), node.type))


def dropout(node: Node) -> SSAValue | Array:
    """Dropout, which does nothing but in training."""
    training = node.array(2) if node.has(2) else np.array(False)
    if training is None or training.any():
        raise ValueError("training is not supported")
    return identity(node)


def identity(node: Node) -> SSAValue | Array:
    """Identity: what it reads."""
    found = node.array(0)
    return node.input(0) if found is None else found
