# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf bench device` fills devices, prints a table, and keeps the figures and a picture."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daqkf.compiler.executor import Executor, open_executor
from daqkf.hw_targets.device import LABELS
from daqkf.passes.files import write_atomically
from daqkf.passes.progress import Progress, Step, within
from daqkf.passes.steps import Steps
from daqkf.planning.plan import CAUSES
from daqkf.studies.bench.array import LAYER, tuning_machine
from daqkf.studies.bench.device import ARRAYS, DENSE, Bench, Filling, Works, fill
from daqkf.studies.bench.one_token import OneToken, measure_one_token
from daqkf.studies.bench.workload import Workload, load_workload
from daqkf.support.errors import DaqkfError
from daqkf.support.kept import Kept

if TYPE_CHECKING:
    from rich.table import Table

DEVICES = ("xcvu9p", "xczu7ev")
"""Those that are filled if none are named."""


def run_device_bench(
    output: Path | None,
    plot: Path | None,
    *,
    sparsities: Sequence[float],
    devices: Sequence[str],
    only: Sequence[str],
    accuracy: float,
    clock: float,
    use: float,
    one_token: bool,
    jobs: int = 1,
    resume: bool = False,
) -> int:
    """Fill devices with every array at every sparsity; print a table, write JSON and a picture.

    The JSON is rewritten after each sparsity, so that an interruption loses no more than one.

    Args:
        output: the JSON file.
        plot: the picture.
        sparsities: of MiniLM.
        devices: by name.
        only: of `ARRAYS`; all if empty.
        accuracy: the cosine to W8A8 that levels keep.
        clock: of all arrays, in Hz.
        use: the share of each resource that is taken at most.
        one_token: whether an engine of one lane is simulated, too, at the last sparsity.
        jobs: processes that compile layers and fill devices; 0 for one on each core.
        resume: find the sparsities that an earlier run with the same options has done.

    Raises:
        DaqkfError: a number or a name is bad, or the accuracy cannot be reached.
    """
    from rich.console import Console

    from daqkf.support.console import showing
    from daqkf.support.tables import print_table, table_console

    kind = _checked(plot, sparsities, only, accuracy)
    if not 0 < use <= 1:
        raise DaqkfError(f"--use must be a share above 0 and up to 1, not {use:g}")
    benches = [Bench.of(name, clock, use) for name in devices]
    rows: list[Filling] = []
    token: OneToken | None = None
    steps = Kept.of("bench-device", [devices, only, accuracy, clock, use], resume=resume)
    with (
        open_executor(jobs) as executor,
        showing(Console(stderr=True), "fill devices") as progress,
    ):
        for number, sparsity in enumerate(sparsities):
            step = Step("fill", number + 1, len(sparsities), "sparsities", f"{sparsity:.0%}")
            inner = within(progress, step)

            def fillings(
                _: Steps, sparsity: float = sparsity, told: Progress = inner
            ) -> list[Filling]:
                network = load_workload(sparsity, accuracy, tuning_machine(), told)
                return _filled(network, benches, only or list(ARRAYS), executor, told)

            rows += steps.do(["fill", sparsity], fillings)
            if one_token and number == len(sparsities) - 1:
                inner("simulate one token after another")
                network = load_workload(sparsity, accuracy, tuning_machine(), inner)
                token = measure_one_token(network, LAYER, benches[0].memory.device, clock)
            if output:
                text = json.dumps(facts(rows, clock, use, token), indent=2) + "\n"
                write_atomically(output, text.encode())
    print_table(table(rows, clock), table_console(), keys=3)
    if token:
        print(
            f"one token at a time: {token.layer} reads {token.bytes_per_token:,} bytes in "
            f"{token.cycles:,.0f} cycles, {token.share:.1%} of what {token.memory} gives"
        )
    if plot:
        from daqkf.studies.bench.device_picture import picture

        write_atomically(plot, picture(rows, clock, kind))
    return 0


