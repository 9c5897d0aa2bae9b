# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ONNX models → `nn`. An operator that is not supported is named, with its node and file."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.errors import from_extra
from daqkf.dialects.interpreting import entry
from daqkf.dialects.memory import require_memory
from daqkf.dialects.nn.base import ROWS
from daqkf.dialects.nn.operators import nodes_of
from daqkf.lowering.frontends.onnx.batch import free_rows
from daqkf.lowering.frontends.onnx.custom import infer_shapes
from daqkf.lowering.frontends.onnx.graph import Graph, OnnxImportError
from daqkf.lowering.frontends.onnx.hosted import subgraphs
from daqkf.lowering.frontends.onnx.microsoft import known_operators
from daqkf.lowering.frontends.onnx.operators import OPERATORS

_OLDEST = 7
"""The opset from which on operators broadcast as NumPy does; older ones are converted to it."""


def import_onnx(path: Path, fixed: Mapping[str, Any] | None = None, free: bool = False) -> ModuleOp:
    """The graph of an ONNX model as the function `main` of `nn` operations.

    Weights stay as they are; extents that the file does not fix are `?`. Inputs that are `fixed`
    become constants: what depends on them alone is computed here, such as which branch of an If is
    taken. `free` lets inputs of a batch of one have any number of rows; see `free_rows`.

    Raises:
        OnnxImportError: no ONNX model, an unsupported operator or type, or shapes that do not fit.
        ImportError: the package `onnx` is missing.
        OSError: the file cannot be read.
    """
    with from_extra("onnx"):
        import onnx

    if not path.is_file():
        raise OnnxImportError(f"{path}: no such file")
    return _imported(lambda: _fixed(onnx.load(path), fixed or {}), path, free)


def import_model(
    model: Any, fixed: Mapping[str, Any] | None = None, free: bool = False
) -> ModuleOp:
    """The graph of an `onnx.ModelProto`, as `import_onnx` makes it of a file.

    Raises:
        OnnxImportError: as there.
    """

    def copy() -> Any:
        copied = type(model)()
        copied.CopyFrom(model)
        return _fixed(copied, fixed or {})

    return _imported(copy, Path("onnx.ModelProto"), free)


def _imported(load: Callable[[], Any], path: Path, free: bool = False) -> ModuleOp:
    """The graph of a model that may be changed, by what it is called in messages."""
    rows: list[str] = []
    try:
        model = load()
        if free:
            model = _whole(model)
            rows = free_rows(model)
        model = _whole(model)
    except OSError:
        raise
    except Exception as error:  # protobuf's, the checker's and the inference's have no common base
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise OnnxImportError(f"{path}: not readable as ONNX ({reason})") from None
    if not model.graph.output:
        raise OnnxImportError(f"{path}: the graph has no outputs")
    try:
        module = Graph(path, model, _version(model), OPERATORS).module()
    except VerifyException as error:
        raise OnnxImportError(f"{path}: {str(error).splitlines()[0]}") from None
    if rows:
        entry(module).attributes[ROWS] = ArrayAttr([StringAttr(name) for name in rows])
    return module


def _fixed(model: Any, values: Mapping[str, Any]) -> Any:
    """A model some of whose inputs are constants.

    Raises:
        ValueError: it has no such input, or one of another shape.
    """
    with from_extra("onnx"):
        from onnx import helper, numpy_helper

    inputs = {info.name: info for info in model.graph.input}
    for name, value in values.items():
        if name not in inputs:
            raise ValueError(f"no input '{name}' to fix (known: {', '.join(inputs)})")
        tensor = inputs[name].type.tensor_type
        array = np.asarray(value, helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        extents = [extent.dim_value for extent in tensor.shape.dim]
        if len(extents) != array.ndim or any(
            extent not in (0, own) for extent, own in zip(extents, array.shape, strict=True)
        ):
            raise ValueError(f"the input '{name}' cannot be an array of shape {array.shape}")
        model.graph.input.remove(inputs[name])
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def _whole(model: Any) -> Any:
    """A model that was checked: functions inlined, no sparse initialisers, shapes inferred."""
    with from_extra("onnx"):
        import onnx

    _require_text(model.graph)
    with known_operators(model, list(nodes_of(model.graph))):
        onnx.checker.check_model(model)
    if model.functions:
        with from_extra("onnx"):
            from onnx.inliner import inline_local_functions

        model = inline_local_functions(model)
    for tensor in model.graph.sparse_initializer:
        model.graph.initializer.append(_dense(tensor))
    del model.graph.sparse_initializer[:]
    version = _version(model)
    if version < _OLDEST:
        with from_extra("onnx"):
            from onnx.version_converter import convert_version

        try:
            model = convert_version(model, _OLDEST)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"opset {version} does not convert to {_OLDEST}: {reason}") from None
    return infer_shapes(model)


def _require_text(graph: Any) -> None:
    """Raise a ValueError for a name that is not UTF-8, which protobuf gives as bytes."""
    infos = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    names = [entry.name for entry in infos]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        for inner in subgraphs(node):
            _require_text(inner)
    for name in names:
        if isinstance(name, bytes):
            raise ValueError(f"the name {repr(name)[1:]} is not UTF-8")


def _version(model: Any) -> int:
    """The version of ONNX's own operators; the newest where a model has none of them."""
    with from_extra("onnx"):
        from onnx import defs

    versions = {entry.domain: entry.version for entry in model.opset_import}
    return versions.get("", versions.get("ai.onnx", defs.onnx_opset_version()))


def _dense(tensor: Any) -> Any:
    """The TensorProto of a SparseTensorProto, whose indices are flat, or one for each dimension."""
    with from_extra("onnx"):
        from onnx import numpy_helper

    values, indices = (numpy_helper.to_array(part) for part in (tensor.values, tensor.indices))
    name = f"the sparse initialiser '{tensor.values.name}'"
    require_memory(math.prod(tensor.dims) * values.dtype.itemsize, name)
    array = np.zeros(tuple(tensor.dims), values.dtype)
    if indices.ndim == 1:
        array.reshape(-1)[indices] = values
    else:
        array[tuple(indices.T)] = values
    return numpy_helper.from_array(array, tensor.values.name)
