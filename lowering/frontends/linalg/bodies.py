# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The bodies of structured operations: scalar functions → functions of each element."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from xdsl.dialects import arith, math, tensor
from xdsl.dialects.builtin import TensorType
from xdsl.dialects.linalg.ops import IndexOp
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from daqkf.dialects.nn import CastOp, GatherOp
from daqkf.lowering.frontends.linalg.values import Values, constant, element, number, shape

_FUNCTIONS: dict[type[Operation], str] = {
    arith.AddfOp: "add",
    arith.AddiOp: "add",
    arith.SubfOp: "sub",
    arith.SubiOp: "sub",
    arith.MulfOp: "mul",
    arith.MuliOp: "mul",
    arith.DivfOp: "div",
    arith.DivSIOp: "div",
    arith.MaximumfOp: "max",
    arith.MaxnumfOp: "max",
    arith.MaxSIOp: "max",
    arith.MinimumfOp: "min",
    arith.MinnumfOp: "min",
    arith.MinSIOp: "min",
    arith.NegfOp: "neg",
    arith.SelectOp: "where",
    math.AbsFOp: "abs",
    math.ErfOp: "erf",
    math.ExpOp: "exp",
    math.LogOp: "log",
    math.PowFOp: "pow",
    math.SqrtOp: "sqrt",
    math.TanhOp: "tanh",
}
_LOGICAL: dict[type[Operation], str] = {arith.AndIOp: "and", arith.OrIOp: "or"}
"""Of single bits."""

CASTS = (
    arith.ExtFOp,
    arith.ExtSIOp,
    arith.ExtUIOp,
    arith.FPToSIOp,
    arith.IndexCastOp,
    arith.SIToFPOp,
    arith.TruncFOp,
    arith.TruncIOp,
    arith.UIToFPOp,
)
_ORDERED = {1: "equal", 2: "greater", 3: "greater_equal", 4: "less", 5: "less_equal"}
"""By `arith.cmpf`'s predicate; false if one side is NaN."""

_UNORDERED = {9: "less_equal", 10: "less", 11: "greater_equal", 12: "greater", 13: "equal"}
"""The opposite of the predicate, so that it is true if one side is NaN."""

_INTEGERS = {0: "equal", 2: "less", 3: "less_equal", 4: "greater", 5: "greater_equal"}
"""By `arith.cmpi`'s predicate."""


@dataclass
class Body:
    """A body whose arguments are tensors over the loops.

    `read` gives the tensor of an argument, by its number, which broadcasts to the loops' extents.
    """

    values: Values
    block: Block
    loops: int
    read: Callable[[int], SSAValue]
    _known: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])

    @property
    def yielded(self) -> tuple[SSAValue, ...]:
        """The body's results, as scalars."""
        last = self.block.last_op
        return tuple(last.operands) if last is not None else ()

    def evaluate(self, scalar: SSAValue) -> SSAValue:
        """A scalar as a tensor, for all loops at once.

        Raises:
            ValueError: it is computed in a way that is not supported.
        """
        if scalar not in self._known:
            self._known[scalar] = self._compute(scalar)
        return self._known[scalar]

    def _compute(self, scalar: SSAValue) -> SSAValue:
        if isinstance(scalar, BlockArgument):
            if scalar.block is not self.block:
                raise ValueError("reads an argument from outside")
            return self.read(scalar.index)
        op, values = cast(Operation, scalar.owner), self.values
        if isinstance(op, arith.ConstantOp):
            return values.constant(np.array(number(op)), element(scalar))
        if isinstance(op, tensor.DimOp):
            return values.index(scalar)
        if isinstance(op, tensor.ExtractOp):
            return self._extracted(op)
        if not isinstance(op, IndexOp):
            inputs = [self.evaluate(operand) for operand in op.operands]
            if (found := self._function(op, scalar, inputs)) is not None:
                return found
        raise ValueError(f"{op.name} in a body is not supported")

    def _function(self, op: Operation, result: SSAValue, inputs: list[SSAValue]) -> SSAValue | None:
        values, kind = self.values, element(result)
        if (name := _FUNCTIONS.get(type(op))) is not None:
            return values.elementwise(name, *inputs)
        if (name := _LOGICAL.get(type(op))) is not None and str(kind) == "i1":
            return values.elementwise(name, *inputs)
        if isinstance(op, math.RsqrtOp):
            return values.elementwise("reciprocal", values.elementwise("sqrt", *inputs))
        if isinstance(op, math.FPowIOp):
            return values.elementwise("pow", inputs[0], cast_to(values, inputs[1], kind))
        if isinstance(op, CASTS):
            return cast_to(values, inputs[0], kind)
        if isinstance(op, arith.CmpfOp | arith.CmpiOp):
            predicate = op.predicate.value.data
            table = _ORDERED if isinstance(op, arith.CmpfOp) else _INTEGERS
            if predicate in table:
                return values.elementwise(table[predicate], *inputs)
            if isinstance(op, arith.CmpiOp):
                opposite = "equal" if predicate == 1 else None
            else:
                opposite = _UNORDERED.get(predicate)
            if opposite is not None:
                return values.elementwise("not", values.elementwise(opposite, *inputs))
        return None

    def _extracted(self, op: tensor.ExtractOp) -> SSAValue:
        """Elements by a first index that is computed, along the last loops: rows of a table."""
        first, *rest = op.indices
        inner = range(self.loops - len(rest), self.loops)
        along = [
            entry.owner.dim.value.data if isinstance(entry.owner, IndexOp) else None
            for entry in rest
        ]
        if along != list(inner):
            raise ValueError("tensor.extract is supported for rows of a table only")
        values = self.values
        rows = values.padded(self.evaluate(first), self.loops)
        rows, table = values.squeeze(rows, inner), values.whole(op.tensor)
        extents = [*shape(rows), *shape(table)[1:]]
        return values.add(GatherOp(table, rows, 0, TensorType(element(table), extents)))

    def combination(self, result: int, accumulator: int) -> tuple[str, SSAValue]:
        """The function that a reduction combines by, and what it combines.

        Raises:
            ValueError: the body is no such combination.
        """
        owner, argument = self.yielded[result].owner, self.block.args[accumulator]
        name = _FUNCTIONS.get(type(owner)) if isinstance(owner, Operation) else None
        if isinstance(owner, Operation) and name in ("add", "mul", "max", "min"):
            left, right = owner.operands
            if argument in (left, right):
                return name, (right if left is argument else left)
        raise ValueError("a reduction by this body is not supported")


def cast_to(values: Values, value: SSAValue, kind: object) -> SSAValue:
    """The same numbers in another element type."""
    if element(value) == kind:
        return value
    array = constant(value)
    if array is not None:
        return values.constant(array, kind)  # pyright: ignore[reportArgumentType]
    return values.add(CastOp(value, TensorType(kind, shape(value))))  # pyright: ignore
