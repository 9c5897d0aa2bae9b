# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-raise`: functions that a file spells out → operations of their own."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.transforms.dead_code_elimination import dce

from daqkf.dialects.nn import ElementwiseOp, LayerNormOp, ReduceOp, SoftmaxOp
from daqkf.dialects.nn.base import NODE, differ, integers_of, shape_of
from daqkf.dialects.nn.elementwise import Function, Reduction
from daqkf.dialects.nn.ops import constant_of
from daqkf.passes.nn_terms import Product, inputs_of, near, scalar_of, terms_of
from daqkf.passes.rewriting import rewrite_once


@dataclass(frozen=True)
class NnRaisePass(ModulePass):
    """Find functions that are spelled out: ReLU, sigmoid, SiLU, GELU by erf and by tanh, means,
    layer normalisation and softmax.

    However their factors are ordered and nested, and where a division stands for a product. The
    results differ by float rounding alone.
    """

    name = "nn-raise"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        finders = (_relu, _sigmoid, _silu, _gelu, _mean, _layer_norm, _softmax)
        patterns = GreedyRewritePatternApplier([_RaiseFunction(find) for find in finders])
        rewrite_once(self, op, patterns)
        dce(op)


@dataclass(frozen=True)
class _RaiseFunction(RewritePattern):
    """The last operation of a function that is spelled out → the function."""

    find: Callable[[ElementwiseOp], Operation | None]
    """The operation that does what the last one completes, if that is known."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ElementwiseOp, rewriter: PatternRewriter) -> None:
        """Put the function in place of the operation, under its name."""
        replacement = self.find(op)
        if replacement is None:
            return
        if not _same_shape(op, replacement):
            replacement.erase()
            return
        if name := op.attributes.get(NODE):
            replacement.attributes[NODE] = name
        replacement.location = op.location
        rewriter.replace(op, replacement)


def _same_shape(op: Operation, other: Operation) -> bool:
    """Whether, as far as they are known, the result of one has the shape of what the other gives.

    That is the shape of what it reads, but for a reduction. Not if a constant broadcasts it.
    """
    given = other.results[0] if isinstance(other, ReduceOp) else other.operands[0]
    shape, read = shape_of(op.results[0]), shape_of(given)
    if shape is None or read is None:
        return True
    return len(shape) == len(read) and not any(map(differ, shape, read))


def _gelu(op: ElementwiseOp) -> Operation | None:
    """`x/2·(1 + erf(x/√2))` and `x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`."""
    if op.kind.data not in (Function.MUL, Function.DIV):
        return None
    for x in _factors(op):
        product = Product.of(op.result, x)
        others = [factor for factor in product.over if factor != x]
        if product.under or len(product.over) != 2 or len(others) != 1:
            continue
        terms, offset = terms_of(others[0])
        if len(terms) != 1 or not (near(offset, 1.0) and near(product.factor, 0.5)):
            continue
        for function, kind, argument in (
            (Function.ERF, Function.GELU, _is_scaled),
            (Function.TANH, Function.GELU_TANH, _is_cubic),
        ):
            inner = inputs_of(terms[0], function)
            if inner and argument(inner[0], x):
                return ElementwiseOp(kind, [x], op.result.type)
    return None


def _factors(op: ElementwiseOp, depth: int = 3) -> Iterator[SSAValue]:
    """What a product is of, and what that is of, if it is a product itself."""
    for part in op.inputs:
        yield part
        if depth and (inputs_of(part, Function.MUL) or inputs_of(part, Function.DIV)):
            assert isinstance(part.owner, ElementwiseOp)
            yield from _factors(part.owner, depth - 1)


def _is_scaled(value: SSAValue, x: SSAValue) -> bool:
    return Product.of(value, x).is_power(x, 1, math.sqrt(0.5))


def _is_cubic(value: SSAValue, x: SSAValue) -> bool:
    """`√(2/π)·(x + 0.044715·x³)`, or with x taken out."""
    product = Product.of(value, x)
    rest = [factor for factor in product.over if factor != x]
    if (
        product.under
        or len(product.over) > 2
        or len(rest) != 1
        or not near(product.factor, math.sqrt(2 / math.pi))
    ):
        return False
    terms, offset = terms_of(rest[0])
    cubic = [term for term in terms if term != x]
    if len(cubic) != 1:
        return False
    inside = Product.of(cubic[0], x)
    if len(product.over) == 1:
        return offset == 0 and len(terms) == 2 and inside.is_power(x, 3, 0.044715)
    return len(terms) == 1 and near(offset, 1.0) and inside.is_power(x, 2, 0.044715)


def _relu(op: ElementwiseOp) -> Operation | None:
    """`max(x, 0)`, and `x` where not `x ≤ 0`, which is 0 elsewhere: both keep NaN."""
    if op.kind.data is Function.MAX:
        for x, other in (op.inputs, op.inputs[::-1]):
            if scalar_of(other) == 0:
                return ElementwiseOp(Function.RELU, [x], op.result.type)
    elif op.kind.data is Function.WHERE:
        condition, x, other = op.inputs
        outer = inputs_of(condition, Function.NOT)
        inner = inputs_of(outer[0], Function.LESS_EQUAL) if outer else None
        if inner and inner[0] == x and scalar_of(inner[1]) == scalar_of(other) == 0:
            return ElementwiseOp(Function.RELU, [x], op.result.type)
    return None


def _logistic(value: SSAValue) -> SSAValue | None:
    """x, of `1 + exp(-x)`."""
    terms, offset = terms_of(value)
    inner = inputs_of(terms[0], Function.EXP) if len(terms) == 1 else None
    if not inner or not near(offset, 1.0):
        return None
    product = Product.of(inner[0])
    is_negated = product.factor == -1 and len(product.over) == 1 and not product.under
    return product.over[0] if is_negated else None


def _sigmoid(op: ElementwiseOp) -> Operation | None:
    """`1 / (1 + exp(-x))`."""
    if op.kind.data not in (Function.DIV, Function.RECIPROCAL):
        return None
    product = Product.of(op.result)
    if product.over or len(product.under) != 1 or not near(product.factor, 1.0):
        return None
    x = _logistic(product.under[0])
    return None if x is None else ElementwiseOp(Function.SIGMOID, [x], op.result.type)


def _silu(op: ElementwiseOp) -> Operation | None:
    """`x·sigmoid(x)` and `x / (1 + exp(-x))`."""
    if op.kind.data is Function.MUL:
        for x, other in (op.inputs, op.inputs[::-1]):
            inner = inputs_of(other, Function.SIGMOID)
            if inner and inner[0] == x:
                return ElementwiseOp(Function.SILU, [x], op.result.type)
    elif op.kind.data is Function.DIV and _logistic(op.inputs[1]) == op.inputs[0]:
        return ElementwiseOp(Function.SILU, [op.inputs[0]], op.result.type)
    return None


def _mean(op: ElementwiseOp) -> Operation | None:
    """`Σx / N`, of N elements."""
    if op.kind.data not in (Function.MUL, Function.DIV):
        return None
    product = Product.of(op.result)
    if len(product.over) != 1 or product.under:
        return None
    total = product.over[0].owner
    if not isinstance(total, ReduceOp) or total.kind.data is not Reduction.SUM:
        return None
    extents, axes = shape_of(total.input), integers_of(total.axes)
    if extents is None or op.result.type != total.result.type:
        return None
    count = math.prod(extents[axis] for axis in axes)
    # As near as float32 is: a variance may be by N - 1.
    if count < 1 or not math.isclose(product.factor * count, 1, rel_tol=1e-6):
        return None
    return ReduceOp(Reduction.MEAN, total.input, axes, total.keep is not None, op.result.type)


def _reduced(value: SSAValue, kind: Reduction) -> SSAValue | None:
    """What is reduced along the last dimension, which stays."""
    op = value.owner
    if not isinstance(op, ReduceOp) or op.kind.data is not kind or op.keep is None:
        return None
    shape = shape_of(op.input)
    last = () if shape is None else (len(shape) - 1,)
    axes = integers_of(op.axes)
    return op.input if len(axes) == 1 and axes[0] in (-1, *last) else None


def _centred(value: SSAValue) -> SSAValue | None:
    """x, of `x - mean(x)`."""
    parts = inputs_of(value, Function.SUB)
    return parts[0] if parts and _reduced(parts[1], Reduction.MEAN) == parts[0] else None


def _layer_norm(op: ElementwiseOp) -> Operation | None:
    """`(x - mean(x)) / √(mean((x - mean(x))²) + ε) · γ + β`."""
    if op.kind.data is not Function.ADD:
        return None
    for scaled, beta in (op.inputs, op.inputs[::-1]):
        product = Product.of(scaled)
        sides = [value for value in product.over if (x := _centred(value)) is not None]
        gammas = [value for value in product.over if value not in sides]
        if not (_is_vector(beta) and len(sides) == len(gammas) == len(product.under) == 1):
            continue
        x = _centred(sides[0])
        epsilon = _deviation(product.under[0], x)
        if x is None or epsilon is None or epsilon < 0 or product.factor != 1:
            continue
        if not _is_vector(gammas[0]):
            continue
        return LayerNormOp(x, gammas[0], beta, epsilon)
    return None


def _deviation(value: SSAValue, x: SSAValue | None) -> float | None:
    """ε, of `√(mean((x - mean(x))²) + ε)`."""
    inner = inputs_of(value, Function.SQRT)
    terms, epsilon = terms_of(inner[0]) if inner else ([], 0.0)
    squares = _reduced(terms[0], Reduction.MEAN) if len(terms) == 1 else None
    if squares is None:
        return None
    product = Product.of(squares)
    sides = {_centred(value) for value in product.over}
    is_square = len(product.over) == 2 and not product.under and product.factor == 1
    return epsilon if is_square and sides == {x} else None


def _is_vector(value: SSAValue) -> bool:
    array = constant_of(value)
    return array is not None and array.ndim == 1


def _softmax(op: ElementwiseOp) -> Operation | None:
    """`exp(x - max(x)) / Σ exp(x - max(x))` along the last dimension."""
    if op.kind.data is not Function.DIV:
        return None
    exponentials, total = op.inputs
    inner = inputs_of(exponentials, Function.EXP)
    if not inner or _reduced(total, Reduction.SUM) != exponentials:
        return None
    parts = inputs_of(inner[0], Function.SUB)
    shifted = parts is not None and _reduced(parts[1], Reduction.MAX) == parts[0]
    return SoftmaxOp(parts[0] if parts is not None and shifted else inner[0], -1)
