# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`spaq-prune`: zero the weights that matter least."""

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from daqkf.passes.diagnostics import failing
from daqkf.passes.quantize.pruning import magnitude_prune, second_order_prune
from daqkf.passes.quantize.samples import Samples, input_statistics, load_samples
from daqkf.passes.quantize.weights import bias_of, float_products, replace_constant


def prune(module: ModuleOp, sparsity: float, samples: Samples | None = None) -> None:
    """Prune every float matrix of a module to a share of zeros.

    By magnitude; or with samples [T, K] of the function's input so that the outputs change
    least, where the other weights and the bias make up for what is lost.

    Raises:
        ValueError: a sparsity outside 0 <= sparsity < 1, or samples that do not fit.
    """
    statistics = {} if samples is None else input_statistics(module, samples)
    for matmul, constant in list(float_products(module)):
        weights = constant.array()
        seen = statistics.get(matmul)
        if seen is None:
            replace_constant(constant, magnitude_prune(weights, sparsity), None)
            continue
        bias = bias_of(matmul)
        pruned = second_order_prune(weights, seen.hessian(with_bias=bias is not None), sparsity)
        if bias is not None:
            shifted = bias.array() + seen.bias_shift(weights, pruned)
            replace_constant(bias, shifted.astype(np.float32), None)
        replace_constant(constant, pruned, None)


@dataclass(frozen=True)
class SpaqPrunePass(ModulePass):
    """Zero the weights of every float matrix that matter least, counted over the whole matrix.

    - `sparsity`: the share of zeros to reach, 0 ≤ sparsity < 1. Weights that are zero
      already count; a matrix with more zeros stays as it is.
    - `samples`: a `.npy` file with float activations [T, K]. With it the weights go whose loss
      changes the outputs least, and the others and the bias make up for them; without it the
      smallest go.

    Drops a sparsity encoding that no longer holds.
    """

    name = "spaq-prune"

    sparsity: float | int
    samples: str | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        with failing(self.name):
            prune(op, self.sparsity, None if self.samples is None else load_samples(self.samples))
