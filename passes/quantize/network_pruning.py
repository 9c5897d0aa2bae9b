# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Pruning a network so that its outputs stay: no training, only calibration data.

One threshold shares the zeros out over the kernels, by what they do to the outputs of the network.
Then one sweep prunes each kernel when it is reached, on the inputs that the pruned kernels before
it leave, but towards the outputs of the dense network: so each kernel makes up for those before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation, SSAValue

from daqkf.dialects.nn import LinearOp
from daqkf.dialects.spaq import ConstantOp, MatmulOp
from daqkf.passes.progress import Progress, counted, silent
from daqkf.passes.quantize.input_statistics import InputStatistics
from daqkf.passes.quantize.network_statistics import Batch, Statistics, sweep
from daqkf.passes.quantize.pruning import (
    NETWORK,
    PruningProblem,
    allocate_sparsity,
    dense_targets,
)
from daqkf.passes.quantize.weights import bias_of, float_products, replace_constant
from daqkf.passes.steps import NOTHING_KEPT, Steps

Array = NDArray[Any]
_SPREAD = 0.05, 20.0
"""How much less or more than on average a row may count; how much it matters is an estimate."""


@dataclass
class _Inputs:
    """What is the same for all kernels that read one value."""

    dense: NDArray[np.float64]
    """[K] the mean in the dense network."""
    pruned: InputStatistics
    """Of the pruned network's inputs."""
    cross: NDArray[np.float64]
    """[K, K] covariance of the pruned network's inputs with the dense one's."""
    problems: dict[bool, PruningProblem] = field(default_factory=dict[bool, PruningProblem])

    @classmethod
    def of(cls, dense: Array, pruned: Array, weights: Array) -> "_Inputs":
        """From inputs [T, K] of both networks, and how much each row matters [T]."""
        share = np.clip(weights / max(float(weights.mean()), 1e-30), *_SPREAD)
        share = (share / share.mean()).astype(np.float32)[:, np.newaxis]
        means = [(x * share).mean(axis=0, dtype=np.float64) for x in (dense, pruned)]
        before, now = (
            (x - mean.astype(np.float32)) * np.sqrt(share)
            for x, mean in zip((dense, pruned), means, strict=True)
        )
        tokens = np.float32(len(dense))
        covariance, cross = (now.T @ other / tokens for other in (now, before))
        own = InputStatistics(means[1], covariance.astype(np.float64))
        return cls(means[0], own, cross.astype(np.float64))

    def key(self) -> list[Array]:
        """What everything here is made of."""
        return [self.dense, self.pruned.mean, self.pruned.covariance, self.cross]

    def problem(self, with_bias: bool) -> PruningProblem:
        """With or without a bias to take up changes of the mean."""
        if with_bias not in self.problems:
            hessian = self.pruned.hessian(with_bias=with_bias)
            self.problems[with_bias] = PruningProblem.of(hessian)
        return self.problems[with_bias]

    def target(self, weights: Array, with_bias: bool) -> NDArray[np.float64]:
        """Weights [K, N] that bring the outputs nearer to the dense network's."""
        covariance, cross = self.pruned.covariance, self.cross
        if not with_bias:
            covariance = covariance + np.outer(self.pruned.mean, self.pruned.mean)
            cross = cross + np.outer(self.pruned.mean, self.dense)
        return dense_targets(weights, covariance, cross)


@dataclass(frozen=True)
class _Kernel:
    """A kernel that is a single layer."""

    call: LinearOp
    matmul: MatmulOp
    weights: ConstantOp


def _kernels(module: ModuleOp) -> dict[str, _Kernel]:
    """The kernels of a network that are single layers, by name, in the order in which they run."""
    layers: dict[str, list[tuple[MatmulOp, ConstantOp]]] = {}
    for matmul, constant in float_products(module):
        layers.setdefault(_function_of(matmul), []).append((matmul, constant))
    found: dict[str, _Kernel] = {}
    for op in module.walk():
        if isinstance(op, LinearOp):
            name = op.callee.root_reference.data
            own = layers.get(name, [])
            if name not in found and len(own) == 1:
                found[name] = _Kernel(op, *own[0])
    return found


def _function_of(op: Operation) -> str:
    function = op.parent_op()
    assert isinstance(function, FuncOp)
    return function.sym_name.data


def kernel_shares(module: ModuleOp, statistics: Statistics, sparsity: float) -> dict[str, float]:
    """The share of zeros of each kernel by its name, from what zeroing each weight would cost."""
    kernels = _kernels(module)
    scores: list[Array] = []
    for kernel in kernels.values():
        rows = np.concatenate(statistics.rows[kernel.call.input])
        variance = rows.var(axis=0, dtype=np.float64)
        weights = kernel.weights.array()
        sensitivity = statistics.sensitivity.get(kernel.matmul, np.zeros(weights.shape[1]))
        squares = np.square(weights, dtype=np.float64)
        scores.append((squares * variance[:, np.newaxis] * sensitivity).astype(np.float32))
    return dict(zip(kernels, allocate_sparsity(scores, sparsity), strict=True))


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
    kernels, shares = _kernels(module), kernel_shares(module, statistics, sparsity)
    seen: dict[SSAValue, _Inputs] = {}
    begins = counted(progress, "prune", len(kernels))

    def visit(op: LinearOp, function: FuncOp, rows: list[Array]) -> None:
        name = function.sym_name.data
        kernel = kernels.pop(name, None)
        if kernel is None:
            return
        begins(name)
        if op.input not in seen:
            seen.clear()
            places = statistics.places[op.input]
            seen[op.input] = _Inputs.of(
                np.concatenate(statistics.rows[op.input]),
                np.concatenate([x[at] for x, at in zip(rows, places, strict=True)]),
                np.concatenate(statistics.weights[op.input]),
            )
        curvature = statistics.curvature.get(kernel.matmul)
        _prune_kernel(kernel, seen[op.input], shares[name], curvature, steps)

    sweep(module, inputs, visit)


def _prune_kernel(
    kernel: _Kernel,
    seen: _Inputs,
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
        shift = seen.dense @ weights.astype(np.float64) - seen.pruned.mean @ found
        replace_constant(bias, (bias.array() + shift).astype(np.float32), None)
    replace_constant(kernel.weights, found.astype(np.float32), None)
