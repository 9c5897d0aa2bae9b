# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`spaq-prune`: zero the smallest weights."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import PassFailedException

from daqkf.passes.maths.pruning import magnitude_prune
from daqkf.passes.weights import float_products, replace_constant


@dataclass(frozen=True)
class SpaqPrunePass(ModulePass):
    """Zero the smallest weights of every float matrix, by magnitude over the whole matrix.

    - `sparsity`: the share of zeros to reach, 0 ≤ sparsity < 1. Weights that are zero
      already count; a matrix with more zeros stays as it is.

    Drops a sparsity encoding that no longer holds.
    """

    name = "spaq-prune"

    sparsity: float | int

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for _, constant in float_products(op):
            try:
                pruned = magnitude_prune(constant.array(), self.sparsity)
            except ValueError as error:
                raise PassFailedException(f"{self.name}: {error}") from None
            replace_constant(constant, pruned, None)
