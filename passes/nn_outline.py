# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-outline`: cut the products with constant weights out of a network, as kernels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import IntegerType, ModuleOp, StringAttr
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.rewriter import InsertPoint
from xdsl.transforms.dead_code_elimination import dce

from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import ConstantOp, DequantizeOp, ElementwiseOp, MatmulOp, QuantizeOp
from daqkf.dialects.nn.base import HOST, NODE, element_of
from daqkf.dialects.nn.elementwise import Function
from daqkf.dialects.nn.ops import constant_of
from daqkf.dialects.spaq import ActivationOp
from daqkf.hw_targets.functions import FUNCTIONS
from daqkf.passes.nn_kernels import (
    add_rounding,
    erase_chain,
    insert_kernel,
    kernel_call,
    layer_block,
)
from daqkf.passes.nn_levels import Levels
from daqkf.passes.nn_options import refused
from daqkf.passes.rewriting import rewrite_once

_OF_WEIGHTS = (".weight_DequantizeLinear_Output", "_DequantizeLinear_Output", ".weight")
"""What is behind a layer's name in the names of its weights."""

_GENERATED = re.compile(
    r"(node_|onnx::)?((q?linear|q|fused)?(mat_?mul(integer|nbits)?|gemm|conv([123]d|_?transpose)?)"
    r"|linear|product|einsum|addmm|b?mm|dot(_general)?|generic)([_.:]?\d+)*(_quant)?",
    re.IGNORECASE,
)
"""Names that say no more than what kind of operation it is, and a number."""


@dataclass(frozen=True)
class NnOutlinePass(ModulePass):
    """Make a kernel of each product with a constant matrix, its bias and its function.

    The kernel is a function of [T, K] → [T, N] in `spaq`, over f32; `nn.linear` calls it. Its name
    is that of the node in the file, as far as that is one kernel's alone; or that of the weights,
    where the node has none but what a tool has generated.

    A function that stays with the host (`host`) is none of the kernel's.

    Where a quantised file states the levels of what a kernel reads or gives, for a whole tensor and
    of up to 8 bits, the kernel rounds and saturates by the same scale (`spaq.quantize`,
    `spaq.dequantize`). Zero points go to its bias.

    - `least`: the weights that a product has at least; smaller ones stay on the host.
    - `host`: the names of kernels that stay there as well, because int8 is too coarse for them.
    """

    name = "nn-outline"

    least: int = 1
    host: tuple[str, ...] = ()

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.least < 0:
            raise refused(self, "least", f"must be at least 0, not {self.least}")
        rewrite_once(self, op, _OutlineLayer(self.least, frozenset(self.host)))
        dce(op)


