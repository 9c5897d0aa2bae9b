# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arguments that several commands have."""

import argparse
import math

type Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # pyright: ignore[reportPrivateUsage]

SPARSITIES = [0.0, 0.1, 0.3, 0.5, 0.7]
"""Shares of zeros that MiniLM is pruned to."""


DISTILLATION = (
    "over the calibration data that train the remaining weights towards the outputs of the dense "
    "network"
)
"""What passes of `--distillation` do."""


def clock(text: str) -> float:
    """A clock, above 0.

    Raises:
        ValueError: it is not.
    """
    found = float(text)
    if not 0 < found < math.inf:
        raise ValueError
    return found


def address(text: str) -> int:
    """An address, in any base that Python's literals have."""
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"an address is a number like 0x40000000, not {text!r}"
        ) from None


def add_resume(parser: argparse.ArgumentParser, what: str = "") -> None:
    """`--resume`; `what` is said before what it does."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help=f"{what}go on behind the last finished step of a run with the same options that was "
        "interrupted",
    )
