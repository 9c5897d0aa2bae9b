# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Remarks of passes, one line each on standard error."""

import sys

from xdsl.dialects.builtin import ModuleOp


def remark(name: str, text: str) -> None:
    """Say what a pass has found that is no error."""
    print(f"remark: {name}: {text}", file=sys.stderr)


def has_level(name: str, module: ModuleOp, dialect: str) -> bool:
    """Whether a module has operations of a dialect; if not, a remark says that nothing is done."""
    if any(op.dialect_name() == dialect for op in module.walk()):
        return True
    remark(name, f"nothing to do, as the module has no operations of {dialect}")
    return False
