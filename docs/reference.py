# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The reference of dialects, passes and hardware, made from definitions and docstrings.

    python docs/reference.py     # writes docs/reference/

The tests hold that what is there is what this makes.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hardware_reference
from xdsl.ir import Attribute, Dialect
from xdsl.irdl import (
    AllOf,
    AnyAttr,
    AnyOf,
    AttrConstraint,
    BaseAttr,
    EqAttrConstraint,
    IRDLOperation,
    OpDef,
    OptionalDef,
    ParamAttrConstraint,
    RangeConstraint,
    RangeOf,
    VarConstraint,
    VariadicDef,
)
from xdsl.passes import ModulePass

from daqkf.compiler.pipelines import PIPELINES
from daqkf.dialects import DIALECTS
from daqkf.dialects.nn.base import ElementConstraint, TensorConstraint
from daqkf.lowering import PASSES as CONVERSIONS
from daqkf.passes import PASSES
from daqkf.passes.options import pass_options, summary

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / "reference"
HEADER = "<!-- Made by docs/reference.py from the code. -->\n\n"


def constraint_text(constraint: Any) -> str:
    """What a constraint allows, in few words."""
    match constraint:
        case RangeConstraint():
            inner = getattr(constraint, "constraint", constraint)
            return constraint_text(inner.constr) if isinstance(inner, RangeOf) else "any"
        case AnyAttr():
            return "any attribute"
        case BaseAttr(attr) | ParamAttrConstraint(attr, _):
            return _attribute_name(attr) + _parameters(constraint)
        case EqAttrConstraint(attr):
            return f"`{attr}`"
        case AnyOf():
            return " or ".join(dict.fromkeys(map(constraint_text, constraint.attr_constrs)))
        case AllOf():
            return " and ".join(dict.fromkeys(map(constraint_text, constraint.attr_constrs)))
        case VarConstraint():
            return (
                f"{constraint_text(constraint.constraint)} (the same for all `{constraint.name}`)"
            )
        case TensorConstraint():
            return f"tensor of {constraint_text(constraint.element)}"
        case ElementConstraint():
            return constraint.what
        case AttrConstraint():
            return (inspect.getdoc(type(constraint)) or type(constraint).__name__).splitlines()[0]
        case _:
            return str(constraint)


def _attribute_name(attribute: type[Attribute]) -> str:
    name = getattr(attribute, "name", "")
    return f"`{name}`" if name else attribute.__name__


def _parameters(constraint: AttrConstraint) -> str:
    if not isinstance(constraint, ParamAttrConstraint):
        return ""
    known = [part for part in constraint.param_constrs if not isinstance(part, AnyAttr)]
    return f" of {', '.join(map(constraint_text, known))}" if known else ""


def _table(heading: str, rows: list[tuple[str, ...]], columns: tuple[str, ...]) -> Iterator[str]:
    if rows:
        yield f"\n{heading}\n\n"
        yield f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}\n"
        for row in rows:
            cells = (cell.replace("|", "\\|") for cell in row)
            yield f"| {' | '.join(cells)} |\n"


def _values(definition: OpDef) -> Iterator[tuple[str, str, str]]:
    for role, values in (("operand", definition.operands), ("result", definition.results)):
        for name, value in values:
            count = ""
            if isinstance(value, OptionalDef):
                count = "optional "
            elif isinstance(value, VariadicDef):
                count = "variadic "
            yield f"`{name}`", f"{count}{role}", constraint_text(value.constr)


def _attributes(definition: OpDef) -> Iterator[tuple[str, str, str]]:
    for name, value in (definition.properties | definition.attributes).items():
        count = "optional" if isinstance(value, OptionalDef) else "required"
        yield f"`{name}`", count, constraint_text(value.constr)


