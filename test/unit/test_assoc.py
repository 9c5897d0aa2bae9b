# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Associative arrays against dictionaries and plain Python loops."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

import daqkf
from daqkf import AssocArray, DaqkfError

Dicts = dict[str, dict[str, int]]

PLAIN: dict[str, tuple[Callable[[int, int], int], Callable[[int, int], int]]] = {
    "plus_times": (lambda a, b: a + b, lambda a, b: a * b),
    "max_plus": (max, lambda a, b: a + b),
    "min_plus": (min, lambda a, b: a + b),
    "or_and": (lambda a, b: a | b, lambda a, b: int(bool(a and b))),
    "count": (lambda a, b: a + b, lambda a, b: 1),
}
"""What joins, and what makes the terms."""


def plain_product(a: Dicts, b: Dicts, semiring: str) -> Dicts:
    join, term = PLAIN[semiring]
    result: Dicts = {}
    for row, left in a.items():
        for shared, x in left.items():
            for column, w in b.get(shared, {}).items():
                sums = result.setdefault(row, {})
                new = term(x, w)
                sums[column] = join(sums[column], new) if column in sums else new
    if not semiring.endswith("plus"):
        result = {
            row: {column: value for column, value in sums.items() if value}
            for row, sums in result.items()
        }
    return {row: sums for row, sums in result.items() if sums}


def ordered(data: Dicts) -> Dicts:
    return {row: dict(sorted(data[row].items())) for row in sorted(data) if data[row]}


LABELS = st.text(max_size=4) | st.sampled_from(["é", "z\0", "", "ab", "abc", "abd"])
INNER = st.sampled_from([f"k{i}" for i in range(12)])
VALUES = st.integers(-127, 126) | st.integers(-2, 2)


def dicts(
    rows: st.SearchStrategy[str], columns: st.SearchStrategy[str]
) -> st.SearchStrategy[Dicts]:
    return st.dictionaries(rows, st.dictionaries(columns, VALUES, max_size=6), max_size=6)


@pytest.mark.parametrize("semiring", PLAIN)
@given(a=dicts(LABELS, INNER), b=dicts(INNER, LABELS))
@settings(max_examples=60)
def test_products_are_what_loops_compute(semiring: str, a: Dicts, b: Dicts):
    result = AssocArray.from_dict(a).matmul(AssocArray.from_dict(b), semiring)
    assert result.to_dict() == ordered(plain_product(a, b, semiring))


@pytest.mark.parametrize("semiring", PLAIN)
def test_products_larger_than_the_array(semiring: str):
    """More features, outputs and windows than the target holds at once."""
    rng = np.random.default_rng(1)
    largest = 40 if semiring == "plus_times" else 126
    shapes = (15, 150), (150, 70)
    left, right = (
        {
            f"{side[0]}{i}": {
                f"{side[1]}{j}": int(rng.integers(-largest, largest + 1))
                for j in np.flatnonzero(rng.random(shape[1]) < 0.2)
            }
            for i in range(shape[0])
        }
        for side, shape in zip(("rk", "kc"), shapes, strict=True)
    )
    result = AssocArray.from_dict(left).matmul(AssocArray.from_dict(right), semiring)
    expected = plain_product(left, right, semiring)
    assert len(result) > 500
    assert result.to_dict() == ordered(expected)


@given(dicts(LABELS, LABELS), dicts(LABELS, LABELS))
def test_dictionaries_come_back_and_add_up(a: Dicts, b: Dicts):
    left, right = AssocArray.from_dict(a), AssocArray.from_dict(b)
    assert left.to_dict() == ordered(a)
    assert len(left) == sum(map(len, a.values()))
    assert left.T.to_dict() == ordered(
        {
            column: {row: a[row][column] for row in a if column in a[row]}
            for column in {column for row in a.values() for column in row}
        }
    )
    assert left == left.T.T
    places = {(row, column) for data in (a, b) for row in data for column in data[row]}
    total = {
        (row, column): a.get(row, {}).get(column, 0) + b.get(row, {}).get(column, 0)
        for row, column in places
    }
    assert {(row, column): value for row, column, value in left + right} == total
    assert (left == right) == (ordered(a) == ordered(b))
    assert AssocArray.from_scipy(left.to_scipy(), left.rows, left.columns) == left


