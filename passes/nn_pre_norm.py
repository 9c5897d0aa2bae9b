# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-pre-norm`: normalisations in front of products become the array's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr, TensorType, UnitAttr, f32
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.transforms.dead_code_elimination import dce

from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import ConstantOp, ElementwiseOp, MatmulOp, ReduceOp, RmsNormOp
from daqkf.dialects.nn.base import EXACT, HOST, UNSCALED, shape_of
from daqkf.dialects.nn.elementwise import Function, Reduction
from daqkf.dialects.nn.ops import constant_of
from daqkf.hw_targets.functions import FUNCTIONS
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import EXPONENT_MAX, NORMALIZED_FEATURES
from daqkf.hw_targets.results import result_rows
from daqkf.passes.diagnostics import failing
from daqkf.passes.nn_options import target_machine
from daqkf.passes.nn_scale import SMALLEST_EXTENT, Ranges, ranges_on, scalable
from daqkf.passes.quantize.samples import load_inputs
from daqkf.passes.rewriting import rewrite_once

Floats = NDArray[np.float64]

_NORM_SHARE, _GATE_SHARE = 0.75, 0.5
"""The share of the difference in range of features that goes to weights (Xiao et al.,
"SmoothQuant", ICML 2023): of what a normalisation gives, and of what gates let through, where a
larger share would cost more in the weights of both products."""

_LEAST = 2.0**-10
"""The least range of a feature, as a share of the largest one."""


@dataclass(frozen=True)
class NnPreNormPass(ModulePass):
    """Let the array normalise in front of products, as in decoders.

    `rms_norm(x, γ)·W` becomes `rms_norm(((x / d) / r)·D, γ')·W'` with D = diag(d): then the product
    with D is a kernel that the normalisation is behind, as `nn-normalize` takes it, and its results
    need not leave the array before they meet W (`nn-chain`). Of each row, r is the largest
    magnitude, which the host finds; the normalisation takes it out again. The powers of two d bring
    features of x to one range beside the size of their row, and γ/γ' the results of the
    normalisation, as far as weights can have it. The epsilon is added to rows that were divided by
    r, so it counts more in rows of small numbers, and less in others.

    On a target with `wide_results`, the host applies functions to what products give (`host`), as
    results of int16 are worth more to gates than to stay on the array. On others with a unit for
    gates (`nn-gate`), the product that reads what is gated stays in a chain with them. The host
    scales no rows of all these products (`nn-scale`), so run this pass before. D stays as it is
    (`exact`).

    A normalisation that stays with the host says why (`host`).

    - `target`: the target whose row unit and memories are used.
    - `samples`: a `.npz` file with the network's inputs by name, on which ranges are found. Without
      it all features have one.
    """

    name = "nn-pre-norm"

    target: str = "generic"
    samples: str | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        ranges: Ranges = {}
        with failing(self.name):
            if self.samples is not None:
                ranges = ranges_on(op, load_inputs(self.samples))
        place_norms(self, op, target_machine(self, self.target), ranges)


def place_norms(given: NnPreNormPass, module: ModuleOp, machine: Machine, ranges: Ranges) -> None:
    """Let the array normalise; see `NnPreNormPass`.

    Args:
        given: the pass.
        module: the network, before `nn-scale` and `nn-outline`.
        machine: the target's.
        ranges: of what products read, as far as anything is known.
    """
    rewrite_once(given, module, _NormalizeInFront(machine, ranges))
    dce(module)


@dataclass(frozen=True)
class _Readers:
    """The products behind a normalisation."""

    products: Sequence[MatmulOp]
    gated: Sequence["_Gated"]

    @classmethod
    def of(cls, norm: RmsNormOp, gates: bool) -> "_Readers | None":
        """Those of a normalisation; None if anything else reads it."""
        found = [use.operation for use in norm.result.uses]
        products = [
            op for op in found if isinstance(op, MatmulOp) and op.lhs is norm.result and _of(op)
        ]
        if not products or len(products) < len(found):
            return None
        gated = [made for op in products if gates and (made := _Gated.of(op, products))]
        return cls(products, gated)

    @property
    def outputs(self) -> int:
        """The most that one kernel may have of them, once they are merged."""
        return sum(_weights(op).shape[1] for op in self.products)


