# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Finished steps of long work, so that it can go on where it was interrupted.

`daqkf.support.kept` keeps them in files. Here nothing is kept.
"""

from collections.abc import Callable
from typing import Any, Self


class Steps:
    """Results of steps, by everything that they depend on."""

    def find(self, key: object) -> Any | None:
        """The result of the step of this key, or None if there is none."""
        return None

    def keep(self, key: object, result: Any) -> None:
        """Keep the result of a step, in place of those of its own steps."""

    def inner(self, key: object) -> Self:
        """The steps of a step."""
        return self

    def clear(self) -> None:
        """Throw everything away that is kept."""

    def do[T](self, key: object, work: Callable[["Steps"], T]) -> T:
        """The result of a step, which is done if it is not there.

        Args:
            key: everything that the result depends on.
            work: does the step, whose own steps it is given; its result is not None.
        """
        found = self.find(key)
        if found is None:
            found = work(self.inner(key))
            self.keep(key, found)
        return found


NOTHING_KEPT = Steps()
"""Keeps nothing, and costs nothing."""
