# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A core for FuseSoC and edalize: `daqkf.core` in the format CAPI2.

It has targets to lint and to synthesise. Other cores depend on it by its name, and edalize makes
projects of it for the tools that it knows.
"""

from daqkf.lowering.rtl.system import TOP
from daqkf.packaging.ip_xact import VLNV
from daqkf.packaging.package import Package
from daqkf.packaging.system import System
from daqkf.packaging.templates import render

FILE = "daqkf.core"


def core_package(system: System, contents: str) -> Package:
    """A core for FuseSoC.

    Args:
        system: what is packaged.
        contents: what the array is of, in a line.

    Raises:
        DaqkfError: Jinja is not installed.
    """
    sources = {f"rtl/{file}": text.encode() for file, text in system.files.items()}
    core = render(f"{FILE}.j2", vlnv=VLNV, top=TOP, files=list(sources), contents=contents)
    usage = f"in this folder: fusesoc --cores-root . run --target=lint {VLNV}"
    return Package("core", "FuseSoC", {FILE: core, **sources}, usage)
