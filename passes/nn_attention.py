# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-attention`: softmax attention → int8, as the array computes all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.utils.exceptions import InterpretationError, PassFailedException

from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import AttentionOp, CachedAttentionOp, ElementwiseOp, MatmulOp, SoftmaxOp
from daqkf.dialects.nn.base import HOST, node_name, shape_of
from daqkf.dialects.nn.elementwise import Function
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import LEVEL_MAX, NORMALIZED_FEATURES
from daqkf.hw_targets.timing import softmax_cycles
from daqkf.passes.cached_attention import CachedRanges, cached_attentions, replace_cached, unfit
from daqkf.passes.nn_kernels import erase_chain
from daqkf.passes.nn_options import refused, require_host_cycles, target_machine
from daqkf.passes.nn_product import Inputs, each, in_order
from daqkf.passes.nn_terms import scalar_of
from daqkf.passes.quantize.attention import attention_scales, exponential_table
from daqkf.passes.quantize.samples import load_inputs
from daqkf.passes.spaq_calibrate import NEGLIGIBLE


@dataclass(frozen=True)
class _Scores:
    """A product, scaled and masked."""

    product: MatmulOp
    between: tuple[ElementwiseOp, ...] = ()
    """What scales and masks, the last one first."""
    scale: float = 1.0
    mask: SSAValue | None = None

    @classmethod
    def of(cls, value: SSAValue, masks: bool = True) -> "_Scores | None":
        """What a value that is read once is made of; no mask stands before a scale."""
        op = value.owner
        if value.get_user_of_unique_use() is None:
            return None
        if isinstance(op, MatmulOp):
            return cls(op)
        if not isinstance(op, ElementwiseOp) or len(op.inputs) != 2:
            return None
        first, second = op.inputs
        kind = op.kind.data
        if kind is Function.ADD and masks:
            for inner, mask in ((first, second), (second, first)):
                found = cls.of(inner, masks=False) if _masks(mask, inner) else None
                if found is not None:
                    return cls(found.product, (op, *found.between), found.scale, mask)
        factor = scalar_of(second)
        found = cls.of(first, masks=False) if factor is not None and factor > 0 else None
        if found is None or factor is None or kind not in (Function.MUL, Function.DIV):
            return None
        scale = found.scale * factor if kind is Function.MUL else found.scale / factor
        return cls(found.product, (op, *found.between), scale)


@dataclass(frozen=True)
class Attention:
    """The operations of an attention, from its scores on."""

    scores: _Scores
    softmax: SoftmaxOp
    context: MatmulOp

    @classmethod
    def of(cls, softmax: SoftmaxOp) -> "Attention | None":
        """The attention that a softmax is of, if it is one that arrays compute."""
        context, scores = softmax.result.get_user_of_unique_use(), _Scores.of(softmax.input)
        if not isinstance(context, MatmulOp) or context.lhs is not softmax.result:
            return None
        if scores is None or softmax.axis.value.data not in (-1, 3):
            return None
        product = scores.product
        shapes = [shape_of(value) for value in (product.lhs, product.rhs, context.rhs)]
        heads = {shape[1] if shape is not None and len(shape) == 4 else -1 for shape in shapes}
        return cls(scores, softmax, context) if len(heads) == 1 and min(heads) > 0 else None


def _masks(mask: SSAValue, value: SSAValue) -> bool:
    """Whether the first is the same for all queries of the second."""
    shape, whole = shape_of(mask), shape_of(value)
    if shape is None or whole is None or not len(shape) == len(whole) == 4:
        return False
    return shape[2] == 1 and shape[1] in (1, whole[1])


