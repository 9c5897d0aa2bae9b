# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`spaq-quantize`: calibrated float layers → exact integers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f32, i8, i32
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.utils.exceptions import PassFailedException

from daqkf.dialects.dense import from_array
from daqkf.dialects.spaq import (
    ActivationOp,
    AddOp,
    CalibratedOp,
    ConstantOp,
    DequantizeOp,
    LevelsAttr,
    LevelSet,
    MatmulOp,
    QuantizeOp,
    RequantizeOp,
)
from daqkf.dialects.spaq.ops import activations, chain, defining_constant, features
from daqkf.passes.maths.levels import METHODS, Fit, fit, fit_exact
from daqkf.passes.maths.quantization import activation_table, requantization, symmetric_scale
from daqkf.passes.spaq_analyze import encode
from daqkf.passes.weights import float_products

_STAGES = (AddOp, CalibratedOp, ActivationOp, CalibratedOp)

_BIAS_BITS = 24
"""A channel's scale is coarse enough for its bias to fit these bits."""

_RATIO_BITS = 30
"""A channel's scale is at least 2^-30 of the scale its sums are requantised to."""

_EMPTY_RATIO = 2.0**-8
"""Scale of a channel without weights, as a share of the scale its bias is requantised to."""


@dataclass(frozen=True)
class _Layer:
    """A calibrated float layer, as found in the IR."""

    matmul: MatmulOp
    weights: ConstantOp
    bias: ConstantOp | None
    activation: ActivationOp | None
    last: Operation
    input_scale: float
    sum_scale: float
    output_scale: float


@dataclass(frozen=True)
class SpaqQuantizePass(ModulePass):
    """Quantise each calibrated float layer `act(x·W + b)` to int8 and exact integer sums.

    Weights become levels with a scale per output channel, fitted to the non-zeros. Around the
    layer stand `spaq.quantize` and `spaq.dequantize`, so that the function keeps its types;
    between one layer and the next the integers stay. Every range must be stated by
    `spaq.calibrated`.

    - `kind`: `uniform` (magnitudes 1..n times a fitted step), `codebook` (free levels),
      `ternary` (0 and ±1 times a scale) or `binary` (±1 times a scale; only zeros stay zero).
    - `magnitudes`: distinct magnitudes besides zero that a channel may use, 1..127; by default
      127, and 1 for ternary and binary.
    - `maximum`: the largest level of a codebook; by default 2·magnitudes + 1.
    - `method`: `lloyd-max` iterates, `optimal` takes the optimum and longer.
    - `cycles-weight`: minimise error and cycles of the array; at 1, one per cent of the cycles is
      worth one per cent of the error. By default 0, errors alone.
    - `max-shift`: of the array whose cycles are counted; its steps are up to 2^max-shift.
    - `exact`: the weights are integer levels already; none may be outside the level set.
    """

    name = "spaq-quantize"

    kind: str = "uniform"
    magnitudes: int | None = None
    maximum: int | None = None
    exact: bool = False
    method: str = METHODS[0]
    cycles_weight: int | float = 0.0
    max_shift: int = 3

    def level_set(self) -> LevelSet:
        """The level set that the options describe.

        Raises:
            PassFailedException: there is no such level set.
        """
        try:
            return LevelSet.of(self.kind, self.magnitudes, self.maximum)
        except ValueError as error:
            raise PassFailedException(f"{self.name}: {error}") from None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        levels = self.level_set()
        for matmul, constant in float_products(op):
            try:
                layer = _find(matmul, constant)
                _quantize(layer, levels, self._fit(constant.array(), levels))
            except ValueError as error:
                raise PassFailedException(f"{self.name}: {error}") from None

    def _fit(self, weights: NDArray, levels: LevelSet) -> Fit:
        if self.exact:
            return fit_exact(weights, levels)
        return fit(
            weights,
            levels,
            method=self.method,
            cycles_weight=self.cycles_weight,
            max_shift=self.max_shift,
        )


def _find(matmul: MatmulOp, weights: ConstantOp) -> _Layer:
    before = matmul.input.owner
    if isinstance(before, CalibratedOp):
        input_scale = symmetric_scale(before.absmax.value.data)
    elif isinstance(before, DequantizeOp):
        input_scale = before.scale.value.data
    else:
        raise ValueError("the input of a product has no spaq.calibrated range")
    stages = chain(matmul, _STAGES)
    add = next((stage for stage in stages if isinstance(stage, AddOp)), None)
    bias = defining_constant(add.bias) if add else None
    if add is not None and bias is None:
        raise ValueError("the bias of a layer must be a spaq.constant")
    activation = next((stage for stage in stages if isinstance(stage, ActivationOp)), None)
    ranges = [stage for stage in stages if isinstance(stage, CalibratedOp)]
    if len(ranges) != (1 if activation is None else 2):
        raise ValueError("the sums or the results of a product have no spaq.calibrated range")
    scales = [symmetric_scale(op.absmax.value.data) for op in ranges]
    return _Layer(matmul, weights, bias, activation, stages[-1], input_scale, scales[0], scales[-1])


