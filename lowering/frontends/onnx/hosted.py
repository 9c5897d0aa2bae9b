# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Nodes of ONNX that stay what they are: models of one node, which `nn.operator` carries."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute

from daqkf.dialects.errors import from_extra
from daqkf.dialects.memory import require_memory
from daqkf.dialects.nn.operators import (
    UNKNOWN,
    OnnxType,
    described,
    is_known,
    proto_of,
    shape_of_type,
    type_of,
)
from daqkf.dialects.nn.running import HostedOperator, infer_operator, serialised, sized
from daqkf.lowering.frontends.onnx.folding import is_weight

Array = np.ndarray[Any, Any]

_SMALL = 1 << 20
"""Bytes of whole numbers that inference of shapes is told, at most."""


def subgraphs(node: Any) -> Iterator[Any]:
    """The graphs in a node's attributes."""
    for entry in node.attribute:
        if entry.HasField("g"):
            yield entry.g
        yield from entry.graphs


def captured(node: Any) -> list[str]:
    """The names that a node's subgraphs read of the graph around it."""
    found: dict[str, None] = {}
    for graph in subgraphs(node):
        own = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
        own |= {tensor.values.name for tensor in graph.sparse_initializer}
        for inner in graph.node:
            found |= dict.fromkeys(
                name for name in (*inner.input, *captured(inner)) if name and name not in own
            )
            own |= set(inner.output)
        found |= dict.fromkeys(info.name for info in graph.output if info.name not in own)
    return list(found)


def model_of(model: Any, node: Any, names: Sequence[str]) -> bytes:
    """A node of a model as a model of its own, serialised.

    Names are numbers where no subgraph has any, so that equal nodes are equal models.

    Args:
        model: the whole model, whose versions of operator sets and functions it has.
        node: the node.
        names: what it reads, and what its subgraphs read of the graph around it.
    """
    with from_extra("onnx"):
        from onnx import ModelProto

    made = ModelProto(ir_version=model.ir_version)
    made.opset_import.extend(model.opset_import)
    made.functions.extend(model.functions)
    copy = made.graph.node.add()
    copy.CopyFrom(node)
    for field in ("name", "doc_string", "metadata_props"):
        copy.ClearField(field)
    renamed = {name: name for name in (*names, *node.output)}
    if not any(True for _ in subgraphs(node)):
        renamed = {name: f"i{number}" for number, name in enumerate(names)}
        renamed |= {name: f"o{number}" for number, name in enumerate(node.output)}
        renamed[""] = ""
        copy.input[:] = [renamed[name] for name in node.input]
        copy.output[:] = [renamed[name] for name in node.output]
    made.graph.name = "node"
    for name in names:
        made.graph.input.add().name = renamed[name]
    for name in filter(None, node.output):
        made.graph.output.add().name = renamed[name]
    return made.SerializeToString(deterministic=True)


def constant_model(array: Array) -> bytes:
    """A constant whose elements `nn` computes nothing in, as a model of one node."""
    with from_extra("onnx"):
        from onnx import defs, helper, numpy_helper

    strings = array.dtype.kind in "OUS"
    tensor = numpy_helper.from_array(array.astype(object) if strings else array)
    node = helper.make_node("Constant", [], ["o0"], value=tensor)
    graph = helper.make_graph([node], "node", [], [])
    graph.output.add().name = "o0"
    opsets = [helper.make_opsetid("", min(defs.onnx_opset_version(), _CONSTANT))]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="")
    return model.SerializeToString(deterministic=True)


_CONSTANT = 25
"""The version of Constant that is as good for all element types."""


