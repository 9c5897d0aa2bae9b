# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`spaq-quantize`: calibrated float layers → exact integers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f32, i8, i32
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriteWalker
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.transforms.dead_code_elimination import dce
from xdsl.utils.exceptions import PassFailedException

from daqkf.dialects.dense import from_array
from daqkf.dialects.spaq import (
    ActivationOp,
    AddOp,
    CalibratedOp,
    ConstantOp,
    DequantizeOp,
    EncodingAttr,
    GateOp,
    GatherOp,
    LayerNormOp,
    LevelsAttr,
    LevelSet,
    MatmulOp,
    QuantizeOp,
    RequantizeOp,
    ResidualOp,
)
from daqkf.dialects.spaq.checks import features
from daqkf.dialects.spaq.ops import QuantizeOfDequantize, activations, chain, defining_constant
from daqkf.hw_targets.numerics import ACTIVATION_MAX, MULTIPLIER_MAX
from daqkf.passes.diagnostics import about, failing
from daqkf.passes.quantize.allocation import Choice, LevelChooser, noise_share
from daqkf.passes.quantize.calibration import HEADROOM, SPLIT, Columns, extra_columns, table_columns
from daqkf.passes.quantize.compensation import compensate
from daqkf.passes.quantize.gating import gate_scales
from daqkf.passes.quantize.input_statistics import InputStatistics
from daqkf.passes.quantize.levels import METHODS, Fit, fit, fit_exact, with_own_levels
from daqkf.passes.quantize.normalization import summable_scales
from daqkf.passes.quantize.quantization import activation_table, requantization
from daqkf.passes.quantize.rows import (
    attention_of,
    complete_attentions,
    head_ranges,
    quantize_attention,
    quantize_gate,
    quantize_normalization,
)
from daqkf.passes.quantize.samples import Samples, input_statistics, load_samples
from daqkf.passes.quantize.weights import bias_of, float_products, stated_levels
from daqkf.passes.spaq_analyze import encode

_DEAD = (ConstantOp, CalibratedOp, DequantizeOp)
"""What is not needed once nothing reads it."""

_BIAS_BITS = 24
"""A channel's scale is coarse enough for its bias to fit these bits."""

_RATIO_BITS = 30
"""A channel's scale is at least 2^-30 of the scale its sums are requantised to."""

_NOISES = (0.01, 0.1, 0.5)
"""What is aimed at where the words are given, as shares of the outputs' energy, in this order:
more noise buys zeros, and so options of fewer words."""

_PRICES = (1.0, 3.0, 9.0)
"""What is charged for noise where an accuracy is given, tried in this order, until …"""

_USED = 0.8
"""… the choice makes this share of the noise that it may."""

_EMPTY_RATIO = 2.0**-8
"""Scale of a channel without weights, as a share of the scale its bias is requantised to."""


@dataclass(frozen=True)
class _Layer:
    """A calibrated float layer, as found in the IR."""

    matmul: MatmulOp
    weights: ConstantOp
    bias: ConstantOp | None
    residual: ResidualOp | None
    activation: ActivationOp | None
    last: Operation
    input: Columns
    sum_scales: NDArray[np.float64]
    """[N] what one step of the requantised sums is worth."""
    output: Columns


