# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf bench paper` runs the paper's experiment, and writes what it has found."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daqkf.compiler.executor import Executor, Keeping, open_executor
from daqkf.dialects.errors import from_extra
from daqkf.passes.files import write_atomically
from daqkf.passes.progress import Progress
from daqkf.studies.bench.device import Bench
from daqkf.studies.bench.language import Sampled, Weights
from daqkf.studies.bench.language_speed import Situation, Speed, others, ours
from daqkf.studies.minilm.model import ModelNotFoundError
from daqkf.studies.paper.ablation import ABLATIONS
from daqkf.studies.paper.convergence import converge
from daqkf.studies.paper.experiment import (
    BASELINE,
    DEVICE,
    OURS,
    TOKENS,
    Row,
    equal_logic,
    filled,
    prepare,
)
from daqkf.studies.paper.published import published
from daqkf.studies.paper.results import MAGNITUDES, Results
from daqkf.studies.smollm2.packaged import find_smollm2
from daqkf.support.errors import DaqkfError
from daqkf.support.kept import Kept

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class _Task:
    """One of the things that are measured, which know nothing of one another."""

    what: str
    argument: Any


def _language(item: tuple[float, float, float]) -> tuple[Speed, Speed]:
    """SmolLM2 at a share of zeros, a clock and a share of the device."""
    sparsity, clock, use = item
    bench, asked = Bench.of(DEVICE, clock, use), Situation()
    sampled = Sampled.of(Weights.of("smollm2"), sparsity, MAGNITUDES)
    found = ours(sampled, bench, asked)
    return others(found, sampled, bench, asked)[0], found


_WORK: dict[str, Callable[[Any], Any]] = {
    "prepare": prepare,
    "equal logic": equal_logic,
    "fill": filled,
    "ablate": lambda name: ABLATIONS[name](),
    "converge": lambda _: converge(),
    "SmolLM2": _language,
}


def _do(task: _Task) -> Any:
    return _WORK[task.what](task.argument)


def run_paper_bench(
    folder: Path,
    *,
    sparsities: Sequence[float],
    clock: float,
    use: float,
    jobs: int = 0,
    resume: bool = False,
) -> int:
    """Run the paper's experiment, print its table, and write JSON, CSV, Markdown and a picture.

    Args:
        folder: where `paper.json`, `paper.csv`, `paper.md` and `paper.png` go.
        sparsities: of MiniLM and SmolLM2.
        clock: of all arrays, in Hz.
        use: the share of each resource of the device that is taken at most.
        jobs: processes; 0 for one on each core.
        resume: find what an interrupted run with the same options has done.

    Raises:
        DaqkfError: a number is bad, or an accuracy cannot be reached.
        ModelNotFoundError: the MiniLM package is not installed.
    """
    from rich.console import Console

    from daqkf.studies.paper.document import document
    from daqkf.support.console import showing
    from daqkf.support.tables import print_table

    for sparsity in sparsities:
        if not 0 <= sparsity < 1:
            raise DaqkfError(f"--sparsity must be 0 or above and below 1, not {sparsity:g}")
    if not 0 < use <= 1:
        raise DaqkfError(f"--use must be a share above 0 and up to 1, not {use:g}")
    with from_extra("plot"):
        from daqkf.studies.paper.picture import picture
    shares = sorted(set(sparsities))
    steps = Kept.of("bench-paper", [shares, clock, use], resume=resume)
    with (
        open_executor(jobs) as workers,
        showing(Console(stderr=True), "run the paper's experiment") as progress,
    ):
        found = _measured(Keeping(workers, steps), shares, clock, use, progress)
    write_atomically(folder / "paper.json", (json.dumps(found.facts(), indent=2) + "\n").encode())
    write_atomically(folder / "paper.csv", found.table().encode())
    write_atomically(folder / "paper.png", picture(found, "png"))
    write_atomically(folder / "paper.md", document(found).encode())
    steps.clear()
    print_table(table(found.rows))
    print(f"{folder}: paper.json, paper.csv, paper.md, paper.png")
    return 0


def _measured(
    executor: Executor, shares: Sequence[float], clock: float, use: float, progress: Progress
) -> Results:
    """All that is measured, by an executor."""

    def work(*groups: Sequence[_Task]) -> list[list[Any]]:
        tasks = [task for group in groups for task in group]
        found = iter(executor.map(_do, tasks, list(map(_named, tasks)), progress))
        return [[next(found) for _ in group] for group in groups]

    # Whatever measures a share of zeros reads its network from the cache; what needs none fills
    # the processes that the last networks leave idle.
    prepared, (convergence,), language = work(
        [_Task("prepare", share) for share in shares],
        [_Task("converge", None)],
        [_Task("SmolLM2", (share, clock, use)) for share in shares if _has_smollm2()],
    )
    devices, arrays, ablations = work(
        [_Task("fill", (share, clock, use)) for share in shares],
        [_Task("equal logic", (name, share)) for share in shares for name in (BASELINE, OURS)],
        [_Task("ablate", name) for name in ABLATIONS],
    )
    columns = (shares, prepared, arrays[::2], arrays[1::2], devices)
    return Results(
        [Row(share, clock, *row) for share, *row in zip(*columns, strict=True)],
        [one for part in ablations for one in part],
        convergence,
        dict(zip(shares, language, strict=False)),
    )


def _named(task: _Task) -> str:
    argument = task.argument
    parts = argument if isinstance(argument, tuple) else (argument,)
    shown = [f"{p:.0%}" if isinstance(p, float) and p < 1 else p for p in parts]
    words = [part for part in shown if isinstance(part, str)][:2]
    return " ".join([task.what, *words])


def _has_smollm2() -> bool:
    try:
        find_smollm2()
    except ModelNotFoundError:
        return False
    return True


def table(rows: Sequence[Row]) -> "Table":
    """Speed and energy by the share of zeros, beside the paper's."""
    from rich.table import Table

    found = Table(
        title=f"DAQKF over a dense array of 8 bits: MiniLM, samples of {TOKENS} tokens, {DEVICE} "
        f"at {rows[0].clock / 1e6:g} MHz; energy is a model with intervals"
    )
    for heading in (
        *("zeros", "paper", "equal\nlogic", "device\nfilled", "energy,\nequal logic"),
        *("energy,\ndevice", "ms", "samples/s"),
    ):
        found.add_column(heading, justify="right")
    for row in rows:
        given = published().row(row.sparsity)
        gain, whole = row.energy_gain, row.device_energy_gain
        found.add_row(
            f"{row.sparsity:.0%}",
            f"{given.speedup:.2f}x" if given else "",
            f"{row.speedup:.2f}x",
            f"{row.device_speedup:.2f}x",
            f"{gain.value:.1f} ({gain.low:.1f}-{gain.high:.1f})",
            f"{whole.value:.1f} ({whole.low:.1f}-{whole.high:.1f})",
            f"{1e3 * row.latency(row.device.ours):.2f}",
            f"{row.samples(row.device.ours):,.0f}",
        )
    return found
