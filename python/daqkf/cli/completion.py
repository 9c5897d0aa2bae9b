# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf completion`: scripts with which shells complete the command lines, by shtab."""

import argparse
from collections.abc import Callable

from daqkf.dialects.errors import from_extra

SHELLS = ("bash", "zsh", "tcsh")
"""Those that shtab knows."""

TOOLS = ("daqkf", "daqkf-translate")


def completion(options: argparse.Namespace, own: Callable[[], argparse.ArgumentParser]) -> int:
    """Print the script for a shell; returns the exit code.

    Raises:
        DaqkfError: shtab is missing.
    """
    with from_extra("completion"):
        import shtab
    from daqkf.cli import translate

    parsers = {"daqkf": own, "daqkf-translate": translate.make_parser}
    print(shtab.complete(parsers[options.tool](), options.shell))
    return 0
