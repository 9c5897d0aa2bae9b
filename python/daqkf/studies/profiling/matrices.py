# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The weights that are profiled, from real models and synthetic families, and their masks.

After pruning, a matrix is cut to a sample of its output channels. Channels are quantised one by
one, so the others would only repeat what the sample shows.
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
"""The number of output channels in a sample."""


def keep_blocks(weights: Floats, rows: int, columns: int, sparsity: float) -> Floats:
    """Set to zero the blocks of rows × columns with the smallest norms; partial blocks are kept."""
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
    """Keep the n largest magnitudes of each m features; a last partial group is cut off."""
    whole = weights[: len(weights) // m * m]
    groups = whole.reshape(-1, m, weights.shape[1])
    order = np.argsort(-np.abs(groups), axis=1, kind="stable")
    keep = np.argsort(order, axis=1, kind="stable") < n
    return (groups * keep).reshape(whole.shape)


def drop_at_random(weights: Floats, sparsity: float) -> Floats:
    """Set weights to zero by a fixed random mask, which does not depend on the weights."""
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
"""All ways of pruning that are profiled, by name."""

type Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]


def _log_uniform(rng: np.random.Generator, low: float, high: float, count: int) -> Floats:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def _students(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Draw from Student's t: some channels are near normal, others have heavy tails."""
    return rng.standard_t(_log_uniform(rng, 2.1, 30, shape[1]), shape)


def _powers(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Draw from generalised normals, density ∝ exp(-|w|^β), from β = 0.4 to nearly uniform."""
    exponent = _log_uniform(rng, 0.4, 6, shape[1])
    magnitude = rng.gamma(1 / exponent, size=shape) ** (1 / exponent)
    return magnitude * rng.choice([-1.0, 1.0], shape)


def _lognormals(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Draw magnitudes over several powers of ten, as where training left weights near zero."""
    spread = rng.uniform(0.2, 2.5, shape[1])
    return np.exp(spread * rng.standard_normal(shape)) * rng.choice([-1.0, 1.0], shape)


def _mixtures(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Draw from two normals: 1 to 50 % of a channel's weights are 2 to 50 times as wide."""
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
"""The families from which the table is built."""

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
"""The families of the check: those of the table with other seeds, and new ones."""


PROFILED_MODELS = ("minilm", "ocr", "vad")
UNSEEN_MODELS = ("ocr-detector", "magika")
"""The models of the check."""

PROFILED_FAN_INS = (16, 24, 32, 48, 96, 192, 384, 768, 1536)
UNSEEN_FAN_INS = (32, 128, 320, 1024)


@dataclass(frozen=True)
class Source:
    """A matrix to profile, under some masks."""

    name: str
    model: str
    """The name of the model or the family."""
    weights: NDArray[np.floating]
    """Weights, [K, N]."""
    masks: tuple[str, ...]


def profiled(models: Sequence[str] = PROFILED_MODELS) -> Iterator[Source]:
    """The matrices from which the table is built: those of models and of synthetic families.

    Raises:
        ModelNotFoundError, ModelFileError: a model is missing or damaged.
    """
    for model in models:
        yield from real(model, masks=6)
    yield from synthetic(FAMILIES, PROFILED_FAN_INS, masks=6, seed=1)


def unseen(models: Sequence[str] = UNSEEN_MODELS) -> Iterator[Source]:
    """The matrices with which the table is checked; `profiled` has none of them.

    Raises:
        ModelNotFoundError, ModelFileError: a model is missing or damaged.
    """
    for model in models:
        yield from real(model, masks=3)
    yield from synthetic(UNSEEN_FAMILIES, UNSEEN_FAN_INS, masks=3, seed=2)


def real(model: str, masks: int) -> Iterator[Source]:
    """The matrices of a model with K and N of at least 16, each under some of the masks.

    Raises:
        ModelNotFoundError, ModelFileError: the model is missing or damaged.
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
    # If a model has few matrices, each gets every mask.
    few = model in ("vad", "magika")
    for name, weights in matrices:
        if min(weights.shape) >= 16:
            yield Source(name, model, weights, tuple(MASKS) if few else _some_masks(name, masks))


def synthetic(
    families: dict[str, Draw], fan_ins: tuple[int, ...], masks: int, seed: int
) -> Iterator[Source]:
    """Weights [K, 64] of each family and fan-in, whose channels differ in size."""
    for family, draw in families.items():
        for features in fan_ins:
            name = f"{family} {features}"
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            scale = np.exp(0.4 * rng.standard_normal(64))
            weights = draw(rng, (features, 64)) * scale
            yield Source(name, family, weights, _some_masks(name, masks))


def _some_masks(name: str, count: int) -> tuple[str, ...]:
    """Choose masks by a hash of the matrix's name, so that all masks are used equally."""
    order = np.random.default_rng(zlib.crc32(name.encode())).permutation(len(MASKS))
    names = tuple(MASKS)
    return tuple(names[i] for i in sorted(order[:count]))


def pruned(source: Source, mask: str) -> Floats | None:
    """The matrix under a mask, cut to a sample of its channels; None if all weights are zero."""
    weights = np.asarray(MASKS[mask](source.weights.astype(np.float64)), np.float64)
    used = np.flatnonzero(weights.any(axis=0))
    if not len(used):
        return None
    # The sample takes non-empty channels at even distances, and the matrix's share of empty ones.
    chosen = used[np.linspace(0, len(used) - 1, min(CHANNELS, len(used))).astype(int)]
    empty = np.setdiff1d(np.arange(weights.shape[1]), used)
    share = round(len(chosen) * len(empty) / len(used))
    return weights[:, np.sort(np.concatenate([chosen, empty[:share]]))]
