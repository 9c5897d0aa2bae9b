# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The weights that are profiled, real models and synthetic families, and the masks they get.

A matrix is cut to a sample of its output channels after it is pruned: channels are quantised
one by one, so the others would only repeat what the sample says.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.studies.minilm import packaged
from daqkf.studies.minilm.model import MiniLM

type Floats = NDArray[np.float64]

CHANNELS = 24
"""Output channels of a sample."""


def keep_blocks(weights: Floats, rows: int, columns: int, sparsity: float) -> Floats:
    """Zero the blocks of rows × columns with the smallest norms; what does not fill one stays."""
    features, channels = weights.shape[0] // rows, weights.shape[1] // columns
    inner = weights[: features * rows, : channels * columns]
    blocks = inner.reshape(features, rows, channels, columns)
    norms = (blocks**2).sum(axis=(1, 3))
    dropped = np.argsort(norms, axis=None, kind="stable")[: round(sparsity * norms.size)]
    keep = np.ones(norms.size)
    keep[dropped] = 0
    result = weights.copy()
    result[: features * rows, : channels * columns] = (
        blocks * keep.reshape(features, 1, channels, 1)
    ).reshape(inner.shape)
    return result


def keep_n_of_m(weights: Floats, n: int, m: int) -> Floats:
    """Keep the n largest magnitudes of each m features in a row; a last partial group is cut."""
    whole = weights[: len(weights) // m * m]
    groups = whole.reshape(-1, m, weights.shape[1])
    order = np.argsort(-np.abs(groups), axis=1, kind="stable")
    keep = np.argsort(order, axis=1, kind="stable") < n
    return (groups * keep).reshape(whole.shape)


def drop_at_random(weights: Floats, sparsity: float) -> Floats:
    """Zero weights wherever a fixed random mask says so: zeros that tell nothing of the rest."""
    return weights * (np.random.default_rng(0).random(weights.shape) >= sparsity)


MASKS: dict[str, Callable[[Floats], NDArray[np.floating]]] = {
    "dense": lambda w: w,
    **{f"magnitude-{s}": partial(magnitude_prune, sparsity=s / 100) for s in (10, 30, 50, 70, 90)},
    **{f"{n}:{m}": partial(keep_n_of_m, n=n, m=m) for n, m in ((2, 4), (1, 4), (4, 8))},
    "random-60": partial(drop_at_random, sparsity=0.6),
    "block-50": partial(keep_blocks, rows=8, columns=4, sparsity=0.5),
    "block-80": partial(keep_blocks, rows=4, columns=4, sparsity=0.8),
    "row-50": lambda w: keep_blocks(w, 1, w.shape[1], 0.5),
    "column-50": lambda w: keep_blocks(w, len(w), 1, 0.5),
}
"""Every way of pruning that is profiled, by name."""

type Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]


