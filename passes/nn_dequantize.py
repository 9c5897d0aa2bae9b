# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-dequantize`: a quantised file's integers → the real numbers that they stand for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.transforms.dead_code_elimination import dce

from daqkf.dialects.dense import from_array, integer_bits
from daqkf.dialects.nn import (
    CastOp,
    ConstantOp,
    DequantizeOp,
    ElementwiseOp,
    MatmulOp,
    QuantizeOp,
)
from daqkf.dialects.nn.base import NODE, element_of
from daqkf.dialects.nn.elementwise import Function
from daqkf.dialects.nn.ops import constant_of
from daqkf.passes.nn_terms import Product, inputs_of, scalar_of
from daqkf.passes.rewriting import rewrite_once


@dataclass(frozen=True)
class NnDequantizePass(ModulePass):
    """Take out the rounding of activations that a quantised file states; weights keep theirs.

    Kernels find their own scales for int8 activations. So what was quantised and scaled up again
    at once goes on as it was; and a product of int8 activations and constant weights, scaled up,
    is one of the activations and the weights' real values. Results differ by the file's rounding of
    activations. Everything else stays as it is.
    """

    name = "nn-dequantize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite_once(self, op, _DropRounding())
        # The outermost products first: what they leave unread falls away with them.
        rewrite_once(self, op, GreedyRewritePatternApplier([_RealProduct()]), reverse=True)
        dce(op)


class _DropRounding(RewritePattern):
    """`dequantize(quantize(x))` → `x`, without the file's rounding."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: DequantizeOp, rewriter: PatternRewriter) -> None:
        """Take the pair out if the scales and the zero points are the same."""
        quantize = op.input.owner
        if not isinstance(quantize, QuantizeOp) or op.axis != quantize.axis:
            return
        pairs = (op.scale, quantize.scale), (op.zero_point, quantize.zero_point)
        if all(_equal(*pair) for pair in pairs):
            rewriter.replace(op, (), [quantize.input])


def _equal(a: SSAValue, b: SSAValue) -> bool:
    left, right = constant_of(a), constant_of(b)
    if left is None or right is None:
        return a is b
    return bool(np.array_equal(left, right))


class _RealProduct(RewritePattern):
    """`cast(int8 x · W) · scale of x · scales of W` → `x · (W · scales)`."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ElementwiseOp, rewriter: PatternRewriter) -> None:
        """Put the weights' real values into the product, if that is what this is of."""
        found = _IntegerProduct.of(op) if op.kind.data is Function.MUL else None
        if found is None:
            return
        constant = ConstantOp(from_array(found.weights, f32))
        result = MatmulOp(found.quantize.input, constant.result, op.result.type)
        for new, old in ((constant, found.matmul.rhs.owner), (result, found.matmul)):
            assert isinstance(old, Operation)
            if name := old.attributes.get(NODE):
                new.attributes[NODE] = name
            new.results[0].name_hint = old.results[0].name_hint
        rewriter.replace(op, [constant, result])


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
        return quantize if _equal(cast.input, quantize.zero_point) else None
    if offset is not None and zero is not None:
        return quantize if np.array_equal(offset, zero.astype(np.int64)) else None
    return None


def _is_wide(value: SSAValue) -> bool:
    """Whether the difference of two bytes fits the type."""
    return (integer_bits(element_of(value)) or 0) > 8
