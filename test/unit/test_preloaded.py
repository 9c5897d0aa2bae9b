# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The tools that tests call are the installed ones: the same words, the same exit codes."""

import subprocess
import sys
from pathlib import Path

import preloaded
import pytest


@pytest.fixture(scope="module")
def programs() -> Path:
    return Path(preloaded.start())


@pytest.mark.parametrize(
    "arguments",
    [
        ("daqkf-opt", "-"),
        ("daqkf-opt", "-", "-p", "nothing"),
        ("daqkf-opt", "-", "-p", "nn-chain{target=3}"),
        ("daqkf-opt", "absent.mlir"),
        ("daqkf", "compile", "absent.npy"),
        ("daqkf", "targets"),
    ],
)
def test_a_call_ends_as_one_of_the_installed_tool(
    programs: Path, tmp_path: Path, arguments: tuple[str, ...]
):
    ends = [
        subprocess.run(
            [folder / arguments[0], *arguments[1:]],
            input="func.func @f() { func.return }",
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        for folder in (programs, Path(sys.executable).parent)
    ]
    first, second = ((end.returncode, end.stdout, end.stderr) for end in ends)
    assert first == second
