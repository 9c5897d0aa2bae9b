# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A compilation under way: a calibrated float network, and the integers that become of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64
from xdsl.dialects.func import FuncOp

from daqkf.compiler.calibration import (
    HELD_OUT,
    ROWS,
    ROWS_OF_WINDOWS,
    KernelRows,
    drawn,
    given,
    hold_out,
    sample,
)
from daqkf.compiler.executor import HERE, Executor, Keeping
from daqkf.compiler.fallback import too_coarse
from daqkf.compiler.kernels import FloatKernel, Quantization, quantized
from daqkf.compiler.levels import AIM, CalibratedKernel, NetworkLevels, with_kernels
from daqkf.compiler.options import TOKENS, NetworkOptions, level_set
from daqkf.compiler.outlining import fuse, outlined
from daqkf.compiler.pruning import is_sequential, prune, round_sequentially
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.interpreting import Lifetimes, call, entry
from daqkf.dialects.nn import MatmulOp
from daqkf.dialects.nn.ops import attends
from daqkf.dialects.spaq import SequenceOperation
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import NORMALIZED_FEATURES
from daqkf.passes.nn_attention import quantize_attention
from daqkf.passes.nn_kernels import kernel_name, matches
from daqkf.passes.nn_product import Inputs, in_order, quantize_products
from daqkf.passes.nn_scale import Ranges, Scales, are_rows_scaled, ranges_on, scales_of
from daqkf.passes.progress import Progress, Step, counted
from daqkf.passes.quantize.accuracy import Accuracy, AllOutputs, Loss
from daqkf.passes.quantize.network_statistics import batches, observe
from daqkf.passes.quantize.weights import float_products
from daqkf.passes.spaq_quantize import SpaqQuantizePass
from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.support.errors import DaqkfError, shortened

_JUDGED = 2
"""Every second sample says which kernels int8 is too coarse for, since a few miss what is rare."""

_SCALED = 8
"""Batches of samples at most on which scales of features are found."""

_CALIBRATED = 8
"""Batches of samples for the ranges of activations, where kernels are rounded already."""

_WORTH_A_PROCESS = 2_000_000
"""Weights of a network from which on other processes save more time than it takes to start them."""


@dataclass(frozen=True)
class Task:
    """What is compiled and with what, whichever options are tried out on the way."""

    source: str | Path | ModuleOp
    calibration: Inputs | Sequence[Inputs] | None
    machine: Machine
    executor: Executor
    progress: Progress
    steps: Steps = NOTHING_KEPT

    def samples(self, network: ModuleOp) -> list[Inputs]:
        """The calibration data for a network that was made of the source, or random ones."""
        function = entry(network)
        if self.calibration is None:
            return drawn(function)
        return given(function, self.calibration)


