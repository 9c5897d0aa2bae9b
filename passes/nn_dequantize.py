# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-dequantize`: a quantised file's integers → the real numbers that they stand for."""

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import AnyFloat, IntegerType, ModuleOp, f32
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.rewriter import InsertPoint
from xdsl.transforms.dead_code_elimination import dce

from daqkf.dialects.dense import from_array, integer_bits, integer_range
from daqkf.dialects.nn import (
    CastOp,
    ConstantOp,
    DequantizeOp,
    ElementwiseOp,
    MatmulOp,
    QuantizeOp,
    ReduceOp,
    SoftmaxOp,
)
from daqkf.dialects.nn.base import NODE, element_of, integers_of, shape_of
from daqkf.dialects.nn.canonicalization import computed
from daqkf.dialects.nn.elementwise import Function, Reduction
from daqkf.dialects.nn.ops import constant_of
from daqkf.passes.nn_levels import Levels, same_constant
from daqkf.passes.nn_terms import Product, inputs_of, scalar_of
from daqkf.passes.rewriting import rewrite_once


@dataclass(frozen=True)
class NnDequantizePass(ModulePass):
    """Give a quantised file's constants their real values, and its products real operands.

    - Constants that are quantised or scaled up become what that gives: rounded, and clipped.
    - A product of int8 activations and constant weights that is scaled up becomes one of the real
      values that the integers stand for.
    - What is rounded to the range that it has itself, as DynamicQuantizeLinear does it, goes on as
      it was, because kernels find their own scales for int8.

    Other roundings of activations stay, with their saturation, which may be a function of the
    network: a zero point at the range's low end makes a ReLU of it. `nn-outline` takes the levels
    over.

    - `requantize`: drop the levels of activations for new ones. A rounding becomes a saturation
      then, or nothing where the values before it cannot reach the bounds.
    """

    name = "nn-dequantize"

    requantize: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite_once(self, op, _FoldConstant())
        rewrite_once(self, op, _DropOwnRange())
        # The outermost products first: what they leave unread falls away with them.
        rewrite_once(self, op, GreedyRewritePatternApplier([_RealProduct()]), reverse=True)
        if self.requantize:
            rewrite_once(self, op, _Saturate())
        dce(op)


class _FoldConstant(RewritePattern):
    """A constant that is quantised or scaled up → the result, however large it is."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: QuantizeOp | DequantizeOp, rewriter: PatternRewriter) -> None:
        """Compute what the operation gives."""
        operands = [constant_of(value) for value in op.operands]
        arrays = [array for array in operands if array is not None]
        found = computed(op, arrays) if len(arrays) == len(operands) else None
        if found is None:
            return
        kind = element_of(op.result)
        constant = ConstantOp(from_array(found, cast(IntegerType | AnyFloat, kind)))
        if constant.result.type != op.result.type:
            return
        source = op.input.owner
        assert isinstance(source, Operation)
        _name_like(constant, source)
        rewriter.replace(op, constant)


def _name_like(new: Operation, old: Operation) -> None:
    """Give an operation the name in the file that another one has, and its place."""
    if name := old.attributes.get(NODE):
        new.attributes[NODE] = name
    new.results[0].name_hint = old.results[0].name_hint
    new.location = old.location


class _DropOwnRange(RewritePattern):
    """`dequantize(quantize(x))` → `x`, where the range of the levels is that of x."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: DequantizeOp, rewriter: PatternRewriter) -> None:
        """Take the pair out if nothing saturates by it."""
        quantize = _pair(op)
        if quantize is not None and _has_own_range(quantize):
            rewriter.replace(op, (), [quantize.input])


def _pair(op: DequantizeOp) -> QuantizeOp | None:
    """The operation whose levels are scaled up again, by the same scales and zero points."""
    quantize = op.input.owner
    if not isinstance(quantize, QuantizeOp) or op.axis != quantize.axis:
        return None
    pairs = (op.scale, quantize.scale), (op.zero_point, quantize.zero_point)
    return quantize if all(same_constant(*pair) for pair in pairs) else None


