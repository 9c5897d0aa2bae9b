# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf bench array` measures arrays, prints tables, and keeps the figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daqkf.hw_targets import load_fabric
from daqkf.passes.files import write_atomically
from daqkf.passes.progress import Step, within
from daqkf.studies.bench.array import BASELINE, LAYER, Contender, Measurement, contenders, measure
from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from rich.table import Table


def run_bench(
    output: Path | None,
    *,
    sparsities: Sequence[float],
    fabrics: Sequence[str],
    only: Sequence[str],
    accuracy: float,
    seeds: Sequence[int],
    count_toggles: bool,
) -> int:
    """Measure every contender on its fabrics; print tables, and write JSON.

    The file is rewritten after each measurement, so that an interruption loses only the one that is
    running. The files that tools made are in the cache.

    Raises:
        DaqkfError: a number or a name is bad, or the accuracy cannot be reached.
        UnknownFabricError: there is no such fabric.
    """
    from rich.console import Console

    from daqkf.support.console import showing
    from daqkf.support.tables import print_table, table_console

    for sparsity in sparsities:
        if not 0 <= sparsity < 1:
            raise DaqkfError(f"--sparsity must be 0 or above and below 1, not {sparsity:g}")
    if not 0.5 <= accuracy < 1:
        raise DaqkfError(f"--accuracy must be 0.5 or above and below 1, not {accuracy:g}")
    if seeds and not any(fabric.startswith("ecp5") for fabric in fabrics):
        raise DaqkfError("--place is for --fabric ecp5 or ecp5-dsp")
    for fabric in fabrics:
        load_fabric(fabric)
    chosen = _choose(contenders(), only, fabrics)
    rows: list[Measurement] = []
    plan = [(sparsity, contender) for sparsity in sparsities for contender in chosen]
    with showing(Console(stderr=True), "measure arrays") as progress:
        for number, (sparsity, contender) in enumerate(plan):
            name = f"{contender.name} at {sparsity:.0%}"
            step = Step("measure", number + 1, len(plan), "arrays", name)
            progress(step)
            rows += measure(
                contender,
                sparsity,
                fabrics,
                accuracy=accuracy,
                seeds=seeds,
                count_toggles=count_toggles,
                progress=within(progress, step),
            )
            if output:
                facts = [row.facts() | _ratios(row, rows) for row in rows]
                write_atomically(output, (json.dumps(facts, indent=2) + "\n").encode())
    console = table_console()
    for fabric in fabrics:
        shown = table(fabric, [row for row in rows if row.fabric == fabric])
        print_table(shown, console, keys=_KEYS)
    if output:
        print(output)
    return 0


def _choose(
    every: Sequence[Contender], only: Sequence[str], fabrics: Sequence[str]
) -> list[Contender]:
    known = [contender.name for contender in every]
    for name in only:
        if name not in known:
            raise DaqkfError(f"unknown array '{name}' (known: {', '.join(known)})")
    return [
        contender
        for contender in every
        if (not only or contender.name in only) and any(map(contender.suits, fabrics))
    ]


def _baseline(row: Measurement, rows: Sequence[Measurement]) -> Measurement | None:
    """The baseline's figures on the same fabric at the same sparsity."""
    return next(
        (
            other
            for other in rows
            if other.contender.startswith(BASELINE)
            and (other.fabric, other.sparsity) == (row.fabric, row.sparsity)
        ),
        None,
    )


def _ratios(row: Measurement, rows: Sequence[Measurement]) -> dict[str, Any]:
    base = _baseline(row, rows)
    if base is None:
        return {}
    ratios = {
        "work_per_lut": row.work_per_lut() / base.work_per_lut(),
        "layer_work_per_lut": row.layer_work_per_lut() / base.layer_work_per_lut(),
        "loaded_work_per_lut": row.loaded_work_per_lut() / base.loaded_work_per_lut(),
        "work_per_cell": row.work_per_cell() / base.work_per_cell(),
    }
    work, least = row.work_per_dsp(), base.work_per_dsp()
    if work and least:
        ratios["work_per_dsp"] = work / least
    if row.toggles and base.toggles:
        ratios["toggles"] = base.toggles.weighted / row.toggles.weighted
    return {"to_baseline": ratios}


_COLUMNS = (
    *("zeros", "array", "to W8A8", "LUTs", "cells", "FFs", "DSPs", "RAMB36", "MHz"),
    *("cycles", "cycles of layer", "simulated", "period", "work/LUT", "work/LUT of layer"),
    *("work/LUT with loading", "work/cell", "work/DSP", "toggles"),
)
_KEYS = 2
"""Those that say what a row is of."""


def table(fabric: str, rows: Sequence[Measurement]) -> "Table":
    """A table of one fabric; its ratios are to the baseline at the same sparsity."""
    from rich.table import Table

    found = Table(
        title=f"{fabric}: cycles of a tile through MiniLM's 36 layers, and through {LAYER}, also "
        "in simulation; a period includes loading; work and toggles are ratios to the dense array"
    )
    for heading in _COLUMNS:
        found.add_column(heading, justify="right")
    for row in rows:
        counts, placement = row.resources.counts, row.placement
        ratios = _ratios(row, rows).get("to_baseline", {})
        shown = (
            *("work_per_lut", "layer_work_per_lut", "loaded_work_per_lut", "work_per_cell"),
            *("work_per_dsp", "toggles"),
        )
        found.add_row(
            f"{row.sparsity:.0%}",
            row.contender,
            f"{row.cosine:.4f}",
            f"{row.luts:,}",
            f"{counts.logic_cells:,}",
            f"{counts.flip_flops:,}",
            str(counts.dsps),
            f"{counts.block_rams_36k:g}",
            f"{placement.fmax_mhz:.0f}" if placement else "",
            f"{row.cycles:,}",
            f"{row.layer_cycles:,}",
            f"{row.simulated_cycles:,.0f}",
            f"{row.simulated_period:,.0f}",
            *(f"{ratios[name]:.2f}x" if name in ratios else "" for name in shown),
        )
    return found
