# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What an exploration has found: its trials and its front, as tables, files and a picture."""

import csv
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daqkf.exploring.front import OBJECTIVES, costs, front
from daqkf.exploring.trials import COMPLETE, Trial
from daqkf.passes.files import write_atomically
from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from daqkf.exploring.picture import Picture

NAME = "explore"
"""The stem of the files of an exploration."""

_COLUMNS = ("device", "target", "family", "stream_code", "index_bits")
"""Parameters that a table has a column for if they differ."""

_CAPTION = "array: PEs × lanes / lanes of the post unit, items of a word"


@dataclass(frozen=True)
class Exploration:
    """Designs that were tried, and those of them that no other one is better than."""

    source: str
    """The file that was explored, or what stands for it."""
    given: Mapping[str, str]
    """What else a compilation is given, by the name of its option."""
    objectives: tuple[str, ...]
    clock: float
    """In Hz."""
    use: float
    """The share of each resource that a design may take."""
    seed: int
    designs: int
    """That there are in the space."""
    trials: Sequence[Trial]
    """In the order in which they were begun."""
    quantisations: int
    """How often weights were made integers in this run."""
    interrupted: bool = False
    """Whether Ctrl-C has ended it."""

    @property
    def complete(self) -> list[Trial]:
        """The trials that were not given up."""
        return [trial for trial in self.trials if trial.state == COMPLETE]

    @cached_property
    def front(self) -> list[Trial]:
        """Those of which no other one is better at one aim and as good at all: the Pareto front,
        sorted by the first aim, the best first."""
        complete = self.complete
        own = [costs(trial.values, self.objectives) for trial in complete]
        return [complete[place] for place in sorted(front(own), key=lambda place: own[place])]

    def command(self, trial: Trial) -> str:
        """The command line that compiles exactly the design of a trial."""
        point = trial.point
        words = ["daqkf", "compile", self.source, "--target", point.target_name]
        for name, value in (point.elements | point.weights | dict(self.given)).items():
            words += [
                f"--{name.replace('_', '-')}",
                f"{value:g}" if name == "sparsity" else str(value),
            ]
        return shlex.join([*words, "-o", f"design-{trial.number}"])

    def table(self) -> "Table":
        """The front, for a terminal."""
        from rich.table import Table

        table = Table(title=self._title, title_justify="left", caption=_CAPTION)
        for heading in self._headings:
            table.add_column(
                heading, justify="left" if heading in ("array", "weights, zeros") else "right"
            )
        for trial in self.front:
            table.add_row(*self._cells(trial))
        return table

    @property
    def _title(self) -> str:
        return (
            f"{len(self.front)} of {len(self.complete)} designs are not dominated, "
            f"{self.clock / 1e6:g} MHz"
        )

    @property
    def _differing(self) -> list[str]:
        return [
            name
            for name in _COLUMNS
            if len({getattr(trial.point, name) for trial in self.front}) > 1
        ]

    @property
    def _headings(self) -> list[str]:
        labels = [OBJECTIVES[name].label for name in self.objectives]
        others = [name.replace("_", " ") for name in self._differing]
        return ["trial", "array", "weights, zeros", *others, *labels]

    def _cells(self, trial: Trial) -> list[str]:
        point = trial.point
        weights = point.levels + (f", {point.sparsity:.0%}" if point.sparsity else "")
        shown = [OBJECTIVES[name].shown(trial.values[name]) for name in self.objectives]
        others = [str(getattr(point, name)) for name in self._differing]
        return [str(trial.number), point.label, weights, *others, *shown]

    def markdown(self) -> str:
        """The front and how to build it, in Markdown."""
        rows = [self._headings, ["---"] * len(self._headings), *map(self._cells, self.front)]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        commands = [f"{self.command(trial)}" for trial in self.front]
        return "\n".join(
            [
                f"# {self.source}",
                "",
                f"{self._title}.",
                "",
                *lines,
                "",
                "```text",
                *commands,
                "```\n",
            ]
        )

    def facts(self) -> dict[str, Any]:
        """All of it as values for JSON."""
        return {
            "source": self.source,
            "objectives": list(self.objectives),
            "clock_mhz": self.clock / 1e6,
            "use": self.use,
            "seed": self.seed,
            "designs": self.designs,
            "quantisations": self.quantisations,
            "interrupted": self.interrupted,
            "front": [trial.facts() | {"command": self.command(trial)} for trial in self.front],
            "trials": [trial.facts() for trial in self.trials],
        }

    def _csv(self) -> str:
        file, best = StringIO(), {trial.number for trial in self.front}
        names = list(dict.fromkeys(name for trial in self.trials for name in trial.values))
        parameters = list(self.trials[0].point.facts()) if self.trials else []
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["number", "state", "front", *parameters, *names, "reason"])
        for trial in self.trials:
            values = [trial.values.get(name, "") for name in names]
            own = [trial.number, trial.state, int(trial.number in best)]
            writer.writerow([*own, *trial.point.facts().values(), *values, trial.reason])
        return file.getvalue()

    def figure(self) -> "Figure":
        """The front as a picture of Matplotlib.

        Raises:
            DaqkfError: the extra `plot` is missing.
        """
        from daqkf.exploring.picture import figure

        return figure(self._picture)

    @property
    def _picture(self) -> "Picture":
        from daqkf.exploring.picture import Picture

        title = f"{self.source}: {self._title}"
        return Picture(title, self.objectives, self.complete, self.front)

    def save(self, folder: str | Path) -> list[Path]:
        """Write explore.json, explore.csv, explore.md and, with the extra `plot`, explore.svg and
        explore.png; gives the files.

        Raises:
            OSError: nothing can be written there.
        """
        contents = {
            "json": json.dumps(self.facts(), indent=2) + "\n",
            "csv": self._csv(),
            "md": self.markdown(),
        }
        data = {kind: text.encode() for kind, text in contents.items()}
        if self.front:
            try:
                from daqkf.exploring.picture import rendered_as

                data |= {kind: rendered_as(self._picture, kind) for kind in ("svg", "png")}
            except DaqkfError:  # without the extra, there are no pictures
                pass
        found: list[Path] = []
        for kind, own in data.items():
            found.append(Path(folder) / f"{NAME}.{kind}")
            write_atomically(found[-1], own)
        return found
