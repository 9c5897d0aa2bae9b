# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf compile`: what it does with its options."""

import argparse
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from rich.console import Console

    from daqkf.hw_targets.timing import Speed


def shared_options(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of layers and of networks alike, by the names of `Options`."""
    names = "split", "accuracy", "cycles", "target", "family", "fabric", "index_bits"
    return {name: getattr(options, name) for name in names}


def compile_layer(
    options: argparse.Namespace,
    weights: Any,
    bias: NDArray[Any] | None,
    calibration: NDArray[Any] | None,
    console: "Console",
) -> int:
    """Compile one layer, or print what accuracy costs; returns the exit code."""
    import daqkf
    from daqkf.compiler.layer import pareto
    from daqkf.hw_targets import load_target

    if options.pareto:
        if calibration is None:
            raise DaqkfError("--pareto needs --calibration")
        sparsity = options.sparsity[0] if options.sparsity else None
        choices = pareto(weights, calibration, sparsity=sparsity, target=options.target)
        pes = load_target(options.target).machine.pes
        print_front(
            ("SQNR of the outputs", "cosine", "cycles a tile", "levels"),
            (
                (
                    f"{-10 * math.log10(max(choice.noise, 1e-30)):.1f} dB",
                    f"{1 / math.sqrt(1 + choice.noise):.5f}",
                    f"{-(-choice.words // pes):,}",
                    f"{choice.level_set.kind}-{choice.level_set.magnitudes}",
                )
                for choice in choices
            ),
        )
        return 0
    design = daqkf.compile(
        weights,
        bias=bias,
        activation=options.activation,
        sparsity=options.sparsity,
        levels=options.levels.split(","),
        error_budget=options.error_budget,
        calibration=calibration,
        **shared_options(options),
        on_stage=lambda name, _: console.print(f"[dim]{name}"),
    )
    design.save(options.output)
    words = design.summary()["stream_words"]
    families = ", ".join(design.config.families)
    most = f"{max(words)} stream words on the longest of {len(words)} PEs"
    console.print(f"{options.output}: {most} ({families})", markup=False)
    console.print(storage_line(design.summary()))
    console.print(speed_line(design.speed, options.clock), highlight=False)
    return 0


def storage_line(facts: dict[str, Any]) -> str:
    """A line on what streams take."""
    bits = facts["bits_per_weight"]
    others = ", ".join(
        f"{label} {bits[name]:.2f}"
        for name, label in (("bitmap", "a bitmap"), ("csr", "CSR"), ("bound", "the entropy bound"))
    )
    if "all" in bits:
        times = bits["stream"] / max(bits["entropy"], 1e-9)
        return (
            f"streams in memory: {bits['stream']:.2f} bits per non-zero weight, {bits['all']:.2f} "
            f"per weight, {times:.3f} times the entropy of the levels ({others}); FIFOs of "
            f"{facts['stream_ramb36']:g} RAMB36"
        )
    return (
        f"streams: {bits['stream']:.2f} bits per non-zero weight ({others}), "
        f"{facts['stream_ramb36']:g} RAMB36"
    )


def speed_line(speed: "Speed", megahertz: float) -> str:
    """A line on throughput and latency at a clock, and on what binds."""
    seconds = speed.cycles / (1e6 * megahertz)
    bound = {
        "streams bind": speed.streams,
        "the post unit binds": speed.post,
        "the memory ports bind": speed.memory,
    }
    binding = max(bound, key=lambda what: bound[what])
    share = bound[binding] / max(speed.cycles, 1)
    return (
        f"at {megahertz:g} MHz: {speed.lanes / seconds:,.0f} tokens/s, {1e6 * seconds:,.1f} µs a "
        f"tile of {speed.lanes}; {binding} in {share:.0%} of the cycles"
    )


def print_front(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print a table of what accuracies cost."""
    from rich.table import Table

    from daqkf.support.tables import print_table

    table = Table()
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    print_table(table)
