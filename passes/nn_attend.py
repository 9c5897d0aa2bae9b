# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-attend`: attention and the kernels of its queries, keys and values become one."""

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.ir import Block, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.transforms.dead_code_elimination import dce

from daqkf.dialects.nn import LinearOp, ReshapeOp, SoftmaxOp, TransposeOp
from daqkf.dialects.nn.base import integers_of, shape_of
from daqkf.dialects.spaq import AttentionOp
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets import load_target
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.operands import feature_words, token_words
from daqkf.passes.nn_attention import Attention
from daqkf.passes.nn_merge import Layer, joined, remove_unused
from daqkf.passes.nn_outline import insert_kernel, kernel_call, layer_block

_BY_HEAD, _TRANSPOSED = [0, 2, 1, 3], [0, 2, 3, 1]
"""[B, L, H, D] → [B, H, L, D], and → [B, H, D, L]."""


@dataclass(frozen=True)
class NnAttendPass(ModulePass):
    """Compute attention with its projections, on an array with operand memories.

    `softmax(q·kᵀ·scale + mask)·v`, where queries, keys and values are layers of the same
    activations, becomes one `nn.linear` of a function with `spaq.attention`. `nn-chain` and
    `nn-normalize` make one of it with what follows, so that a whole layer of a transformer does not
    leave the array. The mask says which tokens are there, and nothing else.

    - `target`: whose operand memories.
    - `tokens`: the most of a sequence.
    """

    name = "nn-attend"

    target: str = "generic"
    tokens: int = 128

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = load_target(self.target).machine
        if not machine.operand_depth:
            return
        for softmax in [found for found in op.walk() if isinstance(found, SoftmaxOp)]:
            found = _Whole.of(softmax)
            if found is not None and found.fits(machine, self.tokens):
                _replace(op, found, self.tokens)


@dataclass(frozen=True)
class _Whole:
    """An attention, the layers it is of, and its result [B, L, N]."""

    attention: Attention
    layers: Sequence[Layer]
    """Of queries, keys and values."""
    result: ReshapeOp

    @classmethod
    def of(cls, softmax: SoftmaxOp) -> "_Whole | None":
        """The attention that a softmax is of, if it is one of layers."""
        attention = Attention.of(softmax)
        if attention is None:
            return None
        product, context = attention.scores.product, attention.context
        calls = [
            _projection(value, axes)
            for value, axes in (
                (product.lhs, _BY_HEAD),
                (product.rhs, _TRANSPOSED),
                (context.rhs, _BY_HEAD),
            )
        ]
        layers = [
            layer
            for call in calls
            if call is not None
            and (layer := Layer.of(call)) is not None
            and layer.activation is None
        ]
        turned = context.result.get_user_of_unique_use()
        if not isinstance(turned, TransposeOp) or integers_of(turned.axes) != _BY_HEAD:
            return None
        result = turned.result.get_user_of_unique_use()
        if len(layers) < len(calls) or not isinstance(result, ReshapeOp):
            return None
        shape, mask = shape_of(result.result), attention.scores.mask
        extents = None if mask is None else shape_of(mask)
        sound = (
            len({layer.call.input for layer in layers}) == 1
            and len({layer.channels for layer in layers}) == 1
            and shape is not None
            and len(shape) == 3
            and shape[2] == layers[0].channels
            and (extents is None or extents[1] == 1)
        )
        return cls(attention, layers, result) if sound else None

    @property
    def heads(self) -> int:
        """H."""
        shape = shape_of(self.attention.context.rhs)
        assert shape is not None
        return shape[1]

    def fits(self, machine: Machine, tokens: int) -> bool:
        """Whether an array of the machine can hold the operands."""
        channels, tiles = self.layers[0].channels, -(-tokens // machine.lanes)
        return (
            channels // self.heads % machine.items == 0
            and self.heads * tiles * machine.lanes
            <= min(machine.result_depth, machine.activation_depth - 1)
            and feature_words(channels, tiles, machine) + token_words(channels, tiles, machine)
            <= machine.operand_depth
        )


def _projection(value: SSAValue, axes: Sequence[int]) -> LinearOp | None:
    """The kernel [B, L, N] whose results, by head and in this order of axes, a value is."""
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
    return call if len(shape) == 3 and 0 < split[2] * split[3] == shape[2] else None


def _replace(module: ModuleOp, found: _Whole, tokens: int) -> None:
    queries, keys, values = found.layers
    block = Block(arg_types=[activations(len(queries.weights), f32)])
    block.args[0].name_hint = "x"
    results = {id(layer): _inline(block, layer) for layer in (keys, values, queries)}
    scale = found.attention.scores.scale
    attention = AttentionOp(
        [results[id(layer)] for layer in found.layers], found.heads, tokens, scale
    )
    block.add_op(attention)
    functions = [layer.function for layer in found.layers]
    name = joined([function.sym_name.data for function in functions])
    name = insert_kernel(module, name, block, attention)
    result, mask = found.result.result, found.attention.scores.mask
    call = kernel_call(name, queries.call.input, result, mask)
    Rewriter.insert_op(call, InsertPoint.before(found.result))
    result.replace_all_uses_with(call.result)
    dce(module)
    remove_unused(module, functions)


def _inline(block: Block, layer: Layer) -> SSAValue:
    """A layer's operations on the block's argument."""
    inner, last = layer_block(layer.weights, layer.bias)
    inner.args[0].replace_all_uses_with(block.args[0])
    for op in list(inner.ops):
        op.detach()
        block.add_op(op)
    return last.results[0]
