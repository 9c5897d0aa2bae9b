# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf eval`: what pruning and quantising do to the embeddings of MiniLM, and what they save.

Everything is chosen on calibration sentences and measured on others.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.network import compile_network, prune_file
from daqkf.compiler.options import NetworkOptions
from daqkf.hw_targets import load_target
from daqkf.passes.files import write_atomically
from daqkf.passes.progress import Progress, Step, silent, within
from daqkf.passes.quantize.accuracy import Array, cosines
from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.reports.model import Curve
from daqkf.studies.minilm.model import MiniLM, load_calibration, load_evaluation
from daqkf.studies.minilm.network import SentenceEmbedding, embeddings, inputs_of, network_of
from daqkf.support.console import showing
from daqkf.support.errors import DaqkfError
from daqkf.support.tables import print_table

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class _Sentences:
    calibration: int
    evaluation: int


_KEYS = 2
"""Columns of the table that say what a row is of."""

QUICK = _Sentences(140, 32)
"""Those of `--quick`."""


@dataclass(frozen=True)
class Point:
    """A quantised network, measured on the evaluation sentences."""

    accuracy: float
    """Asked for: the mean cosine to the float pruned model."""
    cosine_float: float
    """Mean cosine to the embeddings of the float pruned model."""
    cosine_float_least: float
    cosine_dense: float
    """Mean cosine to the embeddings of the float dense model."""
    magnitudes: float
    """Of a channel, on average."""
    bits: float
    sparsity: float
    """Zeros among the integer weights."""
    cycles: int
    """To run all kernels over a tile."""


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
        """The cosine to the float pruned model that cycles buy."""
        chosen, alone = (
            [(p.cycles, p.cosine_float) for p in self.points if bool(p.accuracy) is kind]
            for kind in (True, False)
        )
        return Curve(f"{self.sparsity:.0%} zeros", chosen, self.static_cycles, alone)


def evaluate(
    sparsity: float,
    accuracies: Sequence[float],
    target: str,
    *,
    levels: str | None = None,
    sentences: int | None = None,
    distillation: int = 0,
    measured: int | None = None,
    progress: Progress = silent,
    steps: Steps = NOTHING_KEPT,
) -> Row:
    """Prune, quantise and measure MiniLM at one sparsity.

    Args:
        sparsity: of all kernels together.
        accuracies: cosines to the float pruned model, for each of which levels are chosen.
        target: whose cycles count.
        levels: a level set that all weights have, as one point more, whose accuracy is 0.
        sentences: how many calibrate; by default all that there are.
        distillation: see `NetworkOptions`; nothing is trained where nothing is pruned.
        measured: sentences that it is measured on; by default all that there are.
        progress: told of each step.
        steps: where finished steps are kept, and found.

    Raises:
        DaqkfError: an accuracy that no choice of levels reaches.
        ModelNotFoundError: the MiniLM package is not installed.
    """
    model, measure = MiniLM.load(), SentenceEmbedding()
    dense = network_of(model)
    calibration = inputs_of(model, load_calibration()[:sentences])
    inputs = inputs_of(model, load_evaluation()[:measured])
    training = distillation if sparsity else 0
    pruned = prune_file(dense, calibration, sparsity, measure, progress, training, steps)
    reference, to_dense = embeddings(pruned, inputs), embeddings(dense, inputs)

    def point(what: str, options: NetworkOptions) -> Point:
        told = within(progress, what)

        def compiled(inner: Steps) -> Point:
            network = compile_network(
                pruned,
                replace(options, target=target, measure=measure),
                calibration=calibration,
                progress=told,
                steps=inner,
            )
            found = embeddings(network, inputs, told)
            return _measured(float(options.accuracy or 0), network, found, reference, to_dense)

        return steps.do(["point", what], compiled)

    static = point("W8A8", NetworkOptions(second_order=False))
    points = [point(levels, NetworkOptions(levels=levels))] if levels else []
    points += [point(f"{each:g}", NetworkOptions(accuracy=each)) for each in accuracies]
    return Row(
        sparsity=sparsity,
        cosine_pruned=float(cosines(reference, to_dense).mean()),
        static_cosine_float=static.cosine_float,
        static_cycles=static.cycles,
        points=points,
    )


def _measured(
    accuracy: float, network: CompiledNetwork, found: Array, reference: Array, dense: Array
) -> Point:
    to_float = cosines(found, reference)
    magnitudes, bits = network.magnitudes()
    return Point(
        accuracy=accuracy,
        cosine_float=float(to_float.mean()),
        cosine_float_least=float(to_float.min()),
        cosine_dense=float(cosines(found, dense).mean()),
        magnitudes=magnitudes,
        bits=bits,
        sparsity=network.sparsity(),
        cycles=network.cycles,
    )


