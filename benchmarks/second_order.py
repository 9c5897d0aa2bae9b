# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Find what each step of second-order pruning and quantisation gains on MiniLM.

Pruning: the tables have the cosine of the float embeddings to those of the dense model, on
sentences that were not used for calibration, and the processor time. All methods use the same
calibration sentences. For single layers, the tables have the squared error of the outputs as a
share of their variance.

Levels: the model is the one that `pruned_model` makes, with its weights in few levels. The tables
have the cosine of the embeddings to those with 8-bit weights; activations are floats. Each row is a
start, which gives levels and scales. Then either the biases are corrected, or `compensate` improves
the levels before the biases are corrected.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from daqkf.dialects.spaq import LevelSet
from daqkf.passes.progress import Step
from daqkf.passes.quantize.accuracy import cosines
from daqkf.passes.quantize.compensation import compensate
from daqkf.passes.quantize.input_statistics import InputStatistics
from daqkf.passes.quantize.levels import Fit, fit
from daqkf.passes.quantize.pruning import magnitude_prune, second_order_prune
from daqkf.studies.minilm.model import Floats, MiniLM, load_calibration, load_evaluation
from daqkf.studies.minilm.network import pruned_model

STATIC = LevelSet.of("uniform", 127)
"""What everything is compared with: 8 bits for every weight."""

SINGLE = ("layer.2.ffn.up", "layer.2.ffn.down")

MAGNITUDES = (3, 7)

BLOCK = 64
"""The number of input features whose zeros are chosen at once in a pass of elimination."""

type Prune = Callable[[str, Floats, InputStatistics], NDArray[np.floating]]
"""A function from a layer's name, weights [K, N] and input statistics to weights with zeros."""


def eliminate(weights: Floats, hessian: NDArray[np.float64], sparsity: float) -> Floats:
    """Prune in one pass over the input features of weights [K, N].

    This is the method of Frantar and Alistarh, "SparseGPT", 2023. The later features make up for
    the loss of a feature as well as they can. Zeros are chosen block by block, and each block gets
    its share of them.
    """
    # Row k of the factor is the scaled row k of the inverse Hessian of the features from k on.
    factor = np.linalg.cholesky(np.linalg.inv(hessian)).T
    result = weights.astype(np.float64)
    for start in range(0, len(result), BLOCK):
        end = min(start + BLOCK, len(result))
        own = np.diag(factor)[start:end, np.newaxis]
        cost = np.square(result[start:end] / own)
        zeros = np.argsort(cost, axis=None)[: round(sparsity * cost.size)]
        gone = np.zeros(cost.shape, bool)
        gone.reshape(-1)[zeros] = True
        lost = np.empty(cost.shape)
        for i, k in enumerate(range(start, end)):
            lost[i] = np.where(gone[i], result[k], 0) / own[i]
            result[k:end] -= np.outer(factor[k, k:end], lost[i])
        result[start:end][gone] = 0  # Rounding may have left small values.
        result[end:] -= factor[start:end, end:].T @ lost
    return result.astype(np.float32)


def corrected(
    model: MiniLM, sentences: Sequence[str], prune: Prune, progress: Callable[[str], None]
) -> MiniLM:
    """Prune layer by layer, each for the inputs that the pruned layers before it leave.

    The biases are corrected, too.
    """
    layers: dict[str, tuple[Floats, Floats]] = {}

    def visit(name: str, x: Floats) -> Callable[[Floats], Floats]:
        weights, bias = model.linear(name)
        statistics = InputStatistics.of(x)
        pruned = prune(name, weights, statistics).astype(np.float32)
        shifted = (bias + statistics.bias_shift(weights, pruned)).astype(np.float32)
        layers[name] = pruned, shifted
        progress(name)
        return lambda inputs: inputs @ pruned + shifted

    model.sweep(sentences, visit)
    return model.with_linears(layers)


