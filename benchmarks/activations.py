# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compare ways to quantise activations in the MiniLM encoder, whose weights are int8.

Each row has the mean and the least cosine of the sentence embeddings to those of the float model.
Ranges are calibrated on a part of the calibration sentences, because their inputs are kept in
memory. Weights have 127 magnitudes per output channel, and are not pruned.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from daqkf.dialects.spaq import LevelSet
from daqkf.hw_targets.functions import apply_function
from daqkf.hw_targets.numerics import look_up, quantize
from daqkf.passes.quantize.calibration import (
    HEADROOM,
    Columns,
    absmax_ranges,
    clipped_ranges,
    table_columns,
)
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.quantization import activation_table
from daqkf.studies.minilm.model import MiniLM, load_calibration, load_evaluation

FUNCTION = "gelu"
CALIBRATION_STEP = 7
"""One of this many calibration sentences is used."""

Floats = NDArray[np.floating]
Stage = Callable[[str, Floats], Floats]
"""A function that passes a layer's input or output (by the layer's name) through int8."""


@dataclass(frozen=True)
class Observed:
    """The inputs and outputs [tokens, features] of every linear layer on the calibration set."""

    inputs: Mapping[str, Floats]
    outputs: Mapping[str, Floats]

    @classmethod
    def on(cls, model: MiniLM, sentences: list[str]) -> "Observed":
        """Observe the model on these sentences, one at a time, so that there is no padding."""
        inputs: dict[str, list[Floats]] = {name: [] for name in model.linear_names}
        outputs: dict[str, list[Floats]] = {name: [] for name in model.linear_names}

        def linear(name: str, x: Floats) -> Floats:
            weights, bias = model.linear(name)
            y = x @ weights + bias
            inputs[name].append(x)
            outputs[name].append(y)
            return y

        model.encode(sentences, batch_size=1, linear=linear)
        return cls(
            {name: np.concatenate(parts) for name, parts in inputs.items()},
            {name: np.concatenate(parts) for name, parts in outputs.items()},
        )


def through(columns: Mapping[str, Columns]) -> Stage:
    """A stage that quantises to these int8 columns and back to floats."""
    return lambda name, x: columns[name].dequantize(columns[name].quantize(x))


def second_scale(x: Floats, count: int) -> Columns:
    """Columns with one scale for the `count` features of largest range, and one for the others."""
    ranges = absmax_ranges(x)
    order = np.argsort(-ranges)
    scales = np.full(len(ranges), ranges[order[count]])
    scales[order[:count]] = ranges[order[0]]
    return Columns.plain(scales)


class Evaluation:
    """The encoder on the evaluation set, with stages for the inputs and outputs of layers."""

    def __init__(self, model: MiniLM, sentences: list[str]):
        self.model, self.sentences = model, sentences
        self.expected = model.encode(sentences)
        self.levels = {name: fitted(model.linear(name)[0]) for name in model.linear_names}

    def cosine(
        self,
        read: Stage | None = None,
        leave: Stage | None = None,
        inner: Stage | None = None,
        weights: Mapping[str, Floats] | None = None,
    ) -> NDArray[np.float64]:
        """The cosine of each embedding; `inner` replaces the function of the feed-forward sums."""
        weights = weights or self.levels
        between: Floats = np.empty(0)

        def linear(name: str, x: Floats) -> Floats:
            nonlocal between
            if inner is not None and name.endswith("ffn.down"):
                x = between  # the integers that leave the table
            elif read is not None:
                x = read(name, x)
            y = x @ weights[name] + self.model.linear(name)[1]
            if inner is not None and name.endswith("ffn.up"):
                between = inner(name, y)
                return y
            return y if leave is None else leave(name, y)

        found = self.model.encode(self.sentences, linear=linear)
        return (found * self.expected).sum(axis=1, dtype=np.float64)


def fitted(weights: Floats) -> Floats:
    """Weights [K, N] after int8 quantisation with a scale per output channel."""
    found = fit(weights, LevelSet.of("uniform", 127))
    return (found.levels * found.scales).astype(np.float32)


def folded(share: float, x: Floats) -> NDArray[np.float64]:
    """For each feature, a factor range^share that divides the inputs and multiplies the weights.

    This is SmoothQuant (Xiao et al., ICML 2023) without its term of the weights.
    """
    scales = absmax_ranges(x) ** share
    return scales / np.exp(np.log(scales).mean())


