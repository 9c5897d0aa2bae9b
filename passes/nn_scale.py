# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`nn-scale`: the host brings what products read to one range, by rows and by features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType, UnitAttr, f32
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.transforms.dead_code_elimination import dce
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.dense import from_array
from daqkf.dialects.interpreting import Lifetimes, call, entry
from daqkf.dialects.nn import (
    ConcatOp,
    ConstantOp,
    DequantizeOp,
    ElementwiseOp,
    MatmulOp,
    QuantizeOp,
    ReduceOp,
)
from daqkf.dialects.nn.base import RANKED, SCALED, UNSCALED, shape_of
from daqkf.dialects.nn.elementwise import Function, Reduction
from daqkf.dialects.nn.ops import constant_of
from daqkf.passes.diagnostics import failing
from daqkf.passes.nn_outline import layer_name
from daqkf.passes.nn_product import Inputs, each, in_order
from daqkf.passes.progress import Progress, Step, silent
from daqkf.passes.quantize.samples import load_inputs
from daqkf.passes.rewriting import rewrite_once

_LEAST = 2.0**-3
"""The least scale of a feature, as a share of the largest one.

A feature that is hardly ever there on the samples would get a tiny scale; where it is there after
all, it would be most of its row, and leave all others a few steps.
`benchmarks/packaged_networks.py` shows what smaller ones cost."""

_CONSTANT_SHARE = 2.0**-4
"""The number beside the features of a ranked product, as a share of the largest of them: a matrix
of fewer steps could not have a bias there, and int8 has an eighth of its range for a larger one."""

SMALLEST_EXTENT = np.float32(1e-30)
"""Half of the least range that a row is divided by; rows of one value become zeros."""


@dataclass(frozen=True)
class Scales:
    """What the pass has found out about a product on samples."""

    features: NDArray[np.float32]
    """The scale of each feature, [K]."""
    centre: float
    """The middle of all scaled features, in halves of their extent: between -1 and 1."""
    constant: float | None = None
    """Of a product whose results are ranked, the number beside the scaled features."""

    @classmethod
    def of(
        cls,
        low: NDArray[np.float32],
        high: NDArray[np.float32],
        smooth: bool = True,
        ranked: bool = False,
    ) -> "Scales":
        """Scales for features between these values [K]; the largest feature has 1.

        If they are not `smooth`ed, all have 1, and the centre is a multiple of 1/2.
        """
        most = np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
        largest = most.max(initial=0.0)
        scales = np.ones(len(most), np.float32)
        if smooth and largest and np.isfinite(most).all():
            scales = np.sqrt(np.maximum(most / largest, _LEAST**2)).astype(np.float32)
        least, greatest = float((low / scales).min()), float((high / scales).max())
        if ranked:
            reach = max(abs(least), abs(greatest))
            constant = reach * _CONSTANT_SHARE if reach and np.isfinite(reach) else 1.0
            return cls(scales, 0.0, float(np.float32(constant)))
        if not (np.isfinite([least, greatest]).all() and greatest > least):
            return cls(scales, 0.0)
        centre = float(np.clip((greatest + least) / (greatest - least), -1, 1))
        return cls(scales, centre if smooth else float(np.rint(2 * centre) / 2))

    @classmethod
    def read(cls, value: SSAValue) -> "Scales | None":
        """The scales that the pass has put in front of a product that reads this value."""
        scaled = function_of(value, Function.DIV)
        if scaled is not None and (constant := constant_feature(scaled.inputs[0])) is not None:
            rows = scaled.inputs[0].owner
            assert isinstance(rows, ConcatOp)
            return cls(_features_of(rows.inputs[0]), 0.0, constant)
        moved = scaled and function_of(scaled.inputs[0], Function.SUB)
        if scaled is None or moved is None:
            return None
        features = _features_of(moved.inputs[0])
        users = (use.operation for use in scaled.inputs[1].uses)
        offsets = [
            constant_of(op.inputs[1])
            for op in users
            if isinstance(op, ElementwiseOp) and op.kind.data is Function.MUL
        ]
        return cls(features, next((float(c) for c in offsets if c is not None), 0.0))


