# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a page says of a network: its graph before and after fusion, and where operators run.

Before fusion, each kernel is drawn as the layers that it was made of; after fusion, it is a node.
Networks of many layers are folded: a layer is a node that leads to a graph of its own.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daqkf.reports.pages.blocks import Block, Graph, Node, Note, Section, Table

LARGE = 60
"""Nodes of a graph from which on it is folded by layer."""

_BEFORE = "each kernel as the layers that it was made of"

_LAYER = re.compile(r"^(.*?(?:layers?|blocks?|h)[._/]?\d+)[._/]", re.IGNORECASE)


@dataclass(frozen=True)
class Operator:
    """An operation of a network as it runs."""

    name: str
    does: str
    """What it computes, in a word."""
    where: str
    """`array` or `host`."""
    why: str
    inputs: Sequence[str]
    """Names of the operators that it reads from."""
    layers: Sequence[tuple[str, str, bool]] = ()
    """Of a kernel: the name of each step that it was fused of, what it does, and whether it stands
    beside the step before it, not behind."""


def sections(operators: Sequence[Operator]) -> list[Section]:
    """The sections on a network."""
    if not operators:
        return []
    before, after = _expanded(operators), list(operators)
    large = len(before) > LARGE
    fused = sum(len(operator.layers) > 1 for operator in operators)
    text = (
        f"{len(before)} operations before fusion, {len(after)} after it; {fused} kernels are made "
        "of several. Square blue nodes run on the array, round ones on the host. Constants are "
        "left out. Drag to move, use two fingers, or click into a graph and turn the wheel or "
        "press + and −."
    )
    return [
        Section(
            "graph",
            "The network before and after fusion",
            [
                Note(text),
                *_graphs("After fusion", "what runs", after, "after", large),
                *_graphs("Before fusion", _BEFORE, before, "before", large),
            ],
        ),
        Section("placement", "Where each operator runs, and why", _placement(operators)),
    ]


def _expanded(operators: Sequence[Operator]) -> list[Operator]:
    """The operators with every kernel taken apart."""
    found: list[Operator] = []
    last: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for operator in operators:
        inputs = [name for other in operator.inputs for name in last.get(other, [other])]
        beside = [name for name in inputs if names.get(name) == operator.name]
        if beside:  # a slice of results that were one kernel's is the layer itself
            last[operator.name] = beside
            continue
        if len(operator.layers) < 2:
            found.append(
                Operator(operator.name, operator.does, operator.where, operator.why, inputs)
            )
            last[operator.name] = [operator.name]
            continue
        ends, reads = list[str](), inputs
        for number, (name, does, parallel) in enumerate(operator.layers):
            if not parallel and number:
                reads, ends = ends, []
            own = f"{operator.name}\0{number}"
            found.append(Operator(own, f"{name}\0{does}", operator.where, operator.why, reads))
            ends.append(own)
            names[own] = name if parallel else ""
        last[operator.name] = ends
    return found


def _node(operator: Operator) -> Node:
    shown, _, does = operator.does.rpartition("\0")
    name = shown or operator.name
    return Node(name, f"{does}, on the {operator.where}: {operator.why}", operator.where)


def _graphs(
    title: str, caption: str, operators: Sequence[Operator], anchor: str, large: bool
) -> list[Graph]:
    """One graph, or the graph of layers and one for each of them."""
    nodes = {operator.name: _node(operator) for operator in operators}
    edges = [(other, operator.name) for operator in operators for other in operator.inputs]
    if not large:
        return [Graph(title, caption, nodes, edges, anchor)]
    layer = {name: _layer_of(name) for name in nodes}
    readers: defaultdict[str, list[str]] = defaultdict(list)
    for a, b in edges:
        readers[a].append(b)
    for name in reversed(list(layer)):
        # What has no name in the file belongs to the first layer that reads it.
        if not layer[name] and not _named(name):
            layer[name] = next((layer[other] for other in readers[name] if layer[other]), "")
    sizes = Counter(layer.values())
    owner = {name: own if own and sizes[own] > 2 else "" for name, own in layer.items()}
    folds = list(dict.fromkeys(own for own in owner.values() if own))
    targets = {own: f"{anchor}-{number}" for number, own in enumerate(folds)}
    outer: dict[str, Node] = {}
    for name, node in nodes.items():
        own = owner[name]
        if not own:
            outer[name] = node
        elif own not in outer:
            detail = f"{sizes[own]} operations, which are drawn below"
            outer[own] = Node(own, detail, "fold", targets[own])
    across = [(owner[a] or a, owner[b] or b) for a, b in edges if a in nodes]
    whole = Graph(
        title, f"{caption}; each dashed node is a layer.", outer, _acyclic(across, outer), anchor
    )
    inner = [
        Graph(f"{title}: {own}", "", *_inside(own, owner, nodes, edges), targets[own], True)
        for own in folds
    ]
    return [whole, *inner]


def _inside(
    own: str, owner: Mapping[str, str], nodes: Mapping[str, Node], edges: Sequence[tuple[str, str]]
) -> tuple[dict[str, Node], list[tuple[str, str]]]:
    """The nodes of a layer with those that it reads from, and their arrows."""
    chosen = {name for name in nodes if owner[name] == own}
    kept = [(a, b) for a, b in edges if b in chosen and a in nodes]
    near = chosen | {a for a, _ in kept}
    return {name: node for name, node in nodes.items() if name in near}, kept


def _acyclic(edges: Sequence[tuple[str, str]], nodes: Mapping[str, Node]) -> list[tuple[str, str]]:
    place = {name: number for number, name in enumerate(nodes)}
    found = dict.fromkeys((a, b) for a, b in edges if a in place and b in place)
    return [(a, b) for a, b in found if place[a] < place[b]]


def _named(name: str) -> bool:
    """Whether a name is one of the file, and not that of the operation."""
    return "." in name or "/" in name or name.startswith("input ")


def _layer_of(name: str) -> str:
    found = _LAYER.match(name.partition("\0")[0])
    return found[1] if found else ""


def _placement(operators: Sequence[Operator]) -> list[Block]:
    counts = Counter(operator.where for operator in operators)
    text = f"{counts['array']} operators run on the array, {counts['host']} on the host."
    groups: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for operator in operators:
        groups[operator.where, operator.does, operator.why].append(operator.name)
    rows = [
        (does, where, len(names), why, names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}")
        for (where, does, why), names in sorted(groups.items(), key=lambda item: item[0][0])
    ]
    every = [(operator.name, operator.does, operator.where, operator.why) for operator in operators]
    return [
        Note(text),
        Table("By kind and reason", ("operator", "runs on", "number", "why", "which"), rows),
        Table("Each operator", ("name", "operator", "runs on", "why"), every, folded=True),
    ]
