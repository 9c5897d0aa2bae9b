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

import tomllib
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from daqkf.lowering.frontends.layers import Layer, import_layers
from daqkf.lowering.frontends.safetensors_files import SafetensorsFile

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
    tensors = SafetensorsFile(path.parent / file)
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


def _layer(entry: Any, tensors: SafetensorsFile) -> Layer:
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
