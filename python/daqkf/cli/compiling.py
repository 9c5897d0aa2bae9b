# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf compile`: what it does with its options."""

import argparse
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from rich.console import Console

MINILM = "minilm"

_LOSS = 0.01
"""1 - cosine, around which MiniLM's options lie where no accuracy is given."""


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
        _print_front(
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
        split=options.split,
        accuracy=options.accuracy,
        cycles=options.cycles,
        target=options.target,
        family=options.family,
        fabric=options.fabric,
        index_bits=options.index_bits,
        on_stage=lambda name, _: console.print(f"[dim]{name}"),
    )
    design.save(options.output)
    words = design.summary()["stream_words"]
    families = ", ".join(design.config.families)
    most = f"{max(words)} stream words on the longest of {len(words)} PEs"
    console.print(f"{options.output}: {most} ({families})")
    console.print(_storage(design.summary()))
    return 0


def _storage(facts: dict[str, Any]) -> str:
    bits = facts["bits_per_weight"]
    others = ", ".join(
        f"{label} {bits[name]:.2f}"
        for name, label in (("bitmap", "a bitmap"), ("csr", "CSR"), ("bound", "the entropy bound"))
    )
    return (
        f"streams: {bits['stream']:.2f} bits per non-zero weight ({others}), "
        f"{facts['stream_ramb36']:g} RAMB36"
    )


def compile_network(options: argparse.Namespace, console: "Console") -> int:
    """Compile all linear layers of MiniLM, or print what accuracy costs; returns the exit code."""
    from daqkf.hw_targets import load_target
    from daqkf.passes.encode.cost_model import Elements
    from daqkf.studies.minilm import compilation

    for name in ("bias", "activation", "calibration"):
        if getattr(options, name) is not None:
            raise DaqkfError(f"--{name} is for single layers; MiniLM brings its own")
    sparsity = options.sparsity[0] if options.sparsity else 0.0
    try:
        accuracy = None if options.accuracy is None else float(options.accuracy)
    except ValueError:
        accuracy = math.nan
    if accuracy is not None and not 0.5 <= accuracy < 1:
        raise DaqkfError(f"--accuracy must be a cosine of 0.5 to 1, not {options.accuracy}")
    with console.status("load") as status:
        found = compilation.quantizer(
            sparsity,
            load_target(options.target).machine,
            _LOSS if accuracy is None else 1 - accuracy,
            lambda stage: status.update(stage),
            Elements.of(options.family, options.fabric, options.index_bits),
        )
        if options.pareto:
            status.stop()
            rows = ((f"{cosine:.5f}", f"{cycles:,}") for cosine, cycles in compilation.front(found))
            _print_front(("predicted cosine", "cycles a tile"), rows)
            return 0
        status.update("choose levels")
        if options.cycles is not None:
            network = found.within(options.cycles)
        else:
            network = found.tuned(1 - _LOSS if accuracy is None else accuracy)
        status.update("lower to the array")
        facts = compilation.write_network(
            network, options.target, Path(options.output), found.elements
        )
    console.print(
        f"{options.output}: {len(network.modules)} programs, {facts['cycles']:,} cycles a tile, "
        f"{facts['bits']:.2f} bits a weight"
    )
    console.print(_storage(facts))
    return 0


def _print_front(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
