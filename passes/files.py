# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Writing files whole or not at all, under names of our own."""

import io
import os
import re
import secrets
import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def archive(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of a `.npz` file with arrays by name, whatever they are called.

    NumPy's own `savez` takes the names as parameters beside two of its own.

    Raises:
        ValueError: a name that no archive can have, as it has a NUL or is longer than 65,000 bytes.
    """
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, array in arrays.items():
            if "\0" in name or len(name.encode(errors="replace")) > 65_000:
                raise ValueError(f"no .npz file can have an array of the name {name[:60]!r}")
            with file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    return data.getvalue()
