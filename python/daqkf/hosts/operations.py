# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of the host as loops in C, over arrays whose extents are known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation

from daqkf.dialects.nn import CastOp, ElementwiseOp, LayerNormOp
from daqkf.dialects.nn.base import integers_of, node_name
from daqkf.dialects.nn.decoders import RmsNormOp
from daqkf.dialects.nn.elementwise import Function
from daqkf.dialects.nn.shaping import (
    ConcatOp,
    ExpandOp,
    GatherOp,
    ReshapeOp,
    SliceOp,
    SqueezeOp,
    TransposeOp,
    UnsqueezeOp,
)
from daqkf.support.errors import DaqkfError

KINDS: Mapping[str, str] = {
    "float32": "float",
    "float64": "double",
    "int64": "int64_t",
    "int32": "int32_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "bool": "bool",
}
"""The types of elements in C."""

ELEMENTS: Mapping[Function, str] = {
    Function.ADD: "{0} + {1}",
    Function.SUB: "{0} - {1}",
    Function.MUL: "{0} * {1}",
    Function.DIV: "{0} / {1}",
    Function.NEG: "-{0}",
    Function.ABS: "{0} < 0 ? -{0} : {0}",
    Function.MAX: "{0} > {1} ? {0} : {1}",
    Function.MIN: "{0} < {1} ? {0} : {1}",
    Function.EQUAL: "{0} == {1}",
    Function.GREATER: "{0} > {1}",
    Function.GREATER_EQUAL: "{0} >= {1}",
    Function.LESS: "{0} < {1}",
    Function.LESS_EQUAL: "{0} <= {1}",
    Function.AND: "{0} && {1}",
    Function.OR: "{0} || {1}",
    Function.NOT: "!{0}",
    Function.WHERE: "{0} ? {1} : {2}",
    Function.SQRT: "sqrtf({0})",
    Function.EXP: "expf({0})",
    Function.RECIPROCAL: "1 / {0}",
}
"""Functions of elements in C. Those of the library are of float."""


@dataclass(frozen=True)
class Value:
    """An array of the host: a variable in C, with what it held when it was looked at."""

    name: str
    array: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its extents."""
        return self.array.shape

    @property
    def kind(self) -> str:
        """Its elements' type in C."""
        return KINDS[self.array.dtype.name]

    def strides(self, shape: Sequence[int]) -> list[int]:
        """Elements from one to the next along each axis, where it is broadcast to a shape."""
        own = [1] * (len(shape) - len(self.shape)) + list(self.shape)
        steps = [prod(own[axis + 1 :]) for axis in range(len(own))]
        return [0 if extent == 1 else step for extent, step in zip(own, steps, strict=True)]


def loops(shape: Sequence[int], body: Sequence[str]) -> list[str]:
    """A loop for each axis, with the indices i0, i1, …, around lines that use them."""
    heads = [
        f"{'  ' * axis}for (size_t i{axis} = 0; i{axis} < {extent}; ++i{axis})"
        for axis, extent in enumerate(shape)
    ]
    inner = "  " * len(shape)
    if len(body) > 1:
        return [*heads[:-1], f"{heads[-1]} {{", *(f"{inner}{line}" for line in body), f"{inner}}}"]
    return [*heads, *(f"{inner}{line}" for line in body)]


def index(strides: Sequence[int], offset: int = 0) -> str:
    """The place of an element by the indices of loops."""
    terms = [
        f"i{axis}" if step == 1 else f"{step} * i{axis}"
        for axis, step in enumerate(strides)
        if step
    ]
    return " + ".join([*terms, *([str(offset)] if offset or not terms else [])])


def copied(result: Value, source: Value, strides: Sequence[int], offset: int = 0) -> list[str]:
    """Elements of a source, which has them at other places."""
    own = result.strides(result.shape)
    line = f"{result.name}[{index(own)}] = {source.name}[{index(strides, offset)}];"
    return loops(result.shape, [line])


def elementwise(op: ElementwiseOp, result: Value, *inputs: Value) -> list[str]:
    """A function of elements."""
    kind = op.kind.data
    if kind not in ELEMENTS or any(value.kind == "bool" for value in inputs) > (
        kind in (Function.AND, Function.OR, Function.NOT, Function.WHERE)
    ):
        raise unsupported(op, f"the function {kind.value}")
    if "f(" in ELEMENTS[kind] and result.kind != "float":
        raise unsupported(op, f"the function {kind.value} of {result.kind}")
    if kind is Function.DIV and result.kind not in ("float", "double"):
        raise unsupported(op, "a division of integers")
    read = [f"{value.name}[{index(value.strides(result.shape))}]" for value in inputs]
    own = index(result.strides(result.shape))
    text = ELEMENTS[kind].format(*read)
    return loops(result.shape, [f"{result.name}[{own}] = ({result.kind})({text});"])


def cast(op: CastOp, result: Value, source: Value) -> list[str]:
    """Elements of another type."""
    read = f"{source.name}[{index(source.strides(result.shape))}]"
    own = index(result.strides(result.shape))
    return loops(result.shape, [f"{result.name}[{own}] = ({result.kind}){read};"])


