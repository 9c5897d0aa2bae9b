# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The folder of a saved design or network: written whole, and checked when it is read.

The facts of a folder, `design.json` or `network.json`, are its manifest: their field `files` has
the SHA-256 of every other file by its name. Reading compares them all, so that damage and mixtures
of two compilations show. It is no protection from somebody who writes a folder himself, so nothing
in one is ever compiled or run but the IR: RTL is generated again.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daqkf.dialects.memory import require_memory
from daqkf.passes.files import write_atomically
from daqkf.support.errors import DaqkfError
from daqkf.support.facts import Facts

_MANIFESTS = {
    "design.json": ("layer", "daqkf simulate or daqkf.Design.load"),
    "network.json": ("network", "daqkf run or daqkf.CompiledNetwork.load"),
}
"""What each manifest is of, and what reads its folder."""

_FILES = "files"
_PLAIN = re.compile(
    r"(?:(?:rtl|programs|ip|firmware(?:/generated)?)/)?[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}", re.ASCII
)
"""Names that a folder's files have: never a path that leads out of it."""


@dataclass(frozen=True)
class Folder:
    """A folder that is read, and its facts."""

    path: Path
    facts: Facts

    @classmethod
    def open(cls, path: Path, manifest: str) -> "Folder":
        """A folder whose files are all as they were saved.

        Raises:
            DaqkfError: the facts are malformed, or a file is missing or another one.
            OSError: a file cannot be read.
        """
        for other, (what, reader) in _MANIFESTS.items():
            if not (path / manifest).exists() and (path / other).exists():
                raise DaqkfError(f"{path}: the folder of a {what}, which {reader} reads")
        folder = cls(path, Facts.read(path / manifest))
        for name in folder._hashes():
            folder.data(name)
        return folder

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return name in self._hashes()

    def data(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            DaqkfError: the manifest has none of this name, or the file is another one.
            OSError: it cannot be read.
        """
        path = self.path / name
        if (expected := self._hashes().get(name)) is None:
            raise DaqkfError(f"{self.facts.path}: '{_FILES}' lacks '{name}'")
        require_memory(path.stat().st_size, str(path))
        data = path.read_bytes()
        if _hash(data) != expected:
            raise DaqkfError(f"{path}: not as it was saved: its hash is not that of the manifest")
        return data

    def text(self, name: str) -> str:
        """The text of a file; see `data`.

        Raises:
            DaqkfError: as there, or it is no text.
            OSError: it cannot be read.
        """
        try:
            return self.data(name).decode()
        except UnicodeDecodeError:
            raise DaqkfError(f"{self.path / name}: not a text file") from None

    def _hashes(self) -> dict[str, str]:
        if _FILES not in self.facts.values:
            raise DaqkfError(f"{self.facts.path}: lacks '{_FILES}', the hashes; compile it again")
        found = self.facts.part(_FILES)
        for name in found.values:
            if not _PLAIN.fullmatch(name):
                raise DaqkfError(f"{found.path}: '{_FILES}' has {name!r}, which is no plain name")
        return {name: found.get(name, str) for name in found.values}


def write_folder(
    path: Path, manifest: str, facts: Mapping[str, Any], files: Mapping[str, bytes]
) -> None:
    """Write files and, last, the facts with the manifest; each under a temporary name first.

    What an earlier compilation has left in the folder, and is still as it was, is removed; files of
    others stay.

    Args:
        path: made as needed.
        manifest: the name of the file of the facts.
        facts: for JSON.
        files: the bytes of each, by its name in the folder.

    Raises:
        DaqkfError: a folder in this one is a link to somewhere else.
        OSError: a file cannot be written.
    """
    for name in {str(Path(name).parent) for name in files} - {"."}:
        if (path / name).is_symlink():
            raise DaqkfError(f"{path / name}: a link; nothing is written through it")
    stale = _earlier(path, manifest)
    for name, data in files.items():
        write_atomically(path / name, data)
    for name, expected in stale.items():
        if name not in files and name != manifest:
            _remove(path / name, expected)
    hashes = {name: _hash(data) for name, data in sorted(files.items())}
    text = json.dumps({**facts, _FILES: hashes}, indent=2) + "\n"
    write_atomically(path / manifest, text.encode())


def others(path: Path, manifest: str, files: Collection[str]) -> list[str]:
    """Of the files that are to be written into a folder, those that are there, and are not as
    somebody has left them who wrote the same manifest.

    Args:
        path: the folder, which need not exist.
        manifest: the name of the file of the facts.
        files: the names of the others.
    """
    known = _earlier(path, manifest)
    return [
        name
        for name in sorted([*files, manifest])
        if os.path.lexists(path / name) and not _is(path / name, known.get(name, ""))
    ]


def _earlier(path: Path, manifest: str) -> dict[str, str]:
    """The files of earlier compilations in a folder, or of earlier writers of another manifest,
    with their hashes."""
    found: dict[str, str] = {}
    for name in _MANIFESTS if manifest in _MANIFESTS else (manifest,):
        try:
            folder = Folder(path, Facts.read(path / name))
            found |= folder._hashes()
            found[name] = _hash((path / name).read_bytes())
        except (OSError, ValueError):
            continue  # there is none, or it is not ours
    return found


def _remove(path: Path, expected: str) -> None:
    """Remove a file that still is what it was."""
    if _is(path, expected):
        path.unlink()


def _is(path: Path, expected: str) -> bool:
    """Whether a file is one of our own, and still what it was."""
    try:
        linked = path.is_symlink() or path.parent.is_symlink()
        return not linked and _hash(path.read_bytes()) == expected
    except OSError:
        return False


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
