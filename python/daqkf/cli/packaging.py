# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf package`: what it does with its options."""

import argparse
from pathlib import Path

from daqkf.packaging.choosing import PURPOSES, Asked, check, package


def check_choice(options: argparse.Namespace) -> None:
    """Refuse what no package is for before any work.

    Raises:
        DaqkfError: as `package`.
    """
    given = ("clock", "inputs", "base")
    check(*chosen(options), [name for name in given if getattr(options, name) is not None])


def package_folder(options: argparse.Namespace) -> int:
    """Write the package of a compiled folder, and print what uses it; returns the exit code."""
    from rich.console import Console

    from daqkf.compiler.saved import load
    from daqkf.passes.quantize.samples import load_inputs
    from daqkf.support.console import showing

    purpose, choice = chosen(options)
    folder = Path(options.folder)
    output = output_folder(folder, options.output, choice or purpose)
    with showing(Console(stderr=True), "read") as progress:
        compiled = load(folder)
        progress("make the RTL")
        inputs = None if options.inputs is None else load_inputs(options.inputs)
        asked = Asked(options.clock, inputs, options.base)
        found = package(compiled, purpose, choice, asked)
        found.write(output)
    print(f"{output}: {len(found.files)} files for {found.what}")
    for note in found.notes:
        print(f"  {note}")
    print(f"  {found.usage}")
    return 0


def chosen(options: argparse.Namespace) -> tuple[str, str]:
    """The purpose that was asked for, and what its option was given."""
    given = ((name, getattr(options, name.replace("-", "_"))) for name in PURPOSES)
    name, value = next((name, value) for name, value in given if value not in (None, False))
    return name, "" if value is True else value


def output_folder(folder: Path, output: str | None, name: str) -> Path:
    """Where the package goes: what was asked for, or a folder beside the compiled one."""
    return Path(output) if output else folder.resolve().with_name(f"{folder.resolve().name}-{name}")
