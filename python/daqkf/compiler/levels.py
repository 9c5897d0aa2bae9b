# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Choosing levels for the kernels of a network: an accuracy at the fewest cycles, or the reverse.

What an error of the weights does to the measured outputs is predicted by `Σ sensitivity·error`
over the outputs of all products (`daqkf.passes.quantize.network_statistics`). It adds up, so that
a knapsack over groups of channels of all kernels finds the fewest stream words for a loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.rewriter import Rewriter

from daqkf.compiler.executor import HERE, Executor
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.spaq import LevelSet
from daqkf.hw_targets.machine import Machine
from daqkf.passes.encode.channels import network_cycles
from daqkf.passes.encode.cost_model import Elements
from daqkf.passes.nn_product import Inputs
from daqkf.passes.progress import Progress, Step, counted, silent
from daqkf.passes.quantize.accuracy import Accuracy, Loss, Measure
from daqkf.passes.quantize.allocation import (
    MENU,
    Option,
    allocate,
    assemble,
    channel_groups,
    options,
    pareto,
    totals,
)
from daqkf.passes.quantize.input_statistics import InputStatistics
from daqkf.passes.quantize.network_statistics import Statistics, vectors_of
from daqkf.passes.quantize.samples import Samples, input_statistics
from daqkf.passes.quantize.weights import bias_of, float_products, integer_weights, replace_constant
from daqkf.passes.spaq_quantize import Chosen, SpaqQuantizePass
from daqkf.support.errors import DaqkfError

Array = NDArray[Any]
GROUPS = 4
"""Channel groups of a product, by sensitivity."""

_ROUNDS = 6
"""To meet an accuracy or a budget of cycles."""

_MARGIN = 0.9
"""The share of the allowed loss that is aimed at on held-out samples; others may lose more."""

AIM = 0.01
"""Around which the options lie where no accuracy is given."""

_FLOOR = 0.05
"""Of a channel's sensitivity, as a share of its product's mean: sensitivities are estimates."""


@dataclass(frozen=True)
class CalibratedKernel:
    """A kernel whose ranges are stated, in a module of its own, and what it is calibrated on."""

    module: ModuleOp
    samples: Samples


@dataclass(frozen=True)
class _Product:
    weights: Array
    statistics: InputStatistics
    options: list[Option]
    groups: list[NDArray[np.intp]]

    def chosen(self, choice: Sequence[int]) -> Chosen:
        """What quantisation needs of an option for each group."""
        level_set, found = assemble(self.options, self.groups, choice)
        return Chosen(level_set, found, self.statistics)


@dataclass(frozen=True)
class _Fitting:
    """A kernel that is to be quantised in every way, in whatever process."""

    kernel: CalibratedKernel
    sensitivities: list[NDArray[np.float64] | None]
    """[N] of each product's outputs, if they were measured."""
    price: float
    machine: Machine
    menu: Sequence[tuple[LevelSet, float]]


def _products_of(step: _Fitting) -> list[_Product]:
    """The products of a kernel, in the order of the IR."""
    seen = input_statistics(step.kernel.module, step.kernel.samples)
    return [
        _product(constant.array(), seen[matmul], sensitivity, step)
        for (matmul, constant), sensitivity in zip(
            float_products(step.kernel.module), step.sensitivities, strict=True
        )
    ]


def _product(
    weights: Array, seen: InputStatistics, sensitivity: NDArray[np.float64] | None, step: _Fitting
) -> _Product:
    own = np.zeros(weights.shape[1]) if sensitivity is None else sensitivity
    share = np.maximum(own, _FLOOR * own.mean())
    found = options(
        weights.astype(np.float64),
        seen.hessian(),
        share,
        step.price,
        step.machine.max_shift,
        step.menu,
        step.machine.items,
    )
    return _Product(weights, seen, found, channel_groups(share, GROUPS))


