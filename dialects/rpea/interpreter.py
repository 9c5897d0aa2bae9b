# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What `rpea` operations compute: the golden model, word by word as the array runs them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.interpreter import Interpreter, InterpreterFunctions, impl, register_impls
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.dense import to_array
from daqkf.dialects.rpea.chaining import ChainOp, Kernel
from daqkf.dialects.rpea.ops import ProgramOp
from daqkf.dialects.rpea.rows import GatingOp, NormalizationOp, SoftmaxOp
from daqkf.dialects.rpea.running import Runnable, RunOp, TiledOp
from daqkf.hw_targets import numerics
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.operands import (
    AttentionKernel,
    empty_operands,
    fill_features,
    fill_tokens,
    gated,
)
from daqkf.hw_targets.results import Results

Values = tuple[Any, ...]
Device = Callable[[Runnable, NDArray[np.int8]], Results]
"""A function that runs a program over int8 [T, K] → int8 or, if they are wide, int16 [T, N]."""


def run_kernel(
    kernel: Kernel,
    x: NDArray[np.int8],
    kept: NDArray[np.int8] | None = None,
    operands: NDArray[np.int8] | None = None,
) -> Results:
    """Run a kernel over int8 activations [T, K] → int8 or wide [T, N], as the lanes would.

    Every operation of the datapath appears: what the PE's family does, or the row unit, bias with
    its correction, residual, requantisation and table. `kept` are the activations [T, R] for the
    residual; `operands` [P, depth, items] are the operand memories of a chain whose sequence x is.
    Kernels whose rows share exponents are for `run_chain`.
    """
    if isinstance(kernel, SoftmaxOp):
        keys, (queries, past) = kernel.keys.value.data, kernel.seen
        present = None if operands is None else len(x)
        if queries:
            present = numerics.visible_keys(len(x), queries, past)
        e = numerics.exponentials(x, keys, to_array(kernel.offset), to_array(kernel.table), present)
        return numerics.requantize(
            numerics.shares(e, keys), to_array(kernel.multiplier), to_array(kernel.shift)
        )
    if isinstance(kernel, ProgramOp):
        return _finished(kernel, partial_sums(kernel, x, operands).T, kept)
    return _finished(kernel, _row_sums(kernel, x))


def _row_sums(kernel: GatingOp | NormalizationOp, x: NDArray[np.int8]) -> NDArray[np.int64]:
    """What the row unit gives of activations [T, K], with the biases: [T, N]."""
    if isinstance(kernel, GatingOp):
        return numerics.gate(x, to_array(kernel.gate)) + to_array(kernel.bias)
    normal = numerics.normalize(
        x, to_array(kernel.exponent), kernel.added, rms=kernel.rms is not None
    )
    return normal + to_array(kernel.bias)


def _finished(
    kernel: ProgramOp | GatingOp | NormalizationOp,
    sums: NDArray[np.int64],
    kept: NDArray[np.int8] | None = None,
) -> Results:
    """What becomes of sums [T, N] with their biases."""
    if isinstance(kernel, ProgramOp) and kernel.residual is not None:
        assert kept is not None
        sums = numerics.add_residual(sums, kept, to_array(kernel.residual))
    sums = numerics.wrap(sums, kernel.target().config.data.sum_width)
    factors = to_array(kernel.multiplier), to_array(kernel.shift)
    if isinstance(kernel, ProgramOp) and kernel.wide is not None:
        results = numerics.requantize(sums, *factors, kind=np.int16)
        if kernel.top_k is None:
            return results
        return numerics.top_k(results, kernel.target().config.data.top_k)
    return numerics.look_up(to_array(kernel.table), numerics.requantize(sums, *factors))