def _log_uniform(rng: np.random.Generator, low: float, high: float, count: int) -> Floats:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def _students(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Student-t: near normal in one channel, with heavy tails in the next."""
    return rng.standard_t(_log_uniform(rng, 2.1, 30, shape[1]), shape)


def _powers(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Generalised normal, density ∝ exp(-|w|^β): between β = 0.4 and nearly uniform."""
    exponent = _log_uniform(rng, 0.4, 6, shape[1])
    magnitude = rng.gamma(1 / exponent, size=shape) ** (1 / exponent)
    return magnitude * rng.choice([-1.0, 1.0], shape)


def _lognormals(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Magnitudes over up to several powers of ten, as where training left weights near zero."""
    spread = rng.uniform(0.2, 2.5, shape[1])
    return np.exp(spread * rng.standard_normal(shape)) * rng.choice([-1.0, 1.0], shape)


def _mixtures(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Two normals: some weights of a channel, 1 to 50 %, are 2 to 50 times as wide."""
    share = _log_uniform(rng, 0.01, 0.5, shape[1])
    spread = _log_uniform(rng, 2, 50, shape[1])
    return _mixture(rng, shape, share, spread)


def _mixture(rng: np.random.Generator, shape: tuple[int, int], share: Any, spread: Any) -> Floats:
    return rng.standard_normal(shape) * np.where(rng.random(shape) < share, spread, 1.0)


def _outlier_rows(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    scale = np.where(rng.random((shape[0], 1)) < 0.02, 8.0, 1.0)
    return rng.standard_normal(shape) * scale


FAMILIES: dict[str, Draw] = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "students": _students,
    "powers": _powers,
    "lognormals": _lognormals,
    "mixtures": _mixtures,
}
"""Families that the table is built from."""

UNSEEN_FAMILIES: dict[str, Draw] = {
    "gaussian": FAMILIES["gaussian"],
    "laplace": FAMILIES["laplace"],
    "uniform": FAMILIES["uniform"],
    "student-4": lambda rng, shape: rng.standard_t(4, shape),
    "student-8": lambda rng, shape: rng.standard_t(8, shape),
    "mixture": lambda rng, shape: _mixture(rng, shape, 0.1, 4.0),
    "logistic": lambda rng, shape: rng.logistic(size=shape),
    "triangular": lambda rng, shape: rng.triangular(-1, 0, 1, shape),
    "gamma": lambda rng, shape: rng.gamma(2, size=shape) * rng.choice([-1.0, 1.0], shape),
    "outlier-rows": _outlier_rows,
}
"""Families of the held-out check: those of the table from other seeds, and new ones."""


PROFILED_MODELS = ("minilm", "ocr", "vad")
UNSEEN_MODELS = ("ocr-detector", "magika")
"""Models of the held-out check."""

PROFILED_FAN_INS = (16, 24, 32, 48, 96, 192, 384, 768, 1536)
UNSEEN_FAN_INS = (32, 128, 320, 1024)


@dataclass(frozen=True)
class Source:
    """A matrix to profile under some masks."""

    name: str
    model: str
    """The model or family."""
    weights: NDArray[np.floating]
    """[K, N]"""
    masks: tuple[str, ...]


def profiled(models: Sequence[str] = PROFILED_MODELS) -> Iterator[Source]:
    """What the table is built from: models and synthetic families.

    Raises:
        ModelNotFoundError, ModelFileError: a model is missing or damaged.
    """
    for model in models:
        yield from real(model, masks=6)
    yield from synthetic(FAMILIES, PROFILED_FAN_INS, masks=6, seed=1)


def unseen(models: Sequence[str] = UNSEEN_MODELS) -> Iterator[Source]:
    """What the table is checked against; nothing of it is in `profiled`. Raises as that does."""
    for model in models:
        yield from real(model, masks=3)
    yield from synthetic(UNSEEN_FAMILIES, UNSEEN_FAN_INS, masks=3, seed=2)


def real(model: str, masks: int) -> Iterator[Source]:
    """The matrices of a model with K and N of 16 or more, each under some of the masks.

    Raises as `profiled` does.
    """
    if model == "minilm":
        minilm = MiniLM.load()
        matrices = ((name, minilm.linear(name)[0]) for name in minilm.linear_names)
    else:
        readers = {
            "ocr": packaged.ocr_recogniser,
            "ocr-detector": packaged.ocr_detector,
            "vad": packaged.voice_detector,
            "magika": packaged.file_classifier,
        }
        matrices = readers[model]()
    # A model of few matrices shows each under every mask.
    few = model in ("vad", "magika")
    for name, weights in matrices:
        if min(weights.shape) >= 16:
            yield Source(name, model, weights, tuple(MASKS) if few else _some_masks(name, masks))


def synthetic(
    families: dict[str, Draw], fan_ins: tuple[int, ...], masks: int, seed: int
) -> Iterator[Source]:
    """Weights [K, 64] of each family and fan-in, with channels of different size."""
    for family, draw in families.items():
        for features in fan_ins:
            name = f"{family} {features}"
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            scale = np.exp(0.4 * rng.standard_normal(64))
            weights = draw(rng, (features, 64)) * scale
            yield Source(name, family, weights, _some_masks(name, masks))


def _some_masks(name: str, count: int) -> tuple[str, ...]:
    """Masks chosen by a matrix's name, so that all of them are used alike."""
    order = np.random.default_rng(zlib.crc32(name.encode())).permutation(len(MASKS))
    names = tuple(MASKS)
    return tuple(names[i] for i in sorted(order[:count]))


def pruned(source: Source, mask: str) -> Floats | None:
    """The matrix under a mask, cut to a sample of its channels; None if nothing is left of it."""
    weights = np.asarray(MASKS[mask](source.weights.astype(np.float64)), np.float64)
    used = np.flatnonzero(weights.any(axis=0))
    if not len(used):
        return None
    # Used channels at even distances, and the share of empty ones that the matrix has.
    chosen = used[np.linspace(0, len(used) - 1, min(CHANNELS, len(used))).astype(int)]
    empty = np.setdiff1d(np.arange(weights.shape[1]), used)
    share = round(len(chosen) * len(empty) / len(used))
    return weights[:, np.sort(np.concatenate([chosen, empty[:share]]))]
