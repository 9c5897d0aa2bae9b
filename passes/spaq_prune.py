# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`spaq-prune`: zero the weights that matter least."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import Float32Type, ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from daqkf.dialects.spaq import MatmulOp
from daqkf.dialects.spaq.ops import defining_constant
from daqkf.passes.diagnostics import about, failing
from daqkf.passes.quantize.input_statistics import InputStatistics
from daqkf.passes.quantize.pruning import magnitude_prune, require_sparsity, second_order_prune
from daqkf.passes.quantize.samples import Samples, input_statistics, load_samples
from daqkf.passes.quantize.weights import bias_add, own_constant, replace_constant


def prune(module: ModuleOp, sparsity: float, samples: Samples | None = None) -> None:
    """Prune every float matrix of a module to a share of zeros.

    By magnitude; or with samples [T, K] of the function's input so that the outputs change
    least, where the other weights and the bias make up for what is lost.

    Raises:
        ValueError: a sparsity outside 0 <= sparsity < 1, or samples that do not fit.
    """
    require_sparsity(sparsity)
    statistics = {} if samples is None else input_statistics(module, samples)
    pattern = PruneProduct(sparsity, statistics)
    PatternRewriteWalker(pattern, apply_recursively=False).rewrite_module(module)


@dataclass(frozen=True)
class PruneProduct(RewritePattern):
    """A float product by a constant: its weights are pruned.

    With statistics of what it reads, products that share weights or a bias get their own first.
    """

    sparsity: float
    statistics: Mapping[Operation, InputStatistics]
    """Of what products read; one that is not in there is pruned by magnitude."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatmulOp, rewriter: PatternRewriter) -> None:
        """Replace the constants of a product.

        Raises:
            ValueError: weights that cannot be pruned.
        """
        constant = defining_constant(op.weights)
        if constant is None or not isinstance(constant.value.get_element_type(), Float32Type):
            return
        with about(op):
            seen = self.statistics.get(op)
            if seen is None:
                pruned = magnitude_prune(constant.array(), self.sparsity)
                replace_constant(constant, pruned, None, rewriter)
            else:
                self._by_outputs(op, seen, rewriter)

    def _by_outputs(self, op: MatmulOp, seen: InputStatistics, rewriter: PatternRewriter) -> None:
        constant, add = own_constant(op, 1, rewriter), bias_add(op)
        bias = None if add is None else own_constant(add, 1, rewriter)
        weights = constant.array()
        hessian = seen.hessian(with_bias=bias is not None)
        pruned = second_order_prune(weights, hessian, self.sparsity)
        if bias is not None:
            shifted = bias.array() + seen.bias_shift(weights, pruned)
            replace_constant(bias, shifted.astype(np.float32), None, rewriter)
        replace_constant(constant, pruned, None, rewriter)


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
