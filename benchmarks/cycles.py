# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compare cycles with those of a dense array of the same lanes, by sparsity and level set.

The cycles are the stream words of the longest element, or those of the post unit if it takes more.
Latency and collisions, about a percent, are left out; `daqkf demo` measures real cycles. The layer
is MiniLM's layer.0.ffn.up, pruned by magnitude. It has the 2 % more columns that outlier features
and channels need, which the dense array does without.
"""

from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from daqkf.compiler.options import level_set
from daqkf.hw_targets import load_target
from daqkf.hw_targets.functions import apply_function
from daqkf.passes.encode.channels import share_out_channels
from daqkf.passes.quantize.calibration import Columns, absmax_ranges, table_columns
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.studies.minilm.model import MiniLM, load_sentences

LAYER = "layer.0.ffn.up"
SPLIT = 0.02
LEVELS = ("int8", "uniform-31", "uniform-15", "codebook-15", "codebook-7", "uniform-3")
SPARSITIES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
SHIFTS = (0, 1, 3)


def main() -> None:
    """Print both tables."""
    model = MiniLM.load()
    weights, bias = model.linear(LAYER)
    x = model.activations(LAYER, load_sentences())
    sums = x @ weights + bias
    read = Columns.of(absmax_ranges(x), SPLIT)
    results = absmax_ranges(apply_function("gelu", sums))
    _, leave = table_columns("gelu", absmax_ranges(sums), results, SPLIT)
    machine = load_target("generic").machine
    dense = weights.size / machine.pes
    post = len(leave.repeat(results)) * machine.lanes / machine.post_lanes
    console = Console()

    def speedup(levels: np.ndarray, max_shift: int) -> float:
        columns = read.repeat(leave.repeat(levels, axis=1))
        _, words = share_out_channels(columns, replace(machine, max_shift=max_shift))
        return dense / max(words.max(), post)

    table = Table(title="dense cycles / cycles, by sparsity")
    for heading in ("levels", *(f"{sparsity:.0%}" for sparsity in SPARSITIES)):
        table.add_column(heading, justify="right")
    for name in LEVELS:
        row = []
        for sparsity in SPARSITIES:
            levels = fit(magnitude_prune(weights, sparsity), level_set(name)).levels
            row.append(f"{speedup(levels, machine.max_shift):.2f}x")
        table.add_row(name, *row)
    console.print(table)

    table = Table(title="the same at 70 % sparsity, by the largest gap step 2^max_shift")
    for heading in ("levels", *(f"max_shift {shift}" for shift in SHIFTS)):
        table.add_column(heading, justify="right")
    pruned = magnitude_prune(weights, 0.7)
    for name in LEVELS:
        levels = fit(pruned, level_set(name)).levels
        table.add_row(name, *(f"{speedup(levels, shift):.2f}x" for shift in SHIFTS))
    console.print(table)


if __name__ == "__main__":
    main()
