# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-fold`: scales and shifts behind products with constant weights become part of these."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import AnyFloat, IntegerType, ModuleOp, TensorType
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.transforms.dead_code_elimination import dce

from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import (
    ConstantOp,
    DequantizeOp,
    ElementwiseOp,
    Im2ColOp,
    MatmulOp,
    QuantizeOp,
    TransposeOp,
)
from daqkf.dialects.nn.base import element_of, integers_of, shape_of
from daqkf.dialects.nn.elementwise import Function
from daqkf.dialects.nn.ops import constant_of
from daqkf.passes.nn_terms import scalar_of
from daqkf.passes.rewriting import rewrite_all

Array = NDArray[Any]


@dataclass(frozen=True)
class NnFoldPass(ModulePass):
    """Put what follows a product with constant weights next to it, and into its weights and bias.

    A convolution is a product whose channels are the last dimension, and then a transposition to
    where the file has them. So transpositions move behind functions of elements and roundings of
    whole tensors; then the scale and the shift of a batch normalisation, and any other constants
    that a channel is multiplied by or that are added to it, go into the weights and the bias (Jacob
    et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018, 3.2). In front of a product, integers are gathered in place of what they
    stand for.

    Results are the same but for the rounding of floating-point numbers.
    """

    name = "nn-fold"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        patterns = GreedyRewritePatternApplier(
            [
                _SinkTranspose(),
                _ScaleWeights(),
                _AddBiases(),
                _GatherIntegers(),
            ]
        )
        rewrite_all(self, op, patterns)
        dce(op)


def _is_product(value: SSAValue) -> bool:
    """Whether a value is a product with constant weights, or functions of its elements."""
    pending, seen = [value], set[SSAValue]()
    while pending:
        value = pending.pop()
        op = value.owner
        if isinstance(op, MatmulOp) and constant_of(op.rhs) is not None:
            return True
        if value in seen:
            continue
        seen.add(value)
        if isinstance(op, ElementwiseOp | QuantizeOp | DequantizeOp):
            pending += op.operands
    return False


def _whole(op: QuantizeOp | DequantizeOp) -> bool:
    """Whether the levels are the same constants for the whole tensor."""
    return scalar_of(op.scale) is not None and scalar_of(op.zero_point) is not None


def _like(new: Operation, old: Operation) -> None:
    """Give an operation the attributes, the hint and the place of one that it stands for."""
    new.attributes |= old.attributes
    new.results[0].name_hint = old.results[0].name_hint
    new.location = old.location


def _of_shape(like: SSAValue, shape: Sequence[int]) -> Attribute:
    return TensorType(element_of(like), shape)


class _SinkTranspose(RewritePattern):
    """`f(transpose(x))` → `transpose(f(x))`, for functions of elements of a product x."""

    @op_type_rewrite_pattern
    def match_and_rewrite(
        self, op: ElementwiseOp | QuantizeOp | DequantizeOp, rewriter: PatternRewriter
    ) -> None:
        """Let the function read what is transposed, if all that it reads is, in the same way."""
        operands = op.inputs if isinstance(op, ElementwiseOp) else op.operands[:1]
        if not isinstance(op, ElementwiseOp) and not _whole(op):
            return
        moving = [value.owner for value in operands if constant_of(value) is None]
        turns = [inner for inner in moving if isinstance(inner, TransposeOp)]
        shape = shape_of(op.result)
        if not turns or len(turns) < len(moving) or shape is None:
            return
        order = integers_of(turns[0].axes)
        if len(order) != len(shape) or any(integers_of(turn.axes) != order for turn in turns):
            return
        if not all(_is_product(turn.input) for turn in turns):
            return
        back = np.argsort(order).tolist()
        new, read = list[Operation](), list[SSAValue]()
        for value in operands:
            array = constant_of(value)
            if array is None:
                assert isinstance(value.owner, TransposeOp)
                read.append(value.owner.input)
                continue
            constant = _turned(array, value, back)
            new.append(constant)
            read.append(constant.result)
        kind = _of_shape(op.result, [shape[axis] for axis in back])
        if isinstance(op, ElementwiseOp):
            inner: Operation = ElementwiseOp(op.kind.data, read, kind)
        else:
            factors = op.scale, op.zero_point
            inner = type(op)(read[0], factors, 0, kind)
        outer = TransposeOp(inner.results[0], order, op.result.type)
        _like(inner, op)
        _like(outer, op)
        rewriter.replace(op, [*new, inner, outer])


def _turned(array: Array, value: SSAValue, order: Sequence[int]) -> ConstantOp:
    """A constant that broadcasts to a transposed tensor, without leading extents of 1."""
    if array.size > 1:
        whole = array.reshape((1,) * (len(order) - array.ndim) + array.shape).transpose(order)
        first = next(axis for axis, extent in enumerate(whole.shape) if extent > 1)
        array = np.ascontiguousarray(whole.reshape(whole.shape[first:]))
    constant = ConstantOp(from_array(array, cast(IntegerType | AnyFloat, element_of(value))))
    if isinstance(value.owner, Operation):
        _like(constant, value.owner)
    return constant


