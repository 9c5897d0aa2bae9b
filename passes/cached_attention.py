# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Attention of decoders, behind a past → int8: for `nn-attention`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Operation
from xdsl.pattern_rewriter import PatternRewriter

from daqkf.dialects.nn import CachedAttentionOp, CausalAttentionOp
from daqkf.dialects.nn.base import node_name, shape_of
from daqkf.dialects.nn.sequences import attention_scores, grouped, softmax
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.words import QUERY_BITS
from daqkf.passes.quantize.attention import attention_scales, exponential_table
from daqkf.passes.spaq_calibrate import NEGLIGIBLE

Array = NDArray[Any]


def cached_attentions(module: ModuleOp) -> list[CachedAttentionOp]:
    """The attentions of a network that are behind a past."""
    return [op for op in module.walk() if isinstance(op, CachedAttentionOp)]


def unfit(op: CachedAttentionOp, machine: Machine) -> str:
    """Why an array of a machine has no such attention; empty if it has."""
    if not machine.causal:
        return "the target has no unit for a softmax that is causal"
    queries, keys, values = (shape_of(x) for x in (op.queries, op.keys, op.values))
    if queries is None or keys is None or values is None:
        return "its heads are not known"
    if DYNAMIC_INDEX in (*queries[-2:], *keys[-2:], *values[-2:]):
        return "its heads are not known"
    if keys[-1] != values[-1]:
        return f"its keys have {keys[-1]} features, and its values {values[-1]}"
    if queries[-2] // keys[-2] >= 1 << QUERY_BITS:
        return f"{queries[-2]} heads of queries share {keys[-2]} of keys and values"
    return ""


@dataclass
class CachedRanges(Interpreter.Listener):
    """The largest magnitudes [G] of what attentions behind a past read and give, and their
    extents."""

    attentions: Sequence[CachedAttentionOp]
    found: dict[CachedAttentionOp, dict[str, NDArray[np.float64]]] = field(
        default_factory=dict[CachedAttentionOp, dict[str, NDArray[np.float64]]]
    )
    keys: dict[CachedAttentionOp, int] = field(default_factory=dict[CachedAttentionOp, int])
    _reads: PythonValues = ()

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        """Keep the operands, which the results come without."""
        self._reads = args

    def did_interpret_op(self, op: Operation, results: PythonValues) -> None:
        """Let the ranges of an attention grow."""
        if not isinstance(op, CachedAttentionOp) or op not in self.attentions:
            return
        y, keys, values = results
        groups = keys.shape[-2]
        rows = grouped(self._reads[0], groups)
        scores = attention_scores(rows, keys, op.scale.value.data)
        shares = softmax(scores.copy())
        self.keys[op] = max(keys.shape[-3], self.keys.get(op, 0))
        results_of = y.reshape(*y.shape[:-1], groups, -1)
        for name, array, axis in (
            ("queries", rows, -4),
            ("keys", keys, -2),
            ("scores", np.where(shares > NEGLIGIBLE, scores, 0), -4),
            ("shares", shares, -4),
            ("values", values, -2),
            ("results", results_of, -2),
        ):
            every = tuple(n for n in range(array.ndim) if n != array.ndim + axis)
            most = np.abs(array).max(axis=every, initial=0).astype(np.float64)
            own = self.found.setdefault(op, {})
            own[name] = np.maximum(most, own.get(name, most))


def replace_cached(
    rewriter: PatternRewriter,
    op: CachedAttentionOp,
    ranges: dict[str, NDArray[np.float64]],
    levels: int,
) -> None:
    """Put integer attention in place of a float one.

    Raises:
        ValueError: ranges that are not finite.
    """
    scale = op.scale.value.data
    try:
        steps, factors = attention_scales(ranges, scale, levels)
    except ValueError as error:
        raise ValueError(f"samples: {node_name(op)} reads or gives {error}") from None
    new = CausalAttentionOp(
        op.queries,
        op.keys,
        op.values,
        (op.past_keys, op.past_values),
        scale=scale,
        levels=levels,
        steps=steps,
        factors=factors,
        table=exponential_table(steps.scores),
        results=list(op.result_types),
    )
    new.attributes |= op.attributes
    new.location = op.location
    rewriter.replace(op, new)