_RANGES_TRIED = [
    (low * size, high * size)
    for low, high in ((0, 1), (-1, 0), (-1, 1), (-1, 0.01), (-0.01, 1), (-0.3, 0.7), (0.5, 1))
    for size in (1e-3, 1.0, 37.5, 1e4)
]
"""Least and largest values for which levels must be those of the range."""

_FINE = 100
"""Steps that the larger side of the range has at least."""


def _has_own_range(quantize: QuantizeOp) -> bool:
    """Whether a scale and a zero point are made of the least and the largest of all that is
    quantised, such that nothing saturates.

    The front end spells DynamicQuantizeLinear out so. As others may spell it otherwise, or mean
    something else by it, both are computed for some ranges, and held against these.
    """
    bottom, top = integer_range(cast(IntegerType, element_of(quantize.result)))
    for low, high in _RANGES_TRIED:
        bounds = {Reduction.MIN: low, Reduction.MAX: high}
        scale, zero = (
            _of_range(value, quantize.input, bounds)
            for value in (quantize.scale, quantize.zero_point)
        )
        if scale is None or zero is None or scale.size != 1 or zero.size != 1:
            return False
        step, place = float(scale.item()), float(zero.item())
        # Rounding takes what is half a step beyond, and the zero point is rounded, too.
        reaches = (bottom - place - 1) * step <= low and high <= (top - place + 1) * step
        if not reaches or not 0 < step <= max(-low, high) / _FINE:
            return False
    return True


def _of_range(value: SSAValue, x: SSAValue, bounds: dict[Reduction, float]) -> NDArray[Any] | None:
    """What is made of the bounds of x, if it is made of nothing else."""
    op = value.owner
    if isinstance(op, ConstantOp):
        return constant_of(value)
    if isinstance(op, ReduceOp):
        shape = shape_of(x)
        if op.input is not x or shape is None or len(integers_of(op.axes)) != len(shape):
            return None
        bound = bounds.get(op.kind.data)
        return None if bound is None else np.full((1,) * _rank(value), bound, np.float32)
    if not isinstance(op, ElementwiseOp | QuantizeOp | CastOp):
        return None
    parts = [_of_range(operand, x, bounds) for operand in op.operands]
    arrays = [part for part in parts if part is not None]
    return computed(op, arrays) if len(arrays) == len(parts) else None


def _rank(value: SSAValue) -> int:
    return len(shape_of(value) or ())