def methods(
    model: MiniLM, calibration: Sequence[str], sparsity: float
) -> dict[str, Callable[[Callable[[str], None]], MiniLM]]:
    """For each method a function that prunes the model and reports progress to its argument."""

    def by_magnitude(progress: Callable[[str], None]) -> MiniLM:
        layers = {}
        for name in model.linear_names:
            weights, bias = model.linear(name)
            layers[name] = magnitude_prune(weights, sparsity), bias
            progress(name)
        return model.with_linears(layers)

    by_layer: dict[str, Prune] = {
        "magnitude, biases corrected": lambda _, w, s: magnitude_prune(w, sparsity),
        "one pass of elimination": lambda _, w, s: eliminate(w, s.hessian(), sparsity),
        "second_order_prune": lambda _, w, s: second_order_prune(w, s.hessian(), sparsity),
    }
    return {
        "magnitude": by_magnitude,
        **{name: partial(corrected, model, calibration, each) for name, each in by_layer.items()},
        "the whole network: pruned_model": lambda progress: pruned_model(
            model, calibration, sparsity, _counted(progress)
        ),
    }


def _counted(progress: Callable[[str], None]) -> Callable[[str], None]:
    """Only those steps are told of that prune a layer."""
    return lambda step: (
        progress(step) if isinstance(step, Step) and step.kind.startswith("prune ") else None
    )


def pruning_table(
    model: MiniLM,
    calibration: Sequence[str],
    sentences: Sequence[str],
    sparsity: float,
    progress: Progress,
) -> Table:
    """The table of the cosines to the dense model, and of the times, for all methods."""
    table = Table(title=f"{sparsity:.0%} zeros, {len(calibration)} calibration sentences")
    for heading in ("", "zeros", "mean cosine", "least", "1 - mean", "processor s"):
        table.add_column(heading, justify="right" if heading else "left")
    dense = model.encode(sentences)
    first = None
    for name, prune in methods(model, calibration, sparsity).items():
        task = progress.add_task(f"{sparsity:.0%}: {name}", total=len(model.linear_names))
        start = time.process_time()
        pruned = prune(lambda _, task=task: progress.advance(task))
        seconds = time.process_time() - start
        found = cosines(pruned.encode(sentences), dense)
        loss = 1 - found.mean()
        first = first or loss
        matrices = [pruned.linear(layer)[0] for layer in pruned.linear_names]
        zeros = 1 - sum(map(np.count_nonzero, matrices)) / sum(w.size for w in matrices)
        table.add_row(
            name,
            f"{zeros:.2%}",
            f"{found.mean():.4f}",
            f"{found.min():.4f}",
            f"{loss / first:.3f}x",
            f"{seconds:.1f}",
        )
    return table


def errors(
    weights: Floats,
    approximation: NDArray[np.floating],
    statistics: InputStatistics,
    *inputs: Floats,
) -> NDArray[np.float64]:
    """The squared error of the outputs as a share of their variance, for each of the inputs [T, K].

    The bias is corrected for the inputs of the statistics.
    """
    shift = statistics.bias_shift(weights, approximation)
    found = [
        np.square(x @ (weights - approximation) - shift).mean() / (x @ weights).var(axis=0).mean()
        for x in inputs
    ]
    return np.array(found)


def single_table(
    model: MiniLM, calibration: Sequence[str], sentences: Sequence[str], sparsity: float
) -> Table:
    """The table of the errors of single layers, whose inputs are those of the dense model."""
    table = Table(title=f"single layers, {sparsity:.0%} zeros, biases corrected")
    for heading in ("layer", "method"):
        table.add_column(heading)
    for heading in ("error, calibrated", "to one pass", "error, others", "to one pass"):
        table.add_column(heading, justify="right")
    for name in SINGLE:
        weights, _ = model.linear(name)
        seen, unseen = (model.activations(name, some) for some in (calibration, sentences))
        statistics = InputStatistics.of(seen)
        hessian = statistics.hessian()
        pruned = {
            "magnitude": magnitude_prune(weights, sparsity),
            "one pass": eliminate(weights, hessian, sparsity),
            "second_order_prune": second_order_prune(weights, hessian, sparsity),
        }
        base = errors(weights, pruned["one pass"], statistics, seen, unseen)
        for method, approximation in pruned.items():
            own = errors(weights, approximation, statistics, seen, unseen)
            cells = [
                cell
                for e, b in zip(own, base, strict=True)
                for cell in (f"{e:.5f}", f"{e / b:.2f}x")
            ]
            table.add_row(name, method, *cells)
    return table


@dataclass(frozen=True)
class Approximated:
    """A layer in few levels."""

    fit: Fit
    shift: NDArray[np.float64]
    """The shift that corrects the bias, [N]."""

    def applied(self, bias: Floats, *, correct: bool) -> tuple[Floats, Floats]:
        """The weights and the bias."""
        weights = (self.fit.levels * self.fit.scales).astype(np.float32)
        return weights, (bias + self.shift * correct).astype(np.float32)


