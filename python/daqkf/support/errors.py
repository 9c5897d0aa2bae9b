# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Errors of the user's input, and their one line."""

import warnings
from pathlib import Path

from xdsl.utils.exceptions import (
    ArgSpecParseError,
    DiagnosticException,
    InvalidIRException,
    ParseError,
    UnregisteredConstructException,
)

from daqkf.dialects.errors import DaqkfError as DaqkfError


class CalibrationWarning(UserWarning):
    """Ranges that nobody knows: the results may be far from those of the float network."""


class AccuracyWarning(UserWarning):
    """Results that are far from those of the float network."""


def warn_of_drawn_calibration() -> None:
    """Warn that calibration data are drawn from a normal distribution, as none were given."""
    _warn(
        "no calibration data: ranges are those of values drawn from a standard normal "
        "distribution, and activations beyond them saturate; give some with calibration= or "
        "--calibration",
        CalibrationWarning,
    )


def warn_of_noise(measured: str) -> None:
    """Warn that outputs are mostly noise, by the line that says how far they are from float."""
    _warn(
        f"the integers are too coarse: {measured}; `debug` says for which kernels",
        AccuracyWarning,
    )


def _warn(text: str, category: type[UserWarning]) -> None:
    # The line that is named is that of the caller, outside of this package.
    warnings.warn(text, category, skip_file_prefixes=(str(Path(__file__).parents[1]),))


_LONGEST = 1000
"""Characters of a message; libraries put whole headers of damaged files into theirs."""


def describe(error: BaseException) -> str:
    """One line for an error: where it is, if known, and what; of a very long one both ends."""
    line = printable(_line(error))
    if len(line) > _LONGEST:
        return f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
    return line


def _line(error: BaseException) -> str:
    if isinstance(error, ParseError):
        return f"{error.span.get_location()}: {' '.join(error.msg.split())}"
    if isinstance(error, ArgSpecParseError):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"pass pipeline: {lines[-1]} (at '{lines[-3]}')"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "this takes more memory than there is"
    message = next((line for line in str(error).splitlines() if line.strip()), "")
    return message.strip() or type(error).__name__


def printable(text: str) -> str:
    """A line of text without what moves a terminal's cursor; names from files may have any."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def shortened(value: object, most: int = 40) -> str:
    """What a value looks like, in a few letters."""
    text = printable(" ".join(repr(value).split()))
    return text if len(text) <= most else f"{text[: most - 1]}…"


EXPECTED = (
    ArgSpecParseError,
    DiagnosticException,
    InvalidIRException,
    MemoryError,
    OSError,
    ParseError,
    RuntimeError,
    UnregisteredConstructException,
    ValueError,
)
"""What bad input can raise; anything else is a bug and keeps its traceback."""