def _channel_constant(op: ElementwiseOp) -> tuple[SSAValue, Array] | None:
    """What a function of two is of, besides a number or a vector for the last dimension.

    A difference or a quotient has the constant behind.
    """
    commutes = op.kind.data in (Function.MUL, Function.ADD)
    for value, other in (op.inputs, reversed(op.inputs)) if commutes else (op.inputs,):
        array, shape = constant_of(other), shape_of(value)
        if array is None or constant_of(value) is not None or not shape:
            continue
        if array.ndim <= 1 and array.size in (1, shape[-1]) and value.type == op.result.type:
            return value, array.reshape(-1)
    return None


class _ScaleWeights(RewritePattern):
    """`(x·W + b)·s` → `x·(W·s) + b·s`, of s for each channel."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ElementwiseOp, rewriter: PatternRewriter) -> None:
        """Multiply the weights, and what is added to their product."""
        if op.kind.data not in (Function.MUL, Function.DIV):
            return
        found = _channel_constant(op)
        if found is None or not found[0].has_one_use() or found[1].dtype.kind != "f":
            return
        value, factors = found
        if op.kind.data is Function.DIV:
            if not factors.all():
                return
            factors = 1 / factors
        inner, bias, addition = value.owner, None, None
        if isinstance(inner, ElementwiseOp) and inner.kind.data is Function.ADD:
            addition = inner
            parts = _channel_constant(inner)
            if parts is None or not parts[0].has_one_use():
                return
            bias, inner = parts[1], parts[0].owner
        weights = constant_of(inner.rhs) if isinstance(inner, MatmulOp) else None
        if not isinstance(inner, MatmulOp) or weights is None or weights.ndim != 2:
            return
        scaled = _constant(weights * factors, inner.rhs)
        product = MatmulOp(inner.lhs, scaled.result, inner.result.type)
        _like(product, inner)
        new: list[Operation] = [scaled, product]
        if bias is not None and addition is not None:
            vector = _constant(bias * factors, addition.inputs[1])
            new += [
                vector,
                ElementwiseOp(Function.ADD, [product.result, vector.result], inner.result.type),
            ]
            _like(new[-1], addition)
        rewriter.replace(op, new)


class _AddBiases(RewritePattern):
    """`(x·W + b) + c` → `x·W + (b + c)`, of constants for each channel; also `- c`."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ElementwiseOp, rewriter: PatternRewriter) -> None:
        """Add the constants."""
        if op.kind.data not in (Function.ADD, Function.SUB):
            return
        found = _channel_constant(op)
        if found is None or not _is_product(found[0]) or found[1].dtype.kind != "f":
            return
        value, change = found
        change = -change if op.kind.data is Function.SUB else change
        inner = value.owner
        parts = None
        if isinstance(inner, ElementwiseOp) and inner.kind.data in (Function.ADD, Function.SUB):
            parts = _channel_constant(inner) if value.has_one_use() else None
        if parts is not None:
            assert isinstance(inner, ElementwiseOp)
            value, first = parts
            change = change + (-first if inner.kind.data is Function.SUB else first)
        elif op.kind.data is Function.ADD:
            return
        vector = _constant(change, op.inputs[1])
        addition = ElementwiseOp(Function.ADD, [value, vector.result], op.result.type)
        _like(addition, op)
        rewriter.replace(op, [vector, addition])


def _constant(array: Array, like: SSAValue) -> ConstantOp:
    """A constant of the same elements as another value, and of its name if that is one, too."""
    constant = ConstantOp(from_array(array, cast(AnyFloat, element_of(like))))
    if isinstance(like.owner, ConstantOp):
        _like(constant, like.owner)
    return constant


class _GatherIntegers(RewritePattern):
    """`im2col(dequantize(q))` → `dequantize(im2col(q))`, padded with the zero point.

    So a kernel still sees the levels that it reads. Transpositions alike, of what a product reads.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Im2ColOp | TransposeOp, rewriter: PatternRewriter) -> None:
        """Move the integers, if all of them have the same scale."""
        scaled, reader = op.input.owner, op.result.get_user_of_unique_use()
        if not isinstance(scaled, DequantizeOp) or not _whole(scaled):
            return
        zero, shape = scalar_of(scaled.zero_point), shape_of(op.result)
        assert zero is not None
        if shape is None or not _multiplied(reader):
            return
        kind = _of_shape(scaled.input, shape)
        if isinstance(op, Im2ColOp):
            if op.fill.value.data:
                return
            inner: Operation = Im2ColOp(scaled.input, op.windows(), kind, zero)
        else:
            inner = TransposeOp(scaled.input, integers_of(op.axes), kind)
        factors = scaled.scale, scaled.zero_point
        outer = DequantizeOp(inner.results[0], factors, 0, op.result.type)
        _like(inner, op)
        _like(outer, scaled)
        rewriter.replace(op, [inner, outer])


def _multiplied(reader: Operation | None) -> bool:
    """Whether an operation is a product with constant weights, or makes the rows for one."""
    if isinstance(reader, Im2ColOp):
        return _multiplied(reader.result.get_user_of_unique_use())
    return isinstance(reader, MatmulOp) and constant_of(reader.rhs) is not None
