# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The families of processing elements, one file each, and the one registry of them.

To add a family, write `<name>.py` here with its `FAMILY`, and in `hw_targets/prices` what its
elements take; in `passes/encode/<name>.py` its `CODING`, in `lowering/rtl/families/<name>.py` its
`DATAPATH`, in `python/daqkf/formal/specs/<name>.py` its `SPEC`; and put its name into `FAMILIES`.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from daqkf.hw_targets.families.descriptor import Family, load

_FAMILIES: dict[str, Family] = {
    name: load(f"{__name__}.{name}:FAMILY", Family)
    for name in (
        "running_sum",
        "ordered_sum",
        "ternary",
        "semiring",
        "strassen",
        "multiply",
        "dense",
    )
}

FAMILIES: Mapping[str, Family] = _FAMILIES
"""All families, by name."""


@contextmanager
def registered(family: Family) -> Generator[Family]:
    """While the context lasts, a further family is known.

    Raises:
        ValueError: its name is taken.
    """
    if family.name in _FAMILIES:
        raise ValueError(f"there is already a family '{family.name}'")
    _FAMILIES[family.name] = family
    try:
        yield family
    finally:
        del _FAMILIES[family.name]