def inputs(evaluation: Evaluation, seen: Observed) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Evaluate methods for inputs; outputs are floats."""
    model = evaluation.model

    def each(columns: Callable[[Floats], Columns]) -> NDArray[np.float64]:
        return evaluation.cosine(through({n: columns(x) for n, x in seen.inputs.items()}))

    def fold(share: float, budget: float) -> NDArray[np.float64]:
        scales = {n: folded(share, x) for n, x in seen.inputs.items()}
        weights = {
            n: fitted(model.linear(n)[0] * s[:, np.newaxis]) / s[:, np.newaxis]
            for n, s in scales.items()
        }
        columns = {
            n: Columns.of(absmax_ranges(x / scales[n]), budget) for n, x in seen.inputs.items()
        }
        stage = through(columns)
        return evaluation.cosine(lambda n, x: stage(n, x / scales[n]) * scales[n], weights=weights)

    yield "float", evaluation.cosine()
    yield "one scale", each(lambda x: Columns.of(absmax_ranges(x), 0))
    yield "one scale, clipped", each(lambda x: Columns.plain(float(clipped_ranges(x, False)[0])))
    for count in (1, 4):
        method = partial(second_scale, count=count)
        yield f"a second scale for {count} of the columns", each(method)
    yield "one scale, folded 0.5", fold(0.5, 0)
    for budget in (0.01, 0.02, 0.04):
        yield f"split {budget:.0%}", each(lambda x, b=budget: Columns.of(absmax_ranges(x), b))
    yield "split 2%, clipped", each(lambda x: Columns.of(clipped_ranges(x), 0.02))
    yield "split 1%, folded 0.25", fold(0.25, 0.01)


def outputs(evaluation: Evaluation, seen: Observed) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Evaluate methods for outputs; inputs are split columns, and GELU is computed in floats."""
    read = through({n: Columns.of(absmax_ranges(x), 0.02) for n, x in seen.inputs.items()})

    def each(ranges: Callable[[Floats], float | NDArray[np.float64]]) -> NDArray[np.float64]:
        columns = {n: Columns.plain(ranges(y)) for n, y in seen.outputs.items()}
        return evaluation.cosine(read, through(columns))

    yield "float", evaluation.cosine(read)
    yield "one scale", each(lambda y: float(absmax_ranges(y, False)[0]))
    yield "a scale per channel", each(absmax_ranges)
    yield "a scale per channel, clipped", each(clipped_ranges)
    for headroom in (HEADROOM, 1.25):
        name = f"a scale per channel, {headroom} of the range"
        yield name, each(lambda y, h=headroom: absmax_ranges(y) * h)


def tables(evaluation: Evaluation, seen: Observed) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Evaluate methods for GELU; inputs are split columns, and outputs have a scale per channel."""
    read = through({n: Columns.of(absmax_ranges(x), 0.02) for n, x in seen.inputs.items()})
    leave = through(
        {n: Columns.plain(absmax_ranges(y) * HEADROOM) for n, y in seen.outputs.items()}
    )

    def table(budget: float) -> Stage:
        found = {
            name: table_columns(
                FUNCTION,
                absmax_ranges(y),
                absmax_ranges(apply_function(FUNCTION, y)),
                budget,
            )
            for name, y in seen.outputs.items()
            if name.endswith("ffn.up")
        }

        def stage(name: str, sums: Floats) -> Floats:
            scale, columns = found[name]
            assert isinstance(columns.scale, float)
            entries = activation_table(FUNCTION, scale, columns.scale)
            return columns.dequantize(look_up(entries, quantize(columns.shift(sums, scale), scale)))

        return stage

    yield "float, from int8 sums", evaluation.cosine(read, leave)
    yield "table", evaluation.cosine(read, leave, table(0))
    for budget in (0.01, 0.02, 0.04):
        yield f"table, split {budget:.0%}", evaluation.cosine(read, leave, table(budget))


def main() -> None:
    """Print the tables."""
    model = MiniLM.load()
    seen = Observed.on(model, load_calibration()[::CALIBRATION_STEP])
    evaluation = Evaluation(model, load_evaluation())
    for title, methods in (("inputs", inputs), ("outputs", outputs), ("GELU", tables)):
        table = Table(title=f"int8 {title}: cosine to the float model")
        for heading, justify in (("method", "left"), ("mean", "right"), ("minimum", "right")):
            table.add_column(heading, justify=justify)
        for name, cosine in methods(evaluation, seen):
            table.add_row(name, f"{cosine.mean():.4f}", f"{cosine.min():.4f}")
        Console().print(table)


if __name__ == "__main__":
    main()
