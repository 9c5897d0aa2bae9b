# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Pruning and rounding the kernels of a large network, one after another.

The dense network and what has become of it run side by side, from kernel to kernel. A kernel is
pruned and rounded to levels on the inputs that the kernels before it leave, towards the outputs of
the dense network: so it makes up for their zeros and for their rounding. Nothing goes backwards
through the network, and of each value only the second moments are kept, while its readers are at
work; so the time and the memory that a kernel takes do not depend on how many others there are.

The order is that of GPTQ (Frantar et al., 2023) and SparseGPT (Frantar and Alistarh, 2023), where
each layer is fitted to its own outputs on inputs of the changed network.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import SSAValue

from daqkf.dialects import nn
from daqkf.dialects.spaq import ConstantOp, LevelSet
from daqkf.hw_targets.numerics import ACTIVATION_MAX
from daqkf.passes.nn_row_scales import constant_of_rows
from daqkf.passes.progress import Progress, counted, silent
from daqkf.passes.quantize.compensation import compensate
from daqkf.passes.quantize.levels import Fit, fit
from daqkf.passes.quantize.network_pruning import SingleLayer, single_layers
from daqkf.passes.quantize.network_statistics import Batch, Reached, sweep
from daqkf.passes.quantize.paired_inputs import PairedInputs
from daqkf.passes.quantize.pruning import NETWORK
from daqkf.passes.quantize.weights import bias_of, put_bias, replace_constant, stated_levels
from daqkf.passes.steps import NOTHING_KEPT, Steps

Array = NDArray[Any]

_PASSES = 3
"""Of rounding over all weights of a kernel."""


@dataclass(frozen=True)
class FittedLayer:
    """What has become of a kernel: `x·(levels·scales) + bias`."""

    levels: NDArray[np.int8] | NDArray[np.float32]
    """[K, N]; integers of an output have no common factor. A kernel that is only pruned has its
    weights here."""
    scales: NDArray[np.float64] | float
    """[N]; 1 of one that is only pruned."""
    bias: NDArray[np.float32]
    """[N]."""

    def weights(self) -> NDArray[np.float32]:
        """The weights [K, N]."""
        return (self.levels * self.scales).astype(np.float32)

    def into(self, layer: SingleLayer) -> None:
        """Put levels times scales in place of a kernel's weights, and the bias behind them."""
        replace_constant(layer.weights, self.weights(), None)
        put_bias(layer.matmul, self.bias)


def quantize_sequentially(
    module: ModuleOp,
    inputs: Sequence[Batch],
    level_set: LevelSet | None,
    shares: Mapping[str, float] | float = 0.0,
    *,
    sensitivity: Mapping[str, NDArray[np.float64]] | None = None,
    int8: bool = False,
    progress: Progress = silent,
    steps: Steps = NOTHING_KEPT,
) -> None:
    """Prune and round the kernels of a network in place.

    Their weights become float32 multiples of a step for each output, of which
    `daqkf.passes.quantize.levels.own_fit` finds the levels again. Each gets a bias, if it has none,
    which keeps the means of its outputs.

    Args:
        module: the network after `nn-outline`; its kernels have f32 weights, and read rows that the
            host does not scale: see `daqkf.passes.nn_row_scales`.
        inputs: batches of its inputs by name.
        level_set: of all kernels that have none stated; None to prune only.
        shares: of zeros, of all kernels or by name; a kernel without any is rounded only. One that
            has as many zeros already keeps its zeros.
        sensitivity: how much a squared error of each output [N] of a kernel matters where zeros are
            chosen, by name; by default equally.
        int8: whether the rows that the changing network's kernels read are rounded to int8 between
            the least and the largest value of each, as where the host scales them; so kernels make
            up for that, too.
        progress: told of each kernel.
        steps: where kernels that are done are kept, and found.

    Raises:
        ValueError, InterpretationError: inputs that do not fit.
    """
    layers = single_layers(module)
    if not isinstance(shares, Mapping):
        shares = dict.fromkeys(layers, shares)
    matters = dict(sensitivity or {})
    key = ["sequential", key_of(module), list(inputs), repr(level_set), dict(shares), int8]
    own = steps.inner([*key, matters])
    missing = {name for name in layers if own.find(name) is None}
    does = " and ".join(["prune"] * any(shares.values()) + ["round"] * (level_set is not None))
    begins = counted(progress, does or "adjust", len(layers))
    pairs = _Pairs()
    for before, now in _side_by_side(module, inputs, int8) if missing else ():
        name = now.kernel.sym_name.data
        layer = layers.pop(name, None)
        if layer is None:
            continue
        begins(name)
        if (done := own.find(name)) is None:
            levels = level_set and (stated_levels(layer.matmul) or level_set)
            pair, share = pairs.of(before, now), shares.get(name, 0.0)
            done = fit_layer(layer, pair, levels, share, matters.get(name))
            own.keep(name, done)
            missing.remove(name)
        done.into(layer)
        if not missing:
            break
    for name, layer in layers.items():
        if (done := own.find(name)) is not None:
            begins(name)
            done.into(layer)


