# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The `nn` dialect: whole networks as the host runs them, between and around kernels."""

from xdsl.ir import Dialect

from daqkf.dialects.nn.attention import AttentionOp
from daqkf.dialects.nn.canonicalization import give_traits
from daqkf.dialects.nn.causal_attention import CausalAttentionOp
from daqkf.dialects.nn.convolution import Col2ImOp, Im2ColOp
from daqkf.dialects.nn.decoders import CachedAttentionOp, PairsAttr, RmsNormOp, RotaryOp
from daqkf.dialects.nn.elementwise import FunctionAttr, ReductionAttr
from daqkf.dialects.nn.operators import ModelAttr, OnnxType, OperatorOp
from daqkf.dialects.nn.ops import (
    CastOp,
    ConstantOp,
    DequantizeOp,
    ElementwiseOp,
    LayerNormOp,
    LinearOp,
    MatmulOp,
    ProductOp,
    QuantizeOp,
    ReduceOp,
    SoftmaxOp,
)
from daqkf.dialects.nn.shaping import (
    ConcatOp,
    ExpandOp,
    GatherOp,
    ReshapeOp,
    ShapeOp,
    SliceOp,
    SqueezeOp,
    TransposeOp,
    UnsqueezeOp,
)

give_traits()

NN = Dialect(
    "nn",
    [
        AttentionOp,
        CachedAttentionOp,
        CastOp,
        CausalAttentionOp,
        Col2ImOp,
        ConcatOp,
        ConstantOp,
        DequantizeOp,
        ElementwiseOp,
        ExpandOp,
        GatherOp,
        Im2ColOp,
        LayerNormOp,
        LinearOp,
        MatmulOp,
        OperatorOp,
        ProductOp,
        QuantizeOp,
        ReduceOp,
        ReshapeOp,
        RmsNormOp,
        RotaryOp,
        ShapeOp,
        SliceOp,
        SoftmaxOp,
        SqueezeOp,
        TransposeOp,
        UnsqueezeOp,
    ],
    [FunctionAttr, ModelAttr, OnnxType, PairsAttr, ReductionAttr],
)

__all__ = [
    "NN",
    "AttentionOp",
    "CachedAttentionOp",
    "CastOp",
    "CausalAttentionOp",
    "Col2ImOp",
    "ConcatOp",
    "ConstantOp",
    "DequantizeOp",
    "ElementwiseOp",
    "ExpandOp",
    "GatherOp",
    "Im2ColOp",
    "LayerNormOp",
    "LinearOp",
    "MatmulOp",
    "ModelAttr",
    "OnnxType",
    "OperatorOp",
    "PairsAttr",
    "ProductOp",
    "QuantizeOp",
    "ReduceOp",
    "ReshapeOp",
    "RmsNormOp",
    "RotaryOp",
    "ShapeOp",
    "SliceOp",
    "SoftmaxOp",
    "SqueezeOp",
    "TransposeOp",
    "UnsqueezeOp",
]
