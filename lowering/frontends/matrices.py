# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Files with one matrix, which is a network of one layer.

- `.mtx`: a Matrix Market file, weights [K, N] (Boisvert et al., "The Matrix Market Exchange
  Formats", NISTIR 5935).
- `.npy`: weights [K, N].
- `.npz`: `weights` [K, N], and optionally `bias` [N] and `activation`, the name of a function; or
  a sparse matrix as SciPy saves it.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from daqkf.lowering.frontends.layers import Layer, import_layers

_LARGEST = 2**30
"""Entries of a dense matrix: a sparse file of a few bytes may name any extents."""

_PARTS = {"weights", "bias", "activation"}


def read_mtx(path: Path) -> ModuleOp:
    """The layer `x·W` of a Matrix Market file.

    Raises:
        ValueError: it cannot be read, or is no finite real matrix.
    """
    return _layer(path, _read(path, "Matrix Market", lambda: _market(path)))


def _market(path: Path) -> Any:
    """The matrix in a file; raises a ValueError for what is none, or is complex.

    SciPy reads the header only: its `mmread` ends the process at a malformed number.
    """
    from scipy.io import mminfo
    from scipy.sparse import coo_array

    rows, columns, count, layout, field, symmetry = mminfo(path)
    if field == "complex":
        raise ValueError("complex numbers")
    if rows * columns > _LARGEST:
        raise ValueError(f"{rows} × {columns} is too large a matrix")
    sparse, pattern = layout == "coordinate", field == "pattern"
    width = (2 if pattern else 3) if sparse else 1
    # The first line says the extents, in three columns if the matrix is sparse and in two if not.
    columns_read = None if width == 3 else range(width)
    found = np.loadtxt(path, comments="%", ndmin=2, usecols=columns_read)[1:]
    whole = not sparse and symmetry == "general"
    if len(found) != (count if sparse or whole else _stored(rows, symmetry)):
        raise ValueError(f"{len(found)} entries, not as many as the header says")
    if whole:
        return found.reshape(columns, rows).T
    if sparse:
        row, column = (found[:, :2].T - 1).astype(np.int64)
        if not np.all((found[:, :2] >= 1) & (found[:, :2] <= (rows, columns))):
            raise ValueError("an index outside the matrix")
        values = np.ones(len(found)) if pattern else found[:, 2]
    else:
        column, row = np.triu_indices(rows, symmetry == "skew-symmetric")
        values = found[:, 0]
    if symmetry != "general":
        mirrored, sign = row != column, -1 if symmetry == "skew-symmetric" else 1
        row, column = np.append(row, column[mirrored]), np.append(column, row[mirrored])
        values = np.append(values, sign * values[mirrored])
    return coo_array((values, (row, column)), (rows, columns))


def _stored(extent: int, symmetry: str) -> int:
    """Entries of the lower triangle, which has no diagonal if it is skew."""
    return extent * (extent + (-1 if symmetry == "skew-symmetric" else 1)) // 2


def read_npy(path: Path) -> ModuleOp:
    """The layer `x·W` of a NumPy array.

    Raises:
        ValueError: it cannot be read, or is no finite real matrix.
    """
    return _layer(path, _read(path, "a NumPy array", lambda: _array(path)))


def read_npz(path: Path) -> ModuleOp:
    """The layer `act(x·W + b)` of NumPy's or SciPy's archive.

    Raises:
        ValueError: it cannot be read, or has not the arrays of a layer.
    """
    names, arrays = _read(path, "a NumPy archive", lambda: _archive(path))
    if {"format", "shape", "data"} <= names:
        from scipy.sparse import load_npz

        return _layer(path, _read(path, "a sparse matrix", lambda: load_npz(path)))
    if "weights" not in names:
        raise ValueError(f"{path}: has no array 'weights'")
    if unknown := names - _PARTS:
        raise ValueError(f"{path}: unknown array '{min(unknown)}'")
    activation = str(arrays["activation"]) if "activation" in names else None
    return _layer(path, arrays["weights"], arrays.get("bias"), activation)


def _array(path: Path) -> Any:
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _archive(path: Path) -> tuple[set[str], dict[str, Any]]:
    """The names of all arrays, and the arrays of a layer."""
    if not zipfile.is_zipfile(path):
        raise ValueError("no archive")
    with np.load(path, allow_pickle=False) as data:
        return set(data.files), {name: data[name] for name in _PARTS & set(data.files)}


def _read[T](path: Path, what: str, read: Callable[[], T]) -> T:
    try:
        return read()
    # The readers raise whatever a damaged file makes them stumble over.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path}: not readable as {what} ({lines[0]})") from None


def _layer(path: Path, weights: Any, bias: Any = None, activation: str | None = None) -> ModuleOp:
    if np.prod(weights.shape, dtype=np.float64) > _LARGEST:
        extents = " × ".join(str(extent) for extent in weights.shape)
        raise ValueError(f"{path}: a matrix of {extents} is too large")
    try:
        return import_layers([Layer(path.stem, weights, bias, activation)])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
