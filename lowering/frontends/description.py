# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A network of linear layers whose tensors are in a safetensors file.

The TOML file says which, in the order in which they follow one another:

```toml
safetensors = "model.safetensors"  # beside this file
layers = [
    { weights = "up.weight", transpose = true, bias = "up.bias", activation = "gelu" },
    { weights = "down.weight", transpose = true, residual = true },
]
```

Weights are [K, N], or [N, K] with `transpose`, as PyTorch stores them. A residual layer adds its
input to its result.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.dialects.memory import require_memory
from daqkf.lowering.frontends.layers import Layer, import_layers
from daqkf.passes.array_files import reading

_KEYS: dict[str, type] = {
    "weights": str,
    "transpose": bool,
    "bias": str,
    "activation": str,
    "residual": bool,
}
"""Of a layer, and what their values are."""


def read_description(path: Path) -> ModuleOp:
    """The network that a TOML file describes.

    Raises:
        ValueError: a malformed description, a missing or unreadable tensor, or shapes that do
            not fit.
        OSError: one of the files cannot be read.
    """
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None
    file, layers = facts.get("safetensors"), facts.get("layers")
    if not isinstance(file, str) or not isinstance(layers, list) or not layers:
        raise ValueError(f'{path}: a network has safetensors = "FILE" and a list of layers')
    if surplus := set(facts) - {"safetensors", "layers"}:
        raise ValueError(f"{path}: does not know '{min(surplus)}'")
    tensors = _Tensors(path.parent / file)
    found: list[Layer] = []
    for number, entry in enumerate(layers):
        try:
            found.append(_layer(entry, tensors))
        except ValueError as error:
            raise ValueError(f"{path}: layers[{number}]: {error}") from None
    try:
        return import_layers(found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _layer(entry: Any, tensors: "_Tensors") -> Layer:
    if not isinstance(entry, dict) or "weights" not in entry:
        raise ValueError("a layer is a table with weights")
    for key, value in entry.items():
        if key not in _KEYS:
            raise ValueError(f"does not know '{key}' (known: {', '.join(_KEYS)})")
        if not isinstance(value, _KEYS[key]):
            raise ValueError(f"'{key}' must be {_KEYS[key].__name__}")
    name = entry["weights"]
    weights = tensors.read(name)
    return Layer(
        name.removesuffix(".weight"),
        weights.T if entry.get("transpose", False) else weights,
        tensors.read(entry["bias"]) if "bias" in entry else None,
        entry.get("activation"),
        entry.get("residual", False),
    )


_BYTES = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
"""Types of `ml_dtypes` by safetensors' names."""


class _Tensors:
    """The tensors of a safetensors file, read as they are asked for."""

    def __init__(self, path: Path):
        from safetensors import safe_open

        with path.open("rb"):  # safe_open's error does not say which file it is
            pass
        require_memory(path.stat().st_size, str(path))
        with reading(path, "safetensors"):
            self._file = safe_open(path, framework="numpy")
            self._path, self._names = path, set(self._file.keys())

    def read(self, name: str) -> NDArray[Any]:
        """A tensor, those of bfloat16 and the like as float32.

        Raises:
            ValueError: there is none of this name, or it cannot be read.
        """
        import ml_dtypes  # noqa: F401  # gives NumPy bfloat16; `onnx` depends on it

        if name not in self._names:
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
