# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Names for signals that nothing gave one: what is done to signals that have one."""

from collections.abc import Mapping

from xdsl.dialects import comb, hw
from xdsl.dialects.builtin import IntegerAttr, IntegerType, StringAttr
from xdsl.ir import BlockArgument, Operation, SSAValue

_LONGEST = 40
"""Characters of a name; what would have a longer one has none."""
_JOINED = {
    "comb.and": "and",
    "comb.or": "or",
    "comb.xor": "xor",
    "comb.add": "plus",
    "comb.sub": "minus",
}
_COMPARED = {0: "is", 1: "is_not", 6: "below", 7: "at_most"}
"""By the predicate of `comb.icmp`, of which 6 and 7 are unsigned."""


def derived_name(op: Operation, known: Mapping[SSAValue, str]) -> str | None:
    """A name for an operation's result, such as `not_full`, `index_is_3` or `a_and_b`.

    Args:
        op: the operation.
        known: names of values whose operations have none in themselves, as registers do.
    """
    name = _name_op(op, known)
    return name if name and len(name) <= _LONGEST else None


def _name_op(op: Operation, known: Mapping[SSAValue, str]) -> str | None:
    if isinstance(op, comb.ConcatOp):
        return _name_extension(op, known)
    if isinstance(op, comb.ReplicateOp):
        name = _name_of(op.input, known)
        return name and f"{name}_times_{_width(op.result) // _width(op.input)}"
    if len(op.operands) != 2:
        return None
    left, right = op.operands
    first, second = _name_of(left, known), _name_of(right, known)
    constant = _constant(right)
    if first is None or (second is None and constant is None):
        return None
    if isinstance(op, comb.ICmpOp):
        verb = _COMPARED.get(op.predicate.value.data)
        return f"{first}_{verb}_{second if constant is None else constant}" if verb else None
    if op.name == "comb.xor" and constant == -1 % (1 << _width(right)):
        return f"not_{first}"
    joint = _JOINED.get(op.name)
    return f"{first}_{joint}_{second if constant is None else constant}" if joint else None


def _name_extension(op: comb.ConcatOp, known: Mapping[SSAValue, str]) -> str | None:
    """The name of a signal with its sign in front of it, or with a constant behind it."""
    if len(op.operands) != 2:
        return None
    high, low = op.operands
    if isinstance(high.owner, comb.ReplicateOp | comb.ExtractOp):
        name = _name_of(low, known)
        return f"{name}_extended" if name else None
    name = _name_of(high, known)
    if name is None or (constant := _constant(low)) is None:
        return None
    return f"{name}_raised_{_width(low)}" + (f"_plus_{constant}" if constant else "")


def _name_of(value: SSAValue, known: Mapping[SSAValue, str]) -> str | None:
    """A value's own name, or that of what its bits are taken from."""
    if value in known:
        return known[value]
    owner = value.owner
    if not isinstance(owner, Operation):
        return value.name_hint if isinstance(value, BlockArgument) else None
    named = owner.attributes.get("sv.namehint")
    if isinstance(named, StringAttr):
        return named.data
    if isinstance(owner, comb.ExtractOp):
        name = _name_of(owner.input, known)
        low = owner.low_bit.value.data
        high = low + _width(value) - 1
        return name and (f"{name}_{low}" if high == low else f"{name}_{high}_{low}")
    return value.name_hint if isinstance(owner, hw.InstanceOp) else None


def _constant(value: SSAValue) -> int | None:
    """The value of a constant, unsigned."""
    owner = value.owner
    if not isinstance(owner, hw.ConstantOp):
        return None
    assert isinstance(owner.value, IntegerAttr)
    return owner.value.value.data % (1 << _width(value))


def _width(value: SSAValue) -> int:
    kind = value.type
    assert isinstance(kind, IntegerType)
    return kind.width.data
