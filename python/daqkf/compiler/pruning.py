# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Pruning a network's kernels together, and training what is left, as its options say."""

from collections.abc import Sequence

from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.options import NetworkOptions
from daqkf.passes.nn_product import Inputs
from daqkf.passes.progress import Progress
from daqkf.passes.quantize.accuracy import AllOutputs
from daqkf.passes.quantize.distillation import distil
from daqkf.passes.quantize.gradients import NoGradientError
from daqkf.passes.quantize.network_pruning import prune_network
from daqkf.passes.quantize.network_statistics import batches, observe
from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.support.errors import DaqkfError

PRUNING_ROWS = 32768
"""Rows of a kernel's inputs that pruning sees at most."""

_STEP = 512
"""Tokens or rows of a step of training, about."""


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
        *("prune", network, samples, options.sparsity, options.distillation, options.loss),
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
        _distil(network, dense, samples, options, progress)


def _distil(
    network: ModuleOp,
    dense: ModuleOp,
    samples: Sequence[Inputs],
    options: NetworkOptions,
    progress: Progress,
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
        )
    except NoGradientError as error:
        raise DaqkfError(f"distillation needs gradients, and {error} has none") from None
