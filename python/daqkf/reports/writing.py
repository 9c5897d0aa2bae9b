# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Write what `daqkf report` finds: a page, a table on the screen, files with all findings."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from daqkf.passes.files import write_atomically
from daqkf.passes.spaq_analyze import analysis_json
from daqkf.reports.model import DETAILED, Entry, Quantised, describe_levels
from daqkf.reports.notebook import page, picture
from daqkf.reports.pages import weights
from daqkf.reports.pages.blocks import Page, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table


PAGE = ".html"
"""How the name of a page ends."""


@dataclass(frozen=True)
class Report:
    """What can be said of the weights of a layer or a network, and of how it runs."""

    title: str
    entries: Sequence[Entry]
    lead: str = "Weights and their levels."
    """A sentence on what the report is of."""
    figures: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is said in a line, by name."""
    sections: Callable[[], Sequence[Section]] = tuple
    """What makes the sections of the page beside those on weights, when they are asked for."""

    def __str__(self) -> str:
        from daqkf.support.tables import table_text

        return table_text(table(self.entries))

    def __repr__(self) -> str:
        return f"Report({self.title}: {len(self.entries)} matrices)"

    def _repr_html_(self) -> str:
        found = {entry.matrix.name: ", ".join(_row(entry)[1:4]) for entry in self.entries}
        return page(self.title, found, self.entries)

    def facts(self) -> list[dict[str, Any]]:
        """All findings about the matrices, JSON-able."""
        return [entry.facts() for entry in self.entries]

    def figure(self) -> "Figure":
        """The picture of the matrix, or an overview of several."""
        return picture(self.entries)

    def page(self) -> str:
        """The whole report as one HTML page that needs no other file, and no network.

        Raises:
            DaqkfError: the extra `report` is not installed.
        """
        from daqkf.reports.pages.rendering import render

        sections = [*self.sections(), *weights.sections(self.entries)]
        return render(Page(self.title, self.lead, self.figures, sections))

    def save(self, path: str | Path) -> None:
        """Write the page if the name ends in `.html`, else a folder; see `write_report`.

        Raises:
            DaqkfError: the extra that the page or the pictures need is not installed.
            OSError: it cannot be written.
        """
        if Path(path).suffix == PAGE:
            write_atomically(Path(path), self.page().encode())
        else:
            write_report(self.entries, Path(path))


def write_report(entries: Sequence[Entry], folder: Path) -> None:
    """Write `report.json` and the pictures, as .png and .svg, into a folder.

    The picture `report` shows the matrix, or an overview of several. If there are few, `matrices/`
    also has a picture of each. All files are made before the first one is written.
    """
    from daqkf.reports.figures import matrix_figure, rendered

    pictures: dict[str, Figure] = {"report": picture(entries)}
    if len(entries) > 1:
        for number, entry in enumerate(entries if len(entries) <= DETAILED else (), 1):
            name = re.sub(r"[^\w.-]+", "_", entry.matrix.name)[:80]
            pictures[f"matrices/{number}-{name}"] = matrix_figure(entry)
    files = {"report.json": analysis_json(entry.facts() for entry in entries).encode()}
    for name, figure in pictures.items():
        files |= {f"{name}.{kind}": rendered(figure, kind) for kind in ("png", "svg")}
    for name, data in files.items():
        write_atomically(folder / name, data)


def table(entries: Sequence[Entry]) -> "Table":
    """A table with a row for each matrix."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(caption="range: largest to smallest non-zero magnitude; entropy: of a weight")
    shown.add_column("matrix")
    shown.add_column("shape", justify="right")
    shown.add_column("pattern")
    fitted = any(found and found.level_set for found in (entry.quantised for entry in entries))
    for heading in ("sparsity", "a channel's non-zeros", "range", "entropy"):
        shown.add_column(heading, justify="right")
    if fitted:
        shown.add_column("levels")
        shown.add_column("SQNR", justify="right")
    for entry in entries:
        name, *found = _row(entry)
        # A name from a file is no markup.
        shown.add_row(Text(name), *found, *(_levels(entry.quantised) if fitted else ()))
    return shown


def _row(entry: Entry) -> tuple[str, ...]:
    analysis = entry.analysis
    counts = analysis.sparsity.column_nonzeros
    return (
        entry.matrix.name,
        "{}×{}".format(*analysis.shape),
        analysis.sparsity.pattern,
        f"{1 - analysis.density:.1%}",
        f"{counts.min()}…{np.median(counts):g}…{counts.max()}",
        f"{analysis.dynamic_range:.0f} dB",
        f"{analysis.entropy.total:.2f} bits",
    )


def _levels(found: Quantised | None) -> tuple[str, str]:
    if found is None or found.level_set is None:
        return "", ""
    if found.history is None:
        return describe_levels(found.level_set), "as given"
    return (
        describe_levels(found.level_set),
        "exact" if found.sqnr is None else f"{found.sqnr:.1f} dB",
    )
