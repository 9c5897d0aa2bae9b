# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compile the firmware of a SoC: C for a RISC-V processor without an operating system.

The compiler is Clang, as the PyPI package `ziglang` brings it: it needs nothing of the machine, and
one version makes the same bytes everywhere.
"""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from daqkf.boards import jobs
from daqkf.boards.names import FIRMWARE
from daqkf.dialects.errors import from_extra, missing
from daqkf.drivers.c_library import c_library
from daqkf.runtime.tools import ToolNotFoundError
from daqkf.support.errors import DaqkfError

with from_extra("board"):
    from litedram.init import get_sdram_phy_c_header
    from litex.soc.cores.cpu.vexriscv.core import VexRiscv
    from litex.soc.integration import export, soc_core

_TARGET = (
    *("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32-a-c-d-f+zicsr"),
    *("-mabi=ilp32", "-std=gnu11", "-Os", "-ffreestanding", "-nostdlib", "-fno-sanitize=all"),
    *("-ffunction-sections", "-Wl,--gc-sections", "-Wall", "-Wextra"),
    # The memory is tried by the firmware itself.
    "-DSDRAM_TEST_DISABLE",
)


_LITEDRAM = ("sdram.c", "accessors.c")
"""LiteX' sources that initialise a memory."""


def headers(soc: Any) -> dict[str, str]:
    """What C has to know of a SoC that is finalized, by file name: LiteX's, and the driver."""
    controller = soc.sdram.controller.settings
    origin = soc.mem_regions["csr"].origin
    return {
        "generated/csr.h": export.get_csr_header(soc.csr_regions, soc.constants, csr_base=origin),
        "generated/mem.h": export.get_mem_header(soc.mem_regions),
        "generated/soc.h": export.get_soc_header(soc.constants),
        "generated/sdram_phy.h": get_sdram_phy_c_header(
            controller.phy, controller.timing, controller.geom
        ),
        **c_library(),
        "jobs.h": jobs.header(),
        "link.ld": export.get_linker_regions(soc.mem_regions)
        + (FIRMWARE / "link.ld").read_text(encoding="utf-8"),
    }


def compile_firmware(soc: Any, known: Mapping[str, str]) -> list[int]:
    """The words of the ROM of a SoC that is finalized, with its `headers`.

    Raises:
        DaqkfError: the compiler refuses the firmware, or the ROM is too small for it.
        ToolNotFoundError: the package `ziglang` is missing.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise ToolNotFoundError(missing("the compiler of firmware, ziglang,", "board"))
    software = Path(soc_core.__file__).parents[1] / "software"
    cpu = Path(sys.modules[VexRiscv.__module__].__file__ or "").parent
    system = (software / "include", software, cpu)
    with tempfile.TemporaryDirectory(prefix="daqkf-") as name:
        folder = Path(name)
        (folder / "generated").mkdir()
        for path, text in known.items():
            (folder / path).write_text(text, encoding="utf-8")
        includes = [f"-I{folder}", f"-I{FIRMWARE}"]
        includes += [word for path in system for word in ("-isystem", str(path))]
        own = [str(path) for path in sorted((*FIRMWARE.glob("*.S"), *FIRMWARE.glob("*.c")))]
        litedram = [str(software / "liblitedram" / name) for name in _LITEDRAM]
        sources = [*own, *map(str, folder.glob("*.c")), *litedram]
        extension = "+m" if "_m" in soc.cpu.gcc_flags else "-m"
        target = [word.replace("generic_rv32", f"generic_rv32{extension}") for word in _TARGET]
        _zig(["cc", *target, *includes, "-Wl,-T,link.ld", "-o", "firmware.elf", *sources], folder)
        _zig(["objcopy", "-O", "binary", "firmware.elf", "firmware.bin"], folder)
        data = (folder / "firmware.bin").read_bytes()
    return np.frombuffer(data + bytes(-len(data) % 4), "<u4").tolist()


def _zig(arguments: list[str], folder: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "ziglang", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        lines = [line for line in run.stderr.splitlines() if "error:" in line] or [run.stderr]
        raise DaqkfError(f"the firmware cannot be compiled: {lines[0].strip()}")
