# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Commands in Python for scripts in Tcl, which Python's own interpreter runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


class TclStub:
    """Stands for a tool: its methods `do_NAME` are the tool's commands.

    Args:
        refused: the error that scripts end in which Tcl itself does not take.
    """

    def __init__(self, refused: type[Exception]):
        import tkinter  # some Pythons have none

        self.refused = refused
        self.done: list[str] = []
        """The commands that have run."""
        self.error: Exception | None = None
        self.tcl = tkinter.Tcl()
        for name in dir(self):
            if name.startswith("do_"):
                self.tcl.createcommand(name.removeprefix("do_"), self._command(name))

    def _command(self, name: str) -> Callable[..., Any]:
        method = getattr(self, name)

        def run(*arguments: Any) -> Any:
            self.done.append(name.removeprefix("do_"))
            try:
                return method(*map(str, arguments))
            except Exception as error:
                self.error = self.error or error
                raise

        return run

    def source(self, script: Path, *arguments: str) -> None:
        """Run a script with these arguments."""
        from tkinter import TclError

        self.tcl.call("set", "argv", arguments)
        try:
            self.tcl.call("source", str(script))
        except TclError as error:
            if self.error is not None:
                raise self.error from None  # Tcl has no message of it
            raise self.refused(str(error)) from None
