# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Find what the seven-product form costs and saves, against eight products of equal throughput.

The first table is about a layer of MiniLM, by sparsity. It has what becomes of the features of all
pairs of outputs; the words, relative to those of a direct form (two features a word, eight
products) and of a dense one; and the words that channels in their own order would take. The second
table is the cost model's choice between the families.

The third table has pairs of lanes that take two features and two outputs a cycle, as yosys maps
them:

- `direct`: eight products;
- `strassen`: what the family builds, which is seven products and a third row for direct words;
- `strassen plain`: the same without the third row;
- `winograd plain`: Winograd's form, which has fewer additions and wider factors;
- `strassen late`: the seven products are accumulated apart, and combined once for each output; the
  combination, which groups of lanes could share, is not counted.

With --prices, whole elements of all families are counted: the figures of `hw_targets/prices`.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from daqkf.compiler.options import level_set
from daqkf.hw_targets import Counts, families, load_target
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import ITEM_COUNTS
from daqkf.hw_targets.prices import load_prices
from daqkf.lowering.hdl.circuit import Circuit, Signal, circuit_module, mux
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.rtl import lockstep
from daqkf.lowering.rtl.element import build_element
from daqkf.lowering.rtl.families.strassen import build_pair
from daqkf.passes.encode import strassen
from daqkf.passes.encode.cost_model import rank
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.studies.minilm.model import MiniLM
from daqkf.synthesis import synthesize

LAYER = "layer.0.ffn.up"
LEVELS = "int8"
FAMILIES = ("running_sum", "strassen")
PRICED_FAMILIES = ("strassen", "multiply", "multiply modes", "dense")
"""The families whose prices are printed. `modes` means words of two 4-bit weights or one of 8."""
SPARSITIES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
FABRICS = ("xcup-dsp", "xcup")
MULTIPLIERS = {"xcup-dsp": "packed", "xcup": "booth"}
"""The kind of multiplier in the lanes that multiply, on each fabric."""

CONFIG = ArrayConfig(
    pes=1,
    lanes=8,
    post_lanes=1,
    max_shift=3,
    activation_depth=512,
    stream_depth=2048,
    parameter_depth=512,
    result_depth=512,
    running_sum_width=18,
    accumulator_width=22,
    sum_width=23,
)
WIDE = 20
"""The width in bits of every intermediate sum of products."""

type Signals = Sequence[Signal]
type Keep = Callable[[Signal], Signal]
"""A function that puts a pipeline register behind a signal."""


def pair(
    name: str,
    bits: Sequence[int],
    sides: Callable[[Signals, Signals, Keep], Signals],
    terms: Callable[[Signals, Keep], Signals],
    side_bits: int = 9,
) -> Circuit:
    """Build a pair of lanes of sides, products with weights of `bits`, and accumulated terms.

    `sides` gets the rows (a11, a21) and (a12, a22), extended to `side_bits`.
    """
    c = Circuit(name)
    c.clock("clk")
    enable, fresh = c.input("enable", 1), c.input("fresh", 1)

    def keep(signal: Signal) -> Signal:
        return c.delay(signal, "kept", enable)

    rows = [[c.input(f"x{row}{token}", 8).sext(side_bits) for token in range(2)] for row in (0, 1)]
    products = [
        keep(keep(side).sext(WIDE) * c.input(f"w{i}", width).sext(WIDE))
        for i, (side, width) in enumerate(zip(sides(*rows, keep), bits, strict=True))
    ]
    hold = c.input("hold_enable", 1)
    for i, term in enumerate(terms(products, keep)):
        total = c.register(f"total{i}", CONFIG.accumulator_width)
        added = keep(term).sext(total.width)
        total.drive(mux(fresh, c.const(0, total.width), total) + added, enable)
        c.output(f"held{i}", c.delay(total, f"held_sum{i}", hold))
    c.finish()
    return c


def direct_pair() -> Circuit:
    """Build a pair of lanes with eight products."""
    return pair(
        "direct",
        [8] * 8,
        lambda a, b, _: [a[0], b[0], a[0], b[0], a[1], b[1], a[1], b[1]],
        lambda p, _: [p[i] + p[i + 1] for i in range(0, 8, 2)],
    )


def strassen_sides(a: Signals, b: Signals, _: Keep) -> Signals:
    """Strassen's sides of the activations."""
    return [a[0] + b[1], a[1] + b[1], a[0], b[1], a[0] + b[0], a[1] - a[0], b[0] - b[1]]


