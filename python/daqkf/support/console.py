# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Where tables are printed, and what long work is doing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from daqkf.passes.progress import Progress
from daqkf.support.errors import printable

_INTERVAL = 10.0
"""Seconds between lines of a log."""


def table_console(width: int = 140) -> Console:
    """The standard output, as wide as a table needs: a pipe has no width and must not cut it."""
    console = Console()
    return console if console.is_terminal else Console(width=width)


def table_text(table: Table, width: int = 140) -> str:
    """A table as it is printed into a file."""
    console = Console(width=width, file=StringIO(), force_terminal=False)
    console.print(table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@contextmanager
def showing(console: Console, first: str) -> Iterator[Progress]:
    """Show what long work is doing, at first this; gives what takes the name of each next step.

    A terminal has one line that changes. A log has a line every ten seconds at most, with the
    seconds since the beginning.
    """
    if console.is_terminal:
        with console.status(first) as status:
            yield lambda step: status.update(escape(printable(step)))
        return
    began = last = time.monotonic()

    def show(step: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _INTERVAL:
            last = now
            console.print(f"{now - began:.0f} s: {printable(step)}", markup=False, highlight=False)

    yield show
