# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ONNX's operators of decoders (opset 23 and later) → `nn`.

ONNX has heads before tokens, [B, H, T, D], or heads that are not taken apart, [B, T, H·D]; `nn` has
[B, T, H, D].
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType
from xdsl.ir import SSAValue

from daqkf.dialects.nn import (
    CachedAttentionOp,
    ReshapeOp,
    RmsNormOp,
    RotaryOp,
    SliceOp,
    TransposeOp,
)
from daqkf.dialects.nn.base import element_of, shape_of
from daqkf.lowering.frontends.onnx.graph import Array, Converted, Node

_APART, _TOGETHER = 4, 3
"""Dimensions of heads that are taken apart, and of those that are not."""

_SWAPPED = (0, 2, 1, 3)
_FLOAT = 1
"""`TensorProto.FLOAT`."""

_TOLERANCE = 1e-3
"""Of sines and cosines: angles are computed in float32 where tables are made, and grow with the
position."""


def rms_norm(node: Node) -> SSAValue:
    """RMSNormalization over the last dimension."""
    axis = int(node.attributes.get("axis", -1))
    if axis not in (-1, node.rank(0) - 1):
        raise ValueError(f"normalises from axis {axis} on; only the last one is supported")
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    return node.add(RmsNormOp(node.input(0), node.input(1), epsilon))


def rotary(node: Node) -> SSAValue:
    """RotaryEmbedding, whose tables are constants of angles that grow with the position."""
    cosines, sines = node.array(1), node.array(2)
    if cosines is None or sines is None or not node.has(3):
        raise ValueError("a rotary embedding without constant tables, or without positions")
    frequencies = _frequencies(cosines, sines)
    features = int(node.attributes.get("rotary_embedding_dim", 0)) or None
    if features is not None and features != 2 * len(frequencies):
        raise ValueError(f"tables of {len(frequencies)} angles for {features} features")
    apart = node.rank(0) == _APART
    x = _heads(node, 0, int(node.attributes.get("num_heads", 0)))
    kind = "neighbours" if node.attributes.get("interleaved", 0) else "halves"
    turned = node.add(
        RotaryOp(kind, x, node.input(3), 1.0, 2 * len(frequencies), list(1 / frequencies))
    )
    if apart:
        return _swapped(node, turned)
    return node.add(ReshapeOp(turned, node.vector([0, 0, -1]), node.type))


def _frequencies(cosines: Array, sines: Array) -> NDArray[np.float64]:
    """The radians by which each pair turns from a position to the next.

    From the second row, and then from rows that are twice as far each, which say it more exactly.

    Raises:
        ValueError: the tables are not of such angles.
    """
    if cosines.shape != sines.shape or cosines.ndim != 2 or len(cosines) < 2:
        raise ValueError("tables of sines and cosines are [positions, pairs]")
    angles = np.arctan2(sines.astype(np.float64), cosines.astype(np.float64))
    found = angles[1].copy()
    place = 2
    while place < len(cosines):
        turns = np.rint((place * found - angles[place]) / (2 * np.pi))
        found = (angles[place] + 2 * np.pi * turns) / place
        place *= 2
    expected = np.arange(len(cosines))[:, np.newaxis] * found
    for table, function in ((cosines, np.cos), (sines, np.sin)):
        if not np.allclose(table, function(expected), rtol=0, atol=_TOLERANCE):
            raise ValueError("tables of sines and cosines of other angles")
    if not (found > 0).all():
        raise ValueError("features that do not turn, or turn back")
    return found


def attention(node: Node) -> Converted:
    """Attention that is causal and has no mask, with or without a past."""
    if not node.attributes.get("is_causal", 0) or node.has(3) or node.has(6):
        raise ValueError("attention that is not causal, or that has a mask")
    if node.attributes.get("softmax_precision", _FLOAT) != _FLOAT:
        raise ValueError("a softmax that is not of float32")
    if len(node.node.output) > 3 and node.node.output[3]:
        raise ValueError("attention that gives its scores")
    apart = node.rank(0) == _APART
    counts = [int(node.attributes.get(f"{part}_num_heads", 0)) for part in ("q", "kv", "kv")]
    queries, keys, values = (_heads(node, i, count) for i, count in enumerate(counts))
    if node.has(4) != node.has(5):
        raise ValueError("past keys without past values, or the other way round")
    if node.has(4):
        past = _swapped(node, node.input(4)), _swapped(node, node.input(5))
    else:
        past = _none_of(node, keys), _none_of(node, values)
    features = (shape_of(queries) or (DYNAMIC_INDEX,))[-1]
    scale = float(node.attributes.get("scale", 0.0))
    if not scale:
        if features == DYNAMIC_INDEX:
            raise ValueError("heads of an unknown number of features")
        scale = 1 / math.sqrt(features)
    op = CachedAttentionOp(queries, keys, values, past, scale)
    result = node.add(op)
    if apart:
        heads = (shape_of(queries) or (DYNAMIC_INDEX,) * 4)[2]
        result = _swapped(node, _split(node, result, heads))
    present = (_swapped(node, value) for value in (op.present_keys, op.present_values))
    return (result, *present) if len(node.node.output) > 1 else result


def _heads(node: Node, index: int, count: int) -> SSAValue:
    """An input as [B, T, H, D]."""
    rank = node.rank(index)
    if rank == _APART:
        return _swapped(node, node.input(index))
    if rank != _TOGETHER or count < 1:
        raise ValueError(f"heads in {rank} dimensions, of which {count} are there")
    return _split(node, node.input(index), count)


def _split(node: Node, value: SSAValue, heads: int) -> SSAValue:
    """Heads [B, T, H·D] that are taken apart, [B, T, H, D]."""
    shape = shape_of(value)
    if shape is None or heads == DYNAMIC_INDEX:
        raise ValueError("heads of unknown extents")
    if shape[-1] != DYNAMIC_INDEX and shape[-1] % heads:
        raise ValueError(f"{shape[-1]} columns of {heads} heads")
    features = shape[-1] if shape[-1] == DYNAMIC_INDEX else shape[-1] // heads
    kind = TensorType(element_of(value), [*shape[:-1], heads, features])
    return node.add(ReshapeOp(value, node.vector([0, 0, heads, -1]), kind))


def _swapped(node: Node, value: SSAValue) -> SSAValue:
    """Heads with tokens and heads the other way round."""
    shape = shape_of(value)
    if shape is None or len(shape) != _APART:
        raise ValueError("heads of unknown extents")
    kind = TensorType(element_of(value), _permuted(shape))
    return node.add(TransposeOp(value, _SWAPPED, kind))


def _permuted(shape: Sequence[int]) -> list[int]:
    return [shape[axis] for axis in _SWAPPED]


def _none_of(node: Node, value: SSAValue) -> SSAValue:
    """None of the tokens of keys or values [B, T, G, D]: [B, 0, G, D]."""
    batch, _, *rest = shape_of(value) or (DYNAMIC_INDEX,) * 4
    kind = TensorType(element_of(value), [batch, 0, *rest])
    bounds = node.vector([0]), node.vector([0])
    return node.add(SliceOp(value, bounds, [1], [1], kind))
