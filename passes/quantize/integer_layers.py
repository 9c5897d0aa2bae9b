# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Exact integers in place of a calibrated float layer, given the levels of its weights."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import f32, i8, i32
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from daqkf.dialects.dense import from_array
from daqkf.dialects.spaq import (
    ActivationOp,
    AddOp,
    CalibratedOp,
    ConstantOp,
    DequantizeOp,
    EncodingAttr,
    GatherOp,
    LevelsAttr,
    LevelSet,
    MatmulOp,
    QuantizeOp,
    RequantizeOp,
    ResidualOp,
    ScaleRowsOp,
)
from daqkf.dialects.spaq.checks import features, is_wide
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.numerics import MULTIPLIER_MAX
from daqkf.passes.quantize.calibration import Columns
from daqkf.passes.quantize.float_layers import FloatLayer, layer_of, source_of, stated_columns
from daqkf.passes.quantize.levels import Fit
from daqkf.passes.quantize.quantization import activation_table, requantization
from daqkf.passes.spaq_analyze import encode

_DEAD = (ConstantOp, CalibratedOp, DequantizeOp)
"""What is not needed once nothing reads it."""

_BIAS_BITS = 24
"""A channel's scale is coarse enough for its bias to fit these bits."""

_RATIO_BITS = 30
"""A channel's scale is at least 2^-30 of the scale its sums are requantised to."""

_EMPTY_RATIO = 2.0**-8
"""Scale of a channel without weights, as a share of the scale its bias is requantised to."""


def quantize_layer(
    matmul: MatmulOp,
    constant: ConstantOp,
    level_set: LevelSet,
    fitted: Fit,
    split: float = 0.0,
    bias: NDArray[np.float64] | None = None,
    wide: bool = False,
) -> None:
    """Put exact integers in place of the calibrated float layer that starts with a product.

    Args:
        matmul: the product, over f32.
        constant: its weights.
        level_set: what the levels of `fitted` are of; the weights' type will state it.
        fitted: levels and scales of the weights [K, N].
        split: the budget of extra columns, as a share of the features.
        bias: [N], in place of the layer's own.
        wide: whether results are wide, if they can be.

    Raises:
        ValueError: a range is missing, or the layer cannot be expressed; the IR is as before.
    """
    layer = layer_of(matmul, constant, split, wide)
    if bias is None:
        bias = np.zeros(len(fitted.scales))
        if layer.bias is not None:
            bias = layer.bias.array().astype(np.float64)
    builder = _Builder(layer)
    kept, steps = _kept(layer, builder, split)
    numbers = _numbers(layer, fitted, bias, steps)
    multiplier, shift = requantization(numbers.sums / numbers.sum_scales)
    table = None
    if layer.activation is not None:
        function, scale = layer.activation.function.data, layer.output.scale
        assert isinstance(scale, float)
        table = activation_table(function, float(layer.sum_scales[0]), scale)
    encoding = encode(numbers.levels, LevelsAttr(level_set))
    result = _integer_sums(layer, numbers, encoding, builder, split)
    if kept is not None:
        factors = from_array(np.rint(steps / numbers.sums).astype(np.int64), i32)
        result = builder.add(ResidualOp(result.results[0], kept, factors), layer.residual)
    factor = (from_array(values, i32) for values in (multiplier, shift))
    result = builder.add(RequantizeOp(result.results[0], *factor, wide=layer.wide), None)
    if layer.activation is not None and table is not None:
        function = layer.activation.function.data
        result = builder.add(ActivationOp(function, result.results[0], from_array(table, i8)), None)
    output = layer.output
    result = builder.add(DequantizeOp(result.results[0], output.scale, output.split), layer.last)
    _replace(layer, result)


@dataclass(frozen=True)
class _Numbers:
    """The numbers of an integer layer, for its columns of inputs K and of outputs N."""

    levels: NDArray[np.int8]
    """[K, N]"""
    scales: NDArray[np.float64]
    """[N] of the weights."""
    bias: NDArray[np.float64]
    """[N], real."""
    sums: NDArray[np.float64]
    """[N] what one step of the sums is worth."""
    sum_scales: NDArray[np.float64]
    """[N] what one step of the requantised sums is worth."""


def _numbers(
    layer: FloatLayer, fitted: Fit, bias: NDArray[np.float64], steps: NDArray[np.float64]
) -> _Numbers:
    """The numbers of a layer's columns, such that the array can hold its biases and factors.

    Extra columns meet the same weights again; extra outputs have their channel's weights too, and
    another bias. `steps` [N] are what the steps of what is added to the sums are worth.
    """
    output, input_scale = layer.output, layer.input.scale
    assert isinstance(input_scale, float)
    levels = layer.input.repeat(output.repeat(fitted.levels, axis=1))
    bias = output.shift(bias, layer.sum_scales)
    sum_scales = output.repeat(layer.sum_scales)
    floor = np.maximum(
        np.maximum(np.abs(bias) / (1 << _BIAS_BITS), sum_scales / (1 << _RATIO_BITS)),
        steps / MULTIPLIER_MAX,
    )
    levels, scales = _bounded(
        levels, output.repeat(fitted.scales), floor / input_scale, sum_scales / input_scale
    )
    return _Numbers(levels, scales, bias, input_scale * scales, sum_scales)