def _of(op: MatmulOp) -> bool:
    """Whether a product is one with constant weights that may be a kernel."""
    return scalable(op) is not None


def _weights(op: MatmulOp) -> Floats:
    weights = scalable(op)
    assert weights is not None
    return weights.astype(np.float64)


@dataclass(frozen=True)
class _Gated:
    """A product whose results are multiplied by gates, and the one that reads what comes out."""

    up: MatmulOp
    down: MatmulOp

    @classmethod
    def of(cls, up: MatmulOp, products: Sequence[MatmulOp]) -> "_Gated | None":
        """Those of one of the products behind a normalisation, if it is such a one."""
        product = up.result.get_user_of_unique_use()
        if not isinstance(product, ElementwiseOp) or product.kind.data is not Function.MUL:
            return None
        (gate,) = (value.owner for value in product.inputs if value is not up.result)
        if not isinstance(gate, ElementwiseOp) or gate.kind.data not in FUNCTIONS:
            return None
        down = product.result.get_user_of_unique_use()
        fits = isinstance(down, MatmulOp) and down.lhs is product.result and _of(down)
        if gate.inputs[0].owner not in products or not isinstance(down, MatmulOp) or not fits:
            return None
        return cls(up, down)


@dataclass(frozen=True)
class _Scales:
    """What brings the features of a normalisation to one range."""

    features: Floats
    """d [K]: powers of two."""
    gamma: Floats
    """γ' [K], all above 0."""
    weights: Floats
    """γ/γ' [K], by which weights are multiplied."""

    @classmethod
    def of(cls, gamma: Floats, most: Floats | None) -> "_Scales":
        """For γ and the largest magnitudes of the results [K], if they are known."""
        size = np.abs(gamma)
        if most is None:
            most = size
        largest = float(most.max(initial=0.0)) or 1.0
        most = np.maximum(most, largest * _LEAST)
        # Of the normalised values, before γ; one that γ takes away may be as large as any.
        normal = np.where(size > largest * _LEAST, most / np.where(size > 0, size, 1), 0.0)
        normal = np.where(normal > 0, normal, normal.max(initial=0.0) or 1.0)
        features = 2.0 ** np.ceil(np.log2(normal / normal.max()))
        kept = most / _shared(most, _NORM_SHARE) / normal
        return cls(np.maximum(features, 2.0**-EXPONENT_MAX), kept, gamma / kept)


def _shared(most: Floats, share: float) -> Floats:
    """The part of ranges [K] that goes to weights, as factors of the largest one."""
    largest = float(most.max(initial=0.0)) or 1.0
    return np.maximum(most / largest, _LEAST) ** share


@dataclass(frozen=True)
class _NormalizeInFront(RewritePattern):
    """A normalisation that only products read, behind a kernel of its own."""

    machine: Machine
    ranges: Ranges

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: RmsNormOp, rewriter: PatternRewriter) -> None:
        """Put a kernel in front and scales around, or say why the host normalises."""
        if UNSCALED in op.attributes:
            return
        readers = _Readers.of(op, self.machine.gates and not self.machine.wide_results)
        reason = self._why_not(op, readers)
        if reason or readers is None:
            op.attributes[HOST] = StringAttr(reason)
            rewriter.notify_op_modified(op)
            return
        gamma = constant_of(op.gamma)
        assert gamma is not None
        seen = (most for product in readers.products if (most := self._most(product)) is not None)
        scales = _Scales.of(gamma.astype(np.float64), next(seen, None))
        weights = {
            product: _weights(product) * scales.weights[:, np.newaxis]
            for product in readers.products
        }
        for gated in readers.gated:
            most = self._most(gated.down)
            own = np.ones(1) if most is None else _shared(most, _GATE_SHARE)
            weights[gated.up] = weights[gated.up] / own
            weights[gated.down] = _weights(gated.down) * own[:, np.newaxis]
        _normalize(rewriter, op, scales)
        for product, values in weights.items():
            if self.machine.wide_results:
                _leave_functions(rewriter, product)
            _replace_weights(rewriter, product, values)

    def _why_not(self, norm: RmsNormOp, readers: _Readers | None) -> str:
        """Why the host has to normalise, or nothing."""
        machine, shape = self.machine, shape_of(norm.input)
        if not machine.normalizes:
            return "the target has no unit for it"
        if readers is None:
            return "not only products with constant weights read it"
        gamma = constant_of(norm.gamma)
        if gamma is None or gamma.ndim != 1 or not np.isfinite(gamma).all():
            return "its scale is no constant, or not finite"
        if shape is None or len(shape) < 2:
            return "it is not of rows"
        most = min(NORMALIZED_FEATURES, machine.result_depth, machine.most_features)
        if len(gamma) > most:
            return f"{len(gamma)} features, and the target has room for {most}"
        rows = result_rows(readers.outputs, machine.wide_results)
        if rows > machine.result_depth:
            return (
                f"{rows} rows of results behind it, and the target has room for "
                f"{machine.result_depth}"
            )
        return ""

    def _most(self, op: MatmulOp) -> Floats | None:
        """The largest magnitude of each feature that a product reads, if it is known."""
        found = self.ranges.get(op)
        if found is None or not np.isfinite(found).all():
            return None
        return np.abs(found).max(axis=0).astype(np.float64)


