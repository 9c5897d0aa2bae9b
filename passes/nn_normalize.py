# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-normalize`: the residual and the normalisation behind a kernel become part of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, StringAttr, TensorType, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.rewriter import InsertPoint

from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import ConcatOp, ConstantOp, ElementwiseOp, LinearOp
from daqkf.dialects.nn import LayerNormOp as HostLayerNormOp
from daqkf.dialects.nn import RmsNormOp as HostRmsNormOp
from daqkf.dialects.nn.base import HOST, element_of, shape_of
from daqkf.dialects.nn.elementwise import Function
from daqkf.dialects.nn.ops import constant_of
from daqkf.dialects.spaq import (
    AddOp,
    ColumnsOp,
    LayerNormOp,
    MatmulOp,
    QuantizeOp,
    ResidualOp,
    RmsNormOp,
)
from daqkf.dialects.spaq import ConstantOp as WeightsOp
from daqkf.dialects.spaq.checks import features
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import NORMALIZED_FEATURES
from daqkf.hw_targets.timing import normalization_cycles
from daqkf.passes.nn_kernels import (
    free_name,
    insert_function,
    kernel_call,
    kernel_of,
    module_of,
)
from daqkf.passes.nn_options import require_host_cycles, target_machine
from daqkf.passes.rewriting import rewrite_once

HostNorm = HostLayerNormOp | HostRmsNormOp
"""What the array can normalise by."""


@dataclass(frozen=True)
class NnNormalizePass(ModulePass):
    """Where the target has a unit for it, and it pays, normalise on the array.

    `layer_norm(kernel(x) + r)` becomes a kernel that ends with `spaq.residual` and
    `spaq.layer_norm`, and `rms_norm(kernel(x) + r)` one that ends with `spaq.rms_norm`. If `r` is
    not what the kernel reads anyway, `nn.concat` puts it in front. Run `nn-chain` before, for what
    is added may be what a whole chain reads, and after, for what follows may then be chained to it.

    The array multiplies by positive numbers; where γ is negative, the host puts in the sign.

    It pays where the array takes fewer cycles to normalise a tile, and to take in what is added,
    than the host. A normalisation that stays with the host says why (`host`).

    - `target`: the target whose row unit and memories are used.
    - `host-cycles`: the array's cycles in which the host adds and normalises one value.
    """

    name = "nn-normalize"

    target: str = "generic"
    host_cycles: float | int = 4.0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = target_machine(self, self.target)
        require_host_cycles(self, self.host_cycles)
        rewrite_once(self, op, _NormalizeOnArray(machine, self.host_cycles))


@dataclass(frozen=True)
class _NormalizeOnArray(RewritePattern):
    """A normalisation behind a kernel, put into the kernel."""

    machine: Machine
    host_cycles: float

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: HostNorm, rewriter: PatternRewriter) -> None:
        """Let the kernel normalise its sums, or say why the host does."""
        found = _Sum.of(op)
        reason = self._why_not(op, found)
        if reason or found is None:
            op.attributes[HOST] = StringAttr(reason)
            rewriter.notify_op_modified(op)
        else:
            _absorb(rewriter, op, found)

    def _why_not(self, norm: HostNorm, found: "_Sum | None") -> str:
        """Why the host has to normalise, or nothing."""
        machine = self.machine
        if not machine.normalizes:
            return "the target has no unit for it"
        if found is None:
            return "it is not of a kernel's sums alone"
        channels = features(found.last.results[0])
        factors = [constant_of(value) for value in norm.operands[1:]]
        known = [factor for factor in factors if factor is not None]
        if len(known) < len(factors) or any(factor.shape != (channels,) for factor in known):
            return "its scale or shift is no constant"
        if not (all(np.isfinite(factor).all() for factor in known) and known[0].all()):
            return "its scale is zero somewhere, or not finite"
        most = min(NORMALIZED_FEATURES, machine.result_depth)
        if found.residual is not None:
            most = min(most, machine.residual_depth)
        if channels > most:
            return f"{channels} features, and the target has room for {most}"
        own = found.call.input.type
        assert isinstance(own, TensorType)
        extra = 0 if found.residual in (None, found.call.input) else channels
        if own.get_shape()[-1] + extra > machine.most_features:
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
    def of(cls, norm: HostNorm) -> "_Sum | None":
        addition = norm.input.owner
        if isinstance(addition, LinearOp):
            return cls._kernel(norm.input, None, None)
        if not isinstance(addition, ElementwiseOp) or addition.kind.data is not Function.ADD:
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
        function = kernel_of(call)
        if any(isinstance(use.operation, QuantizeOp) for use in function.body.block.args[0].uses):
            return None  # what a quantised file's kernel reads has the file's levels
        terminator = function.body.block.last_op
        assert isinstance(terminator, ReturnOp)
        last = terminator.arguments[0].owner
        return (
            cls(call, function, last, residual, addition)
            if isinstance(last, MatmulOp | AddOp)
            else None
        )


