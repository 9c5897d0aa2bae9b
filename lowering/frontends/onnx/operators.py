# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What is made of each ONNX operator, and which of its attributes are heeded."""

from collections.abc import Mapping
from functools import partial

from daqkf.dialects.nn import DequantizeOp, QuantizeOp
from daqkf.dialects.nn.elementwise import Reduction
from daqkf.hw_targets.functions import FUNCTIONS
from daqkf.lowering.frontends.onnx import (
    arithmetic,
    convolution,
    custom,
    decoders,
    microsoft,
    quantized,
    shaping,
)
from daqkf.lowering.frontends.onnx.graph import Operator

_FUNCTIONS = {
    "Abs": "abs",
    "Erf": "erf",
    "Exp": "exp",
    "Log": "log",
    "Neg": "neg",
    "Not": "not",
    "Reciprocal": "reciprocal",
    "Sqrt": "sqrt",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Swish": "silu",
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Pow": "pow",
    "And": "and",
    "Or": "or",
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Where": "where",
}
"""The function of `nn.elementwise` that an operator is."""

OPERATORS: Mapping[str, Operator] = {
    **{name: Operator(arithmetic.elementwise(kind)) for name, kind in _FUNCTIONS.items()},
    **{
        f"Reduce{kind.capitalize()}": Operator(
            arithmetic.reduce(kind), ("axes", "keepdims", "noop_with_empty_axes")
        )
        for kind in Reduction
    },
    "Max": Operator(arithmetic.variadic("max")),
    "Min": Operator(arithmetic.variadic("min")),
    "Sum": Operator(arithmetic.variadic("add")),
    "Attention": Operator(
        decoders.attention,
        (
            *("is_causal", "kv_num_heads", "q_num_heads", "scale", "softmax_precision"),
            "qk_matmul_output_mode",  # of an output that is refused
        ),
    ),
    "BatchNormalization": Operator(
        convolution.batch_normalization, ("epsilon", "momentum", "spatial", "training_mode")
    ),
    "Cast": Operator(arithmetic.cast, ("to", "saturate")),
    "Clip": Operator(arithmetic.clip, ("min", "max")),
    "Concat": Operator(shaping.concat, ("axis",)),
    "Constant": Operator(
        arithmetic.constant, ("value", "value_float", "value_floats", "value_int", "value_ints")
    ),
    "ConstantOfShape": Operator(arithmetic.constant_of_shape, ("value",)),
    "Conv": Operator(convolution.convolution, convolution.WINDOW_ATTRIBUTES),
    "ConvTranspose": Operator(
        convolution.transposed_convolution,
        (*convolution.WINDOW_ATTRIBUTES, "output_padding", "output_shape"),
    ),
    "DequantizeLinear": Operator(
        partial(quantized.quantization, op=DequantizeOp), ("axis", "block_size")
    ),
    "Dropout": Operator(arithmetic.dropout, ("ratio", "seed")),
    "DynamicQuantizeLinear": Operator(quantized.dynamic_quantize),
    "Expand": Operator(shaping.expand),
    "Flatten": Operator(shaping.flatten, ("axis",)),
    "Gather": Operator(shaping.gather, ("axis",)),
    "Gelu": Operator(arithmetic.gelu, ("approximate",)),
    "Gemm": Operator(arithmetic.gemm, ("alpha", "beta", "transA", "transB")),
    "Identity": Operator(arithmetic.identity),
    "LayerNormalization": Operator(arithmetic.layer_norm, ("axis", "epsilon", "stash_type")),
    "MatMul": Operator(arithmetic.matmul),
    "MatMulInteger": Operator(quantized.matmul_integer),
    "QLinearConv": Operator(convolution.quantized_convolution, convolution.WINDOW_ATTRIBUTES),
    "QLinearMatMul": Operator(quantized.qlinear_matmul),
    "QuantizeLinear": Operator(
        partial(quantized.quantization, op=QuantizeOp),
        ("axis", "saturate", "block_size", "output_dtype"),
    ),
    "RMSNormalization": Operator(decoders.rms_norm, ("axis", "epsilon", "stash_type")),
    "Reshape": Operator(shaping.reshape),
    "RotaryEmbedding": Operator(
        decoders.rotary, ("interleaved", "num_heads", "rotary_embedding_dim")
    ),
    "Shape": Operator(shaping.shape, ("start", "end")),
    "Slice": Operator(shaping.sliced, ("starts", "ends", "axes")),
    "Softmax": Operator(arithmetic.softmax, ("axis",)),
    "Split": Operator(shaping.split, ("axis", "num_outputs", "split")),
    "Squeeze": Operator(shaping.squeeze, ("axes",)),
    "Transpose": Operator(shaping.transpose, ("perm",)),
    "Unsqueeze": Operator(shaping.unsqueeze, ("axes",)),
    "com.microsoft.GroupQueryAttention": Operator(
        microsoft.group_query_attention, microsoft.ATTENTION_ATTRIBUTES
    ),
    "com.microsoft.MatMulNBits": Operator(
        custom.matmul_of_few_bits, ("K", "N", "bits", "block_size", "accuracy_level")
    ),
    "com.microsoft.RotaryEmbedding": Operator(
        microsoft.rotary, ("interleaved", "num_heads", "rotary_embedding_dim", "scale")
    ),
    "com.microsoft.SimplifiedLayerNormalization": Operator(
        microsoft.simplified_layer_norm, ("axis", "epsilon", "stash_type")
    ),
    "com.microsoft.SkipSimplifiedLayerNormalization": Operator(
        microsoft.skip_simplified_layer_norm, ("epsilon",)
    ),
    "qonnx.BipolarQuant": Operator(custom.bipolar),
    "qonnx.Quant": Operator(custom.quant, ("signed", "narrow", "rounding_mode")),
}
"""By `graph.operator_name`."""

FUSED = frozenset(
    (
        *(name for name, function in _FUNCTIONS.items() if function in FUNCTIONS),
        *("Add", "Mul", "Erf", "Gelu", "LayerNormalization", "Softmax"),
        *("QuantizeLinear", "DequantizeLinear", "qonnx.Quant"),
    )
)
"""Operators that kernels may take with them: functions, biases, residual additions, gates,
normalisation and attention, what is decomposed of them, and levels of quantised files."""
