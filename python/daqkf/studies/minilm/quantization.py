# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Quantising a network: levels for every kernel and group of channels, at the fewest cycles.

`1 - cos` between the embeddings before and after is predicted by `½·Σ sensitivity·error` over
all outputs of all layers (`models.sensitivity`, `InputStatistics`). It adds up, so a knapsack
over the layers' channel groups finds the fewest stream words for a loss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, StringAttr, i8
from xdsl.dialects.func import FuncOp

from daqkf.dialects.interpreting import run
from daqkf.dialects.spaq import LevelSet
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import distinct_magnitudes
from daqkf.hw_targets.timing import tile_cycles
from daqkf.lowering.frontends.arrays import import_layer
from daqkf.passes.encode.channels import share_out_channels
from daqkf.passes.encode.cost_model import DEFAULT_ELEMENTS, Elements
from daqkf.passes.quantize.allocation import (
    MENU,
    Option,
    allocate,
    assemble,
    channel_groups,
    options,
    totals,
)
from daqkf.passes.quantize.input_statistics import InputStatistics
from daqkf.passes.quantize.levels import Fit, fit
from daqkf.passes.quantize.weights import float_products, products
from daqkf.passes.spaq_calibrate import calibrate
from daqkf.passes.spaq_quantize import quantize_layer
from daqkf.studies.minilm.model import Floats, MiniLM
from daqkf.studies.minilm.pruning import SENSITIVITY_SENTENCES, Progress
from daqkf.studies.minilm.sensitivity import output_sensitivity
from daqkf.support.errors import DaqkfError

GROUPS = 4
"""Channel groups of a kernel, by sensitivity."""

_TUNING_EVERY = 7
"""Every seventh calibration sentence is not calibrated on: the real loss is measured there."""

_TUNING_ROUNDS = 6

_MARGIN = 0.75
"""The share of the allowed loss that is aimed at on the tuning sentences; others may lose more."""

STATIC = LevelSet.of("uniform", 127)
"""What everything is compared with: 8 bits for every weight."""

ACTIVATIONS = {"ffn.up": "gelu"}
"""Functions that run on the array behind a layer's product."""


@dataclass
class _Layer:
    """A layer with its ranges stated in float IR, and the ways to quantise it."""

    module: ModuleOp
    weights: Floats
    bias: Floats
    statistics: InputStatistics
    options: list[Option]
    groups: list[NDArray[np.intp]]

    def approximated(self, index: int) -> tuple[Floats, Floats]:
        """The real weights and the bias that an option stands for."""
        found = self.options[index].fit
        weights = found.levels * found.scales
        bias = self.bias + self.statistics.bias_shift(self.weights, weights)
        return weights.astype(np.float32), bias.astype(np.float32)

    def quantized(self, level_set: LevelSet, found: Fit, split: float) -> ModuleOp:
        """The exact integers of the layer with these levels, its bias corrected."""
        shift = self.statistics.bias_shift(self.weights, found.levels * found.scales)
        module = self.module.clone()
        for matmul, constant in float_products(module):
            quantize_layer(matmul, constant, level_set, found, split, self.bias + shift)
        module.verify()
        return module


