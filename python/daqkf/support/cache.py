# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Files that take long to make, kept in the user's cache folder.

An entry is a folder under a hash of everything that its files depend on. It is filled under a
temporary name and then renamed, so that no entry is half filled, whoever interrupts or competes.
With it stand hashes of its files: an entry that was damaged since is made again.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HASHES = "hashes.json"
_LOG = logging.getLogger(__name__)


def cache_folder() -> Path:
    """`DAQKF_CACHE`, or a folder of our own in the user's cache folder."""
    if folder := os.environ.get("DAQKF_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "daqkf"


def cached(kind: str, recipe: Any, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills for a recipe: made at the first call, and found from then on.

    Args:
        kind: the name of the folder that has all entries of this kind.
        recipe: a value for JSON that has everything on which the files depend.
        make: fills an empty folder.
    """
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]
    place = cache_folder() / kind / key
    if place.is_dir():
        if _is_whole(place):
            return place
        _LOG.warning("%s in the cache was damaged, and is made again", f"{kind}/{key}")
        shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="building-") as scratch:
        folder = Path(scratch, "ready")
        folder.mkdir()
        make(folder)
        (folder / _HASHES).write_text(json.dumps(_hashes(folder)), encoding="utf-8")
        try:
            folder.rename(place)
        except OSError:
            # Another process has made the same files first.
            if not place.is_dir():
                raise
    return place


def _is_whole(folder: Path) -> bool:
    try:
        return json.loads((folder / _HASHES).read_bytes()) == _hashes(folder)
    except (OSError, ValueError):
        return False


def _hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file, by its path in the folder."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / _HASHES:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256")
            found[str(path.relative_to(folder))] = digest.hexdigest()
    return found
