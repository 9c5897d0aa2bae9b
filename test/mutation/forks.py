# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Tests that run in forks of one process, which has loaded the libraries, and records of tests.

A fork loads the project itself, and so may load it with a fault.
"""

import contextlib
import importlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEMORY = 6 << 30
"""Bytes that the tests of a mutant may take."""
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", "--no-header")


def load_libraries(files: Collection[str]) -> None:
    """Import what the tests in these files import, but for the project and the tests."""
    script = (
        "import sys, pytest\n"
        f"pytest.main([*{OPTIONS!r}, '--collect-only', *sys.argv[1:]])\n"
        "print('\\n' + ' '.join(n for n, m in sys.modules.items() "
        "if 'site-packages' in str(getattr(m, '__file__', ''))))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in run.stdout.splitlines()[-1].split():
        if not name.startswith(("_editable", "daqkf")):
            try:
                importlib.import_module(name)
            except ImportError:
                continue  # a part that is loaded by another way


@dataclass(frozen=True)
class Attempt:
    """What tests said to a mutant."""

    killed: bool
    by: str
    """The test that failed, or what else went wrong."""
    seconds: float


class _First:
    """Notes the first test that fails."""

    def __init__(self, pipe: int):
        self.pipe = pipe

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os.write(self.pipe, report.nodeid.encode() + b"\n")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            os.write(self.pipe, f"loading {report.nodeid}\n".encode())


def attempt(prepare: Callable[[], object], tests: Sequence[str], seconds: float) -> Attempt:
    """Run tests in a fork until one fails; `prepare` runs in the fork before.

    Raises:
        RuntimeError: pytest could not run the tests.
    """
    begun = time.monotonic()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(prepare, tests, writing)
    os.close(writing)
    code = _wait(child, begun + seconds)
    with os.fdopen(reading) as file:
        said = file.read().splitlines()
    taken = time.monotonic() - begun
    if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED) and not said:
        raise RuntimeError(f"pytest cannot run {' '.join(tests)}")
    by = said[0] if said else "too long" if code is None else f"exit code {code}" if code else ""
    return Attempt(code != 0, by, taken)


def _be_child(prepare: Callable[[], object], tests: Sequence[str], pipe: int) -> None:
    code: int = pytest.ExitCode.INTERNAL_ERROR
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(ROOT)
        prepare()
        code = pytest.main([*OPTIONS, *tests], plugins=[_First(pipe)])
    finally:
        os._exit(code)


def _wait(child: int, until: float) -> int | None:
    """The exit code of a process, which is ended with all that it started; None if it is late."""
    code = None
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if code is None:
        os.waitpid(child, 0)
    return code


class LineRecorder:
    """A plugin of pytest: the lines of some files that each test runs, and its seconds."""

    def __init__(self, files: Collection[str]):
        self.files = {str((ROOT / file).resolve()): file for file in files}
        self.tests: dict[str, dict[str, list[int]]] = {}
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self._places: dict[str, str | None] = {}
        self._seen: set[tuple[str, int]] = set()
        monitoring = sys.monitoring
        self._tool = next(n for n in range(6) if monitoring.get_tool(n) is None)
        monitoring.use_tool_id(self._tool, "lines of tests")
        events = monitoring.events
        monitoring.register_callback(self._tool, events.PY_START, self._start)
        monitoring.register_callback(self._tool, events.LINE, self._line)
        monitoring.set_events(self._tool, events.PY_START)

    def _file(self, code: CodeType) -> str | None:
        name = code.co_filename
        if name not in self._places:
            self._places[name] = self.files.get(os.path.realpath(name))
        return self._places[name]

    def _start(self, code: CodeType, _: int) -> object:
        if self._file(code) is not None:
            monitoring = sys.monitoring
            monitoring.set_local_events(self._tool, code, monitoring.events.LINE)
        return sys.monitoring.DISABLE

    def _line(self, code: CodeType, line: int) -> object:
        if file := self._file(code):
            self._seen.add((file, line))
        return sys.monitoring.DISABLE

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """Note what a test runs, with its fixtures."""
        self._seen.clear()
        sys.monitoring.restart_events()
        begun = time.monotonic()
        result = yield
        self.seconds[item.nodeid] = time.monotonic() - begun
        lines: dict[str, list[int]] = {}
        for file, line in sorted(self._seen):
            lines.setdefault(file, []).append(line)
        self.tests[item.nodeid] = lines
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the tests that fail without any fault."""
        if report.failed:
            self.failed.append(report.nodeid)
