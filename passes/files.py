# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Writing files whole or not at all, under names of our own."""

import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_STEM = 40
"""Characters of a file's name that come from a name of something else."""


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A new, empty file beside another one, renamed into its place at the end, or removed on an
    error.

    It has a name that nobody can guess, and is opened so that what is there already, a link for
    instance, is an error. Folders are made as needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".daqkf-{secrets.token_hex(8)}{path.suffix[:16]}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it into place.

    Folders are made as needed. What exists and is no regular file, like a pipe or a
    terminal, is written to directly.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def file_stem(name: str) -> str:
    """A part of a file's name that tells people what is in it: letters, digits, `_` and `-`.

    It is short, and no path whatever the name is. Several names may have the same one, so a number
    of our own has to stand before it.
    """
    found = re.sub(r"[^A-Za-z0-9_-]+", ".", name).strip(".")
    return found[:_STEM].rstrip(".") or "unnamed"
