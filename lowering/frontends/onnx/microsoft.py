# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""onnxruntime's operators of decoders (`com.microsoft`), as its exporters write them → `nn`.

Heads are together, [B, T, H·D], but in the past and in all keys and values, [B, G, S, D]; letters
are those of `daqkf.dialects.nn.sequences`, and B sequences.
"""

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerType, TensorType, f32, i64
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.nn import (
    CastOp,
    ElementwiseOp,
    ExpandOp,
    GatherOp,
    ReduceOp,
    ReshapeOp,
    RmsNormOp,
    ShapeOp,
    SliceOp,
)
from daqkf.dialects.nn.base import element_of, shape_of
from daqkf.dialects.nn.ops import constant_of
from daqkf.lowering.frontends.onnx.decoders import (
    attended,
    heads_apart,
    none_of,
    rotated,
    split_heads,
    swapped,
    table_frequencies,
    turned,
)
from daqkf.lowering.frontends.onnx.graph import MICROSOFT, MISPLACED, Node

_STANDARD = ("", "ai.onnx")
"""Names of ONNX's own domain."""

_TOKENS = 1
"""The dimension of tokens in [B, T, …]."""

_LAST = 2**62
"""A bound behind any extent."""

_PAST, _LENGTHS, _TABLES, _POSITIONS = 3, 5, 7, 9
"""Inputs of GroupQueryAttention: past keys, lengths of sequences, cosines, positions."""

_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "causal": (1,),
    "k_quant_type": (b"", b"NONE"),
    "kv_cache_bit_width": (0,),
    "local_window_size": (-1,),
    "qk_output": (0,),
    "sliding_window_cache": (0,),
    "smooth_softmax": (-1, 0),
    "softcap": (0.0,),
    "v_quant_type": (b"", b"NONE"),
}
"""Values of attributes with which attention is that of `nn.cached_attention`."""

ATTENTION_ATTRIBUTES = (
    *("do_rotary", "kv_num_heads", "num_heads", "rotary_interleaved", "scale"),
    *("k_norm_epsilon", "q_norm_epsilon", "qk_norm_epsilon"),  # of inputs that are refused
    *_PLAIN,
)


@contextmanager
def known_operators(model: Any, nodes: list[Any]) -> Generator[None]:
    """Have the operators of onnxruntime that stand in ONNX's domain in another one for a while.

    ONNX's checker refuses what it does not know in its own domain, and nothing elsewhere.

    Args:
        model: an `onnx.ModelProto`, which is changed meanwhile.
        nodes: all its nodes, those of subgraphs among them.
    """
    found = [node for node in nodes if node.op_type in MISPLACED and node.domain in _STANDARD]
    domains = [node.domain for node in found]
    opsets = list(model.opset_import)
    for node in found:
        node.domain = MICROSOFT
    if found and not any(entry.domain == MICROSOFT for entry in opsets):
        model.opset_import.add(domain=MICROSOFT, version=1)
    try:
        yield
    finally:
        for node, domain in zip(found, domains, strict=True):
            node.domain = domain
        del model.opset_import[len(opsets) :]


def simplified_layer_norm(node: Node) -> SSAValue:
    """SimplifiedLayerNormalization over the last dimension, which is RMS normalisation."""
    axis = int(node.attributes.get("axis", -1))
    if axis not in (-1, node.rank(0) - 1):
        raise ValueError(f"normalises from axis {axis} on; only the last one is supported")
    if node.has(2):
        raise ValueError("a normalisation with a bias")
    return _normalised(node, node.input(0), 1, 1e-5)


def skip_simplified_layer_norm(node: Node) -> tuple[SSAValue | None, ...]:
    """SkipSimplifiedLayerNormalization: a sum, its RMS normalisation, and the sum as a result."""
    _require_singles(node, 0)
    value = node.input(0)
    with _fitting(node):
        for index in (1, 3):
            if index == 1 or node.has(index):
                added = ElementwiseOp("add", [value, node.input(index)], node.input(0).type)
                value = node.add(added, f"{node.label}.sum")
    return _normalised(node, value, 2, 1e-12), None, None, value


def _normalised(node: Node, value: SSAValue, gains: int, epsilon: float) -> SSAValue:
    """RMS normalisation by the input with gains."""
    _require_singles(node, 0, gains)
    if node.rank(gains) != 1:
        raise ValueError(f"gains in {node.rank(gains)} dimensions")
    epsilon = float(node.attributes.get("epsilon", epsilon))
    with _fitting(node):
        return node.add(RmsNormOp(value, node.input(gains), epsilon))


