# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operators of quantised files that ONNX itself does not have → `nn`.

onnxruntime's MatMulNBits, and Quant and BipolarQuant of QONNX, which Brevitas and FINN write.
"""

import math
from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerType, Signedness, TensorType
from xdsl.ir import SSAValue

from daqkf.dialects.errors import from_extra
from daqkf.dialects.nn import DequantizeOp, ElementwiseOp, MatmulOp, QuantizeOp
from daqkf.dialects.nn.base import element_of, shape_of
from daqkf.dialects.nn.interpreter import element_dtype
from daqkf.lowering.frontends.onnx.graph import Array, Node, operator_name

_WIDEST = 16
"""Bits of QONNX's numbers at most: more are not told apart by float32."""


def infer_shapes(model: Any) -> Any:
    """The model with the shapes of all values, also behind operators that ONNX does not know."""
    with from_extra("onnx"):
        from onnx import TensorProto, helper

    known = {"qonnx.Quant", "qonnx.BipolarQuant", "com.microsoft.MatMulNBits"}
    if not known & {operator_name(node) for node in model.graph.node}:
        return _inferred(model)
    standard = type(model)()
    standard.CopyFrom(model)
    for position, node in enumerate(standard.graph.node):
        if operator_name(node) not in known:
            continue
        inputs, extents = node.input[:1], {entry.name: entry.i for entry in node.attribute}
        if node.op_type == "MatMulNBits":
            shape = [extents.get("K", 0), extents.get("N", 0)]
            weights = f"{node.name}.{position}.weights"
            standard.graph.input.append(
                helper.make_tensor_value_info(weights, TensorProto.FLOAT, shape)
            )
            inputs = [*inputs, weights]
        kind = "Identity" if len(inputs) == 1 else "MatMul"
        node.CopyFrom(helper.make_node(kind, inputs, node.output, node.name))
    inferred = _inferred(standard)
    del model.graph.value_info[:]
    model.graph.value_info.extend(inferred.graph.value_info)
    return model


def _inferred(model: Any) -> Any:
    """The model with the shapes that ONNX infers.

    Where that fails, shapes are left out from there on: it is for the node to say why, which ONNX
    does not name, or for onnxruntime to know better.
    """
    with from_extra("onnx"):
        from onnx import shape_inference

    try:
        return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except shape_inference.InferenceError:
        return shape_inference.infer_shapes(model, data_prop=True)


def matmul_of_few_bits(node: Node) -> SSAValue:
    """MatMulNBits: a product with weights [N, K] of 2, 4 or 8 bits, in blocks along K."""
    weights, x = _blocks(node), node.input(0)
    shape = shape_of(x)
    if not shape:
        raise ValueError("the rank of its input is not known")
    kind = TensorType(element_of(x), [*shape[:-1], weights.shape[1]])
    constant = node.graph.constant(weights, node.names[1])
    result = node.add(MatmulOp(x, constant, kind))
    if node.has(5):
        addition = ElementwiseOp("add", [result, node.input(5)], kind)
        result = node.add(addition, f"{node.label}.bias")
    return result


