# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-normalize`: the residual and the layer normalisation behind a kernel become part of it."""

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, StringAttr, TensorType, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.traits import SymbolTable

from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import ConcatOp, ConstantOp, ElementwiseOp, LinearOp
from daqkf.dialects.nn import LayerNormOp as HostLayerNormOp
from daqkf.dialects.nn.base import HOST, shape_of
from daqkf.dialects.spaq import AddOp, ColumnsOp, LayerNormOp, MatmulOp, ResidualOp
from daqkf.dialects.spaq import ConstantOp as WeightsOp
from daqkf.dialects.spaq.checks import features
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets import load_target
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import NORMALIZED_FEATURES
from daqkf.hw_targets.timing import normalization_cycles
from daqkf.passes.nn_outline import free_name, insert_function, kernel_call


@dataclass(frozen=True)
class NnNormalizePass(ModulePass):
    """Where the target has a unit for it, and it pays, normalise on the array.

    `layer_norm(kernel(x) + r)` becomes a kernel that ends with `spaq.residual` and
    `spaq.layer_norm`. If `r` is not what the kernel reads anyway, `nn.concat` puts it in front. Run
    `nn-chain` before, for what is added may be what a whole chain reads, and after, for what
    follows may then be chained to it.

    The array multiplies by positive numbers; where γ is negative, the host puts in the sign.

    It pays where the array takes fewer cycles to normalise a tile, and to take in what is added,
    than the host. A normalisation that stays with the host says why (`host`).

    - `target`: whose unit and memories.
    - `host-cycles`: the array's cycles in which the host adds and normalises one value.
    """

    name = "nn-normalize"

    target: str = "generic"
    host_cycles: float | int = 4.0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = load_target(self.target).machine
        for norm in [found for found in op.walk() if isinstance(found, HostLayerNormOp)]:
            found = _Sum.of(norm)
            reason = self._why_not(norm, found, machine)
            if reason or found is None:
                norm.attributes[HOST] = StringAttr(reason)
            else:
                _absorb(op, norm, found)

    def _why_not(self, norm: HostLayerNormOp, found: "_Sum | None", machine: Machine) -> str:
        """Why the host has to normalise, or nothing."""
        if not machine.normalizes:
            return "the target has no unit for it"
        if found is None:
            return "it is not of a kernel's sums alone"
        constants = [_vector(value) for value in (norm.gamma, norm.beta)]
        gamma, beta = constants
        channels = features(found.last.results[0])
        if gamma is None or beta is None or not len(gamma) == len(beta) == channels:
            return "its scale or shift is no constant"
        if not (np.isfinite(gamma).all() and np.isfinite(beta).all() and gamma.all()):
            return "its scale is zero somewhere, or not finite"
        most = min(NORMALIZED_FEATURES, machine.result_depth)
        if found.residual is not None:
            most = min(most, machine.residual_depth)
        if channels > most:
            return f"{channels} features, and the target has room for {most}"
        own = found.call.input.type
        assert isinstance(own, TensorType)
        extra = 0 if found.residual in (None, found.call.input) else channels
        if own.get_shape()[-1] + extra >= machine.activation_depth:
            return f"no room for the {extra} activations that are added"
        array = normalization_cycles(machine, channels) + extra
        host = round(self.host_cycles * channels * machine.lanes)
        return f"{array} cycles a tile, the host's {host}" if array >= host else ""


@dataclass(frozen=True)
class _Sum:
    """What is normalised: a kernel's sums, and what is added to them."""

    call: LinearOp
    function: FuncOp
    last: Operation
    """What makes the sums, inside the kernel."""
    residual: SSAValue | None
    addition: ElementwiseOp | None

    @classmethod
    def of(cls, norm: HostLayerNormOp) -> "_Sum | None":
        addition = norm.input.owner
        if isinstance(addition, LinearOp):
            return cls._kernel(norm.input, None, None)
        if not isinstance(addition, ElementwiseOp) or addition.kind.data != "add":
            return None
        if norm.input.get_user_of_unique_use() is not norm:
            return None
        left, right = addition.inputs
        return cls._kernel(left, right, addition) or cls._kernel(right, left, addition)

    @classmethod
    def _kernel(
        cls, value: SSAValue, residual: SSAValue | None, addition: ElementwiseOp | None
    ) -> "_Sum | None":
        call = value.owner
        if not isinstance(call, LinearOp) or value.get_user_of_unique_use() is None:
            return None
        if residual is not None and (
            residual.type != value.type or isinstance(residual.owner, ConstantOp)
        ):
            return None
        shape = shape_of(call.input)
        if shape is None or not shape or shape[-1] < 0:
            return None
        function = SymbolTable.lookup_symbol(call, call.callee)
        assert isinstance(function, FuncOp)
        terminator = function.body.block.last_op
        assert isinstance(terminator, ReturnOp)
        last = terminator.arguments[0].owner
        return (
            cls(call, function, last, residual, addition)
            if isinstance(last, MatmulOp | AddOp)
            else None
        )


