# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Kernels whose rows the host scales, and the same network without that.

`nn-scale` brings the rows x that a kernel reads to one range, and undoes it behind the kernel. What
changes weights goes by the network without: there a kernel's result is x·W + b, whatever rows are
divided by, and a bias is the same for all of them. In the network with scales it is the host that
adds b, since what a kernel adds is multiplied by the extent of each row. Of a ranked kernel the
weights of a constant feature are the bias (`with_bias`), since nothing may be added behind it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.ir import SSAValue
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.transforms.dead_code_elimination import dce

from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import ConstantOp, ElementwiseOp, LinearOp
from daqkf.dialects.nn.elementwise import Function
from daqkf.passes.nn_scale import Scales, constant_feature, function_of
from daqkf.passes.quantize.network_pruning import single_layers
from daqkf.passes.quantize.weights import bias_of, put_bias, replace_constant


@dataclass(frozen=True)
class RowScales:
    """How the host scales what a kernel reads, and undoes it; see `NnScalePass`."""

    rows: SSAValue
    """What is scaled, x / d, of a ranked product with a constant beside it."""
    centre: float
    """c; the kernel's own bias is c times the sums of its weights."""
    sums: ConstantOp | None
    """The sums of the weights, of which the host adds multiples; None if the product is ranked."""
    result: ElementwiseOp
    """What x·W is the result of."""

    @classmethod
    def of(cls, call: LinearOp) -> "RowScales | None":
        """Those of a kernel's call, if the host scales its rows."""
        scales, scaled = Scales.read(call.input), function_of(call.input, Function.DIV)
        if scales is None or scaled is None:
            return None
        grown = call.result.get_user_of_unique_use()
        if not isinstance(grown, ElementwiseOp) or scaled.inputs[1] not in grown.inputs:
            return None
        if scales.constant is not None:
            return cls(scaled.inputs[0], 0.0, None, grown)
        moved = function_of(scaled.inputs[0], Function.SUB)
        if moved is None:
            return None
        added = grown.result.get_user_of_unique_use()
        if not isinstance(added, ElementwiseOp) or added.kind.data is not Function.ADD:
            return None
        shift = function_of(added.inputs[1], Function.MUL)
        sums = shift and shift.inputs[1].owner
        if not isinstance(sums, ConstantOp):
            return None
        return cls(moved.inputs[0], scales.centre, sums, added)

    def follow(self, weights: NDArray[Any]) -> NDArray[np.float32]:
        """Let the host know the sums of other weights [K, N]; gives the kernel's own bias [N]."""
        if self.sums is None:
            return np.zeros(weights.shape[1], np.float32)
        sums = weights.sum(axis=0, dtype=np.float64)
        shape = self.sums.array().shape
        self.sums.value = from_array(sums.astype(np.float32).reshape(shape), f32)
        return (self.centre * sums).astype(np.float32)

    def add(self, bias: NDArray[np.float32]) -> None:
        """Let the host add a bias [N] to what the kernel's rows become."""
        result = self.result.result
        constant = ConstantOp(from_array(bias, f32))
        total = ElementwiseOp(Function.ADD, [result, constant.result], result.type)
        total.result.name_hint = result.name_hint
        Rewriter.insert_op([constant, total], InsertPoint.after(self.result))
        result.replace_uses_with_if(total.result, lambda use: use.operation is not total)


def without_row_scales(module: ModuleOp) -> ModuleOp:
    """A copy of a network after `nn-outline` whose kernels read rows as they are."""
    plain = module.clone()
    for layer in single_layers(plain).values():
        scales = RowScales.of(layer.call)
        if scales is None:
            continue
        layer.call.operands[0] = scales.rows
        scales.result.result.replace_all_uses_with(layer.call.result)
        bias = bias_of(layer.matmul)
        if bias is not None:
            replace_constant(bias, np.zeros_like(bias.array()), None)
    dce(plain)
    return plain


def constant_of_rows(call: LinearOp) -> float | None:
    """The constant feature that a kernel reads behind all others, if it is ranked.

    In a network with scales or without.
    """
    scaled = function_of(call.input, Function.DIV)
    return constant_feature(call.input if scaled is None else scaled.inputs[0])


def with_bias(
    weights: NDArray[np.float32], bias: NDArray[np.floating], constant: float
) -> NDArray[np.float32]:
    """Weights [K, N] whose last row, of a constant feature, does what a bias [N] does, too."""
    found = weights.copy()
    found[-1] += bias / constant
    return found


def take_weights(module: ModuleOp, plain: ModuleOp) -> None:
    """Give the kernels of a network the weights and biases that those of its copy have now.

    Args:
        module: a network, some of whose kernels may have their rows scaled.
        plain: what `without_row_scales` made of it, with other constants.
    """
    others = single_layers(plain)
    for name, layer in single_layers(module).items():
        weights, bias = others[name].weights.array(), bias_of(others[name].matmul)
        scales = RowScales.of(layer.call)
        constant = constant_of_rows(layer.call)
        if constant is not None and bias is not None:
            weights, bias = with_bias(weights, bias.array(), constant), None
        replace_constant(layer.weights, weights, None)
        if scales is not None:
            inner, outer = scales.follow(weights), None if bias is None else bias.array()
            if outer is not None and outer.any():
                scales.add(outer)
            if bias_of(layer.matmul) is not None:
                put_bias(layer.matmul, inner)
        elif bias is not None:
            put_bias(layer.matmul, bias.array())