def _blocks(node: Node) -> Array:
    """The weights [K, N] of MatMulNBits, float32: (level - zero point) · scale of its block.

    The block of row k is `g_idx[k]` where that is given, and k / block_size otherwise. With g_idx,
    onnxruntime's CPU provider passes over zero points (seen in 1.32), which is not heeded here.

    Raises:
        ValueError: the file does not have them in this form.
        OnnxImportError: there are not as many numbers as the attributes say.
    """
    rows, columns, bits, block = (
        int(node.attributes.get(name, default))
        for name, default in (("K", 0), ("N", 0), ("bits", 4), ("block_size", 0))
    )
    packed, scales, zeros, groups = (node.array(index) for index in range(1, 5))
    if packed is None or scales is None or (zeros is None) == node.has(3):
        raise ValueError("weights, scales or zero points are computed at run time")
    if (groups is None) == node.has(4):
        raise ValueError("the blocks of rows (g_idx) are computed at run time")
    if bits not in (2, 4, 8) or block < 1 or packed.dtype != np.uint8:
        raise ValueError(f"weights of {bits} bits in blocks of {block} are not supported")
    blocks = -(-rows // block)
    width = -(-block * bits // 8)
    _require_size(node, "weights", packed, (columns, blocks, width))
    _require_size(node, "scales", scales, (columns, blocks))
    levels = _unpacked(packed.reshape(columns, blocks * width), bits)
    offsets = np.full((columns, blocks), 1 << (bits - 1), np.float32)
    if zeros is not None:
        whole = zeros.dtype == np.uint8
        shape = columns, -(-blocks * bits // 8) if whole else blocks
        _require_size(node, "zero points", zeros, shape)
        given = _unpacked(zeros.reshape(shape), bits) if whole else zeros.reshape(shape)
        offsets = given[:, :blocks].astype(np.float32)
    steps = scales.reshape(columns, blocks).astype(np.float32)
    levels = levels.reshape(columns, blocks, -1)[:, :, :block].reshape(columns, -1)[:, :rows]
    places = np.arange(rows) // block if groups is None else groups.reshape(-1)[:rows]
    if len(places) < rows or not ((places >= 0) & (places < blocks)).all():
        raise node.error(f"g_idx does not give each of {rows} rows one of {blocks} blocks")
    levels -= offsets[:, places]
    levels *= steps[:, places]
    return np.ascontiguousarray(levels.T)


def _require_size(node: Node, what: str, array: Array, shape: tuple[int, ...]) -> None:
    """Check that there are as many numbers as a shape has.

    Raises:
        OnnxImportError: there are more or fewer.
    """
    if min(shape) < 1 or array.size != math.prod(shape):
        raise node.error(f"{what} of shape {list(array.shape)} are not {list(shape)}")


def _unpacked(packed: Array, bits: int) -> Array:
    """Bytes [N, B] as numbers of few bits [N, 8·B / bits], the lowest bits first, as float32."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (packed[:, :, np.newaxis] >> shifts) & np.uint8((1 << bits) - 1)
    return parts.reshape(len(packed), -1).astype(np.float32)


def quant(node: Node) -> SSAValue | Array:
    """Quant: rounded to levels of so many bits, and scaled up again."""
    scale, zero, widths = (node.array(index) for index in range(1, 4))
    if scale is None or zero is None or widths is None:
        raise ValueError("scales, zero points or bits are computed at run time")
    mode = node.attributes.get("rounding_mode", b"ROUND")
    if mode.upper() not in (b"ROUND", b"HALF_EVEN"):
        raise ValueError(f"rounding by {mode.decode(errors='replace')} is not supported")
    bits, signed, narrow = (
        int(widths.reshape(-1)[0]),
        bool(node.attributes.get("signed", 1)),
        bool(node.attributes.get("narrow", 0)),
    )
    if widths.size != 1 or bits != widths.reshape(-1)[0] or not 2 <= bits <= _WIDEST:
        raise ValueError(f"levels of {widths.reshape(-1)[0]:g} bits are not supported")
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    least, most = low + (narrow and signed), high - (narrow and not signed)
    found = node.array(0)
    if found is not None:
        levels = np.clip(np.rint(found / scale + zero), least, most)
        return ((levels - zero) * scale).astype(np.float32)
    if (zero != np.rint(zero)).any() or zero.min() < low or zero.max() > high:
        raise ValueError("a zero point is no level")
    kind = IntegerType(bits, _SIGNS[signed])
    value = _rounded(node, node.input(0), (scale, zero), kind)
    if not narrow:
        return value
    # Between two roundings, so that kernels before and behind it have levels of the file.
    function, bound = ("max", least) if signed else ("min", most)
    limit = ((bound - zero) * scale).astype(np.float32)
    constant = node.graph.constant(limit, f"{node.label}.bound")
    value = node.add(ElementwiseOp(function, [value, constant], node.type))
    return _rounded(node, value, (scale, zero), kind)


_SIGNS = {True: Signedness.SIGNLESS, False: Signedness.UNSIGNED}


def _rounded(
    node: Node, value: SSAValue, factors: tuple[Array, Array], kind: IntegerType
) -> SSAValue:
    """A value rounded to levels of a type, and scaled up again."""
    rank, axis = node.rank(0), 0
    shape = np.broadcast_shapes(*(factor.shape for factor in factors))
    several = [axis for axis, extent in enumerate(shape) if extent != 1]
    if len(several) > 1:
        raise ValueError("scales along several axes are not supported")
    if several:
        axis = several[0] + rank - len(shape)
    scale, zero = (
        np.broadcast_to(factor, shape).reshape(-1 if several else ()) for factor in factors
    )
    parts = (
        node.graph.constant(scale.astype(np.float32), f"{node.label}.scale"),
        node.graph.constant(zero.astype(element_dtype(kind)), f"{node.label}.zero_point", kind),
    )
    real = node.type
    assert isinstance(real, TensorType)
    integers = node.add(QuantizeOp(value, parts, axis, TensorType(kind, real.get_shape())))
    return node.add(DequantizeOp(integers, parts, axis, real))


def bipolar(node: Node) -> SSAValue | Array:
    """BipolarQuant: a scale with the sign of each element, which is positive for 0."""
    scale, found = node.array(1), node.array(0)
    if scale is None:
        raise ValueError("scales are computed at run time")
    scale = scale.astype(np.float32)
    if found is not None:
        return np.where(found >= 0, scale, -scale).astype(np.float32)
    zero, positive, negative = (
        node.graph.constant(array, f"{node.label}.{name}")
        for array, name in ((np.zeros((), np.float32), "zero"), (scale, "high"), (-scale, "low"))
    )
    kind = node.type
    assert isinstance(kind, TensorType)
    bits = TensorType(IntegerType(1), kind.get_shape())
    is_positive = node.add(ElementwiseOp("greater_equal", [node.input(0), zero], bits))
    return node.add(ElementwiseOp("where", [is_positive, positive, negative], kind))