def _features_of(value: SSAValue) -> NDArray[np.float32]:
    """The scales of features that a value was divided by, [K]."""
    divided = function_of(value, Function.DIV)
    features = None if divided is None else constant_of(divided.inputs[1])
    return np.ones((shape_of(value) or (1,))[-1], np.float32) if features is None else features


def constant_feature(value: SSAValue) -> float | None:
    """The number beside the features of the rows of a ranked product, if these are such rows."""
    rows = value.owner
    column = function_of(rows.inputs[-1], Function.MIN) if isinstance(rows, ConcatOp) else None
    number = None if column is None else constant_of(column.inputs[1])
    return None if number is None else float(number)


@dataclass(frozen=True)
class NnScalePass(ModulePass):
    """Scale the rows that products with constant weights read, such that int8 has them in full.

    `x·W` becomes `r·(((x / d - m) / r)·V + c·ΣV) + (m - c·r)·ΣV`, V = d·W. Of each row, m is the
    middle of its range and r half of its extent, which the host finds when the network runs
    (dynamic quantisation, for each token: Yao et al., "ZeroQuant", NeurIPS 2022). The number c is
    what m / r is about, 1 of values above 0; so a kernel's results have no offset that takes up
    their range. The scale d of each
    feature is the root of its largest magnitude on the samples, relative to the largest of all
    (Xiao et al., "SmoothQuant", ICML 2023); without samples it is 1. Biases and functions behind
    such a product stay with the host, and so do not share one scale for all channels.

    It is for values of very different sizes, as in spectra of sound. A product whose operand has
    the levels of a quantised file stays as it is, and so does one that is `unscaled`.

    A product may be ranked: of two results of a token, the larger one is larger on the array, too,
    which finds the largest of them (`top_k`). Then nothing is added behind it, and `x·W` becomes
    `r·([x / d, g] / r)·V`, where r is the largest magnitude of the row, at least g, and V has one
    more row, by which a later pass can give it a bias. That row is 0 here.

    - `samples`: a `.npz` file with the network's inputs by name.
    - `keep`: features have no scales, so that weights which are levels of a quantised file stay
      such, and c is a multiple of 1/2, which hardly depends on the samples.
    - `ranked`: the names of products whose results are ranked; `*` stands for any characters.
    """

    name = "nn-scale"

    samples: str | None = None
    keep: bool = False
    ranked: tuple[str, ...] = ()

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        scales: Mapping[MatmulOp, Scales] = {}
        with failing(self.name):
            if self.samples is not None:
                samples = load_inputs(self.samples)
                ranges = ranges_on(op, samples)
                scales = scales_of(ranges, smooth=not self.keep, ranked=self.ranked)
        scale_rows(self, op, scales)

    def unknown(self, op: MatmulOp, features: int) -> Scales:
        """The scales of a product's features if no samples say anything of them."""
        constant = 1.0 if is_named(op, self.ranked) else None
        return Scales(np.ones(features, np.float32), 0.0, constant)


def is_named(op: MatmulOp, patterns: Sequence[str]) -> bool:
    """Whether what a product is called in the file is of one of the patterns."""
    return any(fnmatchcase(layer_name(op), pattern) for pattern in patterns)


def scale_rows(given: NnScalePass, module: ModuleOp, scales: Mapping[MatmulOp, Scales]) -> None:
    """Scale what products read; see `NnScalePass`.

    Args:
        given: the pass.
        module: the network.
        scales: of the products that samples say something of.
    """
    rewrite_once(given, module, _ScaleRows(given, scales))
    for function in [op for op in module.ops if isinstance(op, FuncOp)]:
        function.attributes[SCALED] = UnitAttr()
    dce(module)


def are_rows_scaled(module: ModuleOp) -> bool:
    """Whether the host scales the rows that a network's kernels read."""
    return SCALED in entry(module).attributes


