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


NETWORK = ("daqkf_network.h", "daqkf_network.c", "daqkf_host.h", "daqkf_host.c")
"""What generated hosts of networks need besides."""


def c_library(*, linux: bool = False, network: bool = False) -> dict[str, str]:
    """The texts of the driver in C by name, and its registers.

    Args:
        linux: with what is for Linux.
        network: with what hosts of networks need.
    """
    names = (*LIBRARY, *(LINUX if linux else ()), *(NETWORK if network else ()))
    texts = {name: (SOURCES / name).read_text(encoding="utf-8") for name in names}
    return {REGISTERS: c_header(), **texts}
