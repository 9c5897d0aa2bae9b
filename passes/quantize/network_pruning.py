# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Pruning a network so that its outputs stay: no training, only calibration data.

One threshold shares the zeros out over the kernels, by what they do to the outputs of the network.
Then one sweep prunes each kernel when it is reached, on the inputs that the pruned kernels before
it leave, but towards the outputs of the dense network: so each kernel makes up for those before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation, SSAValue

from daqkf.dialects.nn import LinearOp
from daqkf.dialects.nn.base import EXACT
from daqkf.dialects.spaq import ConstantOp, MatmulOp
from daqkf.passes.progress import Progress, counted, silent
from daqkf.passes.quantize.network_statistics import Batch, Statistics, sweep
from daqkf.passes.quantize.paired_inputs import PairedInputs
from daqkf.passes.quantize.pruning import NETWORK, allocate_sparsity
from daqkf.passes.quantize.weights import bias_of, float_products, replace_constant
from daqkf.passes.steps import NOTHING_KEPT, Steps

Array = NDArray[Any]
_SPREAD = 0.05, 20.0
"""How much less or more than on average a row may count; how much it matters is an estimate."""


def _paired(dense: Array, pruned: Array, weights: Array) -> PairedInputs:
    """From inputs [T, K] of both networks, and how much each row matters [T]."""
    share = np.clip(weights / max(float(weights.mean()), 1e-30), *_SPREAD)
    scale = np.sqrt(share / share.mean()).astype(np.float32)[:, np.newaxis]
    found = PairedInputs(dense.shape[1])
    found.add(dense, pruned, scale)
    return found


@dataclass(frozen=True)
class SingleLayer:
    """A kernel that is a single layer."""

    call: LinearOp
    matmul: MatmulOp
    weights: ConstantOp


def single_layers(module: ModuleOp) -> dict[str, SingleLayer]:
    """The kernels of a network that are single layers, by name, in the order in which they run.

    Those whose weights stay what they are do not count.
    """
    layers: dict[str, list[tuple[MatmulOp, ConstantOp]]] = {}
    for matmul, constant in float_products(module):
        layers.setdefault(_function_of(matmul), []).append((matmul, constant))
    found: dict[str, SingleLayer] = {}
    for op in module.walk():
        if isinstance(op, LinearOp):
            name = op.callee.root_reference.data
            own = layers.get(name, [])
            if name not in found and len(own) == 1 and not _is_exact(own[0][0]):
                found[name] = SingleLayer(op, *own[0])
    return found


def _is_exact(op: Operation) -> bool:
    function = op.parent_op()
    return function is not None and EXACT in function.attributes


def _function_of(op: Operation) -> str:
    function = op.parent_op()
    assert isinstance(function, FuncOp)
    return function.sym_name.data


def kernel_shares(
    module: ModuleOp, statistics: Statistics, sparsity: float, outputs: int | None = None
) -> dict[str, float]:
    """The share of zeros of each kernel by its name, from what zeroing each weight would cost.

    Kernels of more than so many outputs get `sparsity`: of logits, say, of which few samples say
    nothing of most.
    """
    kernels, scores = single_layers(module), dict[str, Array]()
    for name, kernel in kernels.items():
        weights = kernel.weights.array()
        if outputs is not None and weights.shape[1] > outputs:
            continue
        rows = np.concatenate(statistics.rows[kernel.call.input])
        variance = rows.var(axis=0, dtype=np.float64)
        squares = np.square(weights, dtype=np.float64)
        cost = squares * variance[:, np.newaxis] * _sensitivity_of(kernel, statistics)
        scores[name] = cost.astype(np.float32)
    shares = allocate_sparsity(list(scores.values()), sparsity) if scores else []
    return dict.fromkeys(kernels, sparsity) | dict(zip(scores, shares, strict=True))


def kernel_sensitivity(module: ModuleOp, statistics: Statistics) -> dict[str, NDArray[np.float64]]:
    """How much an error of each output [N] of each kernel matters, by the kernel's name."""
    kernels = single_layers(module).items()
    return {name: _sensitivity_of(kernel, statistics) for name, kernel in kernels}


def _sensitivity_of(kernel: SingleLayer, statistics: Statistics) -> NDArray[np.float64]:
    """Of each output [N]; zeros if nothing that is measured depends on them."""
    found = statistics.sensitivity.get(kernel.matmul)
    return np.zeros(kernel.weights.array().shape[1]) if found is None else found


def prune_network(
    module: ModuleOp,
    inputs: Sequence[Batch],
    statistics: Statistics,
    sparsity: float,
    *,
    progress: Progress = silent,
    steps: Steps = NOTHING_KEPT,
) -> None:
    """Prune the kernels of a network in place to a share of zeros together.

    Args:
        module: the network after `nn-outline`.
        inputs: the batches that `observe` saw.
        statistics: with rows of what kernels read.
        sparsity: 0 <= sparsity < 1.
        progress: told of each kernel.
        steps: where kernels that are pruned are kept, and found.

    Raises:
        ValueError: samples of which nothing that is measured depends.
    """
    kernels, shares = single_layers(module), kernel_shares(module, statistics, sparsity)
    seen: dict[SSAValue, PairedInputs] = {}
    begins = counted(progress, "prune", len(kernels))
    for reached in sweep(module, inputs):
        name, value = reached.kernel.sym_name.data, reached.call.input
        kernel = kernels.pop(name, None)
        if kernel is None:
            continue
        begins(name)
        if value not in seen:
            seen.clear()
            places = zip(reached.rows(), statistics.places[value], strict=True)
            seen[value] = _paired(
                np.concatenate(statistics.rows[value]),
                np.concatenate([rows[at] for rows, at in places]),
                np.concatenate(statistics.weights[value]),
            )
        curvature = statistics.curvature.get(kernel.matmul)
        _prune_kernel(kernel, seen[value], shares[name], curvature, steps)


def _prune_kernel(
    kernel: SingleLayer,
    seen: PairedInputs,
    share: float,
    curvature: NDArray[np.float64] | None,
    steps: Steps,
) -> None:
    weights, bias = kernel.weights.array(), bias_of(kernel.matmul)

    def solve(_: Steps) -> NDArray[np.float64]:
        target = seen.target(weights, bias is not None)
        return seen.problem(bias is not None).solve(target, share, curvature, NETWORK)

    key = ["prune", weights, bias is not None, seen.key(), share, curvature]
    found = steps.do(key, solve)
    if bias is not None:
        moved = seen.bias(bias.array(), weights, found)
        replace_constant(bias, moved.astype(np.float32), None)
    replace_constant(kernel.weights, found.astype(np.float32), None)
