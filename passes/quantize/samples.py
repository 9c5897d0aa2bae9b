# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Running a float module on samples, to see what its products read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Block, Operation
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.interpreting import run
from daqkf.dialects.spaq import CalibratedOp, MatmulOp
from daqkf.dialects.spaq.checks import features
from daqkf.passes.array_files import load_archive, load_array
from daqkf.passes.diagnostics import OperationError, function_of
from daqkf.passes.quantize.input_statistics import InputStatistics


@dataclass
class _Inputs(Interpreter.Listener):
    """The statistics of what each product reads."""

    found: dict[Operation, InputStatistics] = field(
        default_factory=dict[Operation, InputStatistics]
    )

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        if isinstance(op, MatmulOp):
            self.found[op] = InputStatistics.of(args[0])


_PER_FEATURE = 2
"""Tokens of calibration data for each feature from which on second-order methods are the better."""

Samples = NDArray[Any] | Sequence[NDArray[Any]]
"""Activations [T, K], or of a function with attention several sequences of them."""


def rows_of(samples: Samples) -> tuple[NDArray[Any], list[int]]:
    """All of them [T, K], and how many tokens each sequence has; none, if nothing says.

    Raises:
        ValueError: something else than numbers [T, K].
    """
    parts = [samples] if isinstance(samples, np.ndarray) else list(samples)
    for part in parts or [np.empty(0)]:
        if part.ndim != 2 or not part.size or part.dtype.kind not in "fiu":
            raise ValueError(f"samples must be numbers [T, K], not {part.dtype} {part.shape}")
    lengths = [] if isinstance(samples, np.ndarray) else [len(part) for part in parts]
    return np.concatenate(parts), lengths


def are_enough(tokens: int, features: int) -> bool:
    """Whether samples say enough of what features have in common for second-order methods."""
    return tokens >= _PER_FEATURE * features


def load_samples(path: str) -> NDArray[Any]:
    """Float activations [T, K] from a `.npy` file.

    Raises:
        OSError, ValueError: the file cannot be read as such.
    """
    return load_array(path, "samples in .npy format")


def load_inputs(path: str) -> dict[str, NDArray[Any]]:
    """A network's inputs by name, from a `.npz` file.

    Raises:
        OSError, ValueError: the file cannot be read as such.
    """
    return load_archive(path, "arrays by name in .npz format")


def input_statistics(module: ModuleOp, samples: Samples) -> dict[Operation, InputStatistics]:
    """Run the module's one function on `samples` [T, K]: what each of its products reads.

    Raises:
        ValueError: samples that are not finite numbers, or of another shape.
    """
    rows, lengths = rows_of(samples)
    InputStatistics.check(rows)
    rows = rows.astype(np.float32)
    products = [op for op in module.walk() if isinstance(op, MatmulOp)]
    fitting = all(features(op.input) == rows.shape[1] for op in products)
    if fitting and all(_reads_argument(op) for op in products):
        # There is nothing to run; what they share is worked out once.
        return dict.fromkeys(products, InputStatistics.of(rows))
    listener = _Inputs()
    try:
        run(module, rows, listeners=(listener,), sequences=lengths)
    except InterpretationError as error:
        raise OperationError(function_of(module), f"samples: {error}") from None
    return listener.found


def _reads_argument(op: MatmulOp) -> bool:
    """Whether a product reads what its function is called with, as it is."""
    value = op.input
    while isinstance(value.owner, CalibratedOp):
        value = value.owner.input
    return isinstance(value.owner, Block)
