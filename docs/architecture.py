# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The structure of the code, read from its imports, and the picture of it in architecture.md.

    python docs/architecture.py     # writes docs/architecture.svg

Every import counts: those inside functions and under `TYPE_CHECKING`, too. The tests of the
structure use the same reading.
"""

import ast
import io
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = Path(__file__).with_suffix(".svg")

FLOORS = ("hw_targets", "dialects", "passes", "lowering", "python/daqkf")
"""The top-level rooms, in the order in which data flows: each imports from those before it only."""

ORDERED = {
    "lowering": ("hdl", "rtl", "image", "conversions"),
    "python/daqkf": ("support", "runtime", "drivers", "synthesis", "compiler", "studies", "cli"),
}
"""Rooms within a floor that stand in an order of their own."""

type Imports = Mapping[str, frozenset[str]]
"""For each module of this project, the modules of this project that it imports."""


def sources() -> dict[str, Path]:
    """The file of each module, by its dotted name."""
    found: dict[str, Path] = {}
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            inside = path.relative_to(ROOT / floor)
            if any((ROOT / floor / part).is_symlink() for part in inside.parents):
                continue
            parts = [*inside.with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
            prefix = ["daqkf"] if floor == FLOORS[-1] else ["daqkf", floor]
            found[".".join(prefix + parts)] = path
    return found


def imported_names(source: str) -> Iterator[tuple[str, str]]:
    """Every import of a source, as a module and the name that is taken from it, or ''."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.module or "", alias.name) for alias in node.names)


def imports(modules: Mapping[str, Path] | None = None) -> Imports:
    """What each module imports of this project."""
    modules = sources() if modules is None else modules
    found: dict[str, frozenset[str]] = {}
    for name, path in modules.items():
        used = {
            f"{module}.{taken}" if f"{module}.{taken}" in modules else module
            for module, taken in imported_names(path.read_text())
        }
        found[name] = frozenset(used & modules.keys() - {name})
    return found


def room(module: str) -> str:
    """The room of a module, like `hw_targets`, `lowering.rtl` or `cli`; `daqkf` is the package."""
    parts = module.split(".")[1:]
    if not parts:
        return "daqkf"
    if parts[0] not in FLOORS:
        return parts[0]
    if parts[0] == FLOORS[0]:  # its machines and its families are made of each other
        return parts[0]
    is_room = ROOT.joinpath(*parts[:2], "__init__.py").is_file()
    return ".".join(parts[:2]) if is_room else parts[0]


def rooms(graph: Imports) -> dict[str, frozenset[str]]:
    """The rooms that each room imports from."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for module, used in graph.items():
        found[room(module)] |= {room(other) for other in used}
    return {name: frozenset(others - {name}) for name, others in found.items()}


def circles(graph: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """The sets of nodes that reach each other (Tarjan, 1972), those of one node left out."""
    found: list[list[str]] = []
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            members, stack[place:] = stack[place:], []
            if len(members) > 1:
                found.append(sorted(members))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def _floor(name: str) -> str:
    first = name.split(".")[0]
    return first if first in FLOORS else FLOORS[-1]


def _levels(graph: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """How many rooms of its own floor each room stands on, at most."""
    levels: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in levels:
            own = (other for other in graph[name] if _floor(other) == _floor(name))
            levels[name] = max((level(other) + 1 for other in own), default=0)
        return levels[name]

    for name in graph:
        level(name)
    return levels


def _direct(graph: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, str]]:
    """The edges that say something new: those between ends that no longer path connects."""

    def reached(name: str) -> frozenset[str]:
        below = graph[name]
        return below.union(*(reached(other) for other in below))

    for name, used in graph.items():
        indirect = frozenset[str]().union(*(reached(other) for other in used))
        yield from ((name, other) for other in sorted(used - indirect))


def drawn(graph: Imports) -> bytes:
    """The rooms as an SVG picture: a band for each floor, and an arrow for each direct import."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # What only holds other rooms has no box of its own.
    inner = {name: used for name, used in rooms(graph).items() if name != "daqkf"}
    holders = {name for name in inner if name in FLOORS and name != FLOORS[0]}
    inner = {
        name: used - holders - {"daqkf"} for name, used in inner.items() if name not in holders
    }
    levels = _levels(inner)
    counts: defaultdict[str, int] = defaultdict(int)
    for module in graph:
        counts[room(module)] += 1
    places: dict[str, tuple[float, float]] = {}
    with rc_context({"svg.hashsalt": "daqkf", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(10, 9.5), layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        bottom = 0.0
        for floor in FLOORS:
            own = [name for name in inner if _floor(name) == floor]
            height = 1 + max(levels[name] for name in own)
            axes.axhspan(bottom - 0.45, bottom + height - 0.55, color="#F0F3F7", zorder=0)
            axes.text(-0.62, bottom - 0.38, floor, fontweight="bold", va="bottom", ha="left")
            for level in range(height):
                row = sorted(name for name in own if levels[name] == level)
                # A box that stands alone would hide the arrows past it.
                aside = 0.9 * (-1) ** level if len(row) == 1 else 0.0
                for number, name in enumerate(row):
                    places[name] = (number + 0.5) / len(row) * 7.5 + 0.5 + aside, bottom + level
            bottom += height + 0.25
        for name, other in _direct(inner):
            axes.annotate(
                "",
                xy=places[other],
                xytext=places[name],
                arrowprops={"arrowstyle": "->", "color": "#7A8794", "shrinkA": 12, "shrinkB": 12},
            )
        for name, (x, y) in places.items():
            axes.text(
                x,
                y,
                f"{name.split('.')[-1]}\n{counts[name]} files" if counts[name] > 1 else name,
                ha="center",
                va="center",
                bbox={"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "#0072B2"},
            )
        axes.set_xlim(-0.7, 8.6)
        axes.set_ylim(-0.6, bottom - 0.6)
        data = io.BytesIO()
        figure.savefig(data, format="svg", metadata={"Date": None})
    return data.getvalue()


if __name__ == "__main__":
    PICTURE.write_bytes(drawn(imports()))
    sys.stdout.write(f"{PICTURE}\n")
