# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-dequantize`: a quantised file's integers → the real numbers that they stand for."""

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import IntegerType, ModuleOp, TensorType, f32
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.transforms.dead_code_elimination import dce

from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import (
    CastOp,
    ConstantOp,
    DequantizeOp,
    ElementwiseOp,
    MatmulOp,
    QuantizeOp,
)
from daqkf.dialects.nn.base import NODE
from daqkf.passes.nn_terms import Product, inputs_of


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
        for found in [entry for entry in op.walk() if isinstance(entry, DequantizeOp)]:
            quantize = found.input.owner
            if isinstance(quantize, QuantizeOp) and _same(found, quantize):
                found.result.replace_all_uses_with(quantize.input)
        # The outermost products first: what they leave unread falls away with them.
        for found in reversed([entry for entry in op.walk() if isinstance(entry, ElementwiseOp)]):
            if found.kind.data == "mul" and found.result.uses:
                _real_product(found)
        dce(op)


def _same(one: DequantizeOp, other: QuantizeOp) -> bool:
    """Whether the scales and the zero points are the same."""
    pairs = (one.scale, other.scale), (one.zero_point, other.zero_point)
    return one.axis == other.axis and all(_equal(*pair) for pair in pairs)


def _equal(a: SSAValue, b: SSAValue) -> bool:
    if isinstance(a.owner, ConstantOp) and isinstance(b.owner, ConstantOp):
        return bool(np.array_equal(a.owner.array(), b.owner.array()))
    return a is b


def _real_product(op: ElementwiseOp) -> None:
    """`cast(int8 x · W) · scale of x · scales of W` → `x · (W · scales)`."""
    product = Product.of(op.result)
    casts = [value for value in product.over if isinstance(value.owner, CastOp)]
    cast = casts[0].owner if len(casts) == 1 else None
    matmul = cast.input.owner if isinstance(cast, CastOp) else None
    if not isinstance(matmul, MatmulOp) or product.under:
        return
    quantize, weights = _quantized(matmul.lhs), matmul.rhs.owner
    if quantize is None or not isinstance(weights, ConstantOp) or weights.array().ndim != 2:
        return
    rest = [value for value in product.over if value is not casts[0]]
    factor = product.factor
    if isinstance(quantize.scale.owner, ConstantOp) and quantize.scale.owner.array().size == 1:
        factor /= float(quantize.scale.owner.array().reshape(()))
    elif quantize.scale in rest:
        rest.remove(quantize.scale)
    else:
        return
    real = weights.array().astype(np.float64) * factor
    for value in rest:
        scales = value.owner.array() if isinstance(value.owner, ConstantOp) else None
        if scales is None or scales.shape != real.shape[1:]:
            return
        real = real * scales
    constant = ConstantOp(from_array(real.astype(np.float32), f32))
    result = MatmulOp(quantize.input, constant.result, op.result.type)
    for new, old in ((constant, weights), (result, matmul)):
        if name := old.attributes.get(NODE):
            new.attributes[NODE] = name
        new.results[0].name_hint = old.results[0].name_hint
    Rewriter.insert_op([constant, result], InsertPoint.before(op))
    op.result.replace_all_uses_with(result.result)


def _quantized(value: SSAValue) -> QuantizeOp | None:
    """What is quantised, of `cast(quantize(x))`, or of that minus its zero point.

    Without one it has to be 0.
    """
    parts = inputs_of(value, "sub")
    wide = parts[0].owner if parts else value.owner
    quantize = wide.operands[0].owner if isinstance(wide, CastOp) else None
    if not isinstance(quantize, QuantizeOp) or not _is_wide(value):
        return None
    zero = quantize.zero_point.owner
    if parts is None:
        is_zero = isinstance(zero, ConstantOp) and not zero.array().any()
        return quantize if is_zero else None
    offset = parts[1].owner
    if isinstance(offset, CastOp):
        return quantize if _equal(offset.input, quantize.zero_point) else None
    if isinstance(offset, ConstantOp) and isinstance(zero, ConstantOp):
        same = np.array_equal(offset.array(), zero.array().astype(np.int64))
        return quantize if same else None
    return None


def _is_wide(value: SSAValue) -> bool:
    """Whether the difference of two bytes fits the type."""
    kind = value.type.element_type if isinstance(value.type, TensorType) else None
    return isinstance(kind, IntegerType) and kind.width.data > 8
