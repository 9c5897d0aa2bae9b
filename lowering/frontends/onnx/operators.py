# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What each ONNX operator becomes: `nn` operations, or a constant if all it reads are."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    IntegerType,
    TensorType,
    i64,
)
from xdsl.ir import SSAValue

from daqkf.dialects.nn import (
    CastOp,
    ConcatOp,
    DequantizeOp,
    ElementwiseOp,
    ExpandOp,
    GatherOp,
    LayerNormOp,
    MatmulOp,
    QuantizeOp,
    ReduceOp,
    ReshapeOp,
    ShapeOp,
    SliceOp,
    SoftmaxOp,
    SqueezeOp,
    TransposeOp,
    UnsqueezeOp,
)
from daqkf.dialects.nn.base import element_of
from daqkf.dialects.nn.elementwise import REDUCTIONS
from daqkf.dialects.nn.interpreter import element_dtype
from daqkf.lowering.frontends.onnx.graph import Node

Array = np.ndarray[Any, Any]

_SOFTMAX_OF_AXIS = 13
"""The opset since which softmax is along its axis alone, not over all dimensions from it on."""


def _elementwise(kind: str, arity: int | None = None) -> Callable[[Node], SSAValue | Array]:
    def convert(node: Node) -> SSAValue | Array:
        from daqkf.dialects.nn.elementwise import ARITY, apply_elementwise

        count = arity or ARITY[kind]
        arrays = [node.array(index) for index in range(count)]
        if all(array is not None for array in arrays):
            return np.asarray(apply_elementwise(kind, tuple(a for a in arrays if a is not None)))
        inputs = [node.input(index) for index in range(count)]
        return node.add(ElementwiseOp(kind, inputs, node.type))

    return convert


def _variadic(kind: str) -> Callable[[Node], SSAValue]:
    def convert(node: Node) -> SSAValue:
        result = node.input(0)
        for index in range(1, len(node.names)):
            result = node.add(ElementwiseOp(kind, [result, node.input(index)], node.type))
        return result

    return convert


def _dropout(node: Node) -> SSAValue | Array:
    training = node.array(2) if node.has(2) else np.array(False)
    if training is None or training.any():
        raise ValueError("training is not supported")
    return _identity(node)


def _identity(node: Node) -> SSAValue | Array:
    found = node.array(0)
    return node.input(0) if found is None else found


def _constant(node: Node) -> Array:
    (name, value), *_ = node.attributes.items()
    if name == "value":
        return node.graph.read(value)
    kinds = {"value_float": np.float32, "value_floats": np.float32}
    kinds |= {"value_int": np.int64, "value_ints": np.int64}
    if name not in kinds:
        raise ValueError(f"a constant by {name} is not supported")
    return np.array(value, kinds[name])


def _constant_of_shape(node: Node) -> SSAValue | Array:
    value = node.attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else node.graph.read(value)
    shape = node.array(0)
    if shape is not None:
        return np.full([int(extent) for extent in shape], fill[0], fill.dtype)
    single = node.graph.constant(fill, f"{node.label}.value")
    return node.add(ExpandOp(single, node.input(0), node.type))


def _cast(node: Node) -> SSAValue | Array:
    from onnx import helper

    found = node.array(0)
    if found is not None:
        return found.astype(helper.tensor_dtype_to_np_dtype(node.attributes["to"]))
    return node.add(CastOp(node.input(0), node.type))


def _matmul(node: Node) -> SSAValue:
    return node.add(MatmulOp(node.input(0), node.input(1), node.type))


def _gemm(node: Node) -> SSAValue:
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


def _matmul_integer(node: Node) -> SSAValue:
    return node.add(MatmulOp(_wide(node, 0, 2), _wide(node, 1, 3), node.type))


def _quantization(node: Node, op: type[QuantizeOp | DequantizeOp]) -> SSAValue | Array:
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


def _dynamic_quantize(node: Node) -> tuple[SSAValue, SSAValue, SSAValue]:
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


def _layer_norm(node: Node) -> SSAValue:
    axis = int(node.attributes.get("axis", -1))
    if axis not in (-1, node.rank(0) - 1):
        raise ValueError(f"normalises from axis {axis} on; only the last one is supported")
    if node.has(2):
        beta = node.input(2)
    else:
        beta = node.graph.constant(np.zeros(1, np.float32), f"{node.label}.beta")
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    return node.add(LayerNormOp(node.input(0), node.input(1), beta, epsilon))


def _gelu(node: Node) -> SSAValue:
    approximate = node.attributes.get("approximate", b"none")
    kind = "gelu_tanh" if approximate == b"tanh" else "gelu"
    return node.add(ElementwiseOp(kind, [node.input(0)], node.type))


def _softmax(node: Node) -> SSAValue:
    axis = int(node.attributes.get("axis", 1 if node.graph.opset < _SOFTMAX_OF_AXIS else -1))
    if node.graph.opset < _SOFTMAX_OF_AXIS and axis not in (-1, node.rank(0) - 1):
        raise ValueError(f"of all dimensions from {axis} on, as before opset 13, not supported")
    return node.add(SoftmaxOp(node.input(0), axis))


def _reduce(kind: str) -> Callable[[Node], SSAValue | Array]:
    def convert(node: Node) -> SSAValue | Array:
        axes = node.integers(1, "axes", ())
        if not axes and node.attributes.get("noop_with_empty_axes", 0):
            return _identity(node)
        axes = axes or range(node.rank(0))
        keep = bool(node.attributes.get("keepdims", 1))
        return node.add(ReduceOp(kind, node.input(0), axes, keep, node.type))

    return convert