def rotary(node: Node) -> SSAValue:
    """RotaryEmbedding: at positions [B, T], or at those from an offset on."""
    if float(node.attributes.get("scale", 1.0)) != 1:
        raise ValueError("positions that are scaled")
    _require_singles(node, 0)
    frequencies = table_frequencies(node, 2)
    heads = int(node.attributes.get("num_heads", 0))
    columns = _shape(node.input(0))[-1]
    some = int(node.attributes.get("rotary_embedding_dim", 0))
    if not heads and columns != DYNAMIC_INDEX and not some:
        heads = columns // (2 * len(frequencies))
    with _fitting(node):
        x = heads_apart(node, 0, heads)
        positions = node.input(1)
        if node.rank(1) != 2:
            if math.prod(_shape(positions)) not in (1, DYNAMIC_INDEX):
                raise node.error(f"positions are [B, T] or a number, not {positions.type}")
            start = _vector(node, positions)
            positions = _positions(node, x, start, _sum(node, start, _extent(node, x)), 2)
        return rotated(node, x, positions, frequencies)


def group_query_attention(node: Node) -> tuple[SSAValue, ...]:
    """GroupQueryAttention of sequences of one length, with or without rotary embedding."""
    _require_plain(node)
    inputs = [index for index in range(_LENGTHS) if node.has(index)]
    _require_singles(node, *inputs)
    for first in (1, _PAST):
        if node.has(first) != node.has(first + 1):
            raise node.error(f"input {first if node.has(first + 1) else first + 1} is missing")
    heads, groups = (int(node.attributes.get(name, 0)) for name in ("num_heads", "kv_num_heads"))
    if groups < 1 or heads < 1 or heads % groups:
        raise node.error(f"{heads} heads of queries do not share {groups} of keys")
    with _fitting(node):
        queries, keys, values = _heads(node, heads, groups)
        past = none_of(node, keys), none_of(node, values)
        if node.has(_PAST):
            past = swapped(node, node.input(_PAST)), swapped(node, node.input(_PAST + 1))
        start = _extent(node, past[0])
        end = _sum(node, start, _extent(node, keys))
        keys = _of_one_length(node, keys, end)
        if node.attributes.get("do_rotary", 0):
            frequencies = table_frequencies(node, _TABLES)
            positions = (
                node.input(_POSITIONS)
                if node.has(_POSITIONS)
                else _positions(node, queries, start, end, _TABLES)
            )
            interleaved = bool(node.attributes.get("rotary_interleaved", 0))
            queries, keys = (
                turned(node, x, positions, frequencies, interleaved) for x in (queries, keys)
            )
        results = attended(node, queries, (keys, values), past)
    return results[: len(node.node.output)]


def _require_plain(node: Node) -> None:
    """Raise a ValueError for attention that is more than `nn.cached_attention`."""
    for name, values in _PLAIN.items():
        value = node.attributes.get(name, values[0])
        if value not in values:
            text = value.decode(errors="replace") if isinstance(value, bytes) else value
            raise ValueError(f"attention with {name} {text}")
    more = [index for index in range(_POSITIONS + 1, len(node.names)) if node.has(index)]
    if more:
        raise ValueError(f"attention with input {more[0]}")


def _heads(node: Node, heads: int, groups: int) -> list[SSAValue]:
    """Queries, keys and values [B, T, H, D], which may be columns of one tensor."""
    counts = heads, groups, groups
    if node.has(1):
        for index, count in enumerate(counts):
            if node.rank(index) != 3:
                raise node.error(f"input {index} has {node.rank(index)} dimensions, not 3")
            columns = _shape(node.input(index))[-1]
            if columns != DYNAMIC_INDEX and columns % count:
                raise node.error(f"input {index} has {columns} columns of {count} heads")
        return [heads_apart(node, index, count) for index, count in enumerate(counts)]
    shape = _shape(node.input(0))
    if shape[-1] == DYNAMIC_INDEX:
        raise ValueError("heads of an unknown number of features")
    if len(shape) != 3 or shape[-1] % sum(counts):
        raise node.error(f"{sum(counts)} heads are not in {node.input(0).type}")
    features = shape[-1] // sum(counts)
    ends = np.cumsum(counts) * features
    parts: list[SSAValue] = []
    for count, end in zip(counts, ends.tolist(), strict=True):
        bounds = node.vector([end - count * features]), node.vector([end])
        kind = TensorType(f32, [*shape[:-1], count * features])
        part = node.add(SliceOp(node.input(0), bounds, [2], [1], kind))
        parts.append(split_heads(node, part, count))
    return parts


