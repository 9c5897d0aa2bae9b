# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Find how much of a run the lanes idle, for MiniLM's 36 matrices, and how long scheduling takes.

Idle is 1 - words / (P · cycles), with the words of all streams, and the cycles from the start until
the post unit has taken the last output. `shares` is the part of it that comes from the longest
stream, which is longer than the mean. `post` is the part that comes from the post unit: elements
wait for it, and it has a queue at the end. Each row has the worst of the six layers of a kind,
without extra columns for outliers.

`post_lanes` is the smallest power of two with which the lanes idle for less than 2 %. With fewer
post lanes, the run waits for the post unit.

With --times, the tables show how long the pass and `daqkf-opt -p dfke-schedule` take.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from daqkf.compiler.options import level_set
from daqkf.hw_targets import load_target
from daqkf.hw_targets.machine import Machine
from daqkf.passes.dfke_schedule import schedule
from daqkf.passes.encode import running_sum
from daqkf.passes.encode.balance import longest_first, run_cycles, share_out
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.studies.minilm.model import MiniLM

LEVELS = ("uniform-15", "codebook-15", "int8")
SPARSITIES = (0.0, 0.3, 0.5, 0.7)
PES = (4, 8, 16)
LANES = 8
POST_LANES = (1, 2, 4, 8)
GOAL = 0.02
LARGE = {
    "pes": 4,
    "lanes": LANES,
    "post_lanes": 1,
    "max_shift": 3,
    "activation_depth": 4096,
    "stream_depth": 1 << 22,
    "parameter_depth": 4096,
    "result_depth": 16384,
}
"""The options of a machine that holds the largest of these shapes."""
KERNEL = """
func.func @layer(%x: tensor<?x{K}xi8>) -> tensor<?x{N}xi8> {{
  %y = dfke.kernel(%k = %x) : tensor<?x{K}xi8> -> tensor<?x{N}xi8> {{
    %w = spaq.constant dense<"0x{W}"> : tensor<{K}x{N}xi8>
    %0 = spaq.matmul %k, %w : (tensor<?x{K}xi8>, tensor<{K}x{N}xi8>) -> tensor<?x{N}xi32>
    %1 = spaq.requantize %0 multiplier dense<3> : tensor<{N}xi32> shift dense<9> : tensor<{N}xi32>
      : tensor<?x{N}xi32> -> tensor<?x{N}xi8>
    dfke.yield %1 : tensor<?x{N}xi8>
  }}
  func.return %y : tensor<?x{N}xi8>
}}
"""
SHAPES = ((384, 384), (1536, 384), (384, 1536), (4095, 1024), (1024, 4096), (4095, 4096))


@dataclass(frozen=True)
class Idle:
    """The shares of a run in which lanes idle."""

    total: float
    shares: float
    post: float

    @classmethod
    def of(cls, costs: NDArray[np.int64], shares: list[NDArray[np.int64]], turn: int) -> "Idle":
        """Compute them for a schedule in which the post unit takes `turn` cycles for an output."""
        cycles = run_cycles(costs, shares, turn)
        longest = max(int(costs[share].sum()) for share in shares)
        words = costs.sum() / len(shares)
        return cls(1 - words / cycles, (longest - words) / cycles, 1 - longest / cycles)


def kinds(model: MiniLM) -> dict[str, list[str]]:
    """The layers of each kind."""
    found: dict[str, list[str]] = {}
    for name in model.linear_names:
        found.setdefault(name.split(".", 2)[2], []).append(name)
    return found


def costs_of(model: MiniLM, name: str, levels: str, sparsity: float) -> NDArray[np.int64]:
    """The stream words of each output, [N]."""
    weights = magnitude_prune(model.linear(name)[0], sparsity)
    return running_sum.cost(fit(weights, level_set(levels)).levels, 3)