@dataclass(frozen=True)
class Chosen:
    """Levels for a product that were chosen already."""

    level_set: LevelSet
    fit: Fit
    statistics: InputStatistics
    """Of what the product reads; the bias takes up the change of the mean."""

    def parts(self) -> tuple[LevelSet, Fit, InputStatistics]:
        """All three."""
        return self.level_set, self.fit, self.statistics


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
    - `samples`: a `.npy` file with float activations [T, K]. With it weights are rounded so that
      their errors make up for each other in the outputs, and the bias takes up the rest.
    - `accuracy`: with samples, choose levels for groups of channels such that the outputs keep
      this accuracy, a cosine like 0.99 or an SQNR like 25dB, at the fewest cycles.
    - `words`: with samples, choose them such that the products take at most this many stream
      words together, extra columns not counted, at the best accuracy.
    - `split`: extra int8 columns for features of large range, as a share of the features:
      those of the input, and those of a result behind relu, gelu or silu. 0 means none.
    - `keep`: channels whose weights are multiples of a step, as in a quantised file, keep these as
      their levels if a uniform level set has them.

    Where `spaq.quantize` and `spaq.dequantize` stand in place of `spaq.calibrated`, with one scale
    for all features, that scale stays.

    A range per feature gives sums without a function one scale for each channel; the input, a
    function's table, gates and what another product reads have one for all. What is added as a
    residual, or normalised or gated and read again, has larger scales for features of large range
    in place of extra columns, and products read those features several times (`spaq.gather`). A
    product with the attribute `spaq.levels` has the level set stated there instead.
    """

    name = "spaq-quantize"

    kind: str = "uniform"
    magnitudes: int | None = None
    maximum: int | None = None
    exact: bool = False
    method: str = METHODS[0]
    cycles_weight: int | float = 0.0
    max_shift: int = 3
    samples: str | None = None
    accuracy: str | float | int | None = None
    words: int | None = None
    split: float | int = SPLIT
    keep: bool = False

    def level_set(self) -> LevelSet:
        """The level set that the options describe.

        Raises:
            PassFailedException: there is no such level set, or `split` is no share.
        """
        try:
            extra_columns(1, self.split)
            return LevelSet.of(self.kind, self.magnitudes, self.maximum)
        except ValueError as error:
            raise PassFailedException(f"{self.name}: {error}") from None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        with failing(self.name):
            self.quantize(op, None if self.samples is None else load_samples(self.samples))

    def quantize(
        self,
        module: ModuleOp,
        samples: Samples | None = None,
        chosen: Sequence[Chosen] | None = None,
    ) -> None:
        """Quantise a module as the options say, with samples [T, K] in memory.

        What is `chosen` for each product, in their order, takes the place of levels to be found.

        Raises:
            ValueError: options or samples that do not fit, or a layer that cannot be expressed.
            PassFailedException: there is no such level set.
        """
        levels = self.level_set()
        if PatternRewriteWalker(QuantizeOfDequantize()).rewrite_module(module):
            dce(module)  # its second reader hides that a layer's last operation has but one
        found = list(float_products(module))
        given = list(chosen or ())
        if chosen is not None and len(given) != len(found):
            raise ValueError(f"levels for {len(given)} products, of which there are {len(found)}")
        choosing = self.accuracy is not None or self.words is not None
        if choosing and (samples is None or self.exact or None not in (self.accuracy, self.words)):
            raise ValueError("give accuracy or words, one of them, with samples and float weights")
        statistics = {} if samples is None or self.exact else input_statistics(module, samples)
        for matmul, constant in found:
            weights = constant.array().astype(np.float64)
            bias, seen, row = None, statistics.get(matmul), _row(matmul)
            with about(matmul):
                own_set = stated_levels(matmul) or levels
                if given:
                    own_set, fitted, seen = given.pop(0).parts()
                elif seen is None:
                    fitted = self._fit(weights, own_set)
                elif choosing:
                    own_set, fitted = self._choose(weights, seen, len(found))
                else:
                    fitted = self._compensated(weights, seen, own_set)
                if self.keep and not choosing and chosen is None:
                    fitted = with_own_levels(fitted, weights, own_set)
                if seen is not None:
                    own = bias_of(matmul)
                    bias = seen.bias_shift(weights, fitted.levels * fitted.scales)
                    bias = bias if own is None else bias + own.array()
                quantize_layer(matmul, constant, own_set, fitted, self.split, bias)
            self._quantize_rows(module, row)

    def _quantize_rows(self, module: ModuleOp, row: LayerNormOp | GateOp | None) -> None:
        """Quantise what a layer that has just been quantised completes."""
        for attention in complete_attentions(module):
            with about(attention):
                quantize_attention(attention, self.split)
        if row is not None:
            with about(row):
                if isinstance(row, LayerNormOp):
                    quantize_normalization(row, self.split)
                else:
                    quantize_gate(row, self.split)

    def _fit(
        self, weights: NDArray[Any], levels: LevelSet, importance: NDArray[np.float64] | None = None
    ) -> Fit:
        if self.exact:
            return fit_exact(weights, levels)
        return fit(
            weights,
            levels,
            importance=importance,
            method=self.method,
            cycles_weight=self.cycles_weight,
            max_shift=self.max_shift,
        )

    def _compensated(
        self, weights: NDArray[np.float64], seen: InputStatistics, levels: LevelSet
    ) -> Fit:
        hessian = seen.hessian()
        start = self._fit(weights, levels, np.diag(hessian))
        return compensate(weights, hessian, start, zero=levels.kind != "binary")

    def _choose(
        self, weights: NDArray[np.float64], seen: InputStatistics, layers: int
    ) -> tuple[LevelSet, Fit]:
        hessian = seen.hessian()
        if self.accuracy is not None:
            choice = self._accurate(weights, hessian, noise_share(self.accuracy))
            return choice.level_set, choice.fit
        assert self.words is not None
        # The words are shared out by the products' numbers alone.
        words = self.words / layers
        chooser = LevelChooser.of(weights, hessian, _NOISES[0], self.max_shift)
        for noise in _NOISES[1:]:
            if chooser.fewest_words <= words:
                break
            chooser = LevelChooser.of(weights, hessian, noise, self.max_shift)
        choice = chooser.within(words=words)
        return choice.level_set, choice.fit

    def _accurate(
        self, weights: NDArray[np.float64], hessian: NDArray[np.float64], noise: float
    ) -> Choice:
        """The fewest words for a share of noise.

        Where errors make up for each other the options make less noise than their prices are
        for; then options of higher prices may still be good enough.
        """
        best: Choice | None = None
        for price in _PRICES:
            chooser = LevelChooser.of(weights, hessian, price * noise, self.max_shift)
            choice = chooser.within(noise=noise)
            if best is None or choice.words < best.words:
                best = choice
            if choice.noise > _USED * noise:
                break
        assert best is not None
        return best


def quantize_layer(
    matmul: MatmulOp,
    constant: ConstantOp,
    level_set: LevelSet,
    fitted: Fit,
    split: float = 0.0,
    bias: NDArray[np.float64] | None = None,
) -> None:
    """Put exact integers in place of the calibrated float layer that starts with a product.

    Args:
        matmul: the product, over f32.
        constant: its weights.
        level_set: what the levels of `fitted` are of; the weights' type will state it.
        fitted: levels and scales of the weights [K, N].
        split: the budget of extra columns, see `SpaqQuantizePass`.
        bias: [N], in place of the layer's own.

    Raises:
        ValueError: a range is missing, or the layer cannot be expressed; the IR is as before.
    """
    layer = _find(matmul, constant, split)
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
    result = builder.add(RequantizeOp(result.results[0], *factor), None)
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
    layer: _Layer, fitted: Fit, bias: NDArray[np.float64], steps: NDArray[np.float64]
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
    layer: _Layer, numbers: _Numbers, encoding: EncodingAttr, builder: "_Builder", split: float
) -> Operation:
    """The operation that gives the sums `x·W + b` of a layer, from its input as int8."""
    x = _integers(layer, builder, split)
    levels = from_array(numbers.levels, i8, encoding)
    weights = builder.add(ConstantOp(levels, from_array(numbers.scales, f32)), layer.weights)
    channels = activations(numbers.levels.shape[1], i32)
    result = builder.add(MatmulOp(x, weights.results[0], channels), None)
    if layer.bias is not None or numbers.bias.any():
        integers = from_array(np.rint(numbers.bias / numbers.sums).astype(np.int64), i32)
        offset = builder.add(ConstantOp(integers), layer.bias)
        result = builder.add(AddOp(result.results[0], offset.results[0]), None)
    return result


def _find(matmul: MatmulOp, weights: ConstantOp, budget: float) -> _Layer:
    """The layer that starts with a product, and the int8 columns it reads and leaves.

    Raises:
        ValueError: a range is missing, or the bias is no constant.
    """
    stages = _stages(matmul)
    add = next((stage for stage in stages if isinstance(stage, AddOp)), None)
    bias = defining_constant(add.bias) if add else None
    if add is not None and bias is None:
        raise ValueError("the bias of a layer must be a spaq.constant")
    residual = next((stage for stage in stages if isinstance(stage, ResidualOp)), None)
    activation = next((stage for stage in stages if isinstance(stage, ActivationOp)), None)
    if residual is not None and activation is not None:
        raise ValueError("a function stands behind a residual; nothing but a normalisation may")
    stated = [stage for stage in stages if isinstance(stage, CalibratedOp | QuantizeOp)]
    if len(stated) != (1 if activation is None else 2):
        raise ValueError("the sums or the results of a product have no spaq.calibrated range")
    if activation is None:
        sum_scale, output = _sum_columns(matmul, stated[0], stages[-1])
    else:
        sum_scale, output = _result_columns(activation, stated[0], stated[1], budget)
    channels, last = features(matmul.result), stages[-1]
    sum_scales = np.broadcast_to(np.asarray(sum_scale, np.float64), channels)
    read = _input_columns(matmul, budget)
    return _Layer(matmul, weights, bias, residual, activation, last, read, sum_scales, output)


def _sum_columns(
    matmul: MatmulOp, stated: CalibratedOp | QuantizeOp, last: Operation
) -> tuple[float | NDArray[np.float64], Columns]:
    """The scale of a product's sums, and the int8 columns that they leave as."""
    if isinstance(stated, QuantizeOp):
        output = Columns(stated.scales(), stated.columns())
        return output.scale, output
    ranges, channels = stated.ranges(), features(matmul.result)
    if (row := _row(matmul)) is not None:
        found = np.broadcast_to(ranges, channels)
        if isinstance(row, GateOp):
            scale = gate_scales(row.function.data, found)
        else:
            scale = summable_scales(found)
        return scale, Columns(scale, np.empty(0, np.int32))
    if (attention := attention_of(last.results[0])) is not None:
        output = Columns.plain(head_ranges(attention, ranges) * HEADROOM)
        return output.scale, output
    # One multiplier and shift per channel are there anyway, so a scale for each is free.
    # A product that reads the integers needs a common one.
    common = any(isinstance(use.operation, MatmulOp) for use in last.results[0].uses)
    found = float(np.max(ranges)) if common else ranges
    output = Columns.plain(found if isinstance(found, float) else found * HEADROOM)
    return output.scale, output


