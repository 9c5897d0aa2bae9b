# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Which activations lose more than rounding when they become int8."""

import numpy as np
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Operation

from daqkf.dialects.spaq import QuantizeOp
from daqkf.hw_targets import numerics

_LOST = 0.75
"""Steps that a value differs by from its int8 if it saturates; rounding is half a step at most."""


class Saturated(Interpreter.Listener):
    """Counts by kernel how many activations lose more than rounding when they become int8.

    Values at the ends of int8 need not: a quantised file's zeros may be there, and features of
    large range have extra columns for what exceeds them.
    """

    def __init__(self) -> None:
        self.counts: dict[FuncOp, tuple[int, int]] = {}

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        """Count what a kernel is about to quantise."""
        if isinstance(op, QuantizeOp) and isinstance(kernel := op.parent_op(), FuncOp):
            lost, size = self.counts.get(kernel, (0, 0))
            (x,), scales, columns = args, op.scales(), op.columns()
            rounded = numerics.dequantize(numerics.quantize(x, scales, columns), scales, columns)
            beyond = np.abs(x - rounded) > _LOST * np.asarray(scales)
            self.counts[kernel] = lost + int(np.count_nonzero(beyond)), size + x.size