Ranges = Mapping[MatmulOp, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""The least and the greatest value of each feature [K] that products read."""


def ranges_on(
    module: ModuleOp, samples: Inputs | Sequence[Inputs], progress: Progress = silent
) -> Ranges:
    """The ranges of what each product with constant weights reads on samples.

    The `progress` is told of each batch.

    Raises:
        ValueError: inputs that do not fit.
    """
    listener, function, lifetimes = _Features(), entry(module), Lifetimes()
    try:
        batches = each(samples)
        for number, batch in enumerate(batches):
            progress(Step("find scales of rows on", number + 1, len(batches), "batches"))
            arguments = in_order(function, batch)
            call(module, function, arguments, (listener,), lifetimes=lifetimes)
    except InterpretationError as error:
        raise ValueError(f"samples: {error}") from None
    return listener.found


def scales_of(
    ranges: Ranges, *, smooth: bool = True, ranked: Sequence[str] = ()
) -> dict[MatmulOp, Scales]:
    """The scales of each product with constant weights, by what it reads: see `Scales.of`."""
    return {
        op: Scales.of(low, high, smooth, is_named(op, ranked)) for op, (low, high) in ranges.items()
    }


@dataclass
class _Features(Interpreter.Listener):
    """The range of each feature that products read, as the network runs."""

    found: dict[MatmulOp, tuple[NDArray[np.float32], NDArray[np.float32]]] = field(
        default_factory=dict[MatmulOp, tuple[NDArray[np.float32], NDArray[np.float32]]]
    )

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        """Let the ranges of a product's features grow."""
        if isinstance(op, MatmulOp) and scalable(op) is not None and args[0].size:
            rows = args[0].reshape(-1, args[0].shape[-1])
            low, high = rows.min(axis=0), rows.max(axis=0)
            if before := self.found.get(op):
                low, high = np.minimum(low, before[0]), np.maximum(high, before[1])
            self.found[op] = low, high


def function_of(value: SSAValue, kind: Function) -> ElementwiseOp | None:
    """The function of this kind that a value is the result of, if it is."""
    op = value.owner
    return op if isinstance(op, ElementwiseOp) and op.kind.data is kind else None


def scalable(op: MatmulOp) -> NDArray[Any] | None:
    """Constant weights [K, N] of f32, of a product whose rows may be scaled."""
    weights = constant_of(op.rhs)
    if weights is None or weights.ndim != 2 or weights.dtype != np.float32:
        return None
    if UNSCALED in op.attributes:
        return None
    levels = isinstance(op.lhs.owner, DequantizeOp) or isinstance(
        op.result.get_user_of_unique_use(), QuantizeOp
    )
    return None if levels or not np.isfinite(weights).all() else weights


@dataclass(frozen=True)
class _Scaled:
    """Rows that the host has scaled, and what it takes to undo that behind a product."""

    rows: SSAValue
    extent: SSAValue
    """Half of the extent of each row."""
    middle: SSAValue | None
    """The middle of each row, less the centre's share of the extent; None of a ranked product."""


@dataclass(frozen=True)
class _ScaleRows(RewritePattern):
    """A product with constant weights, with scales around it.

    Products that read the same rows with the same scales share what scales them.
    """

    given: NnScalePass
    scales: Mapping[MatmulOp, Scales]
    _known: dict[tuple[object, ...], _Scaled] = field(
        default_factory=dict[tuple[object, ...], _Scaled]
    )

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatmulOp, rewriter: PatternRewriter) -> None:
        """Put the scales in."""
        weights, shape, made = scalable(op), shape_of(op.lhs), shape_of(op.result)
        if weights is None or shape is None or made is None or len(shape) < 2:
            return
        new = _Operations()
        rows = TensorType(f32, [*shape[:-1], 1])
        scales = self.scales.get(op) or self.given.unknown(op, len(weights))
        if (scales.features != 1).any():
            weights = weights * scales.features[:, np.newaxis]
        if scales.constant is not None:
            weights = np.pad(weights, ((0, 1), (0, 0)))
        key = (op.parent, op.lhs, scales.features.tobytes(), scales.centre, scales.constant)
        scaled = self._known.get(key)
        if scaled is None:
            scaled = self._known[key] = new.scaled(op.lhs, scales, rows)
        matrix = ConstantOp(from_array(weights.astype(np.float32), f32))
        source = op.rhs.owner
        assert isinstance(source, Operation)
        product = MatmulOp(scaled.rows, matrix.result, op.result.type)
        for added, old in ((matrix, source), (product, op)):
            added.attributes |= old.attributes
            added.location = old.location
        new.ops += [matrix, product]
        if scaled.middle is None:
            product.attributes[RANKED] = UnitAttr()
            y = new.apply(Function.MUL, product.result, scaled.extent, op.result.type)
        else:
            sums = weights.sum(axis=0, dtype=np.float64)
            y = new.unscaled(product.result, scaled, scaled.middle, sums, scales.centre)
        y.name_hint = op.result.name_hint
        rewriter.replace(op, new.ops)


