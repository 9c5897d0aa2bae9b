# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf eval`: what pruning and quantising do to the embeddings of MiniLM, and what they save.

Everything is chosen on calibration sentences and measured on others.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daqkf.hw_targets import load_target
from daqkf.hw_targets.machine import Machine
from daqkf.passes.files import write_atomically
from daqkf.reports.model import Curve
from daqkf.runtime.simulator import cache_folder
from daqkf.studies.minilm.model import Floats, MiniLM, load_calibration, load_evaluation
from daqkf.studies.minilm.pruning import Progress, prune_network
from daqkf.studies.minilm.quantization import IntegerNetwork, NetworkQuantizer, cosines
from daqkf.support.console import table_console
from daqkf.support.errors import DaqkfError

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Point:
    """A quantised network, measured on the evaluation sentences."""

    accuracy: float
    """Asked for: the mean cosine to W8A8."""
    cosine_static: float
    """Mean cosine to the embeddings of W8A8 of the same pruned model."""
    cosine_static_least: float
    cosine_float: float
    """Mean cosine to the embeddings of the float pruned model."""
    predicted: float
    """The cosine that the sensitivities predict for the errors of the weights."""
    magnitudes: float
    """Of a channel, on average."""
    bits: float
    sparsity: float
    """Zeros among the integer weights."""
    cycles: int
    """To run all 36 layers over a tile."""


@dataclass(frozen=True)
class Row:
    """Everything of one sparsity."""

    sparsity: float
    cosine_pruned: float
    """Mean cosine of the float pruned model to the dense one."""
    static_cosine_float: float
    """Mean cosine of W8A8 to the float pruned model."""
    static_cycles: int
    points: list[Point]

    def curve(self) -> Curve:
        """The cosine to W8A8 that cycles buy."""
        points = [(point.cycles, point.cosine_static) for point in self.points]
        return Curve(f"{self.sparsity:.0%} zeros", points, self.static_cycles)


def evaluate(
    sparsity: float,
    accuracies: Sequence[float],
    machine: Machine,
    *,
    cache: Path | None,
    progress: Progress = lambda stage: None,
) -> Row:
    """Prune, quantise and measure MiniLM at one sparsity.

    Raises:
        DaqkfError: an accuracy that no choice of levels reaches.
        ModelNotFoundError: the MiniLM package is not installed.
    """
    model, calibration, sentences = MiniLM.load(), load_calibration(), load_evaluation()
    pruned = prune_network(
        model, calibration, sparsity, cache=cache, progress=lambda name: progress(f"prune {name}")
    )

    def quantizer_for(accuracy: float) -> NetworkQuantizer:
        """What may be chosen from depends on what accuracy is worth."""
        return NetworkQuantizer(
            pruned,
            calibration,
            machine,
            loss=1 - accuracy,
            progress=lambda name: progress(f"quantise {name} for {accuracy:g}"),
        )

    quantizer = quantizer_for(accuracies[0])
    static = quantizer.static()
    references = static.encode(pruned, sentences), pruned.encode(sentences)
    points = []
    for number, accuracy in enumerate(accuracies):
        quantizer = quantizer_for(accuracy) if number else quantizer
        progress(f"choose for {accuracy:g}")
        network = quantizer.tuned(accuracy)
        points.append(_measure(network, pruned, accuracy, sentences, references, machine))
    return Row(
        sparsity=sparsity,
        cosine_pruned=float(cosines(references[1], model.encode(sentences)).mean()),
        static_cosine_float=float(cosines(*references).mean()),
        static_cycles=static.cycles(machine),
        points=points,
    )


def _measure(
    network: IntegerNetwork,
    pruned: MiniLM,
    accuracy: float,
    sentences: Sequence[str],
    references: tuple[Floats, Floats],
    machine: Machine,
) -> Point:
    embeddings = network.encode(pruned, sentences)
    to_static, to_float = (cosines(embeddings, reference) for reference in references)
    magnitudes, bits = network.magnitudes()
    return Point(
        accuracy=accuracy,
        cosine_static=float(to_static.mean()),
        cosine_static_least=float(to_static.min()),
        cosine_float=float(to_float.mean()),
        predicted=1 - network.predicted_loss,
        magnitudes=magnitudes,
        bits=bits,
        sparsity=network.sparsity(),
        cycles=network.cycles(machine),
    )


def run_eval(
    folder: Path, sparsities: Sequence[float], accuracies: Sequence[float], target: str
) -> int:
    """Evaluate at each sparsity; print a table, write `eval.json` and a picture.

    What is done is written after each sparsity, so an interruption loses only the one at work.

    Raises:
        DaqkfError: bad numbers, or an accuracy out of reach.
    """
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    for name, values, low in (("sparsity", sparsities, 0.0), ("accuracy", accuracies, 0.5)):
        for value in values:
            if not low <= value < 1:
                raise DaqkfError(f"--{name} must be {low:g} or above and below 1, not {value:g}")
    machine = load_target(target).machine
    rows: list[Row] = []
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        for sparsity in sparsities:
            task = bar.add_task(f"{sparsity:.0%}")

            def show(stage: str, task=task, sparsity: float = sparsity) -> None:
                bar.update(task, description=f"{sparsity:.0%} zeros: {stage}")

            rows.append(
                evaluate(sparsity, accuracies, machine, cache=cache_folder(), progress=show)
            )
            bar.remove_task(task)
            _write(folder, rows, target)
    table_console().print(table(rows))
    print(f"{folder}: eval.json, eval.png")
    return 0


def _write(folder: Path, rows: Sequence[Row], target: str) -> None:
    from daqkf.reports.figures import frontier_figure, rendered

    curves = [row.curve() for row in rows]
    facts = {"model": "all-MiniLM-L6-v2", "target": target, "rows": [asdict(row) for row in rows]}
    write_atomically(folder / "eval.json", (json.dumps(facts, indent=2) + "\n").encode())
    write_atomically(folder / "eval.png", rendered(frontier_figure(curves), "png"))


def table(rows: Sequence[Row]) -> "Table":
    """The rows as a table: one line for W8A8 and one for each accuracy asked for."""
    from rich.table import Table

    found = Table(
        title="MiniLM's embeddings with integer kernels; cosines are means over the evaluation "
        "sentences"
    )
    for heading in (
        "zeros",
        "pruned to dense",
        "levels for",
        "to W8A8",
        "  least",
        "to float pruned",
        "magnitudes",
        "bits",
        "zeros after",
        "cycles a tile",
        "W8A8 / ours",
    ):
        found.add_column(heading, justify="right")
    for row in rows:
        found.add_row(
            f"{row.sparsity:.0%}",
            f"{row.cosine_pruned:.4f}",
            "W8A8",
            "1",
            "1",
            f"{row.static_cosine_float:.4f}",
            "127",
            "8",
            f"{row.sparsity:.1%}",
            f"{row.static_cycles:,}",
            "1",
        )
        for point in row.points:
            found.add_row(
                "",
                "",
                f"{point.accuracy:g}",
                f"{point.cosine_static:.4f}",
                f"{point.cosine_static_least:.4f}",
                f"{point.cosine_float:.4f}",
                f"{point.magnitudes:.1f}",
                f"{point.bits:.2f}",
                f"{point.sparsity:.1%}",
                f"{point.cycles:,}",
                f"{row.static_cycles / point.cycles:.2f}x",
            )
        found.add_section()
    return found
