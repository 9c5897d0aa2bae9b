# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What is in a GGUF file: its fields, and its tensors as they are asked for.

The format is described in ggml's `docs/gguf.md`. The package `gguf` knows the quantised types and
dequantises them; its reader is not used, as it trusts the counts of a file (it reads on for ever
behind the end of one) and takes seconds for a vocabulary.
"""

import math
import mmap
import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.errors import from_extra
from daqkf.dialects.memory import require_memory

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = "general.alignment"
_DEFAULT_ALIGNMENT = 32
_DIMENSIONS = 4
"""The most that a tensor of ggml has."""

_NUMBERS = ("<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<f4", "?", "", "", "<u8", "<i8", "<f8")
"""The NumPy types of scalar fields, by the number of their type."""

_STRING, _ARRAY = 8, 9

_LEAST_FIELD, _LEAST_TENSOR = 13, 24
"""Bytes of the shortest field and of the shortest description of a tensor."""

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q6_K")
"""The types of tensors that are read, by ggml's names."""


@dataclass(frozen=True)
class Tensor:
    """Where the numbers of a tensor are."""

    shape: tuple[int, ...]
    """The outermost extent first, as NumPy has it, and not as the file has it."""
    kind: str
    """One of `TYPES`."""
    start: int
    """Bytes from the beginning of the file."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class _Kind:
    """A type of tensors."""

    name: str
    block: int
    """Numbers of a block."""
    size: int
    """Bytes of a block."""


class GgufFile:
    """A file that was checked: all that it declares lies within it."""

    fields: dict[str, Any]
    """Numbers, booleans and texts by name; arrays of numbers are NumPy's, of texts lists."""
    tensors: dict[str, Tensor]

    def __init__(self, path: Path):
        """Read all but the numbers of the tensors.

        Raises:
            ValueError: no such file, a damaged one, or a tensor of a type that is not read; the
                message begins with the path.
            OSError: it cannot be read.
            DaqkfError: the package `gguf` is missing.
        """
        self.path = path
        kinds = _kinds()
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                self._refuse("not a regular file")
            if not file.read(1):
                self._refuse("an empty file")
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = _Reader(self._data, self._refuse)
        tensors, fields = reader.header()
        self.fields = reader.fields(fields)
        alignment = self.fields.get(_ALIGNMENT, _DEFAULT_ALIGNMENT)
        if not _is_count(alignment) or alignment < 1 or alignment & (alignment - 1):
            self._refuse(f"{_ALIGNMENT} is no power of two")
        self.tensors = reader.tensors(tensors, kinds, alignment)

    def read(self, name: str) -> NDArray[np.float32]:
        """The numbers of a tensor, dequantised by the package `gguf`.

        Raises:
            ValueError: they take more memory than may be used.
            KeyError: there is no such tensor.
        """
        with from_extra("lm"):
            from gguf import GGMLQuantizationType
            from gguf.quants import dequantize

        tensor = self.tensors[name]
        require_memory(4 * math.prod(tensor.shape) + tensor.size, f"{self.path}: tensor '{name}'")
        raw = np.frombuffer(self._data[tensor.start : tensor.start + tensor.size], np.uint8)
        with np.errstate(all="ignore"):  # scales that are no numbers are for the caller to find
            rows = raw.reshape(*tensor.shape[:-1], -1)
            return dequantize(rows, GGMLQuantizationType[tensor.kind]).reshape(tensor.shape)

    def _refuse(self, reason: str) -> NoReturn:
        raise ValueError(f"{self.path}: {reason}")