@dataclass(frozen=True)
class IntegerNetwork:
    """Every linear layer of a model as exact integers, in IR."""

    modules: dict[str, ModuleOp]
    predicted_loss: float
    """What `1 - cos` to the float model was expected to be by the weights' errors alone."""

    def encode(self, model: MiniLM, sentences: Sequence[str]) -> Floats:
        """Embeddings [B, hidden], with the IR interpreter in place of the linear layers."""
        return model.encode(
            sentences,
            batch_size=64,
            linear=lambda name, x: run(self.modules[name], x),
            fused=True,
        )

    def module(self) -> ModuleOp:
        """All layers in one module, each a function of the layer's name."""
        functions: list[FuncOp] = []
        for name, module in self.modules.items():
            function = next(op for op in module.ops if isinstance(op, FuncOp)).clone()
            function.sym_name = StringAttr(name)
            functions.append(function)
        return ModuleOp(functions)

    def levels(self) -> dict[str, NDArray[np.int8]]:
        """The integer weights [K, N] of each layer, as the array gets them."""
        return {
            name: next(
                constant.array()
                for _, constant in products(module)
                if constant.value.get_element_type() == i8
            )
            for name, module in self.modules.items()
        }

    def cycles(self, machine: Machine, elements: Elements = DEFAULT_ELEMENTS) -> int:
        """Cycles in which all layers run over one tile of tokens, one after another."""
        total, every = 0, list(self.levels().values())
        machine = elements.on(machine, every)
        for levels in every:
            _, words = share_out_channels(levels, machine)
            total += tile_cycles(words, levels.shape[1], machine)
        return total

    def sparsity(self) -> float:
        """The share of zeros among all weights."""
        every = self.levels().values()
        return 1 - sum(map(np.count_nonzero, every)) / sum(levels.size for levels in every)

    def magnitudes(self) -> tuple[float, float]:
        """The average number of magnitudes of a channel, and the bits that tell them and their
        signs and zero apart."""
        counts = np.concatenate([distinct_magnitudes(levels) for levels in self.levels().values()])
        return float(counts.mean()), float(np.log2(2 * counts + 1).mean())


def cosines(one: Floats, other: Floats) -> NDArray[np.float64]:
    """The cosine [B] of each pair of embeddings of length one."""
    return (one.astype(np.float64) * other).sum(axis=1)


