# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What each part of the design is worth: the same with and without it, half of the weights zero."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.api import compile as compile_layer
from daqkf.compiler.design import Design
from daqkf.compiler.options import level_set
from daqkf.hw_targets.config import smallest_array
from daqkf.lowering.rtl.array import TOP
from daqkf.passes.progress import silent
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.studies.bench.array import (
    CLOCK_DEPTHS,
    LAYER,
    Contender,
    contenders,
    generate,
    measure,
)
from daqkf.studies.bench.streams import machines, stream_size
from daqkf.studies.demo import signal_to_noise
from daqkf.studies.minilm.model import MiniLM, load_sentences
from daqkf.studies.paper.experiment import ACCURACY, PLAIN, port_bytes
from daqkf.synthesis import synthesize

SPARSITY = 0.5
BASELINE, SPARSE, OURS = "dense", "baseline-sparse", "running-sum-8"
LUTS, BLOCKS = "xcup", "xcup-dsp"

_LEVELS = "uniform-15"
_DISPATCHED = "layer.5.attention.value"
"""A layer with tiles of both kinds."""

_CALIBRATION = 60
"""Sentences that calibrate the decision of a dispatch; others are run."""

_UNLIMITED = 1e6
"""An error budget in steps of the output, which no variant exceeds."""


@dataclass(frozen=True)
class Ablated:
    """A figure with a part of the design, and without it; less is better."""

    part: str
    figure: str
    without: float
    with_: float
    note: str = ""

    @property
    def gain(self) -> float:
        """How many times less it is with the part."""
        return self.without / self.with_


def _work(contender: Contender, fabric: str = LUTS) -> tuple[float, float]:
    """Cycles of a tile through all layers, with loading; and times LUTs, or times DSP blocks."""
    (row,) = measure(
        contender,
        SPARSITY,
        [fabric],
        accuracy=ACCURACY,
        seeds=(),
        count_toggles=False,
        progress=silent,
    )
    cycles = row.cycles + row.load_cycles
    return cycles, cycles * (row.resources.counts.dsps if fabric == BLOCKS else row.luts)


def _named(name: str) -> Contender:
    return next(each for each in contenders() if each.name == name)


def arithmetic() -> list[Ablated]:
    """Zero skipping, running sums, level sets and shared words, one after another."""
    figure = "LUT-cycles of a tile"
    plain = replace(_named(OURS), name=f"{OURS} with 8 bits", tuned=False)
    steps = (
        ("zero skipping", BASELINE, "products of the non-zeros alone, by multipliers"),
        ("running sums", SPARSE, "8 items a cycle, still with levels of 8 bits"),
        ("level sets", None, f"chosen for a cosine of {ACCURACY:g} to W8A8"),
        ("shared words", OURS, "the word that ends an output begins the next one"),
    )
    after = (_named(SPARSE), plain, _named(OURS), _named("shared-words-8"))
    before = (_named(BASELINE), *after[:-1])
    found = {each.name: _work(each)[1] for each in (before[0], *after)}
    return [
        Ablated(part, figure, found[old.name], found[new.name], note)
        for (part, _, note), old, new in zip(steps, before, after, strict=True)
    ]


def strassen() -> list[Ablated]:
    """Seven products for eight, in DSP blocks."""
    direct = _work(_named("dense-dsp"), BLOCKS)[1]
    seven = _work(_named("strassen-dsp"), BLOCKS)[1]
    note = "a block has one product, two of the dense array: wider factors leave no room to pack"
    return [Ablated("Strassen's products", "DSP-cycles of a tile", direct, seven, note)]


def fusion() -> list[Ablated]:
    """Kernels that are merged and chained, units for what is between them, attention."""
    figure = f"bytes of a token over the ports, {PLAIN}"
    wide = "bytes of a token over the ports, wide-norm"
    alone, chained = (port_bytes(PLAIN, fuse=fuse) for fuse in (False, True))
    normed = port_bytes("wide-norm", fuse=True)
    attended = port_bytes("wide-norm", fuse=True, products=True)
    plain, controlled = (_luts_of_chains(kernels) for kernels in (1, 2))
    return [
        Ablated("fusion of kernels", figure, alone, chained, "merged and chained"),
        Ablated("fusion's control", f"LUTs of {OURS}", plain, controlled, "chains of 2 kernels"),
        Ablated("normalisation in the chain", wide, chained, normed, "and residuals"),
        Ablated("attention in the chain", wide, normed, attended, "scores, softmax, context"),
    ]


def _luts_of_chains(kernels: int) -> float:
    """LUTs of `OURS` with small memories, that chains so many kernels."""
    config = smallest_array(_named(OURS).machine, 384)
    files = generate(replace(config, **CLOCK_DEPTHS, kernels=kernels))
    counts = synthesize(files, TOP, LUTS).counts
    return counts.luts + counts.lut_rams


def streams() -> list[Ablated]:
    """How streams lie in external memory."""
    weights = magnitude_prune(MiniLM.load().linear(LAYER)[0], SPARSITY)
    levels = fit(weights, level_set(_LEVELS)).levels
    sizes = [stream_size(levels, machine).bits / levels.size for machine in machines().values()]
    plain, distances, coded = sizes
    figure = f"bits a weight of {LAYER}, everything included"
    return [
        Ablated("distances for addresses", figure, plain, distances),
        Ablated("coded streams", figure, distances, coded, "variable-length integers"),
    ]


def dispatch() -> list[Ablated]:
    """A variant for each tile, chosen by the zeros that arrive, of 30 % and 50 % zeros."""
    model, sentences = MiniLM.load(), load_sentences()
    weights, bias = model.linear(_DISPATCHED)
    pruned = magnitude_prune(weights, 0.3)
    calibration = model.activations(_DISPATCHED, sentences[:_CALIBRATION])
    compiled = partial(
        compile_layer,
        weights,
        bias=bias,
        sparsity=(0.3, SPARSITY),
        levels="codebook-15",
        calibration=calibration,
        second_order=False,
    )

    def exact(x: NDArray[Any]) -> NDArray[Any]:
        return x @ pruned + bias

    budget = median_error(compiled(error_budget=_UNLIMITED), calibration, exact(calibration))
    design: Design = compiled(error_budget=budget)
    x = model.activations(_DISPATCHED, sentences[_CALIBRATION:])
    words = np.array([max(entry["stream_words"]) for entry in design.summary()["variants"]])
    chosen = design.variants(x)
    kept = signal_to_noise(exact(x), design.reference(x))
    note = f"{chosen.mean():.0%} of the tiles take the fast variant; the output keeps {kept:.1f} dB"
    return [
        Ablated(
            "dispatch by arriving zeros", f"cycles of a tile of {_DISPATCHED}", float(words[0]),
            float(words[chosen].mean()), note,
        )
    ]  # fmt: skip


def median_error(design: Design, x: NDArray[Any], expected: NDArray[Any]) -> float:
    """The RMS error that half of the tiles of x [T, K] exceed, in steps of the output."""
    assert design.output_scale is not None
    steps = (design.reference(x) - expected) / design.output_scale
    lanes = design.config.lanes
    whole = len(x) // lanes * lanes
    return float(np.sqrt(np.median((steps[:whole] ** 2).reshape(whole // lanes, -1).mean(axis=1))))


ABLATIONS: Mapping[str, Callable[[], list[Ablated]]] = {
    "arithmetic": arithmetic,
    "Strassen": strassen,
    "fusion": fusion,
    "streams": streams,
    "dispatch": dispatch,
}