def same(op: Operation, result: Value, source: Value, *_: Value) -> list[str]:
    """The same elements in the same order, with other extents."""
    size = prod(result.shape)
    return [f"for (size_t i = 0; i < {size}; ++i)", f"  {result.name}[i] = {source.name}[i];"]


def expand(op: ExpandOp, result: Value, source: Value, *_: Value) -> list[str]:
    """Elements that are repeated."""
    return copied(result, source, source.strides(result.shape))


def transpose(op: TransposeOp, result: Value, source: Value) -> list[str]:
    """Axes in another order."""
    steps = source.strides(source.shape)
    return copied(result, source, [steps[axis] for axis in integers_of(op.axes)])


def sliced(op: SliceOp, result: Value, source: Value, starts: Value, _: Value) -> list[str]:
    """Some elements along some axes, from places on that are known."""
    steps = source.strides(source.shape)
    strides, offset = list(steps), 0
    begins = zip(integers_of(op.axes), starts.array.tolist(), integers_of(op.steps), strict=True)
    for axis, start, step in begins:
        if step < 1:
            raise unsupported(op, "a step that is negative")
        extent = source.shape[axis]
        first = min(max(start + extent if start < 0 else start, 0), extent)
        strides[axis], offset = steps[axis] * step, offset + steps[axis] * first
    return copied(result, source, strides, offset)


def concat(op: ConcatOp, result: Value, *inputs: Value) -> list[str]:
    """Arrays one after another along an axis."""
    axis = op.axis.value.data
    full = [prod(result.shape[at + 1 :]) for at in range(len(result.shape))]
    lines, offset = list[str](), 0
    for value in inputs:
        read = f"{value.name}[{index(value.strides(value.shape))}]"
        place = index(full, offset * full[axis])
        lines += loops(value.shape, [f"{result.name}[{place}] = {read};"])
        offset += value.shape[axis]
    return lines


def gather(op: GatherOp, result: Value, source: Value, indices: Value) -> list[str]:
    """Rows that indices name along an axis."""
    axis, extent = op.axis.value.data, source.shape[op.axis.value.data]
    before, behind = prod(source.shape[:axis]), prod(source.shape[axis + 1 :])
    count = prod(indices.shape)
    body = [
        f"int64_t at = {indices.name}[i1];",
        f"at += at < 0 ? {extent} : 0;",
        f"if (at < 0 || at >= {extent})",
        "  return DAQKF_ERROR_ARGUMENT;",
        f"for (size_t i = 0; i < {behind}; ++i)",
        f"  {result.name}[(i0 * {count} + i1) * {behind} + i] =",
        f"      {source.name}[(i0 * {extent} + (size_t)at) * {behind} + i];",
    ]
    return loops((before, count), body)


def layer_norm(op: LayerNormOp, result: Value, x: Value, gamma: Value, beta: Value) -> list[str]:
    """Normalised tokens."""
    features = x.shape[-1]
    if gamma.shape != (features,) or beta.shape != (features,) or x.kind != "float":
        raise unsupported(op, "a normalisation that is not of float along the last axis")
    epsilon = op.epsilon.value.data
    return [
        f"daqkf_layer_norm({x.name}, {gamma.name}, {beta.name}, {result.name}, "
        f"{prod(x.shape[:-1])}, {features}, {epsilon!r});"
    ]


def rms_norm(op: RmsNormOp, result: Value, x: Value, gamma: Value) -> list[str]:
    """Tokens normalised by the root of their mean square."""
    features = x.shape[-1]
    if gamma.shape != (features,) or x.kind != "float":
        raise unsupported(op, "a normalisation that is not of float along the last axis")
    epsilon = op.epsilon.value.data
    return [
        f"daqkf_rms_norm({x.name}, {gamma.name}, {result.name}, {prod(x.shape[:-1])}, "
        f"{features}, {epsilon!r});"
    ]


WRITERS: Mapping[type[Operation], Callable[..., list[str]]] = {
    ElementwiseOp: elementwise,
    CastOp: cast,
    ReshapeOp: same,
    SqueezeOp: same,
    UnsqueezeOp: same,
    ExpandOp: expand,
    TransposeOp: transpose,
    SliceOp: sliced,
    ConcatOp: concat,
    GatherOp: gather,
    LayerNormOp: layer_norm,
    RmsNormOp: rms_norm,
}
"""What writes each operation: lines that fill the result."""


def statement(op: Operation, result: Value, inputs: Sequence[Value]) -> list[str]:
    """An operation of the host in C.

    Raises:
        DaqkfError: it has no C here.
    """
    if type(op) not in WRITERS:
        raise unsupported(op, f"the operation {op.name}")
    if 0 in result.shape:
        return []
    return WRITERS[type(op)](op, result, *inputs)


def unsupported(op: Operation, what: str) -> DaqkfError:
    """The error for what a host in C cannot do."""
    return DaqkfError(f"{node_name(op)}: hosts in C do not have {what}")


def declared(value: Value) -> str:
    """The variable of a value."""
    return f"static {value.kind} {value.name}[{max(value.array.size, 1)}];"


def as_number(value: float) -> str:
    """A double in C, exactly."""
    return float(value).hex()


def numbers(values: NDArray[np.float64]) -> str:
    """An initialiser of doubles."""
    return ", ".join(as_number(value) for value in values)