class NetworkQuantizer:
    """A model's layers with all their options, from which networks are put together.

    Args:
        model: the float model, pruned or not.
        sentences: for calibration.
        machine: whose cycles count.
        loss: about what `1 - cos` is aimed at; it sets the price at which zeros are bought.
        split: the budget of extra columns for outliers, see `spaq-quantize`.
        menu: level sets and prices, see `passes.maths.allocation`.
        elements: in place of the machine's.
        progress: sees the name of each layer that is done.
    """

    def __init__(
        self,
        model: MiniLM,
        sentences: Sequence[str],
        machine: Machine,
        *,
        loss: float = 0.01,
        split: float = 0.02,
        menu: Sequence[tuple[LevelSet, float]] = MENU,
        elements: Elements = DEFAULT_ELEMENTS,
        progress: Progress = lambda name: None,
    ):
        self.model, self.machine, self.split = model, machine, split
        self.elements = elements
        # What is tuned on must not be what the rounding was fitted to.
        self._tuning = list(sentences[::_TUNING_EVERY])
        sentences = [s for i, s in enumerate(sentences) if i % _TUNING_EVERY]
        self.layers: dict[str, _Layer] = {}
        self._reference: Floats | None = None
        sensitivity = output_sensitivity(model, sentences[:SENSITIVITY_SENTENCES])
        nonzeros = sum(np.count_nonzero(model.linear(name)[0]) for name in model.linear_names)
        price = loss * machine.items / max(nonzeros, 1)

        def visit(name: str, x: Floats) -> Callable[[Floats], Floats]:
            weights, bias = model.linear(name)
            kind = name.split(".", 2)[2]
            module = import_layer(weights, bias, ACTIVATIONS.get(kind))
            calibrate(module, x)
            statistics = InputStatistics.of(x)
            mean = sensitivity[name].mean()
            # An estimate; no channel is taken to matter not at all.
            share = np.maximum(sensitivity[name], 0.05 * mean) / 2
            hessian, shift = statistics.hessian(), machine.max_shift
            found = options(weights, hessian, share, price, shift, menu, machine.items)
            groups = channel_groups(share, GROUPS)
            self.layers[name] = _Layer(module, weights, bias, statistics, found, groups)
            progress(name)
            return lambda inputs: inputs @ weights + bias

        model.sweep(sentences, visit)
        tables = [totals(layer.options, layer.groups) for layer in self.layers.values()]
        self.loss = np.concatenate([loss for loss, _ in tables])
        self.words = np.concatenate([words for _, words in tables])
        self._correct()

    def _correct(self) -> None:
        """Scale the losses of each option by what it really does to all layers together.

        The prediction takes errors to follow neither each other nor the tokens. Rounding errors
        hardly do; but zeros that were bought all shrink the outputs, and lose up to twice as much.
        """
        sentences = self._tuning
        reference = self.model.encode(sentences)
        for index, predicted in enumerate(self.loss.sum(axis=0)):
            layers = {name: layer.approximated(index) for name, layer in self.layers.items()}
            found = self.model.with_linears(layers).encode(sentences)
            measured = 1 - float(cosines(found, reference).mean())
            if predicted > 0 and measured > 0:
                self.loss[:, index] *= measured / predicted

    def static(self) -> IntegerNetwork:
        """All weights in 8 bits, by nearest rounding: W8A8."""
        modules = {
            name: layer.quantized(STATIC, fit(layer.weights, STATIC), self.split)
            for name, layer in self.layers.items()
        }
        return IntegerNetwork(modules, 0.0)

    def tuned(self, accuracy: float) -> IntegerNetwork:
        """The quickest network whose mean cosine to W8A8 is `accuracy` on calibration sentences.

        The prediction leaves out the rounding of activations: the budget is corrected by what is
        measured, until it is met from the right side and nearly used up.

        Raises:
            DaqkfError: it is out of reach.
        """
        sentences = self._tuning
        if self._reference is None:
            self._reference = self.static().encode(self.model, sentences)
        target = _MARGIN * (1 - accuracy)
        budget, best, loss = target, None, 0.0
        for _ in range(_TUNING_ROUNDS):
            try:
                network = self.choose(most_loss=budget)
            except ValueError as error:
                if best is not None:
                    return best
                raise DaqkfError(f"accuracy {accuracy:g} is out of reach: {error}") from None
            found = network.encode(self.model, sentences)
            loss = 1 - float(cosines(found, self._reference).mean())
            if loss <= target:
                best = network
                if loss > 0.95 * target:
                    break
            # The activations' noise, which W8A8 has too but not the same, comes on top.
            budget = max(budget + 0.99 * target - loss, 0.3 * budget)
        if best is None:
            raise DaqkfError(
                f"accuracy {accuracy:g} is out of reach: on the calibration sentences it is "
                f"{1 - loss:.4f} at best"
            )
        return best

    def within(self, cycles: int) -> IntegerNetwork:
        """The network of the least predicted loss that runs a tile in so many cycles.

        Raises:
            DaqkfError: there is none.
        """
        words = float(cycles * self.machine.pes)
        for _ in range(_TUNING_ROUNDS):
            try:
                network = self.choose(most_words=words)
            except ValueError as error:
                raise DaqkfError(f"{cycles} cycles are out of reach: {error}") from None
            found = network.cycles(self.machine, self.elements)
            if found <= cycles:
                return network
            # Extra columns, which the choice does not count, take some per cent.
            words *= 0.999 * cycles / found
        raise DaqkfError(f"{cycles} cycles are out of reach")

    def choose(
        self, *, most_loss: float | None = None, most_words: float | None = None
    ) -> IntegerNetwork:
        """The network of the fewest words within a loss, or of the least loss within words.

        Raises:
            ValueError: there is none.
        """
        return self._assembled(
            allocate(self.loss, self.words, most_loss=most_loss, most_words=most_words)
        )

    def uniform(self) -> IntegerNetwork:
        """The network that has the first option of the menu everywhere."""
        return self._assembled(np.zeros(len(self.loss), np.intp))

    def _assembled(self, choice: NDArray[np.intp]) -> IntegerNetwork:
        """The network with an option for each group of channels of all layers."""
        modules: dict[str, ModuleOp] = {}
        first = 0
        for name, layer in self.layers.items():
            own = choice[first : first + len(layer.groups)].tolist()
            first += len(layer.groups)
            level_set, found = assemble(layer.options, layer.groups, own)
            modules[name] = layer.quantized(level_set, found, self.split)
        predicted = self.loss[np.arange(len(choice)), choice].sum()
        return IntegerNetwork(modules, float(predicted))
