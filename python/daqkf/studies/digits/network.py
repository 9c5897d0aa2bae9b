# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A classifier of drawn digits, trained here in NumPy: the same one on every machine, about.

Digits have seven segments, each of its own brightness, on 12 × 12 pixels, moved about, with noise.
The network has layers of GELU and is trained by Adam (Kingma and Ba, 2015) to the cross-entropy.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.errors import from_extra

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

SIDE, CLASSES = 12, 10
WIDTHS = (SIDE * SIDE, 128, 128, 128, CLASSES)

_SEGMENTS = (
    "abcdef",
    "bc",
    "abged",
    "abgcd",
    "fgbc",
    "afgcd",
    "afgedc",
    "abc",
    "abcdefg",
    "abcdfg",
)
"""Those that are lit in 0, 1, … 9, of seven-segment displays."""

_PLACES = {
    "a": (np.s_[0], np.s_[0:5]),
    "b": (np.s_[0:5], np.s_[4]),
    "c": (np.s_[4:9], np.s_[4]),
    "d": (np.s_[8], np.s_[0:5]),
    "e": (np.s_[4:9], np.s_[0]),
    "f": (np.s_[0:5], np.s_[0]),
    "g": (np.s_[4], np.s_[0:5]),
}
"""Rows and columns of a segment in a digit of 9 × 5 pixels."""

_NOISE = 0.15


def draw(rng: np.random.Generator, count: int) -> tuple[Floats, Ints]:
    """Images [count, SIDE²] of digits, and which digits they are [count]."""
    labels = rng.integers(0, CLASSES, count)
    images = _NOISE * rng.standard_normal((count, SIDE, SIDE))
    digits = np.zeros((count, 9, 5))
    for segment, (rows, columns) in _PLACES.items():
        lit = np.array([segment in segments for segments in _SEGMENTS])[labels]
        levels = rng.uniform(0.6, 1.2, lit.sum())
        digits[np.flatnonzero(lit), rows, columns] = levels[:, np.newaxis]
    places = np.indices((9, 5))[:, np.newaxis]
    top, left = rng.integers(0, [[SIDE - 8], [SIDE - 4]], (2, count))[..., np.newaxis, np.newaxis]
    images[np.arange(count)[:, np.newaxis, np.newaxis], places[0] + top, places[1] + left] += digits
    return images.reshape(count, -1).astype(np.float32), labels


@dataclass(frozen=True)
class Classifier:
    """Weights [K, N] and biases [N] of each layer."""

    layers: list[tuple[Floats, Floats]]

    def logits(self, images: Floats) -> Floats:
        """[B, CLASSES]."""
        return self._forward(images)[-1][1]

    def _forward(self, images: Floats) -> list[tuple[Floats, Floats]]:
        """What each layer reads, and its sums."""
        x, found = images, list[tuple[Floats, Floats]]()
        for weights, bias in self.layers:
            sums = x @ weights + bias
            found.append((x, sums))
            x = _gelu(sums)
        return found

    def gradients(self, images: Floats, labels: Ints) -> list[tuple[Floats, Floats]]:
        """Of the mean cross-entropy, for the weights and biases of each layer."""
        passed = self._forward(images)
        logits = passed[-1][1]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        shares[np.arange(len(labels)), labels] -= 1
        gradient = shares / np.float32(len(labels))
        found: list[tuple[Floats, Floats]] = []
        for number in reversed(range(len(self.layers))):
            x, _ = passed[number]
            found.append((cast(Floats, x.T @ gradient), cast(Floats, gradient.sum(axis=0))))
            if number:
                gradient = gradient @ self.layers[number][0].T * _slope(passed[number - 1][1])
        return found[::-1]


def _gelu(x: Floats) -> Floats:
    from scipy.special import ndtr

    return x * ndtr(x)


def _slope(x: Floats) -> Floats:
    from scipy.special import ndtr

    return cast(Floats, ndtr(x) + x * np.exp(-x * x / 2) / np.float32(np.sqrt(2 * np.pi)))


def train(seed: int = 0, steps: int = 800, batch: int = 96, rate: float = 2e-3) -> Classifier:
    """A classifier from random weights, by Adam; deterministic."""
    rng = np.random.default_rng(seed)
    layers = [
        (
            (rng.standard_normal((features, channels)) / np.sqrt(features)).astype(np.float32),
            np.zeros(channels, np.float32),
        )
        for features, channels in pairwise(WIDTHS)
    ]
    model = Classifier(layers)
    flat = [array for layer in layers for array in layer]
    means, squares = ([np.zeros_like(array) for array in flat] for _ in range(2))
    for step in range(1, steps + 1):
        images, labels = draw(rng, batch)
        found = [array for layer in model.gradients(images, labels) for array in layer]
        falling = rate * (1 - step / (steps + 1))
        for array, gradient, mean, square in zip(flat, found, means, squares, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            ratio = (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
            array -= np.float32(falling) * ratio
    return model


def export(model: Classifier) -> Any:
    """The network as an `onnx.ModelProto`: `image` [B, SIDE²] to `logits` [B, CLASSES]."""
    with from_extra("onnx"):
        from onnx import TensorProto, helper, numpy_helper

    nodes, constants, value = [], [], "image"
    for number, (weights, bias) in enumerate(model.layers):
        name = f"layer.{number}"
        constants.append(numpy_helper.from_array(weights, f"{name}.weight"))
        constants.append(numpy_helper.from_array(bias, f"{name}.bias"))
        last = number == len(model.layers) - 1
        nodes.append(helper.make_node("MatMul", [value, f"{name}.weight"], [f"{name}.product"]))
        sums = "logits" if last else f"{name}.sums"
        nodes.append(helper.make_node("Add", [f"{name}.product", f"{name}.bias"], [sums]))
        value = sums if last else f"{name}.gelu"
        if not last:
            nodes.append(helper.make_node("Gelu", [sums], [value]))
    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
        for name, width in (("image", WIDTHS[0]), ("logits", WIDTHS[-1]))
    ]
    graph = helper.make_graph(nodes, "digits", shapes[:1], shapes[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