def run_eval(
    folder: Path,
    sparsities: Sequence[float],
    accuracies: Sequence[float],
    target: str,
    levels: str | None = None,
    sentences: int | None = None,
    distillation: int = 0,
    *,
    quick: bool = False,
    resume: bool = False,
) -> int:
    """Evaluate at each sparsity; print a table, write `eval.json` and a picture.

    What is done is written after each sparsity. Finished steps are kept in the cache until the end,
    so that `resume` goes on behind the last one of a run that was interrupted.

    Args:
        folder: for the files.
        sparsities: see `evaluate`, as for what follows.
        accuracies: see there.
        target: see there.
        levels: see there.
        sentences: see there.
        distillation: see there.
        quick: take few sentences, for a first impression.
        resume: go on where an interrupted run of the same options has stopped.

    Raises:
        DaqkfError: bad numbers, or an accuracy out of reach.
    """
    from rich.console import Console

    from daqkf.support.kept import Kept

    _require_numbers(sparsities, accuracies, sentences, distillation)
    machine = load_target(target).machine  # refuses unknown ones before any work
    if quick:
        sentences = min(sentences or QUICK.calibration, QUICK.calibration)
        print(
            f"quick: {sentences} of {len(load_calibration())} sentences calibrate, and "
            f"{QUICK.evaluation} of {len(load_evaluation())} are measured on",
            file=sys.stderr,
        )
    measured = QUICK.evaluation if quick else None
    texts = [*load_calibration()[:sentences], *load_evaluation()[:measured]]
    asked = [accuracies, levels, distillation, machine, texts]
    steps = Kept.of("eval", [sparsities, *asked], resume=resume)
    rows: list[Row] = []
    with showing(Console(stderr=True), "read MiniLM") as progress:
        for number, sparsity in enumerate(sparsities):
            share = f"{sparsity:.0%}"
            what = Step("evaluate", number + 1, len(sparsities), "shares of zeros", share)

            def row(inner: Steps, sparsity: float = sparsity, what: Step = what) -> Row:
                progress(what)
                return evaluate(
                    sparsity,
                    accuracies,
                    target,
                    levels=levels,
                    sentences=sentences,
                    distillation=distillation,
                    measured=measured,
                    progress=within(progress, what),
                    steps=inner,
                )

            rows.append(steps.do(["row", sparsity], row))
            _write(folder, rows, target, quick)
    steps.clear()
    print_table(table(rows, quick), keys=_KEYS)
    print(f"{folder}: eval.json, eval.png")
    return 0


def _require_numbers(
    sparsities: Sequence[float],
    accuracies: Sequence[float],
    sentences: int | None,
    distillation: int,
) -> None:
    for name, values, low in (("sparsity", sparsities, 0.0), ("accuracy", accuracies, 0.5)):
        for value in values:
            if not low <= value < 1:
                raise DaqkfError(f"--{name} must be {low:g} or above and below 1, not {value:g}")
    if sentences is not None and sentences < 1:
        raise DaqkfError(f"--sentences must be at least 1, not {sentences}")
    if distillation < 0:
        raise DaqkfError(f"--distillation must be at least 0, not {distillation}")


def _write(folder: Path, rows: Sequence[Row], target: str, quick: bool) -> None:
    from daqkf.reports.figures import frontier_figure, rendered

    curves = [row.curve() for row in rows]
    facts = {
        "model": "all-MiniLM-L6-v2",
        "target": target,
        "quick": quick,
        "rows": [asdict(row) for row in rows],
    }
    write_atomically(folder / "eval.json", (json.dumps(facts, indent=2) + "\n").encode())
    write_atomically(folder / "eval.png", rendered(frontier_figure(curves), "png"))


def table(rows: Sequence[Row], quick: bool = False) -> "Table":
    """The rows as a table: one line for W8A8 and one for each accuracy asked for."""
    from rich.table import Table

    found = Table(
        title="MiniLM's embeddings with integer kernels; cosines are means over the evaluation "
        "sentences" + f" ({QUICK.evaluation} of them: quick)" * quick
    )
    for heading in (
        "zeros",
        "levels for",
        "pruned to dense",
        "to float pruned",
        "least to float pruned",
        "to dense",
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
            "W8A8",
            f"{row.cosine_pruned:.4f}",
            f"{row.static_cosine_float:.4f}",
            "",
            "",
            "127",
            "8",
            f"{row.sparsity:.1%}",
            f"{row.static_cycles:,}",
            "1",
        )
        for point in row.points:
            found.add_row(
                f"{row.sparsity:.0%}",
                f"{point.accuracy:g}" if point.accuracy else "one set",
                "",
                f"{point.cosine_float:.4f}",
                f"{point.cosine_float_least:.4f}",
                f"{point.cosine_dense:.4f}",
                f"{point.magnitudes:.1f}",
                f"{point.bits:.2f}",
                f"{point.sparsity:.1%}",
                f"{point.cycles:,}",
                f"{row.static_cycles / point.cycles:.2f}x",
            )
        found.add_section()
    return found