@dataclass(frozen=True)
class _OutlineLayer(RewritePattern):
    """A product with a constant matrix, and what follows it, as a call of a kernel."""

    least: int
    """Weights that a product has at least."""
    host: frozenset[str] = frozenset()
    """Names of products that stay on the host."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatmulOp, rewriter: PatternRewriter) -> None:
        """Make a kernel of the product, of its bias and of its function."""
        weights = constant_of(op.rhs)
        if weights is None or weights.ndim != 2 or weights.dtype != np.float32:
            return
        if layer_name(op) in self.host:
            op.attributes[HOST] = StringAttr("int8 is too coarse for it")
            rewriter.notify_op_modified(op)
        elif weights.size >= max(self.least, 1):
            _outline(rewriter, op, weights)


def layer_name(matmul: MatmulOp) -> str:
    """What a product's layer is called in the file.

    A node's name, like `/encoder/fc1/Gemm`, often ends with what the node does, and weights have
    names like `fc1.weight`.
    """
    node, weights = _node(matmul), _node(matmul.rhs.owner)
    *layer, last = re.split(r"(?<=[/.])", node.removeprefix("/"))
    if layer and _GENERATED.fullmatch(last):
        node = "".join(layer)[:-1]
    ends = (end for end in _OF_WEIGHTS if weights.endswith(end))
    names = node, weights.removesuffix(next(ends, ""))
    told = (name for name in names if name and not _GENERATED.fullmatch(name))
    return next(told, node or "kernel")


def _node(op: object) -> str:
    """The name that an operation has in the file, or none."""
    name = op.attributes.get(NODE) if isinstance(op, Operation) else None
    return name.data if isinstance(name, StringAttr) else ""


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
    reader = taken[-1].results[0].get_user_of_unique_use()
    function = None
    if _taken_along(reader):
        function = reader.kind.data
        taken.append(reader)
    source, read = _source(rewriter, matmul)
    made = _made(taken[-1].results[0], function)
    if made is not None and function is Function.RELU and made.zero == made.low:
        function = None  # as the levels saturate at 0
    bias = _with_offsets(weights, bias, read, made)
    block, inside = layer_block(weights, bias, read.scale if read else None)
    if made is not None and function is None and (behind := _function_behind(taken[-1], made)):
        inside = add_rounding(block, inside.results[0], made.scale)
        taken += behind.taken
        function, made = behind.function, behind.made
    if function is not None:
        inside = ActivationOp(function, inside.results[0])
        block.add_op(inside)
    if made is not None:
        inside = add_rounding(block, inside.results[0], made.scale)
    name = insert_kernel(matmul, rewriter, layer_name(matmul), block, inside)
    last = taken[-1]
    call = kernel_call(name, source, last.results[0])
    if made is not None:
        quantize = last.results[0].get_user_of_unique_use()
        assert isinstance(quantize, QuantizeOp)
        _count_from(rewriter, quantize, made.centre)
    rewriter.replace(last, call)
    erase_chain(rewriter, taken[:-1])


def _taken_along(reader: Operation | None) -> TypeGuard[ElementwiseOp]:
    """Whether what reads a product is a function that its kernel can have, and is to have."""
    return (
        isinstance(reader, ElementwiseOp)
        and reader.kind.data in FUNCTIONS
        and HOST not in reader.attributes
    )


def _source(rewriter: PatternRewriter, matmul: MatmulOp) -> tuple[SSAValue, Levels | None]:
    """What a kernel reads in place of the left operand, and the levels that are stated for that.

    If int8 has the levels, the kernel reads `(q - centre) · scale`; and where it rounds and
    saturates just as the file does, it reads what is quantised.
    """
    scaled = matmul.lhs.owner
    levels = Levels.of(scaled) if isinstance(scaled, DequantizeOp) else None
    if not isinstance(scaled, DequantizeOp) or levels is None or not levels.fit:
        return matmul.lhs, None
    quantize = scaled.input.owner
    if isinstance(quantize, QuantizeOp) and levels.fill:
        before = Levels.of(quantize)
        if before is not None and (before.scale, before.zero) == (levels.scale, levels.centre):
            return quantize.input, levels
    if levels.centre == levels.zero:
        return matmul.lhs, levels
    centre = _level(scaled.zero_point, levels.centre)
    factors = scaled.scale, centre.result
    recentred = DequantizeOp(scaled.input, factors, scaled.axis.value.data, scaled.result.type)
    recentred.attributes |= scaled.attributes
    recentred.result.name_hint, recentred.location = scaled.result.name_hint, scaled.location
    rewriter.insert([centre, recentred], InsertPoint.before(matmul))
    return recentred.result, levels


def _made(result: SSAValue, function: Function | None) -> Levels | None:
    """The levels that a kernel can round its results to, if nothing else reads those.

    A function's results cannot be shifted. A ReLU's can, whose part the levels take.
    """
    quantize = result.get_user_of_unique_use()
    levels = Levels.of(quantize) if isinstance(quantize, QuantizeOp) else None
    if levels is None or not levels.fit:
        return None
    is_cut = function is Function.RELU and levels.zero == levels.low
    return levels if function is None or is_cut or levels.offset == 0 else None


@dataclass(frozen=True)
class _Behind:
    """A function of levels that a kernel makes, which the kernel computes, too."""

    taken: Sequence[Operation]
    """What quantises, what scales up, and the function."""
    function: Function
    made: Levels
    """Those of the function's results."""


def _function_behind(last: Operation, made: Levels) -> _Behind | None:
    """A function between two roundings, if int8 has both as they are: then it is a table."""
    quantize = last.results[0].get_user_of_unique_use()
    if not isinstance(quantize, QuantizeOp) or not made.fill or made.offset:
        return None
    scaled = quantize.result.get_user_of_unique_use()
    if not isinstance(scaled, DequantizeOp) or Levels.of(scaled) != made:
        return None
    reader = scaled.result.get_user_of_unique_use()
    if not isinstance(reader, ElementwiseOp) or reader.kind.data not in FUNCTIONS:
        return None
    results = _made(reader.result, reader.kind.data)
    if results is None or results.offset:
        return None
    return _Behind((quantize, scaled, reader), reader.kind.data, results)


def _with_offsets(
    weights: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    read: Levels | None,
    made: Levels | None,
) -> NDArray[np.float64] | NDArray[np.float32] | None:
    """The bias [N] of a kernel that reads and makes levels counted from their centres."""
    change = np.zeros(weights.shape[1])
    if read is not None and read.offset:
        change += read.offset * weights.sum(axis=0, dtype=np.float64)
    if made is not None:
        change -= made.offset
    if not change.any():
        return bias
    return change if bias is None else change + bias


def _count_from(rewriter: PatternRewriter, quantize: QuantizeOp, zero: int) -> None:
    """Let an operation that quantises multiples of its scale have another zero point."""
    level = _level(quantize.zero_point, zero)
    rewriter.insert(level, InsertPoint.before(quantize))
    quantize.operands[2] = level.result
    rewriter.notify_op_modified(quantize)


def _level(like: SSAValue, level: int) -> ConstantOp:
    """A zero point in place of another one."""
    zero = constant_of(like)
    assert zero is not None
    array = np.full(zero.shape, level, zero.dtype)
    return ConstantOp(from_array(array, cast(IntegerType, element_of(like))))


def _require_finite(matmul: MatmulOp, what: str, values: NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        name = layer_name(matmul)
        raise ValueError(f"{name} has {what} beyond finite numbers")
