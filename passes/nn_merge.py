# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-merge`: kernels of the same activations become one, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr, TensorType, f32, i64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.traits import SymbolTable

from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import ConstantOp, LinearOp, SliceOp
from daqkf.dialects.nn.base import NODE, shape_of
from daqkf.dialects.spaq import ActivationOp, AddOp, MatmulOp
from daqkf.dialects.spaq.checks import element
from daqkf.dialects.spaq.ops import chain, defining_constant
from daqkf.hw_targets import load_target
from daqkf.passes.nn_outline import insert_kernel, layer_block


@dataclass(frozen=True)
class NnMergePass(ModulePass):
    """Horizontal fusion: one kernel of `nn.linear`s that read the same value, say Q, K and V.

    Each tile's activations then go to the array once: K bytes a token less for each kernel after
    the first, and as many cycles a tile. Costs nothing, and is done wherever the outputs together
    fit the target's result memory, and the kernels have the same function behind their sums.

    - `target`: whose result memory.
    """

    name = "nn-merge"

    target: str = "generic"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        most = load_target(self.target).machine.result_depth
        readers: dict[SSAValue, list[LinearOp]] = {}
        for call in [found for found in op.walk() if isinstance(found, LinearOp)]:
            readers.setdefault(call.input, []).append(call)
        for calls in readers.values():
            groups: list[list[Layer]] = []
            for layer in (found for call in calls if (found := Layer.of(call)) is not None):
                for group in groups:
                    channels = sum(member.channels for member in [*group, layer])
                    if group[0].activation == layer.activation and channels <= most:
                        group.append(layer)
                        break
                else:
                    groups.append([layer])
            for group in groups:
                if len(group) > 1:
                    _merge(op, group)


@dataclass(frozen=True)
class Layer:
    """A call of a kernel that is a single layer."""

    call: LinearOp
    function: FuncOp
    weights: np.ndarray
    bias: np.ndarray | None
    activation: str | None

    @property
    def channels(self) -> int:
        """Outputs."""
        return self.weights.shape[1]

    @property
    def offsets(self) -> np.ndarray:
        """The bias [N], zeros if there is none."""
        return np.zeros(self.channels, np.float32) if self.bias is None else self.bias

    @classmethod
    def of(cls, call: LinearOp) -> "Layer | None":
        """The layer that is called, if it is one."""
        function = SymbolTable.lookup_symbol(call, call.callee)
        assert isinstance(function, FuncOp)
        block = function.body.block
        product = block.args[0].get_user_of_unique_use()
        if not isinstance(product, MatmulOp) or element(product.result) != f32:
            return None
        layer = [product, *chain(product, (AddOp, ActivationOp))]
        last = layer[-1].results[0].get_user_of_unique_use()
        constants = [defining_constant(op.operands[1]) for op in layer if len(op.operands) > 1]
        arrays = [constant.array() for constant in constants if constant is not None]
        if not isinstance(last, ReturnOp) or len(arrays) < len(constants):
            return None
        weights, *biases = arrays
        bias = biases[0] if biases else None
        functions = [op.function.data for op in layer if isinstance(op, ActivationOp)]
        return cls(call, function, weights, bias, functions[0] if functions else None)


def _merge(module: ModuleOp, layers: Sequence[Layer]) -> None:
    calls = [layer.call for layer in layers]
    names = [layer.function.sym_name.data for layer in layers]
    weights = np.concatenate([layer.weights for layer in layers], axis=1)
    channels, bias = weights.shape[1], None
    if any(layer.bias is not None for layer in layers):
        bias = np.concatenate([layer.offsets for layer in layers])
    block, result = layer_block(weights, bias)
    if layers[0].activation is not None:
        result = ActivationOp(layers[0].activation, result.results[0])
        block.add_op(result)
    name = insert_kernel(module, joined(names), block, result)

    merged = LinearOp(name, calls[0].input, _with_last(calls[0].result, channels))
    merged.attributes[NODE] = StringAttr(name)
    rank = len(shape_of(calls[0].result) or ())
    Rewriter.insert_op(merged, InsertPoint.before(calls[0]))
    low = 0
    for layer in layers:
        bounds = [
            ConstantOp(from_array(np.array([bound], np.int64), i64))
            for bound in (low, low + layer.channels)
        ]
        low += layer.channels
        part = SliceOp(
            merged.result,
            (bounds[0].result, bounds[1].result),
            [rank - 1],
            [1],
            layer.call.result.type,
        )
        part.attributes[NODE] = StringAttr(layer.function.sym_name.data)
        part.result.name_hint = layer.call.result.name_hint
        Rewriter.insert_op([*bounds, part], InsertPoint.after(merged))
        layer.call.result.replace_all_uses_with(part.result)
        Rewriter.erase_op(layer.call)
    remove_unused(module, [layer.function for layer in layers])


def _with_last(value: SSAValue, extent: int) -> Attribute:
    """The type of a value with another last extent."""
    kind = value.type
    if not isinstance(kind, TensorType):
        return kind
    return TensorType(kind.element_type, [*kind.get_shape()[:-1], extent])


def joined(names: Sequence[str]) -> str:
    """One name for kernels that were several: what they share, then what tells them apart."""
    parts = [name.split(".") for name in names]
    same = 0
    while all(len(part) > same + 1 and part[same] == parts[0][same] for part in parts):
        same += 1
    shared = "".join(f"{part}." for part in parts[0][:same])
    return shared + "_".join(name.removeprefix(shared) for name in names)


def remove_unused(module: ModuleOp, functions: Sequence[FuncOp]) -> None:
    """Erase functions that no `nn.linear` calls any more."""
    called = {op.callee.root_reference.data for op in module.walk() if isinstance(op, LinearOp)}
    for function in dict.fromkeys(functions):
        if function.sym_name.data not in called:
            Rewriter.erase_op(function)
