# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The command `daqkf prove`."""

import time
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from daqkf.formal.prover import (
    Hunt,
    chosen,
    every_circuit,
    hunt,
    hunt_locator,
    indexed_circuits,
    planted_circuits,
    prove,
)
from daqkf.passes.progress import Progress, counted
from daqkf.support.console import showing
from daqkf.support.errors import DaqkfError
from daqkf.support.tables import print_table, table_console


def run_prove(families: Sequence[str] | None, places: int, seconds: float) -> int:
    """Prove every circuit and look for every planted bug; returns 0 if all succeeds, else 1.

    Args:
        families: the families to prove; None for all.
        places: the number of places at which each kind of bug is planted; 0 for all places.
        seconds: the time limit of one query to the solver.

    Raises:
        DaqkfError: a family is unknown, `places` is negative, or `seconds` is not above 0.
        ToolNotFoundError: the solver or yosys is missing.
    """
    if places < 0 or not seconds > 0:
        raise DaqkfError("prove needs --places of at least 0 and a --timeout above 0")
    names = chosen(list(families) if families else None)
    console = table_console()
    start = time.monotonic()
    failures = 0
    kinds = every_circuit, planted_circuits, indexed_circuits
    total = sum(len(kind(names)) for kind in kinds)
    # Two consoles on one terminal would write over one another.
    with showing(console if console.is_terminal else Console(stderr=True), "prove") as progress:
        told = counted(progress, "prove and plant bugs in", total, "circuits")
        for name in names:
            failures += _prove_family(console, name, seconds, told)
            for circuit in planted_circuits([name]):
                told(f"bugs in {circuit.label}")
                hunts = hunt(circuit, places or None, seconds)
                failures += _show_hunts(console, circuit.label, hunts)
            for circuit in indexed_circuits([name]):
                told(f"bugs in addresses of {circuit.label}")
                hunts = hunt_locator(circuit, places or None, seconds)
                failures += _show_hunts(console, f"addresses of {circuit.label}", hunts)
    console.print(f"{time.monotonic() - start:.0f} s")
    return 1 if failures else 0


def _prove_family(console: Console, family: str, seconds: float, told: Progress) -> int:
    table = Table("circuit", "theorem", "verdict", "seconds")
    failures: list[str] = []
    for circuit in every_circuit([family]):
        told(circuit.label)
        for answer in prove(circuit, seconds=seconds):
            row = circuit.label, answer.theorem, answer.verdict, f"{answer.seconds:.2f}"
            table.add_row(*row)
            if answer.verdict != "proved":
                where = f"{circuit.label}: {answer.theorem}: {answer.verdict}"
                failures.append("\n  ".join((where, *answer.counterexample)))
    print_table(table, console, keys=2)
    for failure in failures:
        console.print(failure, markup=False)
    return len(failures)


def _show_hunts(console: Console, what: str, going: Iterable[Hunt]) -> int:
    table = Table("planted bug", "refuted by", "counterexample", show_lines=True)
    hunts = list(going)
    for item in hunts:
        by = item.answer.theorem if item.found else "NOT FOUND"
        table.add_row(item.bug, by, "\n".join(item.answer.counterexample))
    print_table(table, console)
    found = sum(item.found for item in hunts)
    console.print(f"{what}: {found} of {len(hunts)} planted bugs found")
    return len(hunts) - found
