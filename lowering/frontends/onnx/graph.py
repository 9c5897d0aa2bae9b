# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A graph of ONNX on its way to `nn`: its values, its constants, and the nodes that make them.

What each operator becomes is for those to say that the graph is given.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import (
    ArrayAttr,
    FunctionType,
    ModuleOp,
    StringAttr,
    TensorType,
    UnitAttr,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import from_array
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.errors import from_extra
from daqkf.dialects.interpreting import ENTRY
from daqkf.dialects.nn import ConstantOp, OnnxType, OperatorOp
from daqkf.dialects.nn.base import HOST, NODE, QUANTIZED
from daqkf.dialects.nn.interpreter import element_dtype
from daqkf.dialects.nn.operators import (
    UNKNOWN,
    described,
    element_of_code,
    element_type_of,
    is_known,
    type_of,
)
from daqkf.lowering.frontends.onnx.folding import constant_results, require_room
from daqkf.lowering.frontends.onnx.hosted import (
    captured,
    constant_model,
    folded,
    inferred,
    model_of,
    require_runnable,
)

Array = np.ndarray[Any, Any]

QUANTIZED_OPERATORS = frozenset(
    (
        "DequantizeLinear",
        "MatMulInteger",
        "QLinearMatMul",
        "QuantizeLinear",
        "com.microsoft.MatMulNBits",
        "qonnx.BipolarQuant",
        "qonnx.Quant",
    )
)
"""Those of files that have levels."""

Converted = SSAValue | Array | tuple[SSAValue | Array | None, ...]
"""What is made of a node: its result, or its results; None of one that is not made."""

PRODUCTS = frozenset(
    (
        *("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "com.microsoft.MatMulNBits"),
        *("Conv", "ConvTranspose", "QLinearConv"),
    )
)
"""Operators that arrays can have a part in; of one that they have not, a reason is kept."""

_QONNX = (
    "qonnx.custom_op.general",
    "qonnx",
    "finn.custom_op.general",
    "finn",
    "onnx.brevitas",
)

MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's operators."""

MISPLACED = frozenset(("SimplifiedLayerNormalization",))
"""Those of them that stand in ONNX's own domain, where ONNX does not know them."""

_BUILTIN = 1
"""`isbuiltin` of NumPy's own types; those of few bits are of a package."""


class OnnxImportError(ValueError):
    """A model that cannot be read, or that has something unsupported; the message has its place."""


@dataclass(frozen=True)
class Operator:
    """What an operator becomes."""

    convert: "Callable[[Node], Converted]"
    """The node's results: values, or a constant if all that it reads are constants."""
    attributes: tuple[str, ...] = ()
    """Attributes that are heeded, or that change nothing here."""


class Graph:
    """A graph under way: its values by name, and those that are constants.

    Names from the file are names only: keys of dictionaries, and attributes of operations.
    """

    def __init__(self, path: Path, model: Any, opset: int, operators: Mapping[str, Operator]):
        with from_extra("onnx"):
            from onnx import TensorProto

        graph = model.graph
        self.path, self.model, self.graph = path, model, graph
        self.opset, self.operators = opset, operators
        self.arrays: dict[str, Array] = {
            tensor.name: self.read(tensor) for tensor in graph.initializer
        }
        self.used = {name for node in graph.node for name in (*node.input, *captured(node))}
        self.used |= {info.name for info in graph.output}
        self._infos = {info.name: info for info in graph.value_info}
        for info in graph.value_info:
            if info.type.tensor_type.elem_type not in TensorProto.DataType.values():
                self._type(info)
        self.types = {info.name: self._type(info) for info in (*graph.input, *graph.output)}
        self.inputs = [info for info in graph.input if info.name not in self.arrays]
        self.block = Block(arg_types=[self.types[info.name] for info in self.inputs])
        self.values: dict[str, SSAValue] = {}
        self._counts: dict[int, SSAValue] = {}
        self._found: dict[Any, tuple[tuple[Array, ...], Any]] = {}
        for info, argument in zip(self.inputs, self.block.args, strict=True):
            argument.name_hint = _identifier(info.name)
            self.values[info.name] = argument

    def module(self) -> ModuleOp:
        """The function `main` of the whole graph.

        Raises:
            OnnxImportError: a node is not supported, or does not fit.
        """
        self._convert(self.graph.node)
        results = [self.value(info.name) for info in self.graph.output]
        self.block.add_op(ReturnOp(*results))
        kind = FunctionType.from_lists(
            list(self.block.arg_types), [result.type for result in results]
        )
        function = FuncOp(ENTRY, kind, Region(self.block))
        if QUANTIZED_OPERATORS & {operator_name(node) for node in self.graph.node}:
            function.attributes[QUANTIZED] = UnitAttr()
        function.attributes["inputs"] = _names(self.inputs)
        function.attributes["outputs"] = _names(self.graph.output)
        module = ModuleOp([function])
        verify(module)
        return module

    def _convert(self, nodes: Sequence[Any]) -> None:
        """Make values of nodes.

        Raises:
            OnnxImportError: one is not supported, or does not fit.
        """
        for position, node in enumerate(nodes):
            label = node.name or f"{node.op_type}_{position}"
            try:
                Node(self, node, label).convert()
            except (OnnxImportError, OSError):
                raise
            except (ValueError, IndexError, KeyError, TypeError, VerifyException) as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise self.error(node, label, reason) from None

    def inline(self, graph: Any, outputs: Sequence[str]) -> None:
        """Put a subgraph in place of the node whose outputs have these names.

        Its values may have names of those in another subgraph that was put in before.
        """
        inner = [name for node in graph.node for name in node.output]
        inner += [tensor.name for tensor in graph.initializer]
        self._forget(inner)
        self._infos |= {info.name: info for info in graph.value_info}
        self.arrays |= {tensor.name: self.read(tensor) for tensor in graph.initializer}
        self.used |= {name for node in graph.node for name in (*node.input, *captured(node))}
        self.used |= {info.name for info in graph.output}
        self._convert(graph.node)
        made = [info.name for info in graph.output]
        arrays = [self.arrays.get(name) for name in made]
        values = [
            self.value(name) if array is None else None
            for name, array in zip(made, arrays, strict=True)
        ]
        for name, array, value in zip(outputs, arrays, values, strict=False):
            self._forget([name])
            if value is not None:
                self.values[name] = value
            elif array is not None:
                self.arrays[name] = array

    def _forget(self, names: Sequence[str]) -> None:
        """Take back what is known of values of these names."""
        for name in names:
            for known in (self.arrays, self.values, self.types, self._infos):
                known.pop(name, None)

    def type_of(self, name: str) -> Attribute | None:
        """What the file or shape inference says of a value, if that is anything."""
        if name not in self.types and name in self._infos:
            self.types[name] = self._type(self._infos[name])
        return self.types.get(name)

    def error(self, node: Any, label: str, reason: str) -> OnnxImportError:
        """The error of a node."""
        return OnnxImportError(f"{self.path}: {node.op_type} '{label}': {reason}")

    def value(self, name: str) -> SSAValue:
        """The value of this name; a constant is made where it is first needed."""
        if name not in self.values:
            if name not in self.arrays:
                raise OnnxImportError(f"{self.path}: nothing computes '{name}'")
            self.values[name] = self.constant(self.arrays[name], name)
        return self.values[name]

    def constant(self, array: Array, name: str, kind: Attribute | None = None) -> SSAValue:
        """A constant in the IR, under the name it has in the file.

        Its elements are of a type that ONNX has for the array's, or of the one that is given.
        """
        kind = kind or self.element(array.dtype)
        if isinstance(kind, OnnxType):
            op: Any = OperatorOp(
                "Constant", constant_model(array), [], [TensorType(kind, array.shape)]
            )
        else:
            if array.dtype.isbuiltin != _BUILTIN:
                array = array.astype(element_dtype(kind))
            op = ConstantOp(from_array(np.asarray(array), kind))  # pyright: ignore[reportArgumentType]
        op.results[0].name_hint = _identifier(name)
        op.attributes[NODE] = StringAttr(name)
        self.block.add_op(op)
        return op.results[0]

    def count(self, extent: int) -> SSAValue:
        """The numbers 0 … extent - 1, a constant that nodes share."""
        if extent not in self._counts:
            self._counts[extent] = self.constant(np.arange(extent), f"count.{extent}")
        return self._counts[extent]

    def once[Result](self, function: Callable[..., Result], *arrays: Array) -> Result:
        """What a function makes of constants, which is computed once for all nodes."""
        key = function, *map(id, arrays)
        if key not in self._found:
            # The arrays are kept, as others could have their numbers otherwise.
            self._found[key] = arrays, function(*arrays)
        return self._found[key][1]

    def element(self, dtype: np.dtype[Any]) -> Attribute:
        """The element type that ONNX has for NumPy's."""
        with from_extra("onnx"):
            from onnx import TensorProto, helper

        strings = dtype.kind in "OUS"
        return element_of_code(
            TensorProto.STRING if strings else helper.np_dtype_to_tensor_dtype(dtype)
        )

    def forget_since(self, last: Operation | None) -> None:
        """Take back what was added to the function behind an operation."""
        made: set[Operation] = set()
        while self.block.last_op is not last:
            op = self.block.last_op
            assert op is not None
            made.add(op)
            self.block.detach_op(op)
        if made:
            for name in [name for name, value in self.values.items() if value.owner in made]:
                del self.values[name]
            self._counts = {
                count: value for count, value in self._counts.items() if value.owner not in made
            }

    def read(self, tensor: Any) -> Array:
        """The array in a TensorProto."""
        with from_extra("onnx"):
            from onnx import numpy_helper

        try:
            return numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            reason = (
                f"has elements of unknown type {error}"
                if isinstance(error, KeyError)
                else f"cannot be read ({error})"
            )
            raise OnnxImportError(f"{self.path}: constant '{tensor.name}' {reason}") from None

    def _type(self, info: Any) -> Attribute:
        try:
            return type_of(info.type)
        except ValueError as error:
            raise OnnxImportError(f"{self.path}: '{info.name}' has {error}") from None


def operator_name(node: Any) -> str:
    """What a node's operator is looked up by: `Op`, or `domain.Op` outside of ONNX's own domain.

    QONNX has had several names for its domain.
    """
    if node.domain in ("", "ai.onnx"):
        return f"{MICROSOFT}.{node.op_type}" if node.op_type in MISPLACED else node.op_type
    return f"{'qonnx' if node.domain in _QONNX else node.domain}.{node.op_type}"


_UNSUPPORTED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    VerifyException,
)
"""What converters, NumPy and verifiers raise at what `nn` does not have."""


class Node:
    """A node, its attributes and its inputs."""

    def __init__(self, graph: Graph, node: Any, label: str):
        with from_extra("onnx"):
            from onnx import helper

        self.graph, self.node, self.label = graph, node, label
        self.attributes: dict[str, Any] = {
            entry.name: helper.get_attribute_value(entry) for entry in node.attribute
        }
        self.names = list(node.input)
        self._fits = False

    def convert(self) -> None:
        """Make the node's result a value or a constant of the graph.

        What `nn` has no operation for, or not in this form, or not of these elements, stays an
        operator of ONNX, which the host runs as it is.

        Raises:
            OnnxImportError: it does not fit, or nothing can run it.
        """
        if operator_name(self.node) == "If" and (condition := self.array(0)) is not None:
            taken = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
            self.graph.inline(self.attributes[taken], self.node.output)
            return
        operator = self.graph.operators.get(operator_name(self.node))
        reason, last = self._infer(), self.graph.block.last_op
        constants = self._constants()
        if constants is not None:
            try:
                require_room([self.graph.type_of(name) for name in self.node.output])
            except ValueError as error:
                raise self.error(str(error)) from None
        if operator is not None:
            try:
                self._check_attributes(operator.attributes)
                found = operator.convert(self)
                results = found if isinstance(found, tuple) else (found,)
                if constants is not None:
                    size = sum(array.nbytes for array in constants)
                    results = constant_results(self.graph.block, last, results, size)
                self._keep(results)
                return
            except OnnxImportError:
                raise
            except _UNSUPPORTED as error:
                self.graph.forget_since(last)
                reason = reason or " ".join(str(error).split()) or type(error).__name__
        elif reason:
            raise ValueError(reason)
        try:
            self._host(reason)
        except OnnxImportError:
            raise
        except (ValueError, VerifyException) as error:
            # Of two reasons, that of the product comes first: it may be the only one.
            why = str(error)
            raise ValueError(f"{reason}; {why}" if reason not in ("", why) else why) from None

    def error(self, reason: str) -> OnnxImportError:
        """The error of a node that nothing can run."""
        return self.graph.error(self.node, self.label, reason)

    def _constants(self) -> list[Array] | None:
        """What the node reads, if that is all constant."""
        names = [name for name in self.names if name]
        arrays = [self.graph.arrays[name] for name in names if name in self.graph.arrays]
        return arrays if names and len(arrays) == len(names) else None

    def _keep(self, results: Sequence[SSAValue | Array | None]) -> None:
        """Enter the results under their names."""
        made = [*results, *(None for _ in self.node.output[len(results) :])]
        pairs = [pair for pair in zip(self.node.output, made, strict=False) if pair[0]]
        for name, result in pairs:
            if result is None and name in self.graph.used:
                raise ValueError(f"its result '{name}' is not supported")
        for name, result in pairs:
            if result is None:
                continue
            if isinstance(result, SSAValue):
                self.graph.values[name] = result
            else:
                # NumPy makes numbers of arrays without dimensions.
                self.graph.arrays[name] = self._typed(name, np.asarray(result))

    def _host(self, reason: str) -> None:
        """Make the node an operator that the host runs; one of constants is run here.

        Args:
            reason: why it is no operation of `nn`, if `nn` has one.
        """
        outputs = [name for name in self.node.output if name]
        if not self._fits:
            self.graph.types |= dict(zip(outputs, self._inferred(), strict=True))
        names, data, kinds = self._alone()
        results = [self.graph.type_of(name) or OnnxType(UNKNOWN) for name in outputs]
        require_runnable(data, kinds)
        constants = [self.graph.arrays[name] for name in names if name in self.graph.arrays]
        if len(constants) == len(names):
            made = folded(data, kinds, constants, results)
            if made is not None:
                self.graph.arrays |= dict(zip(outputs, made, strict=True))
                return
        values = [self.graph.value(name) for name in names]
        op = OperatorOp(described(data).operator, data, values, results)
        if reason and operator_name(self.node) in PRODUCTS:
            op.attributes[HOST] = StringAttr(reason)
        self.insert(op, self.label)
        for name, value in zip(outputs, op.outputs, strict=True):
            value.name_hint = _identifier(name)
            self.graph.values[name] = value

    def _alone(self) -> tuple[list[str], bytes, list[Attribute]]:
        """What the node reads, itself as a model of its own, and the types of what it reads."""
        names = list(dict.fromkeys([*filter(None, self.names), *captured(self.node)]))
        kinds = [self.kind(name) for name in names]
        return names, model_of(self.graph.model, self.node, names), kinds

    def _infer(self) -> str:
        """Find out the types of results that the file and its inference say too little of.

        Returns why that cannot be done, if so.
        """
        outputs = [name for name in self.node.output if name]
        if not all(is_known(self.graph.type_of(name)) for name in outputs):
            try:
                self.graph.types |= dict(zip(outputs, self._inferred(), strict=True))
                self._fits = True
            except OnnxImportError:
                raise
            except ValueError as error:
                return str(error)
        return ""

    def _inferred(self) -> list[Attribute]:
        """The types of the results, by what the node reads.

        Raises:
            ValueError: it is of an operator that nothing knows, or does not fit what it reads.
        """
        names, data, kinds = self._alone()
        arrays = {name: self.graph.arrays[name] for name in names if name in self.graph.arrays}
        known = dict(zip(names, kinds, strict=True))
        before = [self.graph.type_of(name) for name in self.node.output if name]
        return inferred(self.graph.model, self.node, data, known, arrays, before)

    def kind(self, name: str) -> Attribute:
        """The type of a value or a constant.

        Raises:
            OnnxImportError: nothing computes it.
        """
        if name in self.graph.arrays:
            array = self.graph.arrays[name]
            return TensorType(self.graph.element(array.dtype), array.shape)
        return self.graph.value(name).type

    def _check_attributes(self, known: Sequence[str]) -> None:
        """Raise a ValueError for an attribute that would change what the node computes.

        One that we do not know means nothing where it is zero or empty, as its default is.
        """
        for name, value in self.attributes.items():
            if name not in known and value:
                raise ValueError(f"attribute '{name}' is not supported")

    def _typed(self, name: str, array: Array) -> Array:
        """A folded constant in the element type that ONNX gives it, which NumPy may not."""
        kind = self.graph.type_of(name) if array.dtype.isbuiltin == _BUILTIN else None
        element = None if kind is None else element_type_of(kind)
        if element is None or isinstance(element, OnnxType):
            return array
        return array.astype(element_dtype(element), copy=False)

    @property
    def type(self) -> Attribute:
        """What shape inference says of the result."""
        return self.type_of(0)

    def type_of(self, index: int) -> Attribute:
        """What shape inference says of one of several results."""
        kind = self.graph.type_of(self.node.output[index])
        if kind is None:
            raise ValueError("its shape is not known; run ONNX's shape inference")
        return kind

    def has(self, index: int) -> bool:
        """Whether there is such an input."""
        return index < len(self.names) and bool(self.names[index])

    def input(self, index: int) -> SSAValue:
        """The input as a value; raises a ValueError if it is missing."""
        if not self.has(index):
            raise ValueError(f"input {index} is missing")
        return self.graph.value(self.names[index])

    def array(self, index: int) -> Array | None:
        """The input if it is a constant."""
        return self.graph.arrays.get(self.names[index]) if self.has(index) else None

    def integers(self, index: int, name: str, default: Sequence[int] | None = None) -> list[int]:
        """Integers that are an attribute in older versions of the operator, and an input since.

        Raises:
            ValueError: they are computed at run time, or missing.
        """
        if name in self.attributes:
            return [int(value) for value in self.attributes[name]]
        if self.has(index):
            found = self.array(index)
            if found is None:
                raise ValueError(f"{name} are computed at run time")
            return [int(value) for value in np.atleast_1d(found)]
        if default is None:
            raise ValueError(f"{name} are missing")
        return list(default)

    def rank(self, index: int) -> int:
        """Dimensions of an input."""
        kind = self.input(index).type
        if not isinstance(kind, TensorType):
            raise ValueError("the rank of its input is not known")
        return len(kind.get_shape())

    def add(self, op: Any, name: str | None = None) -> SSAValue:
        """The result of an op, put into the function under the node's name."""
        self.insert(op, name or self.label)
        op.results[0].name_hint = _identifier(self.node.output[0])
        return op.results[0]

    def insert(self, op: Operation, name: str) -> None:
        """Put an op into the function under a name."""
        op.attributes[NODE] = StringAttr(name)
        op.verify(verify_nested_ops=False)
        self.graph.block.add_op(op)

    def vector(self, values: Sequence[int]) -> SSAValue:
        """A constant vector."""
        return self.graph.constant(np.array(values, np.int64), f"{self.label}.bounds")


def _identifier(name: str) -> str | None:
    """A name as SSA values may have one.

    Without numbers behind underscores: the printer appends such to tell equal names apart, and
    takes one off what it is given, so that `a_1_2` and a second `a` would both become `a_1`.
    """
    kept = re.sub(r"(_\d+)+$", "", re.sub(r"[^A-Za-z0-9_.]", "_", name))
    return kept if kept and not kept[0].isdigit() else None


def _names(infos: Sequence[Any]) -> Attribute:
    return ArrayAttr([StringAttr(info.name) for info in infos])
