# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a page consists of: sections of notes, tables, charts, pictures and graphs, as data.

Nothing here is HTML. Texts may come from files and are escaped by the template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Share:
    """A cell of a table that has a bar beside its text."""

    value: float
    """The length of the bar, from 0 to 1."""
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Table:
    """A table whose first column says what a row is of; cells that are numbers stand right."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]
    folded: bool = False
    """Whether only its caption is shown until somebody wants more."""
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Series:
    """A line or the points of a chart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    points: bool = False
    """Whether there are only points and no line."""
    steps: bool = False
    """Whether each value holds until the next one."""
    marks: bool = True
    """Whether the values of a line are marked, if they are few."""


@dataclass(frozen=True)
class Chart:
    """Lines over a plane."""

    title: str
    caption: str
    x: str
    """What is on the axis, with its unit; as with `y`."""
    y: str
    series: Sequence[Series]
    log: bool = False
    """Whether both axes are logarithmic."""
    kind: ClassVar[str] = "chart"


@dataclass(frozen=True)
class Columns:
    """A histogram: how many there are of each value."""

    title: str
    caption: str
    x: str
    y: str
    values: Sequence[float]
    """Ascending, at the same distance."""
    counts: Sequence[float]
    kind: ClassVar[str] = "columns"


@dataclass(frozen=True)
class Lane:
    """A row of a timeline: what something does from when to when."""

    label: str
    spans: Sequence[tuple[float, float, str]]
    """Begin, end, and what happens."""


@dataclass(frozen=True)
class Timeline:
    """Who does something when."""

    title: str
    caption: str
    unit: str
    lanes: Sequence[Lane]
    kind: ClassVar[str] = "timeline"


@dataclass(frozen=True)
class Heat:
    """A matrix of numbers as a picture."""

    title: str
    caption: str
    values: NDArray[np.float64]
    low: float
    high: float
    unit: str
    kind: ClassVar[str] = "heat"


@dataclass(frozen=True)
class Node:
    """A node of a graph."""

    label: str
    detail: str
    place: str = "host"
    """Where it runs: `array`, `host`, or `fold` for nodes that stand for a graph of their own."""
    target: str = ""
    """The anchor of the graph that it stands for."""


@dataclass(frozen=True)
class Graph:
    """Nodes and the arrows between them."""

    title: str
    caption: str
    nodes: Mapping[str, Node]
    edges: Sequence[tuple[str, str]]
    anchor: str = ""
    folded: bool = False
    kind: ClassVar[str] = "graph"


type Block = Note | Table | Chart | Columns | Timeline | Heat | Graph


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    anchor: str
    """A word of letters and hyphens, for links."""
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    lead: str
    """A sentence on what the page is of."""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is said in a line, by name."""
    sections: Sequence[Section] = ()
