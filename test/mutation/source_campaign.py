# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Mutants of the integer arithmetic and of the schedule, and the tests that run their lines."""

import ast
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from forks import ROOT, LineRecorder, attempt, load_libraries
from source_mutants import FILES, Mutant, plant, sample

TESTS = (
    "test/unit",
    *(
        f"test/integration/test_{name}.py"
        for name in ("array", "balance", "chain", "dispatch", "operands", "row_unit", "semirings")
    ),
    *(
        f"test/integration/test_{name}.py"
        for name in ("strassen", "tiling", "whole_layer", "families", "api", "attention")
    ),
)
"""Where the tests are that may run the sources."""
LEFT_OUT = "not lint and not clean and not proof"
"""An expression of pytest's `-k`: tests whose verdict cannot depend on the sources."""
LIT = ("--filter", "dfke_|lower_", "test/passes", "test/lowering")
"""The tests of lit that run the schedule."""
QUICK = 12.0
"""Seconds of tests that are tried at first."""


class SourceCampaign:
    """So many mutants, and for each line the tests that run it."""

    def __init__(self, seed: int, count: int, folder: Path, patience: float):
        self.mutants = sample(seed, count)
        self.patience = patience
        path = folder / "lines.json"
        if not path.is_file():
            _record(path)
        recorded = json.loads(path.read_text(encoding="utf-8"))
        self.seconds: dict[str, float] = recorded["seconds"]
        self.lines: dict[tuple[str, int], list[str]] = {}
        failed = set(recorded["failed"])
        for test, files in recorded["tests"].items():
            for file, lines in files.items():
                for line in lines if test not in failed else ():
                    self.lines.setdefault((file, line), []).append(test)

    @cached_property
    def _loaded(self) -> bool:
        load_libraries([name for name in TESTS if name != "test/unit"] + ["test/unit"])
        return True

    def names(self) -> list[str]:
        """See `Campaign.names`; what is not unique has its number in the file with it."""
        names = [mutant.name for mutant in self.mutants]
        return [
            f"{name} ({mutant.place})" if names.count(name) > 1 else name
            for name, mutant in zip(names, self.mutants, strict=True)
        ]

    def attempt(self, number: int) -> tuple[bool, str, float]:
        """See `Campaign.attempt`."""
        assert self._loaded
        mutant = self.mutants[number]
        tests = sorted(self._tests(mutant), key=lambda test: self.seconds[test])
        ends = [max(self._within(tests, limit), 1) for limit in (QUICK, self.patience)]
        total = 0.0
        for part in (tests[: ends[0]], tests[ends[0] : ends[1]]):
            if part:
                limit = 20 + 10 * sum(self.seconds[test] for test in part)
                found = attempt(lambda: plant(mutant), part, limit)
                total += found.seconds
                if found.killed:
                    return True, found.by, total
        if self.patience > QUICK and mutant.file.startswith("passes"):
            begun = time.monotonic()
            found_by_lit = _lit(mutant)
            return found_by_lit, "lit" * found_by_lit, total + time.monotonic() - begun
        return False, "", total

    def _within(self, tests: Sequence[str], limit: float) -> int:
        """How many of the first tests take so many seconds at most."""
        taken = itertools.accumulate(self.seconds[test] for test in tests)
        return sum(total <= limit for total in taken)

    def _tests(self, mutant: Mutant) -> set[str]:
        """The tests that run the line of a mutant; of a module's own line, those of its file."""
        lines = [line for file, line in self.lines if file == mutant.file]
        near = [mutant.line]
        if (mutant.file, mutant.line) not in self.lines:
            # A statement of several lines is recorded at another one of them.
            near = _statement(mutant) or lines
        tests = {test for line in near for test in self.lines.get((mutant.file, line), ())}
        return tests or {test for line in lines for test in self.lines[mutant.file, line]}


def _statement(mutant: Mutant) -> list[int]:
    """The lines of the innermost statement around a mutant, if it is in a function."""
    if not mutant.function:
        return []
    tree = ast.parse((ROOT / mutant.file).read_text(encoding="utf-8"))
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt)
        and node.lineno <= mutant.line <= (node.end_lineno or node.lineno)
    ]
    inner = max(around, key=lambda node: node.lineno)
    return list(range(inner.lineno, (inner.end_lineno or inner.lineno) + 1))


def _record(path: Path) -> None:
    """Run all tests once, and write which lines each of them runs."""
    print("recording the lines that each test runs", flush=True)
    run = [sys.executable, __file__, str(path)]
    subprocess.run(run, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _lit(mutant: Mutant) -> bool:
    """Whether one of lit's tests of passes and lowerings fails with a mutant."""
    paths = [str(Path(__file__).with_name("planted")), os.environ.get("PYTHONPATH", "")]
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "DAQKF_MUTANT": f"{mutant.file}:{mutant.place}",
    }
    run = subprocess.run(
        [str(Path(sys.executable).with_name("lit")), "-q", *LIT],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )
    return run.returncode != 0


def _main() -> None:
    """Record, in a process of its own."""
    import pytest

    recorder = LineRecorder(FILES)
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]
    arguments += ["-k", LEFT_OUT, *TESTS]
    pytest.main(arguments, plugins=[recorder])
    facts = {
        "tests": {test: lines for test, lines in recorder.tests.items() if lines},
        "seconds": recorder.seconds,
        "failed": recorder.failed,
    }
    Path(sys.argv[1]).write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    _main()
