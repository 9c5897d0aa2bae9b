# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""From a network's file to a `CompiledNetwork`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerAttr, ModuleOp, i64
from xdsl.dialects.func import FuncOp
from xdsl.utils.exceptions import DiagnosticException, InterpretationError

from daqkf.compiler.accuracy import NOISE, Measured
from daqkf.compiler.calibration import (
    HELD_OUT,
    ROWS,
    ROWS_OF_WINDOWS,
    KernelRows,
    drawn,
    extents_of,
    given,
    hold_out,
    sample,
)
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.executor import HERE, Executor, Keeping, open_executor
from daqkf.compiler.fallback import too_coarse
from daqkf.compiler.kernels import FloatKernel, Quantization, programs_of, quantized
from daqkf.compiler.levels import AIM, CalibratedKernel, NetworkLevels, Point, with_kernels
from daqkf.compiler.options import NetworkOptions, level_set
from daqkf.compiler.outlining import fuse, outlined
from daqkf.compiler.products import attention_requirement, product_requirement
from daqkf.compiler.pruning import is_sequential, prune, round_sequentially
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.interpreting import Lifetimes, call, entry
from daqkf.dialects.nn import AttentionOp, MatmulOp, ProductOp
from daqkf.dialects.nn.ops import attends
from daqkf.dialects.spaq import SequenceOperation
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import NORMALIZED_FEATURES
from daqkf.passes.nn_attention import quantize_attention
from daqkf.passes.nn_kernels import kernel_name, matches
from daqkf.passes.nn_product import Inputs, in_order, quantize_products
from daqkf.passes.nn_scale import Scales, scales_on
from daqkf.passes.progress import Progress, Step, counted, silent
from daqkf.passes.quantize.accuracy import Accuracy, AllOutputs, Loss, Measure
from daqkf.passes.quantize.network_statistics import batches, observe
from daqkf.passes.quantize.weights import float_products, integer_weights
from daqkf.passes.spaq_quantize import SpaqQuantizePass
from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.support.errors import DaqkfError, describe, shortened, warn_of_noise

_TOKENS = 128
"""Of the longest sequence, if nothing says."""


_JUDGED = 2
"""Every second sample says which kernels int8 is too coarse for, since a few miss what is rare."""

_SCALED = 8
"""Batches of samples at most on which scales of features are found."""

_CALIBRATED = 8
"""Batches of samples for the ranges of activations, where kernels are rounded already."""

_WORTH_A_PROCESS = 2_000_000
"""Weights of a network from which on other processes save more time than it takes to start them."""


def compile_network(
    source: str | Path | ModuleOp,
    options: NetworkOptions | None = None,
    *,
    calibration: Inputs | Sequence[Inputs] | None = None,
    progress: Progress = silent,
    steps: Steps = NOTHING_KEPT,
    **named: Any,
) -> CompiledNetwork:
    """Compile a whole network for one array; the host runs what is not a kernel.

    Args:
        source: a file that `load_network` reads, or its module of `nn`.
        options: see `NetworkOptions`.
        calibration: the network's inputs by name, to find the ranges of int8 on; or several
            batches of them, of other lengths, say. Without it, random ones: whole numbers that
            index something below its extent, ones for other whole numbers, else a standard normal
            distribution. With it, pruning is of the whole network: see
            `daqkf.passes.quantize.network_pruning`.
        progress: told of each step.
        steps: where finished steps are kept, and found.
        named: what `NetworkOptions` has, by name, in place of `options`.

    Raises:
        DaqkfError: a file that cannot be read or has something unsupported, options or inputs that
            do not fit, or kernels that do not fit the target.
    """
    options = options or NetworkOptions.of(named, "networks")
    return _compiled(source, options, calibration, progress, steps)[0]


def compile_and_measure(
    source: str | Path | ModuleOp,
    options: NetworkOptions,
    *,
    calibration: Inputs | Sequence[Inputs] | None = None,
    progress: Progress = silent,
    steps: Steps = NOTHING_KEPT,
    measure: Measure | None = None,
) -> tuple[CompiledNetwork, Measured | str]:
    """A compiled network, and how its outputs differ from those of the float one on a few samples.

    Those are samples that were held out, if an accuracy is asked for, and else some of those of the
    calibration. Where outputs cannot be measured there is a text that says why. There is a warning
    if the outputs are far from those of the float network.

    Args:
        source: as in `compile_network`, as is the `calibration`.
        options: see `NetworkOptions`.
        calibration: the network's inputs by name, or batches of them.
        progress: told of each step.
        steps: where finished steps are kept, and found.
        measure: what the accuracy is of, in place of the options' measure.

    Raises:
        DaqkfError: as `compile_network`.
    """
    network, work = _compiled(source, options, calibration, progress, steps)
    progress("measure the accuracy")
    measure = measure or options.measure or AllOutputs()
    try:
        measured = Measured.of(network.run, work.dense or work.network, *work.apart, measure)
    except ValueError as error:
        return network, describe(error)
    if measured.sqnr < NOISE:
        warn_of_noise(measured.line())
    return network, measured