def _share_exponents(
    kernel: GatingOp, x: NDArray[np.int8]
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """The results [T, N] of a gating whose rows share exponents, and these [T, 1]."""
    assert kernel.reach is not None
    factors = to_array(kernel.multiplier), to_array(kernel.shift)
    return numerics.requantize_rows(_row_sums(kernel, x), *factors, kernel.reach.value.data)


def _take_exponents(
    kernel: ProgramOp,
    x: NDArray[np.int8],
    kept: NDArray[np.int8] | None,
    exponents: NDArray[np.int8],
) -> Results:
    """The results [T, N] of a program of rows that share exponents [T, 1]."""
    assert kernel.correction is not None
    sums = lane_sums(kernel, x).T + to_array(kernel.correction)
    sums = numerics.wrap(sums, kernel.target().config.data.sum_width)
    sums = numerics.scale_rows(sums, exponents) + to_array(kernel.bias)
    return _finished(kernel, sums, kept)


def run_chain(chain: ChainOp, x: NDArray[np.int8]) -> Results:
    """The same over the kernels of a chain, which may be one of sequences: then x is one of them.

    Raises:
        ValueError: a sequence of more tokens than there is room for.
    """
    kept, kernels, operands, first = None, chain.kernels(), None, 0
    exponents = np.empty((0, 1), np.int8)
    if chain.tiles is not None:
        require_tokens(chain, len(x))
        attention = chain.attention
        assert attention is not None and attention.context.operands_from is not None
        config, first = chain.target().config.data, AttentionKernel.QUERIES
        operands = empty_operands(config)
        place = attention.context.operands_from.value.data
        keys, values = (_narrow(run_kernel(own, x)) for own in (attention.keys, attention.values))
        fill_features(operands, keys, 0)
        fill_tokens(operands, values, place, chain.tiles.value.data)
    results: Results = x
    for number, kernel in enumerate(kernels[first:], first):
        x = _narrow(results)
        kept = x if number in chain.saved else kept
        if isinstance(kernel, GatingOp) and kernel.reach is not None:
            results, exponents = _share_exponents(kernel, x)
        elif isinstance(kernel, ProgramOp) and kernel.correction is not None:
            results = _take_exponents(kernel, x, kept, exponents)
        else:
            results = run_kernel(kernel, x, kept, operands)
    return results


def _narrow(results: Results) -> NDArray[np.int8]:
    """Results that a kernel reads; only the last kernel of a chain has others."""
    return results.astype(np.int8, copy=False)


def require_tokens(chain: ChainOp, tokens: int) -> None:
    """Check that a chain of sequences has room for one of so many tokens.

    Raises:
        ValueError: it has not, or there are none.
    """
    most = chain.tokens
    if most is not None and not 0 < tokens <= most:
        raise ValueError(f"a sequence of {tokens} tokens; @{chain.sym_name.data} is for 1..{most}")


def run_tiled(tiled: TiledOp, x: NDArray[np.int8]) -> Results:
    """The same over the programs of a kernel in parts."""
    columns: list[Results] = []
    for group in tiled.groups():
        sums, low = np.zeros((group[0].channels, len(x)), np.int64), 0
        for part in group:
            high = low + part.features.value.data
            sums, low = sums + partial_sums(part, x[:, low:high]), high
        columns.append(_finished(group[-1], sums.T))
    return np.concatenate(columns, axis=1)


def partial_sums(
    program: ProgramOp, x: NDArray[np.int8], operands: NDArray[np.int8] | None = None
) -> NDArray[np.int64]:
    """The sums of a program with its bias: int8 [T, K] → int64 [N, T].

    `operands` [P, depth, items] are those of a program that has some.
    """
    sums = lane_sums(program, x, operands) + to_array(program.bias)[:, np.newaxis]
    # The bias brings sums that are right modulo 2^n into range.
    return numerics.wrap(sums, program.target().config.data.sum_width)


def lane_sums(
    program: ProgramOp, x: NDArray[np.int8], operands: NDArray[np.int8] | None = None
) -> NDArray[np.int64]:
    """The sums of a program as the lanes give them, which lack corrections: see `partial_sums`."""
    config = program.target().config.data
    # Features along the first axis, like the activation memory; its last row stays zero.
    memory = np.zeros((config.activation_depth, len(x)), np.int64)
    memory[: x.shape[1]] = x.T

    sums = np.empty((program.channels, len(x)), np.int64)
    outputs = iter(to_array(program.outputs))
    for pe, words in enumerate(program.streams()):
        if program.operands_from is not None:
            assert operands is not None
            words = gated(words, operands[pe], program.operands_from.value.data, config)
        for total in FAMILIES[config.family(pe)].golden(words, memory, config):
            sums[next(outputs)] = total
    return sums


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
        if isinstance(program, TiledOp):
            return (run_tiled(program, x),)
        if isinstance(program, ProgramOp):
            return (run_kernel(program, x),)
        if isinstance(program, ChainOp):
            try:
                return (run_chain(program, x),)
            except ValueError as error:
                raise InterpretationError(str(error)) from None
        results = tuple(_narrow(run_kernel(variant, x)) for variant in program.variants())
        return (program.decision.data.select(x, results),)
