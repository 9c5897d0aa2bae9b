# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Find what windowed and delta indices save, and what they cost.

The matrices are the first of each kind in MiniLM, pruned by magnitude, on 4 PEs. The first tables
have the bits per non-zero weight: of the stream with whole addresses; of the stream with the
`index_bits` that `auto` chooses; of a bitmap and of compressed sparse rows, which need a multiplier
and a unit that unpacks them; and the entropy bound. Then follow the cycles that the coding adds,
and the block RAM of the stream memories. `--cells` synthesises an element of 8 lanes for 1536
features with each coding, for UltraScale+. `--place` places and routes arrays of one element of 4
lanes on ECP5. Both take minutes.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from daqkf.compiler.options import level_set
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig, smallest_array
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.words import stream_word
from daqkf.lowering.hdl.circuit import circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.lowering.rtl.array import TOP, build_array
from daqkf.passes.encode.index_coding import Storage, Streams, choose
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.studies.minilm.model import MiniLM
from daqkf.synthesis import synthesize

LEVELS = ("uniform-7", "codebook-15", "int8")
SPARSITIES = (0.0, 0.3, 0.5, 0.7)
KINDS = ("attention.query", "ffn.up", "ffn.down")
FEATURES, DEPTH = 1536, 8192
SMALL = 250
"""The number of features of an array that is placed."""


def machines() -> dict[str, Machine]:
    """The machines by name."""
    base = load_target("generic").machine
    words = {f"running_sum-{items}": replace(base, items=items, max_shift=0) for items in (2, 4, 8)}
    return {"multiply": replace(base, families=("multiply",)), **words}


def storage(machine: Machine, levels: str, model: MiniLM) -> Iterator[tuple[str, ...]]:
    """The rows of the table of storage, for each kind of layer and sparsity."""
    for kind in KINDS:
        name = next(name for name in model.linear_names if name.endswith(f".{kind}"))
        for sparsity in SPARSITIES:
            weights = magnitude_prune(model.linear(name)[0], sparsity)
            kernel = fit(weights, level_set(levels)).levels
            whole = Streams.of([kernel], machine)
            coded = Streams.of([kernel], choose([kernel], machine))
            other = Storage.of(kernel)
            sizes = whole.bits, coded.bits, other.bitmap, other.csr, other.bound
            yield (
                kind,
                f"{sparsity:.0%}",
                str(coded.machine.index_bits or "whole"),
                *(f"{size / other.nonzeros:.2f}" for size in sizes),
                f"{coded.cycles / whole.cycles - 1:+.1%}",
                f"{whole.ramb18s / 2:g} > {coded.ramb18s / 2:g}",
            )


def cells(names: list[str]) -> Iterator[tuple[str, ...]]:
    """The rows of the table of elements with whole addresses, and with indices of fewer bits."""
    for name in names:
        machine = machines()[name]
        family = machine.family(0)
        base = None
        for bits in (0, 3, 4) if family == "multiply" else (0, 7, 8):
            config = element(replace(machine, index_bits=bits))
            verilog = emit_verilog(circuit_module(build_array(config)))
            counts = synthesize(verilog, f"daqkf_{family}_element", "xcup").counts
            base = base or counts.logic_cells
            yield (
                name,
                str(bits or "whole"),
                str(stream_word(config, 0).width),
                str(counts.logic_cells),
                f"{counts.logic_cells / base - 1:+.1%}",
                str(counts.flip_flops),
                f"{counts.block_rams_36k:g}",
            )


def clocks(names: list[str]) -> Iterator[tuple[str, ...]]:
    """The rows of the table of clock frequencies: arrays of one element on ECP5, placed once."""
    for name in names:
        machine = replace(machines()[name], lanes=4)
        for bits in (0, 4 if machine.family(0) == "multiply" else 6):
            config = element(replace(machine, index_bits=bits), SMALL, 1024)
            verilog = emit_verilog(circuit_module(build_array(config)))
            placement = synthesize(verilog, TOP, "ecp5", place=True).placement
            assert placement is not None
            yield name, str(bits or "whole"), f"{placement.fmax_mhz:.1f}"


def element(machine: Machine, features: int = FEATURES, depth: int = DEPTH) -> ArrayConfig:
    """An array of one element with the widths of a layer."""
    config = smallest_array(replace(machine, pes=1), features)
    sizes: dict[str, Any] = {"stream_depth": depth, "parameter_depth": 64, "result_depth": 64}
    if machine.family(0) != "multiply":
        sizes |= {"running_sum_width": 16, "accumulator_width": 20, "sum_width": 21}
    else:
        sizes |= {"accumulator_width": 26, "sum_width": 26}
    return replace(config, **sizes)


def table(title: str, headings: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Table:
    """A table with these rows."""
    made = Table(title=title)
    for number, heading in enumerate(headings):
        made.add_column(heading, justify="right" if number else "left")
    for row in rows:
        made.add_row(*row)
    return made


def main() -> None:
    """Print the tables of storage, or of cells, or of clock frequencies."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--array", nargs="+", choices=machines(), default=list(machines()))
    parser.add_argument("--levels", nargs="+", default=LEVELS, help="of running sums")
    parser.add_argument("--cells", action="store_true", help="logic cells of elements instead")
    parser.add_argument("--place", action="store_true", help="clocks on ECP5 instead")
    options = parser.parse_args()
    console = Console(width=120)
    if options.cells:
        headings = ("element", "index bits", "word", "cells", "", "flip-flops", "RAMB36")
        console.print(
            table(f"8 lanes, K = {FEATURES}, {DEPTH} words", headings, cells(options.array))
        )
        return
    if options.place:
        title = f"4 lanes, K = {SMALL}, ECP5"
        console.print(table(title, ("element", "index bits", "MHz"), clocks(options.array)))
        return
    model = MiniLM.load()
    headings = ("layer", "zeros", "index bits", "whole", "coded", "bitmap", "CSR", "bound",
                "cycles", "RAMB36")  # fmt: skip
    for name in options.array:
        for levels in ("int8",) if name.startswith("multiply") else options.levels:
            rows = storage(machines()[name], levels, model)
            console.print(table(f"{name}, {levels}: bits per non-zero weight", headings, rows))


if __name__ == "__main__":
    main()
