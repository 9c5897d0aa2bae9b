# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ONNX's convolutions → products of windows and weights in `nn`.

Letters in shapes: batch B, channels C of the input and M of the output, spatial extents S… of the
image, P… of the result, K… of a window, G groups of channels.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType
from xdsl.ir import SSAValue

from daqkf.dialects.memory import require_memory
from daqkf.dialects.nn import (
    Col2ImOp,
    ElementwiseOp,
    Im2ColOp,
    MatmulOp,
    QuantizeOp,
    TransposeOp,
)
from daqkf.dialects.nn.base import element_of, shape_of
from daqkf.dialects.nn.windows import Windows
from daqkf.lowering.frontends.onnx.graph import Array, Node
from daqkf.lowering.frontends.onnx.quantized import dequantized, real_operand

WINDOW_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")

_MOST_WEIGHTS = 1 << 23
"""Elements of the matrix that a convolution in groups becomes, most of which are zero."""


def convolution(node: Node) -> SSAValue:
    """Conv: the windows of the image times the weights [M, C / G, K…]."""
    weights = node.array(1)
    if weights is None:
        raise ValueError("its weights are computed at run time")
    return _convolved(node, node.input(0), (node.names[1], weights), _bias(node, 2))


def quantized_convolution(node: Node) -> SSAValue:
    """QLinearConv: the convolution of what integers stand for, quantised."""
    weights, scale, zero, bias = (node.array(index) for index in (3, 4, 5, 8))
    scale_of_input = node.array(1)
    if weights is None or scale is None or zero is None or (bias is None and node.has(8)):
        raise ValueError("its weights are computed at run time")
    real = dequantized(weights, scale, zero, 0)
    if bias is not None:
        if scale_of_input is None:
            raise ValueError("the scale of its input is computed at run time")
        bias = (bias * (scale_of_input.astype(np.float64) * scale)).astype(np.float32)
    x = real_operand(node, 0, last=False)
    result = _convolved(node, x, (node.names[3], real), bias)
    return node.add(QuantizeOp(result, (node.input(6), node.input(7)), 1, node.type))


