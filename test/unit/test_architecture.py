# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The structure of the code: which room may import which, and how long a function may be."""

import ast
import sys
from functools import cache
from pathlib import Path

import architecture
import pytest

imports = cache(architecture.imports)

LONGEST = 60
"""Lines of a function, its docstring not counted."""

LONG = {
    "daqkf.cli.compile_arguments.add_compile": "one entry for each option",
    "daqkf.lowering.rtl.registers._registers": "one entry for each register and field",
}
"""Longer functions, each with the reason."""


def order(module: str) -> tuple[int, int | None]:
    """The floor of a module, and its place in there if its room has one."""
    name = architecture.room(module)
    first, _, rest = name.partition(".")
    floor = first if first in architecture.FLOORS else "python/daqkf"
    own = rest if first in architecture.FLOORS else name
    among = architecture.ORDERED.get(floor, ())
    return architecture.FLOORS.index(floor), among.index(own) if own in among else None


def upward(graph: architecture.Imports) -> list[str]:
    """The imports that go against the flow of data."""
    found: list[str] = []
    for module, used in graph.items():
        floor, place = order(module)
        for other in used:
            below, position = order(other)
            known = place is not None and position is not None
            if below > floor or (below == floor and known and position > place):
                found.append(f"{module} imports {other}")
    return found


def test_data_flows_one_way():
    assert upward(imports()) == []


def test_there_are_no_circles_of_imports():
    assert architecture.circles(imports()) == []


def test_studies_are_imported_by_command_lines_alone():
    rooms = architecture.rooms(imports())
    assert {name for name, used in rooms.items() if "studies" in used} == {"cli"}


def test_the_tests_see_violations(tmp_path: Path):
    texts = {
        "daqkf.passes.one": "def f():\n    from daqkf.lowering.two import g\n",
        "daqkf.lowering.two": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import daqkf.passes.one\n"
        ),
        "daqkf.lowering.hdl.three": "from daqkf.lowering.rtl.four import h\n",
        "daqkf.lowering.rtl.four": "",
    }
    files = {name: tmp_path / f"{name}.py" for name in texts}
    for name, text in texts.items():
        files[name].write_text(text)
    graph = architecture.imports(files)
    assert sorted(upward(graph)) == [
        "daqkf.lowering.hdl.three imports daqkf.lowering.rtl.four",
        "daqkf.passes.one imports daqkf.lowering.two",
    ]
    assert architecture.circles(graph) == [["daqkf.lowering.two", "daqkf.passes.one"]]


@pytest.mark.parametrize(
    ("room", "libraries"),
    [
        ("hw_targets", {"numpy", "scipy"}),
        ("dialects", {"numpy", "onnx", "scipy", "xdsl"}),  # `nn.operator` has models of ONNX
        ("passes", {"numpy", "scipy", "xdsl"}),
    ],
)
def test_lower_rooms_need_little(room: str, libraries: set[str]):
    allowed = {"daqkf"} | libraries | set(sys.stdlib_module_names)
    for name, path in architecture.sources().items():
        if name.split(".")[1:2] == [room]:
            names = architecture.imported_names(path.read_text())
            assert {module.split(".")[0] for module, _ in names} <= allowed, path


def lengths(module: str, source: str) -> dict[str, int]:
    """Lines of each function of a source, its docstring not counted."""
    found: dict[str, int] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = f"{prefix}.{getattr(child, 'name', '')}"
            if isinstance(child, ast.FunctionDef):
                assert child.end_lineno is not None
                text = ast.get_docstring(child, clean=False) or ""
                lines = child.end_lineno - child.lineno + 1 - len(text.splitlines())
                found[name] = lines
            named = isinstance(child, ast.FunctionDef | ast.ClassDef)
            visit(child, name if named else prefix)

    visit(ast.parse(source), module)
    return found


def test_functions_are_short():
    found: dict[str, int] = {}
    for module, path in architecture.sources().items():
        found |= lengths(module, path.read_text())
    assert {name for name, lines in found.items() if lines > LONGEST} == set(LONG)
