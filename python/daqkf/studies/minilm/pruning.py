# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Pruning a network so that its embeddings stay: no training, only calibration sentences."""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daqkf.passes.files import write_atomically
from daqkf.passes.quantize.input_statistics import InputStatistics
from daqkf.passes.quantize.pruning import allocate_sparsity, second_order_prune
from daqkf.studies.minilm.model import Floats, MiniLM
from daqkf.studies.minilm.sensitivity import output_sensitivity

METHOD = 1
"""Counts changes of the method: what an older one left in the cache is not used."""

SENSITIVITY_SENTENCES = 150

Progress = Callable[[str], None]
"""Called with the name of each layer that is done."""


def prune_network(
    model: MiniLM,
    sentences: Sequence[str],
    sparsity: float,
    *,
    cache: Path | None = None,
    progress: Progress = lambda name: None,
) -> MiniLM:
    """The model with a share `sparsity` of zeros in the weights of all linear layers together.

    Goes through the layers in order; each sees the inputs that the pruned layers before it
    leave. Which weights go is decided by what their loss does to the embeddings: the layers
    share out the zeros, and their channels do, by the sensitivity of the embeddings to their
    outputs. Biases take up the changes of the means.

    Args:
        model: the dense model.
        sentences: for calibration.
        sparsity: 0 <= sparsity < 1.
        cache: a folder in which results are kept, and found.
        progress: sees each layer's name.

    Raises:
        ValueError: a sparsity outside the range.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be 0 <= sparsity < 1, not {sparsity}")
    if sparsity == 0:
        return model
    place = cache and cache / f"pruned-{_key(model, sentences, sparsity)}.npz"
    if place and (found := _read(place, model)) is not None:
        for name in model.linear_names:
            progress(name)
        return found

    sensitivity = output_sensitivity(model, sentences[:SENSITIVITY_SENTENCES])
    shares = _shares(model, sentences, sensitivity, sparsity)
    layers: dict[str, tuple[Floats, Floats]] = {}

    def visit(name: str, x: Floats) -> Callable[[Floats], Floats]:
        weights, bias = model.linear(name)
        statistics = InputStatistics.of(x)
        pruned = second_order_prune(
            weights, statistics.hessian(), shares[name], sensitivity[name]
        ).astype(np.float32)
        shifted = (bias + statistics.bias_shift(weights, pruned)).astype(np.float32)
        layers[name] = pruned, shifted
        progress(name)
        return lambda inputs: inputs @ pruned + shifted

    model.sweep(sentences, visit)
    if place:
        _write(place, layers)
    return model.with_linears(layers)


def _shares(
    model: MiniLM,
    sentences: Sequence[str],
    sensitivity: dict[str, NDArray[np.float64]],
    sparsity: float,
) -> dict[str, float]:
    """The share of zeros of each layer, from what zeroing each weight alone would cost."""
    scores: list[NDArray[np.float64]] = []

    def visit(name: str, x: Floats) -> Callable[[Floats], Floats]:
        weights, bias = model.linear(name)
        variance = x.var(axis=0, dtype=np.float64)
        scores.append(np.square(weights, dtype=np.float64) * variance[:, None] * sensitivity[name])
        return lambda inputs: inputs @ weights + bias

    model.sweep(sentences[:SENSITIVITY_SENTENCES], visit)
    return dict(zip(model.linear_names, allocate_sparsity(scores, sparsity), strict=True))


def _key(model: MiniLM, sentences: Sequence[str], sparsity: float) -> str:
    digest = hashlib.sha256(f"{METHOD} {sparsity!r}\n".encode())
    digest.update("\n".join(sentences).encode())
    for name in model.linear_names:
        for array in model.linear(name):
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:16]


def _write(place: Path, layers: dict[str, tuple[Floats, Floats]]) -> None:
    data = BytesIO()
    arrays = {f"{name}.{i}": array for name, pair in layers.items() for i, array in enumerate(pair)}
    np.savez(data, **arrays)  # pyright: ignore[reportArgumentType]
    write_atomically(place, data.getvalue())


def _read(place: Path, model: MiniLM) -> MiniLM | None:
    """The model from the cache; a file that cannot be read is as good as none."""
    try:
        with np.load(place, allow_pickle=False) as arrays:
            layers = {
                name: (arrays[f"{name}.0"], arrays[f"{name}.1"]) for name in model.linear_names
            }
        return model.with_linears(layers)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