STRASSEN_BITS = (9, 8, 9, 9, 8, 9, 9)


def strassen_terms(m: Signals, keep: Keep) -> Signals:
    """Strassen's four sums."""
    return [
        keep(m[0] - m[4]) + keep(m[3] + m[6]),
        keep(m[2] + m[4]),
        keep(m[1] + m[3]),
        keep(m[0] - m[1]) + keep(m[2] + m[5]),
    ]


def winograd_pair() -> Circuit:
    """Build Winograd's form; its S2 and S4 need three and four activations, and so ten bits."""

    def sides(a: Signals, b: Signals, keep: Keep) -> Signals:
        a, b, s1 = [keep(x) for x in a], [keep(x) for x in b], keep(a[1] + b[1])
        s2, s3 = keep(s1 - a[0]), keep(a[0] - a[1])
        a, b, s1 = [keep(x) for x in a], [keep(x) for x in b], keep(s1)
        return [a[0], b[0], b[0] - s2, b[1], s1, s2, s3]

    def terms(p: Signals, keep: Keep) -> Signals:
        u1, u2 = keep(p[0] + p[1]), keep(p[0] + p[5])
        p = [keep(product) for product in p]
        u3, u4 = keep(u2 + p[6]), keep(u2 + p[4])
        p = [keep(product) for product in p]
        return [keep(u1), u4 + p[2], u3 - p[3], u3 + p[4]]

    return pair("winograd_plain", (8, 8, 8, 10, 9, 10, 9), sides, terms, side_bits=10)


def model_table() -> Table:
    """The table of the cost model: cycles times area of strassen, relative to running_sum."""
    weights = MiniLM.load().linear(LAYER)[0]
    machine = replace(load_target("generic").machine, post_lanes=8)
    dsp = load_prices("xcup-dsp")
    worths = {
        "in LUTs": load_prices("xcup"),
        f"DSP = {dsp.dsp_cells:.0f} cells": dsp,
        "DSPs idle": replace(dsp, dsp_cells=0),
    }
    table = Table(title="strassen to running_sum (below 1: picked)")
    for heading in ("levels", "zeros", "cycles", *worths):
        table.add_column(heading, justify="right")
    for name in (LEVELS, "uniform-15"):
        for sparsity in SPARSITIES:
            levels = fit(magnitude_prune(weights, sparsity), level_set(name)).levels
            ratios: list[float] = []
            for prices in worths.values():
                found = {e.family: e for e in rank([levels], machine, prices, FAMILIES)}
                own, other = found["strassen"], found["running_sum"]
                if not ratios:
                    ratios.append(own.cycles / other.cycles)
                ratios.append(own.price / other.price)
            table.add_row(name, f"{sparsity:.0%}", *(f"{ratio:.2f}" for ratio in ratios))
    return table


def pairs_table() -> Table:
    """The table of cells and DSP blocks of pairs of lanes."""
    plain = "strassen_plain", STRASSEN_BITS, strassen_sides
    circuits = {
        "direct": direct_pair(),
        "strassen": build_pair(CONFIG),
        "strassen plain": pair(*plain, strassen_terms),
        "winograd plain": winograd_pair(),
        "strassen late": pair("strassen_late", *plain[1:], lambda products, _: products),
    }
    table = Table(title="two lanes: logic cells + DSP blocks")
    table.add_column("circuit")
    for heading in FABRICS:
        table.add_column(heading, justify="right")
    for name, circuit in circuits.items():
        found = [counts(circuit, fabric) for fabric in FABRICS]
        table.add_row(name, *(f"{count.logic_cells} + {count.dsps}" for count in found))
    return table


def prices_table() -> Table:
    """The table of the figures of `hw_targets/prices`: elements of two and of four lanes."""
    table = Table(title="elements: logic cells, and DSP blocks a lane")
    for heading in ("family", "fabric", "an element", "and a lane", "DSPs a lane", "shared"):
        table.add_column(heading, justify="right")
    for family in PRICED_FAMILIES:
        for fabric in FABRICS:
            config = element_config(family, fabric)
            two, four = (element_counts(replace(config, lanes=n), fabric) for n in (2, 4))
            control = lockstep.build_control(config) if config.lockstep else None
            shared = counts(control, fabric).logic_cells if control else 0
            lane = (four.logic_cells - two.logic_cells) / 2
            table.add_row(
                family,
                fabric,
                f"{two.logic_cells - 2 * lane:.0f}",
                f"{lane:.1f}",
                f"{two.dsps / 2:.1f}",
                f"{shared}",
            )
    return table


