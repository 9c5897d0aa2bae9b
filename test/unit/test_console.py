# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A log says what long work is doing, now and then."""

import io
import time

import pytest
from rich.console import Console

from daqkf.support.console import showing


def test_a_log_has_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with showing(Console(file=(log := io.StringIO())), "read") as progress:
        for step in range(45):
            now += 1.0
            progress(f"kernel [{step}]")
    assert log.getvalue().splitlines() == [
        "10 s: kernel [9]",
        "20 s: kernel [19]",
        "30 s: kernel [29]",
        "40 s: kernel [39]",
    ]


def test_a_terminal_has_one_line_that_changes():
    console = Console(file=(screen := io.StringIO()), force_terminal=True, width=60)
    with showing(console, "read") as progress:
        progress("write")
    assert "write" in screen.getvalue() and screen.getvalue().count("\n") == 1
