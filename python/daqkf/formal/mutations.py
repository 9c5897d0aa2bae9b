# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Plant bugs into a circuit, to show that the proofs find them.

Each kind of bug rewrites one operation. A mutant is a circuit with one bug.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from xdsl.builder import Builder
from xdsl.dialects import comb, hw, seq
from xdsl.dialects.builtin import IntegerAttr, IntegerType, ModuleOp, StringAttr, SymbolRefAttr
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from daqkf.dialects.circt_ext import CompRegClockEnabledOp

type Rewrite = Callable[[Operation], Operation | None]
"""A function that makes the replacement of an operation, or None if the bug does not apply to
it."""


@dataclass(frozen=True)
class Mutant:
    """A circuit with one bug."""

    kind: str
    """A key of `BUGS`."""
    bug: str
    """What was changed, and where."""
    circuit: ModuleOp


def _width(value: SSAValue) -> int:
    kind = value.type
    return kind.width.data if isinstance(kind, IntegerType) else 0


def _subtract(op: Operation) -> Operation | None:
    if not isinstance(op, comb.AddOp) or len(op.operands) != 2:
        return None
    return comb.SubOp(op.operands[0], op.operands[1])


def _add(op: Operation) -> Operation | None:
    return comb.AddOp(op.operands) if isinstance(op, comb.SubOp) else None


def _without_carry(op: Operation) -> Operation | None:
    return comb.XorOp(op.operands) if isinstance(op, comb.AddOp | comb.SubOp) else None


def _swap_arms(op: Operation) -> Operation | None:
    if not isinstance(op, comb.MuxOp):
        return None
    return comb.MuxOp(op.cond, op.false_value, op.true_value)


def _zero_extend(op: Operation) -> Operation | None:
    """Replace a replicated sign by zeros."""
    if not isinstance(op, comb.ReplicateOp) or _width(op.input) != 1:
        return None
    return hw.ConstantOp(0, _width(op.result))


def _shift_by_one(op: Operation) -> Operation | None:
    """Take bits one position lower."""
    if not isinstance(op, comb.ExtractOp):
        return None
    low = op.low_bit.value.data
    if not low or _width(op.result) == 1:
        return None
    return comb.ExtractOp(op.input, IntegerAttr(low - 1, 32), op.result.type)


def _sum_of_factors(op: Operation) -> Operation | None:
    """Replace a product by the sum of its factors."""
    return comb.AddOp(op.operands) if isinstance(op, comb.MulOp) else None


def _always_enabled(op: Operation) -> Operation | None:
    if not isinstance(op, CompRegClockEnabledOp):
        return None
    reset = (op.reset, op.reset_value) if op.reset and op.reset_value else None
    return seq.CompRegOp(op.input, op.clk, reset)


def _narrow(op: Operation) -> Operation | None:
    """Drop the highest bit of an adder's operands, so that the next bit becomes their sign."""
    if not isinstance(op, comb.AddOp | comb.SubOp):
        return None
    width = _width(op.result)
    if width == 1:
        return None
    block, total = op.parent, op.clone()
    assert block is not None
    builder = Builder(InsertPoint.before(op))
    builder.insert(total)
    low = builder.insert(comb.ExtractOp(total.result, IntegerAttr(0, 32), IntegerType(width - 1)))
    sign = builder.insert(comb.ExtractOp(total.result, IntegerAttr(width - 2, 32), IntegerType(1)))
    return comb.ConcatOp([sign.result, low.result], IntegerType(width))


BUGS: Mapping[str, Rewrite] = {
    "subtracts instead of adding": _subtract,
    "adds instead of subtracting": _add,
    "adds without carries": _without_carry,
    "adds in place of multiplying": _sum_of_factors,
    "a sum one bit narrower": _narrow,
    "the arms of a multiplexer swapped": _swap_arms,
    "zeros in place of a sign": _zero_extend,
    "bits taken one place lower": _shift_by_one,
    "a register without its enable": _always_enabled,
}
"""The rewrite of each kind of bug, by a description of the bug."""


def mutants(circuit: ModuleOp, limit: int | None = None) -> Iterator[Mutant]:
    """Plant every kind of bug at every place, or at its first `limit` places.

    Modules without instances come first in a circuit, so the first places are in its lanes.
    """
    for bug, rewrite in BUGS.items():
        planted = 0
        for place, _ in enumerate(circuit.walk()):
            if limit is not None and planted >= limit:
                break
            copy = circuit.clone()
            op = list(copy.walk())[place]
            module = _module_name(op)
            name = next((r.name_hint for r in op.results if r.name_hint), None)
            replacement = rewrite(op)
            if replacement is None:
                continue
            Rewriter.replace_op(op, replacement)
            planted += 1
            where = f"{module}, {name or replacement.name} ({place})"
            yield Mutant(bug, f"{bug}: {where}", copy)


def _module_name(op: Operation) -> str:
    parent = op
    while parent is not None and not isinstance(parent, hw.HWModuleOp):
        parent = parent.parent_op()
    return parent.sym_name.data if parent is not None else ""


def joined(circuits: Mapping[str, ModuleOp]) -> ModuleOp:
    """Join circuits in one module; the key of a circuit is appended to the names of its modules."""
    operations: list[Operation] = []
    for key, circuit in circuits.items():
        copy = circuit.clone()
        for op in copy.walk():
            if isinstance(op, hw.HWModuleOp):
                op.properties["sym_name"] = StringAttr(op.sym_name.data + key)
            elif isinstance(op, hw.InstanceOp):
                target = op.module_name.root_reference.data + key
                op.attributes["moduleName"] = SymbolRefAttr(target)
        operations += [op.detach() or op for op in list(copy.body.block.ops)]
    return ModuleOp(operations)
