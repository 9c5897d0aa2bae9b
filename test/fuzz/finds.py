# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Finds: reduced files of what fuzzers have found, which a test of `make check` looks at again.

- `FORMAT-N.*`: a file for the reader of a format (`formats.FORMATS`).
- `passes-N.mlir`: a module, whose first line names a pipeline.
- `circuits-N.mlir`: layers of integers, whose first line names the array and the case.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from xdsl.utils.exceptions import PassFailedException

from daqkf.compiler.validation import Validator
from daqkf.support.ir import make_context, module_text, parse_module
from fuzz import circuits, parsers, pipelines
from fuzz.formats import FORMATS

FOLDER = Path(__file__).parent / "finds"


def kept(folder: Path = FOLDER) -> list[Path]:
    """The files of all finds."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def _free(folder: Path, kind: str, suffix: str) -> Path:
    number = 1
    while list(folder.glob(f"{kind}-{number}.*")):
        number += 1
    return folder / f"{kind}-{number}{suffix}"


def keep_files(found: Iterable[parsers.Find], folder: Path = FOLDER) -> list[Path]:
    """Keep files of which readers have stumbled, reduced."""
    paths: list[Path] = []
    for find in found:
        if find.format in FORMATS:
            with tempfile.TemporaryDirectory(prefix="daqkf-fuzz-") as scratch:
                data = parsers.reduced(find, Path(scratch))
            path = _free(folder, find.format, FORMATS[find.format].suffix)
            path.write_bytes(data)
            paths.append(path)
    return paths


def keep_modules(found: Iterable[pipelines.Find], folder: Path = FOLDER) -> list[Path]:
    """Keep modules that passes have changed, as they were reduced."""
    paths: list[Path] = []
    for find in found:
        path = _free(folder, "passes", ".mlir")
        path.write_text(f"// passes: {find.pass_name}\n// {find.problem}\n{find.report}")
        paths.append(path)
    return paths


def keep_programs(found: Iterable[circuits.Find], folder: Path = FOLDER) -> list[Path]:
    """Keep layers whose programs differ."""
    paths: list[Path] = []
    for find in found:
        path = _free(folder, "circuits", ".mlir")
        text = "" if find.module is None else module_text(find.module)
        path.write_text(f"// array: {find.array} case: {find.seed}\n// {find.problem}\n{text}")
        paths.append(path)
    return paths


def problem_of(path: Path, scratch: Path) -> str | None:
    """What is wrong with a find, if something still is."""
    kind = path.name.rsplit("-", 1)[0]
    if kind == "passes":
        return _of_passes(path)
    if kind == "circuits":
        return _of_circuit(path)
    return parsers.judged_apart(FORMATS[kind], path.read_bytes(), scratch)


def _of_passes(path: Path) -> str | None:
    text = path.read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert first.startswith("// passes: "), path
    module, validator = parse_module(make_context(), text, str(path)), Validator()
    for step in pipelines.parse_pipeline(first.removeprefix("// passes: ")):
        made = pipelines.parsed(str(step))
        before = module.clone()
        try:
            made.apply(make_context(), module)
        except PassFailedException:
            return None  # refused in words
        module.verify()
        if (found := validator.after(made, before, module)) is not None:
            return str(found)
    return None


def _of_circuit(path: Path) -> str | None:
    """By the golden model; the circuits themselves are for `make fuzz` and `make slow`."""
    _, _, name, _, case = path.read_text(encoding="utf-8").splitlines()[0].split()
    found = circuits.case_of(circuits.ARRAYS[name], circuits.config_of(name), int(case))
    return None if found is None else circuits.problem_of(found, None)
