# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Mutants of circuits: a circuit that has many faults at once, of which a run picks one.

Building a simulator takes far longer than running it. So all faults of a circuit are built into one
simulator (Untch, Offutt and Harrold, "Mutation Analysis Using Mutant Schemata", 1993): where a
fault is, a multiplexer takes the faulty value if the number of the fault is selected. The number
stands in a file that the model reads as it starts; with 0 the circuit is as it was.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from xdsl.dialects import comb, hw, seq
from xdsl.dialects.builtin import (
    ArrayAttr,
    IntegerAttr,
    IntegerType,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
)
from xdsl.ir import Block, Operation, Region, SSAValue

from daqkf.dialects.circt_ext import ArrayIndexInOutOp, CompRegClockEnabledOp, IfOp
from daqkf.formal.mutations import BUGS

SELECTOR = "daqkf_mutant"
"""The module that says which fault is selected, and its one output."""
_BITS = 16
_LONGEST_NAME = 60

type Rewrite = Callable[[Operation], Operation | None]


def _width(value: SSAValue) -> int:
    kind = value.type
    return kind.width.data if isinstance(kind, IntegerType) else 0


def _constant(value: SSAValue) -> int | None:
    """The value of a constant, or None if it is something else."""
    owner = value.owner
    if not isinstance(owner, hw.ConstantOp):
        return None
    return owner.value.value.data % (1 << _width(value))


def _or_in_place_of_and(op: Operation) -> Operation | None:
    return comb.OrOp(op.operands) if isinstance(op, comb.AndOp) else None


def _and_in_place_of_or(op: Operation) -> Operation | None:
    return comb.AndOp(op.operands) if isinstance(op, comb.OrOp) else None


def _or_in_place_of_xor(op: Operation) -> Operation | None:
    return comb.OrOp(op.operands) if isinstance(op, comb.XorOp) and not _negated(op) else None


def _negated(op: Operation) -> SSAValue | None:
    """What an operation inverts bit by bit, if it does."""
    if not isinstance(op, comb.XorOp) or len(op.operands) != 2:
        return None
    first, second = op.operands
    ones = (1 << _width(first)) - 1
    return first if _constant(second) == ones else second if _constant(first) == ones else None


def _without_negation(op: Operation) -> Operation | None:
    value = _negated(op)
    return None if value is None else comb.ExtractOp(value, IntegerAttr(0, 32), value.type)


_PREDICATES = {0: 1, 1: 0, 2: 3, 3: 2, 4: 5, 5: 4, 6: 7, 7: 6, 8: 9, 9: 8}
"""eq and ne, slt and sle, sgt and sge, ult and ule, ugt and uge."""


def _another_comparison(op: Operation) -> Operation | None:
    if not isinstance(op, comb.ICmpOp):
        return None
    predicate = _PREDICATES.get(op.predicate.value.data)
    return None if predicate is None else comb.ICmpOp(op.lhs, op.rhs, predicate)


def _bits_one_higher(op: Operation) -> Operation | None:
    if not isinstance(op, comb.ExtractOp):
        return None
    low = op.low_bit.value.data + 1
    if low + _width(op.result) > _width(op.input):
        return None
    return comb.ExtractOp(op.input, IntegerAttr(low, 32), op.result.type)


def _with_constant(step: int) -> Rewrite:
    """A copy of an operation, in which a constant differs by a step."""

    def rewrite(op: Operation) -> Operation | None:
        if op.name.partition(".")[0] != "comb" or _negated(op) is not None:
            return None
        for index, value in enumerate(op.operands):
            known, width = _constant(value), _width(value)
            if known is None or width == 0:
                continue
            new = (known + step) % (1 << width)
            signed = new - (1 << width if width > 1 and new >> (width - 1) else 0)
            copy = op.clone()
            constant = hw.ConstantOp(signed, IntegerType(width))
            _insert_before(op, constant)
            copy.operands[index] = constant.result
            return copy
        return None

    return rewrite


def _insert_before(op: Operation, new: Operation) -> None:
    assert op.parent is not None
    op.parent.insert_op_before(new, op)


