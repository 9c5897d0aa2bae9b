# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How the host runs an operator of ONNX: by onnxruntime, or by ONNX's reference evaluator.

The evaluator runs what onnxruntime does not know, what it departs from ONNX's definition in, and
everything where it is not installed. onnxruntime works on one thread here, so that sums have the
same last bits everywhere, and a network of many operators has not as many pools of threads.
"""

import importlib
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType, UnrankedTensorType
from xdsl.ir import Attribute

from daqkf.dialects.dense import storage_dtype
from daqkf.dialects.errors import DaqkfError, from_extra
from daqkf.dialects.memory import require_memory
from daqkf.dialects.nn.operators import (
    ELEMENTS,
    UNKNOWN,
    OnnxType,
    OperatorOp,
    described,
    element_text,
    element_type_of,
    nodes_of,
    operator_name,
    proto_of,
    shape_of_type,
)

_CARRIED = frozenset(
    (
        *("float", "double", "float16", "bool", "string"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    )
)
"""Element types of the arrays that onnxruntime exchanges with NumPy."""

_CONTAINERS = frozenset(("map", "optional", "seq", "tensor"))
_NAME = re.compile(r"\w+")

_SILENT = 4
"""onnxruntime's log: only what ends the process."""

_LARGE = 1 << 24
"""Bytes of results from which on the memory that there is is asked for."""

Run = Callable[[dict[str, Any]], list[Any]]
"""The outputs of a model, in order, of its inputs by name."""


def run_operator(op: OperatorOp, args: Sequence[Any]) -> tuple[Any, ...]:
    """What an operator makes of its operands.

    Tensors are arrays, those of strings arrays of objects; sequences are lists, maps are
    dictionaries, and an optional value that is not there is None.

    Raises:
        ValueError: nothing here can run it, or not on these operands.
    """
    kinds = tuple(value.type for value in op.inputs)
    values = [_read(kind, value) for kind, value in zip(kinds, args, strict=True)]
    types = tuple(_type(kind, value) for kind, value in zip(kinds, values, strict=True))
    wanted = [value.type for value in op.outputs]
    size = sum(sized(kind) or 0 for kind in wanted)
    if size > _LARGE:
        require_memory(size, f"what {op.operator.data} makes")
    results = HostedOperator.of(op.model.data, types)(values)
    return tuple(_given(kind, value) for kind, value in zip(wanted, results, strict=True))


def infer_operator(data: bytes, kinds: Sequence[Attribute]) -> list[Attribute]:
    """The types that onnxruntime infers of what a model of one node gives.

    It knows operators that ONNX does not. Where the type of an operand is not known, nothing is
    known of the results.

    Raises:
        ValueError: it is not installed, does not know the operator, or not on such operands.
    """
    types = tuple(serialised(kind) for kind in kinds)
    if None in types:
        return [OnnxType(UNKNOWN) for _ in described(data).outputs]
    session = _session(_model(data, types))
    if isinstance(session, str):
        raise ValueError(f"{described(data).operator} cannot be run ({session})")
    return [_of_session(output.type, output.shape) for output in session.get_outputs()]


class HostedOperator:
    """An operator that was made ready to run on operands of some types."""

    def __init__(self, data: bytes, types: tuple[bytes | None, ...]):
        self._model = _model(data, types)
        self._name = operator_name(self._model.graph.node[0])
        self._inputs = [info.name for info in self._model.graph.input]
        makers: list[Callable[[Any], Run | str]] = [_by_value, _by_onnxruntime, _by_reference]
        self._makers = iter(reversed(makers) if _departs(self._model) else makers)
        self._runs: list[Run] = []
        self._reasons: list[str] = []
        if not self._made():
            raise ValueError(self._refusal(self._reasons))

    def _made(self) -> bool:
        """Make the next way to run it, if there is one."""
        for maker in self._makers:
            found = maker(self._model)
            if not isinstance(found, str):
                self._runs.append(found)
                return True
            self._reasons += filter(None, [found])
        return False

    @staticmethod
    @lru_cache(maxsize=4096)
    def of(data: bytes, types: tuple[bytes | None, ...]) -> "HostedOperator":
        """That of a model of one node, which is made once.

        Args:
            data: the serialised model.
            types: the serialised TypeProtos of its inputs; None of one that is not known.

        Raises:
            ValueError: nothing here can run it.
        """
        return HostedOperator(data, types)

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """What it makes of values.

        Raises:
            ValueError: nothing here can run it on these.
        """
        feeds, reasons, number = dict(zip(self._inputs, values, strict=True)), list[str](), 0
        while number < len(self._runs) or self._made():
            try:
                return self._runs[number](feeds)
            except Exception as error:  # of many kinds, with nothing in common
                reasons.append(_line(error))
            number += 1
        raise ValueError(self._refusal([*self._reasons, *reasons]))

    def _refusal(self, reasons: Sequence[str]) -> str:
        return f"{self._name} cannot be run ({'; '.join(reasons)})"