def _quantize(layer: _Layer, level_set: LevelSet, fit: Fit) -> None:
    bias = np.zeros(len(fit.scales))
    if layer.bias is not None:
        bias = layer.bias.array().astype(np.float64)
    levels, scales = _bounded(fit, bias, layer)
    sums = layer.input_scale * scales
    multiplier, shift = requantization(sums / layer.sum_scale)

    encoding = encode(levels, LevelsAttr(level_set))
    channels = features(layer.matmul.result)
    builder = _Builder(layer)
    x = _integers(layer, builder)
    constant = builder.add(
        ConstantOp(from_array(levels, i8, encoding), from_array(scales, f32)), layer.weights
    )
    result = builder.add(MatmulOp(x, constant.results[0], activations(channels, i32)), None)
    if layer.bias is not None:
        integers = from_array(np.rint(bias / sums).astype(np.int64), i32)
        offset = builder.add(ConstantOp(integers), layer.bias)
        result = builder.add(AddOp(result.results[0], offset.results[0]), None)
    result = builder.add(
        RequantizeOp(result.results[0], from_array(multiplier, i32), from_array(shift, i32)), None
    )
    if layer.activation is not None:
        function = layer.activation.function.data
        table = activation_table(function, layer.sum_scale, layer.output_scale)
        result = builder.add(ActivationOp(function, result.results[0], from_array(table, i8)), None)
    result = builder.add(DequantizeOp(result.results[0], layer.output_scale), layer.last)
    _replace(layer, result)


def _bounded(
    fit: Fit, bias: NDArray[np.float64], layer: _Layer
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Levels and scales whose biases and requantisation factors the array can hold.

    A channel with weights that are tiny beside its bias, or beside what its sums are
    requantised to, gets a coarser scale; the levels are rounded to it, mostly to zero.
    """
    sum_unit = layer.sum_scale / layer.input_scale
    empty = ~fit.levels.any(axis=0)
    scales = np.where(empty, sum_unit * _EMPTY_RATIO, fit.scales)
    floor = np.maximum(
        np.abs(bias) / layer.input_scale / (1 << _BIAS_BITS), sum_unit / (1 << _RATIO_BITS)
    )
    coarse = scales < floor
    rounded = np.rint(fit.levels * (scales / np.where(coarse, floor, scales)))
    return rounded.astype(np.int8), np.where(coarse, floor, scales)


@dataclass
class _Builder:
    """Puts new operations before a layer's product, named like what they stand for."""

    layer: _Layer

    def add(self, op: Operation, like: Operation | None) -> Operation:
        if like is not None:
            op.results[0].name_hint = like.results[0].name_hint
        Rewriter.insert_op(op, InsertPoint.before(self.layer.matmul))
        return op


def _integers(layer: _Layer, builder: _Builder) -> SSAValue:
    """The layer's input as int8: what another layer has just left, or quantised."""
    before = layer.matmul.input.owner
    if isinstance(before, DequantizeOp):
        return before.input
    source = before.input if isinstance(before, CalibratedOp) else layer.matmul.input
    return builder.add(QuantizeOp(source, layer.input_scale), None).results[0]


def _replace(layer: _Layer, result: Operation) -> None:
    """Let the result take the layer's place, and drop what nothing uses any more."""
    layer.last.results[0].replace_all_uses_with(result.results[0])
    before = layer.matmul.input.owner
    dead: Operation | None = layer.last
    while isinstance(dead, Operation) and not any(value.uses for value in dead.results):
        operands = list(dead.operands)
        Rewriter.erase_op(dead)
        for value in operands[1:]:
            if isinstance(value.owner, ConstantOp) and not value.uses:
                Rewriter.erase_op(value.owner)
        first = operands[0].owner if operands else None
        dead = first if isinstance(first, Operation) and first is not before else None
    # Its range lives on in the scale; but another layer may still need the same input.
    if isinstance(before, CalibratedOp | DequantizeOp) and not before.result.uses:
        Rewriter.erase_op(before)