VALUES: Mapping[str, Rewrite] = {
    **{bug: rewrite for bug, rewrite in BUGS.items() if bug != "a register without its enable"},
    "or in place of and": _or_in_place_of_and,
    "and in place of or": _and_in_place_of_or,
    "or in place of exclusive or": _or_in_place_of_xor,
    "a negation left out": _without_negation,
    "another comparison": _another_comparison,
    "bits taken one place higher": _bits_one_higher,
    "a constant one higher": _with_constant(1),
    "a constant one lower": _with_constant(-1),
}
"""Faults of a value: the operation that takes the place of another one."""


def _enable(op: Operation) -> int | None:
    if not isinstance(op, CompRegClockEnabledOp):
        return None
    return 2


def _reset(op: Operation) -> int | None:
    if not isinstance(op, CompRegClockEnabledOp | seq.CompRegOp) or op.reset is None:
        return None
    return 3 if isinstance(op, CompRegClockEnabledOp) else 2


def _reset_value(op: Operation) -> int | None:
    found = _reset(op)
    return None if found is None else found + 1


def _write(op: Operation) -> int | None:
    if not isinstance(op, IfOp):
        return None
    ops = list(op.then_region.block.ops)
    writes = isinstance(ops[0], ArrayIndexInOutOp) and ops[-1].operands[0] == ops[0].result
    return 0 if writes else None


OPERANDS: Mapping[str, tuple[Callable[[Operation], int | None], str]] = {
    "a register without its enable": (_enable, "always"),
    "a register without its reset": (_reset, "never"),
    "a reset to another value": (_reset_value, "inverted"),
    "a memory written in every cycle": (_write, "always"),
}
"""Faults of an operand: which one it is, and what becomes of it."""


@dataclass(frozen=True)
class Fault:
    """A place in a module, and what is wrong there."""

    unit: str
    """The name of the module."""
    key: str
    """The hash of the module's text."""
    place: int
    """The number of the operation in the module."""
    kind: str
    """A key of `VALUES` or `OPERANDS`."""
    where: str
    """The name of the operation's result."""

    @property
    def name(self) -> str:
        """The name by which results and explanations find it."""
        return f"{self.unit}: {self.kind}: {self.where}"


def key_of(module: hw.HWModuleOp) -> str:
    """A hash of a module's text, without its comment, which names the whole array."""
    copy = module.clone()
    copy.attributes.pop("comment", None)
    return hashlib.sha256(str(copy).encode()).hexdigest()[:16]


def faults(module: hw.HWModuleOp) -> Iterator[Fault]:
    """All faults that a module can have."""
    key, unit = key_of(module), module.sym_name.data
    # Rewrites insert what they need beside an operation.
    scratch = module.clone()
    for place, op in enumerate(list(scratch.walk())):
        for kind, rewrite in VALUES.items():
            if rewrite(op) is not None:
                yield Fault(unit, key, place, kind, _called(op))
        for kind, (find, _) in OPERANDS.items():
            if find(op) is not None:
                yield Fault(unit, key, place, kind, _called(op))


def _called(op: Operation) -> str:
    """A name of an operation: its result's or that of what it reads."""
    for value in (*op.results, *op.operands):
        if value.name_hint:
            return value.name_hint[:_LONGEST_NAME]
    return op.name


def sample(seed: int, count: int, found: Sequence[Fault]) -> list[Fault]:
    """So many faults: one of each unit in turns, of each kind in turns.

    Which ones of a unit are taken does not depend on other units. A change of a circuit so draws
    anew of that circuit alone, and all else stays comparable.
    """

    def order(*facts: object) -> str:
        return hashlib.sha256(repr((seed, *facts)).encode()).hexdigest()

    kinds: dict[tuple[str, str], list[Fault]] = {}
    for fault in found:
        kinds.setdefault((fault.unit, fault.kind), []).append(fault)
    units: dict[str, list[tuple[int, str, Fault]]] = {}
    for (unit, kind), own in kinds.items():
        own.sort(key=lambda fault: order(fault.unit, fault.kind, fault.key, fault.place))
        units.setdefault(unit, []).extend(
            (turn, order(unit, turn, kind), fault) for turn, fault in enumerate(own)
        )
    ranked = {
        unit: [fault for *_, fault in sorted(own, key=lambda entry: entry[:2])]
        for unit, own in sorted(units.items())
    }
    turns = zip_longest(*ranked.values())
    return [fault for turn in turns for fault in turn if fault is not None][:count]


