# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the package needs: requirements, optional packages, and time to start."""

import ast
import re
import resource
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import architecture
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from daqkf.cli.main import main
from daqkf.dialects.errors import DaqkfError, from_extra

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = {
    name: [Requirement(text) for text in texts]
    for name, texts in PROJECT["optional-dependencies"].items()
}
FOR_USERS = {
    "board",
    "onnx",
    "run",
    "plot",
    "report",
    "tokenizers",
    "synth",
    "formal",
    "cluster",
    "completion",
    "explore",
    "lm",
    "lsp",
    "package",
}

DISTRIBUTIONS = {"vcd": "pyvcd"}
"""Packages of other names than those that are imported."""

ELSEWHERE = {
    "pynq": "the images of boards with PYNQ bring it",
    "torch": "whoever has a PyTorch module has PyTorch",
}
"""What is imported if the user has it, and is in no extra."""

FREE = {"daqkf", *sys.stdlib_module_names, *ELSEWHERE}
NAMED = re.compile(r"""(?:^ *(?:import|from) |import_module\(\s*["'])(\w+)""", re.MULTILINE)
"""The packages that lines look like importing."""


def brought(requirements: list[Requirement]) -> set[str]:
    """The packages of requirements, with those of the extras of daqkf among them."""
    found: set[str] = set()
    for requirement in requirements:
        if requirement.name == "daqkf":
            found |= brought([r for extra in requirement.extras for r in EXTRAS[extra]])
        else:
            found.add(canonicalize_name(requirement.name))
    return found


def imports(source: str) -> Iterator[tuple[str, str | None]]:
    """Each package that a source imports when it runs, and the extra that it is marked with."""

    def visit(node: ast.AST, extra: str | None) -> Iterator[tuple[str, str | None]]:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                return
            case ast.With(
                items=[
                    ast.withitem(
                        context_expr=ast.Call(
                            func=ast.Name(id="from_extra"), args=[ast.Constant(value=name)]
                        )
                    )
                ]
            ):
                extra = str(name)
            case ast.Import(names=names):
                yield from ((alias.name.partition(".")[0], extra) for alias in names)
            case ast.ImportFrom(module=str(module)):
                yield module.partition(".")[0], extra
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name.partition(".")[0], extra
            case _:
                pass
        for child in ast.iter_child_nodes(node):
            yield from visit(child, extra)

    return visit(ast.parse(source), None)


def undeclared(source: str) -> list[str]:
    """What is wrong with the imports of a source."""
    core = brought(CORE)
    found: list[str] = []
    if set(NAMED.findall(source)) <= FREE | core:  # as in most files, which need no parsing then
        return found
    for module, extra in imports(source):
        if module in FREE:
            continue
        package = canonicalize_name(DISTRIBUTIONS.get(module, module))
        allowed = core if extra is None else brought(EXTRAS.get(extra, []))
        if package not in allowed:
            found.append(f"{module} is not in {extra or 'the dependencies'}")
    return found


def test_each_import_is_a_dependency_or_from_an_extra():
    for path in architecture.sources().values():
        assert undeclared(path.read_text()) == [], path


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("def f():\n    import onnx", ["onnx is not in the dependencies"]),
        ("with from_extra('plot'):\n    from onnx import helper", ["onnx is not in plot"]),
        ("import_module('dask.array')", ["dask is not in the dependencies"]),
        ("with from_extra('run'):\n    import onnxruntime, onnx", []),
        ("if TYPE_CHECKING:\n    import onnx", []),
    ],
)
def test_the_test_sees_undeclared_imports(source: str, wrong: list[str]):
    assert undeclared(source) == wrong


def test_all_has_every_extra_for_users():
    assert set(EXTRAS) == FOR_USERS | {"all", "dev", "docs", "bench", "peers"}
    assert brought(EXTRAS["all"]) == set().union(*(brought(EXTRAS[name]) for name in FOR_USERS))


def test_pins_are_within_the_ranges():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line) for line in lines)
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {canonicalize_name(name): Version(version) for name, version in pins.items()}
    for requirement in (*CORE, *(own for extra in EXTRAS.values() for own in extra)):
        if requirement.name == "daqkf":
            continue
        operators = {part.operator for part in requirement.specifier}
        assert ">=" in operators, requirement
        assert "<" in operators, requirement
        assert "==" not in operators, requirement
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


ABSENT = [
    ("onnx", "onnx", ["compile", "m.onnx", "-o", "out"]),
    ("gguf", "lm", ["compile", "m.gguf", "-o", "out"]),
    ("matplotlib", "plot", ["report", "w.npy", "-o", "out"]),
    ("jinja2", "report", ["report", "w.npy", "-o", "out.html"]),
    ("tokenizers", "tokenizers", ["calibrate", "tokenizer.json", "texts.txt", "-o", "x.npz"]),
    ("shtab", "completion", ["completion", "bash"]),
    ("optuna", "explore", ["explore", "w.npy", "-o", "out"]),
]


EXPLORING = [f"daqkf.exploring{part}" for part in ("", ".storage", ".search")]


@pytest.mark.parametrize(("package", "extra", "command"), ABSENT, ids=lambda value: str(value))
def test_an_absent_extra_is_told(
    package: str,
    extra: str,
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    for name in ("m.onnx", "m.gguf", "tokenizer.json", "texts.txt"):
        Path(name).write_text("text\n")
    np.save("w.npy", np.eye(4))
    before = sorted(tmp_path.iterdir())
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("daqkf.reports.figures", "daqkf.reports.pages.rendering", *EXPLORING):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(command) == 1
    message = f"daqkf: {package} is missing: pip install 'daqkf[{extra}]'\n"
    assert capsys.readouterr().err == message
    assert sorted(tmp_path.iterdir()) == before


def test_other_errors_of_an_import_stay():
    with pytest.raises(ImportError, match="cannot import name 'nothing'"), from_extra("plot"):
        from math import nothing  # noqa: F401 # pyright: ignore
    message = r"no_such is missing: pip install 'daqkf\[plot\]'"
    with pytest.raises(DaqkfError, match=message), from_extra("plot"):
        import no_such.part  # noqa: F401 # pyright: ignore


def seconds(script: str) -> float:
    """The CPU time of a process that runs a script."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.parametrize(
    ("script", "starts"),
    [
        ("import daqkf", 9),  # 0.15 s, where Python itself starts in 16 ms
        ("from daqkf.cli.main import main; main(['--help'])", 18),  # 0.3 s
    ],
)
def test_starting_takes_little(script: str, starts: float):
    ratios: list[float] = []
    while len(ratios) < 5:
        ratios.append(seconds(script) / max(seconds("pass"), 0.016))
        if ratios[-1] < starts:
            return
    pytest.fail(f"{min(ratios):.1f} times the start of Python, more than {starts}")