def _compiled(
    source: str | Path | ModuleOp,
    options: NetworkOptions,
    calibration: Inputs | Sequence[Inputs] | None,
    progress: Progress,
    steps: Steps,
) -> "tuple[CompiledNetwork, _Compilation]":
    try:
        options.check()
        with _executor(options) as executor:
            machine = load_target(options.target).machine
            task = _Task(source, calibration, machine, executor, progress, steps)
            work = _Compilation.begun(task, options)
            network = work.quantized()
            arrays = _arrays(network, options, work.executor, progress)
    except (DiagnosticException, InterpretationError, ValueError, OSError) as error:
        raise DaqkfError(describe(error)) from None
    return CompiledNetwork(network, arrays, options), work


def retargeted[Network: CompiledNetwork](
    network: Network, target: str, progress: Progress = silent
) -> Network:
    """A compiled network with the same exact integers, on the array of another target.

    What kernels are made of stays as it is, so the other array needs what they use of the first.

    Raises:
        DaqkfError: an unknown target, or a kernel that does not fit it.
    """
    options = replace(network.options, target=target)
    try:
        with _executor(options) as executor:
            arrays = _arrays(network.network, options, executor, progress)
    except (DiagnosticException, InterpretationError, ValueError, OSError) as error:
        raise DaqkfError(describe(error)) from None
    return replace(network, arrays=arrays, options=options)


def quantize_network(
    source: str | Path | ModuleOp,
    options: NetworkOptions,
    *,
    calibration: Inputs | Sequence[Inputs] | None = None,
    machine: Machine | None = None,
    progress: Progress = silent,
    steps: Steps = NOTHING_KEPT,
) -> ModuleOp:
    """The network with kernels of exact integers, which `compile_network` lowers to an array.

    Args:
        source: as in `compile_network`, as is the `calibration`.
        options: see `NetworkOptions`.
        machine: whose cycles count, in place of the target's.
        progress: told of each step.
        steps: where finished steps are kept, and found.

    Raises:
        DaqkfError: as `compile_network`.
    """
    try:
        options.check()
        with _executor(options) as executor:
            machine = machine or load_target(options.target).machine
            task = _Task(source, calibration, machine, executor, progress, steps)
            return _Compilation.begun(task, options).quantized()
    except (DiagnosticException, InterpretationError, ValueError, OSError) as error:
        raise DaqkfError(describe(error)) from None


def pareto(
    source: str | Path | ModuleOp,
    calibration: Inputs | Sequence[Inputs],
    options: NetworkOptions | None = None,
    *,
    points: int = 9,
    progress: Progress = silent,
    **named: Any,
) -> list[Point]:
    """What accuracy costs: levels for a network, from the best to the quickest.

    Args:
        source: as in `compile_network`, as are the `options`.
        calibration: the network's inputs by name, or batches of them.
        options: see `NetworkOptions`.
        points: accuracies to try, over which the front is spread.
        progress: told of each step.
        named: in place of `options`.

    Raises:
        DaqkfError: as `compile_network`.
    """
    options = options or NetworkOptions.of(named, "networks")
    try:
        options.check()
        with _executor(options) as executor:
            machine = load_target(options.target).machine
            task = _Task(source, calibration, machine, executor, progress)
            return _Compilation.begun(task, options).levels(Loss()).front(points)
    except (DiagnosticException, InterpretationError, ValueError, OSError) as error:
        raise DaqkfError(describe(error)) from None


def prune_file(
    source: str | Path | ModuleOp,
    calibration: Inputs | Sequence[Inputs],
    sparsity: float,
    measure: Measure | None = None,
    progress: Progress = silent,
    distillation: int = 0,
    steps: Steps = NOTHING_KEPT,
) -> ModuleOp:
    """The float network with a share of zeros in the weights of its kernels, as a module of `nn`.

    It is what `compile_network` quantises.

    Args:
        source: as in `compile_network`, as is the `calibration`.
        calibration: the network's inputs by name, or batches of them.
        sparsity: of all kernels together.
        measure: see `NetworkOptions`, as for `distillation`.
        progress: told of each step.
        distillation: passes of training.
        steps: where finished steps are kept, and found.

    Raises:
        DaqkfError: as `compile_network`.
    """
    options = NetworkOptions(sparsity=sparsity, measure=measure, distillation=distillation)
    try:
        options.check()
        network, _ = outlined(source, options, progress)
        return prune(network, given(entry(network), calibration), options, progress, steps)
    except (DiagnosticException, InterpretationError, ValueError, OSError) as error:
        raise DaqkfError(describe(error)) from None


def _executor(options: NetworkOptions) -> AbstractContextManager[Executor]:
    """Where the options say that kernels are compiled."""
    return open_executor(options.jobs or 0, options.scheduler)


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