def _result_columns(
    activation: ActivationOp,
    sums: CalibratedOp | QuantizeOp,
    results: CalibratedOp | QuantizeOp,
    budget: float,
) -> tuple[float, Columns]:
    """The scale of the sums before a function's table, and the int8 columns behind it."""
    function = activation.function.data
    if isinstance(sums, CalibratedOp) and isinstance(results, CalibratedOp):
        ranges = np.broadcast_to(results.ranges(), features(activation.result))
        return table_columns(function, sums.ranges(), ranges, budget)
    if isinstance(results, CalibratedOp):
        output = Columns.plain(float(np.max(results.ranges())))
    else:
        output = Columns(results.scales(), results.columns())
    assert isinstance(output.scale, float)
    if isinstance(sums, QuantizeOp):
        scale = sums.scales()
        assert isinstance(scale, float)
    elif function == "relu":
        scale = output.scale  # the levels of the results are among those of the sums
    else:
        scale, _ = table_columns(
            function, sums.ranges(), np.array([output.scale * ACTIVATION_MAX]), 0.0
        )
    return scale, output


def _stages(matmul: MatmulOp) -> list[Operation]:
    """What follows a product in its layer: a bias, a residual, a function, and what states the
    levels of sums and results: `spaq.calibrated` a range, `spaq.quantize` and `spaq.dequantize` a
    scale."""
    found = chain(matmul, (AddOp, ResidualOp))
    found += _statement([matmul, *found][-1])
    function = chain([matmul, *found][-1], (ActivationOp,))
    return [*found, *function, *(_statement(function[0]) if function else ())]