def fit_layer(
    layer: SingleLayer,
    pair: PairedInputs,
    level_set: LevelSet | None,
    share: float,
    sensitivity: NDArray[np.float64] | None = None,
) -> FittedLayer:
    """A kernel with a share of zeros and levels, by what it reads and how much outputs matter.

    Zeros are chosen towards the dense outputs; then the levels of what is left minimise the error
    to them, with a scale of each output.
    """
    weights, old = layer.weights.array(), bias_of(layer.matmul)
    bias = 0.0 if old is None else old.array()
    target = pair.target(weights, True)
    allowed = weights != 0
    if np.count_nonzero(allowed) <= weights.size - round(share * weights.size):
        pruned = np.where(allowed, target, 0)
    else:
        pruned = pair.problem(True).solve(target, share, sensitivity, NETWORK)
        allowed = pruned != 0
    if level_set is None:
        real = pruned.astype(np.float32)  # `take_weights` makes weights of the bias where it has to
        return FittedLayer(real, 1.0, pair.bias(bias, weights, real).astype(np.float32))
    hessian = pair.now.hessian()
    start = fit(pruned, level_set, importance=np.diag(hessian))
    found = compensate(
        target, hessian, start, zero=level_set.kind != "binary", passes=_PASSES, allowed=allowed
    )
    constant = constant_of_rows(layer.call)
    if constant is not None:
        left = pair.bias(bias, weights, (found.levels * found.scales).astype(np.float32))
        found = _biased(found, left / constant, zero=level_set.kind != "binary")
    common = np.maximum(np.gcd.reduce(found.levels, axis=0), 1)
    levels, scales = found.levels // common, found.scales * common
    rounded = (levels * scales).astype(np.float32)
    rest = pair.bias(bias, weights, rounded) if constant is None else np.zeros(len(scales))
    return FittedLayer(levels, scales, rest.astype(np.float32))


def _biased(found: Fit, added: NDArray[np.floating], *, zero: bool) -> Fit:
    """The levels of a ranked kernel, with weights of its constant feature that are `added` [N]
    larger, as near as each channel's levels come; `zero` may be one of them."""
    magnitudes = found.magnitudes.astype(np.int8)
    choices = [-magnitudes, magnitudes, *([np.zeros_like(magnitudes[:1])] if zero else [])]
    every = np.concatenate(choices)
    nearest = np.abs(every - (found.levels[-1] + added / found.scales)).argmin(axis=0)
    levels = found.levels.copy()
    levels[-1] = np.take_along_axis(every, nearest[np.newaxis], axis=0)[0]
    return replace(found, levels=levels)


@dataclass
class _Pairs:
    """What the last kernels have read: those of the same value share it."""

    value: SSAValue | None = None
    found: PairedInputs | None = None

    def of(self, before: Reached, now: Reached) -> PairedInputs:
        """What a kernel reads in the dense network and in the other."""
        value = now.call.input
        if value is not self.value or self.found is None:
            self.value = value
            self.found = _read(before, now)
        return self.found


def _read(before: Reached, now: Reached) -> PairedInputs:
    """What a kernel reads in both networks."""
    found: PairedInputs | None = None
    for dense, rows in zip(before.rows(), now.rows(), strict=True):
        found = found or PairedInputs(rows.shape[1])
        found.add(dense, rows)
    assert found is not None
    return found


def _side_by_side(
    module: ModuleOp, inputs: Sequence[Batch], int8: bool
) -> Iterator[tuple[Reached, Reached]]:
    """Each kernel as the dense network is about to run it, and as the changing one is."""
    dense = module.clone()
    now = sweep(module, inputs, in_int8) if int8 else sweep(module, inputs)
    return zip(sweep(dense, inputs), now, strict=True)


def in_int8(rows: Array) -> Array:
    """Rows [..., K] of float32, each rounded to 255 values from its least to its largest one."""
    most, least = (reduce(axis=-1, keepdims=True) for reduce in (rows.max, rows.min))
    middle, step = (most + least) / 2, (most - least) / np.float32(2 * ACTIVATION_MAX)
    return np.rint((rows - middle) / np.where(step > 0, step, 1)) * step + middle


def key_of(module: ModuleOp) -> list[Any]:
    """Everything that a network is made of, for `Steps`; constants as arrays, not as text."""
    numbers: dict[SSAValue, int] = {}
    operations: list[Any] = []
    for op in module.walk():
        if isinstance(op, ModuleOp | FuncOp):
            continue
        if isinstance(op, ConstantOp | nn.ConstantOp):
            operations.append(op.array())
        else:
            facts = (op.attributes | op.properties).items()
            read = [numbers.get(value, -1) for value in op.operands]
            operations.append([op.name, read, *(f"{name} {fact}" for name, fact in facts)])
        for value in op.results:
            numbers[value] = len(numbers)
    return operations
