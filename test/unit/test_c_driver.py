# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The driver in C compiles without a warning, and needs nothing of a C library."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from documents import blocks

from daqkf.drivers.c_library import c_library
from daqkf.runtime import tools

ROOT = Path(__file__).parents[2]
WARNINGS = [
    *("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion"),
    *("-Wcast-align", "-Wshadow", "-Wstrict-prototypes", "-Werror"),
]
RISCV = "riscv64-unknown-elf-"
needs_riscv = pytest.mark.skipif(not shutil.which(f"{RISCV}gcc"), reason="no gcc for RISC-V")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in c_library(linux=True, network=True).items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(command: Sequence[str | Path], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("source", ["daqkf.c", "daqkf_uio.c", "daqkf_network.c", "daqkf_host.c"])
def test_compilers_have_nothing_to_say(source: str, level: str, folder: Path):
    run([*tools.c_compiler(), *WARNINGS, level, "-c", source, "-o", "out.o"], folder)


@needs_riscv
@pytest.mark.parametrize("level", ["-O0", "-Os", "-O3"])
def test_the_smallest_processor_needs_no_library(level: str, folder: Path):
    """No multiplication, no C library, not even what compilers call by themselves."""
    target = ["-march=rv32i", "-mabi=ilp32", "-ffreestanding", "-nostdinc"]
    headers = run([f"{RISCV}gcc", "-print-file-name=include"], folder).strip()
    command = [f"{RISCV}gcc", *target, "-isystem", headers, *WARNINGS, level]
    run([*command, "-c", "daqkf.c", "-o", "out.o"], folder)
    assert run([f"{RISCV}nm", "--undefined-only", "out.o"], folder) == ""


def test_cxx_takes_the_headers(folder: Path):
    headers = [path.name for path in folder.glob("*.h")]
    lines = [f'#include "{name}"\n' for name in 2 * headers]
    (folder / "both.cpp").write_text("".join(lines))
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    run([*tools.cxx_compiler(), *flags, "both.cpp"], folder)


def test_the_document_builds_the_driver_and_its_example_compiles(tmp_path: Path):
    """The commands of docs/drivers.md as they stand, and its code, which prints as it likes."""
    found = blocks(ROOT / "docs" / "drivers.md")
    (building,) = (text for kind, text in found if kind == "sh" and "c-driver" in text)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-e", "-c", building]
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"PATH": path}, check=True)
    (example,) = (text for kind, text in found if kind == "c")
    text = f"void print(const char *text);\n{example}"
    (tmp_path / "driver" / "example.c").write_text(text)
    run([*tools.c_compiler(), *WARNINGS, "-c", "example.c", "-o", "example.o"], tmp_path / "driver")
    assert {path.name for path in (tmp_path / "driver").iterdir()} == {
        *c_library(linux=True),
        "daqkf.o",
        "example.c",
        "example.o",
    }


MESSAGES = """#include "daqkf.h"
#include <stdio.h>

int main(void) {
  for (unsigned result = 0; result < 80; ++result)
    printf("%s\\n", daqkf_message((enum daqkf_result)result));
  for (uint32_t error = 0; error < 16; ++error)
    printf("%s\\n", daqkf_array_message(error));
  return 0;
}
"""


def test_each_error_has_a_message_of_its_own(folder: Path):
    from daqkf.hw_targets.descriptors import QueueError
    from daqkf.hw_targets.status import LoadError

    (folder / "messages.c").write_text(MESSAGES)
    run([*tools.c_compiler(), *WARNINGS, "messages.c", "daqkf.c", "-o", "messages"], folder)
    lines = run([folder / "messages"], folder).splitlines()
    results, queue, array = lines[:16], lines[65:80], lines[80:]
    assert len(set(results)) == 16
    count = len(QueueError) - 1
    assert len(set(queue[: count + 1])) == count + 1
    assert set(queue[count:]) == {queue[count]}
    assert len(set(array[: len(LoadError) + 1])) == len(LoadError) + 1
    assert set(array[len(LoadError) :]) == {array[-1]}