@dataclass
class _Operations:
    """Operations that stand in for a product."""

    ops: list[Operation] = field(default_factory=list[Operation])

    def constant(self, array: Any) -> SSAValue:
        """A constant of f32."""
        self.ops.append(ConstantOp(from_array(np.asarray(array, np.float32), f32)))
        return self.ops[-1].results[0]

    def apply(self, kind: Function, a: SSAValue, b: SSAValue | None, kind_of: Any) -> SSAValue:
        """A function of two values, or of one."""
        self.ops.append(ElementwiseOp(kind, [a] if b is None else [a, b], kind_of))
        return self.ops[-1].results[0]

    def unscaled(
        self,
        y: SSAValue,
        scaled: _Scaled,
        middle: SSAValue,
        sums: NDArray[np.float64],
        centre: float,
    ) -> SSAValue:
        """What the results of a product would be of rows as they were; `sums` are its weights'."""
        kind = y.type
        if centre:
            y = self.apply(Function.ADD, y, self.constant(centre * sums), kind)
        y = self.apply(Function.MUL, y, scaled.extent, kind)
        shift = self.apply(Function.MUL, middle, self.constant(sums), kind)
        return self.apply(Function.ADD, y, shift, kind)

    def scaled(self, x: SSAValue, scales: Scales, rows: TensorType[Any]) -> _Scaled:
        """The rows of a value, brought to -1 … 1; a number for each has the type `rows`."""
        kind = x.type
        if (scales.features != 1).any():
            x = self.apply(Function.DIV, x, self.constant(scales.features), kind)
        if scales.constant is not None:
            return self._beside(x, scales.constant, rows)
        high, low = (
            ReduceOp(reduction, x, [-1], True, rows) for reduction in (Reduction.MAX, Reduction.MIN)
        )
        self.ops += [high, low]
        half = self.constant(0.5)
        middle = self.apply(
            Function.MUL, self.apply(Function.ADD, high.result, low.result, rows), half, rows
        )
        extent = self.apply(
            Function.MUL, self.apply(Function.SUB, high.result, low.result, rows), half, rows
        )
        extent = self.apply(Function.MAX, extent, self.constant(SMALLEST_EXTENT), rows)
        x = self.apply(Function.SUB, x, middle, kind)
        x = self.apply(Function.DIV, x, extent, kind)
        if scales.centre:
            offset = self.apply(Function.MUL, extent, self.constant(scales.centre), rows)
            middle = self.apply(Function.SUB, middle, offset, rows)
        return _Scaled(x, extent, middle)

    def _beside(self, x: SSAValue, constant: float, rows: TensorType[Any]) -> _Scaled:
        """The same of a ranked product, whose rows have a constant beside their features."""
        absolute = self.apply(Function.ABS, x, None, x.type)
        most = ReduceOp(Reduction.MAX, absolute, [-1], True, rows)
        self.ops.append(most)
        number = self.constant(constant)
        extent = self.apply(Function.MAX, most.result, number, rows)
        # A number for each row, however many there are: none is larger than its extent.
        column = self.apply(Function.MIN, extent, number, rows)
        shape = shape_of(x)
        assert shape is not None
        kind = TensorType(f32, [*shape[:-1], shape[-1] + 1])
        joined = ConcatOp([x, column], len(shape) - 1, kind)
        self.ops.append(joined)
        return _Scaled(self.apply(Function.DIV, joined.result, extent, kind), extent, None)