@given(dicts(LABELS, LABELS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_come_back(tmp_path: Path, data: Dicts):
    array = AssocArray.from_dict(data)
    array.save(tmp_path / "a.npz")
    assert AssocArray.load(tmp_path / "a.npz") == array


def test_long_labels_and_dense_rows_are_stored_short(tmp_path: Path):
    rows = [f"https://example.org/collection/documents/{i:06}" for i in range(200)]
    columns = [f"feature {j:04}" for j in range(100)]
    array = AssocArray([r for r in rows for _ in columns], columns * len(rows), 1)
    array.save(tmp_path / "a.npz")
    assert AssocArray.load(tmp_path / "a.npz") == array
    text = sum(map(len, rows)) + sum(map(len, columns))
    assert (tmp_path / "a.npz").stat().st_size < text / 4


def test_a_damaged_file_is_refused(tmp_path: Path):
    path = tmp_path / "a.npz"
    AssocArray(["a", "a", "ab"], ["x", "y", "y"], [1, -2, 300]).save(path)
    good = path.read_bytes()
    with np.load(io.BytesIO(good)) as file:
        arrays = dict(file)

    def refused(message: str, **changed: object):
        np.savez(path, **arrays | changed)  # pyright: ignore
        with pytest.raises(DaqkfError, match=message) as error:
            AssocArray.load(path)
        assert str(path) in str(error.value)

    refused("version 2, not 1", version=2)
    refused("the row labels do not fill", row_text=arrays["row_text"][1:])
    refused(
        "the row labels are not sorted",
        row_text=np.frombuffer(b"aa", np.uint8),
        row_shared=np.array([0, 0]),
    )
    refused("not UTF-8", row_text=np.frombuffer(b"a\xff", np.uint8))
    refused("shares 9 bytes of 1", row_shared=np.array([0, 9]))
    refused("places of its entries", steps=np.array([1, 1, 0]))
    refused("places of its entries", steps=np.array([1, 1, 1]), runs=np.array([3, 0]))
    refused("places of its entries", steps=np.array([2, 1, 2]))
    refused("'values' is no vector of integers", values=np.array([1.0, 2, 3]))
    refused("'runs' has a negative entry", runs=np.array([-1, 4]))
    refused("a value is beyond int64", values=np.array([1, 2, 1 << 63], np.uint64))
    refused("other arrays", surplus=1)
    for data in (good[:40], b"", b"text", good[:-30]):
        path.write_bytes(data)
        with pytest.raises(DaqkfError, match="not an associative array"):
            AssocArray.load(path)
    with pytest.raises(DaqkfError, match="No such file"):
        AssocArray.load(tmp_path / "missing.npz")
    with pytest.raises(DaqkfError, match="File exists"):
        AssocArray(["a"], ["b"], 1).save(path / "below.npz")


def test_indexing_by_label():
    array = AssocArray.from_dict({"a": {"x": 1, "y": 2}, "b": {"y": 3}, "c": {"z": 0}})
    assert array["a", "y"] == 2
    assert array["c", "z"] == 0
    assert array["a", :].to_dict() == {"a": {"x": 1, "y": 2}}
    assert array[:, ["y", "z"]].to_dict() == {"a": {"y": 2}, "b": {"y": 3}, "c": {"z": 0}}
    assert array["b":, :"y"].to_dict() == {"b": {"y": 3}}  # pyright: ignore
    for key, message in (
        (("a", "z"), "no entry at"),
        (("d", "x"), "no row 'd'"),
        ((["a", "d"], "x"), "no row 'd'"),
        ((slice(None), "w"), "no column 'w'"),
        ((slice(None, None, 2), "x"), "no step"),
    ):
        with pytest.raises(KeyError, match=message):
            array[key]
    with pytest.raises(TypeError, match="by rows and columns"):
        array["a"]  # pyright: ignore


def test_repetition_is_no_conflict():
    assert AssocArray(["a", "a"], ["x", "x"], [2, 2.0]) == AssocArray(["a"], ["x"], 2)
    assert AssocArray([], [], []).to_dict() == {}
    assert repr(AssocArray(["a"], ["x"], 2)) == "AssocArray(1 x 1, 1 entries)"
    with pytest.raises(TypeError):
        hash(AssocArray([], [], []))
    assert daqkf.AssocArray is AssocArray


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2], r"two values at \('a', 'x'\): 1 and 2"),
        ([1, 1.5], r"the value 1.5 at \('a', 'x'\) is not a whole number"),
        ([1, float("nan")], "the value nan .* is not a whole number"),
        ([1, float("-inf")], "the value -inf .* is not a whole number"),
        ([1, 1 << 63], "is beyond int64"),
        ([1, -(1 << 80)], "is beyond int64"),
        ([1, 1e30], "is beyond int64"),
        ([1, "2"], "whole number"),
        ([1, None], "whole number"),
        ([1, 2j], "whole number"),
        ([1], "2 row labels, but 1 values"),
    ],
)
def test_bad_values_are_named(values: list[object], message: str):
    with pytest.raises(DaqkfError, match=message):
        AssocArray(["a", "a"], ["x", "x"], values)