def _normalize(rewriter: PatternRewriter, norm: RmsNormOp, scales: _Scales) -> None:
    """Bring rows to one range, and normalise the results of a product that undoes that."""
    x, kind, shape = norm.input, norm.input.type, shape_of(norm.input)
    assert shape is not None
    new: list[Operation] = []

    def constant(values: Any) -> SSAValue:
        new.append(ConstantOp(from_array(np.asarray(values, np.float32), f32)))
        return new[-1].results[0]

    def applied(function: Function, values: Sequence[SSAValue], result: Any = kind) -> SSAValue:
        new.append(ElementwiseOp(function, values, result))
        return new[-1].results[0]

    if (scales.features != 1).any():
        x = applied(Function.DIV, [x, constant(scales.features)])
    rows = TensorType(f32, [*shape[:-1], 1])
    new.append(ReduceOp(Reduction.MAX, applied(Function.ABS, [x]), [-1], True, rows))
    extent = applied(Function.MAX, [new[-1].results[0], constant(SMALLEST_EXTENT)], rows)
    x = applied(Function.DIV, [x, extent])
    product = MatmulOp(x, constant(np.diag(scales.features)), kind)
    product.attributes |= norm.attributes | {UNSCALED: UnitAttr(), EXACT: UnitAttr()}
    product.location = norm.location
    gamma = constant(scales.gamma)
    made = RmsNormOp(product.result, gamma, norm.epsilon.value.data)
    made.attributes |= norm.attributes | {UNSCALED: UnitAttr()}
    made.location = norm.location
    made.result.name_hint = norm.result.name_hint
    rewriter.replace(norm, [*new, product, made], [made.result])


def _leave_functions(rewriter: PatternRewriter, product: MatmulOp) -> None:
    """Let the host apply the function of a product's results."""
    reader = product.result.get_user_of_unique_use()
    if isinstance(reader, ElementwiseOp) and reader.kind.data is Function.ADD:
        reader = reader.result.get_user_of_unique_use()
    if isinstance(reader, ElementwiseOp) and reader.kind.data in FUNCTIONS:
        reader.attributes[HOST] = StringAttr("results of int16 have no table")
        rewriter.notify_op_modified(reader)


def _replace_weights(rewriter: PatternRewriter, op: MatmulOp, values: Floats) -> None:
    """Give a product other weights, and leave its rows as they are."""
    matrix = ConstantOp(from_array(values.astype(np.float32), f32))
    before = op.rhs.owner
    assert isinstance(before, Operation)
    product = MatmulOp(op.lhs, matrix.result, op.result.type)
    for added, old in ((matrix, before), (product, op)):
        added.attributes |= old.attributes
        added.location = old.location
    product.attributes[UNSCALED] = UnitAttr()
    product.result.name_hint = op.result.name_hint
    rewriter.replace(op, [matrix, product], [product.result])
