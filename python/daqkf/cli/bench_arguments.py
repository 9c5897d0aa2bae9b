# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The arguments of the command that measures arrays, devices, language models and peers."""

import argparse

from daqkf.cli.common_arguments import Commands, add_resume, clock


def add_bench(commands: Commands) -> None:
    """The arguments of `daqkf bench`."""
    bench = commands.add_parser("bench", help="measure arrays against a dense one")
    bench.add_argument(
        "what",
        choices=("array", "device", "language", "paper", "peers"),
        help="array: every family of elements; device: whole devices, filled by the planner; "
        "language: language models on devices; paper: the paper's experiment; peers: what others "
        "have made, beside ours",
    )
    bench.add_argument(
        "--sparsity",
        type=float,
        nargs="+",
        help="shares of zeros (default: 0 0.1 0.3 0.5 0.7 of MiniLM; language: 0.5; "
        "peers: 0 0.5 0.7)",
    )
    bench.add_argument(
        "--fabric",
        nargs="+",
        default=["xcup"],
        help="array, peers: see daqkf synth (default: xcup)",
    )
    bench.add_argument("--array", nargs="+", default=[], help="only these (default: all)")
    bench.add_argument(
        "--accuracy", type=float, default=0.99, help="cosine to W8A8 that levels keep (0.99)"
    )
    bench.add_argument(
        "--place",
        type=int,
        nargs="?",
        const=1,
        default=0,
        metavar="SEEDS",
        help="place and route on ecp5, for clocks; of several placements the fastest counts",
    )
    bench.add_argument("--toggles", action="store_true", help="count toggles of a layer, too")
    _add_device(bench)
    _add_language(bench)
    _add_peers(bench)
    bench.add_argument("--json", metavar="FILE", help="write everything there")


def _add_device(bench: argparse.ArgumentParser) -> None:
    bench.add_argument(
        "--device",
        nargs="+",
        default=[],
        help="device: those that are filled (default: xcvu9p xczu7ev); language: those that are "
        "planned for (default: xck26 xcvu9p xcu280)",
    )
    bench.add_argument(
        "--clock",
        type=clock,
        default=250.0,
        metavar="MHZ",
        help="device, language, paper: of all arrays (default: 250)",
    )
    bench.add_argument(
        "--use",
        type=float,
        default=0.8,
        help="device, language, paper: share of each resource that may be taken (default: 0.8)",
    )
    bench.add_argument(
        "--one-token",
        action="store_true",
        help="device, language: simulate an engine of one lane behind the memory, too",
    )
    bench.add_argument("--plot", metavar="FILE", help="device, language: a picture, .svg or .png")
    bench.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="device, paper: processes that work side by side (default: one for each core)",
    )
    bench.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="paper: the folder of paper.json, paper.csv, paper.md and paper.png (build/paper)",
    )
    add_resume(bench, "device, paper, peers: ")


def _add_language(bench: argparse.ArgumentParser) -> None:
    own = bench.add_argument_group("language models")
    own.add_argument("--model", nargs="+", help="default: smollm2 llama2-7b; also llama3-8b")
    own.add_argument(
        "--magnitudes", type=int, nargs="+", help="magnitudes of uniform levels (default: 15)"
    )
    own.add_argument("--context", type=int, help="earlier tokens of a sequence (default: 512)")
    own.add_argument("--prompt", type=int, help="tokens before the first one (default: 128)")
    own.add_argument("--sequences", type=int, help="that are in flight together (default: 1)")
    own.add_argument("--cache-bits", type=int, help="of a key or value (default: 8)")
    own.add_argument(
        "--for-prompts",
        type=float,
        metavar="SHARE",
        help="of the tokens a second, given up at most for lanes that read prompts faster "
        "(default: 0.01)",
    )
    own.add_argument(
        "--host",
        type=float,
        metavar="US",
        help="microseconds of the host between two kernels, beside attention (default: 0)",
    )


def _add_peers(bench: argparse.ArgumentParser) -> None:
    own = bench.add_argument_group("peers")
    own.add_argument(
        "--only",
        nargs="+",
        metavar="PART",
        help="products, drivers, minilm or smollm2 (default: all)",
    )
    own.add_argument(
        "--size",
        type=int,
        nargs="+",
        help="rows and columns of matrices (default: 8 16 32 64; above, for our arrays alone)",
    )
    own.add_argument(
        "--page",
        metavar="FILE",
        help="put the tables between the marks of a page like docs/peers.md",
    )
