# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A kernel's function whose programs run from as few queues as can be.

The host's operations are put off for as long as no program needs their results. A program that
reads what another one has written, or what the host has, joins the queue; one that needs more of
the host ends it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.interpreter import Interpreter
from xdsl.ir import Operation, SSAValue

from daqkf.compiler.stages import Stage
from daqkf.dialects.rpea import RunOp
from daqkf.hw_targets.config import ArrayConfig
from daqkf.lowering.image.queue_memory import QueueMemory, Rows
from daqkf.runtime.accelerators import QueueAccelerator

StageOf = Callable[[RunOp], Stage]


@dataclass
class QueuedKernel:
    """A run of a function whose programs a queue has."""

    interpreter: Interpreter
    stage_of: StageOf
    device: QueueAccelerator
    config: ArrayConfig
    lengths: Sequence[int]
    """The tokens of each sequence, in a function with attention."""
    values: dict[SSAValue, Any] = field(default_factory=dict[SSAValue, Any])
    queued: dict[SSAValue, Rows] = field(default_factory=dict[SSAValue, Rows])
    """Results that the queue is still to give."""
    waiting: list[Operation] = field(default_factory=list[Operation])
    """Operations of the host that read them, or what waits for them."""
    memory: QueueMemory | None = None

    def run(self, function: FuncOp, x: NDArray[Any]) -> NDArray[Any]:
        """The result of a function of one argument."""
        (argument,) = function.body.block.args
        self.values[argument] = x
        for op in function.body.block.ops:
            if isinstance(op, ReturnOp):
                (result,) = op.arguments
                if result not in self.values:
                    self.finish()
                return self.values[result]
            if isinstance(op, RunOp):
                self.enqueue(op)
            elif all(operand in self.values for operand in op.operands):
                self.host(op)
            else:
                self.waiting.append(op)
        raise AssertionError("a function that returns nothing")

    def host(self, op: Operation) -> None:
        """Run an operation of the host."""
        inputs = tuple(self.values[operand] for operand in op.operands)
        self.values |= zip(op.results, self.interpreter.run_op(op, inputs), strict=True)

    def enqueue(self, op: RunOp) -> None:
        """Put a program into the queue, or into the next one if this one has to end first."""
        stage, source = self.stage_of(op), op.input
        rows = self.queued.get(source)
        if source not in self.values and (rows is None or not stage.reads(rows)):
            self.finish()
            rows = None
        if self.memory is None:
            self.memory = QueueMemory(self.config, self.device.base)
        x = self.values[source] if rows is None else rows
        self.queued[op.result] = stage.enqueue(self.memory, x, self.lengths)

    def finish(self) -> None:
        """Run the queue, and then what has waited for it."""
        if self.memory is not None:
            content = self.device.play(self.memory.queue())
            for value, rows in self.queued.items():
                self.values[value] = np.ascontiguousarray(self.memory.read(rows, content))
        self.memory, waiting = None, self.waiting
        self.queued, self.waiting = {}, []
        for op in waiting:
            self.host(op)
