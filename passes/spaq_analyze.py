# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`spaq-analyze`: state the sparsity of every weight matrix in its type."""

from dataclasses import dataclass

from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, NoneAttr
from xdsl.passes import ModulePass

from daqkf.dialects.spaq import EncodingAttr, LevelsAttr, Sparsity, SparsityAttr
from daqkf.passes.maths.sparsity import analyze
from daqkf.passes.weights import products, replace_constant


def encode(array: NDArray, levels: LevelsAttr | None = None) -> EncodingAttr:
    """The encoding of weights [K, N]: their sparsity, and the level set if they have one."""
    summary = analyze(array)
    sparsity = Sparsity(
        nonzeros=summary.nonzeros,
        column_nonzeros=int(summary.column_nonzeros.max()),
        pattern=summary.pattern,
    )
    return EncodingAttr(SparsityAttr(sparsity), levels or NoneAttr())


@dataclass(frozen=True)
class SpaqAnalyzePass(ModulePass):
    """Give every constant weight matrix a `#spaq.encoding` with its sparsity.

    Counts the non-zeros of the matrix and of its fullest output channel, and names the
    pattern of the zeros. A level set that is stated already stays.
    """

    name = "spaq-analyze"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for _, constant in products(op):
            levels = constant.encoding.levels if constant.encoding else None
            levels = levels if isinstance(levels, LevelsAttr) else None
            array = constant.array()
            replace_constant(constant, array, encode(array, levels))
