# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How much memory input may take: what it declares is checked before anything is allocated."""

import os
import re
import resource
from contextlib import suppress
from pathlib import Path

VARIABLE = "DAQKF_MEMORY"
"""The environment variable that says how much, such as `8G`; `--memory` sets it."""

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_CONTROL_GROUP = Path("/sys/fs/cgroup/memory.max")


def parse_size(text: str) -> int:
    """The bytes of a size such as `512M`, `1.5G` or `4096`, in powers of 1024.

    Raises:
        ValueError: it is no size, or none above 0.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * 2 ** _UNITS[match[2].upper()]) if match else 0
    if not size:
        raise ValueError(f"'{text}' is no amount of memory, such as 512M or 8G")
    return size


def memory_budget() -> int:
    """The bytes that input may take: `DAQKF_MEMORY`, or three quarters of what there is.

    What there is: the machine's memory, or less where a control group or a limit of the process's
    address space says so.

    Raises:
        ValueError: the environment variable has no size.
    """
    if text := os.environ.get(VARIABLE):
        try:
            return parse_size(text)
        except ValueError as error:
            raise ValueError(f"{VARIABLE}: {error}") from None
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        limits.append(address_space)
    with suppress(OSError, ValueError):  # if there is no control group, or it says "max"
        limits.append(int(_CONTROL_GROUP.read_text(encoding="ascii")))
    return min(limits) * 3 // 4


def require_memory(size: int, what: str) -> None:
    """Check that `size` bytes may be taken, before they are.

    Raises:
        ValueError: they are more than the budget; the message begins with `what`.
    """
    if size > (budget := memory_budget()):
        raise ValueError(
            f"{what} takes {_readable(size)} of memory, of which {_readable(budget)} may be used "
            f"(--memory, or {VARIABLE}, allows more)"
        )


def _readable(size: int) -> str:
    if size >= 1 << 80:
        return "2^80 bytes or more"
    power = max((len(bin(size)) - 3) // 10, 0)
    return (
        f"{size / 2 ** (10 * power):.1f} {('', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei', 'Zi')[power]}B"
    )
