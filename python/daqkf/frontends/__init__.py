# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Files that networks come in, each read into `nn`."""

from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from daqkf.errors import DaqkfError

SUFFIXES = (".onnx", ".mlir")


def load_network(path: str | Path) -> ModuleOp:
    """A network's file as a module of `nn`, whose function `main` is the network.

    `.onnx`: an ONNX model. `.mlir`: a module of `nn`.

    Raises:
        DaqkfError: an unknown suffix, or a file that cannot be read or has something unsupported.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        from daqkf.lowering.import_onnx import import_onnx

        return import_onnx(path)
    if path.suffix == ".mlir":
        from daqkf.ir import make_context, parse_module

        return parse_module(make_context(), path.read_text(encoding="utf-8"), str(path))
    raise DaqkfError(f"{path}: not a network's file (known: {', '.join(SUFFIXES)})")