def _statement(op: Operation) -> list[Operation]:
    """The operations that state the levels of a result, if they are next."""
    pair = chain(op, (QuantizeOp, DequantizeOp))
    match pair:
        case [QuantizeOp() as quantize, DequantizeOp() as scaled]:
            plain = quantize.split is None and not isinstance(quantize.scales(), np.ndarray)
            return pair if plain and quantize.properties == scaled.properties else []
        case _:
            return chain(op, (CalibratedOp,))


def _row(matmul: MatmulOp) -> LayerNormOp | GateOp | None:
    """The normalisation or the gate of a layer's sums, if there is one."""
    last = [matmul, *_stages(matmul)][-1]
    reader = last.results[0].get_user_of_unique_use()
    return reader if isinstance(reader, LayerNormOp | GateOp) else None


def _input_columns(matmul: MatmulOp, budget: float) -> Columns:
    """The columns that a product reads, some of them repeated ones."""
    before = matmul.input.owner
    if isinstance(before, CalibratedOp):
        stated = _stated_columns(before, budget)
    elif isinstance(before, DequantizeOp):
        stated = Columns(before.scales(), before.columns())
    else:
        raise ValueError("the input of a product has no spaq.calibrated range")
    if not isinstance(stated.scale, np.ndarray):
        return stated
    scale = float(stated.scale.min())
    counts = np.rint(stated.scale / scale).astype(np.int64)
    if len(stated.split) or not np.allclose(stated.scale, counts * scale):
        raise ValueError(
            "the input of a product has a scale for each feature; state its range with "
            "spaq.calibrated to quantise it anew"
        )
    return Columns(scale, np.repeat(np.arange(len(counts)), counts - 1).astype(np.int32))


