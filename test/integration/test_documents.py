# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The examples in the documents run."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import architecture
import array_picture
import documents
import operators
import pytest
import reference

from daqkf.support.ir import make_context, module_text, parse_module

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("dialects/*/*.md")]


def blocks(path: Path, language: str) -> list[str]:
    return [text for kind, text in documents.blocks(path) if kind == language]


def examples(language: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
        for path in DOCUMENTS
        for number, block in enumerate(blocks(path, language))
    ]


@pytest.mark.parametrize("text", examples("mlir"))
def test_ir_parses_verifies_and_comes_back(text: str):
    context = make_context()
    printed = module_text(parse_module(context, text, "document"))
    assert module_text(parse_module(context, printed, "printed")) == printed


def test_the_reference_is_what_the_code_says():
    made = reference.pages()
    found = {
        path.relative_to(reference.FOLDER).as_posix(): path.read_text()
        for path in reference.FOLDER.rglob("*.md")
    }
    assert found == made, "run `python docs/reference.py`"


def test_the_page_of_operators_is_what_the_code_says():
    assert operators.PAGE.read_text() == operators.page(), "run `python docs/operators.py`"


def test_the_pictures_are_current():
    assert architecture.PICTURE.read_bytes() == architecture.drawn(architecture.imports()), (
        "run `python docs/architecture.py`"
    )
    assert array_picture.PICTURE.read_bytes() == array_picture.drawn(), (
        "run `python docs/array_picture.py`"
    )


FILE = re.compile(r"`((?:[a-z_]+/)+[\w.-]+\.\w+)`")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_are_named_exist(path: Path):
    if path.name == "CHANGELOG.md":  # what was there once may be gone
        return
    for name in FILE.findall(path.read_text()):
        assert (ROOT / name).exists() or name.startswith("build/"), name


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_examples_run(path: Path, tmp_path: Path):
    run = subprocess.run(
        [sys.executable, path], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout
