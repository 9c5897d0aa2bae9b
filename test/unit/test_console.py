# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A log says what long work is doing, now and then."""

import io
import re
import time

import pytest
from rich.console import Console

from daqkf.passes.progress import Step, counted, within
from daqkf.support import console as console_module
from daqkf.support.console import showing


def test_a_log_has_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(console_module, "FIRST_LINE", 0.01)
    monkeypatch.setattr(console_module, "NEXT_LINE", 0.01)
    log = io.StringIO()
    with showing(Console(file=log), "read") as progress:
        while "s: read\n" not in log.getvalue():
            time.sleep(0.001)
        progress("kernel [1]")
        while "s: kernel [1]\n" not in log.getvalue():
            time.sleep(0.001)
    written = log.getvalue()
    time.sleep(0.05)
    assert log.getvalue() == written
    assert all(re.fullmatch(r"0 s: (read|kernel \[1\])", line) for line in written.splitlines())


def test_quick_work_leaves_no_line():
    with showing(Console(file=(log := io.StringIO())), "read") as progress:
        progress("write")
    assert not log.getvalue()


def pruning(monkeypatch: pytest.MonkeyPatch, width: int, **seconds: float) -> str:
    """What a terminal of so many characters has shown of kernels that take so long, of four."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    screen = Console(file=(text := io.StringIO()), force_terminal=True, width=width)
    with showing(screen, "read") as progress:
        told = counted(progress, "prune", 4)
        for kernel, duration in seconds.items():
            told(kernel)
            now += duration
    return text.getvalue()


def test_counted_steps_say_what_time_is_left(monkeypatch: pytest.MonkeyPatch):
    text = pruning(monkeypatch, 70, fc1=30.0, fc2=300.0, fc3=0.0)
    assert "prune 3/4 kernels (fc3), 6 min left" in text


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        (3, "measure 1/3 arrays: lower 2/2 kernels, 40 s left"),  # of the first array
        (4, "measure 2/3 arrays: compile, 4 min left"),
        (9, "measure 3/3 arrays: lower 2/2 kernels, 40 s left"),
    ],
)
def test_parts_of_a_step_say_what_is_left_of_all_steps(
    parts: int, line: str, monkeypatch: pytest.MonkeyPatch
):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    screen = Console(file=(text := io.StringIO()), force_terminal=True, width=80)
    inner = "compile", Step("lower", 1, 2, "kernels"), Step("lower", 2, 2, "kernels")
    with showing(screen, "read") as progress:
        for done in range(parts):
            array = Step("measure", done // 3 + 1, 3, "arrays")
            if done % 3 == 0:
                progress(array)
            within(progress, array)(inner[done % 3])
            now += 40.0 * (done + 1 < parts)
    assert line in text.getvalue()


def test_a_narrow_terminal_still_says_what_time_is_left(monkeypatch: pytest.MonkeyPatch):
    names = [f"layer.{number}.attention.query_key_value" for number in range(2)]
    text = pruning(monkeypatch, 60, **{names[0]: 30.0, names[1]: 0.0})
    assert re.search(r"prune 2/4 kernels \(layer\.1[\w.]*…, 2 min left", text)
    assert max(map(len, re.sub(r"\x1b\[[0-9;?]*\w", "", text).splitlines())) <= 60


def test_a_terminal_has_one_line_that_changes():
    console = Console(file=(screen := io.StringIO()), force_terminal=True, width=60)
    with showing(console, "read") as progress:
        progress("write")
    assert "write" in screen.getvalue() and screen.getvalue().count("\n") == 1