def _model(data: bytes, types: Sequence[bytes | None]) -> Any:
    """A model of one node whose inputs have types, as far as these are known."""
    with from_extra("onnx"):
        from onnx import ModelProto

    model = ModelProto.FromString(data)
    for info, known in zip(model.graph.input, types, strict=True):
        if known is not None:
            info.type.ParseFromString(known)
    return model


@lru_cache(maxsize=4096)
def serialised(kind: Attribute, extents: bool = True) -> bytes | None:
    """The serialised TypeProto of a type, with its extents or without; None if it is not known."""
    proto = proto_of(kind)
    if proto is None:
        return None
    if not extents and proto.HasField("tensor_type"):
        proto.tensor_type.ClearField("shape")
    return proto.SerializeToString(deterministic=True)


def sized(kind: Attribute) -> int | None:
    """The bytes that a tensor of this type takes in NumPy; None if its extents are not known."""
    shape, element = shape_of_type(kind), element_text(element_type_of(kind))
    if shape is None or DYNAMIC_INDEX in shape or not (dtype := _dtype(element)):
        return None
    return math.prod(shape) * dtype.itemsize


def _dtype(element: str) -> "np.dtype[Any] | None":
    """NumPy's type for elements that ONNX has this name for."""
    with from_extra("onnx"):
        from onnx import TensorProto, helper

    if element == "string":
        return np.dtype(object)
    if not element or element.upper() not in list(TensorProto.DataType.keys()):
        return None
    return helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(element.upper()))


def _type(kind: Attribute, value: Any) -> bytes | None:
    """The serialised type of an operand, by what is known of it or else by the value."""
    return serialised(kind, extents=False) or _serialised_of(value)


def _serialised_of(value: Any) -> bytes | None:
    with from_extra("onnx"):
        from onnx import TypeProto, helper

    found = TypeProto()
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, Any]", value)
        found.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    elif isinstance(value, list) and value:
        inner = _serialised_of(value[0])
        if inner is None:
            return None
        found.sequence_type.elem_type.ParseFromString(inner)
    else:
        return None
    return found.SerializeToString(deterministic=True)


def _departs(model: Any) -> bool:
    """Whether onnxruntime gives something else than ONNX defines.

    Its Fourier transforms have errors of many units in the last place; it unpools to other places
    where the shape of the output is given, aligns corners with extents that are rounded, masks
    the past of attention differently, drops other values than the seed says, and has no softmax
    that is rounded to float16 on the way.
    """
    with from_extra("onnx"):
        from onnx import TensorProto

    (node,) = model.graph.node
    if node.domain not in ("", "ai.onnx"):
        return False
    attributes = {entry.name: entry for entry in node.attribute}
    match node.op_type:
        case "DFT" | "STFT":
            return True
        case "Dropout":
            return len(node.input) > 2
        case "LogSoftmax" | "Softmax":
            kind = model.graph.input[0].type.tensor_type.elem_type
            return kind == TensorProto.FLOAT16
        case "MaxUnpool":
            return len(node.input) > 2
        case "Resize":
            mode = attributes.get("coordinate_transformation_mode")
            return mode is not None and mode.s == b"align_corners" and len(node.input) < 4
        case "Attention":
            return "is_causal" in attributes
        case _:
            return False


def _by_value(model: Any) -> Run | str:
    """How a constant is given, which is read once."""
    with from_extra("onnx"):
        from onnx import numpy_helper

    (node,) = model.graph.node
    if node.op_type != "Constant" or node.attribute[0].name != "value":
        return ""
    array = numpy_helper.to_array(node.attribute[0].t)
    return lambda feeds: [array]


def _by_onnxruntime(model: Any) -> Run | str:
    """How onnxruntime runs a model, or why it does not."""
    session = _session(model)
    if isinstance(session, str):
        return session
    for value in (*session.get_inputs(), *session.get_outputs()):
        foreign = set(_NAME.findall(value.type)) - _CARRIED - _CONTAINERS
        if foreign:
            return f"onnxruntime: no exchange of {foreign.pop()} with NumPy"
    return lambda feeds: session.run(None, feeds)