def words_of(family: str) -> tuple[list[float], list[float]]:
    """Cells of an element and of a lane: [constant, per item, per bit of a shift]."""
    shifts = (0,) if family == "ternary" else (0, 1, 3)
    rows: list[tuple[int, int, int]] = []
    found: list[tuple[float, float]] = []
    for items in ITEM_COUNTS:
        for most in shifts:
            config = replace(element_config(family, "xcup"), items=items, max_shift=most)
            two, four = (
                element_counts(replace(config, lanes=lanes), "xcup").logic_cells for lanes in (2, 4)
            )
            lane = (four - two) / 2
            rows.append((1, items, most.bit_length()))
            found.append((two - 2 * lane, lane))
    fitted = np.linalg.lstsq(np.array(rows), np.array(found))[0]
    return fitted[:, 0].tolist(), fitted[:, 1].tolist()


def words_prices_table() -> Table:
    """The table of the figures of `hw_targets/prices` by the items and the shift bits of a word."""
    table = Table(title="logic cells: a constant, for each item, for each bit of a shift")
    for heading in ("family", "an element", "and a lane"):
        table.add_column(heading, justify="right")
    for family in ("running_sum", "ordered_sum", "ternary", "semiring"):
        figures = (", ".join(f"{cells:.1f}" for cells in part) for part in words_of(family))
        table.add_row(family, *figures)
    return table


def element_config(family: str, fabric: str) -> ArrayConfig:
    """An array of the family for the fabric."""
    family, *modes = family.split()
    modular = families.FAMILIES[family].modular
    packed = MULTIPLIERS[fabric] == "packed"
    return replace(
        CONFIG,
        families=(family,),
        multiplier="dsp" if modes and packed else MULTIPLIERS[fabric],
        weight_bits=(4, 8) if modes else (8,),
        accumulator_width=CONFIG.sum_width if modular else CONFIG.accumulator_width,
    )


def element_counts(config: ArrayConfig, fabric: str) -> Counts:
    """The resources of an element, with its control and its ports to the memories."""
    if config.lockstep:
        return counts(lockstep.build_element(config), fabric)
    return counts(build_element(config, config.family(0)), fabric)


def counts(circuit: Circuit, fabric: str) -> Counts:
    """The resources of a circuit."""
    return synthesize(emit_verilog(circuit_module(circuit)), circuit.name, fabric).counts


def words_table() -> Table:
    """The table of what becomes of the features of a layer's pairs of outputs."""
    weights = MiniLM.load().linear(LAYER)[0]
    table = Table(title=f"{LAYER}, {LEVELS}: shares of the features of all pairs of outputs")
    for heading in (
        "zeros",
        "skipped",
        "direct",
        "7 prod.",
        "words",
        "of direct",
        "of dense",
        "in order",
    ):
        table.add_column(heading, justify="right")
    for sparsity in SPARSITIES:
        levels = fit(magnitude_prune(weights, sparsity), level_set(LEVELS)).levels
        layout = strassen.Layout.of(levels[:, strassen.pair(levels).ravel()])
        every = levels.size // 2
        direct = 3 * int(layout.direct.sum())
        placed = len(layout.index)
        words = int(layout.counts.sum())
        plain = int(np.maximum(-(-np.bincount(layout.pair) // 2), 1).sum())
        table.add_row(
            f"{1 - np.count_nonzero(levels) / levels.size:.0%}",
            f"{1 - placed / every:.1%}",
            f"{direct / every:.1%}",
            f"{(placed - direct) / every:.1%}",
            str(words),
            f"{words / plain:.3f}",
            f"{2 * words / every:.3f}",
            f"{strassen.cost(levels).sum() / words:.3f}",
        )
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prices", action="store_true", help="also synthesise whole elements")
    options = parser.parse_args()
    console = Console()
    console.print(words_table())
    console.print(model_table())
    console.print(pairs_table())
    if options.prices:
        console.print(prices_table())
        console.print(words_prices_table())


if __name__ == "__main__":
    main()
