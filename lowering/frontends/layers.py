# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Matrices that are the linear layers of a network → `nn`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ArrayAttr, FunctionType, ModuleOp, StringAttr, f32, i64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from daqkf.dialects.dense import from_array
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.interpreting import ENTRY
from daqkf.dialects.nn import ConstantOp, ElementwiseOp, GatherOp, MatmulOp
from daqkf.dialects.nn.base import NODE
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.functions import FUNCTIONS
from daqkf.lowering.frontends.arrays import Compact, compacted, finite


@dataclass(frozen=True)
class Layer:
    """`act(x·W + b)`, and `+ x` if it is a residual branch.

    Weights are real [K, N], as an array or a SciPy sparse matrix; the bias is [N].
    """

    name: str
    weights: Any
    bias: Any = None
    activation: str | None = None
    residual: bool = False


def import_layers(layers: Sequence[Layer]) -> ModuleOp:
    """Layers that follow one another as the function `main`, [?, K] → [?, N] in f32.

    Raises:
        ValueError: no layers, values that are not finite, shapes that do not fit, or an unknown
            activation (known: the keys of `daqkf.hw_targets.functions.FUNCTIONS`); the message
            begins with the layer's name where there are several.
    """
    if not layers:
        raise ValueError("no layers")
    block, value = Block(), None
    for layer in layers:
        try:
            compact = compacted(layer.weights)
            if value is None:
                value = block.insert_arg(activations(compact.features, f32), 0)
                value.name_hint = "x"
            value = _append(block, value, compact, layer)
        except ValueError as error:
            place = f"{layer.name}: " if len(layers) > 1 else ""
            raise ValueError(f"{place}{error}") from None
    assert value is not None
    block.add_op(ReturnOp(value))
    kind = FunctionType.from_lists(list(block.arg_types), [value.type])
    function = FuncOp(ENTRY, kind, Region(block))
    function.attributes["inputs"] = ArrayAttr([StringAttr("x")])
    module = ModuleOp([function])
    verify(module)
    return module


def _append(block: Block, x: SSAValue, compact: Compact, layer: Layer) -> SSAValue:
    """The result of a layer of x, whose operations go to the end of the block."""
    features, left = compact.features, compact.matrix.shape[1]
    channels = left if compact.columns is None else len(compact.columns)
    if x.type != (expected := activations(features, f32)):
        raise ValueError(f"weights for {features} features, but the layer before gives {x.type}")
    if layer.activation is not None and layer.activation not in FUNCTIONS:
        known = ", ".join(FUNCTIONS)
        raise ValueError(f"unknown activation '{layer.activation}' (known: {known})")
    kind = activations(channels, f32)

    def add(op: Any, part: str) -> SSAValue:
        op.attributes[NODE] = StringAttr(f"{layer.name}.{part}")
        block.add_op(op)
        return op.results[0]

    def taken(value: SSAValue, places: NDArray[np.int64] | None, part: str) -> SSAValue:
        """The features of a value that are named."""
        if places is None:
            return value
        indices = add(ConstantOp(from_array(places, i64)), f"{part}.indices")
        return add(GatherOp(value, indices, 1, activations(len(places), f32)), part)

    weights = add(ConstantOp(from_array(compact.matrix, f32)), "weight")
    read = taken(x, compact.rows, "used")
    product = add(MatmulOp(read, weights, activations(left, f32)), "product")
    value = taken(product, compact.columns, "outputs")
    if layer.bias is not None:
        vector = finite("bias", layer.bias, 1)
        if len(vector) != channels:
            raise ValueError(f"bias has {len(vector)} entries for {channels} output channels")
        bias = add(ConstantOp(from_array(vector, f32)), "bias")
        value = add(ElementwiseOp("add", [value, bias], kind), "sum")
    if layer.activation is not None:
        value = add(ElementwiseOp(layer.activation, [value], kind), layer.activation)
    if layer.residual:
        if kind != expected:
            raise ValueError(f"a residual layer needs as many outputs as its {features} inputs")
        value = add(ElementwiseOp("add", [x, value], kind), "residual")
    return value
