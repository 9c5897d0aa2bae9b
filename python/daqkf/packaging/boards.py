# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Boards: a TOML file each, in a folder for each tool. Importing this costs little."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from daqkf.support.errors import DaqkfError

_FOLDER = Path(__file__).parent


def names(tool: str) -> list[str]:
    """The boards of a tool, `vivado` or `quartus`."""
    return sorted(path.stem for path in (_FOLDER / f"{tool}_boards").glob("*.toml"))


def facts(tool: str, name: str) -> dict[str, Any]:
    """What the file of a board says.

    Raises:
        DaqkfError: there is none.
    """
    if name not in (known := names(tool)):
        raise DaqkfError(f"unknown board '{name}' for {tool.title()} (known: {', '.join(known)})")
    return dict(read(_FOLDER / f"{tool}_boards" / f"{name}.toml"))


@cache
def read(path: Path) -> dict[str, Any]:
    """A TOML file of ours."""
    return tomllib.loads(path.read_text(encoding="utf-8"))
