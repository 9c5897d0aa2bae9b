# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Tables that fit where they are printed: what is too wide goes below, and no word is cut."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import StringIO

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Column, Table
from rich.text import Text

PIPE = 140
"""Characters of a line where nothing says how many there are."""

_KEPT, _BROKEN = 24, 12
"""A cell of up to so many characters is on one line, if it can be; and where only that makes room
for all columns, one of the lower number."""

_FRAME = 3
"""What a column takes beside its cells: a line, and a space on either side."""


def table_console(width: int = PIPE) -> Console:
    """The standard output, for tables: as wide as the terminal, or as COLUMNS says, or this."""
    console = Console()
    told = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return console if told else Console(width=width)


def print_table(table: Table, console: Console | None = None, keys: int = 1) -> None:
    """Print a table whole, or in several that stand below one another.

    Args:
        table: whose cells are texts.
        console: where; by default the standard output.
        keys: how many of its first columns say what a row is of. Each part has them.
    """
    console = console or table_console()
    for part in fitted(table, console.width, keys):
        console.print(part)


def table_text(table: Table, width: int = PIPE, keys: int = 1) -> str:
    """A table as it is printed into a file; see `print_table`."""
    file = StringIO()
    print_table(table, Console(width=width, file=file, force_terminal=False), keys)
    return file.getvalue()


def fitted(table: Table, width: int, keys: int = 1) -> list[Table]:
    """A table in parts of at most so many characters, each with the first columns.

    Of a table that is too wide, empty columns are left out. Headings and long cells are broken
    between words to fit, and names behind the separators in them; a single word that is wider than
    a line is all that is ever cut.

    Args:
        table: whose cells are texts.
        width: of a line.
        keys: how many columns each part has.
    """
    columns = [_Column.of(column) for column in table.columns]
    if _width(columns) > width:
        columns = [
            column
            for number, column in enumerate(columns)
            if number < keys or any(cell.plain.strip() for cell in column.cells)
        ]
    dense = [replace(column, kept=_BROKEN) for column in columns]
    if _width(columns) > width >= _width(dense):
        columns = dense
    first, others = columns[:keys], columns[keys:]
    most = max((column.least for column in others), default=0)
    room = width - 1 - sum(_FRAME for _ in first) - (most + _FRAME if others else 0)
    first = _narrowed(first, room)
    groups: list[list[_Column]] = [[]]
    for column in others:
        if groups[-1] and _width([*first, *groups[-1], column]) > width:
            groups.append([])
        groups[-1].append(column)
    return [
        _part(table, [*first, *group], width, number == 0, number == len(groups) - 1)
        for number, group in enumerate(groups)
    ]


@dataclass(frozen=True)
class _Column:
    """A column, and the widths that it can have."""

    heading: Text
    cells: Sequence[Text]
    justify: JustifyMethod
    kept: int = _KEPT

    @classmethod
    def of(cls, column: Column) -> "_Column":
        cells = [_text(cell) for cell in column.cells]
        return cls(_text(column.header), cells, column.justify)

    @cached_property
    def least(self) -> int:
        """For its words, and for short cells as a whole."""
        longest = max((cell_len(line) for line in self._lines), default=0)
        words = max((cell_len(word) for line in self._lines for word in line.split()), default=0)
        heading = max(map(cell_len, self.heading.plain.split()), default=0)
        return max(heading, min(longest, max(words, self.kept)))

    @cached_property
    def whole(self) -> int:
        """For every cell and the heading on one line."""
        return max(map(cell_len, (self.heading.plain, *self._lines)))

    @property
    def _lines(self) -> list[str]:
        return [line for cell in self.cells for line in cell.plain.splitlines()]

    def narrowed(self, width: int) -> "_Column":
        """The column with long names in it on several lines."""
        heading, *cells = (
            Text("\n".join(broken(text.plain, width))) if cell_len(text.plain) > width else text
            for text in (self.heading, *self.cells)
        )
        return replace(self, heading=heading, cells=cells)


def _text(cell: object) -> Text:
    """A cell that may have markup."""
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))


def _width(columns: Sequence[_Column]) -> int:
    """Of a table of columns that are as narrow as they can be."""
    return 1 + sum(column.least + _FRAME for column in columns)


def _narrowed(columns: Sequence[_Column], room: int) -> list[_Column]:
    """Columns that have only so much room together, of which the widest give the most away."""
    widths = range(max(room, 1), 0, -1)
    fits = (width for width in widths if sum(min(one.least, width) for one in columns) <= room)
    most = next(fits, 1)
    return [column if column.least <= most else column.narrowed(most) for column in columns]


def broken(name: str, width: int) -> Iterator[str]:
    """The lines of a name, broken behind spaces, slashes, points and the like."""
    line = ""
    for piece in re.split(r"(?<=[\s/._:-])", name):
        if line and cell_len(line + piece) > width:
            yield line
            line = ""
        line += piece
        while cell_len(line) > width:
            yield line[:width]
            line = line[width:]
    yield line


def _part(table: Table, columns: Sequence[_Column], width: int, first: bool, last: bool) -> Table:
    """Some columns of a table, with its title if they are the first, its caption if the last."""
    part = Table(
        title=table.title if first else None,
        title_justify=table.title_justify,
        caption=table.caption if last else None,
        show_lines=table.show_lines,
    )
    left = max(width - _width(columns), 0)
    widths = {id(column): column.least for column in columns}
    for column in sorted(columns, key=lambda column: column.whole - column.least):
        more = min(column.whole - column.least, left)
        widths[id(column)] += more
        left -= more
    for column in columns:
        taken = widths[id(column)]
        part.add_column(column.heading, justify=column.justify, width=taken, overflow="fold")
    for number, row in enumerate(table.rows):
        cells = (column.cells[number] for column in columns)
        part.add_row(*cells, end_section=row.end_section)
    return part
