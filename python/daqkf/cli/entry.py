# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Where the console scripts begin: Ctrl-C is one line from here on, imports included.

The modules of the commands import much. This one imports nothing before it can end in one line, so
that a Ctrl-C in the middle of an import is no traceback either.
"""


def daqkf() -> int:
    """`daqkf`; returns the exit code."""
    return _run("daqkf", "daqkf.cli.main")


def daqkf_lsp() -> int:
    """`daqkf-lsp`; returns the exit code."""
    return _run("daqkf-lsp", "daqkf.cli.lsp")


def daqkf_opt() -> int:
    """`daqkf-opt`; returns the exit code."""
    return _run("daqkf-opt", "daqkf.cli.opt")


def daqkf_translate() -> int:
    """`daqkf-translate`; returns the exit code."""
    return _run("daqkf-translate", "daqkf.cli.translate")


def _run(tool: str, module: str) -> int:
    """Import the module of a command line, and run its `main`."""
    try:
        from daqkf.cli import interrupts

        interrupts.end_at_once(tool)
        from importlib import import_module

        main = import_module(module).main
        interrupts.raise_in_main()
        code = main()
        # The work is done; what Python still tidies up has nothing to say.
        interrupts.end_at_once(tool)
        return code
    except KeyboardInterrupt:
        import os

        os.write(2, f"{tool}: interrupted\n".encode())
        os._exit(130)
