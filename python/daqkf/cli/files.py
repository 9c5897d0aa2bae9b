# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Files and folders that command lines name, looked at before anything heavy is imported."""

import errno
import os
from pathlib import Path

from daqkf.compiler.file_suffixes import LAYER_SUFFIXES, NETWORKS, is_named, is_network
from daqkf.support.errors import DaqkfError

_SAFETENSORS = ".safetensors"


def check_inputs(*paths: str | None) -> None:
    """Raise an OSError that names the first of these files and folders that is not there."""
    for path in paths:
        if path is not None:
            Path(path).stat()


def check_weights(path: str) -> None:
    """Check that there is such a file, and that its name says how to read it.

    Raises:
        DaqkfError: it does not, or says that something else is needed.
        OSError: there is none.
    """
    if is_named(path):
        return
    suffix = Path(path).suffix
    if suffix == _SAFETENSORS:
        raise DaqkfError(
            f"{path}: weights without the layers that use them: compile a .toml file that "
            "describes these (docs/walkthrough.md, 'Networks')"
        )
    check_inputs(path)
    if suffix not in LAYER_SUFFIXES and not is_network(path):
        known = ", ".join((*LAYER_SUFFIXES, *NETWORKS))
        raise DaqkfError(f"{path}: not a file of weights or of a network (known: {known})")


def read_text(path: str | Path) -> str:
    """The text of a file.

    Raises:
        DaqkfError: it is no UTF-8.
        OSError: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DaqkfError(f"{path}: not a text file") from None


def check_output(path: str | None) -> None:
    """Check that a file can be written there, whose folder need not exist.

    Raises:
        OSError: there is a folder, or nothing can be written.
    """
    if path is None:
        return
    if Path(path).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    _check_parent(Path(path))


def check_output_folder(path: str | None) -> None:
    """Check that files can be written into a folder, which need not exist.

    Raises:
        OSError: there is a file, or nothing can be written.
    """
    if path is not None:
        _check_parent(Path(path) / "file")


def _check_parent(path: Path) -> None:
    """Check that a new entry can be made in the nearest folder above a path that exists."""
    folder = next(parent for parent in path.parents if os.path.lexists(parent))
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
