# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The arguments of `daqkf package`; importing this costs little."""

import argparse

from daqkf.cli.common_arguments import Commands, address, clock
from daqkf.packaging.choosing import PURPOSES, Purpose


def add_package(commands: Commands) -> None:
    """Add `daqkf package`."""
    packager = commands.add_parser(
        "package", help="write what a board or another tool needs of a compiled layer or network"
    )
    packager.add_argument("folder", help="a folder written by daqkf compile")
    purposes = packager.add_mutually_exclusive_group(required=True)
    for purpose in PURPOSES.values():
        _add_purpose(purposes, purpose)
    packager.add_argument(
        "--clock",
        type=clock,
        metavar="MHZ",
        help="of the array on a board (default: the board's, see docs/packages.md)",
    )
    packager.add_argument(
        "--inputs",
        metavar="FILE",
        help="--c: arrays by name in .npz, of the extents that the host is for, if the network "
        "leaves some open",
    )
    packager.add_argument(
        "--base",
        type=address,
        metavar="ADDRESS",
        help="--c: from which on memory is the array's (default: 0)",
    )
    packager.add_argument(
        "-o", "--output", help="folder (default: beside the other, named after both)"
    )


def _add_purpose(purposes: argparse._MutuallyExclusiveGroup, purpose: Purpose) -> None:  # pyright: ignore[reportPrivateUsage]
    if not purpose.choice:
        purposes.add_argument(f"--{purpose.name}", action="store_true", help=purpose.help)
        return
    purposes.add_argument(
        f"--{purpose.name}",
        metavar=purpose.choice,
        help=f"{purpose.help} for {', '.join(purpose.choices())}",
    )
