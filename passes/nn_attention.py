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
from xdsl.rewriter import Rewriter
from xdsl.utils.exceptions import InterpretationError, PassFailedException

from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import AttentionOp, ConstantOp, ElementwiseOp, MatmulOp, SoftmaxOp
from daqkf.dialects.nn.base import HOST, node_name, shape_of
from daqkf.hw_targets import load_target
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import LEVEL_MAX, NORMALIZED_FEATURES
from daqkf.hw_targets.timing import softmax_cycles
from daqkf.passes.nn_product import Inputs, each, in_order
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
        if op.kind.data == "add" and masks:
            for inner, mask in ((first, second), (second, first)):
                found = cls.of(inner, masks=False) if _masks(mask, inner) else None
                if found is not None:
                    return cls(found.product, (op, *found.between), found.scale, mask)
        factor = _scalar(second)
        found = cls.of(first, masks=False) if factor is not None and factor > 0 else None
        if found is None or factor is None or op.kind.data not in ("mul", "div"):
            return None
        scale = found.scale * factor if op.kind.data == "mul" else found.scale / factor
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


def _scalar(value: SSAValue) -> float | None:
    array = value.owner.array() if isinstance(value.owner, ConstantOp) else None
    return float(array.reshape(())) if array is not None and array.size == 1 else None


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
    found: dict[tuple[SoftmaxOp, str], NDArray[np.float64]] = field(default_factory=dict)
    keys: dict[SoftmaxOp, int] = field(default_factory=dict[SoftmaxOp, int])
    _reads: PythonValues = ()

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        self._reads = args

    def did_interpret_op(self, op: Operation, results: PythonValues) -> None:
        attention = self.attentions.get(op)
        if attention is None:
            return
        seen: dict[str, NDArray[Any]] = {}
        if op is attention.scores.product:
            seen = dict(zip(("queries", "keys"), self._reads, strict=True))
        elif op is attention.softmax:
            (scores,), (shares,) = self._reads, results
            seen = {"scores": np.where(shares > NEGLIGIBLE, scores, 0)}
            length = scores.shape[-1]
            self.keys[attention.softmax] = max(length, self.keys.get(attention.softmax, 0))
        else:
            names = "shares", "values", "results"
            seen = dict(zip(names, (*self._reads, *results), strict=True))
        for name, values in seen.items():
            most = np.abs(values).max(axis=(0, 2, 3), initial=0).astype(np.float64)
            place = attention.softmax, name
            self.found[place] = np.maximum(most, self.found.get(place, most))


def quantize_attention(
    module: ModuleOp,
    samples: Inputs | Sequence[Inputs],
    machine: Machine,
    host_cycles: float = 4.0,
    levels: int = LEVEL_MAX,
) -> int:
    """Turn a network's softmax attentions into `nn.attention`s where that pays; returns how many.

    Their scales are those of the largest magnitudes on the samples: the network's inputs by
    name, or batches of them.

    Raises:
        ValueError: inputs that do not fit, levels beyond 1..127.
    """
    if not 0 < levels <= LEVEL_MAX:
        raise ValueError(f"levels must be 1..{LEVEL_MAX}, not {levels}")
    found: list[Attention] = []
    for softmax in [op for op in module.walk() if isinstance(op, SoftmaxOp)]:
        attention = Attention.of(softmax)
        if not machine.softmax:
            softmax.attributes[HOST] = StringAttr("the target has no unit for it")
        elif attention is None:
            reason = "it is not of products of heads, with a mask that is the same for all queries"
            softmax.attributes[HOST] = StringAttr(reason)
        else:
            found.append(attention)
    if not found:
        return 0
    parts: dict[Operation, Attention] = {
        op: attention
        for attention in found
        for op in (attention.scores.product, attention.softmax, attention.context)
    }
    ranges, function = _Ranges(parts), entry(module)
    try:
        for batch in each(samples):
            call(module, function, in_order(function, batch), (ranges,))
    except InterpretationError as error:
        raise ValueError(f"samples: {error}") from None
    count = 0
    for attention in found:
        softmax = attention.softmax
        own = {name: most for (op, name), most in ranges.found.items() if op is softmax}
        reason = _why_not(len(own["keys"]), ranges.keys[softmax], machine, host_cycles)
        if reason:
            softmax.attributes[HOST] = StringAttr(reason)
            continue
        try:
            _replace(attention, own, levels)
        except ValueError as error:
            raise ValueError(f"samples: {node_name(softmax)} reads or gives {error}") from None
        count += 1
    return count


def _why_not(heads: int, keys: int, machine: Machine, host_cycles: float) -> str:
    """Why the host has to take a softmax, or nothing."""
    most = min(NORMALIZED_FEATURES, machine.result_depth // heads)
    if keys > most:
        return f"{keys} keys of {heads} heads, and the target has room for {most}"
    array = softmax_cycles(machine, heads * keys, keys)
    host = host_cycles * heads * keys * machine.lanes
    return f"{array} cycles a tile, the host's {round(host)}" if array >= host else ""


def _replace(attention: Attention, ranges: dict[str, NDArray[np.float64]], levels: int) -> None:
    context, scores = attention.context, attention.scores
    scales, factors = attention_scales(ranges, scores.scale, levels)
    new = AttentionOp(
        [scores.product.lhs, scores.product.rhs, context.rhs],
        scores.mask,
        scores.scale,
        levels,
        scales,
        factors,
        exponential_table(scales.scores),
        context.result.type,
    )
    new.attributes |= context.attributes
    new.result.name_hint = context.result.name_hint
    Rewriter.replace_op(context, new)
    for op in (attention.softmax, *scores.between, scores.product):
        Rewriter.erase_op(op)


@dataclass(frozen=True)
class NnAttentionPass(ModulePass):
    """Compute `softmax(q·k·scale + mask)·v` of heads in int8, the softmax in the array's row unit.

    Where the target has the unit, the mask is the same for all queries, and the array takes fewer
    cycles for the softmax of a tile than the host. One that stays with the host says why (`host`).

    - `samples`: a `.npz` file with the network's inputs by name, on which it runs to find the
      scales.
    - `target`: whose unit and memories.
    - `host-cycles`: the array's cycles in which the host makes one share of scores.
    - `levels`: the largest level of keys and values; fewer levels take fewer cycles.
    """

    name = "nn-attention"

    samples: str
    target: str = "generic"
    host_cycles: float | int = 4.0
    levels: int = LEVEL_MAX

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = load_target(self.target).machine
        try:
            samples = load_inputs(self.samples)
            quantize_attention(op, samples, machine, self.host_cycles, self.levels)
        except (OSError, ValueError) as error:
            raise PassFailedException(f"{self.name}: {error}") from None
