# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`spaq-calibrate`: observe the ranges of a float layer's activations."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import Float32Type, ModuleOp, TensorType
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.utils.exceptions import InterpretationError, PassFailedException

from daqkf.dialects.interpreting import only_function, run
from daqkf.dialects.spaq import ActivationOp, AddOp, CalibratedOp, MatmulOp
from daqkf.dialects.spaq.functions import SATURATION


def _function_of(value: SSAValue) -> str:
    """The activation function that alone reads the value, if one does."""
    user = value.get_user_of_unique_use()
    return user.function.data if isinstance(user, ActivationOp) else ""


@dataclass
class _Ranges(Interpreter.Listener):
    """The largest |x| seen of each value that quantisation needs a scale for."""

    absmax: dict[SSAValue, float] = field(default_factory=dict[SSAValue, float])

    def did_interpret_op(self, op: Operation, results: PythonValues) -> None:
        if not isinstance(op, MatmulOp | AddOp | ActivationOp):
            return
        value = op.results[0]
        followed = isinstance(value.get_user_of_unique_use(), AddOp)
        if isinstance(value.type, TensorType) and not followed:
            limit = SATURATION.get(_function_of(value), np.inf)
            self.absmax[value] = min(float(np.abs(results[0]).max()), limit)


def calibrate(module: ModuleOp, samples: NDArray) -> None:
    """Run the float module on `samples` [T, K] and put `spaq.calibrated` after every value
    that will need a scale: the input, each complete sum, each activation. Sums for a function
    that saturates are stated up to where it does.

    Raises:
        ValueError: samples that are not finite, empty, or of another shape.
    """
    samples = np.asarray(samples)
    if samples.ndim != 2 or not samples.size or not np.issubdtype(samples.dtype, np.number):
        raise ValueError(f"calibration samples must be numbers [T, K], not {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("calibration samples contain NaN or infinity")
    samples = samples.astype(np.float32)
    ranges = _Ranges()
    try:
        run(module, samples, listeners=(ranges,))
        (argument,) = only_function(module).args
    except InterpretationError as error:
        raise ValueError(f"calibration samples: {error}") from None
    for value in [*ranges.absmax, argument]:
        if not isinstance(value.type, TensorType) or value.type.element_type != Float32Type():
            continue
        absmax = ranges.absmax.get(value, float(np.abs(samples).max()))
        # A value that is always zero has no scale of its own; any will do.
        statement = CalibratedOp(value, absmax or 1.0)
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
    """

    name = "spaq-calibrate"

    samples: str

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        try:
            calibrate(op, np.load(Path(self.samples), allow_pickle=False))
        except (OSError, ValueError) as error:
            raise PassFailedException(f"{self.name}: {error}") from None
