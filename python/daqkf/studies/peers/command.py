# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf bench peers` measures others and us, prints tables, and keeps the figures."""

import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daqkf.dialects.errors import missing
from daqkf.hw_targets import load_fabric
from daqkf.passes.files import write_atomically
from daqkf.passes.progress import Progress, Step, within
from daqkf.passes.steps import Steps
from daqkf.studies.minilm.model import ModelNotFoundError
from daqkf.studies.peers import drivers, minilm, products, smollm2, tables
from daqkf.studies.peers.drivers import Driven
from daqkf.studies.peers.minilm import Speed
from daqkf.studies.peers.power import CorePower, core_power
from daqkf.studies.peers.products import DA4ML, Matrix, Row
from daqkf.studies.peers.tables import Listing
from daqkf.support.errors import DaqkfError
from daqkf.support.kept import Kept

PARTS = ("products", "drivers", "minilm", "smollm2")
"""What is compared: all, if none are named."""
_PACKAGES = {"products": "da4ml", "minilm": "onnxruntime", "smollm2": "xllamacpp"}
"""Of other people, which the parts are about."""


@dataclass
class Found:
    """What was measured."""

    products: list[Row] = field(default_factory=list[Row])
    drivers: list[Driven] = field(default_factory=list[Driven])
    speeds: list[Speed] = field(default_factory=list[Speed])
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    """The reason for each peer that is not there."""
    load: float = 0.0
    """The largest load of the machine when something was timed, in processes that want a core."""
    power: CorePower | None = None

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        return {
            "products": [row.facts() for row in self.products],
            "drivers": [row.facts() for row in self.drivers],
            "speeds": [row.facts() for row in self.speeds],
            "skipped": self.skipped,
            "load": self.load,
            "core_power": self.power and self.power.facts(),
        }

    def listings(self, fabrics: Sequence[str]) -> dict[str, Listing]:
        """The tables by the names of their marks."""
        found: dict[str, Listing] = {}
        if self.products:
            for fabric in fabrics:
                found[f"products on {fabric}"] = tables.products(self.products, fabric)
        if self.drivers:
            found["drivers"] = tables.drivers(self.drivers)
        if self.speeds:
            found["speeds"] = tables.speeds(self.speeds, self.power)
        return found


def run_peers_bench(
    output: Path | None,
    page: Path | None,
    text: str = "",
    *,
    only: Sequence[str] = (),
    sizes: Sequence[int] = products.SIZES,
    sparsities: Sequence[float] = products.SPARSITIES,
    fabrics: Sequence[str] = ("xcup",),
    resume: bool = False,
) -> int:
    """Measure peers and us; print tables, write JSON, and fill a page's tables.

    The JSON is rewritten after each step, so that an interruption loses no more than one.

    Args:
        output: the JSON file.
        page: a file with marks for the tables, see `tables.fill`.
        text: of the page.
        only: of `PARTS`.
        sizes: rows and columns of the matrices.
        sparsities: of the matrices.
        fabrics: what they are synthesised for.
        resume: find the steps that an earlier run with the same options has done.

    Raises:
        DaqkfError: a number or a name is bad, nothing is left to measure, or a circuit computes
            something else than its integers.
        UnknownFabricError: there is no such fabric.
        SimulationError, SynthesisError, ToolNotFoundError: a tool failed or is missing.
    """
    from rich.console import Console

    from daqkf.support.console import showing
    from daqkf.support.tables import print_table, table_console

    _check(only, sizes, sparsities, fabrics)
    if page:
        marks = [*(f"products on {fabric}" for fabric in fabrics), "drivers", "speeds"]
        tables.fill(text, dict.fromkeys(marks, Listing("", (), (), 0)))
    found, parts = Found(power=core_power()), only or PARTS
    steps = Kept.of("bench-peers", [list(sizes), list(sparsities), list(fabrics)], resume=resume)
    with showing(Console(stderr=True), "compare with peers") as progress:
        bench = _Bench(found, steps, progress, output)
        for number, part in enumerate(parts):
            step = Step("compare", number + 1, len(parts), "parts", part)
            progress(step)
            bench.progress = within(progress, step)
            bench.run(part, sizes, sparsities, fabrics)
    for reason in found.skipped.values():
        print(f"skipped: {reason}")
    listings = found.listings(fabrics)
    if not listings:
        raise DaqkfError("nothing was measured: all that was asked for is missing")
    for listing in listings.values():
        print_table(listing.table(), table_console(), keys=listing.keys)
    for line in _remarks(found, sizes, sparsities, fabrics):
        print(line)
    if page:
        write_atomically(page, tables.fill(text, listings).encode())
        print(page)
    if output:
        print(output)
    return 0


