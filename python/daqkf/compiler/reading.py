# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Long texts are read in parts, of which several are under way at a time.

A part needs nothing of those behind it, and of those before it only the keys and values of each
attention. So parts follow one another through a network like the stages of a pipeline, a core for
each, and meet no more keys than they may see.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Span:
    """Neighbouring tokens of a text, in one part."""

    text: int
    """Its number in the reading."""
    first: int
    """Tokens of the reading that come before, in the same text."""
    tokens: NDArray[np.int64]
    last: bool
    """Whether nothing of the text follows."""

    @property
    def rows(self) -> slice:
        """Of the tokens of the text in this reading."""
        return slice(self.first, self.first + len(self.tokens))


Part = Sequence[Span]
"""Tokens that go through the network together."""


def parts_of(texts: Sequence[NDArray[np.int64]], size: int | None) -> Sequence[Part]:
    """Texts in parts of at most `size` tokens, one after another; in one part if there is no size.

    Where the texts are cut does not depend on the machine.
    """
    parts: list[list[Span]] = [[]]
    room = size
    for number, tokens in enumerate(texts):
        first = 0
        while first < len(tokens):
            if room == 0:
                parts.append([])
                room = size
            end = len(tokens) if room is None else min(first + room, len(tokens))
            parts[-1].append(Span(number, first, tokens[first:end], end == len(tokens)))
            room = None if room is None else room - (end - first)
            first = end
    return parts


class _AbandonedError(Exception):
    """Another part failed."""


class Pipeline:
    """Parts of a reading that wait for one another."""

    def __init__(self) -> None:
        """A pipeline that has not begun."""
        self._changed = threading.Condition()
        self._failed = False

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait until something is there that another part has made, which then calls `advance`."""
        with self._changed:
            self._changed.wait_for(lambda: self._failed or ready())
            if self._failed:
                raise _AbandonedError

    def advance(self) -> None:
        """Say that something is there."""
        with self._changed:
            self._changed.notify_all()

    def run(self, parts: Sequence[Part], read: Callable[[Part], Any]) -> None:
        """Read all parts: in this thread if there is one, else side by side.

        Where one fails, the reading does, with its error; others end at their next attention.
        """
        if len(parts) == 1:
            read(parts[0])
            return
        from threadpoolctl import threadpool_limits

        def tried(part: Part) -> BaseException | None:
            try:
                read(part)
            except BaseException as error:
                self._fail()
                return error
            return None

        threads = min(os.process_cpu_count() or 1, len(parts))
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
            try:
                failures = [error for error in pool.map(tried, parts) if error is not None]
            except BaseException:
                # Ctrl-C: nobody may wait for a part that will not come.
                self._fail()
                raise
        for error in failures:
            if not isinstance(error, _AbandonedError):
                raise error

    def _fail(self) -> None:
        self._failed = True
        self.advance()