@dataclass(frozen=True)
class Point:
    """What a choice of levels is expected to lose, and the cycles it takes a tile, about."""

    loss: float
    cycles: int


def measured_cycles(kernels: Sequence[ModuleOp], machine: Machine, elements: Elements) -> int:
    """Cycles in which all products of integer kernels run over one tile, one after another."""
    every = integer_weights(kernels)
    return network_cycles(every, elements.on(machine, every))


@dataclass
class NetworkLevels:
    """A network's kernels with all ways to quantise them, from which networks are put together."""

    network: ModuleOp
    """Its kernels over f32."""
    host: ModuleOp
    """The same, with attention as the compiled network computes it."""
    kernels: Mapping[str, CalibratedKernel]
    statistics: Statistics
    held_out: Sequence[Inputs]
    """Samples on which losses are measured."""
    measure: Measure
    loss_of: Loss
    quantize: SpaqQuantizePass
    machine: Machine
    elements: Elements
    aim: float = AIM
    """About the loss that will be chosen."""
    menu: Sequence[tuple[LevelSet, float]] = MENU
    executor: Executor = HERE
    """Where kernels are quantised in every way."""
    progress: Progress = silent

    @cached_property
    def _reference(self) -> list[Array]:
        return vectors_of(self.network, self.held_out, self.measure)

    @cached_property
    def _products(self) -> dict[str, list[_Product]]:
        """The products of each kernel, in the order of the IR."""
        functions = {op.sym_name.data: op for op in self.network.ops if isinstance(op, FuncOp)}
        nonzeros = sum(
            int(np.count_nonzero(constant.array())) for _, constant in float_products(self.network)
        )
        price = self.aim * self.machine.items / max(nonzeros, 1)
        steps = [
            _Fitting(
                kernel,
                [
                    self.statistics.sensitivity.get(matmul)
                    for matmul, _ in float_products(self.network)
                    if matmul.parent_op() is functions[name]
                ],
                price,
                self.machine,
                self.menu,
            )
            for name, kernel in self.kernels.items()
        ]
        names = list(self.kernels)
        told = counted(self.progress, "fit levels of", len(names))
        found = self.executor.map(_products_of, steps, names, told)
        return dict(zip(names, found, strict=True))

    @cached_property
    def _tables(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Losses, corrected by what is measured, and words: [groups, options] each.

        The prediction takes errors to follow neither each other nor the tokens. Rounding errors
        hardly do; but zeros that were bought all shrink the outputs, and lose up to twice as much.
        So the losses of each option are scaled by what it does to all products together.
        """
        every = [product for found in self._products.values() for product in found]
        tables = [totals(product.options, product.groups) for product in every]
        loss = np.concatenate([loss for loss, _ in tables])
        words = np.concatenate([words for _, words in tables])
        for index, predicted in enumerate(loss.sum(axis=0)):
            self.progress(Step("measure", index + 1, loss.shape[1], "level sets"))
            measured = self._lost(self._approximated(index))
            if predicted > 0 and measured > 0:
                loss[:, index] *= measured / predicted
        return loss, words

    def _approximated(self, index: int) -> ModuleOp:
        """The float network with the weights that an option of the menu stands for."""
        network = self.network.clone()
        functions = {op.sym_name.data: op for op in network.ops if isinstance(op, FuncOp)}
        for name, found in self._products.items():
            own = [
                pair for pair in float_products(network) if pair[0].parent_op() is functions[name]
            ]
            for (matmul, constant), product in zip(own, found, strict=True):
                fit = product.options[index].fit
                weights = fit.levels * fit.scales
                if (bias := bias_of(matmul)) is not None:
                    shift = product.statistics.bias_shift(product.weights, weights)
                    replace_constant(bias, (bias.array() + shift).astype(np.float32), None)
                replace_constant(constant, weights.astype(np.float32), None)
        return network

    def _lost(self, network: ModuleOp) -> float:
        """The loss of a network on the samples that were held out."""
        found = vectors_of(network, self.held_out, self.measure)
        return self.loss_of.of(np.concatenate(found), np.concatenate(self._reference))

    def assembled(self, choice: NDArray[np.intp]) -> dict[str, ModuleOp]:
        """Integer kernels by name, with an option for each group of channels of all products."""
        first, found = 0, dict[str, ModuleOp]()
        for name, own in self._products.items():
            chosen: list[Chosen] = []
            for product in own:
                last = first + len(product.groups)
                chosen.append(product.chosen(choice[first:last].tolist()))
                first = last
            module = self.kernels[name].module.clone()
            self.quantize.quantize(module, chosen=chosen)
            verify(module)
            found[name] = module
        return found

    def predicted(self, choice: NDArray[np.intp]) -> float:
        """The loss by the errors of the weights alone."""
        return float(self._tables[0][np.arange(len(choice)), choice].sum())

    def accurate(self, accuracy: Accuracy) -> dict[str, ModuleOp]:
        """The quickest integer kernels that keep an accuracy on the samples that were held out.

        The prediction leaves out the rounding of activations: the budget is corrected by what is
        measured, until it is met from the right side and nearly used up.

        Raises:
            DaqkfError: it is out of reach.
        """
        target = _MARGIN * accuracy.most
        budget, best, least = target, None, np.inf
        out_of_reach = f"accuracy {accuracy.describe(accuracy.most)} is out of reach"
        for attempt in range(_ROUNDS):
            try:
                choice = allocate(*self._tables, most_loss=budget)
            except ValueError as error:
                if best is not None:
                    return best
                raise DaqkfError(f"{out_of_reach}: {error}") from None
            self.progress(f"choose levels, attempt {attempt + 1} of {_ROUNDS} at most")
            kernels = self.assembled(choice)
            lost = self._lost(with_kernels(self.host, kernels))
            least = min(lost, least)
            if lost <= target:
                best = kernels
                if lost > 0.97 * target:
                    break
            budget = max(budget + 0.99 * target - lost, 0.3 * budget)
        if best is None:
            raise DaqkfError(
                f"{out_of_reach}: on calibration data that was held out it is "
                f"{accuracy.describe(least)} at best"
            )
        return best

    def within(self, cycles: int) -> dict[str, ModuleOp]:
        """The integer kernels of the least predicted loss that run a tile in so many cycles.

        Raises:
            DaqkfError: there are none.
        """
        words = float(cycles * self.machine.pes)
        for _ in range(_ROUNDS):
            try:
                kernels = self.assembled(allocate(*self._tables, most_words=words))
            except ValueError as error:
                raise DaqkfError(f"{cycles} cycles are out of reach: {error}") from None
            found = measured_cycles(list(kernels.values()), self.machine, self.elements)
            if found <= cycles:
                return kernels
            # Extra columns, which the choice does not count, take some per cent.
            words *= 0.999 * cycles / found
        raise DaqkfError(f"{cycles} cycles are out of reach")

    def front(self, points: int = 9) -> list[Point]:
        """Predicted losses and cycles a tile, from the best to the quickest."""
        loss, words = self._tables
        found: list[Point] = []
        for choice in pareto(loss, words, points):
            index = np.arange(len(choice)), choice
            cycles = round(float(words[index].sum()) / self.machine.pes)
            found.append(Point(float(loss[index].sum()), cycles))
        return found


def with_kernels(network: ModuleOp, kernels: Mapping[str, ModuleOp]) -> ModuleOp:
    """A copy of a network with functions of other modules in place of some of its own."""
    copy = network.clone()
    for function in [op for op in copy.ops if isinstance(op, FuncOp)]:
        if (module := kernels.get(function.sym_name.data)) is not None:
            (other,) = (op for op in module.ops if isinstance(op, FuncOp))
            Rewriter.replace_op(function, other.clone())
    return copy
