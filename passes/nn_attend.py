# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-attend`: attention and the kernels of its queries, keys and values become one."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.transforms.dead_code_elimination import dce

from daqkf.dialects.nn import LinearOp, ReshapeOp, SoftmaxOp, TransposeOp
from daqkf.dialects.nn.base import integers_of, shape_of
from daqkf.dialects.spaq import AttentionOp
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.operands import feature_words, token_words
from daqkf.passes.nn_attention import Attention
from daqkf.passes.nn_kernels import (
    Layer,
    erase_dead,
    insert_kernel,
    joined,
    kernel_call,
    layer_block,
    module_of,
    remove_unused,
)
from daqkf.passes.nn_options import refused, target_machine
from daqkf.passes.rewriting import rewrite_once

_BY_HEAD, _TRANSPOSED = [0, 2, 1, 3], [0, 2, 3, 1]
"""[B, L, H, D] → [B, H, L, D], and → [B, H, D, L]."""


@dataclass(frozen=True)
class NnAttendPass(ModulePass):
    """Compute attention with its projections, on an array with operand memories.

    `softmax(q·kᵀ·scale + mask)·v`, where queries, keys and values are layers of the same
    activations, becomes one `nn.linear` of a function with `spaq.attention`. `nn-chain` and
    `nn-normalize` make one of it with what follows, so that a whole layer of a transformer does not
    leave the array. The mask says which tokens are there, and nothing else.

    - `target`: the target whose operand memories hold keys and values.
    - `tokens`: the most tokens that a sequence has.
    """

    name = "nn-attend"

    target: str = "generic"
    tokens: int = 128

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = target_machine(self, self.target)
        if self.tokens < 1:
            raise refused(self, "tokens", f"must be at least 1, not {self.tokens}")
        if not machine.operand_depth:
            return
        if rewrite_once(self, op, _AttendInKernel(machine, self.tokens)):
            dce(op)


@dataclass(frozen=True)
class _AttendInKernel(RewritePattern):
    """An attention and the layers of its queries, keys and values → one kernel."""

    machine: Machine
    tokens: int
    """The most of a sequence."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: SoftmaxOp, rewriter: PatternRewriter) -> None:
        """Make a kernel of the attention that a softmax is of, if an array can hold it."""
        found = _Whole.of(op)
        if found is not None and found.fits(self.machine, self.tokens):
            _replace(rewriter, found, self.tokens)


@dataclass(frozen=True)
class _Whole:
    """An attention, the layers it is of, and its result [B, L, N]."""

    attention: Attention
    queries: Layer
    keys: Layer
    values: Layer
    result: ReshapeOp

    @classmethod
    def of(cls, softmax: SoftmaxOp) -> "_Whole | None":
        """The attention that a softmax is of, if it is one of layers."""
        attention = Attention.of(softmax)
        if attention is None:
            return None
        product, context = attention.scores.product, attention.context
        queries = _projection(product.lhs, _BY_HEAD)
        keys = _projection(product.rhs, _TRANSPOSED)
        values = _projection(context.rhs, _BY_HEAD)
        result = _whole_result(context.result)
        if queries is None or keys is None or values is None or result is None:
            return None
        layers, channels = (queries, keys, values), queries.channels
        shape, mask = shape_of(result.result), attention.scores.mask
        extents = None if mask is None else shape_of(mask)
        sound = (
            all(layer.call.input is queries.call.input for layer in layers)
            and all(layer.channels == channels for layer in layers)
            and shape is not None
            and len(shape) == 3
            and shape[2] == channels
            and (extents is None or extents[1] == 1)
        )
        return cls(attention, queries, keys, values, result) if sound else None

    @property
    def heads(self) -> int:
        """H."""
        shape = shape_of(self.attention.context.rhs)
        assert shape is not None
        return shape[1]

    def fits(self, machine: Machine, tokens: int) -> bool:
        """Whether an array of the machine can hold the operands."""
        channels, tiles = self.queries.channels, -(-tokens // machine.lanes)
        return (
            channels // self.heads % machine.items == 0
            and self.heads * tiles * machine.lanes
            <= min(machine.result_depth, machine.most_features)
            and feature_words(channels, tiles, machine) + token_words(channels, tiles, machine)
            <= machine.operand_depth
        )


def _whole_result(context: SSAValue) -> ReshapeOp | None:
    """The reshaping that puts the results of all heads side by side, [B, L, N]."""
    turned = context.get_user_of_unique_use()
    if not isinstance(turned, TransposeOp) or integers_of(turned.axes) != _BY_HEAD:
        return None
    result = turned.result.get_user_of_unique_use()
    return result if isinstance(result, ReshapeOp) else None


def _projection(value: SSAValue, axes: Sequence[int]) -> Layer | None:
    """The layer [B, L, N] whose results, by head and in this order of axes, a value is."""
    order = list(range(4))
    while isinstance(op := value.owner, TransposeOp) and value.get_user_of_unique_use():
        own = integers_of(op.axes)
        if len(own) != len(order):
            return None
        order, value = [own[axis] for axis in order], op.input
    if not isinstance(op, ReshapeOp) or order != list(axes):
        return None
    call, shape = op.input.owner, shape_of(op.input)
    split = shape_of(value)
    if not isinstance(call, LinearOp) or call.mask is not None or shape is None or split is None:
        return None
    if not value.get_user_of_unique_use() or not call.result.get_user_of_unique_use():
        return None
    if len(shape) != 3 or not 0 < split[2] * split[3] == shape[2]:
        return None
    layer = Layer.of(call)
    return layer if layer is not None and layer.activation is None else None


def _replace(rewriter: PatternRewriter, found: _Whole, tokens: int) -> None:
    block = Block(arg_types=[activations(len(found.queries.weights), f32)])
    block.args[0].name_hint = "x"
    keys, values, queries = (
        _inline(block, layer) for layer in (found.keys, found.values, found.queries)
    )
    scores = found.attention.scores
    attention = AttentionOp(
        queries, keys, values, heads=found.heads, tokens=tokens, scale=scores.scale
    )
    block.add_op(attention)
    functions = [layer.function for layer in (found.queries, found.keys, found.values)]
    module = module_of(found.result)
    name = joined(functions)
    name = insert_kernel(found.attention.softmax, rewriter, name, block, attention)
    result = found.result.result
    last = found.result.input.owner
    assert isinstance(last, Operation)
    call = kernel_call(name, found.queries.call.input, result, scores.mask)
    rewriter.replace(found.result, call)
    erase_dead(rewriter, last)
    remove_unused(module, rewriter, functions)


def _inline(block: Block, layer: Layer) -> SSAValue:
    """A layer's operations on the block's argument."""
    inner, last = layer_block(layer.weights, layer.bias)
    inner.args[0].replace_all_uses_with(block.args[0])
    for op in list(inner.ops):
        op.detach()
        block.add_op(op)
    return last.results[0]