def operation_page(op: type[IRDLOperation]) -> Iterator[str]:
    """The section of one operation."""
    definition = op.get_irdl_definition()
    yield f"\n## `{op.name}`\n\n{inspect.getdoc(op)}\n"
    yield from _table("Values:", list(_values(definition)), ("name", "is", "type"))
    yield from _table("Attributes:", list(_attributes(definition)), ("name", "is", "constraint"))
    if definition.regions:
        names = ", ".join(f"`{name}`" for name, _ in definition.regions)
        yield f"\nRegions: {names}\n"
    traits = sorted(type(trait).__name__ for trait in op.traits.traits)
    if traits:
        yield f"\nTraits: {', '.join(traits)}\n"
    if definition.assembly_format:
        yield f"\nSyntax:\n\n```text\n{op.name} {definition.assembly_format}\n```\n"


def dialect_page(dialect: Dialect) -> str:
    """The page of a dialect: its operations, then its attributes."""
    own = [op for op in dialect.operations if op.__module__.startswith("daqkf.")]
    text = [HEADER, f"# The dialect `{dialect.name}`\n"]
    module = inspect.getdoc(sys.modules[own[0].__module__.rpartition(".")[0]]) or ""
    text.append(f"\n{module}\n")
    for op in sorted(own, key=lambda op: op.name):
        text += operation_page(op)
    attributes = [found for found in dialect.attributes if found.__module__.startswith("daqkf.")]
    for attribute in sorted(attributes, key=lambda found: found.name):
        text.append(f"\n## Attribute `{attribute.name}`\n\n{inspect.getdoc(attribute)}\n")
    return "".join(text)


_OPTIONS = re.compile(r"(?:^- `[\w-]+`.*\n(?:^  .*\n)*)+\n?", re.MULTILINE)
"""The list of options in a docstring, which becomes a table."""


def pass_page(kind: type[ModulePass]) -> str:
    """The page of a pass: what it does, its options, where it runs and where it is tested."""
    prose = _OPTIONS.sub("", f"{inspect.getdoc(kind)}\n").strip()
    text = [HEADER, f"# `{kind.name}`\n\n{prose}\n"]
    rows = [
        (
            f"`{option.name}`",
            f"`{option.kind}`",
            "required" if option.default is None else f"`{option.default}`",
            option.description,
        )
        for option in pass_options(kind)
    ]
    text += _table("Options:", rows, ("option", "type", "default", "what it is"))
    pipelines = [name for name, passes in PIPELINES.items() if kind.name in passes]
    if pipelines:
        text.append(f"\nNamed pipelines with it: {', '.join(f'`{name}`' for name in pipelines)}\n")
    stem = kind.name.replace("-", "_")
    tests = sorted((ROOT / "test").glob(f"*/{stem}*.mlir"))
    links = (f"[{path.name}](../../../{path.relative_to(ROOT).as_posix()})" for path in tests)
    text.append(f"\nTests, which are examples, too: {', '.join(links)}\n")
    return "".join(text)


def pages() -> dict[str, str]:
    """The text of every page, by its path in the folder."""
    found: dict[str, str] = {}
    rows: list[str] = []
    for name, factory in sorted(DIALECTS.items()):
        dialect = factory()
        if any(op.__module__.startswith("daqkf.") for op in dialect.operations):
            found[f"dialects/{name}.md"] = dialect_page(dialect)
            rows.append(f"| [`{name}`](dialects/{name}.md) | dialect |\n")
    passes: Mapping[str, Any] = PASSES | CONVERSIONS
    for name, factory in passes.items():
        kind = factory()
        found[f"passes/{name}.md"] = pass_page(kind)
        rows.append(f"| [`{name}`](passes/{name}.md) | {summary(kind)} |\n")
    found |= {name: HEADER + text for name, text in hardware_reference.pages().items()}
    rows += hardware_reference.rows()
    rows.append("| [registers](../registers.md) | registers of `daqkf_system` |\n")
    rows.append("| [operators](../operators.md) | what becomes of each operator of ONNX |\n")
    index = f"{HEADER}# Reference\n\n| name | what it is or does |\n| --- | --- |\n{''.join(rows)}"
    return {"README.md": index} | found


if __name__ == "__main__":
    made = pages()
    for path in FOLDER.rglob("*.md"):
        if path.relative_to(FOLDER).as_posix() not in made:
            path.unlink()
    for name, text in made.items():
        target = FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    sys.stdout.write(f"{FOLDER}: {len(made)} pages\n")
