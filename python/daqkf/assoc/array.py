# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Associative arrays: sparse matrices of integers whose rows and columns are named by strings.

They are those of D4M (Kepner et al., ICASSP 2012). They have no shape and no order. An entry that
is absent counts as the zero of the operation, and operations align arrays by their labels.

    follows = AssocArray(["ann", "ben"], ["ben", "cat"], [1, 1])
    follows.matmul(follows).to_dict()  # {"ann": {"cat": 1}}
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daqkf.assoc.file import pack, unpack
from daqkf.assoc.product import Entries, TooWideError, joined, multiply
from daqkf.hw_targets import numerics
from daqkf.hw_targets.semirings import Semiring
from daqkf.passes.files import write_atomically
from daqkf.support.errors import DaqkfError

COUNT = "count"
"""The name of the product that counts the places where both operands have an entry."""

LABELS = object
"""The type of arrays of labels. NumPy's own strings drop trailing NULs, or (StringDType) crash
`unique` in version 2.5."""

Selector = str | slice | Sequence[str]


class AssocArray:
    """A sparse matrix keyed by strings: at most one int64 for each row and column label.

    Only labels that have entries are kept. They are sorted by code points, so that arrays with
    equal contents are equal. A stored 0 is an entry like any other.
    """

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __init__(
        self,
        rows: Iterable[str],
        columns: Iterable[str],
        values: Iterable[Any] | int,
    ):
        """Make an array of triples, which are given as three sequences of equal length.

        Args:
            rows: the row labels.
            columns: the column labels.
            values: integers or whole floats, or one number for all entries.

        Raises:
            DaqkfError: lengths differ, a label is no text, a value is not whole, not finite or
                beyond int64, or two values have the same place.
        """
        row_labels, column_labels = _labels("row", rows), _labels("column", columns)
        if len(row_labels) != len(column_labels):
            raise DaqkfError(
                f"{len(row_labels)} row labels, but {len(column_labels)} column labels"
            )
        if isinstance(values, int | np.integer):
            values = np.full(len(row_labels), values)
        elif not isinstance(values, np.ndarray):
            values = list(values)
        if len(values) != len(row_labels):
            raise DaqkfError(f"{len(row_labels)} row labels, but {len(values)} values")
        numbers = _whole(values, row_labels, column_labels)
        self._rows, row = np.unique(row_labels, return_inverse=True)
        self._columns, column = np.unique(column_labels, return_inverse=True)
        self._entries = _distinct(row, column, numbers, self._rows, self._columns)

    @classmethod
    def _of(cls, rows: NDArray[Any], columns: NDArray[Any], entries: Entries) -> Self:
        """Make an array of sorted, distinct entries, and drop the labels that no entry uses."""
        self = cls.__new__(cls)
        used, row = np.unique(entries.row, return_inverse=True)
        self._rows = rows[used]
        used, column = np.unique(entries.column, return_inverse=True)
        self._columns = columns[used]
        self._entries = Entries(row, column, entries.value)
        return self

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Any]]) -> Self:
        """Make an array of a mapping from row labels to mappings from column labels to values.

        Raises:
            DaqkfError: for the same reasons as with triples.
        """
        triples = [
            (row, column, value) for row, inner in data.items() for column, value in inner.items()
        ]
        rows, columns, values = zip(*triples, strict=True) if triples else ((), (), ())
        return cls(rows, columns, values)

    @classmethod
    def from_scipy(cls, matrix: Any, rows: Iterable[str], columns: Iterable[str]) -> Self:
        """Make an array of a SciPy sparse matrix, with a label for each row and each column.

        Every stored element becomes an entry, also a stored 0. Duplicates are added up, as in
        SciPy.

        Raises:
            DaqkfError: the labels do not fit the shape; else for the same reasons as with triples.
        """
        row_labels, column_labels = _labels("row", rows), _labels("column", columns)
        if (len(row_labels), len(column_labels)) != matrix.shape:
            raise DaqkfError(
                f"{len(row_labels)} row labels and {len(column_labels)} column labels for a "
                f"matrix of {' x '.join(map(str, matrix.shape))}"
            )
        elements = matrix.tocsr().tocoo()
        return cls(row_labels[elements.row], column_labels[elements.col], elements.data)

    @property
    def rows(self) -> list[str]:
        """The row labels that have entries, sorted."""
        return self._rows.tolist()

    @property
    def columns(self) -> list[str]:
        """The column labels that have entries, sorted."""
        return self._columns.tolist()

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._entries.value)

    def __iter__(self) -> Iterator[tuple[str, str, int]]:
        """Iterate over the triples, sorted by row label and column label."""
        entries = self._entries
        labels = self._rows[entries.row].tolist(), self._columns[entries.column].tolist()
        return zip(*labels, entries.value.tolist(), strict=True)

    def to_dict(self) -> dict[str, dict[str, int]]:
        """A mapping from row labels to mappings from column labels to values, both sorted."""
        result: dict[str, dict[str, int]] = {row: {} for row in self.rows}
        for row, column, value in self:
            result[row][column] = value
        return result

    def to_scipy(self) -> Any:
        """A `scipy.sparse.csr_array` of int64, with rows and columns in the order of the labels."""
        from scipy import sparse

        entries = self._entries
        shape = len(self._rows), len(self._columns)
        return sparse.csr_array((entries.value, (entries.row, entries.column)), shape)

    def __repr__(self) -> str:
        return f"AssocArray({len(self._rows)} x {len(self._columns)}, {len(self)} entries)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AssocArray):
            return NotImplemented
        ours, theirs = self._entries, other._entries
        return (
            np.array_equal(self._rows, other._rows)
            and np.array_equal(self._columns, other._columns)
            and np.array_equal(ours.row, theirs.row)
            and np.array_equal(ours.column, theirs.column)
            and np.array_equal(ours.value, theirs.value)
        )

    def __getitem__(self, key: tuple[Selector, Selector]) -> Any:
        """`a[row, column]` is a value; if a selector names several labels, it is an array.

        A selector is a label, a list of labels, or a slice between two labels, both included.

        Raises:
            KeyError: there is no such label, or no entry in this place.
        """
        if not isinstance(key, tuple) or len(key) != 2:
            raise TypeError("an associative array is indexed by rows and columns: a[row, column]")
        picked = _select("row", self._rows, key[0]), _select("column", self._columns, key[1])
        entries = self._entries
        inside = picked[0][entries.row] & picked[1][entries.column]
        if isinstance(key[0], str) and isinstance(key[1], str):
            if not inside.any():
                raise KeyError(f"no entry at {key}")
            return int(entries.value[inside][0])
        return self._of(self._rows, self._columns, _take(entries, inside))

    def transpose(self) -> Self:
        """The array with rows and columns exchanged."""
        entries = self._entries
        order = np.lexsort((entries.row, entries.column))
        flipped = Entries(entries.column[order], entries.row[order], entries.value[order])
        return self._of(self._columns, self._rows, flipped)

    T = property(transpose)

    def __add__(self, other: "AssocArray") -> Self:
        """The entries of both arrays; where both have one, the sum is the entry, even if it is 0.

        Raises:
            DaqkfError: a sum is beyond int64.
        """
        if not isinstance(other, AssocArray):
            return NotImplemented
        rows, columns = (
            np.union1d(self._rows, other._rows),
            np.union1d(self._columns, other._columns),
        )
        parts = [
            Entries(
                np.searchsorted(rows, part._rows)[part._entries.row],
                np.searchsorted(columns, part._columns)[part._entries.column],
                part._entries.value,
            )
            for part in (self, other)
        ]
        total = joined(parts, np.add, None)
        # If a sum has wrapped, then its half differs from the sum of the operands' halves.
        halves = [Entries(part.row, part.column, part.value >> 1) for part in parts]
        wrapped = np.abs((total.value >> 1) - joined(halves, np.add, None).value) > 1
        if wrapped.any():
            row, column = (index[wrapped][0] for index in (total.row, total.column))
            raise DaqkfError(f"the sum at {_place(rows[row], columns[column])} is beyond int64")
        return self._of(rows, columns, total)

    def __matmul__(self, other: "AssocArray") -> Self:
        return self.matmul(other)

    def matmul(
        self,
        other: "AssocArray",
        semiring: str = "plus_times",
        *,
        target: str = "tiny",
        engine: str = "golden",
    ) -> Self:
        """The matrix product over a semiring, computed by an array; it is exact.

        The columns of this array are aligned with the rows of the other one by their labels; a
        label that only one of them has is ignored. The columns of the other array become programs,
        and the rows of this one become tokens. A result that is too large for int8 leaves the array
        in several parts, so that no result is saturated (`daqkf.assoc.product`).

        Args:
            other: the right operand.
            semiring: `plus_times`; `max_plus` or `min_plus`, over the places where both operands
                have an entry; `or_and`, in which an operand is true if it is not 0, and all results
                are 1; or `count`, the number of places where both operands have an entry of any
                value. A result of 0 is no entry, except in `max_plus` and `min_plus`.
            target: the target whose array is used.
            engine: `golden` for the integer golden model, or `rtl` for the simulated circuit.

        Raises:
            DaqkfError: an operand is beyond int8, or has the value that stands for infinity (-128
                in `max_plus`, 127 in `min_plus`); the results have too wide a range; or a name is
                unknown.
            SimulationError, ToolNotFoundError: the simulation failed, or a tool is missing.
        """
        names = [*(entry.value for entry in Semiring), COUNT]
        if semiring not in names:
            raise DaqkfError(f"unknown semiring '{semiring}' (known: {', '.join(names)})")
        kind = Semiring.PLUS_TIMES if semiring == COUNT else Semiring(semiring)
        common, ours, theirs = np.intersect1d(self._columns, other._rows, return_indices=True)
        left, right = (
            array._operand(semiring, kind, np.isin(getattr(array._entries, side), index))
            for array, side, index in ((self, "column", ours), (other, "row", theirs))
        )
        shared = np.zeros((2, max(len(self._columns), len(other._rows))), np.int64)
        shared[0, ours] = shared[1, theirs] = np.arange(len(common))
        left = Entries(left.row, shared[0, left.column], left.value)
        right = Entries(shared[1, right.row], right.column, right.value)
        if kind is Semiring.OR_AND:
            right = Entries(right.row, right.column, -right.value)
        try:
            result = multiply(left, right, kind, target=target, engine=engine)
        except TooWideError as error:
            label = other._columns[error.column]
            raise DaqkfError(f"the results of column '{label}' {error}") from None
        except ValueError as error:
            raise DaqkfError(str(error)) from None
        return self._of(self._rows, other._columns, result)

    def _operand(self, semiring: str, kind: Semiring, inside: NDArray[np.bool]) -> Entries:
        """The entries `inside`, as int8 operands of a product."""
        entries = _take(self._entries, inside)
        if semiring == COUNT:
            return Entries(entries.row, entries.column, np.ones_like(entries.value))
        if kind is Semiring.OR_AND:
            true = _take(entries, entries.value != 0)
            return Entries(true.row, true.column, np.ones_like(true.value))
        value = entries.value
        outside = (value < numerics.ACTIVATION_MIN) | (value > numerics.ACTIVATION_MAX)
        problem = "does not fit int8, which the array computes with"
        if not outside.any() and kind.tropical:
            outside = value == kind.zero
            problem = f"is what {semiring} takes for infinity"
        if outside.any():
            (row, column), number = (
                (index[outside][0] for index in (entries.row, entries.column)),
                value[outside][0],
            )
            place = _place(self._rows[row], self._columns[column])
            raise DaqkfError(f"the value {number} at {place} {problem}")
        return entries

    def save(self, path: str | Path) -> None:
        """Write an .npz file, which `load` reads; see `daqkf.assoc.file`.

        Raises:
            DaqkfError: the file cannot be written.
        """
        try:
            write_atomically(Path(path), pack(self._rows, self._columns, self._entries))
        except OSError as error:
            raise DaqkfError(f"{path}: {error.strerror}") from None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an array from a file that `save` wrote.

        Raises:
            DaqkfError: the file is missing, damaged, or has no associative array.
        """
        try:
            return cls._of(*unpack(Path(path).read_bytes()))
        except OSError as error:
            raise DaqkfError(f"{path}: {error.strerror}") from None
        except ValueError as error:
            raise DaqkfError(f"{path}: {error}") from None


def _take(entries: Entries, inside: NDArray[np.bool]) -> Entries:
    return Entries(entries.row[inside], entries.column[inside], entries.value[inside])


def _place(row: Any, column: Any) -> str:
    return f"('{row}', '{column}')"


def _labels(side: str, labels: Iterable[str]) -> NDArray[Any]:
    """The labels as an array of strings."""
    if isinstance(labels, str):
        raise DaqkfError(f"{side} labels are a sequence of strings, not one string")
    sequence = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    for label in sequence:
        if not isinstance(label, str):
            raise DaqkfError(f"a {side} label must be a string, not {label!r}")
        try:
            label.encode()
        except UnicodeEncodeError:
            raise DaqkfError(f"the {side} label {label!r} is no valid Unicode") from None
    return np.array(sequence, LABELS)


def _whole(
    values: NDArray[Any] | list[Any], rows: NDArray[Any], columns: NDArray[Any]
) -> NDArray[np.int64]:
    """The values as int64; each must be a whole number that fits."""
    array = np.asarray(values) if len(values) else np.empty(0, np.int64)
    kinds = "iub" if array.dtype.kind in "iub" else "f"
    limit = 1 << 63
    if array.ndim != 1 or array.dtype.kind not in "iubfO":
        raise DaqkfError(f"values must be a vector of whole numbers, not of {array.dtype}")
    if kinds == "iub" and array.dtype != np.uint64:
        return array.astype(np.int64)
    for position, value in enumerate(array.tolist()):
        place = _place(rows[position], columns[position])
        whole = isinstance(value, int | float) and value == value // 1
        if not whole:
            raise DaqkfError(f"the value {value} at {place} is not a whole number")
        if not -limit <= value < limit:
            raise DaqkfError(f"the value {value} at {place} is beyond int64")
    return np.array([int(value) for value in array.tolist()], np.int64)


def _distinct(
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    value: NDArray[np.int64],
    rows: NDArray[Any],
    columns: NDArray[Any],
) -> Entries:
    """The entries sorted by place; no place may occur twice with different contents."""
    order = np.lexsort((value, column, row))
    row, column, value = row[order], column[order], value[order]
    again = (np.diff(row) == 0) & (np.diff(column) == 0)
    conflict = np.flatnonzero(again & (np.diff(value) != 0))
    if len(conflict):
        at = conflict[0]
        raise DaqkfError(
            f"two values at {_place(rows[row[at]], columns[column[at]])}: {value[at]} and "
            f"{value[at + 1]}"
        )
    keep = np.concatenate([[True], ~again]) if len(row) else np.empty(0, bool)
    return Entries(row[keep], column[keep], value[keep])


def _select(side: str, labels: NDArray[Any], selector: Selector) -> NDArray[np.bool]:
    """A mask of the sorted labels that a selector names."""
    if isinstance(selector, slice):
        if selector.step is not None:
            raise KeyError(f"a slice of {side} labels has no step")
        chosen = np.ones(len(labels), bool)
        for bound, compare in ((selector.start, np.greater_equal), (selector.stop, np.less_equal)):
            if bound is not None:
                chosen &= compare(labels, np.array(bound, LABELS))
        return chosen
    wanted = np.array([selector] if isinstance(selector, str) else list(selector), LABELS)
    unknown = wanted[~np.isin(wanted, labels)]
    if len(unknown):
        raise KeyError(f"no {side} '{unknown[0]}'")
    return np.isin(labels, wanted)
