# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-gate`: a gate and what it lets through become one kernel."""

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)

from daqkf.dialects.nn import ElementwiseOp, LinearOp
from daqkf.dialects.nn.base import HOST
from daqkf.dialects.nn.elementwise import Function
from daqkf.dialects.spaq import GateOp
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.timing import gating_cycles
from daqkf.passes.nn_kernels import (
    Layer,
    erase_chain,
    insert_kernel,
    joined,
    kernel_call,
    layer_block,
    module_of,
    remove_unused,
)
from daqkf.passes.nn_options import require_host_cycles, target_machine
from daqkf.passes.rewriting import rewrite_once


@dataclass(frozen=True)
class NnGatePass(ModulePass):
    """Where the target has a unit for it, and it pays, multiply gates and values on the array.

    `f(x·G + a) · (x·U + b)` of two kernels becomes one, whose outputs are gates and values in
    turns, with `spaq.gate` behind them: the feed-forward blocks of Llama and its kin. Each tile's
    activations then go to the array once, half as many results leave it, and what follows may be
    chained to it.

    It pays where the array takes fewer cycles to multiply a tile than the host. A product that
    stays with the host says why (`host`).

    - `target`: the target whose gating unit and memories are used.
    - `host-cycles`: the array's cycles in which the host multiplies one value.
    """

    name = "nn-gate"

    target: str = "generic"
    host_cycles: float | int = 4.0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = target_machine(self, self.target)
        require_host_cycles(self, self.host_cycles)
        rewrite_once(self, op, _GateOnArray(machine, self.host_cycles))


@dataclass(frozen=True)
class _GateOnArray(RewritePattern):
    """A product of a gate and a value, put into the kernel of both."""

    machine: Machine
    host_cycles: float

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ElementwiseOp, rewriter: PatternRewriter) -> None:
        """Make one kernel of the product of two, or say why the host multiplies."""
        pair = _pair(op)
        if pair is None:
            return
        reason = self._why_not(pair[0].channels)
        if reason:
            op.attributes[HOST] = StringAttr(reason)
            rewriter.notify_op_modified(op)
        else:
            _join(rewriter, op, *pair)

    def _why_not(self, channels: int) -> str:
        """Why the host has to multiply, or nothing."""
        machine = self.machine
        if not machine.gates:
            return "the target has no unit for it"
        if 2 * channels > machine.result_depth:
            return f"{2 * channels} results, and the target has room for {machine.result_depth}"
        array = gating_cycles(machine, channels)
        host = round(self.host_cycles * channels * machine.lanes)
        return f"{array} cycles a tile, the host's {host}" if array >= host else ""


def _pair(product: ElementwiseOp) -> tuple[Layer, Layer] | None:
    """The gate and the value of a product, if both are layers of the same activations."""
    if product.kind.data is not Function.MUL:
        return None
    layers: list[Layer] = []
    for value in product.inputs:
        call = value.owner
        if not isinstance(call, LinearOp) or value.get_user_of_unique_use() is not product:
            return None
        layer = Layer.of(call)
        if layer is None or value.type != product.result.type:
            return None
        layers.append(layer)
    gate, up = sorted(layers, key=lambda layer: layer.activation is None)
    same = gate.call.input is up.call.input and gate.channels == up.channels
    return (gate, up) if same and gate.activation and not up.activation else None


def _join(rewriter: PatternRewriter, product: ElementwiseOp, gate: Layer, up: Layer) -> None:
    assert gate.activation is not None
    module = module_of(product)
    weights = np.stack([gate.weights, up.weights], axis=2).reshape(len(gate.weights), -1)
    bias = None
    if gate.bias is not None or up.bias is not None:
        bias = np.stack([gate.offsets, up.offsets], axis=1).reshape(-1)
    block, sums = layer_block(weights, bias)
    gated = GateOp(gate.activation, sums.results[0])
    block.add_op(gated)
    functions = [gate.function, up.function]
    name = insert_kernel(product, rewriter, joined(functions), block, gated)
    rewriter.replace(product, kernel_call(name, gate.call.input, product.result))
    erase_chain(rewriter, [gate.call, up.call])
    remove_unused(module, rewriter, functions)
