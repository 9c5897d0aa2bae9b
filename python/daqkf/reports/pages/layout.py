# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Where the nodes of a graph stand: in layers from the top down, each below those it reads from.

The layers are those of longest paths; within each, nodes are ordered by the middle of their
neighbours, down and up in turn (Sugiyama, Tagawa and Toda, 1981). Arrows over several layers pass
through places of their own, so that they cross no node.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from daqkf.reports.pages.blocks import Graph, Node

_LETTER, _PADDING, _HEIGHT = 7.2, 12.0, 26.0
_GAP, _DOWN, _BEND = 18.0, 52.0, 8.0
_LONGEST = 34
"""Letters of a node; the whole text is in its detail."""

_SWEEPS = 6


@dataclass(frozen=True)
class Placed:
    """A node, by its middle and its width."""

    node: Node
    label: str
    x: float
    y: float
    width: float
    height: float = _HEIGHT


@dataclass(frozen=True)
class Layout:
    """A graph whose parts have places."""

    nodes: Sequence[Placed]
    arrows: Sequence[str]
    """Paths of SVG."""
    width: float
    height: float
    begin: float
    """The middle of the first row, which is seen first."""


def layout(graph: Graph) -> Layout:
    """The places of a graph's nodes and arrows; arrows that go back are left out of the layers."""
    names = list(graph.nodes)
    place = {name: number for number, name in enumerate(names)}
    edges = [(a, b) for a, b in dict.fromkeys(graph.edges) if a in place and b in place and a != b]
    forward = [(a, b) for a, b in edges if place[a] < place[b]]
    level = _levels(names, forward)
    widths = {name: _width(node) for name, node in graph.nodes.items()}
    chains = _through(forward, level, widths)
    rows: list[list[str]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for name, number in level.items():
        rows[number].append(name)
    hops = [pair for chain in chains for pair in pairwise(chain)]
    _order(rows, hops)
    x = _columns(rows, hops, widths)
    left = min((x[name] - widths[name] / 2 for name in x), default=0.0) - _GAP
    right = max((x[name] + widths[name] / 2 for name in x), default=1.0) + _GAP
    y = {name: _GAP + _HEIGHT / 2 + _DOWN * level[name] for name in level}
    placed = [
        Placed(node, clipped(node.label), round(x[name] - left, 1), y[name], widths[name])
        for name, node in graph.nodes.items()
    ]
    arrows = [_arrow([(x[name] - left, y[name]) for name in chain]) for chain in chains]
    first = [one.x for one in placed if one.y <= _GAP + _HEIGHT / 2]
    begin = round((min(first) + max(first)) / 2, 1) if first else 0.0
    height = 2 * _GAP + _HEIGHT + _DOWN * (len(rows) - 1)
    return Layout(placed, arrows, round(right - left, 1), height, begin)


def clipped(text: str) -> str:
    """A text of a few letters: of names, the end tells them apart."""
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"


def _width(node: Node) -> float:
    return round(_LETTER * max(len(clipped(node.label)), 3) + 2 * _PADDING, 1)


def _levels(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way to each node; nodes stand as far down as those that read them allow."""
    into, out = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for a, b in edges:
        into[b].append(a)
        out[a].append(b)
    level: dict[str, int] = {}
    for name in names:
        level[name] = max((level[other] + 1 for other in into[name]), default=0)
    for name in reversed(names):
        if out[name] and not into[name]:
            level[name] = min(level[other] for other in out[name]) - 1
    return level


def _through(
    edges: Sequence[tuple[str, str]], level: dict[str, int], widths: dict[str, float]
) -> list[list[str]]:
    """For each arrow the places that it passes, which become nodes without a width."""
    chains: list[list[str]] = []
    for number, (a, b) in enumerate(edges):
        chain = [a]
        for row in range(level[a] + 1, level[b]):
            chain.append(f"\0{number}.{row}")
            level[chain[-1]], widths[chain[-1]] = row, 0.0
        chains.append([*chain, b])
    return chains


def _order(rows: list[list[str]], hops: Sequence[tuple[str, str]]) -> None:
    """Order each row by the middles of its neighbours, in place."""
    into, out = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for a, b in hops:
        into[b].append(a)
        out[a].append(b)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        near = into if down else out
        for number in range(len(rows)) if down else reversed(range(len(rows))):
            place = {name: spot for row in rows for spot, name in enumerate(row)}
            middles = {
                name: sum(place[other] for other in near[name]) / len(near[name])
                if near[name]
                else place[name]
                for name in rows[number]
            }
            rows[number].sort(key=middles.__getitem__)


def _columns(
    rows: Sequence[Sequence[str]], hops: Sequence[tuple[str, str]], widths: Mapping[str, float]
) -> dict[str, float]:
    """Middles of nodes: near their neighbours, in the order of the rows, without overlap."""
    near = defaultdict[str, list[str]](list)
    for a, b in hops:
        near[a].append(b)
        near[b].append(a)
    x: dict[str, float] = {}
    for row in rows:
        total = sum(widths[name] + _GAP for name in row)
        cursor = -total / 2
        for name in row:
            x[name] = cursor + (widths[name] + _GAP) / 2
            cursor += widths[name] + _GAP
    for sweep in range(2 * _SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [
                sum(x[other] for other in near[name]) / len(near[name]) if near[name] else x[name]
                for name in row
            ]
            x.update(zip(row, _apart(wanted, [widths[name] for name in row]), strict=True))
    return x


def _apart(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Places near the wanted ones that keep the order and a gap: pools of neighbours that would
    overlap stand side by side around the mean of what they want (pool adjacent violators)."""
    offsets = [0.0]
    for left, right in pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2 + _GAP)
    pools: list[list[float]] = []  # the mean and the number of each
    for place, offset in zip(wanted, offsets, strict=True):
        pools.append([place - offset, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (mean, count), (other, more) = pools[-2], pools[-1]
            pools[-2:] = [[(mean * count + other * more) / (count + more), count + more]]
    starts = [mean for mean, count in pools for _ in range(int(count))]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]


def _arrow(points: Sequence[tuple[float, float]]) -> str:
    """A path from below its first node to above its last one, bent only between rows."""
    (x, y), *others = points
    y += _HEIGHT / 2
    parts = [f"M{x:.1f},{y:.1f}"]
    for number, (to, down) in enumerate(others):
        last = number == len(others) - 1
        end = down - _HEIGHT / 2 - (3 if last else 0)
        middle = (y + end) / 2
        parts.append(f"C{x:.1f},{middle:.1f} {to:.1f},{middle:.1f} {to:.1f},{end:.1f}")
        x, y = to, end
        if not last:
            y = down + _HEIGHT / 2
            parts.append(f"V{y:.1f}")
    return "".join(parts)