@dataclass
class Compilation:
    """A network whose kernels are calibrated, and what it takes to quantise them."""

    network: ModuleOp
    host: ModuleOp
    """The same with int8 attention, if that is the array's."""
    options: NetworkOptions
    machine: Machine
    samples: list[Inputs]
    rows: dict[str, list[NDArray[np.float32]]]
    given: bool
    """Whether calibration data are."""
    sparsity: float | None
    """What each kernel is still to be pruned to by itself."""
    executor: Executor
    progress: Progress
    held_out: list[Inputs]
    keep: bool
    """Whether weights keep the levels that the file has for them."""
    dense: ModuleOp | None
    """The network before its kernels were pruned and rounded one after another, if they were; then
    weights are levels times scales already."""

    @classmethod
    def begun(cls, task: Task, options: NetworkOptions, every: int | None = None) -> "Compilation":
        """Read, prune, fuse and run a network; every so-many-th sample may be held out."""
        progress, machine = task.progress, task.machine
        options.elements.on(machine)  # refuses unknown names before any work
        _require_calibration(options, task.calibration)
        every = HELD_OUT if every is None and options.choosing else every
        coarse = _left_to_host(task, options)

        found: list[Ranges] = []

        def ranges(network: ModuleOp) -> Ranges:
            """Those of what products read that are there at first."""
            if not found:
                found.append(ranges_on(network, _spread(task.samples(network)), progress))
            return found[0]

        def scales(network: ModuleOp, keeps: bool) -> Mapping[MatmulOp, Scales]:
            return scales_of(ranges(network), smooth=not keeps, ranked=options.ranked_names)

        network, keep = outlined(task.source, options, progress, scales, coarse, ranges)
        executor = _executor_of(network, options, task.executor, task.steps)
        samples, has_data = task.samples(network), task.calibration is not None
        sequential = has_data and is_sequential(network, options, keep)
        dense = network.clone() if sequential else None
        network, sparsity = _pruned(network, samples, options, task, sequential)
        if options.fuse:
            progress("fuse kernels")
            fuse(network, options, machine)
        _set_tokens(network, NORMALIZED_FEATURES)
        _require_named(network, options, machine)
        held_out: list[Inputs] = []
        fitted = list(samples)
        if sequential:
            fitted = _spread(batches(network, samples), _CALIBRATED)
        if every is not None:
            fitted, held_out = hold_out(network, samples, every)
        rows = _rows_read(network, fitted, progress, ROWS if sequential else None)
        host = _with_products(network, samples, options, machine)
        if len([op for op in network.ops if isinstance(op, FuncOp)]) < 2 and not options.products:
            raise ValueError("the network has no product of constant weights for an array")
        return cls(
            network,
            host,
            options,
            machine,
            fitted,
            rows,
            has_data,
            sparsity,
            executor,
            progress,
            held_out,
            keep,
            dense,
        )

    @property
    def apart(self) -> tuple[list[Inputs], str]:
        """Samples to measure an accuracy on, and which these are."""
        if self.held_out:
            return self.held_out, "kept apart"
        return self.samples, "of the calibration" if self.given else "drawn at random"

    @cached_property
    def kernels(self) -> dict[str, FuncOp]:
        """The functions of the kernels by name."""
        main = entry(self.network)
        return {
            op.sym_name.data: op
            for op in self.network.ops
            if isinstance(op, FuncOp) and op is not main
        }

    @property
    def judged(self) -> list[Inputs]:
        """What accuracy is measured on: samples that nothing was fitted to, if there are any."""
        return self.held_out or self.samples

    @property
    def quantize(self) -> SpaqQuantizePass:
        """What makes exact integers of kernels."""
        levels = level_set(self.options.levels)
        return SpaqQuantizePass(
            levels.kind,
            levels.magnitudes,
            levels.maximum,
            max_shift=self.machine.max_shift,
            split=self.options.split,
            wide_results=self.options.wide_names,
            keep=self.keep or self.dense is not None,
        )

    def _float(self, name: str) -> FloatKernel:
        kernel = self.kernels[name]
        most = ROWS_OF_WINDOWS if self.options.scale_rows else ROWS
        clip = "pooled" if self.keep else "absmax"
        rows = sample(self.rows[name], attends(kernel), most)
        module, reach = ModuleOp([kernel.clone()]), self.machine.row_exponents
        return FloatKernel(module, rows, self.sparsity, clip, reach, self.options.row_exponents)

    def alike(self) -> dict[str, ModuleOp]:
        """The kernels as exact integers of the one level set for all."""
        second_order = self.options.second_order if self.dense is None else False
        quantize = self.quantize
        steps = [Quantization(self._float(name), second_order, quantize) for name in self.kernels]
        return self._each("quantise", quantized, steps)

    def left_to_host(self, least: float) -> list[str]:
        """The names of the kernels that int8 is too coarse for; see `NetworkOptions.fallback`."""
        kernels = self.alike()
        names = too_coarse(self.network, kernels, self.judged, least, self.progress)
        if len(names) == len(kernels):
            raise ValueError(f"int8 is too coarse for every kernel, if outputs keep {least:g} dB")
        return [kernel_name(self.kernels[name]) for name in names]

    def _each[T, R](
        self, what: str, function: Callable[[T], R], steps: Sequence[T]
    ) -> dict[str, R]:
        """What a function makes of each kernel, in the executor."""
        names = list(self.kernels)
        told = counted(self.progress, what, len(names))
        found = self.executor.map(function, steps, names, told)
        return dict(zip(names, found, strict=True))

    def levels(self, loss: Loss, aim: float = AIM) -> NetworkLevels:
        """All ways to quantise the kernels."""
        measure = self.options.measure or AllOutputs()
        fit = batches(self.network, self.samples)
        statistics = observe(self.network, fit, measure, loss, progress=self.progress)
        kernels = {name: self._float(name) for name in self.kernels}
        calibrated = self._each("calibrate", FloatKernel.calibrated, list(kernels.values()))
        return NetworkLevels(
            self.network,
            self.host,
            {
                name: CalibratedKernel(module, kernels[name].samples)
                for name, module in calibrated.items()
            },
            statistics,
            self.judged,
            measure,
            loss,
            self.quantize,
            self.machine,
            self.options.elements,
            aim=aim,
            executor=self.executor,
            progress=self.progress,
        )

    def chosen(self) -> dict[str, ModuleOp]:
        """The kernels with levels for an accuracy or for cycles."""
        if self.options.accuracy is not None:
            accuracy = Accuracy.parse(self.options.accuracy)
            return self.levels(accuracy.loss, accuracy.most).accurate(accuracy)
        assert self.options.cycles is not None
        return self.levels(Loss()).within(self.options.cycles)

    def quantized(self) -> ModuleOp:
        """The network with integer kernels."""
        if self.options.choosing:
            kernels = self.chosen()
        else:
            kernels = self.alike()
        network, most = with_kernels(self.host, kernels), self.options.max_tokens
        _set_tokens(network, most or TOKENS)
        if self.given and most is None:
            for name, rows in self.rows.items():
                _set_tokens(network, max(map(len, rows)), name)
        verify(network)
        return network


