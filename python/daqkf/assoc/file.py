# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The .npz file of an associative array: labels and places as short differences.

| array | holds |
| --- | --- |
| `version` | 1 |
| `row_shared`, `row_lengths`, `row_text` | the row labels, front-coded |
| `column_shared`, `column_lengths`, `column_text` | the column labels |
| `runs` | entries of each row: the run lengths of their row labels |
| `steps` | from one entry's column to the next one's; the first of a row counts from -1 |
| `values` | the values |

Sorted labels are front-coded: of each the number of UTF-8 bytes that it shares with the one
before, and those it does not share. Every array has the narrowest type that holds it.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.assoc.product import Entries
from daqkf.passes.array_files import parse_archive

VERSION = 1
_NAMES = {"version", "runs", "steps", "values"} | {
    f"{side}_{part}" for side in ("row", "column") for part in ("shared", "lengths", "text")
}


def pack(rows: NDArray[Any], columns: NDArray[Any], entries: Entries) -> bytes:
    """The bytes of the file, for labels that all have entries, and sorted entries."""
    fresh = np.diff(entries.row, prepend=-1) != 0
    before = np.where(fresh, -1, np.roll(entries.column, 1))
    arrays = {
        "version": np.array(VERSION),
        "runs": np.bincount(entries.row, minlength=len(rows)),
        "steps": entries.column - before,
        "values": entries.value,
    }
    for side, labels in (("row", rows), ("column", columns)):
        arrays |= {f"{side}_{part}": array for part, array in _front_coded(labels).items()}
    file = io.BytesIO()
    narrow: dict[str, Any] = {name: _narrow(array) for name, array in arrays.items()}
    np.savez_compressed(file, **narrow)
    return file.getvalue()


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    """The array in the narrowest integer type that holds its values."""
    if not array.size:
        return array.astype(np.uint8)
    return array.astype(np.promote_types(*map(np.min_scalar_type, (array.min(), array.max()))))


def _front_coded(labels: NDArray[Any]) -> dict[str, NDArray[Any]]:
    texts = [label.encode() for label in labels.tolist()]
    shared = [_shared(*pair) for pair in zip([b"", *texts], texts, strict=False)]
    rests = [text[count:] for text, count in zip(texts, shared, strict=True)]
    return {
        "shared": np.array(shared, np.int64),
        "lengths": np.array([len(rest) for rest in rests], np.int64),
        "text": np.frombuffer(b"".join(rests), np.uint8),
    }


def _shared(before: bytes, text: bytes) -> int:
    """The number of bytes with which both begin."""
    pairs = enumerate(zip(before, text, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(before), len(text)))


def unpack(data: bytes) -> tuple[NDArray[Any], NDArray[Any], Entries]:
    """The row labels, the column labels and the entries, from a file's bytes.

    Raises:
        ValueError: the file is damaged, has another version, or has no associative array.
    """
    try:
        arrays = parse_archive(data)
    except ValueError as error:
        raise ValueError(f"not an associative array: {error}") from None
    if set(arrays) != _NAMES:
        raise ValueError("not an associative array: other arrays than those of one")
    version = arrays.pop("version")
    if version.shape or version.dtype.kind not in "iu":
        raise ValueError("an associative array whose version is no integer")
    if version != VERSION:
        raise ValueError(f"an associative array of version {version}, not {VERSION}")
    for name, array in arrays.items():
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(f"'{name}' is no vector of integers")
        if name != "values" and (array > np.iinfo(np.int64).max).any():
            raise ValueError(f"'{name}' is beyond int64")
        if name != "values" and array.size and array.min() < 0:
            raise ValueError(f"'{name}' has a negative entry")
        if name != "values":
            # Sums and differences of int64 and uint64 would be floats.
            arrays[name] = array.astype(np.int64)
    rows, columns = (_labels(side, arrays) for side in ("row", "column"))
    return rows, columns, _entries(arrays, len(rows), len(columns))


def _labels(side: str, arrays: dict[str, NDArray[Any]]) -> NDArray[Any]:
    shared, lengths, text = (arrays[f"{side}_{part}"] for part in ("shared", "lengths", "text"))
    # Each by itself first: a sum of large ones may come round to any number.
    fits = not (lengths > len(text)).any() and lengths.sum() == len(text)
    if len(shared) != len(lengths) or not fits or (text > 255).any():
        raise ValueError(f"the {side} labels do not fill their text")
    rest, position, previous = text.astype(np.uint8).tobytes(), 0, b""
    texts: list[bytes] = []
    for count, length in zip(shared.tolist(), lengths.tolist(), strict=True):
        if count > len(previous):
            raise ValueError(f"a {side} label shares {count} bytes of {len(previous)}")
        label = previous[:count] + rest[position : position + length]
        if texts and label <= previous:
            raise ValueError(f"the {side} labels are not sorted")
        texts.append(label)
        previous, position = label, position + length
    try:
        return np.array([label.decode() for label in texts], object)
    except UnicodeDecodeError:
        raise ValueError(f"a {side} label is not UTF-8") from None


def _entries(arrays: dict[str, NDArray[Any]], rows: int, columns: int) -> Entries:
    runs, steps, values = (arrays[name] for name in ("runs", "steps", "values"))
    fits = len(runs) == rows and len(steps) == len(values) and not (runs > len(values)).any()
    if (
        not fits
        or runs.sum() != len(values)
        or not runs.all()
        or not steps.all()
        or (steps > columns).any()
    ):
        raise ValueError("the places of its entries are damaged")
    row = np.repeat(np.arange(rows), runs)
    walked = np.cumsum(steps)
    starts = np.cumsum(runs) - runs
    column = walked - np.repeat(walked[starts] - steps[starts], runs) - 1
    if not np.array_equal(np.unique(column), np.arange(columns)):
        raise ValueError("the places of its entries are damaged")
    if (values > np.iinfo(np.int64).max).any():
        raise ValueError("a value is beyond int64")
    return Entries(row, column, values.astype(np.int64))
