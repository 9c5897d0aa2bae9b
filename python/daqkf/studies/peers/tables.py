# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The tables of `daqkf bench peers`, for terminals and for a page of Markdown."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daqkf.studies.peers.drivers import Driven
from daqkf.studies.peers.minilm import Speed
from daqkf.studies.peers.power import CorePower
from daqkf.studies.peers.products import DA4ML, Row
from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Listing:
    """Cells under headings; the first columns say what a row is of."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: int

    def table(self) -> "Table":
        """For a terminal."""
        from rich.table import Table

        found = Table(title=self.title, title_justify="left")
        for number, heading in enumerate(self.headings):
            found.add_column(heading, justify="left" if number < self.keys else "right")
        for row in self.rows:
            found.add_row(*row)
        return found

    def markdown(self) -> str:
        """For a page."""
        lines = [self.headings, ("---",) * len(self.headings), *self.rows]
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def products(rows: Sequence[Row], fabric: str) -> Listing:
    """A row for each circuit and each matrix on a fabric."""
    own = [row for row in rows if row.fabric == fabric]
    names = list(dict.fromkeys(row.circuit for row in own))
    own.sort(key=lambda row: (row.sparsity, row.size, names.index(row.circuit)))
    return Listing(
        f"{fabric}: products of int8 activations with square matrices; cycles from the first "
        "activation to the last result; products of two numbers in a cycle for 1,000 LUTs, and "
        "their ratio to da4ml",
        (
            *("zeros", "size", "circuit", "LUTs", "FFs", "DSPs", "RAMB36", "latency"),
            *("matrix products/cycle", "work/kLUT", "to da4ml", "CPU s"),
        ),
        tuple(_product(row, own) for row in own),
        3,
    )


def _product(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    peer = next(
        (
            other
            for other in rows
            if (other.circuit, other.size, other.sparsity) == (DA4ML, row.size, row.sparsity)
        ),
        None,
    )
    return (
        f"{row.sparsity:.0%}",
        str(row.size),
        row.circuit,
        f"{row.luts:,}",
        f"{row.counts.flip_flops:,}",
        str(row.counts.dsps),
        f"{row.counts.block_rams_36k:g}",
        str(row.latency),
        f"{row.rate:.3g}",
        f"{row.work:.3g}",
        f"{row.work / peer.work:.2g}x" if peer else "",
        f"{row.seconds:.2f}",
    )


def drivers(rows: Sequence[Driven]) -> Listing:
    """A row for each module."""
    return Listing(
        "CPU seconds to parse, canonicalise and print a module; with no operations, to start",
        ("operations", "daqkf-opt", "xdsl-opt", "ratio"),
        tuple(
            (f"{row.operations:,}", f"{row.daqkf:.2f}", f"{row.xdsl:.2f}", f"{row.ratio:.2f}")
            for row in rows
        ),
        1,
    )


def speeds(rows: Sequence[Speed], power: CorePower | None) -> Listing:
    """A row for each model and what runs it."""
    return Listing(
        "tokens a second of CPU time, one thread; of plans, of time; tokens a joule of a core "
        "by published power",
        ("model", "run by", "tokens/s", "prompt tokens/s", "cosine", "tokens/J"),
        tuple(_speed(row, power) for row in rows),
        2,
    )


def _speed(row: Speed, power: CorePower | None) -> tuple[str, ...]:
    joule = ""
    if power is not None and not row.is_planned:
        low, high = power.per_joule(row.rate)
        joule = f"{low:,.1f} to {high:,.1f}"
    return (
        row.model,
        row.runs,
        f"{row.rate:,.0f}",
        f"{row.prompt_rate:,.0f}" if row.prompt_rate else "",
        f"{row.cosine:.3f}" if row.cosine is not None else "",
        joule,
    )


def fill(page: str, listings: Mapping[str, Listing]) -> str:
    """A page with tables between its marks, `<!-- NAME -->` and `<!-- end of NAME -->`.

    Raises:
        DaqkfError: it has no marks of such a name.
    """
    for name, listing in listings.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        text = f"{begin}\n{listing.markdown()}\n{end}"
        page, count = pattern.subn(lambda _, text=text: text, page)
        if count != 1:
            raise DaqkfError(f"the page must have the marks '{begin.strip()}' and '{end}' once")
    return page
