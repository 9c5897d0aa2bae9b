# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operators of ONNX that `nn` has no operation for, as the file has them, and their values."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    Float32Type,
    Float64Type,
    IntegerType,
    Signedness,
    StringAttr,
    TensorType,
    UnrankedTensorType,
)
from xdsl.ir import Attribute, Data, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import (
    AttrConstraint,
    VerificationContext,
    irdl_attr_definition,
    irdl_op_definition,
    prop_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.errors import from_extra
from daqkf.dialects.nn.base import TensorOp, require, require_elements

ELEMENTS: dict[str, Attribute] = {
    "float": Float32Type(),
    "double": Float64Type(),
    "int64": IntegerType(64),
    "int32": IntegerType(32),
    "int16": IntegerType(16),
    "int8": IntegerType(8),
    "int4": IntegerType(4),
    "uint16": IntegerType(16, Signedness.UNSIGNED),
    "uint8": IntegerType(8, Signedness.UNSIGNED),
    "uint4": IntegerType(4, Signedness.UNSIGNED),
    "bool": IntegerType(1),
}
"""The element types that `nn` computes with, by their names in ONNX."""

UNKNOWN = "unknown"
"""The type of a value of which nothing says what it is before it is there."""

_ELEMENT = re.compile(r"[a-z][a-z0-9]*")
_CONTAINER = re.compile(r"(tensor|sparse_tensor|seq|optional)\((.*)\)")
_MAP = re.compile(r"map\(([a-z][a-z0-9]*),(.*)\)")


@irdl_attr_definition
class OnnxType(ParametrizedAttribute, TypeAttribute):
    """A type of ONNX that `nn` computes nothing in, by ONNX's own name for it.

    It is that of a tensor's elements, such as `float16` or `string`, or of a value that is no
    tensor: `seq(tensor(float))`, `optional(…)`, `map(int64,tensor(float))`, `sparse_tensor(float)`.

    ```mlir
    tensor<2x3x!nn.onnx<"float16">>
    !nn.onnx<"seq(tensor(float))">
    ```
    """

    name = "nn.onnx"

    text: StringAttr

    def __init__(self, text: str | StringAttr):
        super().__init__(StringAttr(text) if isinstance(text, str) else text)

    def verify(self) -> None:
        """Raise a VerifyException for a text that is not built like a type of ONNX."""
        require(_is_type(self.text.data), f"'{self.text.data}' is no type of ONNX")

    @property
    def is_element(self) -> bool:
        """Whether tensors have elements of it."""
        return _ELEMENT.fullmatch(self.text.data) is not None


def _is_type(text: str) -> bool:
    for _ in range(len(text)):  # containers of containers end somewhere
        if (match := _MAP.fullmatch(text)) or (match := _CONTAINER.fullmatch(text)):
            text = match[2]
        else:
            break
    return _ELEMENT.fullmatch(text) is not None


_HEXADECIMAL = re.compile(r"0x((?:[0-9A-Fa-f]{2})*)")


@irdl_attr_definition
class ModelAttr(Data[bytes]):
    """A model of ONNX (`ModelProto`, serialised) whose graph is one node.

    It has the node with its attributes and subgraphs, the versions of the operator sets, and the
    functions that it calls. The inputs and outputs of its graph are those of the node that are
    there, and what subgraphs read of the graph around the node; they have no types.

    ```mlir
    #nn.model<"0x080a3a…">
    ```
    """

    name = "nn.model"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> bytes:
        """The bytes, which stand in a text of hexadecimal digits.

        Raises:
            ParseError: the text is not that.
        """
        with parser.in_angle_brackets():
            start = parser.pos
            text = parser.parse_str_literal()
            if match := _HEXADECIMAL.fullmatch(text):
                return bytes.fromhex(match[1])
            return parser.raise_error(
                'expected hexadecimal digits, as in "0x0a3f"', start, parser.pos
            )

    def print_parameter(self, printer: Printer) -> None:
        """The bytes as `parse_parameter` reads them."""
        with printer.in_angle_brackets():
            printer.print_string(f'"0x{self.data.hex()}"')


@dataclass(frozen=True)
class Described:
    """What a model of one node says of itself."""

    operator: str
    """`Op`, or `domain.Op` outside of ONNX's own domain."""
    inputs: tuple[str, ...]
    """The names of what it reads."""
    outputs: tuple[str, ...]
    """The names of what it gives."""
    random: bool
    """Whether it gives something else each time."""
    loops: bool
    """Whether it may go on for ever."""


RANDOM = frozenset(
    (
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    )
)
"""Operators whose results differ from run to run, unless they have a seed."""


def nodes_of(graph: Any) -> Iterator[Any]:
    """The nodes of a GraphProto, and those of its subgraphs."""
    for node in graph.node:
        yield node
        for entry in node.attribute:
            for inner in (*([entry.g] if entry.HasField("g") else ()), *entry.graphs):
                yield from nodes_of(inner)


def _tensors(nodes: Sequence[Any], graphs: Sequence[Any]) -> Iterator[Any]:
    """The TensorProtos in attributes and subgraphs."""
    for graph in graphs:
        yield from graph.initializer
        for tensor in graph.sparse_initializer:
            yield from (tensor.values, tensor.indices)
        yield from _tensors(graph.node, ())
    for node in nodes:
        for entry in node.attribute:
            yield from (*([entry.t] if entry.HasField("t") else ()), *entry.tensors)
            sparse = [entry.sparse_tensor] if entry.HasField("sparse_tensor") else []
            for tensor in (*sparse, *entry.sparse_tensors):
                yield from (tensor.values, tensor.indices)
            inner = [entry.g] if entry.HasField("g") else []
            yield from _tensors((), (*inner, *entry.graphs))


def operator_name(node: Any) -> str:
    """What an operator is called: `Op`, or `domain.Op` outside of ONNX's own domain."""
    own = node.domain in ("", "ai.onnx")
    return node.op_type if own else f"{node.domain}.{node.op_type}"


@lru_cache(maxsize=4096)
def described(data: bytes) -> Described:
    """What a serialised model of one node says of itself.

    Raises:
        ValueError: it is no model, has not one node, or has tensors in other files.
    """
    with from_extra("onnx"):
        from onnx import ModelProto, TensorProto

    try:
        model = ModelProto.FromString(data)
    except Exception:  # protobuf's own, which has no base but this
        raise ValueError("these bytes are no model of ONNX") from None
    if len(model.graph.node) != 1 or model.graph.initializer or model.graph.sparse_initializer:
        raise ValueError("a model is of one node, and of no initialisers")
    (node,) = model.graph.node
    bodies = [inner for function in model.functions for inner in function.node]
    for tensor in _tensors([node, *bodies], ()):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise ValueError(f"{node.op_type} has a tensor in another file")
    inner = [*nodes_of(model.graph), *bodies]
    training = any(entry.name == "seed" for entry in node.attribute)
    random = any(found.op_type in RANDOM for found in inner) or (
        node.op_type == "Dropout" and (len(node.input) > 2 or training)
    )
    return Described(
        operator_name(node),
        tuple(info.name for info in model.graph.input),
        tuple(info.name for info in model.graph.output),
        random,
        any(found.op_type == "Loop" for found in inner),
    )


@dataclass(frozen=True)
class ValueConstraint(AttrConstraint[Attribute]):
    """A tensor of any elements, or another value of ONNX."""

    def verify(self, attr: Attribute, constraint_context: VerificationContext) -> None:
        """Raise a VerifyException for any other type."""
        if isinstance(attr, OnnxType):
            known = not attr.is_element or attr.text.data == UNKNOWN
            require(known, f"{attr} is of elements; a tensor of them is expected")
            return
        kind: Any = attr
        if not isinstance(kind, TensorType | UnrankedTensorType):
            raise VerifyException(f"a tensor or another value of ONNX is expected, not {attr}")
        element = cast("TensorType[Attribute]", kind).element_type
        if isinstance(element, OnnxType):
            require(element.is_element, f"{element} is no type of elements")
        else:
            require_elements(element)

    def mapping_type_vars(self, type_var_mapping: Any) -> "ValueConstraint":
        """The same, as there are no type variables in it."""
        return self


VALUE = ValueConstraint()


@irdl_op_definition
class OperatorOp(TensorOp):
    """An operator of ONNX that the host runs as it is, by onnxruntime or ONNX's own evaluator.

    The model has the one node. Operands and results are the inputs and outputs of the model's
    graph, in their order: optional ones that are not there are empty names of the node alone, and
    what the node's subgraphs read of the graph around it are further operands.

    ```mlir
    %y = nn.operator "Elu" %x {model = #nn.model<"0x080a3a1d…">}
      : (tensor<?x4xf32>) -> tensor<?x4xf32>
    ```
    """

    name = "nn.operator"

    operator = prop_def(StringAttr)
    model = prop_def(ModelAttr)
    inputs = var_operand_def(VALUE)
    outputs = var_result_def(VALUE)

    assembly_format = "$operator $inputs attr-dict `:` functional-type($inputs, $outputs)"

    def __init__(
        self, operator: str, model: bytes, inputs: Sequence[SSAValue], outputs: Sequence[Attribute]
    ):
        super().__init__(
            properties={"operator": StringAttr(operator), "model": ModelAttr(model)},
            operands=[inputs],
            result_types=[outputs],
        )

    def verify_(self) -> None:
        """Raise a VerifyException unless the model is of this operator and of these values."""
        try:
            found = described(self.model.data)
        except ValueError as error:
            raise VerifyException(str(error)) from None
        name = self.operator.data
        require(found.operator == name, f"the model is of {found.operator}, not of {name}")
        counts = len(self.inputs), len(self.outputs)
        expected = len(found.inputs), len(found.outputs)
        require(
            counts == expected,
            f"{name} has {expected[0]} operands and {expected[1]} results, "
            f"not {counts[0]} and {counts[1]}",
        )


def type_of(info: Any) -> Attribute:
    """The type of a TypeProto.

    Raises:
        ValueError: elements of a number that ONNX has no type for.
    """
    field = info.WhichOneof("value")
    if field == "tensor_type":
        element = element_of_code(info.tensor_type.elem_type)
        if not info.tensor_type.HasField("shape"):
            return UnrankedTensorType(element)
        extents = [
            extent.dim_value
            if extent.HasField("dim_value") and extent.dim_value >= 0
            else DYNAMIC_INDEX
            for extent in info.tensor_type.shape.dim
        ]
        return TensorType(element, extents)
    return OnnxType(_text(info) if field else UNKNOWN)


def element_of_code(code: int) -> Attribute:
    """The element type that ONNX has a number for.

    Raises:
        ValueError: there is none of this number.
    """
    name = _element_name(code)
    return ELEMENTS.get(name) or OnnxType(name)


def _element_name(code: int) -> str:
    with from_extra("onnx"):
        from onnx import TensorProto

    if code == TensorProto.UNDEFINED:
        return UNKNOWN
    try:
        return TensorProto.DataType.Name(code).lower()
    except ValueError:
        raise ValueError(f"elements of type {code}, which ONNX does not have") from None


def _text(info: Any) -> str:
    """ONNX's name of a type; extents are left out."""
    field = info.WhichOneof("value")
    match field:
        case "tensor_type":
            return f"tensor({_element_name(info.tensor_type.elem_type)})"
        case "sparse_tensor_type":
            return f"sparse_tensor({_element_name(info.sparse_tensor_type.elem_type)})"
        case "sequence_type":
            return f"seq({_text(info.sequence_type.elem_type)})"
        case "optional_type":
            return f"optional({_text(info.optional_type.elem_type)})"
        case "map_type":
            key = _element_name(info.map_type.key_type)
            return f"map({key},{_text(info.map_type.value_type)})"
        case _:
            return UNKNOWN


def element_type_of(kind: Attribute) -> Attribute | None:
    """The type of a tensor's elements; None of what is no tensor."""
    value: Any = kind
    if not isinstance(value, TensorType | UnrankedTensorType):
        return None
    return cast("TensorType[Attribute]", value).element_type


def shape_of_type(kind: Attribute) -> tuple[int, ...] | None:
    """The extents of a tensor; None of what is no tensor or has no rank."""
    value: Any = kind
    if not isinstance(value, TensorType):
        return None
    return cast("TensorType[Attribute]", value).get_shape()


def is_known(kind: Attribute | None) -> bool:
    """Whether a type says what a value is, and of a tensor its rank and its elements."""
    unknown = OnnxType(UNKNOWN)
    if kind is None or kind == unknown or isinstance(kind, UnrankedTensorType):
        return False
    return element_type_of(kind) != unknown


def element_text(kind: Attribute | None) -> str:
    """ONNX's name of an element type; nothing if ONNX does not have it."""
    if isinstance(kind, OnnxType):
        return kind.text.data
    return next((name for name, own in ELEMENTS.items() if own == kind), "")


def proto_of(kind: Attribute) -> Any:
    """The TypeProto of a type, with the extents that are known; None if nothing is known."""
    with from_extra("onnx"):
        from onnx import TypeProto

    if isinstance(kind, OnnxType):
        return _proto(kind.text.data)
    value: Any = kind
    element = element_text(element_type_of(kind))
    if element in ("", UNKNOWN):
        return None
    found = TypeProto()
    found.tensor_type.elem_type = _code(element)
    if isinstance(value, TensorType):
        found.tensor_type.shape.SetInParent()
        for extent in cast("TensorType[Attribute]", value).get_shape():
            place = found.tensor_type.shape.dim.add()
            if extent != DYNAMIC_INDEX:
                place.dim_value = extent
    return found


def _code(element: str) -> int:
    with from_extra("onnx"):
        from onnx import TensorProto

    return TensorProto.DataType.Value(element.upper())


def _proto(text: str) -> Any:
    with from_extra("onnx"):
        from onnx import TypeProto

    if UNKNOWN in text:
        return None
    found = TypeProto()
    if match := _MAP.fullmatch(text):
        found.map_type.key_type = _code(match[1])
        found.map_type.value_type.CopyFrom(_proto(match[2]))
    elif match := _CONTAINER.fullmatch(text):
        kind, inner = match[1], match[2]
        if kind == "tensor":
            found.tensor_type.elem_type = _code(inner)
        elif kind == "sparse_tensor":
            found.sparse_tensor_type.elem_type = _code(inner)
        else:
            target = found.sequence_type if kind == "seq" else found.optional_type
            target.elem_type.CopyFrom(_proto(inner))
    else:
        return None
    return found
