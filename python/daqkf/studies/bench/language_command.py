# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf bench language` plans engines for language models, prints tables and keeps figures."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daqkf.passes.files import write_atomically
from daqkf.passes.progress import Progress, Step, within
from daqkf.planning.decoding import DECODING_CAUSES
from daqkf.studies.bench import language
from daqkf.studies.bench.device import Bench
from daqkf.studies.bench.language import Sampled, Weights, layer_levels
from daqkf.studies.bench.language_layer import LayerRun, simulate_layer
from daqkf.studies.bench.language_speed import BOUNDS, OURS, Situation, Speed, others, ours
from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from rich.table import Table

DEVICES = ("xck26", "xcvu9p", "xcu280")
"""Those that are planned for if none are named."""

MODELS = ("smollm2", "llama2-7b")
"""The models, if none are named."""


def run_language_bench(
    output: Path | None,
    plot: Path | None,
    *,
    models: Sequence[str],
    devices: Sequence[str],
    sparsities: Sequence[float],
    magnitudes: Sequence[int],
    asked: Situation,
    clock: float,
    use: float,
    one_token: bool,
) -> int:
    """Plan engines for every model on every device; print a table, write JSON and a picture.

    The JSON is rewritten after each plan, so that an interruption loses no more than one.

    Args:
        output: the JSON file.
        plot: the picture.
        models: of `language.MODELS`.
        devices: by name.
        sparsities: shares of zeros.
        magnitudes: of the levels.
        asked: what the models are to do.
        clock: of all engines, in Hz.
        use: the share of each resource that is taken at most.
        one_token: whether kernels of a layer are simulated on the first engine of each model.

    Raises:
        DaqkfError: a number or a name is bad, or no engine fits.
    """
    from rich.console import Console

    from daqkf.support.console import showing
    from daqkf.support.tables import print_table, table_console

    kind = _checked(plot, models, sparsities, magnitudes, asked, use)
    benches = [Bench.of(name, clock, use) for name in devices]
    rows: list[Speed] = []
    runs: dict[str, LayerRun] = {}
    cases = list(product(models, sparsities, magnitudes))
    with showing(Console(stderr=True), "plan for language models") as progress:
        for number, (model, sparsity, magnitude) in enumerate(cases):
            inner = within(progress, Step("plan", number + 1, len(cases), "models", model))
            sampled = Sampled.of(Weights.of(model), sparsity, magnitude, inner)
            for bench in benches:
                found = ours(sampled, bench, asked, inner)
                if not any((row.model, row.device) == (model, found.device) for row in rows):
                    rows += others(found, sampled, bench, asked, inner)
                rows.append(found)
                _write(output, rows, runs, asked, clock)
            if one_token and model not in runs:
                runs[model] = _simulated(sampled, rows, inner)
                _write(output, rows, runs, asked, clock)
    print_table(table(rows, asked, clock), table_console(), keys=3)
    for model, run in runs.items():
        print(
            f"{model}, {', '.join(run.kernels)}, in RTL: {run.bytes_per_token:,} bytes "
            f"({run.bits_per_weight:.3f} bits a weight) in {run.cycles:,.0f} cycles, planned "
            f"{run.predicted:,.0f}; streams take {run.share:.1%} of what the memory gives"
        )
    if plot:
        from daqkf.studies.bench.language_picture import picture

        write_atomically(plot, picture(rows, kind))
    return 0


def _checked(
    plot: Path | None,
    models: Sequence[str],
    sparsities: Sequence[float],
    magnitudes: Sequence[int],
    asked: Situation,
    use: float,
) -> str:
    """The format of the picture, where all options are good."""
    for model in models:
        if model not in language.MODELS:
            raise DaqkfError(f"unknown model '{model}' (known: {', '.join(language.MODELS)})")
    for sparsity in sparsities:
        if not 0 <= sparsity < 1:
            raise DaqkfError(f"--sparsity must be 0 or above and below 1, not {sparsity:g}")
    for magnitude in magnitudes:
        if not 1 <= magnitude <= 127:
            raise DaqkfError(f"--magnitudes must be 1 to 127, not {magnitude}")
    least = {"context": 0, "prompt": 1, "sequences": 1, "cache_bits": 1}
    for name, low in least.items():
        if getattr(asked, name) < low:
            option = name.replace("_", "-")
            raise DaqkfError(f"--{option} must be {low} or more, not {getattr(asked, name)}")
    if not 0 <= asked.host < 1:
        raise DaqkfError(f"--host must be 0 to 1,000,000 microseconds, not {1e6 * asked.host:g}")
    if not 0 <= asked.for_prompts < 1:
        raise DaqkfError(f"--for-prompts must be 0 or above and below 1, not {asked.for_prompts:g}")
    if not 0 < use <= 1:
        raise DaqkfError(f"--use must be a share above 0 and up to 1, not {use:g}")
    kind = plot.suffix.removeprefix(".") if plot else ""
    if plot and kind not in ("svg", "png"):
        raise DaqkfError(f"{plot}: a picture is svg or png")
    return kind


