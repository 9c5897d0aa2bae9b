# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Mutants of Python sources: copies with one small fault.

The kinds of faults are the usual ones of mutation testing (DeMillo, Lipton and Sayward, "Hints on
Test Data Selection", 1978): another operator, another comparison, a constant off by one, a
condition the other way round, a statement left out, the minimum in place of the maximum.
"""

import ast
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).parents[2]

FILES = (
    "hw_targets/numerics.py",
    "hw_targets/timing.py",
    "hw_targets/index_coding.py",
    "hw_targets/multiplication.py",
    "passes/dfke_schedule.py",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "passes" / "encode").glob("*.py")),
)
"""The integer arithmetic, and the schedule with what it calls."""

_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_PAIRS = (("min", "max"), ("minimum", "maximum"), ("argmin", "argmax"), ("floor", "ceil"))
_CALLS = {
    **dict(_PAIRS),
    **{other: one for one, other in _PAIRS},
    "any": "all",
    "all": "any",
    "cumsum": "sort",
    "rint": "floor",
}
"""Functions and methods, by their names, and what is called in their place."""

type Change = Callable[[], None]


@dataclass(frozen=True)
class Mutant:
    """One fault of a source."""

    file: str
    """The path of the source, from the root."""
    function: str
    """The qualified name of the function or class; empty at the level of the module."""
    line: int
    place: int
    """Its number among all faults of the file."""
    change: str
    """What stands in place of what."""

    @property
    def name(self) -> str:
        """The name by which results and explanations find it."""
        return f"{self.file}: {self.function or 'module'}: {self.change}"

    def tree(self) -> ast.Module:
        """The source with the fault."""
        tree = ast.parse((ROOT / self.file).read_text(encoding="utf-8"))
        for place, (_, _, _, change) in enumerate(_faults(tree)):
            if place == self.place:
                change()
                return ast.fix_missing_locations(tree)
        raise ValueError(f"{self.file} has no fault of number {self.place}")


def mutants(file: str) -> list[Mutant]:
    """All mutants of a file, in the order of its text."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return [
        Mutant(file, function, line, place, change)
        for place, (function, line, change, _) in enumerate(_faults(tree))
    ]


def sample(seed: int, count: int, files: Sequence[str] = FILES) -> list[Mutant]:
    """So many mutants: one of each function in turns, so that long ones do not have them all."""
    rng = random.Random(seed)
    groups: dict[tuple[str, str], list[Mutant]] = {}
    for file in files:
        for mutant in mutants(file):
            groups.setdefault((file, mutant.function), []).append(mutant)
    for group in groups.values():
        rng.shuffle(group)
    chosen: list[Mutant] = []
    while len(chosen) < count and any(groups.values()):
        turn = [group for group in groups.values() if group]
        rng.shuffle(turn)
        chosen += [group.pop() for group in turn][: count - len(chosen)]
    return sorted(chosen, key=lambda mutant: (mutant.file, mutant.place))


def plant(mutant: Mutant) -> None:
    """Have this process load the project with a mutant; nothing of it may be loaded yet."""
    path = os.path.realpath(ROOT / mutant.file)
    code = compile(mutant.tree(), path, "exec")
    original: Any = SourceFileLoader.get_code

    def get_code(loader: Any, name: str) -> CodeType | None:
        return code if os.path.realpath(loader.path) == path else original(loader, name)

    SourceFileLoader.get_code = get_code


def _faults(tree: ast.Module) -> Iterator[tuple[str, int, str, Change]]:
    """For each fault its function, its line, what it changes, and a function that does it."""
    yield from _below(tree, "")


def _below(node: ast.AST, function: str) -> Iterator[tuple[str, int, str, Change]]:
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params", "format_spec"):
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or _is_left(child):
                continue
            name = function
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                name = f"{function}.{child.name}" if function else child.name
            at = index if isinstance(value, list) else None
            for text, new in _alternatives(child):
                line = getattr(child, "lineno", 0)
                yield name, line, text, _setter(node, field, at, new)
            yield from _below(child, name)


def _setter(node: ast.AST, field: str, at: int | None, new: ast.AST) -> Change:
    def change() -> None:
        if at is None:
            setattr(node, field, new)
        else:
            getattr(node, field)[at] = new

    return change


def _is_left(node: ast.AST) -> bool:
    """Whether a node stays as it is: documentation, messages of errors, imports and types."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(
        node, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom | ast.TypeAlias | ast.JoinedStr
    )


def _alternatives(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What may stand in the place of a node, each with a description."""
    for new in _replacements(node):
        old, text = _text(node), _text(new)
        yield f"`{old}` → `{text}`", new


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:60]} … {text[-27:]}"


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            yield ast.BinOp(left, _OPERATORS[type(op)](), right)
        case ast.AugAssign(target, op, value):
            if type(op) in _OPERATORS:
                yield ast.AugAssign(target, _OPERATORS[type(op)](), value)
            yield ast.Pass()
        case ast.Compare(left, [op], right):
            yield ast.Compare(left, [_COMPARISONS[type(op)]()], right)
        case ast.BoolOp(ast.And(), values):
            yield ast.BoolOp(ast.Or(), values)
        case ast.BoolOp(ast.Or(), values):
            yield ast.BoolOp(ast.And(), values)
        case ast.UnaryOp(ast.USub() | ast.Invert() | ast.Not(), operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Call(ast.Name(name), arguments, keywords) if name in ("min", "max", "any", "all"):
            yield ast.Call(ast.Name(_CALLS[name], ast.Load()), arguments, keywords)
        case ast.Call(ast.Name("sorted" | "abs"), [argument, *_]):
            yield ast.Call(ast.Name("list", ast.Load()), [argument], [])
        case ast.Call(ast.Attribute(value, name), arguments, keywords) if name in _CALLS:
            yield ast.Call(ast.Attribute(value, _CALLS[name], ast.Load()), arguments, keywords)
        case ast.If(test, body, orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Expr() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign([ast.Subscript()], _):
            yield ast.Pass()
        case _:
            pass
