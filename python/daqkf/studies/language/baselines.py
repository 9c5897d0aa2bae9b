# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Plain ways to make the weights of a network fewer or smaller, to compare ours with.

Their weights are changed and nothing else: activations stay in float32.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.options import NetworkOptions
from daqkf.compiler.outlining import outlined
from daqkf.dialects.nn import MatmulOp
from daqkf.dialects.nn.ops import constant_of
from daqkf.passes.progress import Progress, counted, silent
from daqkf.passes.quantize.network_pruning import single_layers
from daqkf.passes.quantize.network_statistics import Batch, sweep
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.passes.quantize.weights import replace_constant

Floats = NDArray[np.floating]

GROUP = 32
"""Weights along the inputs that share a scale where they are rounded to the nearest level."""

BITS = 4 + 16 / GROUP
"""Of a weight that is rounded, with its share of a scale in float16."""


def round_to_nearest(weights: Floats) -> NDArray[np.float32]:
    """Weights [K, N] in 4 bits with the sign, -8 … 7, times a float16 scale for each group.

    As GGUF's Q4_0 does, the weight of the largest magnitude becomes -8.
    """
    features, outputs = weights.shape
    padded = np.zeros((-(-features // GROUP) * GROUP, outputs), np.float32)
    padded[:features] = weights
    groups = padded.reshape(-1, GROUP, outputs)
    place = np.abs(groups).argmax(axis=1, keepdims=True)
    scales = (np.take_along_axis(groups, place, axis=1) / -8).astype(np.float16).astype(np.float32)
    levels = np.clip(np.rint(groups / np.where(scales == 0, 1, scales)), -8, 7)
    return (levels * scales).reshape(padded.shape)[:features]


def wanda_prune(weights: Floats, rows: Sequence[Floats], sparsity: float) -> NDArray[np.float32]:
    """Weights [K, N] of which each output has lost the same number that says least.

    What a weight says is its magnitude times the norm of what it reads (Sun et al., "A Simple and
    Effective Pruning Approach for Large Language Models", ICLR 2024); the others stay as they are.

    Args:
        weights: [K, N].
        rows: batches [T, K] of what the kernel reads.
        sparsity: the share of zeros.
    """
    norms = np.sqrt(sum(np.square(part, dtype=np.float64).sum(axis=0) for part in rows))
    scores = np.abs(weights) * norms[:, np.newaxis]
    order = np.argsort(scores, axis=0, kind="stable")
    pruned = weights.astype(np.float32)
    np.put_along_axis(pruned, order[: round(sparsity * len(weights))], 0, axis=0)
    return pruned


def matrices(module: ModuleOp) -> list[Floats]:
    """The weights of all products of a network of `nn` with constants."""
    products = (op for op in module.walk() if isinstance(op, MatmulOp))
    return [array for op in products if (array := constant_of(op.rhs)) is not None]


def _each(
    module: ModuleOp, change: Callable[[Floats], Floats], progress: Progress = silent
) -> ModuleOp:
    """A copy of a network with other weights in each kernel."""
    made = module.clone()
    layers = single_layers(made)
    begins = counted(progress, "change", len(layers))
    for name, layer in layers.items():
        begins(name)
        replace_constant(layer.weights, change(layer.weights.array()).astype(np.float32), None)
    return made


def rounded(module: ModuleOp, progress: Progress = silent) -> ModuleOp:
    """A network whose kernels have weights of 4 bits; see `round_to_nearest`."""
    return _each(_kernels(module), round_to_nearest, progress)


def pruned_by_magnitude(module: ModuleOp, sparsity: float, progress: Progress = silent) -> ModuleOp:
    """A network each of whose kernels has lost its smallest weights."""
    return _each(_kernels(module), lambda weights: magnitude_prune(weights, sparsity), progress)


def pruned_by_wanda(
    module: ModuleOp, inputs: Sequence[Batch], sparsity: float, progress: Progress = silent
) -> ModuleOp:
    """A network pruned by `wanda_prune`, each kernel on what the pruned ones before it leave."""
    made = _kernels(module)
    layers = single_layers(made)
    begins = counted(progress, "prune", len(layers))
    for reached in sweep(made, inputs):
        name = reached.kernel.sym_name.data
        layer = layers.pop(name, None)
        if layer is not None:
            begins(name)
            pruned = wanda_prune(layer.weights.array(), reached.rows(), sparsity)
            replace_constant(layer.weights, pruned, None)
    return made


def _kernels(module: ModuleOp) -> ModuleOp:
    """A network of `nn` with its products cut out as kernels over f32."""
    return outlined(module, NetworkOptions(scale_rows=False))[0]
