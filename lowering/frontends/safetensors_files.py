# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Tensors of safetensors files, one at a time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.memory import require_memory
from daqkf.passes.array_files import reading

_BYTES = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
"""Types of `ml_dtypes` by safetensors' names."""


class SafetensorsFile:
    """The tensors of a safetensors file, read as they are asked for."""

    names: frozenset[str]
    """Of its tensors."""

    def __init__(self, path: Path):
        """Open a file.

        Raises:
            ValueError: it is no safetensors file, or it takes more memory than may be used.
            OSError: it cannot be read.
        """
        from safetensors import safe_open

        with path.open("rb"):  # safe_open's error does not say which file it is
            pass
        require_memory(path.stat().st_size, str(path))
        with reading(path, "safetensors"):
            self._file = safe_open(path, framework="numpy")
            self._path, self.names = path, frozenset(self._file.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one of its tensors."""
        return tuple(self._file.get_slice(name).get_shape())

    def read(self, name: str) -> NDArray[Any]:
        """A tensor, those of bfloat16 and the like as float32.

        Raises:
            ValueError: there is none of this name, or it cannot be read.
        """
        import ml_dtypes  # noqa: F401  # gives NumPy bfloat16; `onnx` depends on it

        if name not in self.names:
            raise ValueError(f"{self._path.name} has no tensor '{name}'")
        part = self._file.get_slice(name)
        if (kind := _BYTES.get(part.get_dtype())) is not None:
            return self._decoded(name, kind).reshape(part.get_shape())
        with reading(self._path, f"safetensors: tensor '{name}'"):
            array = np.asarray(self._file.get_tensor(name))
        return array.astype(np.float32) if array.dtype.kind == "V" else array

    def _decoded(self, name: str, kind: str) -> NDArray[np.float32]:
        """A tensor of a type of one byte that safetensors has no array for: its bytes, decoded.

        They are behind a header of JSON, whose length the first eight bytes are.
        """
        import ml_dtypes

        with self._path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            first, last = json.loads(file.read(length))[name]["data_offsets"]
            file.seek(8 + length + first)
            data = file.read(last - first)
        return np.frombuffer(data, getattr(ml_dtypes, kind)).astype(np.float32)