@dataclass
class _Ranges(Interpreter.Listener):
    """The largest magnitudes [H] of what attentions read and give, and their extents."""

    attentions: Mapping[Operation, Attention]
    """The attention that an operation is part of."""
    found: dict[SoftmaxOp, dict[str, NDArray[np.float64]]] = field(
        default_factory=dict[SoftmaxOp, dict[str, NDArray[np.float64]]]
    )
    keys: dict[SoftmaxOp, int] = field(default_factory=dict[SoftmaxOp, int])
    _reads: PythonValues = ()

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        """Keep the operands, which the results come without."""
        self._reads = args

    def did_interpret_op(self, op: Operation, results: PythonValues) -> None:
        """Let the ranges of an attention grow by what one of its operations reads and gives."""
        attention = self.attentions.get(op)
        if attention is None:
            return
        arrays: dict[SSAValue, NDArray[Any]] = dict(zip(op.operands, self._reads, strict=True))
        arrays |= zip(op.results, results, strict=True)
        product, softmax, context = attention.scores.product, attention.softmax, attention.context
        if op is product:
            self._grow(softmax, "queries", arrays[product.lhs])
            self._grow(softmax, "keys", arrays[product.rhs])
        elif op is softmax:
            scores, shares = arrays[softmax.input], arrays[softmax.result]
            self._grow(softmax, "scores", np.where(shares > NEGLIGIBLE, scores, 0))
            self.keys[softmax] = max(scores.shape[-1], self.keys.get(softmax, 0))
        else:
            self._grow(softmax, "shares", arrays[context.lhs])
            self._grow(softmax, "values", arrays[context.rhs])
            self._grow(softmax, "results", arrays[context.result])

    def _grow(self, softmax: SoftmaxOp, name: str, values: NDArray[Any]) -> None:
        most = np.abs(values).max(axis=(0, 2, 3), initial=0).astype(np.float64)
        own = self.found.setdefault(softmax, {})
        own[name] = np.maximum(most, own.get(name, most))


@dataclass
class _Quantize(RewritePattern):
    """Attentions in floats → those in integers, where that pays."""

    machine: Machine
    host_cycles: float
    levels: int
    count: int = 0
    """Attentions that have been replaced."""

    def is_the_arrays(
        self, op: SoftmaxOp | CachedAttentionOp, heads: int, keys: int, rewriter: PatternRewriter
    ) -> bool:
        """Whether an attention is to be replaced; it says why it is not."""
        reason = self._why_not(heads, keys)
        if reason:
            op.attributes[HOST] = StringAttr(reason)
            rewriter.notify_op_modified(op)
        else:
            self.count += 1
        return not reason

    def _why_not(self, heads: int, keys: int) -> str:
        """Why the host has to take a softmax, or nothing."""
        machine = self.machine
        most = min(NORMALIZED_FEATURES, machine.result_depth // heads)
        if keys > most:
            return f"{keys} keys of {heads} heads, and the target has room for {most}"
        array = softmax_cycles(machine, heads * keys, keys)
        host = self.host_cycles * heads * keys * machine.lanes
        return f"{array} cycles a tile, the host's {round(host)}" if array >= host else ""


@dataclass
class _QuantizeAttention(_Quantize):
    """A softmax, and what is around it → `nn.attention`, with scales by its ranges."""

    attentions: Mapping[SoftmaxOp, Attention] = field(kw_only=True)
    ranges: _Ranges = field(kw_only=True)

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: SoftmaxOp, rewriter: PatternRewriter) -> None:
        """Put the integer attention in place of a float one, or say why the host has it."""
        attention = self.attentions.get(op)
        if attention is None:
            return
        ranges = self.ranges.found[op]
        if self.is_the_arrays(op, len(ranges["keys"]), self.ranges.keys[op], rewriter):
            _replace(rewriter, attention, ranges, self.levels)