def _require_wide(network: ModuleOp, options: NetworkOptions, machine: Machine) -> None:
    """Check that there are kernels of the names of `wide_results`, and such results.

    Raises:
        ValueError: there are none.
    """
    names = options.wide_names or ()
    if names and not machine.wide_results:
        raise ValueError(f"target '{options.target}' gives no wide_results; 'wide-memory' does")
    main = entry(network)
    functions = [op for op in network.ops if isinstance(op, FuncOp) and op is not main]
    for name in names:
        if not any(matches(function, [name]) for function in functions):
            known = shortened([kernel_name(function) for function in functions])
            raise ValueError(f"wide_results: no kernel is called '{name}' (there are: {known})")


def _with_products(
    network: ModuleOp, samples: Sequence[Inputs], options: NetworkOptions, machine: Machine
) -> ModuleOp:
    """The network with attention and products of activations in int8, if they are the array's."""
    if not options.products:
        return network
    host = network.clone()
    levels, cycles = options.attention_levels, options.host_cycles
    quantize_attention(host, samples, machine, cycles, levels)
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


def _left_to_host(task: "_Task", options: NetworkOptions) -> list[str]:
    """The names of the kernels that int8 is too coarse for, tried out without all other aims."""
    if options.fallback is None:
        return []
    plain = replace(options, fallback=None, fuse=False, accuracy=None, cycles=None)
    return _Compilation.begun(task, plain, _JUDGED).left_to_host(options.fallback)


def _large(network: ModuleOp) -> bool:
    """Whether processes pay for the kernels of a network."""
    weights = sum(constant.array().size for _, constant in float_products(network))
    return weights >= _WORTH_A_PROCESS


@dataclass(frozen=True)
class _Task:
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


def _pruned(
    network: ModuleOp,
    samples: Sequence[Inputs],
    options: NetworkOptions,
    task: _Task,
    sequential: bool,
) -> tuple[ModuleOp, float | None]:
    """The network, pruned with calibration data, or what its kernels are still to be pruned to."""
    if sequential:
        round_sequentially(network, samples, options, task.progress, task.steps)
        return network, None
    if options.sparsity is None or task.calibration is None or options.second_order is False:
        return network, options.sparsity
    return prune(network, samples, options, task.progress, task.steps), None


@dataclass
class _Compilation:
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
    def begun(
        cls, task: _Task, options: NetworkOptions, every: int | None = None
    ) -> "_Compilation":
        """Read, prune, fuse and run a network; every so-many-th sample may be held out."""
        progress, machine = task.progress, task.machine
        options.elements.on(machine)  # refuses unknown names before any work
        _require_calibration(options, task.calibration)
        every = HELD_OUT if every is None and options.choosing else every
        coarse = _left_to_host(task, options)

        def scales(network: ModuleOp, keeps: bool) -> Mapping[MatmulOp, Scales]:
            return scales_on(network, _spread(task.samples(network)), smooth=not keeps)

        network, keep = outlined(task.source, options, progress, scales, coarse)
        executor = _executor_of(network, options, task.executor, task.steps)
        samples, has_data = task.samples(network), task.calibration is not None
        sequential = has_data and is_sequential(network, options, keep)
        dense = network.clone() if sequential else None
        network, sparsity = _pruned(network, samples, options, task, sequential)
        if options.fuse:
            progress("fuse kernels")
            fuse(network, options, machine)
        _set_tokens(network, NORMALIZED_FEATURES)
        _require_wide(network, options, machine)
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
        _set_tokens(network, most or _TOKENS)
        if self.given and most is None:
            for name, rows in self.rows.items():
                _set_tokens(network, max(map(len, rows)), name)
        verify(network)
        return network


def _set_tokens(network: ModuleOp, most: int, kernel: str | None = None) -> None:
    """Say what the longest sequence of the kernels is, or of one of them."""
    for function in [op for op in network.ops if isinstance(op, FuncOp)]:
        for op in function.body.block.ops:
            if isinstance(op, SequenceOperation) and kernel in (None, function.sym_name.data):
                op.tokens = IntegerAttr(most, i64)


def _arrays(
    network: ModuleOp, options: NetworkOptions, executor: Executor, progress: Progress
) -> ModuleOp:
    """The kernels as programs of one array."""
    target, max_tokens = options.target, options.max_tokens or _TOKENS
    main = entry(network)
    kernels = {
        op.sym_name.data: ModuleOp([op.clone()])
        for op in network.ops
        if isinstance(op, FuncOp) and op is not main
    }
    machine = load_target(target).machine
    wanted: list[ArrayConfig] = []
    for op in main.walk():
        if isinstance(op, ProductOp):
            features, outputs = (
                max_tokens if extent == DYNAMIC_INDEX else extent
                for extent in extents_of(op.rhs)[-2:]
            )
            wanted.append(product_requirement(features, outputs, machine))
    attentions = [op for op in main.walk() if isinstance(op, AttentionOp)]
    wanted += attention_requirement(attentions, max_tokens, machine)
    # One array runs all kernels, so its elements are chosen for all of them.
    machine = options.elements.on(machine, integer_weights(kernels.values()))
    return programs_of(
        kernels,
        machine,
        target,
        chains=options.fuse,
        wanted=wanted,
        executor=executor,
        progress=progress,
    )
