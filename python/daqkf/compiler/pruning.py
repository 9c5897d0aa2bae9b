# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Pruning a network's kernels as its options say: together, with training of what is left, or one
after another, and rounding them, too."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.options import NetworkOptions, level_set
from daqkf.passes.nn_product import Inputs
from daqkf.passes.nn_row_scales import take_weights, without_row_scales
from daqkf.passes.progress import Progress
from daqkf.passes.quantize.accuracy import AllOutputs
from daqkf.passes.quantize.distillation import distil, trainable
from daqkf.passes.quantize.gradients import NoGradientError
from daqkf.passes.quantize.network_pruning import (
    kernel_sensitivity,
    kernel_shares,
    prune_network,
    single_layers,
)
from daqkf.passes.quantize.network_statistics import batches, elements_of, observe
from daqkf.passes.quantize.sequential import key_of, quantize_sequentially
from daqkf.passes.quantize.weights import replace_constant
from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.support.errors import DaqkfError

PRUNING_ROWS = 32768
"""Rows of a kernel's inputs that pruning sees at most."""

_SEQUENTIAL_ROWS = 16384
"""The same where kernels are pruned and rounded one after another, on what the float network
and the rounded one make of all of these rows."""

_STEP = 512
"""Tokens or rows of a step of training, about."""

_OBSERVED = 4096
"""Tokens or rows, about, that say how much each output of a kernel matters."""

_ROWS = 512
"""Rows of a kernel's inputs, about, from which their variances are found for that."""

_MOST_BYTES = 6 << 30
"""Of rows of what all kernels read, from which on kernels are pruned one after another."""


def is_sequential(network: ModuleOp, options: NetworkOptions, keep: bool) -> bool:
    """Whether a network's kernels are pruned and rounded one after another.

    Args:
        network: after `nn-outline`.
        options: see `NetworkOptions.sequential`.
        keep: whether weights keep the levels that the file has for them.

    Raises:
        DaqkfError: that is asked for, and the file has levels.
    """
    if options.sequential and keep:
        raise DaqkfError("sequential rounding is of float weights: requantize drops the file's")
    if options.sequential is not None or keep or not options.one_by_one:
        return bool(options.sequential)
    layers = single_layers(network).values()
    read = {layer.call.input: len(layer.weights.array()) for layer in layers}
    return 4 * PRUNING_ROWS * sum(read.values()) > _MOST_BYTES


def round_sequentially(
    network: ModuleOp,
    samples: Sequence[Inputs],
    options: NetworkOptions,
    progress: Progress,
    steps: Steps = NOTHING_KEPT,
) -> None:
    """Prune and round the kernels of a network in place, one after another.

    They see batches of `_SEQUENTIAL_ROWS` tokens or rows together at most, evenly spread. If what
    is left is trained in between, the trained network is what it is rounded towards.
    """
    parts, share = batches(network, samples), options.sparsity or 0.0
    parts = parts[:: max(1, -(-sum(map(elements_of, parts)) // _SEQUENTIAL_ROWS))]
    plain, int8 = without_row_scales(network), bool(options.scale_rows)
    shares, sensitivity = _shares_and_sensitivity(plain, parts, share, options, progress, steps)
    quantize = partial(
        quantize_sequentially,
        plain,
        parts,
        sensitivity=sensitivity,
        int8=int8,
        progress=progress,
        steps=steps,
    )
    if options.distillation:
        dense = plain.clone()
        quantize(None, shares)
        shares = {}  # the zeros stay
        key = ["distil", key_of(plain), parts, options.distillation, options.loss]

        def trained(inner: Steps) -> list[NDArray[np.float32]]:
            _distil(plain, dense, samples, options, progress, inner)
            return [constant.array() for constant in trainable(plain)]

        for constant, values in zip(trainable(plain), steps.do(key, trained), strict=True):
            replace_constant(constant, values, None)
    quantize(level_set(options.levels), shares)
    take_weights(network, plain)


def _shares_and_sensitivity(
    network: ModuleOp,
    parts: Sequence[Inputs],
    share: float,
    options: NetworkOptions,
    progress: Progress,
    steps: Steps,
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
    """The share of zeros of each kernel, and how much an error of each of its outputs matters."""
    if not share:
        return {}, {}
    some = parts[:: max(1, sum(map(elements_of, parts)) // _OBSERVED)]
    measure = options.measure or AllOutputs()

    def found(_: Steps) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
        statistics = observe(
            network,
            some,
            measure,
            options.loss,
            rows=_ROWS,
            curvature=False,
            progress=progress,
        )
        tokens = sum(map(elements_of, some))
        shares = kernel_shares(network, statistics, share, tokens)
        return shares, kernel_sensitivity(network, statistics)

    key = [
        "shares and sensitivity",
        key_of(network),
        some,
        share,
        options.loss,
        type(measure).__qualname__,
    ]
    return steps.do(key, found)


def prune(
    network: ModuleOp,
    samples: Sequence[Inputs],
    options: NetworkOptions,
    progress: Progress,
    steps: Steps = NOTHING_KEPT,
) -> ModuleOp:
    """A network whose kernels are pruned together: this one, which is changed, or one that `steps`
    have from before."""
    if options.sparsity == 0:
        return network
    key = [
        *("prune", key_of(network), samples, options.sparsity, options.distillation, options.loss),
        type(options.measure).__qualname__,
    ]

    def pruned(inner: Steps) -> ModuleOp:
        _prune(network, samples, options, progress, inner)
        return network

    return steps.do(key, pruned)


def _prune(
    network: ModuleOp,
    samples: Sequence[Inputs],
    options: NetworkOptions,
    progress: Progress,
    steps: Steps,
) -> None:
    assert options.sparsity is not None
    parts = batches(network, samples)
    dense = network.clone() if options.distillation else network
    statistics = observe(
        network,
        parts,
        options.measure or AllOutputs(),
        options.loss,
        rows=PRUNING_ROWS,
        progress=progress,
    )
    prune_network(
        network,
        parts,
        statistics,
        options.sparsity,
        progress=progress,
        steps=steps,
    )
    if options.distillation:
        del statistics  # gigabytes, maybe
        _distil(network, dense, samples, options, progress, steps.inner("distil"))


def _distil(
    network: ModuleOp,
    dense: ModuleOp,
    samples: Sequence[Inputs],
    options: NetworkOptions,
    progress: Progress,
    steps: Steps,
) -> None:
    """Train what pruning kept of a network, in place."""
    try:
        distil(
            network,
            dense,
            batches(network, samples, _STEP),
            options.measure or AllOutputs(),
            options.loss,
            options.distillation,
            progress=progress,
            steps=steps,
        )
    except NoGradientError as error:
        raise DaqkfError(f"distillation needs gradients, and {error} has none") from None