def _vector(value: SSAValue) -> np.ndarray | None:
    array = value.owner.array() if isinstance(value.owner, ConstantOp) else None
    return array if array is not None and array.ndim == 1 else None


def _absorb(module: ModuleOp, norm: HostLayerNormOp, found: _Sum) -> None:
    call, function = found.call, _own(module, found.call, found.function)
    block = function.body.block
    (argument,), terminator = block.args, block.last_op
    assert isinstance(terminator, ReturnOp)
    value, source = terminator.arguments[0], call.input
    channels = features(value)
    ops: list[Operation] = []
    if found.residual is not None:
        kept: SSAValue = argument
        if found.residual is not source:
            source = _with_residual(found.residual, call)
            kept = _widen(function, channels)
        ops.append(ResidualOp(value, kept))
        value = ops[-1].results[0]
    gamma, beta = (np.asarray(_vector(value), np.float32) for value in (norm.gamma, norm.beta))
    signs = np.sign(gamma)
    factors = [WeightsOp(from_array(signs * vector, f32)) for vector in (gamma, beta)]
    for name, factor in zip(("gamma", "beta"), factors, strict=True):
        factor.result.name_hint = name
    epsilon = norm.epsilon.value.data
    ops += [*factors, LayerNormOp(value, factors[0].result, factors[1].result, epsilon)]
    Rewriter.insert_op(ops, InsertPoint.before(terminator))
    terminator.operands[0] = ops[-1].results[0]
    kind = FunctionType.from_lists(list(block.arg_types), list(function.function_type.outputs))
    function.function_type = kind

    name = function.sym_name.data
    normalized = kernel_call(name, source, norm.result, call.mask)
    Rewriter.insert_op(normalized, InsertPoint.before(norm))
    result = normalized.result
    if (signs < 0).any():
        result = _signed(result, signs, norm)
    norm.result.replace_all_uses_with(result)
    for old in (norm, found.addition, call):
        if old is not None:
            Rewriter.erase_op(old)


def _signed(value: SSAValue, signs: np.ndarray, before: Operation) -> SSAValue:
    """A value times the signs of its channels, which the host puts in."""
    constant = ConstantOp(from_array(signs, f32))
    product = ElementwiseOp("mul", [value, constant.result], value.type)
    Rewriter.insert_op([constant, product], InsertPoint.before(before))
    return product.result


def _own(module: ModuleOp, call: LinearOp, function: FuncOp) -> FuncOp:
    """The function, or a copy if there are other calls."""
    callers = [op for op in module.walk() if isinstance(op, LinearOp) and op is not call]
    if all(other.callee != call.callee for other in callers):
        return function
    copy = function.clone()
    copy.sym_name = StringAttr(free_name(module, function.sym_name.data))
    insert_function(module, copy)
    return copy


def _with_residual(residual: SSAValue, call: LinearOp) -> SSAValue:
    """What is added, in front of what the kernel reads."""
    own, kind = shape_of(call.input), residual.type
    assert own is not None and isinstance(kind, TensorType)
    extents = [*kind.get_shape()[:-1], kind.get_shape()[-1] + own[-1]]
    joined = ConcatOp(
        [residual, call.input], len(extents) - 1, TensorType(kind.element_type, extents)
    )
    Rewriter.insert_op(joined, InsertPoint.before(call))
    return joined.result


def _widen(function: FuncOp, channels: int) -> SSAValue:
    """Let a kernel read columns behind `channels` others; the value of the others."""
    block = function.body.block
    own = block.args[0]
    count = features(own)
    whole = block.insert_arg(activations(channels + count, f32), 0)
    whole.name_hint = "rows"
    kept, x = ColumnsOp(whole, 0, channels), ColumnsOp(whole, channels, count)
    kept.result.name_hint, x.result.name_hint = "residual", own.name_hint
    own.replace_all_uses_with(x.result)
    block.erase_arg(own)
    Rewriter.insert_op([kept, x], InsertPoint.at_start(block))
    return kept.result
