# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the names of files say about what is in them; importing this costs nothing."""

import zipfile
from functools import cache
from pathlib import Path

SUFFIXES = {
    ".onnx": "onnx",
    ".gguf": "gguf",
    ".mlir": "linalg",
    ".mtx": "mtx",
    ".npy": "npy",
    ".npz": "npz",
    ".toml": "safetensors",
}
"""The formats of `daqkf.compiler.formats.FORMATS` by suffix."""

LAYER_SUFFIXES = (".npy", ".npz")
"""Of weights, which are a layer and not a network unless a network is asked for."""

_SPARSE = "format.npy"
"""The array that SciPy's files of sparse matrices have, and archives of layers have not."""

NETWORKS = tuple(suffix for suffix in SUFFIXES if suffix not in LAYER_SUFFIXES)
"""Suffixes of networks' files."""

MINILM = "minilm"
"""In place of a file: MiniLM, with its own calibration sentences and measure of accuracy."""

SMOLLM2 = "smollm2"
"""In place of a file: SmolLM2 of 135 million parameters, from a package that has it."""

MODELS = "daqkf.models"
"""The group of entry points that state models by name; see `daqkf.compiler.named_models`."""


@cache
def model_names() -> frozenset[str]:
    """Models that are known by name, those of other packages, too."""
    from importlib.metadata import entry_points

    return frozenset(entry_points(group=MODELS).names)


def is_named(path: str) -> bool:
    """Whether this is a model's name and no file."""
    return not Path(path).suffix and path in model_names()


def is_model_folder(path: str | Path) -> bool:
    """Whether this is a folder of Hugging Face with a model in it."""
    return (Path(path) / "config.json").is_file()


def is_network(path: str) -> bool:
    """Whether this is a network's file or folder, or a name, and not a layer's weights.

    An archive of arrays by name is a network of one layer, unless they are a sparse matrix. A file
    that is no archive is for its reader to refuse.
    """
    if Path(path).suffix != ".npz":
        return is_named(path) or Path(path).suffix in NETWORKS or is_model_folder(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _SPARSE not in archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False
