# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a network's compilation needs to know of its float network, from one run of it.

The run keeps what each kernel reads, and goes back through the network to find how much an error
in each output of each product matters to what is measured.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.traits import SymbolTable

from daqkf.dialects.interpreting import Lifetimes, call, entry, interpreter_of
from daqkf.dialects.nn import LinearOp
from daqkf.dialects.nn.interpreter import NnFunctions
from daqkf.dialects.spaq import MatmulOp
from daqkf.passes.nn_product import in_order, output_names
from daqkf.passes.progress import Progress, Step, silent
from daqkf.passes.quantize.accuracy import (
    AllOutputs,
    DifferentiableMeasure,
    Loss,
    Measure,
    is_numbers,
)
from daqkf.passes.quantize.gradients import NoGradientError
from daqkf.passes.quantize.tape import Tape

Array = NDArray[Any]
Batch = Mapping[str, Array]
"""A network's inputs by name."""

_ELEMENTS = 1024
"""Tokens or rows of a batch, about: what is kept of a run grows with them."""

_STEP = 1e-3
"""Of finite differences, as a share of the outputs' root mean square."""


def batches(
    module: ModuleOp, inputs: Batch | Sequence[Batch], elements: int = _ELEMENTS
) -> list[dict[str, Array]]:
    """A network's inputs as batches of about so many tokens, where samples do not meet.

    Args:
        module: the network.
        inputs: by name, or batches of them; samples are along the first axis of every input.
        elements: tokens or rows of a batch; a sample of more is a batch of its own.

    Raises:
        ValueError, InterpretationError: inputs that do not fit.
    """
    given = [inputs] if isinstance(inputs, Mapping) else inputs
    whole = [{name: _array(value) for name, value in batch.items()} for batch in given]
    found: list[dict[str, Array]] = []
    for arrays, apart in zip(whole, independent(module, whole), strict=True):
        found += _cut(arrays, elements) if apart else [arrays]
    return found


def _array(value: Any) -> Any:
    """An input as an array; what is no tensor stays as it is."""
    return (
        cast(Any, value) if value is None or isinstance(value, list | dict) else np.asarray(value)
    )


def elements_of(batch: Batch) -> int:
    """How many tokens or rows a batch has, by its first input."""
    first = _array(next(iter(batch.values()), None))
    if not is_numbers(first) or not first.ndim:
        return 1
    return prod(first.shape if first.dtype.kind in "iub" else first.shape[:-1])