def _of_one_length(node: Node, keys: SSAValue, end: SSAValue) -> SSAValue:
    """The keys of sequences which all have the tokens 0 … end - 1.

    onnxruntime is told how many tokens each sequence has, less one, and how many the longest has.
    Where these are computed, such as of a mask, a run ends if any differs: how many do is the index
    into a vector of one element.

    Raises:
        ValueError: they are constants that differ.
    """
    wanted, lengths, total = _number(end), node.array(_LENGTHS), node.array(_LENGTHS + 1)
    if wanted is not None and lengths is not None and total is not None:
        if np.any(lengths + 1 != wanted) or np.any(total != wanted):
            raise ValueError("attention of sequences of several lengths")
        return keys
    found = _vector(node, node.input(_LENGTHS)), _vector(node, node.input(_LENGTHS + 1))
    each = _sum(node, found[0], node.vector([1]))
    same = _computed(
        node, "and", *(_computed(node, "equal", value, end) for value in (each, found[1]))
    )
    differ = _computed(node, "not", same)
    numbers = node.add(CastOp(differ, TensorType(i64, _shape(differ))))
    index = node.add(ReduceOp("sum", numbers, [0], True, TensorType(i64, [1])))
    label = f"{node.label}: sequences of several lengths"
    zero = node.add(GatherOp(node.vector([0]), index, 0, index.type), label)
    return node.add(SliceOp(keys, (zero, node.vector([_LAST])), [_TOKENS], [1], keys.type))


def _positions(node: Node, x: SSAValue, start: SSAValue, end: SSAValue, tables: int) -> SSAValue:
    """The positions [B, T] of tokens x [B, T, H, D] from a start on.

    They are of those that the tables have; a run ends where there are fewer of them than tokens.
    """
    cosines = node.array(tables)
    assert cosines is not None
    shape = _shape(x)
    extents = shape[:2]
    slots = node.graph.count(len(cosines))
    kind = TensorType(i64, extents[_TOKENS:])
    row = node.add(SliceOp(slots, (start, end), [0], [1], kind))
    if DYNAMIC_INDEX in extents:
        all_extents = node.add(ShapeOp(x, TensorType(i64, [len(shape)])))
        bounds = node.vector([0]), node.vector([2])
        sizes = node.add(SliceOp(all_extents, bounds, [0], [1], TensorType(i64, [2])))
    else:
        sizes = node.vector(extents)
    return node.add(ExpandOp(row, sizes, TensorType(i64, extents)))


def _extent(node: Node, value: SSAValue) -> SSAValue:
    """How many tokens [B, T, …] has, as a vector of one element."""
    shape = _shape(value)
    if shape[_TOKENS] != DYNAMIC_INDEX:
        return node.vector([shape[_TOKENS]])
    extents = node.add(ShapeOp(value, TensorType(i64, [len(shape)])))
    bounds = node.vector([_TOKENS]), node.vector([_TOKENS + 1])
    return node.add(SliceOp(extents, bounds, [0], [1], TensorType(i64, [1])))


def _vector(node: Node, value: SSAValue) -> SSAValue:
    """Whole numbers of any shape as a vector of int64."""
    shape = _shape(value)
    wide = node.add(CastOp(value, TensorType(i64, shape)))
    sizes = [DYNAMIC_INDEX] if DYNAMIC_INDEX in shape else [math.prod(shape)]
    return node.add(ReshapeOp(wide, node.vector([-1]), TensorType(i64, sizes)))


def _shape(value: SSAValue) -> tuple[int, ...]:
    """The extents of a tensor.

    Raises:
        ValueError: it may have any number of them.
    """
    shape = shape_of(value)
    if shape is None:
        raise ValueError("the rank of its input is not known")
    return shape


def _number(value: SSAValue) -> int | None:
    """The one element of a constant vector, if it is constant."""
    found = constant_of(value)
    return None if found is None else int(found[0])


def _sum(node: Node, *values: SSAValue) -> SSAValue:
    """The sum of two vectors, which is computed here if they are constant."""
    numbers = [_number(value) for value in values]
    known = [number for number in numbers if number is not None]
    if len(known) == len(numbers) and all(shape_of(value) == (1,) for value in values):
        return node.vector([sum(known)])
    return _computed(node, "add", *values)


def _computed(node: Node, function: str, *values: SSAValue) -> SSAValue:
    """A function of vectors that broadcast: int64, or bool of comparisons and of bools."""
    shapes = [_shape(value) for value in values]
    longest = max((shape[0] for shape in shapes), key=lambda extent: (extent != 1, extent))
    element = i64 if function == "add" else IntegerType(1)
    return node.add(ElementwiseOp(function, list(values), TensorType(element, [longest])))


def _require_singles(node: Node, *inputs: int) -> None:
    """Raise a ValueError for inputs that are not of float32."""
    for index in inputs:
        if element_of(node.input(index)) != f32:
            raise ValueError(f"input {index} is not of float32")


@contextmanager
def _fitting(node: Node) -> Generator[None]:
    """Turn what `nn` refuses of shapes into an error: onnxruntime would fail when it runs.

    Raises:
        OnnxImportError: an operation does not fit its operands.
    """
    try:
        yield
    except VerifyException as error:
        raise node.error(" ".join(str(error).split())) from None