def _kinds() -> dict[int, _Kind]:
    """What the package `gguf` knows of types of tensors."""
    with from_extra("lm"):
        from gguf import GGML_QUANT_SIZES

    return {
        int(kind): _Kind(kind.name, block, size) for kind, (block, size) in GGML_QUANT_SIZES.items()
    }


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class _Reader:
    """The beginning of a file, read from place to place, none of which may be behind its end."""

    def __init__(self, data: mmap.mmap, refuse: Callable[[str], NoReturn]):
        self._data, self._place, self._refuse = data, 0, refuse

    def header(self) -> tuple[int, int]:
        """The counts of tensors and of fields."""
        if self._bytes(4, "the header") != _MAGIC:
            self._refuse("not a GGUF file")
        version = self._unsigned(4, "the version")
        if version & 0xFFFF == 0 and version:
            self._refuse("a GGUF file of big-endian numbers, which are not read")
        if version not in _VERSIONS:
            self._refuse(f"GGUF of version {version}, not {' or '.join(map(str, _VERSIONS))}")
        tensors, fields = (self._unsigned(8, "the counts") for _ in range(2))
        for count, least, what in (
            (fields, _LEAST_FIELD, "fields"),
            (tensors, _LEAST_TENSOR, "tensors"),
        ):
            if count > self._left // least:
                self._refuse(f"{count} {what} do not fit the {len(self._data)} bytes of the file")
        return tensors, fields

    def fields(self, count: int) -> dict[str, Any]:
        """So many fields by name."""
        found: dict[str, Any] = {}
        for number in range(count):
            name = self._text(f"the name of field {number}")
            if name in found:
                self._refuse(f"field '{name}' is there twice")
            found[name] = self._value(f"field '{name}'")
        return found

    def tensors(self, count: int, kinds: dict[int, _Kind], alignment: int) -> dict[str, Tensor]:
        """Where so many tensors are, whose numbers lie behind this place."""
        described: dict[str, tuple[tuple[int, ...], _Kind, int]] = {}
        for number in range(count):
            name = self._text(f"the name of tensor {number}")
            if name in described:
                self._refuse(f"tensor '{name}' is there twice")
            described[name] = self._described(f"tensor '{name}'", kinds)
        begin = -(-self._place // alignment) * alignment
        found: dict[str, Tensor] = {}
        for name, (shape, kind, offset) in described.items():
            size = math.prod(shape) // kind.block * kind.size
            start = begin + offset
            if offset % alignment:
                self._refuse(f"tensor '{name}' is at {offset}, no multiple of {alignment}")
            if start + size > len(self._data):
                self._refuse(
                    f"tensor '{name}' ends at {start + size}, behind the {len(self._data)} bytes "
                    "of the file"
                )
            found[name] = Tensor(shape, kind.name, start, size)
        last, before = begin, ""
        for name, tensor in sorted(found.items(), key=lambda entry: entry[1].start):
            if tensor.start < last:
                self._refuse(f"tensors '{before}' and '{name}' overlap")
            last, before = tensor.start + tensor.size, name
        return found

    def _described(self, what: str, kinds: dict[int, _Kind]) -> tuple[tuple[int, ...], _Kind, int]:
        """The shape, the type and the offset of a tensor."""
        rank = self._unsigned(4, what)
        if not 0 < rank <= _DIMENSIONS:
            self._refuse(f"{what} has {rank} dimensions, not 1 to {_DIMENSIONS}")
        shape = tuple(self._unsigned(8, what) for _ in range(rank))[::-1]
        if 0 in shape:
            self._refuse(f"{what} has the shape {list(shape)}, which is empty")
        number, offset = self._unsigned(4, what), self._unsigned(8, what)
        kind = kinds.get(number)
        if kind is None or kind.name not in TYPES:
            called = f"of type {number}" if kind is None else f"of type {kind.name}"
            self._refuse(f"{what} is {called}, which is not read (known: {', '.join(TYPES)})")
        if shape[-1] % kind.block:
            self._refuse(f"{what} has rows of {shape[-1]}, no multiple of {kind.block}")
        return shape, kind, offset

    def _value(self, what: str) -> Any:
        """A field behind its name."""
        kind = self._unsigned(4, what)
        if kind == _STRING:
            return self._text(what)
        if kind == _ARRAY:
            return self._array(what)
        return self._numbers(kind, 1, what).item()

    def _array(self, what: str) -> Any:
        kind, count = self._unsigned(4, what), self._unsigned(8, what)
        if kind != _STRING:
            return self._numbers(kind, count, what)
        if count > self._left // 8:
            self._refuse(f"{what} has {count} texts, which the file has no room for")
        return [self._text(what) for _ in range(count)]

    def _numbers(self, kind: int, count: int, what: str) -> NDArray[Any]:
        if kind >= len(_NUMBERS) or not _NUMBERS[kind]:
            self._refuse(f"{what} has values of type {kind}, which is not read")
        dtype = np.dtype(_NUMBERS[kind])
        return np.frombuffer(self._bytes(count * dtype.itemsize, what), dtype)

    def _text(self, what: str) -> str:
        data = self._bytes(self._unsigned(8, what), what)
        try:
            return data.decode()
        except UnicodeDecodeError:
            self._refuse(f"{what} is not UTF-8")

    def _unsigned(self, size: int, what: str) -> int:
        return struct.unpack({4: "<I", 8: "<Q"}[size], self._bytes(size, what))[0]

    def _bytes(self, size: int, what: str) -> bytes:
        if size > self._left:
            self._refuse(f"{what} takes {size} bytes, where {self._left} are left of the file")
        start = self._place
        self._place += size
        return self._data[start : self._place]

    @property
    def _left(self) -> int:
        """Bytes from here to the end."""
        return len(self._data) - self._place
