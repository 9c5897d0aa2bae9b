# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-merge`: kernels of the same activations become one, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr, TensorType, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.rewriter import InsertPoint

from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import ConstantOp, LinearOp, SliceOp
from daqkf.dialects.nn.base import NODE, element_of, shape_of
from daqkf.dialects.spaq import ActivationOp
from daqkf.passes.nn_kernels import (
    Layer,
    insert_kernel,
    joined,
    layer_block,
    module_of,
    remove_unused,
)
from daqkf.passes.nn_options import target_machine
from daqkf.passes.rewriting import rewrite_once


@dataclass(frozen=True)
class NnMergePass(ModulePass):
    """Horizontal fusion: one kernel of `nn.linear`s that read the same value, say Q, K and V.

    Each tile's activations then go to the array once. That is K bytes a token less for each kernel
    after the first, and as many cycles a tile. It costs nothing, and is done wherever the outputs
    together fit the target's result memory, and the kernels have the same function behind their
    sums.

    - `target`: the target whose result memory the outputs have to fit.
    """

    name = "nn-merge"

    target: str = "generic"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        most = target_machine(self, self.target).result_depth
        rewrite_once(self, op, _MergeReaders(most))


@dataclass(frozen=True)
class _MergeReaders(RewritePattern):
    """All calls that read one value, put together at the first of them."""

    most: int
    """Outputs that one kernel may have."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: LinearOp, rewriter: PatternRewriter) -> None:
        """Merge the calls that read what the first one reads."""
        readers = [use.operation for use in op.input.uses]
        if op.parent is None or len(readers) < 2:
            return
        calls = [
            other
            for other in op.parent.ops
            if isinstance(other, LinearOp) and other in readers and other.input is op.input
        ]
        if calls[0] is op:
            for group in self._groups(calls):
                if len(group) > 1:
                    _merge(rewriter, group)

    def _groups(self, calls: Sequence[LinearOp]) -> list[list[Layer]]:
        """The calls that may be one, each put to the first ones that it goes with."""
        groups: list[list[Layer]] = []
        for layer in (found for call in calls if (found := Layer.of(call)) is not None):
            for group in groups:
                channels = sum(member.channels for member in [*group, layer])
                if group[0].activation == layer.activation and channels <= self.most:
                    group.append(layer)
                    break
            else:
                groups.append([layer])
        return groups


def _merge(rewriter: PatternRewriter, layers: Sequence[Layer]) -> None:
    first, functions = layers[0], [layer.function for layer in layers]
    module = module_of(first.call)
    weights = np.concatenate([layer.weights for layer in layers], axis=1)
    channels, bias = weights.shape[1], None
    if any(layer.bias is not None for layer in layers):
        bias = np.concatenate([layer.offsets for layer in layers])
    block, result = layer_block(weights, bias)
    if first.activation is not None:
        result = ActivationOp(first.activation, result.results[0])
        block.add_op(result)
    name = insert_kernel(first.call, rewriter, joined(functions), block, result)
    merged = LinearOp(name, first.call.input, _with_last(first.call.result, channels))
    merged.attributes[NODE] = StringAttr(name)
    merged.location = first.call.location
    rewriter.insert(merged, InsertPoint.before(first.call))
    low = 0
    for layer in layers:
        _replace_by_slice(rewriter, merged, layer, low)
        low += layer.channels
    remove_unused(module, rewriter, functions)


def _replace_by_slice(rewriter: PatternRewriter, merged: LinearOp, layer: Layer, low: int) -> None:
    """Let those who read a layer read its channels, from `low` on, of what it is part of."""
    starts, ends = (
        ConstantOp(from_array(np.array([bound], np.int64), i64))
        for bound in (low, low + layer.channels)
    )
    result = layer.call.result
    axis = len(shape_of(result) or ()) - 1
    part = SliceOp(merged.result, (starts.result, ends.result), [axis], [1], result.type)
    part.attributes[NODE] = StringAttr(layer.function.sym_name.data)
    part.result.name_hint = result.name_hint
    rewriter.insert([starts, ends, part], InsertPoint.after(merged))
    rewriter.replace_all_uses_with(result, part.result)
    rewriter.erase(layer.call)


def _with_last(value: SSAValue, extent: int) -> Attribute:
    """The type of a value with another last extent."""
    shape = shape_of(value)
    if shape is None:
        return value.type
    return TensorType(element_of(value), [*shape[:-1], extent])
