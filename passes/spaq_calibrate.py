# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`spaq-calibrate`: observe the ranges of a float layer's activations."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import Float32Type, FloatAttr, ModuleOp, TensorType, f64
from xdsl.dialects.func import ReturnOp
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.utils.exceptions import InterpretationError
from xdsl.utils.hints import isa

from daqkf.dialects.interpreting import only_function, run
from daqkf.dialects.spaq import (
    ActivationOp,
    AddOp,
    AttentionOp,
    CalibratedOp,
    ColumnsOp,
    ConstantOp,
    GateOp,
    MatmulOp,
    NormOperation,
    QuantizeOp,
    ResidualOp,
)
from daqkf.dialects.spaq.interpreter import attention_scores, softmax, split_sequences
from daqkf.hw_targets.functions import SATURATION
from daqkf.hw_targets.numerics import MAX_REACH
from daqkf.passes.defaults import EXPONENTS
from daqkf.passes.diagnostics import OperationError, about, failing, function_of
from daqkf.passes.quantize.calibration import absmax_ranges, clipped_ranges, pooled_ranges
from daqkf.passes.quantize.gating import exponents_pay
from daqkf.passes.quantize.samples import Samples, load_samples, rows_of


def _function_of(value: SSAValue) -> str:
    """The activation function that alone reads the value, if one does."""
    user = value.get_user_of_unique_use()
    return user.function.data if isinstance(user, ActivationOp) else ""


def _is_stated(value: SSAValue) -> bool:
    """Whether a value's levels are stated, so that none have to be found."""
    return value.has_one_use() and isinstance(value.get_user_of_unique_use(), QuantizeOp)


def _is_result(value: SSAValue) -> bool:
    """Whether a value is a complete sum that the function gives, with a scale for each channel."""
    returned = all(isinstance(use.operation, ReturnOp) for use in value.uses)
    return isinstance(value.owner, MatmulOp | AddOp) and returned


def _shared_by(op: Operation) -> MatmulOp | None:
    """The product by constants that alone reads gates, and can take the exponents of rows back."""
    reader = op.results[0].get_user_of_unique_use() if isinstance(op, GateOp) else None
    if not isinstance(reader, MatmulOp) or reader.input is not op.results[0]:
        return None
    return reader if isinstance(reader.weights.owner, ConstantOp) else None


_SEARCH = {"absmax": absmax_ranges, "mse": clipped_ranges, "pooled": pooled_ranges}
GRANULARITIES = ("tensor", "channel")
CLIPS = tuple(_SEARCH)


_OBSERVED = (
    MatmulOp,
    AddOp,
    ResidualOp,
    ActivationOp,
    NormOperation,
    GateOp,
    ColumnsOp,
    AttentionOp,
)

NEGLIGIBLE = 2.0**-8
"""Shares below it say nothing of the scores' range: exponentials have seven bits."""


@dataclass
class _Ranges(Interpreter.Listener):
    """The range of each value that quantisation needs a scale for."""

    per_feature: bool
    clip: str
    sequences: list[int]
    exponents: str
    reach: int
    reaches: dict[SSAValue, int] = field(default_factory=dict[SSAValue, int])
    scores: dict[AttentionOp, float] = field(default_factory=dict[AttentionOp, float])
    found: dict[SSAValue, float | NDArray[np.float64]] = field(
        default_factory=dict[SSAValue, float | NDArray[np.float64]]
    )

    def observe(self, value: SSAValue, seen: NDArray[Any]) -> None:
        """State the range of a value from what it was on all samples [T, K]."""
        if not np.isfinite(seen).all():
            raise ValueError("calibration samples: a sum is beyond float32")
        own = self.clip == "pooled" and not _is_result(value)
        ranges = _SEARCH["absmax" if own else self.clip](seen, self.per_feature)
        ranges = np.minimum(ranges, SATURATION.get(_function_of(value), np.inf))
        self.found[value] = ranges if self.per_feature else float(ranges[0])

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        if isinstance(op, AttentionOp):
            for q, k in zip(*(split_sequences(x, self.sequences) for x in args[:2]), strict=True):
                scores = attention_scores(op, q, k)
                counted = np.where(softmax(scores) > NEGLIGIBLE, np.abs(scores), 0)
                self.scores[op] = max(float(counted.max(initial=0)), self.scores.get(op, 0.0))

    def did_interpret_op(self, op: Operation, results: PythonValues) -> None:
        if not isinstance(op, _OBSERVED):
            return
        value = op.results[0]
        followed = isinstance(op, MatmulOp | AddOp) and isinstance(
            value.get_user_of_unique_use(), AddOp | ResidualOp
        )
        if isinstance(value.type, TensorType) and not followed and not _is_stated(value):
            with about(op):
                self.observe(value, results[0])
                if self._shares(op, value, results[0]):
                    self.reaches[value] = self.reach

    def _shares(self, op: Operation, value: SSAValue, seen: NDArray[Any]) -> bool:
        """Whether the rows of an operation's results are to share exponents."""
        reader = _shared_by(op)
        if reader is None or not self.reach or self.exponents == "off":
            return False
        assert isinstance(reader.weights.owner, ConstantOp)
        ranges = np.broadcast_to(np.asarray(self.found[value], np.float64), seen.shape[1])
        weights = reader.weights.owner.array()
        return self.exponents == "on" or exponents_pay(seen, weights, ranges, self.reach)


