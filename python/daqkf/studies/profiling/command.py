# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf spaq-profile` builds the table of level sets, or checks it on weights it has not seen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from daqkf.dialects.spaq import LevelSet
from daqkf.passes.files import write_atomically
from daqkf.passes.quantize.level_table import SQNR_LIMIT, load_table
from daqkf.studies.profiling.build import (
    LEVELS,
    Decisions,
    Measurement,
    Outcome,
    build,
    leave_one_model_out,
    measure_all,
)
from daqkf.studies.profiling.matrices import PROFILED_MODELS, Source, profiled, unseen
from daqkf.support.console import showing
from daqkf.support.tables import print_table

SHARE = 0.95
"""The share of predictions that must be within 1 dB for the check to pass."""

_WORST = 5
_TARGETS = (10, 15, 20, 25, 30, 35)
"""The SQNR targets in dB for which decisions are made."""


def build_table(output: Path, jobs: int) -> int:
    """Profile weights and write the table; print how well it predicts each model without having it.

    Raises:
        ModelNotFoundError, ModelFileError: a model to profile is missing or damaged.
        OSError: the table cannot be written.
    """
    console = Console(stderr=True)
    measurements = _measure(list(profiled()), jobs, console, LEVELS)
    table = build(measurements)
    console.print("Each model predicted by a table without it:")
    print_table(summary(leave_one_model_out(measurements, PROFILED_MODELS)), console)
    text = table.dumps()
    write_atomically(output, text.encode())
    print(f"{output}: {len(table.levels)} level sets, {len(measurements)} matrices")
    return 0


def check_table(path: Path, jobs: int) -> int:
    """Compare a table with fits on weights that it was not built from.

    Returns 0 if at least `SHARE` of the predictions are within 1 dB, else 1.

    Raises:
        LevelTableError: the file is no table.
        ModelNotFoundError, ModelFileError: a model for the check is missing or damaged.
    """
    console = Console(stderr=True)
    table = load_table(path)
    sources = list(unseen())
    measurements = _measure(sources, jobs, console, table.levels)
    outcomes = {
        model: Outcome.of(table, [entry for entry in measurements if entry.model == model])
        for model in dict.fromkeys(source.model for source in sources)
    }
    total = Outcome.of(table, measurements)
    print_table(summary(outcomes | {"all": total}), console)
    console.print("The largest errors:")
    for place in np.argsort(-np.abs(total.errors), axis=None)[:_WORST]:
        matrix, level = np.unravel_index(place, total.errors.shape)
        entry, levels = measurements[matrix], table.levels[level]
        console.print(
            f"  {entry.model} {entry.name}, {levels.kind} {levels.magnitudes}: "
            f"{total.errors[matrix, level]:+.2f} dB of {entry.sqnr[level]:.1f} dB",
            highlight=False,
        )
    made = Decisions.of(table, measurements, _TARGETS)
    console.print(
        f"{len(made.shortfall)} decisions for {_TARGETS[0]} to {_TARGETS[-1]} dB: "
        f"{(made.shortfall <= 0).mean():.1%} reach the target, "
        f"{(made.shortfall <= 1).mean():.1%} all but 1 dB of it, with "
        f"{made.excess.mean():.3f} times the cycles of the best choice",
        highlight=False,
    )
    share = total.share_within()
    print(
        f"{share:.1%} of {total.errors.size} predictions are within 1 dB "
        f"(an SQNR above {SQNR_LIMIT:g} dB counts as that)"
    )
    return 0 if share >= SHARE else 1


def _measure(
    sources: Sequence[Source], jobs: int, console: Console, levels: Sequence[LevelSet]
) -> list[Measurement]:
    with showing(console, "profile") as progress:
        return measure_all(sources, jobs, progress, levels)


def summary(outcomes: dict[str, Outcome]) -> Table:
    """A row for each model: how well the table predicts it."""
    table = Table()
    for heading in (
        "",
        "matrices",
        "within 1 dB",
        "95 % within",
        "bias",
        "shape unknown: within 1 dB",
    ):
        table.add_column(heading, justify="right")
    for name, outcome in outcomes.items():
        errors = np.abs(outcome.errors)
        table.add_row(
            name,
            str(len(errors)),
            f"{outcome.share_within():.1%}",
            f"{np.percentile(errors, 95):.2f} dB",
            f"{outcome.errors.mean():+.2f} dB",
            f"{(np.abs(outcome.blind) <= 1).mean():.1%}",
        )
    return table
