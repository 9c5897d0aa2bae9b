# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays in files: the one place where NumPy's formats come in, and archives of any names go out.

What a header declares is compared with the size of its file, and with the memory that may be used,
before anything is allocated. Whatever NumPy and `zipfile` raise at damaged files becomes a
ValueError of one line, which begins with the file's name. Nothing is ever unpickled.
"""

import io
import math
import os
import stat
import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.memory import require_memory

_CHUNK = 1 << 20
_LAST_CODE_POINT = 0x10FFFF


@contextmanager
def reading(place: str | Path, what: str) -> Generator[None]:
    """Errors of a library that reads a file as one line, `PLACE: not readable as WHAT (…)`.

    Raises:
        ValueError: for whatever a damaged file makes the library stumble over.
        OSError: the system cannot open or read the file.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{place}: not readable as {what} ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]


def load_array(path: str | Path, what: str = "a NumPy array") -> NDArray[Any]:
    """The array in a `.npy` file, of any shape and dtype but objects.

    Raises:
        ValueError: it is no such file, is shorter or longer than its header says, or takes more
            memory than may be used.
        OSError: it cannot be opened.
    """
    with reading(path, what), Path(path).open("rb") as file:
        found = os.fstat(file.fileno())
        return _read_array(file, found.st_size if stat.S_ISREG(found.st_mode) else None)


def load_archive(path: str | Path, what: str = "a NumPy archive") -> dict[str, NDArray[Any]]:
    """The arrays by name in a `.npz` file.

    Raises:
        ValueError: it is no such file, a member is not what its header says, or all of them
            together take more memory than may be used.
        OSError: it cannot be opened.
    """
    with reading(path, what), Path(path).open("rb") as file:
        return _read_archive(file)


def parse_archive(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays by name in the bytes of a `.npz` file.

    Raises:
        ValueError: they are none; see `load_archive`.
    """
    try:
        return _read_archive(io.BytesIO(data))
    except Exception as error:
        raise ValueError(_reason(error)) from None


def array_file(array: NDArray[Any]) -> bytes:
    """A `.npy` file of an array."""
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    return data.getvalue()


def archive(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of a `.npz` file with arrays by name, whatever they are called.

    NumPy's own `savez` takes the names as parameters beside two of its own.

    Raises:
        ValueError: a name that no archive can have, as it has a NUL or is longer than 65,000 bytes;
            or a value that is no array.
    """
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, array in arrays.items():
            if "\0" in name or len(name.encode(errors="replace")) > 65_000:
                raise ValueError(f"no .npz file can have an array of the name {name[:60]!r}")
            with file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, _storable(name, array), allow_pickle=False)
    return data.getvalue()


def _storable(name: str, value: Any) -> NDArray[Any]:
    """A value as an array that a `.npy` file has: strings and few bits in NumPy's own types."""
    if value is None or isinstance(value, list | dict):
        raise ValueError(f"no .npz file can have '{name[:60]}', which is no tensor; use Python")
    array = np.asanyarray(value)
    if array.dtype.kind == "O":
        return array.astype(np.str_)
    is_added = array.dtype.isbuiltin == 2  # a type of a package, of few bits
    return array.astype(np.float32) if is_added else array


def _read_archive(file: BinaryIO) -> dict[str, NDArray[Any]]:
    if not zipfile.is_zipfile(file):
        raise ValueError("no archive")
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        require_memory(sum(member.file_size for member in members), "all of it")
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise ValueError(f"has two arrays '{name}'")
            try:
                with archive.open(member) as stored:
                    arrays[name] = _read_array(stored, member.file_size)
            except Exception as error:
                raise ValueError(f"'{name}': {_reason(error)}") from None
    return arrays


def _read_array(file: Any, size: int | None) -> NDArray[Any]:
    """The array that a stream of `size` bytes holds from its beginning to its end."""
    shape, fortran_order, dtype = _header(file)
    needed = math.prod(shape) * dtype.itemsize
    if size is not None and size - file.tell() != needed:
        raise ValueError(
            f"its header declares {_extents(shape)} of {dtype}, {needed} bytes, but "
            f"{size - file.tell()} follow"
        )
    require_memory(needed, f"an array of {_extents(shape)} {dtype}")
    data = np.empty(needed, np.uint8)
    view, filled = memoryview(data), 0
    while filled < needed:
        count = file.readinto(view[filled : filled + _CHUNK])
        if not count:
            raise ValueError(f"it ends after {filled} of {needed} bytes")
        filled += count
    if file.read(1):
        raise ValueError(f"it goes on after its {needed} bytes")
    if not needed:
        return np.empty(shape, dtype)
    _require_texts(data.view(dtype))
    return data.view(dtype).reshape(shape, order="F" if fortran_order else "C")


def _require_texts(array: NDArray[Any]) -> None:
    """Raise a ValueError for texts with numbers that stand for no letter.

    Python ends in a SystemError where somebody asks such a text what it says.
    """
    for name in array.dtype.names or ():
        _require_texts(array[name])
    if array.dtype.kind == "U" and array.dtype.itemsize:
        letters = np.ascontiguousarray(array).reshape(-1).view(f"{array.dtype.byteorder}u4")
        if (letters > _LAST_CODE_POINT).any():
            raise ValueError("a text with numbers beyond those of Unicode's letters")


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        raise ValueError("it does not begin as an array in .npy format does") from None
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version[0]}.{version[1]} of the .npy format")
    try:
        shape, fortran_order, dtype = readers[version](file)
    # NumPy evaluates a header as Python's literals, which stumbles in many ways.
    except Exception as error:
        raise ValueError(f"a damaged header: {_reason(error)}") from None
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded, as they may run anything")
    if any(extent < 0 for extent in shape) or math.prod(shape) * dtype.itemsize >= 1 << 63:
        raise ValueError(f"its header declares {_extents(shape)} of {dtype}, which cannot be")
    return shape, fortran_order, dtype


def _extents(shape: tuple[int, ...]) -> str:
    return " × ".join(str(extent) for extent in shape) or "one"
