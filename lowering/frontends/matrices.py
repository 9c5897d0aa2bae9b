# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Files with one matrix, which is a network of one layer.

- `.mtx`: a Matrix Market file, weights [K, N] (Boisvert et al., "The Matrix Market Exchange
  Formats", NISTIR 5935).
- `.npy`: weights [K, N].
- `.npz`: `weights` [K, N], and optionally `bias` [N] and `activation`, the name of a function; or
  a sparse matrix as SciPy saves it.
"""

import warnings
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.memory import require_memory
from daqkf.lowering.frontends.layers import Layer, import_layers
from daqkf.passes.array_files import load_archive, load_array, reading

_PARTS = {"weights", "bias", "activation"}

_SYMMETRIES = ("general", "symmetric", "skew-symmetric")
"""Of real matrices; Hermitian ones are complex."""

_SPARSE = {"format", "shape", "data"}
"""Arrays that every sparse matrix of SciPy has in its archive."""
_INDICES = {
    "coo": ("row", "col"),
    "csr": ("indices", "indptr"),
    "csc": ("indices", "indptr"),
    "bsr": ("indices", "indptr"),
    "dia": ("offsets",),
}
"""The further ones of each of its formats, which say where the entries are."""


def read_mtx(path: Path) -> ModuleOp:
    """The layer `x·W` of a Matrix Market file.

    Raises:
        ValueError: it cannot be read, breaks its own header, or is no finite real matrix.
    """
    with reading(path, "Matrix Market"):
        matrix = _market(path)
    return _layer(path, matrix)


def _market(path: Path) -> Any:
    """The matrix in a file; raises a ValueError for what is none, or is complex.

    SciPy reads the header only: its `mmread` ends the process at a malformed number.
    """
    from scipy.io import mminfo
    from scipy.sparse import coo_array

    rows, columns, count, layout, field, symmetry = mminfo(path)
    sparse, pattern = layout == "coordinate", field == "pattern"
    _check_header(rows, columns, layout, field, symmetry)
    if not sparse:
        count = rows * columns if symmetry == "general" else _stored(rows, symmetry)
    width = (2 if pattern else 3) if sparse else 1
    require_memory(8 * width * count, f"{count} entries")
    if not sparse:
        require_memory(8 * rows * columns, f"a matrix of {rows} × {columns}")
    with path.open(encoding="latin-1") as file:
        found = _entries(file, count, width)
    values = found[:, -1] if not pattern else np.ones(len(found))
    if field in ("integer", "unsigned-integer") and (values != np.rint(values)).any():
        raise ValueError(f"{values[values != np.rint(values)][0]:g} in a matrix of integers")
    if not sparse and symmetry == "general":
        return values.reshape(columns, rows).T
    if sparse:
        places = found[:, :2]
        if (places != np.rint(places)).any():
            raise ValueError(f"{places[places != np.rint(places)][0]:g} is no index")
        if not np.all((places >= 1) & (places <= (rows, columns))):
            raise ValueError("an index outside the matrix")
        row, column = (places.T - 1).astype(np.int64)
    else:
        column, row = np.triu_indices(rows, symmetry == "skew-symmetric")
    if symmetry != "general":
        skew = symmetry == "skew-symmetric"
        if skew and (row == column).any():
            raise ValueError("an entry on the diagonal of a skew-symmetric matrix")
        if (row < column).any():
            raise ValueError(f"an entry above the diagonal of a {symmetry} matrix")
        mirrored = row != column
        row, column = np.append(row, column[mirrored]), np.append(column, row[mirrored])
        values = np.append(values, (-1 if skew else 1) * values[mirrored])
    return coo_array((values, (row, column)), (rows, columns))


def _check_header(rows: int, columns: int, layout: str, field: str, symmetry: str) -> None:
    """Raise a ValueError for a header that says what no real matrix is."""
    if field == "complex":
        raise ValueError("complex numbers")
    if symmetry not in _SYMMETRIES:
        raise ValueError(f"a {symmetry} matrix of {field} numbers")
    if field == "pattern" and (layout != "coordinate" or symmetry == "skew-symmetric"):
        raise ValueError(f"a {symmetry} pattern in the layout {layout}")
    if symmetry != "general" and rows != columns:
        raise ValueError(f"a {symmetry} matrix of {rows} × {columns}")


def _entries(file: TextIO, count: int, width: int) -> NDArray[np.float64]:
    """The numbers [count, width] that follow the line of the extents."""
    next(line for line in file if line.strip() and not line.startswith("%"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a matrix has no entries
        found = np.loadtxt(file, comments="%", ndmin=2)
    if found.size and found.shape[1] != width:
        raise ValueError(f"{found.shape[1]} numbers in a line, not {width}")
    if found.size != count * width:
        raise ValueError(f"{len(found)} entries, not as many as the header says")
    return found.reshape(count, width)


def _stored(extent: int, symmetry: str) -> int:
    """Entries of the lower triangle, which has no diagonal if it is skew."""
    return extent * (extent + (-1 if symmetry == "skew-symmetric" else 1)) // 2


def read_npy(path: Path) -> ModuleOp:
    """The layer `x·W` of a NumPy array.

    Raises:
        ValueError: it cannot be read, or is no finite real matrix.
    """
    return _layer(path, load_array(path))


def read_npz(path: Path) -> ModuleOp:
    """The layer `act(x·W + b)` of NumPy's or SciPy's archive.

    Raises:
        ValueError: it cannot be read, or has not the arrays of a layer.
    """
    arrays = load_archive(path)
    if set(arrays) >= _SPARSE:
        return _layer(path, load_sparse(path))
    if "weights" not in arrays:
        raise ValueError(f"{path}: has no array 'weights'")
    if unknown := set(arrays) - _PARTS:
        raise ValueError(f"{path}: unknown array '{min(unknown)}'")
    activation = str(arrays["activation"]) if "activation" in arrays else None
    return _layer(path, arrays["weights"], arrays.get("bias"), activation)


def load_sparse(path: str | Path, what: str = "a SciPy sparse matrix") -> Any:
    """The sparse matrix in a `.npz` file as SciPy saves it, as a sparse array of its format.

    Raises:
        ValueError: it is no such file, or an index lies outside the matrix.
        OSError: it cannot be opened.
    """
    arrays = load_archive(path, what)
    with reading(path, what):
        return _sparse(arrays)


def _sparse(arrays: dict[str, NDArray[Any]]) -> Any:
    from scipy import sparse

    if missing := _SPARSE - set(arrays):
        raise ValueError(f"has no array '{min(missing)}'")
    name = arrays["format"].item() if arrays["format"].size == 1 else None
    name = name.decode("ascii") if isinstance(name, bytes) else name
    if not isinstance(name, str) or name not in _INDICES:
        raise ValueError(f"unknown format {name!r} (known: {', '.join(_INDICES)})")
    if missing := set(_INDICES[name]) - set(arrays):
        raise ValueError(f"has no array '{min(missing)}'")
    shape, data = arrays["shape"], arrays["data"]
    if shape.shape != (2,) or shape.dtype.kind not in "iu" or shape.min() < 0:
        raise ValueError("its shape is not that of a matrix")
    extents = tuple(int(extent) for extent in shape)
    parts = [arrays[part] for part in _INDICES[name]]
    for part, array in zip(_INDICES[name], parts, strict=True):
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise ValueError(f"'{part}' is no vector of integers")
    if name in ("csr", "csc", "bsr"):
        _check_pointers(*parts)
    kind = getattr(sparse, f"{name}_array")
    if name == "coo":
        matrix = kind((data, tuple(parts)), shape=extents)
    else:
        matrix = kind((data, *parts), shape=extents)
    # SciPy looks at the ends of the index arrays alone, unless it is asked.
    if name in ("csr", "csc", "bsr"):
        matrix.check_format(full_check=True)
    return matrix


def _check_pointers(indices: NDArray[Any], pointers: NDArray[Any]) -> None:
    """Raise a ValueError unless each row's entries end where those of the next one begin.

    SciPy's own check subtracts neighbours, which goes round from the least integers to large ones,
    and what it then reads is outside of its arrays.
    """
    ascending = (pointers[1:] >= pointers[:-1]).all()
    if not len(pointers) or pointers[0] or not ascending or pointers[-1] > len(indices):
        raise ValueError("'indptr' does not ascend from 0 to the number of indices")


def _layer(path: Path, weights: Any, bias: Any = None, activation: str | None = None) -> ModuleOp:
    try:
        return import_layers([Layer(path.stem, weights, bias, activation)])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
