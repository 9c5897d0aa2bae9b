# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Files that networks come in, each read into `nn`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.file_suffixes import SUFFIXES, is_model_folder
from daqkf.passes import array_files
from daqkf.support.errors import EXPECTED, DaqkfError, describe


def _onnx(path: Path, fixed: Mapping[str, Any] | None = None, free: bool = False) -> ModuleOp:
    from daqkf.lowering.frontends.onnx.module import import_onnx

    return import_onnx(path, fixed, free)


def _linalg(path: Path) -> ModuleOp:
    from daqkf.lowering.frontends.linalg.module import parse_network
    from daqkf.support.ir import make_context

    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DaqkfError(f"{path}: not a text file") from None
    try:
        module = parse_network(make_context(), text, str(path))
    except EXPECTED as error:
        message = describe(error)
        place = "" if message.startswith(str(path)) else f"{path}: "
        raise DaqkfError(f"{place}{message}") from None
    dialects = {op.dialect_name() for op in module.walk()}
    if "nn" not in dialects and (below := sorted(dialects & _BELOW)):
        raise DaqkfError(
            f"{path}: no network, but IR of {' and '.join(below)}: daqkf-opt runs passes on it, "
            "and daqkf-translate makes program images of it"
        )
    return module


def _mtx(path: Path) -> ModuleOp:
    from daqkf.lowering.frontends.matrices import read_mtx

    return read_mtx(path)


def _npy(path: Path) -> ModuleOp:
    from daqkf.lowering.frontends.matrices import read_npy

    return read_npy(path)


def _npz(path: Path) -> ModuleOp:
    from daqkf.lowering.frontends.matrices import read_npz

    return read_npz(path)


def _gguf(path: Path) -> ModuleOp:
    from daqkf.lowering.frontends.gguf.module import read_gguf

    return read_gguf(path)


def _huggingface(path: Path) -> ModuleOp:
    from daqkf.lowering.frontends.huggingface import read_folder

    return read_folder(path)


def _safetensors(path: Path) -> ModuleOp:
    from daqkf.lowering.frontends.description import read_description

    return read_description(path)


_BELOW = frozenset(("spaq", "dfke", "rpea"))
"""The dialects that networks become, whose IR no compilation begins with."""

FORMATS: dict[str, Callable[[Path], ModuleOp]] = {
    "onnx": _onnx,
    "linalg": _linalg,
    "mtx": _mtx,
    "npy": _npy,
    "npz": _npz,
    "safetensors": _safetensors,
    "gguf": _gguf,
    "huggingface": _huggingface,
}
"""What reads each format; it is imported only then."""


def load_array(path: str | Path, what: str) -> NDArray[Any]:
    """An array from a .npy file.

    Raises:
        DaqkfError: it is no such file.
        OSError: it cannot be read.
    """
    try:
        return array_files.load_array(path, f"{what} in .npy format")
    except ValueError as error:
        raise DaqkfError(str(error)) from None


def load_weights(path: str | Path) -> Any:
    """Weights [K, N] from a .npy file, or a SciPy sparse matrix from a .npz file.

    Raises:
        DaqkfError: it is no such file, or it cannot be read.
    """
    if Path(path).suffix != ".npz":
        return load_array(path, "weights")
    from daqkf.lowering.frontends.matrices import load_sparse

    try:
        return load_sparse(path)
    except ValueError as error:
        raise DaqkfError(str(error)) from None


def load_network(
    path: str | Path,
    file_format: str | None = None,
    fixed: Mapping[str, Any] | None = None,
    free: bool = False,
) -> ModuleOp:
    """A network's file as a module of `nn`, whose function `main` is the network.

    - `.onnx`: an ONNX model.
    - `.mlir`: linalg on tensors, as torch-mlir and IREE print it; or a module of `nn`.
    - `.mtx`, `.npy`, `.npz`: one layer; see `daqkf.lowering.frontends.matrices`.
    - `.toml`: layers in a safetensors file; see `daqkf.lowering.frontends.description`.
    - `.gguf`, or a folder with `config.json`: a decoder of text; see
      `daqkf.lowering.frontends.decoder`.

    Args:
        path: the file or folder.
        file_format: one of `FORMATS`, in place of what the suffix says.
        fixed: inputs of an ONNX model, by name, that become constants.
        free: let inputs of an ONNX model whose batch is one have any number of rows.

    Raises:
        DaqkfError: an unknown suffix, or a file that cannot be read or has something unsupported.
    """
    path = Path(path)
    folder = is_model_folder(path)
    file_format = file_format or ("huggingface" if folder else SUFFIXES.get(path.suffix))
    if file_format is None:
        raise DaqkfError(f"{path}: not a network's file (known: {', '.join(SUFFIXES)})")
    try:
        if not folder:
            with path.open("rb"):  # not all readers say which file is missing
                pass
        if fixed or free:
            if file_format != "onnx":
                raise DaqkfError(f"{path}: inputs are fixed in ONNX files alone")
            return _onnx(path, fixed, free)
        return FORMATS[file_format](path)
    except DaqkfError:
        raise
    except EXPECTED as error:
        raise DaqkfError(describe(error)) from None