def transposed_convolution(node: Node) -> SSAValue:
    """ConvTranspose: an image times the weights [C, M / G, K…], as windows that are added up."""
    weights, bias = node.array(1), _bias(node, 2)
    if weights is None:
        raise ValueError("its weights are computed at run time")
    x = node.input(0)
    batch, channels, *extents = _image(x, weights)
    groups = int(node.attributes.get("group", 1))
    if channels not in (DYNAMIC_INDEX, len(weights)) or len(weights) % groups:
        raise ValueError(f"weights of {len(weights)} channels in {groups} groups")
    windows = _transposed_windows(node, weights.shape[2:], extents)
    count, size = groups * weights.shape[1], math.prod(windows.kernel)
    blocks = weights.reshape(groups, len(weights) // groups, -1)
    matrix = node.graph.constant(_block_diagonal(blocks), node.names[1])
    kind = element_of(x)
    order = [0, *range(2, len(extents) + 2), 1]
    rows = TransposeOp(x, order, TensorType(kind, [batch, *extents, len(weights)]))
    columns = TensorType(kind, [batch, *extents, count * size])
    product = node.add(MatmulOp(node.add(rows), matrix, columns))
    whole = [DYNAMIC_INDEX] * len(extents)
    if DYNAMIC_INDEX not in extents:
        whole = windows.extents(extents)
    image = TensorType(kind, [batch, count, *whole])
    result = node.add(Col2ImOp(product, windows, image))
    return result if bias is None else _shifted(node, result, bias)


def batch_normalization(node: Node) -> SSAValue:
    """BatchNormalization by constant statistics: a scale and a shift of each channel.

    They are folded into the weights of a product before them by `nn-fold`.
    """
    arrays = [node.array(index) for index in range(1, 5)]
    scale, shift, mean, variance = arrays
    if scale is None or shift is None or mean is None or variance is None:
        raise ValueError("its statistics are computed at run time")
    if node.attributes.get("training_mode", 0):
        raise ValueError("training is not supported")
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    factor = scale / np.sqrt(variance.astype(np.float64) + epsilon)
    change = shift - mean * factor
    extents = (-1, *(1,) * (node.rank(0) - 2))
    x, dtype = node.input(0), scale.dtype
    constants = [
        node.graph.constant(np.asarray(array, dtype).reshape(extents), node.names[index])
        for array, index in ((factor, 1), (change, 2))
    ]
    scaled = node.add(ElementwiseOp("mul", [x, constants[0]], node.type), f"{node.label}.scale")
    return node.add(ElementwiseOp("add", [scaled, constants[1]], node.type))


def _convolved(node: Node, x: SSAValue, named: tuple[str, Array], bias: Array | None) -> SSAValue:
    """The convolution of an image [B, C, S…] with weights and their name: [B, M, P…]."""
    name, weights = named
    batch, channels, *extents = _image(x, weights)
    groups = int(node.attributes.get("group", 1))
    if len(weights) % groups or channels not in (DYNAMIC_INDEX, weights.shape[1] * groups):
        raise ValueError(
            f"weights of {weights.shape[1]} channels in {groups} groups on {channels} channels"
        )
    windows = _windows(node, weights.shape[2:], extents)
    positions = _positions(windows, extents)
    kind, count = element_of(x), len(weights)
    blocks = weights.reshape(groups, count // groups, -1).transpose(0, 2, 1)
    matrix = node.graph.constant(_block_diagonal(blocks), name)
    features = weights.shape[1] * groups * math.prod(windows.kernel)
    rows = TensorType(kind, [batch, *positions, features])
    rank = windows.rank
    if windows.is_point:
        columns = node.add(TransposeOp(x, [0, *range(2, rank + 2), 1], rows))
    else:
        columns = node.add(Im2ColOp(x, windows, rows))
    sums = TensorType(kind, [batch, *positions, count])
    result = node.add(MatmulOp(columns, matrix, sums))
    if bias is not None:
        vector = node.graph.constant(bias, f"{node.label}.bias")
        result = node.add(ElementwiseOp("add", [result, vector], sums), f"{node.label}.bias")
    image = TensorType(kind, [batch, count, *positions])
    return node.add(TransposeOp(result, [0, rank + 1, *range(1, rank + 1)], image))


def _bias(node: Node, index: int) -> Array | None:
    """A constant bias [M], if there is one."""
    bias = node.array(index)
    if bias is None and node.has(index):
        raise ValueError("its bias is computed at run time")
    return bias


def _shifted(node: Node, value: SSAValue, bias: Array) -> SSAValue:
    """An image with a number added to each channel."""
    shape = shape_of(value)
    assert shape is not None
    vector = node.graph.constant(bias.reshape(-1, *(1,) * (len(shape) - 2)), f"{node.label}.bias")
    return node.add(ElementwiseOp("add", [value, vector], value.type), f"{node.label}.bias")


def _image(x: SSAValue, weights: Array) -> tuple[int, ...]:
    """The extents of an image [B, C, S…] that weights [·, ·, K…] fit.

    Raises:
        ValueError: they are not known, or do not fit.
    """
    shape = shape_of(x)
    if shape is None:
        raise ValueError("the rank of its input is not known")
    if len(shape) != weights.ndim or len(shape) < 3:
        raise ValueError(f"weights of {weights.ndim} dimensions on an image of {len(shape)}")
    return shape


def _block_diagonal(blocks: Array) -> Array:
    """Matrices [G, K, N] as the blocks of one, [G·K, G·N], which has no other weights.

    Zeros are not in the streams of an array, so one product of this matrix takes as many cycles as
    one for each group, and its rows go to the array once.

    Raises:
        ValueError: it is too large.
    """
    groups, rows, columns = blocks.shape
    size = groups * rows * groups * columns
    if groups > 1 and size > _MOST_WEIGHTS:
        raise ValueError(f"{groups} groups make a matrix of {size} weights, mostly zeros")
    require_memory(size * blocks.itemsize, "the matrix of its groups")
    whole = np.zeros((groups, rows, groups, columns), blocks.dtype)
    each = np.arange(groups)
    whole[each, :, each] = blocks
    return whole.reshape(groups * rows, groups * columns)


def _attribute(node: Node, name: str, default: Sequence[int]) -> tuple[int, ...]:
    found = tuple(int(value) for value in node.attributes.get(name, ())) or tuple(default)
    if len(found) != len(default):
        raise ValueError(f"{name} has {len(found)} numbers, not {len(default)}")
    return found


def _positions(windows: Windows, extents: Sequence[int]) -> list[int]:
    """How many windows lie along each dimension, where its extent is known."""
    known = [
        max(reach, 0) if extent == DYNAMIC_INDEX else extent
        for extent, reach in zip(extents, windows.reach, strict=True)
    ]
    return [
        DYNAMIC_INDEX if extent == DYNAMIC_INDEX else count
        for extent, count in zip(extents, windows.positions(known), strict=True)
    ]


def _windows(node: Node, kernel: tuple[int, ...], extents: Sequence[int]) -> Windows:
    """The windows that a node's attributes say.

    Raises:
        ValueError: there are other ones than dimensions, or they depend on unknown extents.
    """
    rank = len(kernel)
    pads = _attribute(node, "pads", (0,) * 2 * rank)
    windows = Windows(
        _attribute(node, "kernel_shape", kernel),
        _attribute(node, "strides", (1,) * rank),
        _attribute(node, "dilations", (1,) * rank),
        pads[:rank],
        pads[rank:],
    )
    if windows.kernel != kernel:
        raise ValueError(f"a kernel of {windows.kernel}, and weights of {kernel}")
    mode = node.attributes.get("auto_pad", b"NOTSET").decode(errors="replace")
    if mode == "NOTSET":
        return windows
    none = (0,) * rank
    if mode == "VALID":
        return replace(windows, before=none, after=none)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"unknown auto_pad {mode}")
    totals: list[int] = []
    for extent, reach, stride in zip(extents, windows.reach, windows.strides, strict=True):
        if stride == 1:
            totals.append(reach - 1)
        elif extent == DYNAMIC_INDEX:
            raise ValueError("auto_pad depends on extents that the file leaves open")
        else:
            totals.append(max((-(-extent // stride) - 1) * stride + reach - extent, 0))
    return replace(windows, **_shared_out(totals, more_behind=mode == "SAME_UPPER"))


def _shared_out(totals: Sequence[int], *, more_behind: bool) -> dict[str, tuple[int, ...]]:
    """Padding as `before` and `after`, as even as can be."""
    less, more = (
        tuple(total // 2 for total in totals),
        tuple(total - total // 2 for total in totals),
    )
    return {"before": less if more_behind else more, "after": more if more_behind else less}


def _transposed_windows(node: Node, kernel: tuple[int, ...], extents: Sequence[int]) -> Windows:
    """The windows that a transposed convolution's result is made of.

    Elements that `output_padding` adds behind are negative padding.

    Raises:
        ValueError: as `_windows`.
    """
    rank, none = len(kernel), (0,) * len(kernel)
    pads = _attribute(node, "pads", none * 2)
    more = _attribute(node, "output_padding", none)
    windows = Windows(
        _attribute(node, "kernel_shape", kernel),
        _attribute(node, "strides", (1,) * rank),
        _attribute(node, "dilations", (1,) * rank),
        pads[:rank],
        tuple(pad - extra for pad, extra in zip(pads[rank:], more, strict=True)),
    )
    if windows.kernel != kernel:
        raise ValueError(f"a kernel of {windows.kernel}, and weights of {kernel}")
    mode = node.attributes.get("auto_pad", b"NOTSET").decode(errors="replace")
    wanted = node.attributes.get("output_shape")
    if wanted is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        # The image becomes larger by the strides, whatever it is.
        totals = [
            reach + extra - stride
            for reach, extra, stride in zip(windows.reach, more, windows.strides, strict=True)
        ]
    elif wanted is not None:
        if DYNAMIC_INDEX in extents:
            raise ValueError("output_shape depends on extents that the file leaves open")
        totals = [
            (extent - 1) * stride + extra + reach - result
            for extent, stride, extra, reach, result in zip(
                extents, windows.strides, more, windows.reach, wanted[-rank:], strict=True
            )
        ]
    elif mode in ("NOTSET", "VALID"):
        return windows
    else:
        raise ValueError(f"unknown auto_pad {mode}")
    shared = _shared_out([max(total, 0) for total in totals], more_behind=mode == "SAME_UPPER")
    # An image that is to be larger than the windows make it is so behind.
    behind = tuple(
        total - before - extra
        for total, before, extra in zip(totals, shared["before"], more, strict=True)
    )
    return replace(windows, before=shared["before"], after=behind)