def scheduled(costs: list[NDArray[np.int64]], pes: int) -> tuple[int, list[Idle]]:
    """The `post_lanes` that matrices need, and how much the lanes idle in each."""
    lanes, found = 1, [Idle(1, 0, 0)]
    for lanes in POST_LANES:
        turn = LANES // lanes
        found = [Idle.of(c, share_out(c, pes, turn), turn) for c in costs]
        if max(idle.total for idle in found) < GOAL:
            break
    return lanes, found


def idle(model: MiniLM, levels: str, sparsity: float) -> Table:
    """The table for a level set and a sparsity."""
    table = Table(title=f"{levels}, {sparsity:.0%} zeros: idle lanes, worst of six matrices")
    for heading in ("layer", "PEs", "post_lanes", "longest first", "ours", "shares", "post"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for kind, names in kinds(model).items():
        costs = [costs_of(model, name, levels, sparsity) for name in names]
        for pes in PES:
            lanes, ours = scheduled(costs, pes)
            turn = LANES // lanes
            before = max(Idle.of(c, longest_first(c, pes), turn).total for c in costs)
            worst = max(ours, key=lambda found: found.total)
            figures = [before, worst.total, worst.shares, worst.post]
            table.add_row(kind, str(pes), str(lanes), *(f"{100 * f:.2f} %" for f in figures))
    return table


def tile(model: MiniLM, levels: str, sparsity: float) -> Table:
    """The table of a tile's cycles on the generic target; results leave beside the next tile."""
    machine = load_target("generic").machine
    turn = machine.post_cycles
    table = Table(title=f"{levels}, {sparsity:.0%} zeros: cycles of a tile, generic target")
    for heading in ("layer", "load", "run", "run / tile"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for kind, names in kinds(model).items():
        load = len(model.linear(names[0])[0])
        costs = costs_of(model, names[0], levels, sparsity)
        run = run_cycles(costs, share_out(costs, machine.pes, turn), turn)
        cells = [f"{cycles:,}" for cycles in (load, run)]
        table.add_row(kind, *cells, f"{run / (load + run):.1%}")
    return table


def random_levels(shape: tuple[int, int]) -> NDArray[np.int8]:
    """Random levels [K, N] within ±15, of which 70 % are zero."""
    rng = np.random.default_rng(0)
    levels = rng.integers(-15, 16, shape, np.int8)
    levels[rng.random(shape) < 0.7] = 0
    return levels


def seconds(shape: tuple[int, int], folder: str) -> tuple[float, float]:
    """The seconds of the schedule alone, and of `daqkf-opt -p dfke-schedule`, with its parsing."""
    levels = random_levels(shape)
    start = time.perf_counter()
    schedule(levels, Machine(**LARGE))
    alone = time.perf_counter() - start
    features, outputs = shape
    source = Path(folder, "layer.mlir")
    source.write_text(KERNEL.format(K=features, N=outputs, W=levels.tobytes().hex().upper()))
    target = Path(folder, "large.toml")
    lines = [f"{name} = {value}" for name, value in LARGE.items()]
    target.write_text("\n".join(["[machine]", *lines]))
    command = [str(Path(sys.executable).with_name("daqkf-opt")), str(source)]
    command += ["-p", f'dfke-schedule{{target="{target}"}}']
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return alone, time.perf_counter() - start


def times() -> Table:
    """The table of how long scheduling takes."""
    table = Table(title="seconds to schedule, 70 % zeros, 4 PEs")
    for heading in ("K x N", "the pass", "daqkf-opt"):
        table.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for shape in SHAPES:
            table.add_row("{} x {}".format(*shape), *(f"{s:.2f}" for s in seconds(shape, folder)))
    return table


def main() -> None:
    """Print how much lanes idle, or how long scheduling takes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--times", action="store_true", help="how long scheduling takes")
    console = Console(width=100)
    if parser.parse_args().times:
        console.print(times())
        return
    model = MiniLM.load()
    for levels in LEVELS:
        for sparsity in SPARSITIES:
            console.print(idle(model, levels, sparsity))
    console.print(tile(model, "uniform-15", 0.7))


if __name__ == "__main__":
    main()
