# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-outline`: cut the products with constant weights out of a network, as kernels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.transforms.dead_code_elimination import dce

from daqkf.dialects.nn import ElementwiseOp, MatmulOp
from daqkf.dialects.nn.base import NODE
from daqkf.dialects.nn.elementwise import Function
from daqkf.dialects.nn.ops import constant_of
from daqkf.dialects.spaq import ActivationOp
from daqkf.hw_targets.functions import FUNCTIONS
from daqkf.passes.nn_kernels import (
    erase_chain,
    insert_kernel,
    kernel_call,
    layer_block,
)
from daqkf.passes.nn_options import refused
from daqkf.passes.rewriting import rewrite_once

_SUFFIXES = (".weight", ".product", "/MatMul", "/Gemm")
"""What a layer's name ends with in the names of its parts."""


@dataclass(frozen=True)
class NnOutlinePass(ModulePass):
    """Make a kernel of each product with a constant matrix, its bias and its function.

    The kernel is a function of [T, K] → [T, N] in `spaq`, over f32; `nn.linear` calls it. Its name
    is that of the weights in the file, as far as that is one kernel's alone.

    - `least`: the weights that a product has at least; smaller ones stay on the host.
    """

    name = "nn-outline"

    least: int = 1

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.least < 0:
            raise refused(self, "least", f"must be at least 0, not {self.least}")
        rewrite_once(self, op, _OutlineLayer(self.least))
        dce(op)


@dataclass(frozen=True)
class _OutlineLayer(RewritePattern):
    """A product with a constant matrix, and what follows it, as a call of a kernel."""

    least: int
    """Weights that a product has at least."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatmulOp, rewriter: PatternRewriter) -> None:
        """Make a kernel of the product, of its bias and of its function."""
        weights = constant_of(op.rhs)
        if weights is None or weights.ndim != 2 or weights.dtype != np.float32:
            return
        if weights.size >= max(self.least, 1):
            _outline(rewriter, op, weights)


def _name(matmul: MatmulOp) -> str:
    """What a layer is called in the file."""
    for op in (matmul.rhs.owner, matmul):
        node = op.attributes.get(NODE) if isinstance(op, Operation) else None
        if isinstance(node, StringAttr) and node.data:
            return next(
                (node.data.removesuffix(end) for end in _SUFFIXES if node.data.endswith(end)),
                node.data,
            )
    return "kernel"


def _bias(product: SSAValue, channels: int) -> tuple[ElementwiseOp, NDArray[np.float32]] | None:
    """The addition of a constant [N] that alone reads a product, and the constant."""
    addition = product.get_user_of_unique_use()
    if not isinstance(addition, ElementwiseOp) or addition.kind.data is not Function.ADD:
        return None
    for value in addition.inputs:
        vector = constant_of(value)
        if vector is not None and vector.size in (1, channels) and vector.ndim <= 1:
            return addition, np.broadcast_to(vector, (channels,)).astype(np.float32)
    return None


def _outline(rewriter: PatternRewriter, matmul: MatmulOp, weights: NDArray[np.float32]) -> None:
    _require_finite(matmul, "weights", weights)
    taken: list[Operation] = [matmul]
    bias = None
    if found := _bias(matmul.result, weights.shape[1]):
        addition, bias = found
        _require_finite(matmul, "a bias", bias)
        taken.append(addition)
    block, inside = layer_block(weights, bias)
    reader = taken[-1].results[0].get_user_of_unique_use()
    if isinstance(reader, ElementwiseOp) and reader.kind.data in FUNCTIONS:
        inside = ActivationOp(reader.kind.data, inside.results[0])
        block.add_op(inside)
        taken.append(reader)
    name = insert_kernel(matmul, rewriter, _name(matmul), block, inside)
    last = taken[-1]
    rewriter.replace(last, kernel_call(name, matmul.lhs, last.results[0]))
    erase_chain(rewriter, taken[:-1])


def _require_finite(matmul: MatmulOp, what: str, values: NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        name = _name(matmul)
        raise ValueError(f"{name} has {what} beyond finite numbers")