def _absorb(rewriter: PatternRewriter, norm: HostNorm, found: _Sum) -> None:
    """Add and normalise at the end of the kernel, and call that in place of the normalisation."""
    call, function = found.call, _own(rewriter, found.call, found.function)
    source, signs = call.input, np.sign(_floats(norm.gamma))
    adds_other = found.residual is not None and found.residual is not source
    if found.residual is not None and adds_other:
        source = _with_residual(rewriter, found.residual, call)
    _append_normalization(rewriter, function, norm, found.residual is not None, adds_other)
    normalized = kernel_call(function.sym_name.data, source, norm.result, call.mask)
    new: list[Operation] = [normalized]
    if (signs < 0).any():
        constant = ConstantOp(from_array(signs, f32))
        product = ElementwiseOp(
            Function.MUL, [normalized.result, constant.result], norm.result.type
        )
        new += [constant, product]
    rewriter.insert(new, InsertPoint.before(norm))
    rewriter.replace_all_uses_with(norm.result, new[-1].results[0])
    for old in (norm, found.addition, call):
        if old is not None:
            rewriter.erase(old)


def _append_normalization(
    rewriter: PatternRewriter,
    function: FuncOp,
    norm: HostNorm,
    adds: bool,
    adds_other: bool,
) -> None:
    """Let a kernel normalise its sums, by the magnitudes of what the host multiplies by.

    If it `adds`, a residual comes first: what the kernel reads, or, with `adds_other`, what stands
    in front of that.
    """
    block = function.body.block
    terminator = block.last_op
    assert isinstance(terminator, ReturnOp)
    value = terminator.arguments[0]
    ops: list[Operation] = []
    if adds:
        kept = _widen(rewriter, function, features(value)) if adds_other else block.args[0]
        ops.append(ResidualOp(value, kept))
        value = ops[-1].results[0]
    signs = np.sign(_floats(norm.gamma))
    factors = [WeightsOp(from_array(signs * _floats(v), f32)) for v in norm.operands[1:]]
    for factor, name in zip(factors, ("gamma", "beta"), strict=False):
        factor.result.name_hint = name
    scaling, epsilon = [factor.result for factor in factors], norm.epsilon.value.data
    if isinstance(norm, HostRmsNormOp):
        normalization = RmsNormOp(value, scaling[0], epsilon)
    else:
        normalization = LayerNormOp(value, scaling[0], scaling[1], epsilon)
    ops += [*factors, normalization]
    rewriter.insert(ops, InsertPoint.before(terminator))
    terminator.operands[0] = normalization.result
    kind = FunctionType.from_lists(list(block.arg_types), list(function.function_type.outputs))
    function.function_type = kind
    rewriter.notify_op_modified(function)


def _floats(value: SSAValue) -> NDArray[np.float32]:
    """The vector of a scale or a shift, which is constant."""
    array = constant_of(value)
    assert array is not None
    return array.astype(np.float32)


def _own(rewriter: PatternRewriter, call: LinearOp, function: FuncOp) -> FuncOp:
    """The function, or a copy if there are other calls."""
    module = module_of(call)
    callers = [op for op in module.walk() if isinstance(op, LinearOp) and op is not call]
    if all(other.callee != call.callee for other in callers):
        return function
    copy = function.clone()
    copy.sym_name = StringAttr(free_name(module, function.sym_name.data))
    insert_function(module, rewriter, copy)
    return copy


def _with_residual(rewriter: PatternRewriter, residual: SSAValue, call: LinearOp) -> SSAValue:
    """What is added, in front of what the kernel reads."""
    own, shape = shape_of(call.input), shape_of(residual)
    assert own is not None and shape is not None
    kind = TensorType(element_of(residual), [*shape[:-1], shape[-1] + own[-1]])
    joined = ConcatOp([residual, call.input], len(shape) - 1, kind)
    rewriter.insert(joined, InsertPoint.before(call))
    return joined.result


def _widen(rewriter: PatternRewriter, function: FuncOp, channels: int) -> SSAValue:
    """Let a kernel read columns behind `channels` others; the value of the others."""
    block = function.body.block
    own = block.args[0]
    count = features(own)
    whole = rewriter.insert_block_argument(block, 0, activations(channels + count, f32))
    whole.name_hint = "rows"
    kept, x = ColumnsOp(whole, 0, channels), ColumnsOp(whole, channels, count)
    kept.result.name_hint, x.result.name_hint = "residual", own.name_hint
    rewriter.replace_all_uses_with(own, x.result)
    rewriter.erase_block_argument(own)
    rewriter.insert([kept, x], InsertPoint.at_start(block))
    return kept.result