def _integer_sums(
    layer: FloatLayer, numbers: _Numbers, encoding: EncodingAttr, builder: "_Builder", split: float
) -> Operation:
    """The operation that gives the sums `x·W + b` of a layer, from its input as int8."""
    x = _integers(layer, builder, split)
    levels = from_array(numbers.levels, i8, encoding)
    weights = builder.add(ConstantOp(levels, from_array(numbers.scales, f32)), layer.weights)
    channels = activations(numbers.levels.shape[1], i32)
    result = builder.add(MatmulOp(x, weights.results[0], channels), None)
    scaled = layer.matmul.input.owner
    if isinstance(scaled, ScaleRowsOp):
        reach = scaled.reach.value.data
        result = builder.add(ScaleRowsOp(result.results[0], scaled.exponents, reach), None)
    if layer.bias is not None or numbers.bias.any():
        integers = from_array(np.rint(numbers.bias / numbers.sums).astype(np.int64), i32)
        offset = builder.add(ConstantOp(integers), layer.bias)
        result = builder.add(AddOp(result.results[0], offset.results[0]), None)
    return result


def _kept(
    layer: FloatLayer, builder: "_Builder", budget: float
) -> tuple[SSAValue | None, NDArray[np.float64]]:
    """What is added to a layer's sums, as int8, and what its steps are worth [N]."""
    if layer.residual is None:
        return None, np.zeros(1)
    kept = layer.residual.kept
    before, count = kept.owner, features(kept)
    narrow = isinstance(before, DequantizeOp) and not is_wide(before.input)
    if isinstance(before, DequantizeOp) and narrow and not len(before.columns()):
        return before.input, np.broadcast_to(before.scales(), count)
    if not isinstance(before, CalibratedOp):
        raise ValueError("a residual has no spaq.calibrated range, nor one int8 column a feature")
    columns = stated_columns(before, budget)
    return builder.quantized(before.input, columns), np.broadcast_to(columns.scale, count)


def _bounded(
    levels: NDArray[np.int8],
    scales: NDArray[np.float64],
    floor: NDArray[np.float64],
    sum_units: NDArray[np.float64],
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Levels and scales whose biases and requantisation factors the array can hold.

    A channel with weights that are tiny beside its bias, what is added to it, or what its sums are
    requantised to, gets a coarser scale, `floor` [N]; the levels are rounded to it, mostly to zero.
    That and the requantised steps [N] are in units of the input's scale.
    """
    empty = ~levels.any(axis=0)
    scales = np.where(empty, sum_units * _EMPTY_RATIO, scales)
    coarse = scales < floor
    rounded = np.rint(levels * (scales / np.where(coarse, floor, scales)))
    return rounded.astype(np.int8), np.where(coarse, floor, scales)


@dataclass
class _Builder:
    """Puts new operations before a layer's product, named like what they stand for.

    Their places in the file are those of what they stand for, or else of the product.
    """

    layer: FloatLayer

    def add(self, op: Operation, like: Operation | None) -> Operation:
        if like is not None:
            op.results[0].name_hint = like.results[0].name_hint
        op.location = (like or self.layer.matmul).location
        Rewriter.insert_op(op, InsertPoint.before(self.layer.matmul))
        return op

    def quantized(self, value: SSAValue, columns: Columns) -> SSAValue:
        """A value as int8, once for all who read the same columns."""
        new = QuantizeOp(value, columns.scale, columns.split)
        for use in value.uses:
            old = use.operation
            if isinstance(old, QuantizeOp) and old is not new and old.properties == new.properties:
                new.drop_all_references()
                return old.result
        return self.add(new, None).results[0]


def _integers(layer: FloatLayer, builder: _Builder, budget: float) -> SSAValue:
    """The layer's input as int8: what another layer has just left, or quantised."""
    before = source_of(layer.matmul)
    if isinstance(before, DequantizeOp):
        found = before.input
    else:
        assert isinstance(before, CalibratedOp)
        found = builder.quantized(before.input, stated_columns(before, budget))
    columns = layer.input.repeat(np.arange(features(layer.matmul.input), dtype=np.int32))
    if len(columns) == features(found):
        return found
    return builder.add(GatherOp(found, columns), None).results[0]


def _replace(layer: FloatLayer, result: Operation) -> None:
    """Let the result take the layer's place, and drop what nothing uses any more."""
    layer.last.results[0].replace_all_uses_with(result.results[0])
    scaled, before = layer.matmul.input.owner, source_of(layer.matmul)
    dead: Operation | None = layer.last
    while isinstance(dead, Operation) and not any(value.uses for value in dead.results):
        operands = list(dead.operands)
        Rewriter.erase_op(dead)
        for value in operands[1:]:
            if isinstance(value.owner, _DEAD) and not value.uses:
                Rewriter.erase_op(value.owner)
        first = operands[0].owner if operands else None
        dead = first if isinstance(first, Operation) and first not in (scaled, before) else None
    if isinstance(scaled, ScaleRowsOp) and not scaled.result.uses:
        Rewriter.erase_op(scaled)
    # Its range lives on in the scale; but another layer may still need the same input.
    if isinstance(before, CalibratedOp | DequantizeOp) and not before.result.uses:
        Rewriter.erase_op(before)
