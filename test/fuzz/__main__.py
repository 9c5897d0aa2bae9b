# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Run the fuzzers, for some time or a number of cases; Ctrl-C ends one with what it has found.

python -m fuzz                    # all three, MINUTES / 3 each
python -m fuzz parsers --cases 1000000 --seed 5
python -m fuzz circuits --cases 2048
"""

import argparse
import contextlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz import circuits, finds, parsers, pipelines
from fuzz.formats import FORMATS

_EVERY = 10.0
"""Seconds from one line of progress to the next."""


class Clock:
    """Says when a run is over, and what it has done so far."""

    def __init__(self, options: argparse.Namespace, summary: Callable[[Any, float], str]):
        self._start = self._shown = time.monotonic()
        self._seconds = 60 * options.minutes / (3 if options.what == "all" else 1)
        self._cases, self._summary = options.cases, summary

    def over(self, done: int) -> bool:
        """Whether so many cases are enough, or it is late."""
        if self._cases is not None:
            return done >= self._cases
        return time.monotonic() - self._start > self._seconds

    def progress(self, tally: Any) -> None:
        """A line, now and then."""
        if time.monotonic() - self._shown > _EVERY:
            self._shown = time.monotonic()
            print(self.line(tally), flush=True)

    def line(self, tally: Any) -> str:
        """The summary."""
        return self._summary(tally, time.monotonic() - self._start)


def fuzz_parsers(options: argparse.Namespace) -> list[Path]:
    """Damaged files of every format."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="daqkf-fuzz-", dir=base) as folder,
        contextlib.chdir(folder),
    ):
        names = options.formats or FORMATS
        cases = parsers.Cases(options.seed, names, Path(folder))
        clock = Clock(options, parsers.summary)
        tally = parsers.run(
            cases, lambda tally: clock.over(tally.cases), clock.progress, options.first
        )
        print(clock.line(tally))
    return finds.keep_files(tally.finds.values())


def fuzz_passes(options: argparse.Namespace) -> list[Path]:
    """Random modules through pipelines."""
    clock = Clock(options, pipelines.summary)
    tally = pipelines.fuzz(options.seed, lambda tally: clock.over(tally.modules), clock.progress)
    print(clock.line(tally))
    return finds.keep_modules(tally.finds)


def fuzz_circuits(options: argparse.Namespace) -> list[Path]:
    """Random programs on circuits."""
    clock = Clock(options, circuits.summary)
    tally = circuits.fuzz(options.seed, lambda tally: clock.over(tally.programs), clock.progress)
    print(clock.line(tally))
    return finds.keep_programs(tally.finds)


FUZZERS = {"parsers": fuzz_parsers, "passes": fuzz_passes, "circuits": fuzz_circuits}


def main() -> int:
    """Run one fuzzer or all of them; the exit code says whether there are finds."""
    parser = argparse.ArgumentParser("fuzz", description="fuzz readers, passes and circuits")
    parser.add_argument("what", nargs="?", choices=("all", *FUZZERS), default="all")
    parser.add_argument("--minutes", type=float, default=10, help="in all (default: 10)")
    parser.add_argument("--cases", type=int, help="files, modules or programs, in place of minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first file")
    parser.add_argument("--formats", nargs="*", choices=FORMATS, help="of files")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    paths: list[Path] = []
    for name, run in FUZZERS.items():
        if options.what in ("all", name):
            paths += run(options)
    for path in paths:
        print(f"a find is kept as {path}")
    return bool(paths)


if __name__ == "__main__":
    raise SystemExit(main())
