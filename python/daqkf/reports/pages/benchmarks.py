# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a page says of a benchmark's JSON, or of an exploration's: its table and its curves.

The files are those of `daqkf bench … --json` and `daqkf explore`: a list of rows, or an object that
has one. What is not known of them is shown as it is, by its name.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from daqkf.dialects.errors import DaqkfError
from daqkf.reports.pages.blocks import Block, Chart, Note, Page, Section, Series, Share, Table
from daqkf.reports.pages.charts import number
from daqkf.support.facts import read_json

type Row = Mapping[str, Any]

_ROWS = ("rows", "trials")
_CURVES, _LINES, _LARGEST = 6, 6, 1e300
_GIVEN = ("sparsity", "seed", "number", "magnitudes")
"""What was chosen for a row, and is no result of it."""

_WIDE = 10
"""Columns of the first table, at most; all others are in a second one."""


def read(path: Path) -> Page:
    """The page of a benchmark's file.

    Raises:
        DaqkfError: it is no JSON, or has no rows.
        OSError: it cannot be read.
    """
    data = read_json(path)
    rows = data
    if isinstance(data, dict):
        rows = next((data[name] for name in _ROWS if isinstance(data.get(name), list)), None)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DaqkfError(
            f"{path}: expected a benchmark: a list of objects, or an object with "
            f"{' or '.join(repr(name) for name in _ROWS)} that is one"
        )
    named = data if isinstance(data, dict) else {}
    facts = {_words(name): _text(value) for name, value in named.items() if _is_fact(value)}
    for value in named.values():
        if isinstance(value, dict) and value and all(map(_is_fact, value.values())):
            facts |= {_words(inner): _text(found) for inner, found in value.items()}
    return Page(path.stem, f"{len(rows):,} rows of a benchmark.", facts, sections(rows, named))


def sections(rows: Sequence[Row], data: Row) -> list[Section]:
    """The sections on rows, and on whatever else stands beside them."""
    flat = [_flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    metrics = [
        name
        for name in names
        if name not in _GIVEN
        and all(_is_number(row.get(name)) for row in flat if name in row)
        and len({row.get(name) for row in flat}) > 1
    ]
    found = [Section("table", "Results", _tables(flat, names, metrics))]
    objectives, front = data.get("objectives"), data.get("front")
    if isinstance(objectives, list) and isinstance(front, list):
        best = [_flat(row) for row in front if isinstance(row, dict)]
        curves = _fronts(flat, best, [name for name in objectives if isinstance(name, str)])
        shown = [*curves, *_commands(best)]
        return [Section("front", "Designs that are not dominated", shown), *found]
    curves = _curves(flat, names, metrics)
    return [*([Section("curves", "Curves", curves)] if curves else []), *found]


def _flat(row: Row) -> dict[str, Any]:
    """The texts and numbers of a row, those of objects in it by joined names; no lists."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            inner = {key: one for key, one in value.items() if _is_fact(one)}
            found |= {f"{name}.{key}": one for key, one in inner.items()}
        elif _is_fact(value):
            found[name] = value
    return found


def _is_fact(value: object) -> bool:
    return value is None or isinstance(value, str | bool) or _is_number(value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return not (isinstance(value, float) and not math.isfinite(value)) and abs(value) < _LARGEST


def _words(name: str) -> str:
    return name.replace("_", " ")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    return number(float(value)) if isinstance(value, int | float) else str(value)


def _keys(flat: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Names of texts that tell rows apart."""
    return [
        name
        for name in names
        if "." not in name
        and any(isinstance(row.get(name), str) and row[name] for row in flat)
        and len({row.get(name) for row in flat}) > 1
    ]


def _tables(flat: Sequence[Row], names: Sequence[str], metrics: Sequence[str]) -> list[Block]:
    keys = _keys(flat, names)
    main = [name for name in metrics if "." not in name or name.startswith("values.")]
    shown = [*keys, *(name for name in names if name in _GIVEN and name not in keys), *main][:_WIDE]
    if not shown:
        shown = list(names)[:_WIDE]
    tops = {
        name: max((row[name] for row in flat if _is_number(row.get(name))), default=0)
        for name in main[:2]
        if all(row.get(name) is None or row[name] >= 0 for row in flat)
    }
    rows = [[_cell(name, row.get(name), tops) for name in shown] for row in flat]
    tables: list[Block] = [Table("Each row", [_heading(name) for name in shown], rows)]
    if set(names) - set(shown):
        every = [*keys, *(name for name in names if name not in keys)]
        cells = [[row.get(name) for name in every] for row in flat]
        tables.append(Table("All figures", [_heading(name) for name in every], cells, folded=True))
    return tables


def _heading(name: str) -> str:
    return _words(name.removeprefix("values.").removeprefix("parameters."))


def _cell(name: str, value: Any, tops: Mapping[str, float]) -> Any:
    if name == "sparsity" and _is_number(value):
        return f"{value:.0%}"
    if tops.get(name) and _is_number(value):
        return Share(value / tops[name], _text(value))
    return value if _is_fact(value) else _text(value)


def _curves(flat: Sequence[Row], names: Sequence[str], metrics: Sequence[str]) -> list[Block]:
    """Results by the share of zeros, if rows have several."""
    known = [row for row in flat if _is_number(row.get("sparsity"))]
    if len({row["sparsity"] for row in known}) < 2:
        return []
    keys = _keys(flat, names)
    groups: dict[str, list[Row]] = {}
    for row in known:
        groups.setdefault(", ".join(str(row.get(name, "")) for name in keys) or "all", []).append(
            row
        )
    # What has one share of zeros alone makes no line.
    groups = {
        label: own for label, own in groups.items() if len({row["sparsity"] for row in own}) > 1
    }
    # Lines of a chart must be few to be told apart.
    charts: list[Block] = []
    chosen = [name for name in metrics if "." not in name][:_CURVES]
    parts = list(groups)
    for start in range(0, len(parts), _LINES):
        for metric in chosen:
            series: list[Series] = []
            for label in parts[start : start + _LINES]:
                points = sorted(
                    (100 * row["sparsity"], row[metric])
                    for row in groups[label]
                    if _is_number(row.get(metric))
                )
                if points:
                    x, y = zip(*points, strict=True)
                    series.append(Series(label, x, y))
            if series:
                title = _words(metric)
                charts.append(Chart(title, "By the share of zeros.", "zeros, %", title, series))
    return charts


def _fronts(flat: Sequence[Row], best: Sequence[Row], objectives: Sequence[str]) -> list[Block]:
    """Each pair of aims: all designs, and those that are not dominated."""
    charts: list[Block] = []
    for one, other in list(combinations(objectives, 2))[:_CURVES]:
        names = f"values.{one}", f"values.{other}"
        series: list[Series] = []
        for label, rows in (("all designs", flat), ("not dominated", best)):
            points = [
                tuple(row[name] for name in names)
                for row in rows
                if all(_is_number(row.get(name)) for name in names)
            ]
            if points:
                x, y = zip(*points, strict=True)
                series.append(Series(label, x, y, points=True))
        if series:
            title = f"{_words(other)} by {_words(one)}"
            charts.append(Chart(title, "", _words(one), _words(other), series))
    return charts


def _commands(best: Sequence[Row]) -> list[Block]:
    rows = [
        (row.get("number"), row["command"]) for row in best if isinstance(row.get("command"), str)
    ]
    if not rows:
        return [Note("There is no design that is not dominated.")] if not best else []
    return [Table("The line that builds each of them", ("design", "command"), rows)]
