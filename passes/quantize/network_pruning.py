# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Pruning a network so that its outputs stay: no training, only calibration data.

One threshold shares the zeros out over the kernels, by what they do to the outputs of the network.
Then one sweep prunes each kernel when it is reached, on the inputs that the pruned kernels before
it leave, but towards the outputs of the dense network: so each kernel makes up for those before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import SSAValue

from daqkf.dialects.nn import LinearOp
from daqkf.dialects.spaq import ConstantOp, MatmulOp
from daqkf.passes.quantize.input_statistics import InputStatistics
from daqkf.passes.quantize.network_statistics import Batch, Statistics, sweep
from daqkf.passes.quantize.pruning import (
    PruningProblem,
    allocate_sparsity,
    dense_targets,
)
from daqkf.passes.quantize.weights import bias_of, replace_constant

Array = NDArray[Any]
Progress = Callable[[str], None]
POWER = 1.0


@dataclass
class _Inputs:
    """What is the same for all kernels that read one value."""

    dense: InputStatistics
    pruned: InputStatistics
    cross: NDArray[np.float64]
    """[K, K] covariance of the pruned network's inputs with the dense one's."""
    tokens: int
    problems: dict[bool, PruningProblem] = field(default_factory=dict[bool, PruningProblem])

    @classmethod
    def of(cls, dense: Array, pruned: Array, weights: Array) -> "_Inputs":
        w = (weights / weights.mean()) ** POWER
        w = np.clip(w, 0.05, 20)
        w = (w / w.mean()).astype(np.float32)

        def weighted(x):
            mean = (x * w[:, None]).mean(axis=0, dtype=np.float64)
            c = (x - mean.astype(np.float32)) * np.sqrt(w)[:, None]
            return c, InputStatistics(mean, (c.T @ c).astype(np.float64) / len(x))

        a, own = weighted(pruned)
        b, before = weighted(dense)
        cross = a.T @ b / np.float32(len(dense))
        return cls(before, own, cross.astype(np.float64), len(dense))


def kernel_shares(module: ModuleOp, statistics: Statistics, sparsity: float) -> dict[str, float]:
    """The share of zeros of each kernel by its name, from what zeroing each weight would cost."""
    names: list[str] = []
    scores: list[Array] = []
    for name, op, matmul, constant in _kernels(module):
        rows = np.concatenate(statistics.rows[op.input])
        variance = rows.var(axis=0, dtype=np.float64)
        sensitivity = statistics.sensitivity.get(matmul)
        if sensitivity is None:
            sensitivity = np.zeros(constant.array().shape[1])
        weights = np.square(constant.array(), dtype=np.float64)
        names.append(name)
        scores.append((weights * variance[:, np.newaxis] * sensitivity).astype(np.float32))
    return dict(zip(names, allocate_sparsity(scores, sparsity), strict=True))


def _kernels(module: ModuleOp):
    """The kernels of a network that are single layers: name, call, product and weights."""
    functions = {op.sym_name.data: op for op in module.ops if isinstance(op, FuncOp)}
    seen: set[str] = set()
    for op in module.walk():
        if not isinstance(op, LinearOp):
            continue
        name = op.callee.root_reference.data
        found = float_products_of(functions[name])
        if name not in seen and len(found) == 1:
            seen.add(name)
            yield name, op, *found[0]


def prune_network(
    module: ModuleOp,
    inputs: Sequence[Batch],
    statistics: Statistics,
    sparsity: float,
    *,
    progress: Progress = lambda name: None,
) -> None:
    """Prune the kernels of a network in place to a share of zeros together.

    Args:
        module: the network after `nn-outline`.
        inputs: the batches that `observe` saw.
        statistics: with rows of what kernels read.
        sparsity: 0 <= sparsity < 1.
        progress: told the name of each kernel.
    """
    shares = kernel_shares(module, statistics, sparsity)
    moments: dict[SSAValue, _Inputs] = {}

    def visit(op: LinearOp, kernel: FuncOp, rows: list[Array]) -> None:
        name = kernel.sym_name.data
        if name not in shares:
            return
        progress(name)
        share = shares.pop(name)
        ((matmul, constant),) = float_products_of(kernel)
        if op.input not in moments:
            moments.clear()
            places = statistics.places[op.input]
            pruned = np.concatenate([x[at] for x, at in zip(rows, places, strict=True)])
            dense = np.concatenate(statistics.rows[op.input])
            moments[op.input] = _Inputs.of(
                dense, pruned, np.concatenate(statistics.weights[op.input])
            )
        prune_kernel(
            matmul,
            constant,
            moments[op.input],
            share,
            statistics.sensitivity.get(matmul),
            statistics.curvature.get(matmul),
        )

    sweep(module, inputs, visit)


def float_products_of(kernel: FuncOp) -> list[tuple[MatmulOp, ConstantOp]]:
    """The float products of a kernel."""
    from daqkf.dialects.spaq.ops import defining_constant

    return [
        (op, constant)
        for op in kernel.walk()
        if isinstance(op, MatmulOp) and (constant := defining_constant(op.weights)) is not None
    ]


def prune_kernel(
    matmul: MatmulOp,
    constant: ConstantOp,
    seen: _Inputs,
    share: float,
    sensitivity: NDArray[np.float64] | None,
    outputs: NDArray[np.float64] | None = None,
) -> None:
    weights = constant.array()
    bias = bias_of(matmul)
    with_bias = bias is not None
    if with_bias not in seen.problems:
        seen.problems[with_bias] = PruningProblem.of(seen.pruned.hessian(with_bias=with_bias))
    dense, pruned, cross = seen.dense, seen.pruned.covariance, seen.cross
    if not with_bias:
        pruned = pruned + np.outer(seen.pruned.mean, seen.pruned.mean)
        cross = cross + np.outer(seen.pruned.mean, dense.mean)
    target = dense_targets(weights, pruned, cross)
    found = seen.problems[with_bias].solve(target, share, sensitivity, outputs)
    if bias is not None:
        mean = dense.mean @ weights.astype(np.float64) - seen.pruned.mean @ found
        replace_constant(bias, (bias.array() + mean).astype(np.float32), None)
    replace_constant(constant, found.astype(np.float32), None)
