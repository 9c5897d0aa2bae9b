# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What the user can put right, above all packages that are optional and not installed."""

from collections.abc import Generator
from contextlib import contextmanager


class DaqkfError(ValueError):
    """Something the user can put right; the message is one line that names the place."""


def missing(what: str, extra: str) -> str:
    """The message for a package or tool that is not installed, but comes with an extra of ours.

    Without an extra, it comes with daqkf itself, which then is installed in part only.
    """
    command = f"pip install 'daqkf[{extra}]'" if extra else "pip install --force-reinstall daqkf"
    return f"{what} is missing: {command}"


@contextmanager
def from_extra(extra: str) -> Generator[None]:
    """Stands around the import of an optional package, which belongs to an extra of ours.

    Raises:
        DaqkfError: the package is not installed; the message says which extra brings it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).partition(".")[0]
        raise DaqkfError(missing(package, extra)) from None
