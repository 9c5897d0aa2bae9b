# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What pages of reports are drawn with: graphs without overlaps, axes, folds, costs of units."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import smallest_array
from daqkf.hw_targets.engine import logic_needs, module_logic
from daqkf.reports.pages.blocks import Graph, Node, Table
from daqkf.reports.pages.charts import Axis, number, thinned
from daqkf.reports.pages.layout import layout
from daqkf.reports.pages.networks import LARGE, Operator, sections
from daqkf.reports.pages.programs import Work
from daqkf.reports.pages.programs import sections as of_programs
from daqkf.reports.pages.rendering import breaking


@given(st.integers(1, 14), st.lists(st.tuples(st.integers(0, 13), st.integers(0, 13)), max_size=40))
def test_nodes_of_a_graph_do_not_overlap(count: int, pairs: list[tuple[int, int]]):
    nodes = {str(n): Node("node " * (n % 4 + 1), "") for n in range(count)}
    edges = [(str(a), str(b)) for a, b in pairs]
    found = layout(Graph("", "", nodes, edges))
    assert len(found.nodes) == count
    boxes = [
        (n.x - n.width / 2, n.x + n.width / 2, n.y - n.height / 2, n.y + n.height / 2)
        for n in found.nodes
    ]
    for number_, (left, right, top, bottom) in enumerate(boxes):
        assert left >= 0 and right <= found.width and top >= 0 and bottom <= found.height
        for low, high, above, below in boxes[:number_]:
            assert right <= low or high <= left or bottom <= above or below <= top
    y = {name: placed.y for name, placed in zip(nodes, found.nodes, strict=True)}
    for a, b in edges:
        if int(a) < int(b) < count:
            assert y[a] < y[b]


def test_axes_have_round_numbers():
    axis = Axis.over([0.3, 12.0], 0, 100)
    places, texts = zip(*axis.ticks(), strict=True)
    assert texts == ("0", "2", "4", "6", "8", "10", "12") or texts == ("0", "5", "10")
    assert list(places) == sorted(places) and min(places) >= 0 and max(places) <= 100
    near = Axis.over([17_729_280, 17_729_999], 0, 100).ticks()
    assert len({text for _, text in near}) == len(near)
    assert [number(value) for value in (1_234_567, 12_345, 1234, 0.5, 0)] == [
        *("1.23 M", "12.3 k", "1,234", "0.5", "0")
    ]


def test_names_break_at_their_points_and_are_escaped():
    found = breaking("layer.0.a_b/c < d.")
    assert found == "layer.<wbr>0.<wbr>a_<wbr>b/<wbr>c &lt; d."


@pytest.mark.parametrize(("count", "most"), [(0, 5), (1, 5), (5, 5), (1000, 7)])
def test_thinned_keeps_the_ends(count: int, most: int):
    found = thinned(count, most).tolist()
    assert len(found) == min(count, most)
    assert not count or (found[0], found[-1]) == (0, count - 1)


def operators(layers: int) -> list[Operator]:
    """Layers of a kernel of two steps, and what the host does behind it."""
    found = [Operator("input x", "input", "host", "it is read", ())]
    for layer in range(layers):
        steps = [("one", "product", False), ("two", "gelu", False)]
        last = found[-1].name
        found += [
            Operator(f"layers.{layer}.up", "kernel", "array", "constant", [last], steps),
            Operator(f"layers.{layer}.mean", "mean", "host", "no unit", [f"layers.{layer}.up"]),
            Operator(f"layers.{layer}.last", "add", "host", "no unit", [f"layers.{layer}.mean"]),
        ]
    return found


def test_large_networks_are_folded():
    small, large = (sections(operators(layers))[0].blocks for layers in (2, LARGE))
    graphs = [block for block in small if isinstance(block, Graph)]
    assert [len(graph.nodes) for graph in graphs] == [7, 9]
    assert [len(graph.edges) for graph in graphs] == [6, 8]
    graphs = [block for block in large if isinstance(block, Graph)]
    assert len(graphs[0].nodes) == 1 + LARGE and len(graphs) == 2 * (1 + LARGE)
    anchors = {graph.anchor for graph in graphs}
    targets = [node.target for graph in graphs for node in graph.nodes.values() if node.target]
    assert len(targets) == 2 * LARGE and set(targets) <= anchors


def test_units_take_what_the_array_takes():
    config = smallest_array(load_target("generic").machine, 64)
    for family in ("xcup", "ecp5"):
        each = module_logic(config, family)
        luts = sum(takes["luts"] for takes in each.values())
        assert 0 < luts <= logic_needs(config, family).luts + 1


def test_busy_elements_are_counted():
    config = smallest_array(load_target("tiny").machine, 16)
    work = Work("k", np.array([10, 30]), 4, 16, 4, 16 * 4, 100)
    cycles = work.cycles(config)
    utilisation = next(s for s in of_programs([work], config, 0) if s.anchor == "utilisation")
    tables = [block for block in utilisation.blocks if isinstance(block, Table)]
    (row,) = tables[0].rows
    assert row[1:4] == (cycles, 10, 30)
    assert str(row[4]) == f"{40 / (2 * cycles):.1%}"
