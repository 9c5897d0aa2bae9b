# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Train a small language model in NumPy, and say what a token of it takes on an array.

    python benchmarks/smallest_language_model.py train build/smallest
    daqkf compile build/smallest --calibration build/smallest/calibration.txt \\
        --sparsity 0.5 --levels uniform-15 --target one-token -o build/smallest-ecp5
    python benchmarks/smallest_language_model.py token build/smallest-ecp5 --clock 60

`train` learns stories that are drawn from plots of ours, is measured on others beside counts of
tokens that follow one another, and writes a folder that `daqkf compile` reads, with texts for
calibration and evaluation. It takes some minutes on one core. What was interrupted and is started
again goes on behind the last pass over the stories.

`token` is for a target with two banks of programs. All kernels of a token are simulated in RTL, in
turn, behind the model of a memory; each is compared with the fast model, bit for bit. What the host
takes is not simulated, but its multiplications are counted.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from daqkf.cli.guard import guarded
from daqkf.compiler.compiled_language_model import CompiledLanguageModel
from daqkf.runtime.accelerators import external_memory
from daqkf.studies.smallest.folder import END
from daqkf.studies.smallest.recipe import ARCHITECTURE, make
from daqkf.studies.smallest.stories import stories
from daqkf.studies.smallest.token import measure, multiplications
from daqkf.studies.smallest.training import Schedule
from daqkf.support.console import showing
from daqkf.support.kept import Kept
from daqkf.support.tables import print_table

SIZES = ("layers", "width", "hidden", "heads", "groups", "features", "vocabulary", "context")

STORIES, UNSEEN = 2000, 200
"""That are learnt, and that are held out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train a model and write its folder")
    train.add_argument("folder", type=Path, help="that is written")
    for name in SIZES:
        default = getattr(ARCHITECTURE, name)
        train.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    for name in ("passes", "window"):
        default = getattr(Schedule, name)
        train.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    train.add_argument("--seed", type=int, default=0, help="default: 0")
    train.add_argument("--stories", type=int, default=STORIES, help=f"default: {STORIES}")
    train.set_defaults(run=_train)
    token = commands.add_parser("token", help="measure a token of a compiled model")
    token.add_argument("folder", help="of daqkf compile")
    token.add_argument("--clock", type=float, default=60.0, help="MHz (default: 60)")
    token.add_argument("--memory", default="ddr3-800", help="default: ddr3-800")
    token.add_argument("--before", type=int, default=128, help="tokens that attention reads")
    token.set_defaults(run=_token)
    options = parser.parse_args(arguments)
    return options.run(options)


def _train(options: argparse.Namespace) -> int:
    config = replace(ARCHITECTURE, **{name: getattr(options, name) for name in SIZES})
    schedule = replace(Schedule(), passes=options.passes, window=options.window)
    every = stories(options.stories + UNSEEN, options.seed)
    steps = Kept.of("smallest", str(options.folder.absolute()), resume=True)
    with showing(Console(stderr=True), "begin") as progress:
        model = make(
            options.folder,
            every[UNSEEN:],
            every[:UNSEEN],
            config,
            schedule,
            seed=options.seed,
            progress=progress,
            steps=steps,
        )
    steps.clear()
    table = Table("foretold by", "loss", "perplexity", "bits a byte")
    for row in model.rows():
        figures = (f"{row[name]:.3f}" for name in ("loss", "perplexity", "bits_per_byte"))
        table.add_row(row["by"], *figures)
    print_table(table)
    print(
        f"{model.read:,} tokens were learnt in {schedule.passes} passes; {model.found.tokens:,} "
        f"tokens of other stories, of {model.bytes_per_token:.2f} bytes each, were foretold"
    )
    print(f"{options.folder}: written")
    return 0


def _token(options: argparse.Namespace) -> int:
    model, clock = CompiledLanguageModel.load(options.folder), 1e6 * options.clock
    found = measure(model, END, external_memory(options.memory, clock, model.config))
    speed = found.per_second(clock)
    print(
        f"{found.programs} programs of {found.size:,} bytes a token, equal to the fast model bit "
        f"for bit: {found.cycles:,} cycles, {speed:,.0f} tokens/s at {options.clock:g} MHz behind "
        f"{options.memory}, {found.size * speed / 1e9:.2f} GB/s"
    )
    counts = multiplications(model.decoder_config, options.before)
    table = Table("multiplications of a token", "number", "share")
    for name, count in counts.items():
        table.add_row(name, f"{count:,}", f"{count / sum(counts.values()):.1%}")
    print_table(table)
    return 0


if __name__ == "__main__":
    sys.exit(guarded("smallest_language_model", main))