def _reshape(node: Node) -> SSAValue | Array:
    found, shape = node.array(0), node.array(1)
    if found is not None and shape is not None:
        return found.reshape(
            [found.shape[i] if extent == 0 else int(extent) for i, extent in enumerate(shape)]
        )
    return node.add(ReshapeOp(node.input(0), node.input(1), node.type))


def _flatten(node: Node) -> SSAValue:
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


def _transpose(node: Node) -> SSAValue | Array:
    found = node.array(0)
    axes = node.attributes.get("perm")
    if found is not None:
        return np.ascontiguousarray(found.transpose(axes))
    order = list(axes) if axes is not None else list(reversed(range(node.rank(0))))
    return node.add(TransposeOp(node.input(0), order, node.type))


def _unsqueeze(node: Node) -> SSAValue | Array:
    axes, found = node.integers(1, "axes"), node.array(0)
    if found is not None:
        return np.expand_dims(found, tuple(axes))
    return node.add(UnsqueezeOp(node.input(0), axes, node.type))


def _squeeze(node: Node) -> SSAValue | Array:
    found = node.array(0)
    if found is not None:
        axes = node.integers(1, "axes", [i for i, n in enumerate(found.shape) if n == 1])
        return np.squeeze(found, tuple(axes))
    return node.add(SqueezeOp(node.input(0), node.integers(1, "axes"), node.type))


def _gather(node: Node) -> SSAValue | Array:
    axis, arrays = int(node.attributes.get("axis", 0)), (node.array(0), node.array(1))
    if arrays[0] is not None and arrays[1] is not None:
        return np.asarray(np.take(arrays[0], arrays[1], axis=axis))
    return node.add(GatherOp(node.input(0), node.input(1), axis, node.type))


def _concat(node: Node) -> SSAValue | Array:
    axis, arrays = int(node.attributes["axis"]), [node.array(i) for i in range(len(node.names))]
    if all(array is not None for array in arrays):
        return np.concatenate([array for array in arrays if array is not None], axis)
    inputs = [node.input(index) for index in range(len(node.names))]
    return node.add(ConcatOp(inputs, axis, node.type))


def _slice(node: Node) -> SSAValue | Array:
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
    return node.add(SliceOp(node.input(0), (bounds[0], bounds[1]), axes, steps, node.type))


def _split(node: Node) -> tuple[SSAValue, ...]:
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
    bounds = [
        (node.vector([end - size]), node.vector([end]))
        for size, end in zip(sizes, ends, strict=True)
    ]
    return tuple(
        node.add(SliceOp(node.input(0), bound, [axis], [1], node.type_of(part)))
        for part, bound in enumerate(bounds)
    )


def _clip(node: Node) -> SSAValue:
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


def _shape(node: Node) -> SSAValue | Array:
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


def _expand(node: Node) -> SSAValue:
    return node.add(ExpandOp(node.input(0), node.input(1), node.type))


ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "Cast": ("to", "saturate"),
    "Clip": ("min", "max"),
    "Concat": ("axis",),
    "Constant": ("value", "value_float", "value_floats", "value_int", "value_ints"),
    "ConstantOfShape": ("value",),
    "DequantizeLinear": ("axis",),
    "Dropout": ("ratio", "seed"),
    "Flatten": ("axis",),
    "Gather": ("axis",),
    "Gelu": ("approximate",),
    "Gemm": ("alpha", "beta", "transA", "transB"),
    "LayerNormalization": ("axis", "epsilon", "stash_type"),
    "QuantizeLinear": ("axis", "saturate"),
    **{
        f"Reduce{kind.capitalize()}": ("axes", "keepdims", "noop_with_empty_axes")
        for kind in REDUCTIONS
    },
    "Shape": ("start", "end"),
    "Slice": ("starts", "ends", "axes"),
    "Softmax": ("axis",),
    "Split": ("axis", "num_outputs", "split"),
    "Squeeze": ("axes",),
    "Transpose": ("perm",),
    "Unsqueeze": ("axes",),
}
"""Attributes of operators that are heeded, or that change nothing here."""

Converted = SSAValue | Array | tuple[SSAValue, ...]

OPERATORS: Mapping[str, Callable[[Node], Converted]] = {
    **{
        operator: _elementwise(kind)
        for operator, kind in {
            "Abs": "abs",
            "Erf": "erf",
            "Exp": "exp",
            "Log": "log",
            "Neg": "neg",
            "Not": "not",
            "Reciprocal": "reciprocal",
            "Sqrt": "sqrt",
            "Relu": "relu",
            "Sigmoid": "sigmoid",
            "Tanh": "tanh",
            "Swish": "silu",
            "Add": "add",
            "Sub": "sub",
            "Mul": "mul",
            "Div": "div",
            "Pow": "pow",
            "And": "and",
            "Or": "or",
            "Equal": "equal",
            "Greater": "greater",
            "GreaterOrEqual": "greater_equal",
            "Less": "less",
            "LessOrEqual": "less_equal",
            "Where": "where",
        }.items()
    },
    "Max": _variadic("max"),
    "Min": _variadic("min"),
    "Sum": _variadic("add"),
    **{f"Reduce{kind.capitalize()}": _reduce(kind) for kind in REDUCTIONS},
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DequantizeLinear": lambda node: _quantization(node, DequantizeOp),
    "Dropout": _dropout,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Identity": _identity,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul_integer,
    "QuantizeLinear": lambda node: _quantization(node, QuantizeOp),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
