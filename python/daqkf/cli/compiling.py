# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf compile`: what it does with its options."""

import argparse
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from daqkf.compiler.file_suffixes import MINILM, is_named, is_network
from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from rich.console import Console

    from daqkf.compiler.design import Design
    from daqkf.hw_targets.timing import Speed
    from daqkf.planning import Plan
    from daqkf.planning.fitting import Wish

_CLOCK = 100.0
"""In MHz, for arrays of a target."""


def wish_of(options: argparse.Namespace) -> "Wish | None":
    """The device that is compiled for, checked; None if it is a target alone.

    Raises:
        DaqkfError: options of a device without one, with `--pareto`, or that cannot be planned for.
    """
    if options.device is None:
        for name in ("external_memory", "tokens", "objective"):
            if getattr(options, name) is not None:
                raise DaqkfError(f"--{name.replace('_', '-')} is for --device")
        return None
    if options.pareto:
        raise DaqkfError("--pareto is for a target; it takes no --device")
    from daqkf.planning.fitting import wish

    return wish(
        shared_options(options),
        options.device,
        options.external_memory,
        options.tokens,
        objective=options.objective,
        clock=options.clock and 1e6 * options.clock,
    )


def target_of(wish: "Wish | None", source: str) -> str:
    """The target of a compilation that names none."""
    if wish is not None:
        from daqkf.planning.fitting import TARGET

        return TARGET
    if not is_network(source) or source == MINILM:
        return "generic"
    from daqkf.compiler.language_models import default_target
    from daqkf.compiler.named_models import named_model

    return default_target(named_model(source).source if is_named(source) else source)


def default_clock(wish: "Wish | None") -> float:
    """The clock in MHz that speeds are predicted for, if nobody names one."""
    return _CLOCK if wish is None else wish.clock / 1e6


def print_plan(found: "Plan") -> None:
    """Print the plan of a device, and how many of the engine that was compiled are on it."""
    from daqkf.support.tables import print_table

    for table in found.tables():
        print_table(table)
    if found.engines > 1:
        others = "".join(
            f", {count} of them with activation_memory={style} in their target"
            for style, count in found.engines_by_memory.items()
            if style != found.config.activation_memory
        )
        print(f"the plan has {found.engines} engines side by side{others}; the folder has one")


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

    def compiled(**named: Any) -> "Design":
        return daqkf.compile(
            weights,
            bias=bias,
            activation=options.activation,
            sparsity=options.sparsity,
            levels=options.levels.split(","),
            error_budget=options.error_budget,
            calibration=calibration,
            **shared_options(options) | named,
            on_stage=lambda name, _: console.print(f"[dim]{name}"),
        )

    design, found = compiled(), None
    if options.wish:
        from daqkf.planning.fitting import target_of

        found = options.wish.plan(design)
        design = compiled(target=target_of(found, design))
    design.save(options.output)
    if found:
        print_plan(found)
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
