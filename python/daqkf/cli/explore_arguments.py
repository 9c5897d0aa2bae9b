# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The arguments of `daqkf explore`; importing this costs little."""

import argparse

from daqkf.cli.common_arguments import Commands, clock
from daqkf.hw_targets.device import device_names
from daqkf.hw_targets.machine import STREAM_CODES

VARIED = (
    "targets",
    "devices",
    "pes",
    "lanes",
    "turns",
    "items",
    "families",
    "levels",
    "sparsity",
    "index_bits",
    "stream_codes",
)
"""Where choices are found in what was parsed, by the names of `daqkf.exploring.Space`."""


def add_explore(commands: Commands) -> None:
    """Add `daqkf explore`."""
    explorer = commands.add_parser(
        "explore", help="find the designs of a layer or network that are best at several aims"
    )
    explorer.add_argument(
        "source", help="weights [K, N] in .npy or .npz, a network's file, or 'minilm'"
    )
    explorer.add_argument("--calibration", metavar="FILE", help="see daqkf compile")
    explorer.add_argument(
        "--samples",
        metavar="FILE",
        help="as --calibration; losses are measured on these (default: on the calibration)",
    )
    explorer.add_argument("--bias", metavar="FILE", help="of a layer: [N] in .npy")
    explorer.add_argument("--activation", help="of a layer: see daqkf compile")
    _add_space(explorer)
    _add_search(explorer)
    explorer.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="processes that quantise side by side, 0 for all cores (default: 1)",
    )
    explorer.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask cluster whose workers quantise, tcp://host:port",
    )
    explorer.add_argument(
        "-o", "--output", default="build/explore", help="folder (default: build/explore)"
    )


def _add_search(explorer: argparse.ArgumentParser) -> None:
    """What designs are compared by, how many are tried, and where they are kept."""
    explorer.add_argument(
        "--objectives",
        nargs="+",
        metavar="AIM",
        help="loss, sqnr, cycles, tokens, luts, block_ram, share (default: loss tokens share)",
    )
    explorer.add_argument(
        "--trials", type=int, default=64, metavar="N", help="designs to try (default: 64)"
    )
    explorer.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="after which no design is begun"
    )
    explorer.add_argument("--seed", type=int, default=0, help="of what is tried (default: 0)")
    explorer.add_argument(
        "--clock", type=clock, default=250.0, metavar="MHZ", help="of arrays (default: 250)"
    )
    explorer.add_argument(
        "--use",
        type=float,
        default=0.8,
        help="share of each resource that a design may take (default: 0.8)",
    )
    explorer.add_argument(
        "--storage",
        metavar="FILE",
        help="keep trials there, and go on with those that it has: a journal of Optuna, or with "
        "the suffix .db one of SQLite (default: explore.journal in the output folder)",
    )
    explorer.add_argument(
        "--resume", action="store_true", help="go on with the trials of the output folder"
    )


def _add_space(explorer: argparse.ArgumentParser) -> None:
    """The choices of each parameter, with the defaults of `daqkf.exploring.Space`."""
    space = explorer.add_argument_group(
        "what is varied", "each with one choice or more; by default as Space in docs/exploring.md"
    )
    for option, dest, kind, text in (
        ("--target", "targets", str, "what stands for all that is not varied: see daqkf targets"),
        ("--device", "devices", str, f"on which designs have to fit: {', '.join(device_names())}"),
        ("--pes", "pes", int, "elements"),
        ("--lanes", "lanes", int, "tokens of a tile"),
        ("--turns", "turns", int, "lanes that share a lane of the post unit"),
        ("--items", "items", int, "items of a word"),
        ("--family", "families", str, "running_sum, ordered_sum, multiply, dense"),
        ("--levels", "levels", str, "level sets: see daqkf compile"),
        ("--sparsity", "sparsity", float, "shares of zeros; 0 leaves weights as they are"),
        ("--index-bits", "index_bits", int, "of an item's row; 0 for whole addresses"),
        ("--stream-code", "stream_codes", str, f"of streams in memory: {', '.join(STREAM_CODES)}"),
    ):
        space.add_argument(option, dest=dest, nargs="+", type=kind, help=text)
