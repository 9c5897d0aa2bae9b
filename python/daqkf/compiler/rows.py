# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ONNX models of a batch of one that take many rows at once, where rows do not meet."""

from collections.abc import Callable

import numpy as np
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.utils.exceptions import DiagnosticException, InterpretationError

from daqkf.compiler.calibration import drawn_inputs
from daqkf.dialects.errors import DaqkfError
from daqkf.dialects.interpreting import entry
from daqkf.dialects.nn import OperatorOp
from daqkf.passes.nn_product import Inputs, freed_inputs
from daqkf.passes.quantize.accuracy import is_numbers
from daqkf.passes.quantize.network_statistics import outputs_of

_SIZES = (1.0, 8.0)
"""What drawn inputs are multiplied by: saturation may hide at one size that rows meet."""

_TOLERANCE = 1e-4
"""Of the largest output: sums over more rows at once may be added in another order."""

_CONTROL = frozenset(("If", "Loop", "Scan"))


def has_batch_of_one(network: ModuleOp) -> bool:
    """Whether an input of a network begins with an extent of 1 that is fixed."""
    shapes = [
        argument.type.get_shape()
        for argument in entry(network).body.block.args
        if isinstance(argument.type, TensorType)
    ]
    return any(len(shape) > 1 and shape[0] == 1 for shape in shapes)


def with_free_rows(network: ModuleOp, load: Callable[[], ModuleOp]) -> ModuleOp:
    """A network of a batch of one, for any number of rows if that is the same.

    It is tried out on drawn rows of two sizes: each row must have the outputs that it has by itself
    in the network as it is. What chooses by its inputs what it runs is left as it is, because a
    few rows do not show it.

    Args:
        network: as its file has it.
        load: reads it again with free extents; see `import_onnx`.
    """
    if not has_batch_of_one(network) or _chooses(network):
        return network
    try:
        free = load()
        apart = _same_apart(network, free)
    except (DaqkfError, DiagnosticException, InterpretationError, ValueError):
        return network
    return free if apart else network


def _chooses(network: ModuleOp) -> bool:
    found = (op for op in network.walk() if isinstance(op, OperatorOp))
    return any(op.operator.data in _CONTROL for op in found)


def _same_apart(network: ModuleOp, free: ModuleOp) -> bool:
    """Whether two rows together have the outputs that each has alone in the network as it is."""
    names = freed_inputs(entry(free))
    for seed, size in enumerate(_SIZES):
        rows = [_drawn(entry(network), 2 * seed + row, size) for row in range(2)]
        if not _differ(rows, names):
            return False
        both = {
            name: np.concatenate([row[name] for row in rows]) if name in names else value
            for name, value in rows[0].items()
        }
        rows = [
            {name: part[name] if name in names else both[name] for name in part} for part in rows
        ]
        found = outputs_of(free, both)
        for number, row in enumerate(rows):
            for name, alone in outputs_of(network, row).items():
                whole = found[name]
                if not is_numbers(whole) or whole.shape != (2, *alone.shape[1:]) or len(alone) != 1:
                    return False
                reach = np.abs(alone).max(initial=0.0)
                if not np.abs(whole[number] - alone[0]).max(initial=0.0) <= _TOLERANCE * reach:
                    return False
    return True


def _drawn(function: FuncOp, seed: int, size: float) -> Inputs:
    inputs = drawn_inputs(function, seed)
    return {
        name: (value * size).astype(value.dtype) if value.dtype.kind == "f" else value
        for name, value in inputs.items()
    }


def _differ(rows: list[Inputs], names: list[str]) -> bool:
    """Whether rows differ in all these inputs, without which nothing could be told of them."""
    return all(not np.array_equal(rows[0][name], rows[1][name]) for name in names)