def _check(
    only: Sequence[str], sizes: Sequence[int], sparsities: Sequence[float], fabrics: Sequence[str]
) -> None:
    for name in only:
        if name not in PARTS:
            raise DaqkfError(f"unknown part '{name}' (known: {', '.join(PARTS)})")
    for size in sizes:
        if not 2 <= size <= products.MOST:
            raise DaqkfError(f"--size must be 2 to {products.MOST}, not {size}")
    for sparsity in sparsities:
        if not 0 <= sparsity < 1:
            raise DaqkfError(f"--sparsity must be 0 or above and below 1, not {sparsity:g}")
    for fabric in fabrics:
        load_fabric(fabric)


@dataclass
class _Bench:
    """Measures part after part, and keeps what is done."""

    found: Found
    steps: Steps
    progress: Progress
    output: Path | None

    def run(
        self, part: str, sizes: Sequence[int], sparsities: Sequence[float], fabrics: Sequence[str]
    ) -> None:
        """Measure a part; what is not installed is noted."""
        package = _PACKAGES.get(part, "")
        if package and importlib.util.find_spec(package) is None:
            self.found.skipped[package] = missing(package, "peers")
            if part != "products":
                return
        try:
            if part == "products":
                self._products(sizes, sparsities, fabrics)
            elif part == "drivers":
                for count in drivers.OPERATIONS:
                    self.found.drivers += self._timed(
                        [part, count], lambda n=count: [drivers.measure_drivers(n, self.progress)]
                    )
            else:
                own = {"minilm": minilm.measure_minilm, "smollm2": smollm2.measure_smollm2}[part]
                self.found.speeds += self._timed([part], lambda: own(self.progress))
        except ModelNotFoundError as error:
            self.found.skipped[part] = str(error)
        self._write()

    def _products(
        self, sizes: Sequence[int], sparsities: Sequence[float], fabrics: Sequence[str]
    ) -> None:
        matrices = products.load_matrices(sizes, sparsities)
        # The largest of all shapes what our arrays are, so they are measured once for all.
        for name, machine in products.arrays().items():
            told = within(self.progress, name)
            self.found.products += self.steps.do(
                ["array", name],
                lambda _, name=name, machine=machine, told=told: products.measure_array(
                    name, machine, matrices, fabrics, told
                ),
            )
            self._write()
        if DA4ML in self.found.skipped:
            return
        for matrix in matrices:
            if matrix.size <= products.LARGEST:
                self.found.products += self._constant(matrix, fabrics)
                self._write()

    def _constant(self, matrix: Matrix, fabrics: Sequence[str]) -> list[Row]:
        told = within(self.progress, matrix.name)
        return self.steps.do(
            [DA4ML, matrix.name], lambda _: products.measure_constant(matrix, fabrics, told)
        )

    def _timed[T](self, key: list[Any], measure: Callable[[], list[T]]) -> list[T]:
        """A step that is timed, with the load that the machine had."""

        def work(_: Steps) -> tuple[list[T], float]:
            before = os.getloadavg()[0]
            rows = measure()
            return rows, max(before, os.getloadavg()[0])

        rows, load = self.steps.do(key, work)
        self.found.load = max(self.found.load, load)
        return rows

    def _write(self) -> None:
        if self.output:
            text = json.dumps(self.found.facts(), indent=2) + "\n"
            write_atomically(self.output, text.encode())


def _remarks(
    found: Found, sizes: Sequence[int], sparsities: Sequence[float], fabrics: Sequence[str]
) -> list[str]:
    """What the tables say, in words."""
    lines: list[str] = []
    if any(row.circuit == DA4ML for row in found.products):
        for fabric in fabrics:
            for name in products.arrays():
                for sparsity in sparsities:
                    size = products.crossing(found.products, name, fabric, sparsity)
                    when = f"from {size} × {size}" if size else f"at no size up to {max(sizes)}"
                    lines.append(f"{fabric}, {sparsity:.0%} zeros: {name} takes fewer LUTs {when}")
    if found.drivers or found.speeds:
        lines.append(f"load of the machine while CPUs were timed: up to {found.load:.1f}")
    if found.speeds and found.power:
        power = found.power
        lines.append(
            f"a core of {power.name} takes {power.low:.3g} to {power.high:.3g} W ({power.parts}; "
            f"{power.source})"
        )
    elif found.speeds:
        lines.append("the data file has no published power of this processor")
    return lines