def _simulated(sampled: Sampled, rows: Sequence[Speed], progress: Progress) -> LayerRun:
    """Kernels of a layer on the first engine that was planned for the model."""
    row = next(row for row in rows if (row.model, row.array) == (sampled.weights.name, OURS))
    assert row.decode is not None
    plan = row.decode
    progress("make the levels of a layer")
    kernels = layer_levels(sampled.weights, sampled.sparsity, sampled.magnitudes)
    own = {name: levels[:, :: plan.engines] for name, levels in kernels.items()}
    behind = plan.memory.behind(plan.engines * plan.config.memory_ports)
    progress("simulate a layer")
    return simulate_layer(own, plan.config, behind.timing(plan.clock, plan.config))


def _write(
    output: Path | None,
    rows: Sequence[Speed],
    runs: dict[str, LayerRun],
    asked: Situation,
    clock: float,
) -> None:
    if output:
        text = json.dumps(facts(rows, runs, asked, clock), indent=2) + "\n"
        write_atomically(output, text.encode())


def facts(
    rows: Sequence[Speed], runs: dict[str, LayerRun], asked: Situation, clock: float
) -> dict[str, Any]:
    """All figures as values for JSON."""
    works = {row.model: row.decode.work for row in rows if row.decode is not None}
    return {
        "clock_mhz": clock / 1e6,
        "asked": asdict(asked),
        "weights_per_token": {model: work.weights for model, work in works.items()},
        "rows": [row.facts() | {"to_bound_4": to_bound(row, rows)} for row in rows],
        "layers": {model: run.facts() for model, run in runs.items()},
    }


def to_bound(row: Speed, rows: Sequence[Speed]) -> float | None:
    """Tokens a second by those of 4 dense bits that use all of the bandwidth."""
    for other in rows:
        if (other.array, other.model, other.device) == ("bound-4", row.model, row.device):
            return row.decode_rate / other.decode_rate
    return None


def table(rows: Sequence[Speed], asked: Situation, clock: float) -> "Table":
    """A row for each array, for each model on each device."""
    from rich.table import Table

    found = Table(
        title=f"language models at {clock / 1e6:g} MHz, {asked.sequences} in flight with "
        f"{asked.context} earlier tokens, whose keys and values have {asked.cache_bits} bits; a "
        f"prompt of {asked.prompt} tokens; attention is the host's, and its time is not here",
        title_justify="left",
    )
    for heading in ("model", "device", "array"):
        found.add_column(heading)
    for heading in ("tokens/s", "to 4 bits", "bits/weight", "MB/token", "of bandwidth", "GB/s"):
        found.add_column(heading, justify="right")
    for heading in ("prompt tokens/s", "first token", "LUTs", "RAM", "Ultra", "DSPs"):
        found.add_column(heading, justify="right")
    found.add_column("engines")
    found.add_column("most other cycles")
    for row in rows:
        found.add_row(*_cells(row, rows))
    return found


def _cells(row: Speed, rows: Sequence[Speed]) -> list[str]:
    times, plan = to_bound(row, rows), row.decode
    array = row.array
    if array not in BOUNDS:
        array = f"{array}, {row.sparsity:.0%}/{row.magnitudes}" if array == OURS else array
    cells = [
        *(row.model, row.device, array),
        f"{row.decode_rate:,.2f}" if row.decode_rate < 100 else f"{row.decode_rate:,.0f}",
        f"{times:.2f}x" if times else "",
        f"{row.bits_per_weight:.2f}",
        f"{row.bytes_per_token / 1e6:,.1f}",
        f"{row.bandwidth:.1%}",
        f"{row.bytes_per_second / 1e9:,.1f}",
        f"{row.prompt_rate:,.0f}" if row.prompt_rate else "",
        f"{row.first_token:,.3f} s" if row.first_token else "",
    ]
    if plan is None:
        return [*cells, *[""] * 6]
    shares = plan.device.shares(plan.needs)
    names = ("luts", "block_rams_18k", "ultra_rams", "dsps")
    engines = f"{plan.engines}×{plan.config.pes}×{plan.config.lanes}"
    causes = plan.pace.causes
    most = max(
        (name for name in causes if name not in ("lanes", "memory")), key=lambda name: causes[name]
    )
    return [
        *cells,
        *(f"{shares.get(name, 0):.0%}" for name in names),
        engines,
        f"{DECODING_CAUSES[most]} ({causes[most] / plan.pace.cycles:.0%})",
    ]
