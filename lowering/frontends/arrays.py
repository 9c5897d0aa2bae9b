# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""NumPy arrays and SciPy sparse matrices → a float layer in `spaq`."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import FunctionType, ModuleOp, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from daqkf.dialects.dense import from_array
from daqkf.dialects.memory import require_memory
from daqkf.dialects.spaq import ActivationOp, AddOp, ConstantOp, MatmulOp
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.functions import FUNCTIONS

_DENSE = 12
"""Bytes that the import of a weight takes: of float32, of a constant, and to check them."""

_COMPILED = 64
"""Bytes that the whole compilation of a large one takes; 50 to 58 were measured."""

_LARGE = 1 << 24
"""From so many entries on, zeros counted, a sparse matrix loses empty rows and columns."""


def as_matrix(weights: Any) -> tuple[NDArray[np.float32], bool]:
    """Dense float32 [K, N] of an array or a SciPy sparse matrix, and whether it held integers.

    Raises:
        ValueError: not a finite real matrix with K and N above 0, or a sparse one that takes
            more memory than may be used when it is dense, as layers are.
    """
    if hasattr(weights, "toarray"):
        size = math.prod(weights.shape) * (weights.dtype.itemsize + _DENSE)
        require_memory(size, f"a dense matrix of {_extents(weights.shape)}")
        weights = weights.toarray()
    array = np.asarray(weights)
    return finite("weights", array, 2), array.dtype.kind in "iu"


def _extents(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


@dataclass(frozen=True)
class Compact:
    """A matrix [K, N] without the rows and columns that have no entries, where that pays."""

    matrix: NDArray[np.float32]
    """What is left, at least one row and column; one empty column stands for all of them."""
    features: int
    """K."""
    rows: NDArray[np.int64] | None
    """The rows that are left; None for all."""
    columns: NDArray[np.int64] | None
    """Which column of what is left each of the N columns is; None if all are left."""


def compacted(weights: Any) -> Compact:
    """An array or a SciPy sparse matrix without empty rows and columns.

    Only a large sparse matrix, of which at most half is left, loses any: it may be far too large to
    be dense. What is left becomes dense, because everything that follows (pruning, calibration,
    levels, schedules) computes on dense arrays.

    Raises:
        ValueError: as `as_matrix`, about what is left.
    """
    shape = getattr(weights, "shape", ())
    if not hasattr(weights, "toarray") or len(shape) != 2 or math.prod(shape) < _LARGE:
        matrix, _ = as_matrix(weights)
        return Compact(matrix, len(matrix), None, None)
    entries = weights.tocoo()
    there = entries.data != 0
    row, column = (index[there].astype(np.int64) for index in (entries.row, entries.col))
    rows = np.unique(row) if len(row) else np.zeros(1, np.int64)
    columns = np.unique(column)
    left = len(rows), len(columns) + (len(columns) < shape[1])
    if pays := 2 * math.prod(left) <= math.prod(shape):
        what = f", which is what is left of {_extents(shape)} without empty rows and columns,"
    else:
        left, what = shape, ""
    size = math.prod(left) * _COMPILED
    require_memory(size, f"compiling a dense matrix of {_extents(left)}{what}")
    if not pays:
        matrix, _ = as_matrix(weights)
        return Compact(matrix, len(matrix), None, None)
    values = entries.data[there]
    matrix = np.zeros(left, values.dtype)
    np.add.at(matrix, (np.searchsorted(rows, row), np.searchsorted(columns, column)), values)
    places = np.full(shape[1], len(columns))
    places[columns] = np.arange(len(columns))
    return Compact(finite("weights", matrix, 2), shape[0], rows, places)


def finite(name: str, values: Any, rank: int) -> NDArray[np.float32]:
    """Dense float32 of 1 or 2 dimensions, by its name in messages.

    Raises:
        ValueError: not finite real numbers in as many dimensions, none of extent 0.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be real numbers, not {array.dtype}")
    if array.ndim != rank:
        expected = "[K, N]" if rank == 2 else "[N]"
        raise ValueError(f"{name} must have the shape {expected}, not {list(array.shape)}")
    if not array.size:
        raise ValueError(f"{name} must not be empty, but have the shape {list(array.shape)}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        place = ", ".join(str(index) for index in bad[0])
        raise ValueError(
            f"{name}[{place}] is {array[tuple(bad[0])]}; all must be finite in float32"
        )
    return array


def import_layer(
    weights: Any, bias: Any = None, activation: str | None = None, name: str = "layer"
) -> ModuleOp:
    """The module of `act(x·W + b)` over f32, [T, K] → [T, N].

    Raises:
        ValueError: values that are not finite, shapes that do not fit, or an unknown
            activation (known: the keys of `daqkf.hw_targets.functions.FUNCTIONS`).
    """
    matrix, _ = as_matrix(weights)
    features, channels = matrix.shape
    if activation is not None and activation not in FUNCTIONS:
        raise ValueError(f"unknown activation '{activation}' (known: {', '.join(FUNCTIONS)})")

    block = Block(arg_types=[activations(features, f32)])
    block.args[0].name_hint = "x"
    constant = ConstantOp(from_array(matrix, f32))
    constant.result.name_hint = "weights"
    result = MatmulOp(block.args[0], constant.result, activations(channels, f32))
    block.add_ops([constant, result])
    if bias is not None:
        vector = finite("bias", bias, 1)
        if len(vector) != channels:
            raise ValueError(f"bias has {len(vector)} entries for {channels} output channels")
        constant = ConstantOp(from_array(vector, f32))
        constant.result.name_hint = "bias"
        result = AddOp(result.result, constant.result)
        block.add_ops([constant, result])
    if activation is not None:
        result = ActivationOp(activation, result.result)
        block.add_op(result)
    block.add_op(ReturnOp(result.result))
    kind = FunctionType.from_lists(list(block.arg_types), [result.result.type])
    return ModuleOp([FuncOp(name, kind, Region(block))])
