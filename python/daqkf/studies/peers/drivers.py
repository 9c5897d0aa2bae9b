# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How long `daqkf-opt` and `xdsl-opt` take for the same IR: parsing, canonicalisation, printing."""

import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daqkf.passes.progress import Progress
from daqkf.support.errors import DaqkfError

OPERATIONS = (0, 1000, 10000)
"""Operations of the modules; without any, the time is that of starting."""
REPEATS = 3
_PROGRAMS = {
    "daqkf": "import sys; from daqkf.cli.entry import daqkf_opt; sys.exit(daqkf_opt())",
    "xdsl": "import sys; from xdsl.tools.xdsl_opt import main; sys.exit(main())",
}


@dataclass(frozen=True)
class Driven:
    """The CPU times of both drivers for a module, the least of several runs that took turns."""

    operations: int
    daqkf: float
    xdsl: float

    @property
    def ratio(self) -> float:
        """Times of `daqkf-opt` by those of `xdsl-opt`."""
        return self.daqkf / self.xdsl

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        return asdict(self) | {"ratio": self.ratio}


def module_of(operations: int) -> str:
    """A module of `builtin`, `func` and `arith` with so many operations, of which half fold."""
    lines = ["func.func @f(%x: i32) -> i32 {", "  %c = arith.constant 0 : i32"]
    last = "%x"
    for number in range(operations // 2):
        lines += [
            f"  %a{number} = arith.addi {last}, %c : i32",
            f"  %b{number} = arith.muli %a{number}, %x : i32",
        ]
        last = f"%b{number}"
    return "\n".join([*lines, f"  func.return {last} : i32", "}"]) + "\n"


def measure_drivers(operations: int, progress: Progress, repeats: int = REPEATS) -> Driven:
    """Run both drivers in turn.

    Raises:
        DaqkfError: a driver failed, or they print different modules.
    """
    best = dict.fromkeys(_PROGRAMS, float("inf"))
    with tempfile.TemporaryDirectory(prefix="daqkf-") as folder:
        path = Path(folder, "module.mlir")
        path.write_text(module_of(operations), encoding="utf-8")
        for number in range(repeats):
            progress(f"{operations:,} operations, run {number + 1} of {repeats}")
            printed: dict[str, str] = {}
            for name in _PROGRAMS:
                seconds, printed[name] = _run(name, path)
                best[name] = min(best[name], seconds)
            if len(set(printed.values())) > 1:
                raise DaqkfError("daqkf-opt and xdsl-opt print different modules")
    return Driven(operations, best["daqkf"], best["xdsl"])


def _run(name: str, path: Path) -> tuple[float, str]:
    """The CPU time of a driver, and what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", _PROGRAMS[name], str(path), "-p", "canonicalize"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["no output"])[-1]
        raise DaqkfError(f"{name}-opt failed: {last}")
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, run.stdout
