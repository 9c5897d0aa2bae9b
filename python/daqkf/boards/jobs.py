# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The page of jobs at the start of a SoC's memory: what firmware and host say to each other.

`header` writes the same layout for C.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.image_format import fingerprint
from daqkf.hw_targets.streams import ALIGNMENT
from daqkf.lowering.image.queue_memory import Queue
from daqkf.support.errors import DaqkfError

MAGIC = int.from_bytes(b"DQKJ", "little")
CHECKS = 64
"""Pieces of results that are compared at most."""


class State(IntEnum):
    """What has become of the jobs; but for the first one, the exit code of a simulation."""

    DONE = 0
    READY = 1
    """The host has written them, and the firmware is to run them."""
    STOPPED = 2
    """The queue stopped with an error."""
    WRONG = 3
    """A result is not as expected."""
    MEMORY = 4
    """The memory does not keep what is written to it."""


class Options(IntFlag):
    """How the firmware runs them."""

    NONE = 0
    READ_BESIDE = 1
    """The processor reads memory meanwhile, as fast as it can."""
    KEEP_CACHED = 2
    """It compares what it has in its cache of the memory of the results, which is older than they
    are: a wrong result has to be found."""


WORDS = (
    *("magic", "state", "options", "fingerprint"),
    *("queue", "bytes", "descriptors", "jobs", "checks"),
    *("cycles", "beats", "result"),
)
"""The words of the page in front of the checks; the last three are written by the firmware."""

CHECK_WORDS = ("results", "expected", "bytes")
"""Those of a check: two addresses and a size."""


@dataclass(frozen=True)
class Check:
    """Results that are to be equal to some bytes of memory."""

    results: int
    expected: int
    bytes: int


def page(
    queue: Queue, fingerprint: int, checks: Sequence[Check], options: Options = Options.NONE
) -> bytes:
    """A page that the firmware is to begin with.

    Args:
        queue: in the same memory.
        fingerprint: of the array that its programs are for.
        checks: of its results.
        options: of the firmware.

    Raises:
        DaqkfError: more checks than a page has room for.
    """
    if len(checks) > CHECKS:
        raise DaqkfError(f"{len(checks)} pieces of results; a page has room for {CHECKS}")
    values = {
        "magic": MAGIC,
        "state": State.READY,
        "options": options,
        "fingerprint": fingerprint,
        "queue": queue.base,
        "bytes": len(queue.content),
        "descriptors": queue.descriptors,
        "jobs": len(queue.jobs),
        "checks": len(checks),
    }
    words = [values.get(name, 0) for name in WORDS]
    words += [getattr(check, name) for check in checks for name in CHECK_WORDS]
    data = np.array(words, "<u4").tobytes()
    return data + bytes(ALIGNMENT - len(data))


def header() -> str:
    """The C header of a page."""
    enums = [("STATE", State), ("OPTION", Options)]
    values = [
        f"#define JOBS_{prefix}_{one.name} {one.value}u" for prefix, kind in enums for one in kind
    ]
    fields = "".join(f"  uint32_t {name};\n" for name in WORDS)
    check = "".join(f"  uint32_t {name};\n" for name in CHECK_WORDS)
    return "\n".join(
        [
            "// Made from boards/jobs.py; not to be edited.",
            "#ifndef DAQKF_JOBS_H",
            "#define DAQKF_JOBS_H",
            "#include <stdint.h>",
            f"#define JOBS_MAGIC {MAGIC:#x}u",
            *values,
            f"struct check {{\n{check}}};",
            f"struct jobs {{\n{fields}  struct check check[{CHECKS}];\n}};",
            "#endif",
            "",
        ]
    )


def with_page(
    queue: Queue, done: bytes, config: ArrayConfig, options: Options = Options.NONE
) -> bytes:
    """What the memory of a SoC holds from its start on, so that its firmware runs a queue.

    Args:
        queue: from the second page of the memory on.
        done: what memory holds from `queue.base` on when the queue has run.
        config: of the array.
        options: of the firmware.

    Raises:
        DaqkfError: as `page`.
    """
    base, content = queue.base, queue.content + bytes(-len(queue.content) % ALIGNMENT)
    checks, expected = list[Check](), bytearray()
    for job in queue.jobs:
        size = job.result_rows * config.lanes
        if size:
            checks.append(Check(job.results, base + len(content) + len(expected), size))
            expected += done[job.results - base :][:size]
    return page(queue, fingerprint(config), checks, options) + content + expected