def with_faults(circuit: ModuleOp, numbered: Mapping[int, Fault]) -> ModuleOp:
    """A circuit with those of the faults that are in its modules, each under its number."""
    result = circuit.clone()
    selects = False
    for module in [op for op in result.ops if isinstance(op, hw.HWModuleOp)]:
        key = key_of(module)
        own = {number: fault for number, fault in numbered.items() if fault.key == key}
        if own:
            _build_in(module, own)
            selects = True
    if selects:
        zero = hw.ConstantOp(0, IntegerType(_BITS))
        port = hw.ModulePort(
            StringAttr("selected"), IntegerType(_BITS), hw.DirectionAttr(hw.Direction.OUTPUT)
        )
        body = Region(Block([zero, hw.OutputOp([zero.result])]))
        kind = hw.ModuleType(ArrayAttr([port]))
        result.body.block.insert_op_before(
            hw.HWModuleOp(StringAttr(SELECTOR), kind, body), result.body.block.ops.first
        )
    return result


def _build_in(module: hw.HWModuleOp, own: Mapping[int, Fault]) -> None:
    ops = list(module.walk())
    block = module.body.block
    output = [("selected", IntegerType(_BITS))]
    selector = hw.InstanceOp("mutant", SymbolRefAttr(SELECTOR), [], output)
    # In front of the first comment, as it belongs to no section.
    first = block.first_op
    assert first is not None
    block.insert_op_before(selector, first)
    for number, fault in own.items():
        op = ops[fault.place]
        constant = hw.ConstantOp(number, IntegerType(_BITS))
        chosen = comb.ICmpOp(selector.results[0], constant.result, 0)
        block.insert_ops_after([constant, chosen], selector)
        if fault.kind in OPERANDS:
            _change_operand(op, fault.kind, chosen.result, block)
        else:
            _change_value(op, VALUES[fault.kind], chosen.result)


def _change_value(op: Operation, rewrite: Rewrite, chosen: SSAValue) -> None:
    replacement = rewrite(op)
    assert replacement is not None and op.parent is not None
    value = op.results[0]
    users = [(use.operation, use.index) for use in value.uses]
    mux = comb.MuxOp(chosen, replacement.results[0], value)
    op.parent.insert_ops_after([replacement, mux], op)
    for user, index in users:
        # Rewrites read the operands of the operation, never its result.
        user.operands[index] = mux.result


def _change_operand(op: Operation, kind: str, chosen: SSAValue, block: Block) -> None:
    find, how = OPERANDS[kind]
    index = find(op)
    assert index is not None
    value = op.operands[index]
    ones = hw.ConstantOp(-1, IntegerType(_width(value)))
    if how == "always":
        new = [comb.OrOp([value, chosen])]
    elif how == "never":
        new = [ones, off := comb.XorOp([chosen, ones.result]), comb.AndOp([value, off.result])]
    else:
        inverted = comb.XorOp([value, ones.result])
        new = [ones, inverted, comb.MuxOp(chosen, inverted.result, value)]
    outer = op
    while outer.parent is not block:
        outer = outer.parent_op() or outer
    block.insert_ops_before(new, outer)
    op.operands[index] = new[-1].results[0]


def selector_text(path: Path) -> str:
    """The module that reads the number of the selected fault from a file."""
    return (
        f"module {SELECTOR}(output [{_BITS - 1}:0] selected);\n"
        f"  reg [{_BITS - 1}:0] number;\n"
        "  integer file, found;\n"
        "  initial begin\n"
        "    number = 0;\n"
        f'    file = $fopen("{path}", "r");\n'
        "    if (file != 0) begin\n"
        '      found = $fscanf(file, "%d", number);\n'
        "      $fclose(file);\n"
        "    end\n"
        "  end\n"
        "  assign selected = number;\n"
        "endmodule\n"
    )
