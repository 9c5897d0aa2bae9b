# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Read circuits in BTOR2, the word-level format of model checkers, and step them by a clock cycle.

The format is that of Niemetz, Preiner, Wolf and Biere, "BTOR2, BtorMC and Boolector 3.0", CAV 2018.
The reader knows the part of it that yosys writes for a synchronous circuit without memories.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from daqkf.formal.bits import Bits, constant, ite, unknown
from daqkf.support.errors import DaqkfError

type Values = Mapping[str, Bits]
"""The bits of each register or port, by its name."""

_UNARY: Mapping[str, Callable[[Bits], Bits]] = {
    "not": lambda a: ~a,
    "neg": lambda a: -a,
    "inc": lambda a: a + 1,
    "dec": lambda a: a - 1,
    "redor": lambda a: ~a.eq(0),
    "redand": lambda a: a.eq(-1),
    "redxor": lambda a: _parity(a),
}

_BINARY: Mapping[str, Callable[[Bits, Bits], Bits]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "nand": lambda a, b: ~(a & b),
    "nor": lambda a, b: ~(a | b),
    "xnor": lambda a, b: ~(a ^ b),
    "iff": lambda a, b: a.eq(b),
    "eq": lambda a, b: a.eq(b),
    "neq": lambda a, b: ~a.eq(b),
    "ult": lambda a, b: a.ult(b),
    "ulte": lambda a, b: ~b.ult(a),
    "ugt": lambda a, b: b.ult(a),
    "ugte": lambda a, b: ~a.ult(b),
    "slt": lambda a, b: a.ult(b, signed_too=True),
    "slte": lambda a, b: ~b.ult(a, signed_too=True),
    "sgt": lambda a, b: b.ult(a, signed_too=True),
    "sgte": lambda a, b: ~a.ult(b, signed_too=True),
    "sll": lambda a, b: a << b,
    "srl": lambda a, b: a >> b,
    "concat": lambda a, b: a.concat(b),
}


def _parity(a: Bits) -> Bits:
    result = a[:1]
    for bit in range(1, a.width):
        result ^= a[bit : bit + 1]
    return result


@dataclass(frozen=True)
class _Node:
    """One line of the file: an operation on the results of earlier lines."""

    line: int
    kind: str
    width: int
    operands: tuple[int, ...]
    """Numbers of lines. `slice` and the extensions have a line, then plain numbers; a constant has
    its value."""

    @cached_property
    def reads(self) -> tuple[int, ...]:
        """The operands that are numbers of lines."""
        return () if self.kind == "constant" else self.operands[: _lines_read(self.kind)]


class TransitionSystem:
    """A synchronous circuit: registers and inputs determine the outputs and the next registers."""

    def __init__(self, text: str):
        self.inputs: dict[str, int] = {}
        """The width of each input in bits, by name."""
        self.registers: dict[str, int] = {}
        """The width of each register in bits, by name."""
        self._nodes: list[_Node] = []
        self._places: dict[int, tuple[str, str]] = {}
        self._outputs: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._memory: dict[tuple[int, ...], tuple[list[Bits], Bits]] = {}
        """Results by line and identities of operands. Most cycles differ little from others, so
        that results are reused. The operands are kept, too, so that their identities stay taken."""
        self._read(text)
        self._drop_unused()

    def _read(self, text: str) -> None:
        sorts: dict[int, int] = {}
        for row in text.splitlines():
            tokens = row.partition(";")[0].split()
            if not tokens:
                continue
            line, kind, *rest = int(tokens[0]), *tokens[1:]
            if kind == "sort":
                if rest[0] != "bitvec":
                    raise DaqkfError(f"the circuit has a memory: BTOR2 sort {rest[0]}")
                sorts[line] = int(rest[1])
            elif kind in ("input", "state"):
                name = rest[1] if len(rest) > 1 else f"{kind}{line}"
                (self.inputs if kind == "input" else self.registers)[name] = sorts[int(rest[0])]
                self._places[line] = kind, name
            elif kind == "output":
                self._outputs[rest[1]] = int(rest[0])
            elif kind == "next":
                self._next[self._places[int(rest[1])][1]] = int(rest[2])
            elif kind != "init":
                self._nodes.append(_node(line, kind, sorts[int(rest[0])], rest[1:]))

    def _drop_unused(self) -> None:
        """Drop the lines that nothing uses: most lines only give a name to another one."""
        needed = {*self._outputs.values(), *self._next.values()}
        for node in reversed(self._nodes):
            if node.line in needed:
                needed.update(node.reads)
        self._nodes = [node for node in self._nodes if node.line in needed]
        # yosys makes an input of each undriven net, such as those that an optimisation leaves.
        self._places = {line: place for line, place in self._places.items() if line in needed}

    def step(self, registers: Values, inputs: Values) -> tuple[Values, Values]:
        """Run one clock cycle; returns the next registers, and the outputs during the cycle."""
        values: dict[int, Bits] = {
            line: (inputs if kind == "input" else registers)[name]
            for line, (kind, name) in self._places.items()
        }
        for node in self._nodes:
            read = [values[line] for line in node.reads]
            key = node.line, *map(id, read)
            known = self._memory.get(key)
            if known is None:
                known = self._memory[key] = read, _evaluate(node, read)
            values[node.line] = known[1]
        after = {
            name: values[self._next[name]] if name in self._next else registers[name]
            for name in self.registers
        }
        return after, {name: values[line] for name, line in self._outputs.items()}

    def any_state(self) -> Values:
        """Registers whose values are all unknown."""
        return {name: unknown(name, width) for name, width in self.registers.items()}


def _node(line: int, kind: str, width: int, rest: Sequence[str]) -> _Node:
    bases = {"const": 2, "constd": 10, "consth": 16}
    if kind in bases:
        return _Node(line, "constant", width, (int(rest[0], bases[kind]),))
    if kind in ("zero", "one", "ones"):
        return _Node(line, "constant", width, ({"zero": 0, "one": 1, "ones": -1}[kind],))
    count = _lines_read(kind) + {"slice": 2, "sext": 1, "uext": 1}.get(kind, 0)
    return _Node(line, kind, width, tuple(int(operand) for operand in rest[:count]))


def _lines_read(kind: str) -> int:
    """The number of an operator's operands that are numbers of lines."""
    if kind in _UNARY or kind in ("slice", "sext", "uext"):
        return 1
    if kind in _BINARY:
        return 2
    if kind == "ite":
        return 3
    raise DaqkfError(f"BTOR2 operator '{kind}' is not supported")


def _evaluate(node: _Node, read: Sequence[Bits]) -> Bits:
    kind, operands = node.kind, node.operands
    if kind == "constant":
        return constant(operands[0], node.width)
    if kind in _UNARY:
        return _UNARY[kind](*read)
    if kind in _BINARY:
        return _BINARY[kind](*read)
    if kind == "ite":
        return ite(*read)
    (first,) = read
    if kind == "slice":
        return first[operands[2] : operands[1] + 1]
    return first.sext(node.width) if kind == "sext" else first.zext(node.width)
