# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""One process for each board: locks that end with the process that has them."""

import fcntl
import hashlib
import os
from pathlib import Path

from daqkf.drivers.bus import BoardError
from daqkf.support.cache import cache_folder


def lock_name(name: str) -> int:
    """Lock a board that has no file of its own, for programs of this machine and user.

    Returns a descriptor that is to be closed.

    Raises:
        BoardError: another process has it.
    """
    key = hashlib.sha256(name.encode()).hexdigest()[:32]
    folder = cache_folder() / "boards"
    folder.mkdir(parents=True, exist_ok=True)
    return _locked(folder / f"{key}.lock", os.O_RDWR | os.O_CREAT, name)


def lock_file(path: Path, name: str) -> int:
    """Lock the file of a device. Returns a descriptor that is to be closed.

    Raises:
        BoardError: it cannot be opened, or another process has it.
    """
    return _locked(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK, name)


def _locked(path: Path, flags: int, name: str) -> int:
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BoardError(f"{name}: {path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise BoardError(f"{name}: another process uses the board") from None
        raise BoardError(f"{name}: {path}: {error.strerror}") from None
    return descriptor
