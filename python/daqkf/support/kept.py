# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Finished steps of long work, kept in the cache until the work is done.

Work that was interrupted and is started again finds them, and goes on behind the last one. A step
is found by a hash of everything that its result depends on, so that a run with other options, other
weights or other code finds nothing that is not its own. A step may have steps of its own, which are
thrown away when it is finished.
"""

import hashlib
import logging
import pickle
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, cast, override

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute

from daqkf.passes.files import write_atomically
from daqkf.passes.steps import Steps
from daqkf.support.cache import cache_folder
from daqkf.support.ir import make_context, module_text, parse_module

_DIGEST = hashlib.sha256().digest_size
_LEFT_ALONE = 7 * 24 * 3600
"""Seconds after which nobody is taken to go on with what was interrupted, and its steps go."""
_LOG = logging.getLogger(__name__)


class Kept(Steps):
    """Steps whose results are files of a folder: a hash of the rest, and a pickle."""

    def __init__(self, folder: Path):
        self._folder = folder

    @classmethod
    def of(cls, what: str, key: object, *, resume: bool) -> "Kept":
        """The steps of some work.

        Args:
            what: the work's name.
            key: everything that tells it from other work of that name.
            resume: whether to keep what an earlier run has left.
        """
        place = cache_folder() / "steps"
        kept = cls(place / f"{what}-{digest([_code(), key]).hex()[:32]}")
        for folder in place.glob("*"):
            # Another process may throw it away at the same time.
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > _LEFT_ALONE:
                    shutil.rmtree(folder)
        if not resume:
            kept.clear()
        return kept

    @override
    def find(self, key: object) -> Any | None:
        """See `Steps`; a file that was damaged is as good as none."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
            _LOG.warning("%s in the cache was damaged: its step is done again", path.name)
            return None
        return pickle.loads(data[_DIGEST:])

    @override
    def keep(self, key: object, result: Any) -> None:
        """See `Steps`."""
        file = BytesIO()
        _Pickler(file).dump(result)
        data = file.getvalue()
        write_atomically(self._path(key), hashlib.sha256(data).digest() + data)
        shutil.rmtree(self._path(key, ".steps"), ignore_errors=True)

    @override
    def inner(self, key: object) -> "Kept":
        """See `Steps`."""
        return Kept(self._path(key, ".steps"))

    @override
    def clear(self) -> None:
        """See `Steps`."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, key: object, suffix: str = "") -> Path:
        return self._folder / (digest(key).hex()[:32] + suffix)


class _Pickler(pickle.Pickler):
    """Writes modules as their text: a module is a graph that is too deep for pickles."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, ModuleOp):
            return _parsed, (module_text(obj),)
        return NotImplemented


def _parsed(text: str) -> ModuleOp:
    return parse_module(make_context(), text, "a step in the cache")


def digest(value: object) -> bytes:
    """The SHA-256 of a value: of numbers, texts, arrays, modules, and dataclasses, lists and
    mappings of such.

    Raises:
        TypeError: it is, or has, something else.
    """
    found = hashlib.sha256()
    _feed(found, value)
    return found.digest()


def _feed(found: "hashlib._Hash", value: object) -> None:
    if isinstance(value, np.ndarray):
        array = cast(NDArray[Any], value)
        if array.dtype.hasobject:
            raise TypeError("arrays of objects have no digest")
        found.update(f"array {array.dtype.str} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).data)
    elif isinstance(value, ModuleOp):
        _feed(found, module_text(value))
    elif isinstance(value, Attribute):
        _feed(found, str(value))
    elif is_dataclass(value) and not isinstance(value, type):
        found.update(f"{type(value).__qualname__} {len(fields(value))} ".encode())
        for entry in fields(value):
            _feed(found, entry.name)
            _feed(found, getattr(value, entry.name))
    elif isinstance(value, Mapping):
        named = cast(Mapping[Any, Any], value)
        found.update(b"mapping ")
        _feed(found, [part for item in named.items() for part in item])
    elif isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        found.update(f"{type(value).__name__} {len(data)} ".encode() + data)
    elif isinstance(value, Sequence):
        items = cast(Sequence[Any], value)
        found.update(f"{len(items)} items ".encode())
        for item in items:
            _feed(found, item)
    elif value is None or isinstance(value, bool | int | float | np.generic | Path):
        found.update(f"{type(value).__name__} {value!r} ".encode())
    else:
        raise TypeError(f"a {type(value).__name__} has no digest")


def _code() -> str:
    """A hash of our own code, which results depend on, too."""
    found = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py", recurse_symlinks=True)):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()