def _left_to_host(task: "Task", options: NetworkOptions) -> list[str]:
    """The names of the kernels that int8 is too coarse for, tried out without all other aims."""
    if options.fallback is None:
        return []
    plain = replace(options, fallback=None, fuse=False, accuracy=None, cycles=None)
    return Compilation.begun(task, plain, _JUDGED).left_to_host(options.fallback)


def _pruned(
    network: ModuleOp,
    samples: Sequence[Inputs],
    options: NetworkOptions,
    task: Task,
    sequential: bool,
) -> tuple[ModuleOp, float | None]:
    """The network, pruned with calibration data, or what its kernels are still to be pruned to."""
    if sequential:
        round_sequentially(network, samples, options, task.progress, task.steps)
        return network, None
    if options.sparsity is None or task.calibration is None or options.second_order is False:
        return network, options.sparsity
    return prune(network, samples, options, task.progress, task.steps), None


def _with_products(
    network: ModuleOp, samples: Sequence[Inputs], options: NetworkOptions, machine: Machine
) -> ModuleOp:
    """The network with attention and products of activations in int8, if they are the array's."""
    if not options.products:
        return network
    host = network.clone()
    levels, cycles = options.attention_levels, options.host_cycles
    tokens = options.max_tokens or TOKENS
    quantize_attention(host, samples, machine, cycles, levels, tokens)
    quantize_products(host, samples)
    return host


def _rows_read(
    network: ModuleOp, samples: Sequence[Inputs], progress: Progress, most: int | None = None
) -> dict[str, list[NDArray[np.float32]]]:
    """What each kernel reads on calibration data, or about so many rows of it at `most`."""
    each = None if most is None else -(-most // len(samples))
    listener, function, lifetimes = KernelRows(most=each), entry(network), Lifetimes()
    for number, batch in enumerate(samples):
        progress(Step("calibrate on", number + 1, len(samples), "batches"))
        call(network, function, in_order(function, batch), (listener,), lifetimes=lifetimes)
    return listener.rows


def _spread(batches: Sequence[Inputs], most: int = _SCALED) -> list[Inputs]:
    """At most so many batches, evenly spread over all."""
    return list(batches[:: max(1, -(-len(batches) // most))])


def _executor_of(
    network: ModuleOp, options: NetworkOptions, executor: Executor, steps: Steps
) -> Executor:
    """Where the kernels of a network are compiled; small ones are not worth a process."""
    if options.jobs is None and options.scheduler is None and not _large(network):
        executor = HERE
    return executor if steps is NOTHING_KEPT else Keeping(executor, steps)


def _large(network: ModuleOp) -> bool:
    """Whether processes pay for the kernels of a network."""
    weights = sum(constant.array().size for _, constant in float_products(network))
    return weights >= _WORTH_A_PROCESS


def _require_calibration(
    options: NetworkOptions, calibration: Inputs | Sequence[Inputs] | None
) -> None:
    """Check that there are calibration data where options need some."""
    if calibration is None:
        if options.choosing or options.second_order or options.sequential:
            raise DaqkfError("accuracy, cycles, second_order and sequential need calibration")
        if options.fallback is not None:
            raise DaqkfError("fallback needs calibration")
    if options.distillation and (calibration is None or options.second_order is False):
        raise DaqkfError("distillation needs calibration, and pruning of second order")


def _require_named(network: ModuleOp, options: NetworkOptions, machine: Machine) -> None:
    """Check that there are kernels of the names of `wide_results` and `ranked`, and such results.

    Raises:
        ValueError: there are none.
    """
    if options.wide_names and not machine.wide_results:
        raise ValueError(f"target '{options.target}' gives no wide_results; 'wide-memory' does")
    main = entry(network)
    functions = [op for op in network.ops if isinstance(op, FuncOp) and op is not main]
    for option, names in (("wide_results", options.wide_names), ("ranked", options.ranked_names)):
        for name in names or ():
            if not any(matches(function, [name]) for function in functions):
                known = shortened([kernel_name(function) for function in functions])
                raise ValueError(f"{option}: no kernel is called '{name}' (there are: {known})")
    if options.ranked_names and not are_rows_scaled(network):
        raise ValueError("ranked results are of kernels whose rows are scaled: scale_rows")


def _set_tokens(network: ModuleOp, most: int, kernel: str | None = None) -> None:
    """Say what the longest sequence of the kernels is, or of one of them."""
    for function in [op for op in network.ops if isinstance(op, FuncOp)]:
        for op in function.body.block.ops:
            if isinstance(op, SequenceOperation) and kernel in (None, function.sym_name.data):
                op.tokens = IntegerAttr(most, i64)
