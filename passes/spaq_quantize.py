# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`spaq-quantize`: calibrated float layers → exact integers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriteWalker
from xdsl.transforms.dead_code_elimination import dce
from xdsl.utils.exceptions import PassFailedException

from daqkf.dialects.spaq import GateOp, LevelSet, MatmulOp, NormOperation
from daqkf.dialects.spaq.ops import QuantizeOfDequantize
from daqkf.passes.defaults import SPLIT
from daqkf.passes.diagnostics import about, failing
from daqkf.passes.nn_kernels import matches
from daqkf.passes.quantize.allocation import Choice, LevelChooser, noise_share
from daqkf.passes.quantize.calibration import extra_columns
from daqkf.passes.quantize.compensation import compensate
from daqkf.passes.quantize.float_layers import row_of
from daqkf.passes.quantize.input_statistics import InputStatistics
from daqkf.passes.quantize.integer_layers import quantize_layer
from daqkf.passes.quantize.levels import METHODS, Fit, fit, fit_exact, own_fit, with_own_levels
from daqkf.passes.quantize.rows import (
    complete_attentions,
    quantize_attention,
    quantize_gate,
    quantize_normalization,
)
from daqkf.passes.quantize.samples import Samples, input_statistics, load_samples
from daqkf.passes.quantize.weights import bias_of, float_products, stated_levels

_NOISES = (0.01, 0.1, 0.5)
"""What is aimed at where the words are given, as shares of the outputs' energy, in this order:
more noise buys zeros, and so options of fewer words."""

_PRICES = (1.0, 3.0, 9.0)
"""What is charged for noise where an accuracy is given, tried in this order, until …"""

_USED = 0.8
"""… the choice makes this share of the noise that it may."""


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
    - `wide-results`: names of functions, with `*` for any characters, whose results become int16
      in place of int8: those of a layer without a function, which are returned as they are.
      Others stay as they are. By default none. Their scales reach four times the stated range.
    - `keep`: channels whose weights are multiples of a step, as in a quantised file, keep these as
      their levels if a uniform level set has them; those of a codebook, if all channels do.

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
    wide_results: tuple[str, ...] | None = None
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
            bias, seen, row = None, statistics.get(matmul), row_of(matmul)
            with about(matmul):
                own_set = stated_levels(matmul) or levels
                own = None if given or choosing or not self.keep else own_fit(weights, own_set)
                if given:
                    own_set, fitted, seen = given.pop(0).parts()
                elif own is not None:
                    fitted = own
                elif seen is None:
                    fitted = self._fit(weights, own_set)
                elif choosing:
                    own_set, fitted = self._choose(weights, seen, len(found))
                else:
                    fitted = self._compensated(weights, seen, own_set)
                if self.keep and own is None and not choosing and chosen is None:
                    fitted = with_own_levels(fitted, weights, own_set)
                if seen is not None:
                    before = bias_of(matmul)
                    bias = seen.bias_shift(weights, fitted.levels * fitted.scales)
                    bias = bias if before is None else bias + before.array()
                wide = self._is_wide(matmul)
                quantize_layer(matmul, constant, own_set, fitted, self.split, bias, wide)
            self._quantize_rows(module, row)

    def _is_wide(self, matmul: MatmulOp) -> bool:
        function = matmul.parent_op()
        return isinstance(function, FuncOp) and matches(function, self.wide_results or ())

    def _quantize_rows(self, module: ModuleOp, row: NormOperation | GateOp | None) -> None:
        """Quantise what a layer that has just been quantised completes."""
        for attention in complete_attentions(module):
            with about(attention):
                quantize_attention(attention, self.split)
        if row is not None:
            with about(row):
                if isinstance(row, NormOperation):
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