def starts(weights: Floats, importance: NDArray[np.float64], magnitudes: int) -> dict[str, Fit]:
    """Levels to start from; importance [K] is the diagonal of the Hessian."""
    uniform, codebook = LevelSet.of("uniform", magnitudes), LevelSet.of("codebook", magnitudes)
    return {
        "uniform step": fit(weights, uniform),
        "uniform step, Hessian-weighted": fit(weights, uniform, importance=importance),
        "Lloyd-Max codebook": fit(weights, codebook),
        "Lloyd-Max codebook, Hessian-weighted": fit(weights, codebook, importance=importance),
    }


def levels_table(
    model: MiniLM,
    calibration: Sequence[str],
    sentences: Sequence[str],
    magnitudes: int,
    progress: Progress,
) -> Table:
    """The table of the cosines of the model with few levels to the one with 8-bit weights."""
    nearest: dict[str, dict[str, Approximated]] = {}
    descended: dict[str, dict[str, Approximated]] = {}
    task = progress.add_task(f"{magnitudes} magnitudes", total=len(model.linear_names))

    def visit(name: str, x: Floats) -> Callable[[Floats], Floats]:
        weights, bias = model.linear(name)
        statistics = InputStatistics.of(x)
        hessian = statistics.hessian()

        def approximated(found: Fit) -> Approximated:
            return Approximated(found, statistics.bias_shift(weights, found.levels * found.scales))

        for start, found in starts(weights, np.diag(hessian), magnitudes).items():
            nearest.setdefault(start, {})[name] = approximated(found)
            better = compensate(weights, hessian, found)
            descended.setdefault(start, {})[name] = approximated(better)
        progress.advance(task)
        return lambda inputs: inputs @ weights + bias

    model.sweep(calibration, visit)
    fine = {}
    for name in model.linear_names:
        weights, bias = model.linear(name)
        found = fit(weights, STATIC)
        fine[name] = (found.levels * found.scales).astype(np.float32), bias
    reference = model.with_linears(fine).encode(sentences)

    def cosine(layers: Mapping[str, Approximated], *, correct: bool) -> str:
        linears = {
            name: layer.applied(model.linear(name)[1], correct=correct)
            for name, layer in layers.items()
        }
        return f"{cosines(model.with_linears(linears).encode(sentences), reference).mean():.4f}"

    table = Table(title=f"{magnitudes} magnitudes: mean cosine to 8-bit weights")
    table.add_column("start")
    for heading in ("nearest levels", "+ biases corrected", "+ compensate + biases"):
        table.add_column(heading, justify="right")
    for start in nearest:
        table.add_row(
            start,
            cosine(nearest[start], correct=False),
            cosine(nearest[start], correct=True),
            cosine(descended[start], correct=True),
        )
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sparsity",
        type=float,
        nargs="+",
        default=[0.5, 0.7],
        help="shares of zeros to prune to (default: 0.5 0.7)",
    )
    parser.add_argument(
        "--sentences",
        type=int,
        default=200,
        help="that calibrate the pruning methods (default: 200; levels take all)",
    )
    parser.add_argument("--only", choices=("pruning", "levels"), help="one half (default: both)")
    arguments = parser.parse_args()
    if not all(0 < sparsity < 1 for sparsity in arguments.sparsity):
        parser.error("a sparsity must be between 0 and 1")
    calibration, sentences = load_calibration(), load_evaluation()
    if not 1 <= arguments.sentences <= len(calibration):
        parser.error(f"there are 1..{len(calibration)} sentences for calibration")
    model, console = MiniLM.load(), Console()
    some = calibration[: arguments.sentences]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        if arguments.only != "levels":
            for sparsity in arguments.sparsity:
                console.print(pruning_table(model, some, sentences, sparsity, progress))
                console.print(single_table(model, some, sentences, sparsity))
        if arguments.only != "pruning":
            task = progress.add_task("pruning to 50 %", total=len(model.linear_names))
            advance = _counted(lambda _: progress.advance(task))
            pruned = pruned_model(model, calibration, 0.5, advance)
            for magnitudes in MAGNITUDES:
                console.print(levels_table(pruned, calibration, sentences, magnitudes, progress))


if __name__ == "__main__":
    main()
