# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What Ctrl-C does to a command: an error that ends its work, or an end at once.

Python raises `KeyboardInterrupt` wherever it is. That is right while there is work, which has
temporary files and processes to tidy up. It is wrong while modules are imported: the import of a
module may turn it into another error, and callbacks of the import system print and lose it.
"""

import _thread
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

EXIT_CODE = 130
"""Of a command that Ctrl-C ended, as shells have it: 128 and the number of the signal."""

_AGAIN = 0.01
"""Seconds after which an interrupt that was lost comes again."""


def end_at_once(tool: str) -> None:
    """Let Ctrl-C print one line and end the process, without tidying up."""

    def end(number: int, frame: FrameType | None) -> None:
        os.write(2, f"{tool}: interrupted\n".encode())
        os._exit(EXIT_CODE)

    if _is_ours():
        signal.signal(signal.SIGINT, end)


def raise_in_main() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` in the main thread, also if a callback loses it."""
    if not _is_ours():
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    usual = sys.unraisablehook

    def hook(lost: "UnraisableHookArgs") -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            usual(lost)
            return
        # Raised in here, it would be lost again.
        from threading import Timer

        Timer(_AGAIN, _thread.interrupt_main).start()

    sys.unraisablehook = hook


def _is_ours() -> bool:
    """Whether the process listens to Ctrl-C at all: what a shell puts aside with `nohup` or
    `&` does not."""
    return signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None)