def _filled(
    network: Workload,
    benches: Sequence[Bench],
    only: Sequence[str],
    executor: Executor,
    progress: Progress,
) -> list[Filling]:
    """Every array on every device at a sparsity."""
    works = Works.of(network, progress, executor)
    items = [(bench, works, only) for bench in benches]
    names = [f"fill {bench.device.name}" for bench in benches]
    found = executor.map(_fill, items, names, progress)
    return [row for rows in found for row in rows]


def _fill(item: tuple[Bench, Works, Sequence[str]]) -> list[Filling]:
    return fill(*item)


def _checked(
    plot: Path | None, sparsities: Sequence[float], only: Sequence[str], accuracy: float
) -> str:
    """The format of the picture, where all options are good."""
    for sparsity in sparsities:
        if not 0 <= sparsity < 1:
            raise DaqkfError(f"--sparsity must be 0 or above and below 1, not {sparsity:g}")
    if not 0.5 <= accuracy < 1:
        raise DaqkfError(f"--accuracy must be 0.5 or above and below 1, not {accuracy:g}")
    for name in only:
        if name not in ARRAYS:
            raise DaqkfError(f"unknown array '{name}' (known: {', '.join(ARRAYS)})")
    kind = plot.suffix.removeprefix(".") if plot else ""
    if plot and kind not in ("svg", "png"):
        raise DaqkfError(f"{plot}: a picture is svg or png")
    return kind


def ratio(row: Filling, rows: Sequence[Filling]) -> float | None:
    """Products to those of the dense array on the same device, at the same sparsity."""
    for other in rows:
        if (other.array, other.device, other.sparsity) == (DENSE, row.device, row.sparsity):
            return row.rate / other.rate
    return None


def facts(
    rows: Sequence[Filling], clock: float, use: float, token: OneToken | None
) -> dict[str, Any]:
    """All figures as values for JSON."""
    return {
        "clock_mhz": clock / 1e6,
        "use": use,
        "arrays": dict(ARRAYS),
        "rows": [row.facts() | {"to_dense": ratio(row, rows)} for row in rows],
        "one_token": token and token.facts(),
    }


def table(rows: Sequence[Filling], clock: float) -> "Table":
    """A row for each array on each device at each sparsity."""
    from rich.table import Table

    found = Table(
        title=f"dense products a cycle of whole devices, {clock / 1e6:g} MHz for all, which no "
        "placement has shown; cosine to W8A8; times the dense array in DSP blocks",
        title_justify="left",
    )
    for heading in ("device", "zeros", "array"):
        found.add_column(heading)
    for heading in ("products", "times", "lanes", "LUTs", "store", "RAM", "Ultra", "DSPs", "GB/s"):
        found.add_column(heading, justify="right")
    found.add_column("engines")
    found.add_column("lanes wait for")
    found.add_column("cosine", justify="right")
    for row in rows:
        found.add_row(*_cells(row, rows))
    return found


def _cells(row: Filling, rows: Sequence[Filling]) -> list[str]:
    shares, times = row.device.shares(row.needs), ratio(row, rows)
    causes: Mapping[str, float] = row.causes()
    most = max((name for name in causes if name != "lanes"), key=lambda name: causes[name])
    engines = ", ".join(
        f"{found.engines}×{found.config.pes}×{found.config.lanes}" for found in row.plans
    )
    names = [name for name in LABELS if name != "flip_flops"]
    return [
        row.device.name,
        f"{row.sparsity:.0%}",
        row.array,
        f"{row.rate:,.0f}",
        f"{times:.2f}x" if times else "",
        f"{row.lanes:,}",
        *(f"{shares.get(name, 0):.0%}" for name in names),
        f"{row.traffic / 1e9:.1f}",
        engines,
        f"{CAUSES[most]} ({causes[most]:.0%})",
        f"{row.cosine:.4f}",
    ]
