# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the names of files say about what is in them; importing this costs nothing."""

from pathlib import Path

SUFFIXES = {
    ".onnx": "onnx",
    ".mlir": "linalg",
    ".mtx": "mtx",
    ".npy": "npy",
    ".npz": "npz",
    ".toml": "safetensors",
}
"""The formats of `daqkf.compiler.formats.FORMATS` by suffix."""

LAYER_SUFFIXES = (".npy", ".npz")
"""Of weights, which are a layer and not a network unless a network is asked for."""

NETWORKS = tuple(suffix for suffix in SUFFIXES if suffix not in LAYER_SUFFIXES)
"""Suffixes of networks' files."""

MINILM = "minilm"
"""In place of a file: MiniLM, with its own calibration sentences and measure of accuracy."""


def is_network(path: str) -> bool:
    """Whether this is a network's file, or MiniLM, and not a layer's weights."""
    return path == MINILM or Path(path).suffix in NETWORKS