@dataclass
class _QuantizeCached(_Quantize):
    """Attention behind a past → `nn.causal_attention`, in the same way."""

    ranges: CachedRanges = field(kw_only=True)
    tokens: int | None = field(kw_only=True)
    """The most of a sequence; by default those of the samples."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: CachedAttentionOp, rewriter: PatternRewriter) -> None:
        """Put the integer attention in place of a float one, or say why the host has it."""
        if op not in self.ranges.attentions:
            return
        ranges, tokens = self.ranges.found[op], self.tokens or self.ranges.keys[op]
        if self.is_the_arrays(op, len(ranges["keys"]), tokens, rewriter):
            replace_cached(rewriter, op, ranges, self.levels)


def quantize_attention(
    module: ModuleOp,
    samples: Inputs | Sequence[Inputs],
    machine: Machine,
    host_cycles: float = 4.0,
    levels: int = LEVEL_MAX,
    tokens: int | None = None,
) -> int:
    """Turn a network's softmax attentions into those in int8 where that pays; returns how many.

    Their scales are those of the largest magnitudes on the samples: the network's inputs by name,
    or batches of them. Sequences of decoders have at most so many `tokens`.

    Raises:
        ValueError: inputs that do not fit, levels beyond 1..127.
    """
    if not 0 < levels <= LEVEL_MAX:
        raise ValueError(f"levels must be 1..{LEVEL_MAX}, not {levels}")
    found, cached = _attentions(module, machine), CachedRanges(_cached(module, machine))
    if not found and not cached.attentions:
        return 0
    parts: dict[Operation, Attention] = {
        op: attention
        for attention in found.values()
        for op in (attention.scores.product, attention.softmax, attention.context)
    }
    ranges, function = _Ranges(parts), entry(module)
    try:
        for batch in each(samples):
            call(module, function, in_order(function, batch), (ranges, cached))
    except InterpretationError as error:
        raise ValueError(f"samples: {error}") from None
    common = machine, host_cycles, levels
    patterns = (
        _QuantizeAttention(*common, attentions=found, ranges=ranges),
        _QuantizeCached(*common, ranges=cached, tokens=tokens),
    )
    for pattern in patterns:
        PatternRewriteWalker(pattern, apply_recursively=False).rewrite_module(module)
    return sum(pattern.count for pattern in patterns)


def _attentions(module: ModuleOp, machine: Machine) -> dict[SoftmaxOp, Attention]:
    """The attentions of a network that arrays compute; each other softmax says why it is none."""
    found: dict[SoftmaxOp, Attention] = {}
    for softmax in [op for op in module.walk() if isinstance(op, SoftmaxOp)]:
        attention = Attention.of(softmax)
        if not machine.softmax:
            softmax.attributes[HOST] = StringAttr("the target has no unit for it")
        elif attention is None:
            reason = "it is not of products of heads, with a mask that is the same for all queries"
            softmax.attributes[HOST] = StringAttr(reason)
        else:
            found[softmax] = attention
    return found


def _cached(module: ModuleOp, machine: Machine) -> list[CachedAttentionOp]:
    """Those behind a past that arrays compute; each other one says why it is none."""
    found: list[CachedAttentionOp] = []
    for op in cached_attentions(module):
        if reason := unfit(op, machine):
            op.attributes[HOST] = StringAttr(reason)
        else:
            found.append(op)
    return found


def _replace(
    rewriter: PatternRewriter,
    attention: Attention,
    ranges: dict[str, NDArray[np.float64]],
    levels: int,
) -> None:
    """Put the integer attention in place of its context.

    Raises:
        ValueError: ranges that are not finite.
    """
    context, scores, softmax = attention.context, attention.scores, attention.softmax
    try:
        steps, factors = attention_scales(ranges, scores.scale, levels)
    except ValueError as error:
        raise ValueError(f"samples: {node_name(softmax)} reads or gives {error}") from None
    new = AttentionOp(
        scores.product.lhs,
        scores.product.rhs,
        context.rhs,
        scores.mask,
        scale=scores.scale,
        levels=levels,
        steps=steps,
        factors=factors,
        table=exponential_table(steps.scores),
        result=context.result.type,
    )
    new.attributes |= context.attributes
    new.location = context.location
    rewriter.replace(context, new)
    erase_chain(rewriter, [scores.product, *reversed(scores.between), softmax])


@dataclass(frozen=True)
class NnAttentionPass(ModulePass):
    """Compute `softmax(q·k·scale + mask)·v` of heads in int8, the softmax in the array's row unit.

    Where the target has the unit, the mask is the same for all queries, and the array takes fewer
    cycles for the softmax of a tile than the host. Attention of decoders, `nn.cached_attention`,
    becomes `nn.causal_attention` in the same way, if the target's softmax can be `causal`. One that
    stays with the host says why (`host`).

    - `samples`: a `.npz` file with the network's inputs by name, on which it runs to find the
      scales.
    - `target`: the target whose row unit and memories are used.
    - `host-cycles`: the array's cycles in which the host makes one share of scores.
    - `levels`: the largest level of keys and values; fewer levels take fewer cycles.
    - `tokens`: the most tokens of a decoder's sequence; by default those of the samples.
    """

    name = "nn-attention"

    samples: str
    target: str = "generic"
    host_cycles: float | int = 4.0
    levels: int = LEVEL_MAX
    tokens: int | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = target_machine(self, self.target)
        require_host_cycles(self, self.host_cycles)
        if not 0 < self.levels <= LEVEL_MAX:
            raise refused(self, "levels", f"must be 1..{LEVEL_MAX}, not {self.levels}")
        if self.tokens is not None and self.tokens < 1:
            raise refused(self, "tokens", f"must be at least 1, not {self.tokens}")
        try:
            samples = load_inputs(self.samples)
            quantize_attention(op, samples, machine, self.host_cycles, self.levels, self.tokens)
        except (OSError, ValueError) as error:
            raise PassFailedException(f"{self.name}: {error}") from None
