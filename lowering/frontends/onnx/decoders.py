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
    if not node.has(3):
        raise ValueError("a rotary embedding without positions")
    frequencies = table_frequencies(node, 1)
    x = heads_apart(node, 0, int(node.attributes.get("num_heads", 0)))
    return rotated(node, x, node.input(3), frequencies)


def rotated(
    node: Node, x: SSAValue, positions: SSAValue, frequencies: NDArray[np.float64]
) -> SSAValue:
    """The node's first input, of which x [B, T, H, D] are the heads, turned at positions [B, T]."""
    features = int(node.attributes.get("rotary_embedding_dim", 0)) or None
    if features is not None and features != 2 * len(frequencies):
        raise ValueError(f"tables of {len(frequencies)} angles for {features} features")
    interleaved = bool(node.attributes.get("interleaved", 0))
    result = turned(node, x, positions, frequencies, interleaved)
    if node.rank(0) == _APART:
        return swapped(node, result)
    return node.add(ReshapeOp(result, node.vector([0, 0, -1]), node.input(0).type))


def turned(
    node: Node,
    x: SSAValue,
    positions: SSAValue,
    frequencies: NDArray[np.float64],
    interleaved: bool,
) -> SSAValue:
    """Heads [B, T, H, D] that turn by so many radians from each position [B, T] to the next."""
    kind = "neighbours" if interleaved else "halves"
    features, factors = 2 * len(frequencies), (1 / frequencies).tolist()
    return node.add(RotaryOp(kind, x, positions, 1.0, features, factors))


def table_frequencies(node: Node, index: int) -> NDArray[np.float64]:
    """The radians by which each pair turns, by the node's tables of cosines and of sines.

    Args:
        node: the node.
        index: the input with the cosines, before the one with the sines.

    Raises:
        ValueError: they are computed at run time, or of other angles.
    """
    cosines, sines = node.array(index), node.array(index + 1)
    if cosines is None or sines is None:
        raise ValueError("a rotary embedding without constant tables")
    return node.graph.once(_frequencies, cosines, sines)


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
    queries, keys, values = (heads_apart(node, i, count) for i, count in enumerate(counts))
    if node.has(4) != node.has(5):
        raise ValueError("past keys without past values, or the other way round")
    if node.has(4):
        past = swapped(node, node.input(4)), swapped(node, node.input(5))
    else:
        past = none_of(node, keys), none_of(node, values)
    result, *present = attended(node, queries, (keys, values), past)
    if apart:
        heads = (shape_of(queries) or (DYNAMIC_INDEX,) * 4)[2]
        result = swapped(node, split_heads(node, result, heads))
    return (result, *present) if len(node.node.output) > 1 else result


def attended(
    node: Node, queries: SSAValue, new: tuple[SSAValue, SSAValue], past: tuple[SSAValue, SSAValue]
) -> tuple[SSAValue, SSAValue, SSAValue]:
    """Attention [B, T, H·D] by the node's scale, and all keys and values, heads before tokens.

    Args:
        node: the node.
        queries: [B, T, H, D].
        new: the keys and values of the same tokens.
        past: those of tokens before.

    Raises:
        ValueError: the scale is that of features whose number is not known.
    """
    features = (shape_of(queries) or (DYNAMIC_INDEX,))[-1]
    scale = float(node.attributes.get("scale", 0.0))
    if not scale:
        if features == DYNAMIC_INDEX:
            raise ValueError("heads of an unknown number of features")
        scale = 1 / math.sqrt(features)
    op = CachedAttentionOp(queries, *new, past, scale)
    result = node.add(op)
    return result, swapped(node, op.present_keys), swapped(node, op.present_values)


def heads_apart(node: Node, index: int, count: int) -> SSAValue:
    """An input as [B, T, H, D]."""
    rank = node.rank(index)
    if rank == _APART:
        return swapped(node, node.input(index))
    if rank != _TOGETHER or count < 1:
        raise ValueError(f"heads in {rank} dimensions, of which {count} are there")
    return split_heads(node, node.input(index), count)


def split_heads(node: Node, value: SSAValue, heads: int) -> SSAValue:
    """Heads [B, T, H·D] that are taken apart, [B, T, H, D]."""
    shape = shape_of(value)
    if shape is None or heads == DYNAMIC_INDEX:
        raise ValueError("heads of unknown extents")
    if shape[-1] != DYNAMIC_INDEX and shape[-1] % heads:
        raise ValueError(f"{shape[-1]} columns of {heads} heads")
    features = shape[-1] if shape[-1] == DYNAMIC_INDEX else shape[-1] // heads
    kind = TensorType(element_of(value), [*shape[:-1], heads, features])
    return node.add(ReshapeOp(value, node.vector([0, 0, heads, -1]), kind))


def swapped(node: Node, value: SSAValue) -> SSAValue:
    """Heads with tokens and heads the other way round."""
    shape = shape_of(value)
    if shape is None or len(shape) != _APART:
        raise ValueError("heads of unknown extents")
    kind = TensorType(element_of(value), _permuted(shape))
    return node.add(TransposeOp(value, _SWAPPED, kind))


def _permuted(shape: Sequence[int]) -> list[int]:
    return [shape[axis] for axis in _SWAPPED]


def none_of(node: Node, value: SSAValue) -> SSAValue:
    """None of the tokens of keys or values [B, T, G, D]: [B, 0, G, D]."""
    batch, _, *rest = shape_of(value) or (DYNAMIC_INDEX,) * 4
    kind = TensorType(element_of(value), [batch, 0, *rest])
    bounds = node.vector([0]), node.vector([0])
    return node.add(SliceOp(value, bounds, [1], [1], kind))