class _Saturate(RewritePattern):
    """`dequantize(quantize(x))` → `min(max(x, low), high)`, without the rounding."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: DequantizeOp, rewriter: PatternRewriter) -> None:
        """Put the bounds in place of the pair, as far as the value may reach them."""
        quantize, levels = _pair(op), Levels.of(op)
        if quantize is None or levels is None:
            return
        low, high = levels.bounds
        least, most = _range_of(quantize.input)
        value, new = quantize.input, list[Operation]()
        if least < low == 0:
            new.append(ElementwiseOp(Function.RELU, [value], op.result.type))
            value = new[-1].results[0]
        for kind, bound, needed in (
            (Function.MAX, low, least < low != 0),
            (Function.MIN, high, most > high),
        ):
            if needed:
                limit = ConstantOp(from_array(np.array(bound, np.float32), f32))
                new += [limit, ElementwiseOp(kind, [value, limit.result], op.result.type)]
                value = new[-1].results[0]
        for added in new:
            if isinstance(added, ElementwiseOp):
                _name_like(added, op)
        if new:
            rewriter.insert(new, InsertPoint.before(op))
        rewriter.replace(op, (), [value])


def _range_of(value: SSAValue) -> tuple[float, float]:
    """Bounds that a value is known to be within."""
    op = value.owner
    if isinstance(op, SoftmaxOp):
        return 0.0, 1.0
    if isinstance(op, DequantizeOp) and (levels := Levels.of(op)) is not None:
        return levels.bounds
    if isinstance(op, ElementwiseOp):
        return _RANGES.get(op.kind.data, (-math.inf, math.inf))
    return -math.inf, math.inf


_RANGES = {
    Function.RELU: (0.0, math.inf),
    Function.ABS: (0.0, math.inf),
    Function.SIGMOID: (0.0, 1.0),
    Function.TANH: (-1.0, 1.0),
}
"""Of the results of functions."""


class _RealProduct(RewritePattern):
    """`cast(int8 x · W) · scale of x · scales of W` → `x · (W · scales)`."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ElementwiseOp, rewriter: PatternRewriter) -> None:
        """Put the weights' real values into the product, if that is what this is of."""
        found = _IntegerProduct.of(op) if op.kind.data is Function.MUL else None
        if found is None:
            return
        constant = ConstantOp(from_array(found.weights, f32))
        quantize, new = found.quantize, list[Operation]()
        activations = quantize.input
        if not _has_own_range(quantize):
            factors, axis = (quantize.scale, quantize.zero_point), quantize.axis.value.data
            new.append(DequantizeOp(quantize.result, factors, axis, activations.type))
            activations = new[0].results[0]
        result = MatmulOp(activations, constant.result, op.result.type)
        for added, old in ((constant, found.matmul.rhs.owner), (result, found.matmul)):
            assert isinstance(old, Operation)
            _name_like(added, old)
        rewriter.replace(op, [*new, constant, result])


@dataclass(frozen=True)
class _IntegerProduct:
    """A product of quantised activations and constant integers that is scaled up."""

    matmul: MatmulOp
    quantize: QuantizeOp
    weights: NDArray[np.float32]
    """The real values that the integers stand for, [K, N]."""

    @classmethod
    def of(cls, op: ElementwiseOp) -> "_IntegerProduct | None":
        """What a multiplication scales up."""
        product = Product.of(op.result)
        casts = [value for value in product.over if isinstance(value.owner, CastOp)]
        cast = casts[0].owner if len(casts) == 1 else None
        matmul = cast.input.owner if isinstance(cast, CastOp) else None
        if not isinstance(matmul, MatmulOp) or product.under:
            return None
        quantize, weights = _quantized(matmul.lhs), constant_of(matmul.rhs)
        if quantize is None or weights is None or weights.ndim != 2:
            return None
        rest = [value for value in product.over if value is not casts[0]]
        factor, step = product.factor, scalar_of(quantize.scale)
        if step:
            factor /= step
        elif quantize.scale in rest:
            rest.remove(quantize.scale)
        else:
            return None
        real = weights.astype(np.float64) * factor
        for value in rest:
            scales = constant_of(value)
            if scales is None or scales.shape != real.shape[1:]:
                return None
            real = real * scales
        return cls(matmul, quantize, real.astype(np.float32))


def _quantized(value: SSAValue) -> QuantizeOp | None:
    """What is quantised, of `cast(quantize(x))`, or of that minus its zero point.

    Without one it has to be 0.
    """
    parts = inputs_of(value, Function.SUB)
    wide = parts[0].owner if parts else value.owner
    quantize = wide.input.owner if isinstance(wide, CastOp) else None
    if not isinstance(quantize, QuantizeOp) or not _is_wide(value):
        return None
    zero = constant_of(quantize.zero_point)
    if parts is None:
        return quantize if zero is not None and not zero.any() else None
    cast, offset = parts[1].owner, constant_of(parts[1])
    if isinstance(cast, CastOp):
        return quantize if same_constant(cast.input, quantize.zero_point) else None
    if offset is not None and zero is not None:
        return quantize if np.array_equal(offset, zero.astype(np.int64)) else None
    return None


def _is_wide(value: SSAValue) -> bool:
    """Whether the difference of two bytes fits the type."""
    return (integer_bits(element_of(value)) or 0) > 8
