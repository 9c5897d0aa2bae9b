# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The driver in C: its files, with the registers that they are for."""

from pathlib import Path

from daqkf.lowering.rtl.register_map import c_header

SOURCES = Path(__file__).with_name("c")
REGISTERS = "daqkf_registers.h"
LIBRARY = ("daqkf.h", "daqkf.c")
"""What needs nothing but a compiler."""
LINUX = ("daqkf_uio.h", "daqkf_uio.c")
"""What is for Linux."""


def c_library(*, linux: bool = False) -> dict[str, str]:
    """The texts of the driver in C by name, with or without that for Linux, and its registers."""
    names = (*LIBRARY, *(LINUX if linux else ()))
    texts = {name: (SOURCES / name).read_text(encoding="utf-8") for name in names}
    return {REGISTERS: c_header(), **texts}