def calibrate(
    module: ModuleOp,
    samples: Samples,
    granularity: str = "channel",
    clip: str = "absmax",
    exponents: str = EXPONENTS[0],
    reach: int = 0,
) -> None:
    """Run the float module on `samples` [T, K] and put `spaq.calibrated` after every value
    that will need a scale: the input or its columns, each complete sum, each activation, what is
    normalised or gated. Sums for a function that saturates are stated up to where it does.

    Values that `spaq.quantize` reads have their levels already, and stay as they are.

    Of a function with attention, samples are a sequence of tokens, or several of them.

    `granularity`, `clip`, `exponents` and `reach` are those of `SpaqCalibratePass`.

    Raises:
        ValueError: samples that are not finite, empty, or of another shape; or an unknown
            granularity, clip or choice of exponents.
    """
    if not 0 <= reach <= MAX_REACH:
        raise ValueError(f"reach must be 0..{MAX_REACH}, not {reach}")
    for what, choice, known in (
        ("granularity", granularity, GRANULARITIES),
        ("clip", clip, CLIPS),
        ("exponents", exponents, EXPONENTS),
    ):
        if choice not in known:
            raise ValueError(f"unknown {what} '{choice}' (known: {', '.join(known)})")
    try:
        samples, sequences = rows_of(samples)
    except ValueError as error:
        raise ValueError(f"calibration {error}") from None
    with np.errstate(over="ignore"):
        samples = samples.astype(np.float32)
    bad = np.argwhere(~np.isfinite(samples))
    if len(bad):
        row, feature = bad[0]
        raise ValueError(
            f"calibration samples contain NaN or infinity, first in row {row}, feature {feature}"
        )
    ranges = _Ranges(granularity == "channel", clip, sequences, exponents, reach)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            run(module, samples, listeners=(ranges,), sequences=sequences)
        (argument,) = only_function(module).args
    except InterpretationError as error:
        raise OperationError(function_of(module), f"calibration samples: {error}") from None
    if not all(isinstance(use.operation, ColumnsOp | QuantizeOp) for use in argument.uses):
        ranges.observe(argument, samples)
    for op, most in ranges.scores.items():
        op.scores = FloatAttr(most or 1.0, f64)
    for value, found in ranges.found.items():
        if not isa(value.type, TensorType) or value.type.element_type != Float32Type():
            continue
        statement = CalibratedOp(value, found, ranges.reaches.get(value))
        statement.result.name_hint = value.name_hint
        point = (
            InsertPoint.after(value.owner)
            if isinstance(value.owner, Operation)
            else InsertPoint.at_start(value.owner)
        )
        value.replace_all_uses_with(statement.result)
        statement.operands[0] = value
        Rewriter.insert_op(statement, point)


@dataclass(frozen=True)
class SpaqCalibratePass(ModulePass):
    """Run the module's float function on samples, and state the ranges as `spaq.calibrated`.

    - `samples`: a `.npy` file with float activations [T, K].
    - `granularity`: `channel`, a range for each feature, or `tensor`, one for all.
    - `clip`: `absmax`, the largest magnitude; `mse`, the range at which int8 has the least squared
      error; or `pooled`, which is `absmax`, but for sums that are the function's results at least
      the reach with the least error of all channels together, each over its deviation.
    - `reach`: the `row_exponents` of the target, bits by which the int8 of a token may be finer
      than others'. 0 means none.
    - `exponents`: whether rows share such exponents where they can, those of gates that a product
      alone reads: `auto`, if that leaves half of the noise, `on` or `off`.
    """

    name = "spaq-calibrate"

    samples: str
    granularity: str = "channel"
    clip: str = "absmax"
    reach: int = 0
    exponents: str = EXPONENTS[0]

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        with failing(self.name):
            samples = load_samples(self.samples)
            calibrate(op, samples, self.granularity, self.clip, self.exponents, self.reach)
