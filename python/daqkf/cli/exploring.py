# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf explore`: what it does with its options."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from daqkf.cli.explore_arguments import VARIED
from daqkf.cli.interrupts import EXIT_CODE

if TYPE_CHECKING:
    from daqkf.exploring import Exploration
    from daqkf.passes.steps import Steps

_JOURNAL = "explore.journal"


def explore_source(options: argparse.Namespace) -> int:
    """Explore designs, write what was found and print the front; returns the exit code."""
    from rich.console import Console

    from daqkf.exploring import explore
    from daqkf.exploring.search import OBJECTIVES_DEFAULT
    from daqkf.support.console import showing

    console, output = Console(stderr=True), Path(options.output)
    journal = Path(options.storage or output / _JOURNAL)
    resume = options.resume or options.storage is not None
    varied = {name: getattr(options, name) for name in VARIED if getattr(options, name) is not None}
    with showing(console, "read") as progress:
        found = explore(
            options.source,
            options.calibration,
            samples=options.samples,
            bias=options.bias,
            activation=options.activation,
            trials=options.trials,
            timeout=options.timeout,
            objectives=options.objectives or OBJECTIVES_DEFAULT,
            clock=1e6 * options.clock,
            use=options.use,
            seed=options.seed,
            storage=journal,
            resume=resume,
            jobs=options.jobs,
            scheduler=options.scheduler,
            steps=_steps(options),
            progress=progress,
            **varied,
        )
    files = found.save(output)
    print_front(found)
    given_up = len(found.trials) - len(found.complete)
    console.print(
        f"{len(found.trials)} of {found.designs:,} designs tried, {given_up} of them given up; "
        f"{found.quantisations} quantisations",
        highlight=False,
    )
    console.print(", ".join(map(str, files)), markup=False, highlight=False, soft_wrap=True)
    if not any(file.suffix == ".svg" for file in files) and found.front:
        console.print("there is no picture without matplotlib: pip install 'daqkf\\[plot]'")
    if found.interrupted:
        console.print("interrupted; --resume goes on with these trials")
        return EXIT_CODE
    return 0


def print_front(found: "Exploration") -> None:
    """Print the designs that are not dominated, and the command lines that build them."""
    from daqkf.support.tables import print_table

    if not found.front:
        print("no design is complete")
        return
    print_table(found.table())
    for trial in found.front:
        print(found.command(trial))


def _steps(options: argparse.Namespace) -> "Steps":
    """Where integers are kept, so that they are not made again by a run that goes on."""
    from daqkf.support.kept import Kept

    files = [options.source, options.calibration, options.samples, options.bias]
    return Kept.of("explore", [str(file) for file in files], resume=True)
