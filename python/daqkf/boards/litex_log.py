# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Import and call LiteX without its log: it configures the root logger, and reports each step."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from daqkf.dialects.errors import from_extra


@contextmanager
def litex() -> Iterator[None]:
    """A block that imports LiteX or calls it. Logging and the working folder stay as they were.

    Raises:
        DaqkfError: a package of the extra `board` is missing.
    """
    root, before = logging.getLogger(), os.getcwd()
    handlers, level, disabled = root.handlers[:], root.level, root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with from_extra("board"):
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)
        os.chdir(before)
