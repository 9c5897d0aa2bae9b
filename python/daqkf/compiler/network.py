# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""From a network's file to a `CompiledNetwork`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.utils.exceptions import DiagnosticException, InterpretationError

from daqkf.compiler.accuracy import NOISE, Measured
from daqkf.compiler.calibration import extents_of, given
from daqkf.compiler.compilation import Compilation, Task
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.executor import Executor, open_executor
from daqkf.compiler.kernels import programs_of
from daqkf.compiler.levels import Point
from daqkf.compiler.options import TOKENS, NetworkOptions
from daqkf.compiler.outlining import outlined
from daqkf.compiler.products import attention_requirement, product_requirement
from daqkf.compiler.pruning import prune
from daqkf.dialects.interpreting import entry
from daqkf.dialects.nn import ProductOp
from daqkf.dialects.nn.attention import IntegerAttention
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.passes.nn_product import Inputs
from daqkf.passes.progress import Progress, silent
from daqkf.passes.quantize.accuracy import AllOutputs, Loss, Measure
from daqkf.passes.quantize.weights import integer_weights
from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.support.errors import DaqkfError, describe, warn_of_noise


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
) -> "tuple[CompiledNetwork, Compilation]":
    try:
        options.check()
        with _executor(options) as executor:
            machine = load_target(options.target).machine
            task = Task(source, calibration, machine, executor, progress, steps)
            work = Compilation.begun(task, options)
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
            task = Task(source, calibration, machine, executor, progress, steps)
            return Compilation.begun(task, options).quantized()
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
            task = Task(source, calibration, machine, executor, progress)
            return Compilation.begun(task, options).levels(Loss()).front(points)
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


def _arrays(
    network: ModuleOp, options: NetworkOptions, executor: Executor, progress: Progress
) -> ModuleOp:
    """The kernels as programs of one array."""
    target, max_tokens = options.target, options.max_tokens or TOKENS
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
    attentions = [op for op in main.walk() if isinstance(op, IntegerAttention)]
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
