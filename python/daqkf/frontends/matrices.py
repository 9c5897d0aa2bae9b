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

from daqkf.errors import DaqkfError
from daqkf.lowering.import_layers import Layer, import_layers

_LARGEST = 2**30
"""Entries of a dense matrix: a sparse file of a few bytes may name any extents."""

_PARTS = {"weights", "bias", "activation"}


def read_mtx(path: Path) -> ModuleOp:
    """The layer `x·W` of a Matrix Market file.

    Raises:
        DaqkfError: it cannot be read, or is no finite real matrix.
    """
    from scipy.io import mmread

    with path.open("rb"):  # mmread does not say which file is missing
        pass
    return _layer(path, _read(path, "Matrix Market", lambda: mmread(path)))


def read_npy(path: Path) -> ModuleOp:
    """The layer `x·W` of a NumPy array.

    Raises:
        DaqkfError: it cannot be read, or is no finite real matrix.
    """
    return _layer(path, _read(path, "a NumPy array", lambda: _array(path)))


def read_npz(path: Path) -> ModuleOp:
    """The layer `act(x·W + b)` of NumPy's or SciPy's archive.

    Raises:
        DaqkfError: it cannot be read, or has not the arrays of a layer.
    """
    names, arrays = _read(path, "a NumPy archive", lambda: _archive(path))
    if {"format", "shape", "data"} <= names:
        from scipy.sparse import load_npz

        return _layer(path, _read(path, "a sparse matrix", lambda: load_npz(path)))
    if "weights" not in names:
        raise DaqkfError(f"{path}: has no array 'weights'")
    if unknown := names - _PARTS:
        raise DaqkfError(f"{path}: unknown array '{min(unknown)}'")
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
    except FileNotFoundError:
        raise
    # The readers raise whatever a damaged file makes them stumble over.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DaqkfError(f"{path}: not readable as {what} ({lines[0]})") from None


def _layer(path: Path, weights: Any, bias: Any = None, activation: str | None = None) -> ModuleOp:
    if np.prod(weights.shape, dtype=np.float64) > _LARGEST:
        extents = " × ".join(str(extent) for extent in weights.shape)
        raise DaqkfError(f"{path}: a matrix of {extents} is too large")
    try:
        return import_layers([Layer(path.stem, weights, bias, activation)])
    except ValueError as error:
        raise DaqkfError(f"{path}: {error}") from None