def _cut(arrays: dict[str, Array], elements: int) -> list[dict[str, Array]]:
    first = next(iter(arrays.values()))
    size = max(1, elements * len(first) // max(elements_of(arrays), 1))
    return [
        {name: array[low : low + size] for name, array in arrays.items()}
        for low in range(0, len(first), size)
    ]


def independent(module: ModuleOp, inputs: Sequence[Batch]) -> list[bool]:
    """Of each batch whether its samples are along the first axis of all inputs, and do not meet.

    Whether one's outputs depend on another's is a matter of the network: it is tried out on the
    first three samples of the first batch that has two.

    Raises:
        ValueError, InterpretationError: inputs that do not fit.
    """
    function = entry(module)
    kinds = [argument.type for argument in function.body.block.args]
    open_ended = all(
        isinstance(kind, TensorType) and kind.get_shape()[:1] == (DYNAMIC_INDEX,) for kind in kinds
    )
    apart: bool | None = None
    found: list[bool] = []
    for batch in inputs:
        in_order(function, batch)
        arrays = {name: _array(value) for name, value in batch.items()}
        counts = {len(array) if np.ndim(array) else 0 for array in arrays.values() if open_ended}
        several = open_ended and len(counts) == 1 and counts.pop() > 1
        if several and apart is None:
            apart = _apart(module, arrays)
        found.append(several and bool(apart))
    return found


def _apart(module: ModuleOp, arrays: dict[str, Array]) -> bool:
    """Whether the first three samples, two at least, have the outputs that each has by itself."""
    three = {name: array[:3] for name, array in arrays.items()}
    count = len(next(iter(three.values())))
    whole = outputs_of(module, three)
    for sample in range(count):
        alone = outputs_of(
            module, {name: array[sample : sample + 1] for name, array in three.items()}
        )
        for name, value in whole.items():
            if not is_numbers(value):
                return False
            if value.ndim == 0 or len(value) != count or alone[name].shape[1:] != value.shape[1:]:
                return False
            if not np.allclose(value[sample], alone[name][0], rtol=1e-3, atol=1e-4):
                return False
    return True


def outputs_of(module: ModuleOp, inputs: Batch) -> dict[str, Array]:
    """The outputs of a network by name."""
    function = entry(module)
    found = call(module, function, in_order(function, inputs), lifetimes=Lifetimes())
    return dict(zip(output_names(function), found, strict=True))


def vectors_of(module: ModuleOp, inputs: Sequence[Batch], measure: Measure) -> list[Array]:
    """What a measure makes of a network's outputs for each batch."""
    return [measure(outputs_of(module, batch), batch) for batch in inputs]


@dataclass
class Statistics:
    """What one run of the float network says of its kernels."""

    sensitivity: dict[MatmulOp, NDArray[np.float64]]
    """Of each product what an error of variance 1 in each output [N] of all tokens loses."""
    curvature: dict[MatmulOp, NDArray[np.float64]] = field(
        default_factory=dict[MatmulOp, NDArray[np.float64]]
    )
    """Of each product the same of pairs of outputs [N, N], up to a factor; if asked for."""
    rows: dict[SSAValue, list[Array]] = field(default_factory=dict[SSAValue, list[Array]])
    """Of each value that kernels read, what was kept of each batch [T, K]."""
    places: dict[SSAValue, list[Array]] = field(default_factory=dict[SSAValue, list[Array]])
    """Which rows that was."""
    weights: dict[SSAValue, list[Array]] = field(default_factory=dict[SSAValue, list[Array]])
    """How much each of those rows matters [T]."""


def observe(
    module: ModuleOp,
    inputs: Sequence[Batch],
    measure: Measure,
    loss: Loss,
    *,
    rows: int = 0,
    curvature: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> Statistics:
    """Run the float network once over all batches, forwards and backwards.

    Args:
        module: the network, its kernels over f32.
        inputs: batches of its inputs by name.
        measure: what counts of its outputs; see `daqkf.passes.quantize.accuracy`.
        loss: of what is measured.
        rows: how many rows of what kernels read are kept, about. Those that nothing that is
            measured depends on, padding say, are left out.
        curvature: whether that of pairs of outputs is found where rows are kept; it takes
            [N, N] float32 of each product.
        seed: of the random directions.
        progress: told of each batch.

    Raises:
        InterpretationError: inputs that do not fit.
    """
    rng = np.random.default_rng(seed)
    found = Statistics({})
    samples = 0
    every = sum(_length(batch) for batch in inputs)
    seeds = measure if isinstance(measure, DifferentiableMeasure) else AllOutputs()
    for number, batch in enumerate(inputs):
        progress(
            Step("run the float network forwards and back:", number + 1, len(inputs), "batches")
        )
        share = max(1, rows * _length(batch) // every) if rows else 0
        samples += _see(module, batch, seeds, loss, rng, found, share, curvature)
    for op in found.sensitivity:
        found.sensitivity[op] *= loss.factor / max(samples, 1)
    return found


def _see(
    module: ModuleOp,
    batch: Batch,
    measure: DifferentiableMeasure,
    loss: Loss,
    rng: np.random.Generator,
    found: Statistics,
    rows: int,
    curvature: bool,
) -> int:
    """Add what a batch says, and so many rows of what kernels read; returns its number of samples.

    All values of the run are let go of before the next one begins.
    """
    function = entry(module)
    names = output_names(function)
    tape = Tape.record(module, in_order(function, batch))
    outputs = dict(zip(names, tape.outputs, strict=True))
    vectors = measure(outputs, batch)
    gradients = measure.vjp(outputs, batch, loss.direction(vectors, rng))
    seen = _Squares(tape, pairs=curvature and rows > 0)
    try:
        tape.backward([gradients.get(name) for name in names], seen.visit)
        squares = seen.squares
        for op, moment in seen.moments.items():
            found.curvature[op] = found.curvature.get(op, 0.0) + moment
    except NoGradientError:
        squares = _differences(module, batch, tape, measure, loss, rng)
    for op, square in squares.items():
        found.sensitivity[op] = found.sensitivity.get(op, 0.0) + square.astype(np.float64)
    known: set[SSAValue] = set()
    for kernel in _calls(tape) if rows else ():
        if (value := kernel.op.input) in known:
            continue
        known.add(value)
        x = kernel.rows
        weight = seen.matters.get(value, np.ones(len(x), np.float32))
        place = np.flatnonzero(weight)
        if len(place) > rows:
            place = place[np.linspace(0, len(place) - 1, rows).astype(np.int64)]
        found.places.setdefault(value, []).append(place)
        found.rows.setdefault(value, []).append(x[place])
        found.weights.setdefault(value, []).append(weight[place])
    return len(vectors)


class _Squares:
    """Sums of squared gradients, of each product's outputs and of the rows that they are of."""

    def __init__(self, tape: Tape, *, pairs: bool):
        self.pairs = pairs
        self.squares: dict[MatmulOp, NDArray[np.float64]] = {}
        self.moments: dict[MatmulOp, NDArray[np.float64]] = {}
        self.matters: dict[SSAValue, Array] = {}
        self._reads = {
            inner: op.input for op, kernel in tape.calls.items() for inner in kernel.function.walk()
        }

    def visit(self, op: MatmulOp, x: Array, gradient: Array) -> None:
        """Add the gradient [T, N] of a product of x [T, K]."""
        squares = np.einsum("tn,tn->n", gradient, gradient)
        self.squares[op] = self.squares.get(op, 0.0) + squares
        if self.pairs:
            self.moments[op] = self.moments.get(op, 0.0) + gradient.T @ gradient
        value = self._reads[op]
        rows = np.einsum("tn,tn->t", gradient, gradient)
        self.matters[value] = self.matters.get(value, 0.0) + rows


def _length(batch: Batch) -> int:
    first = next(iter(batch.values()), np.empty(1))
    return len(first) if is_numbers(first) and first.ndim else 1


@dataclass(frozen=True)
class _Called:
    op: LinearOp
    function: FuncOp
    rows: Array


def _calls(tape: Tape) -> Iterator[_Called]:
    for op, kernel in tape.calls.items():
        yield _Called(op, kernel.function, kernel.rows)


def _differences(
    module: ModuleOp,
    batch: Batch,
    tape: Tape,
    measure: DifferentiableMeasure,
    loss: Loss,
    rng: np.random.Generator,
) -> dict[MatmulOp, NDArray[np.float64]]:
    """Squared gradients of kernels' results by finite differences, where an operation has none.

    A run for each kernel, with random errors in all its results at once, says how much they matter
    together; all channels get the same share.
    """
    function = entry(module)
    names = output_names(function)
    before = measure(dict(zip(names, tape.outputs, strict=True)), batch)
    found: dict[MatmulOp, NDArray[np.float64]] = {}
    for called in _calls(tape):
        ((product, channels),) = [
            (op, int(op.result.type.get_shape()[-1]))  # pyright: ignore
            for op in called.function.walk()
            if isinstance(op, MatmulOp)
        ][-1:]
        size = _STEP * float(np.sqrt(np.mean(np.square(tape.values[called.op.result])))) or _STEP

        def disturbed(
            kernel: FuncOp,
            x: Array,
            lengths: Sequence[int],
            own: FuncOp = called.function,
            size: float = size,
        ) -> Array:
            (y,) = call(module, kernel, (x,), sequences=lengths)
            noise = size * rng.standard_normal(y.shape, np.float32)
            return y + noise if kernel is own else y

        results = call(module, function, in_order(function, batch), host=NnFunctions(disturbed))
        after = measure(dict(zip(names, results, strict=True)), batch)
        lost = loss.of(after, before) * len(before) / (size**2 * loss.factor)
        found[product] = np.full(channels, max(lost, 0.0) / channels)
    return found


@dataclass(frozen=True)
class Reached:
    """A kernel that all batches are about to run."""

    call: LinearOp
    kernel: FuncOp
    runs: Sequence[Mapping[SSAValue, Array]]
    """The values of each batch that something is still to read."""
    reads: Callable[[Array], Array]
    """What kernels make of what they read."""

    def rows(self) -> list[Array]:
        """The rows [T, K] that the kernel is to read of each batch."""
        value = self.call.input
        return [self.reads(run[value]).reshape(-1, run[value].shape[-1]) for run in self.runs]


def sweep(
    module: ModuleOp,
    inputs: Sequence[Batch],
    reads: Callable[[Array], Array] = lambda rows: rows,
) -> Iterator[Reached]:
    """Run all batches together from kernel to kernel, and stop before each.

    The kernel may be changed then: so the next one reads what those before it have become. What no
    kernel reads in the end is not computed, such as the outputs of the network; other values are
    forgotten when they have been read for the last time.

    Args:
        module: the network after `nn-outline`.
        inputs: batches of its inputs by name.
        reads: what kernels make of the rows that they read.

    Raises:
        InterpretationError: inputs that do not fit.
    """
    function = entry(module)
    block = function.body.block
    last = _last_readers(block)
    dead: dict[Operation, list[SSAValue]] = {}
    for value, op in last.items():
        dead.setdefault(op, []).append(value)
    runs: list[dict[SSAValue, Array]] = [
        {
            value: array
            for value, array in zip(block.args, in_order(function, batch), strict=True)
            if value in last
        }
        for batch in inputs
    ]
    interpreter = interpreter_of(module)
    for segment in _segments(block):
        first = segment[0]
        if isinstance(first, LinearOp):
            kernel = SymbolTable.lookup_symbol(first, first.callee)
            assert isinstance(kernel, FuncOp)
            yield Reached(first, kernel, runs, reads)
        for run in runs:
            for op in segment:
                if any(value in last for value in op.results):
                    read = [run[value] for value in op.operands]
                    if isinstance(op, LinearOp):
                        read[0] = reads(read[0])
                    made = interpreter.run_op(op, tuple(read))
                    made = zip(op.results, made, strict=True)
                    run.update((value, array) for value, array in made if value in last)
                for value in dead.get(op, ()):
                    del run[value]


def _last_readers(block: Block) -> dict[SSAValue, Operation]:
    """Of each value that kernels depend on, the last operation that has to read it."""
    last: dict[SSAValue, Operation] = {}
    for op in reversed(list(block.ops)):
        read: Sequence[SSAValue] = ()
        if isinstance(op, LinearOp) or any(value in last for value in op.results):
            read = op.operands
        for value in read:
            last.setdefault(value, op)
    return last


def _segments(block: Block) -> list[list[Operation]]:
    """The operations of a block, cut before each kernel."""
    segments: list[list[Operation]] = [[]]
    for op in block.ops:
        if isinstance(op, LinearOp):
            segments.append([])
        segments[-1].append(op)
    return [segment for segment in segments if segment]
