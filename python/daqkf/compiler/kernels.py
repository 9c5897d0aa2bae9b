# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The steps of a compilation that see one kernel at a time, for `daqkf.compiler.executor`.

Each step is a function of the module's top level, and its input and its result can be pickled: IR
can. A kernel is a function in a module of its own, which the step may change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriteWalker
from xdsl.rewriter import InsertPoint, Rewriter

from daqkf.compiler.design import run_passes
from daqkf.compiler.executor import Executor
from daqkf.compiler.pipelines import KERNELS
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.rpea import ArrayOp
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.lowering.conversions.dfke_to_rpea import lower_kernels, runnable, sized_array
from daqkf.passes.defaults import EXPONENTS
from daqkf.passes.dfke_schedule import DfkeSchedulePass, ScheduleKernel
from daqkf.passes.progress import Progress, counted, silent
from daqkf.passes.quantize.samples import Samples, are_enough, rows_of
from daqkf.passes.spaq_calibrate import calibrate
from daqkf.passes.spaq_prune import prune
from daqkf.passes.spaq_quantize import SpaqQuantizePass


@dataclass(frozen=True)
class FloatKernel:
    """A kernel over f32, and what it is calibrated on."""

    module: ModuleOp
    samples: Samples
    sparsity: float | None
    """What it is to be pruned to by itself."""
    clip: str = "absmax"
    """How ranges are found; see `spaq-calibrate`."""
    reach: int = 0
    """Of the exponents that rows may share."""
    exponents: str = EXPONENTS[0]
    """Whether they do; see `spaq-calibrate`."""

    def calibrated(self, pruning: Samples | None = None) -> ModuleOp:
        """The kernel, pruned, with the ranges of its activations stated."""
        if self.sparsity is not None:
            prune(self.module, self.sparsity, pruning)
        calibrate(
            self.module,
            self.samples,
            clip=self.clip,
            exponents=self.exponents,
            reach=self.reach,
        )
        run_passes(self.module, ["spaq-analyze"])
        return self.module


@dataclass(frozen=True)
class Quantization:
    """A kernel that is to have the level set of all."""

    kernel: FloatKernel
    second_order: bool | None
    quantize: SpaqQuantizePass


def quantized(step: Quantization) -> ModuleOp:
    """The kernel as exact integers."""
    kernel, second_order = step.kernel, step.second_order
    if second_order is None:
        rows, _ = rows_of(kernel.samples)
        second_order = are_enough(*rows.shape)
    samples = kernel.samples if second_order else None
    module = kernel.calibrated(samples)
    step.quantize.quantize(module, samples)
    return module


@dataclass(frozen=True)
class _ScheduleOn(ModulePass):
    """`dfke-schedule` on a machine whose elements were chosen for all kernels together."""

    name = DfkeSchedulePass.name

    machine: Machine
    target: str

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        pattern = ScheduleKernel(self.machine, self.target, tile=True)
        PatternRewriteWalker(pattern, apply_recursively=False).rewrite_module(op)


@dataclass(frozen=True)
class Scheduling:
    """An integer kernel for a machine."""

    module: ModuleOp
    machine: Machine
    target: str
    """The machine's name, for messages."""
    chains: bool
    """Whether the kernel's products follow one another on the array."""


def scheduled(step: Scheduling) -> ModuleOp:
    """The kernel with its outputs shared out over the elements, or its parts' if it is cut."""
    scheduling = _ScheduleOn(step.machine, step.target)
    passes = [scheduling if name == DfkeSchedulePass.name else name for name in KERNELS]
    run_passes(step.module, [*passes, *(["dfke-chain"] if step.chains else [])])
    return step.module


@dataclass(frozen=True)
class Lowering:
    """A scheduled kernel for an array, and where it stands among the network's."""

    module: ModuleOp
    array: str
    config: ArrayConfig
    first: int
    count: int


def lowered(step: Lowering) -> ModuleOp:
    """The array, the kernel's programs for it, and the function that runs them."""
    array = ArrayOp(step.array, step.config)
    Rewriter.insert_op(array, InsertPoint.at_start(step.module.body.block))
    lower_kernels(step.module, array, step.first, step.count)
    return step.module


def programs_of(
    kernels: Mapping[str, ModuleOp],
    machine: Machine,
    target: str,
    *,
    chains: bool,
    wanted: Sequence[ArrayConfig],
    executor: Executor,
    progress: Progress = silent,
) -> ModuleOp:
    """An array, the programs of integer kernels for it, and the functions that run them.

    Args:
        kernels: each in a module of its own, by name.
        machine: what they are scheduled for.
        target: its name, for messages.
        chains: whether products of a kernel follow one another on the array.
        wanted: what else the array has to hold.
        executor: where kernels are scheduled and lowered.
        progress: told of each kernel.

    Raises:
        DaqkfError: a kernel does not fit the machine, or is too large for the array.
        PassFailedException, ValueError: they do not fit together.
    """
    names = list(kernels)
    steps = [Scheduling(module, machine, target, chains) for module in kernels.values()]
    modules = executor.map(scheduled, steps, names, counted(progress, "schedule", len(names)))
    parts = [runnable(module) for module in modules]
    whole = ModuleOp([])
    if wanted or any(parts):
        array = sized_array([kernel for part in parts for kernel in part], wanted)
        whole.body.block.add_op(array)
        count, first, lowering = sum(map(len, parts)), 0, list[Lowering]()
        for module, part in zip(modules, parts, strict=True):
            lowering.append(Lowering(module, array.sym_name.data, array.config.data, first, count))
            first += len(part)
        told = counted(progress, "lower", len(names))
        modules = executor.map(lowered, lowering, names, told)
    # Each module has the array, too, without which it could not be verified by itself.
    ops = [op for module in modules for op in module.ops if not isinstance(op, ArrayOp)]
    # Programs come before functions, as where the whole network is lowered at once.
    for op in sorted(ops, key=lambda op: isinstance(op, FuncOp)):
        op.detach()
        whole.body.block.add_op(op)
    verify(whole)
    return whole
