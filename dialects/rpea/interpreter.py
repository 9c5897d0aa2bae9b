# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `rpea` operations compute: the golden model, word by word as the array plays them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.interpreter import Interpreter, InterpreterFunctions, impl, register_impls

from daqkf.dialects.dense import to_array
from daqkf.dialects.rpea.families import FAMILIES
from daqkf.dialects.rpea.ops import ChainOp, Playable, ProgramOp, RunOp
from daqkf.dialects.spaq import numerics

Values = tuple[Any, ...]
Device = Callable[[Playable, NDArray[np.int8]], NDArray[np.int8]]
"""Plays a program over int8 [T, K] → int8 [T, N]."""


def play(program: ProgramOp, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """Run a program over int8 activations [T, K] → int8 [T, N], as the lanes would.

    Every operation of the datapath appears: what the PE's family does, bias with its
    correction, requantisation and table.
    """
    config = program.target().config.data
    # Features along the first axis, like the activation memory; its last row stays zero.
    memory = np.zeros((config.activation_depth, len(x)), np.int64)
    memory[: x.shape[1]] = x.T

    sums = np.empty((program.channels, len(x)), np.int64)
    outputs = iter(to_array(program.outputs))
    for pe, words in enumerate(program.streams()):
        for total in FAMILIES[config.family(pe)].sums(words, memory, config):
            sums[next(outputs)] = total

    # The bias brings sums that are right modulo 2^n into range.
    sums = numerics.wrap(sums + to_array(program.bias)[:, np.newaxis], config.sum_width)
    levels = numerics.requantize(sums.T, to_array(program.multiplier), to_array(program.shift))
    return numerics.look_up(to_array(program.table), levels)


@register_impls
class RpeaFunctions(InterpreterFunctions):
    """Implementations of the `rpea` operations.

    `device` stands in for the golden model where a program runs: an array, say.
    """

    def __init__(self, device: Device | None = None):
        super().__init__()
        self._device = device

    @impl(RunOp)
    def run(self, interpreter: Interpreter, op: RunOp, args: Values) -> Values:
        (x,), program = args, op.target()
        if self._device is not None:
            return (self._device(program, x),)
        if isinstance(program, ProgramOp):
            return (play(program, x),)
        if isinstance(program, ChainOp):
            for kernel in program.kernels():
                x = play(kernel, x)
            return (x,)
        results = tuple(play(variant, x) for variant in program.variants())
        return (program.decision.data.select(x, results),)
