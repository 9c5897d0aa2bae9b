# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""ONNX models of a batch of one → the same for any number of rows.

Exporters write the extents of the example that they ran. The 1 in front of the inputs is one of
them, and it stands again in the constant extents of Reshape. Each change here keeps what the model
computes of one row; whether several rows meet one another, only a run can tell.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.errors import from_extra
from daqkf.lowering.frontends.onnx.custom import infer_shapes

_ROWS = "daqkf.rows"
"""The name of the extent that is free."""


def free_rows(model: Any) -> list[str]:
    """Free the leading extent of the inputs whose batch is fixed to one, in place.

    Args:
        model: an `onnx.ModelProto` that the checker accepts.

    Returns:
        The names of these inputs, which have two dimensions or more.

    Raises:
        Exception: what ONNX's inference raises.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in constants and _of_one_row(info.type)]
    if not inputs:
        return []
    shapes = _shapes(infer_shapes(_copy(model)).graph)
    _free_reshapes(graph, shapes)
    for info in inputs:
        info.type.tensor_type.shape.dim[0].dim_param = _ROWS
    for info in graph.output:  # inference says again what is known
        for extent in info.type.tensor_type.shape.dim:
            extent.Clear()
    del graph.value_info[:]
    return [info.name for info in inputs]


def _copy(model: Any) -> Any:
    copied = type(model)()
    copied.CopyFrom(model)
    return copied


def _of_one_row(kind: Any) -> bool:
    """Whether a TypeProto is of a tensor of 1 × … ."""
    extents = kind.tensor_type.shape.dim if kind.HasField("tensor_type") else ()
    return len(extents) > 1 and extents[0].dim_value == 1


def _shapes(graph: Any) -> dict[str, list[int]]:
    """The extents of tensors by name, where all of them are known."""
    found: dict[str, list[int]] = {}
    for info in (*graph.input, *graph.output, *graph.value_info):
        if not info.type.tensor_type.HasField("shape"):
            continue
        extents = info.type.tensor_type.shape.dim
        if all(extent.HasField("dim_value") for extent in extents):
            found[info.name] = [extent.dim_value for extent in extents]
    return found


def _free_reshapes(graph: Any, shapes: Mapping[str, list[int]]) -> None:
    """Let the leading extent follow the rows, where the extents of a Reshape are constant."""
    with from_extra("onnx"):
        from onnx import helper, numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    for position, node in enumerate(graph.node):
        if node.op_type != "Reshape" or node.domain not in ("", "ai.onnx"):
            continue
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        if len(node.input) < 2 or node.input[1] not in tensors or attributes.get("allowzero"):
            continue
        extents = numpy_helper.to_array(tensors[node.input[1]])
        free = _freed(extents, shapes.get(node.input[0]), shapes.get(node.output[0]))
        if free is not None:
            name = f"{_ROWS}.{position}"
            graph.initializer.append(numpy_helper.from_array(free, name))
            node.input[1] = name


def _freed(
    extents: NDArray[np.int64], read: list[int] | None, made: list[int] | None
) -> NDArray[np.int64] | None:
    """Extents of a Reshape that are the same for one row, of which the first is not fixed.

    Args:
        extents: as the model has them.
        read: the shape of what is reshaped, if it is known.
        made: that of what comes out.
    """
    if not extents.size or extents[0] in (0, -1):
        return None
    free = extents.copy()
    if -1 not in extents:
        free[0] = -1
    elif read is not None and read[:1] == [1] and extents[0] == 1:
        free[0] = 0
    elif made is not None and len(made) == len(extents):
        free = np.array([-1, *made[1:]], extents.dtype)
    else:
        return None
    return free
