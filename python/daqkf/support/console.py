# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What long work is doing, on a terminal or in a log."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Column

from daqkf.passes.progress import Part, Progress, Step
from daqkf.support.errors import printable

FIRST_LINE, NEXT_LINE = 3.0, 10.0
"""Seconds until a log says what is going on, and until it does again."""

_BESIDE = 10
"""Characters of a terminal's line beside the step: a turning sign, and the time since the start."""


@contextmanager
def showing(console: Console, first: str) -> Iterator[Progress]:
    """Show what long work is doing, at first this; gives what takes each next step.

    A terminal has one line that changes. A log has a line after three seconds, and then every ten,
    with the seconds since the beginning. Steps that are counted are followed by the time that is
    left, if others take as long as those that were; a part of such a step by that of the step.
    """
    estimates = _Estimates(first)
    if console.is_terminal:
        from rich.progress import Progress as Bars
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        text = TextColumn("{task.fields[now]}", markup=False, table_column=Column(no_wrap=True))
        columns = SpinnerColumn(), text, TimeElapsedColumn()
        with Bars(*columns, console=console, transient=True) as bars:
            task = bars.add_task("", total=None, now=printable(first))

            def show(step: str) -> None:
                estimates.begin(step)
                bars.update(task, now=estimates.line(console.width - _BESIDE))

            yield show
        return
    ended = threading.Event()

    def write() -> None:
        began, pause = time.monotonic(), FIRST_LINE
        while not ended.wait(pause):
            pause = NEXT_LINE
            line = f"{time.monotonic() - began:.0f} s: {estimates.line()}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield estimates.begin
    finally:
        ended.set()
        writer.join()


@dataclass
class _Counted:
    """Steps of a kind, as far as they have begun."""

    first: Step
    began: float
    """When the first one began, in seconds."""
    last: Step
    last_began: float

    def left(self, now: float) -> float | None:
        """Seconds until all of them are done; None while the first one is at work."""
        done = self.last.number - self.first.number
        if not done:
            return None
        each = (self.last_began - self.began) / done
        return max(each - (now - self.last_began), 0) + each * (self.last.total - self.last.number)


class _Estimates:
    """The step at work, and when those of each kind began."""

    def __init__(self, first: str):
        self._step = first
        self._kinds: dict[str, _Counted] = {}

    def begin(self, step: str) -> None:
        """A step begins."""
        self._step = step
        if isinstance(step, Step):
            now = time.monotonic()
            known = self._kinds.get(step.kind)
            if known is None or step.number <= known.first.number:
                # The first of its kind, or of another round.
                self._kinds[step.kind] = _Counted(step, now, step, now)
            else:
                known.last, known.last_began = step, now

    def line(self, width: int | None = None) -> str:
        """The step, and the time that is left if it is known, which a long step gives way to."""
        step, left = printable(self._step), self._left()
        if width is not None and cell_len(step + left) > width:
            step = f"{set_cell_size(step, max(width - cell_len(left) - 1, 0)).rstrip()}…"
        return step + left

    def _left(self) -> str:
        """The time that is left of the outermost of the steps at work, of which it is known."""
        found, step, now = "", self._step, time.monotonic()
        while step:
            known = self._kinds.get(step.kind) if isinstance(step, Step) else None
            if known is not None and (left := known.left(now)) is not None:
                found = f", {duration(left)} left"
            step = step.outer if isinstance(step, Part) else ""
        return found


def duration(seconds: float) -> str:
    """A time in the unit that suits it, like "40 s" or "3 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
