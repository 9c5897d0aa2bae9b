# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The arguments of the commands that let a language model write."""

import argparse

from daqkf.cli.common_arguments import Commands
from daqkf.compiler.file_suffixes import SMOLLM2


def layers_of(text: str) -> list[int]:
    """Layers that are given as `0,2-4`."""
    found: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.partition("-")
        numbers = (first, last) if dash else (first,)
        if not all(number.isdecimal() and len(number) < 5 for number in numbers):
            raise argparse.ArgumentTypeError(f"layers are numbers like 0,2-4, not {text!r}")
        found |= dict.fromkeys(range(int(first), int(numbers[-1]) + 1))
    return list(found)


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a folder of a language model, written by daqkf compile")
    parser.add_argument(
        "--tokens", type=int, default=128, metavar="N", help="to write, at most (default: 128)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help="what logits are divided by before a token is drawn (default: 0, which takes the "
        "likeliest token)",
    )
    parser.add_argument(
        "--top-k", type=int, metavar="K", help="draw among the K likeliest tokens (default: all)"
    )
    parser.add_argument(
        "--seed", type=int, help="of the random numbers (default: others each time)"
    )
    parser.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help="ends what is written, and is not part of it; repeats",
    )
    parser.add_argument(
        "--accelerator",
        default="fast",
        choices=("fast", "rtl", "queue"),
        help="what kernels run on; see daqkf run (default: fast)",
    )
    parser.add_argument(
        "--layers",
        type=layers_of,
        metavar="0,2-4",
        help="those whose kernels run on the accelerator (default: all, and the output's)",
    )
    parser.add_argument(
        "--check", action="store_true", help="compare with the fast model, bit for bit"
    )


def add_generate(commands: Commands) -> None:
    """The arguments of `daqkf generate`."""
    generator = commands.add_parser("generate", help="let a language model go on with a text")
    _add_sampling(generator)
    generator.add_argument(
        "prompt", nargs="+", help="a text; several share the array's tiles, and are printed at last"
    )


def add_chat(commands: Commands) -> None:
    """The arguments of `daqkf chat`."""
    chatter = commands.add_parser(
        "chat", help="let a language model answer the lines of standard input"
    )
    _add_sampling(chatter)
    chatter.add_argument("--system", metavar="TEXT", help="what the model is told beforehand")


def add_evaluation(parser: argparse.ArgumentParser) -> None:
    """The arguments of `daqkf eval` that are for language models alone."""
    parser.add_argument(
        "--text", metavar="FILE", help="that language models foretell (default: our own)"
    )
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="a text that language models are calibrated on for --sparsity (default: our own)",
    )
    parser.add_argument(
        "--window",
        type=int,
        metavar="N",
        help="tokens that language models read before they forget them (default: 1024)",
    )
    parser.add_argument(
        "--against",
        metavar="FILE",
        help="the dense language model that a compiled one is compared with: what it was compiled "
        f"from, such as '{SMOLLM2}'",
    )
    parser.add_argument(
        "--wide-results", metavar="NAMES", help="of language models; see daqkf compile"
    )
    parser.add_argument(
        "--pre-norms", action="store_true", help="of language models; see daqkf compile"
    )
    parser.add_argument(
        "--no-baselines",
        dest="baselines",
        action="store_false",
        help="of language models: leave out what plain rounding, magnitudes and Wanda make of them",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="of language models: draw the KL by the share of zeros, .svg or .png",
    )