def inferred(
    model: Any,
    node: Any,
    data: bytes,
    kinds: Mapping[str, Attribute],
    arrays: Mapping[str, Array],
    known: Sequence[Attribute | None],
) -> list[Attribute]:
    """The types of a node's results, by ONNX's inference for its operator or by onnxruntime's.

    Args:
        model: the whole model.
        node: the node.
        data: the same as a model of its own.
        kinds: the types of what it reads, by name.
        arrays: those of them that are constants.
        known: what is known of the results so far.

    Raises:
        ValueError: the operator is in no set that ONNX or onnxruntime knows.
    """
    reason = ""
    try:
        found = _by_onnx(model, node, kinds, arrays)
    except ValueError as error:
        found, reason = None, str(error)
    if found is None:
        try:
            found = infer_operator(data, list(kinds.values()))
        except ValueError as error:
            raise ValueError(reason or str(error)) from None
    return [_better(*kinds) for kinds in zip(known, found, strict=True)]


def _better(before: Attribute | None, after: Attribute) -> Attribute:
    """The type of a result, by the file and what was inferred of all of it, and by the node alone.

    The node is right where the file has another rank, of which onnxruntime only warns.
    """
    if before is None or not is_known(before):
        return after
    shapes = shape_of_type(before), shape_of_type(after)
    if shapes[0] is not None and shapes[1] is not None and len(shapes[0]) != len(shapes[1]):
        return after
    return before


def _by_onnx(
    model: Any, node: Any, kinds: Mapping[str, Attribute], arrays: Mapping[str, Array]
) -> list[Attribute] | None:
    """The types of the results as ONNX infers them; None of an operator that it does not know."""
    with from_extra("onnx"):
        from onnx import defs, numpy_helper, shape_inference

    versions = {entry.domain: entry.version for entry in model.opset_import}
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        version = versions.get(domain, versions.get(node.domain, 1))
        schema = defs.get_schema(node.op_type, version, domain)
    except defs.SchemaError:
        return None
    outputs = [name for name in node.output if name]
    protos = {name: proto_of(kind) for name, kind in kinds.items()}
    if any(proto is None for proto in protos.values()):
        return [OnnxType(UNKNOWN) for _ in outputs]
    data = {
        name: numpy_helper.from_array(array)
        for name, array in arrays.items()
        if array.dtype.kind in "iu" and array.nbytes <= _SMALL
    }
    try:
        types = shape_inference.infer_node_outputs(
            schema, node, protos, data, None, list(model.opset_import), model.ir_version
        )
    except Exception as error:  # the inference's and the checker's have no common base
        raise ValueError(" ".join(str(error).split())) from None
    return [type_of(types[name]) if name in types else OnnxType(UNKNOWN) for name in outputs]


def require_runnable(data: bytes, kinds: Sequence[Attribute]) -> None:
    """Check that something here can run a node, if the types of what it reads are known.

    Raises:
        ValueError: nothing can.
    """
    types = tuple(serialised(kind, extents=False) for kind in kinds)
    if None not in types:
        HostedOperator.of(data, types)


def folded(
    data: bytes, kinds: Sequence[Attribute], arrays: Sequence[Array], results: Sequence[Attribute]
) -> list[Array] | None:
    """What a node makes of constants, or None if it is better made when the network runs.

    That is if its results differ from run to run, may never be there (a loop), are no tensors, or
    are of an extent that is not known or so large that they are hardly weights.

    Raises:
        ValueError: it cannot run on these, or its results take more memory than may be used.
    """
    sizes, node = [sized(kind) for kind in results], described(data)
    if node.random or node.loops or any(size is None for size in sizes):
        return None
    size, read = sum(filter(None, sizes)), sum(array.nbytes for array in arrays)
    require_memory(size, "what it makes of constants")
    if not is_weight(size, read):
        return None
    types = tuple(serialised(kind, extents=False) for kind in kinds)
    found = [np.asarray(value) for value in HostedOperator.of(data, types)(arrays)]
    for kind, array in zip(results, found, strict=True):
        if not isinstance(kind, TensorType) or array.ndim != len(kind.get_shape()):
            raise ValueError(f"it gives an array of {array.ndim} dimensions, not {kind}")
    return found
