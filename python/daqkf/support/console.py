# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Where tables are printed."""

from rich.console import Console


def table_console(width: int = 140) -> Console:
    """The standard output, as wide as a table needs: a pipe has no width and must not cut it."""
    console = Console()
    return console if console.is_terminal else Console(width=width)
