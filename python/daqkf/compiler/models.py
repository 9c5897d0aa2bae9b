# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Models that other packages hold in memory, each read into `nn`."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.formats import load_network
from daqkf.compiler.rows import with_free_rows
from daqkf.support.errors import DaqkfError, describe


def _onnx(model: Any, calibration: Any) -> ModuleOp:
    """An `onnx.ModelProto`."""
    from daqkf.lowering.frontends.onnx.graph import OnnxImportError
    from daqkf.lowering.frontends.onnx.module import import_model

    try:
        return with_free_rows(import_model(model), lambda: import_model(model, free=True))
    except OnnxImportError as error:
        raise DaqkfError(str(error)) from None


def _torch(model: Any, calibration: Any) -> ModuleOp:
    """A `torch.nn.Module`, which PyTorch exports to ONNX.

    Its inputs are the calibration data: by the names of the arguments of `forward`, or one array.
    """
    import torch  # pyright: ignore[reportMissingImports]

    if calibration is None:
        raise DaqkfError(
            "a PyTorch module needs calibration, with whose shapes it is exported; or export it "
            "with torch.onnx.export, and compile the file"
        )
    if not isinstance(calibration, Mapping | np.ndarray):
        calibration = calibration[0]
    given = calibration if isinstance(calibration, Mapping) else {"x": calibration}
    names = list(given)
    tensors = tuple(torch.as_tensor(np.asarray(given[name])) for name in names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "module.onnx"
        try:
            torch.onnx.export(
                model,
                tensors,
                str(path),
                input_names=names,
                dynamic_axes={name: {0: "batch"} for name in names},
            )
        except Exception as error:  # PyTorch's have no common base
            raise DaqkfError(f"torch.onnx.export: {describe(error)}") from None
        return load_network(path)


KINDS: dict[str, Callable[[Any, Any], ModuleOp]] = {
    "onnx.onnx_ml_pb2.ModelProto": _onnx,
    "torch.nn.modules.module.Module": _torch,
}
"""What reads a model, by its class or one of the classes that this inherits from."""