def _stated_columns(calibrated: CalibratedOp, budget: float) -> Columns:
    """The int8 columns of a value whose range is stated.

    What is added to sums has one column for each feature; and what has been quantised stays so.
    """
    for use in calibrated.input.uses:
        if isinstance(use.operation, QuantizeOp):
            return Columns(use.operation.scales(), use.operation.columns())
    ranges = np.broadcast_to(calibrated.ranges(), features(calibrated.result))
    readers = [use.operation for use in calibrated.result.uses]
    if not any(isinstance(reader, ResidualOp) for reader in readers):
        return Columns.of(ranges, budget)
    multiplied = any(isinstance(reader, MatmulOp) for reader in readers)
    return Columns.single(ranges, budget) if multiplied else Columns.plain(ranges)


def _kept(
    layer: _Layer, builder: "_Builder", budget: float
) -> tuple[SSAValue | None, NDArray[np.float64]]:
    """What is added to a layer's sums, as int8, and what its steps are worth [N]."""
    if layer.residual is None:
        return None, np.zeros(1)
    kept = layer.residual.kept
    before, count = kept.owner, features(kept)
    if isinstance(before, DequantizeOp) and not len(before.columns()):
        return before.input, np.broadcast_to(before.scales(), count)
    if not isinstance(before, CalibratedOp):
        raise ValueError("a residual has no spaq.calibrated range, nor one int8 column a feature")
    columns = _stated_columns(before, budget)
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

    layer: _Layer

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


def _integers(layer: _Layer, builder: _Builder, budget: float) -> SSAValue:
    """The layer's input as int8: what another layer has just left, or quantised."""
    before = layer.matmul.input.owner
    if isinstance(before, DequantizeOp):
        found = before.input
    else:
        assert isinstance(before, CalibratedOp)
        found = builder.quantized(before.input, _stated_columns(before, budget))
    columns = layer.input.repeat(np.arange(features(layer.matmul.input), dtype=np.int32))
    if len(columns) == features(found):
        return found
    return builder.add(GatherOp(found, columns), None).results[0]


def _replace(layer: _Layer, result: Operation) -> None:
    """Let the result take the layer's place, and drop what nothing uses any more."""
    layer.last.results[0].replace_all_uses_with(result.results[0])
    before = layer.matmul.input.owner
    dead: Operation | None = layer.last
    while isinstance(dead, Operation) and not any(value.uses for value in dead.results):
        operands = list(dead.operands)
        Rewriter.erase_op(dead)
        for value in operands[1:]:
            if isinstance(value.owner, _DEAD) and not value.uses:
                Rewriter.erase_op(value.owner)
        first = operands[0].owner if operands else None
        dead = first if isinstance(first, Operation) and first is not before else None
    # Its range lives on in the scale; but another layer may still need the same input.
    if isinstance(before, CalibratedOp | DequantizeOp) and not before.result.uses:
        Rewriter.erase_op(before)