def test_bad_labels_are_named():
    for rows, columns, message in (
        (["a"], ["x", "y"], "1 row labels, but 2 column labels"),
        ([1], ["x"], "a row label must be a string, not 1"),
        (["a"], [None], "a column label must be a string, not None"),
        (["\ud800"], ["x"], "no valid Unicode"),
        ("a", ["x"], "row labels are a sequence of strings"),
    ):
        with pytest.raises(DaqkfError, match=message):
            AssocArray(rows, columns, 1)  # pyright: ignore
    with pytest.raises(DaqkfError, match="2 row labels and 1 column labels for a matrix of 1 x 1"):
        AssocArray.from_scipy(sparse.csr_array(np.eye(1)), ["a", "b"], ["x"])
    with pytest.raises(DaqkfError, match=r"two values at \('a', 'x'\): 1 and 2"):
        AssocArray.from_scipy(sparse.csr_array([[1], [2]]), ["a", "a"], ["x"])


def test_bad_products_are_named():
    a = AssocArray.from_dict({"r": {"k": 127, "l": -128, "m": 300}})
    b = AssocArray.from_dict({"k": {"c": 100}, "l": {"c": 1}})
    for semiring, left, message in (
        ("max_times", a, r"unknown semiring 'max_times' \(known: plus_times, .*, count\)"),
        ("max_plus", a, r"the value -128 at \('r', 'l'\) is what max_plus takes for infinity"),
        ("min_plus", a, r"the value 127 at \('r', 'k'\) is what min_plus takes for infinity"),
    ):
        with pytest.raises(DaqkfError, match=message):
            left.matmul(b, semiring)
    # What is not aligned does not matter; what is must be int8.
    assert (a @ b).to_dict() == {"r": {"c": 12572}}
    with pytest.raises(DaqkfError, match=r"the value 300 at \('r', 'm'\) does not fit int8"):
        a @ AssocArray(["m"], ["c"], 1)
    with pytest.raises(DaqkfError, match="unknown target 'nowhere'"):
        a.matmul(b, target="nowhere")
    with pytest.raises(DaqkfError, match="unknown engine 'magic'"):
        a.matmul(b, engine="magic")
    with pytest.raises(DaqkfError, match="is beyond int64"):
        _ = AssocArray(["a"], ["x"], (1 << 63) - 1) + AssocArray(["a"], ["x"], 1)
    keys = [f"k{i}" for i in range(20)]
    wide = AssocArray(["r"] * 20, keys, 127), AssocArray(keys, ["c"] * 20, 127)
    with pytest.raises(DaqkfError, match=r"results of column .c. may reach 0\.\.322580"):
        wide[0] @ wide[1]
