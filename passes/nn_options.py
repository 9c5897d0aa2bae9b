# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Options that several `nn` passes have, and how they are refused."""

from xdsl.passes import ModulePass
from xdsl.utils.exceptions import PassFailedException

from daqkf.hw_targets import UnknownTargetError, load_target
from daqkf.hw_targets.machine import Machine


def target_machine(given: ModulePass, target: str) -> Machine:
    """The machine of the target that a pass is given.

    Raises:
        PassFailedException: there is no such target, or its file is malformed.
    """
    try:
        return load_target(target).machine
    except UnknownTargetError as error:
        raise PassFailedException(f"{given.name}: {error}") from None


def require_host_cycles(given: ModulePass, cycles: float) -> None:
    """Raise a PassFailedException for cycles below 0, or that are no number."""
    if not cycles >= 0:
        raise refused(given, "host-cycles", f"must be at least 0, not {cycles}")


def refused(given: ModulePass, option: str, reason: str) -> PassFailedException:
    """The error of an option."""
    return PassFailedException(f"{given.name}: the option '{option}' {reason}")