def _session(model: Any) -> Any:
    """A session of onnxruntime, or the reason why there is none."""
    try:
        with from_extra("run"):
            runtime: Any = importlib.import_module("onnxruntime")
    except DaqkfError as error:
        return str(error)
    options = runtime.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # There is nothing to optimise in one node, and what it is made of runs as it is written.
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return runtime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=False,  # to the same, with a message on standard output
        )
    except Exception as error:  # onnxruntime's have no common base
        return f"onnxruntime: {_line(error)}"


def _by_reference(model: Any) -> Run | str:
    """How ONNX's own evaluator runs a model, or why it does not."""
    with from_extra("onnx"):
        from onnx.reference import ReferenceEvaluator

    try:
        evaluator: Any = ReferenceEvaluator(_with_conditions(model))
    except Exception as error:  # of many kinds
        return f"onnx: {_line(error)}"

    def run(feeds: dict[str, Any]) -> list[Any]:
        with np.errstate(all="ignore"):
            return list(evaluator.run(None, feeds))

    return run


def _with_conditions(model: Any) -> Any:
    """A model whose loops all have a condition; the evaluator never begins one that has none."""
    with from_extra("onnx"):
        from onnx import ModelProto, helper, numpy_helper

    made = ModelProto()
    made.CopyFrom(model)
    loops = [
        node
        for node in nodes_of(made.graph)
        if node.op_type == "Loop" and not "".join(node.input[1:2])
    ]
    for node in loops:
        node.input[:] = [*(node.input[:1] or [""]), _ALWAYS, *node.input[2:]]
    if loops:
        true = numpy_helper.from_array(np.array(True))
        made.graph.node.insert(0, helper.make_node("Constant", [], [_ALWAYS], value=true))
    return made


_ALWAYS = "the condition of loops that have none"


def _line(error: Exception) -> str:
    """The reason of a library's error, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return _CODE.sub("", text)[:_LONGEST]


_SEQUENCE = re.compile(r"(?:optional\()?seq\(tensor\((\w+)\)\)+")

_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")

_LONGEST = 300
"""Characters of a reason; what is left out are places in the source of others."""


def _of_session(name: str, shape: Sequence[Any]) -> Attribute:
    """The type of what a session gives, of which it tells ONNX's name and the shape."""
    if not name.startswith("tensor("):
        return OnnxType(name.replace(" ", ""))
    text = name.removeprefix("tensor(").removesuffix(")")
    element = ELEMENTS.get(text) or OnnxType(text)
    # onnxruntime says the same of a scalar and of a tensor without a rank.
    if not shape:
        return UnrankedTensorType(element)
    return TensorType(
        element, [n if isinstance(n, int) and n >= 0 else DYNAMIC_INDEX for n in shape]
    )


def _read(kind: Attribute, value: Any) -> Any:
    """An operand as an operator reads it, in the elements that its type says."""
    if value is None or isinstance(value, list | dict):
        return cast(Any, value)
    element = element_type_of(kind)
    text = element_text(element) if element is not None else ""
    return _as(text, np.asarray(value))


def _as(text: str, array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """An array in the elements that ONNX has this name for, if it is one of a tensor."""
    if array.dtype.kind in "USO":
        return array.astype(object)
    return array.astype(_dtype(text) or array.dtype, copy=False)


def _given(kind: Attribute, value: Any) -> Any:
    """A result as its type says: of types that `nn` computes with, as its operations have it.

    Raises:
        ValueError: it is of another type or rank. ONNX's evaluator mistakes lists for optional
            values, and scalars that a loop collects for vectors.
    """
    text = kind.text.data if isinstance(kind, OnnxType) else ""
    if isinstance(value, list | tuple):
        inner = OnnxType(UNKNOWN)
        if match := _SEQUENCE.fullmatch(text):
            element = match[1]
            inner = UnrankedTensorType(ELEMENTS.get(element) or OnnxType(element))
        elif text in ("", UNKNOWN) and kind != inner:
            raise ValueError(f"it gives a list, not {kind}")
        return [_given(inner, part) for part in cast("list[Any]", value)]
    if value is None or isinstance(value, dict):
        return cast(Any, value)
    element, array = element_type_of(kind), np.asarray(value)
    shape = shape_of_type(kind)
    if shape is not None and array.ndim != len(shape):
        raise ValueError(f"it gives an array of {array.ndim} dimensions, not {kind}")
    if element is None or isinstance(element, OnnxType):
        return _as(element_text(element), array)
    return array.astype(_native_dtype(element), copy=False)


def _native_dtype(element: Attribute) -> "np.dtype[Any]":
    is_bit = element == ELEMENTS["bool"]
    return np.dtype(bool) if is_bit else storage_dtype(element).newbyteorder("=")
