# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How much an error in the output of each linear layer of MiniLM moves the embeddings.

The cosine between an embedding and its disturbed self falls by half the squared length of the
change across the embedding. A small error dy in a layer's outputs changes the embedding by its
Jacobian J, so `1 - cos ≈ ½·|J dy|²`, and for errors that do not follow the tokens only the
diagonal of JᵀJ counts. It is estimated as the mean square of `Jᵀr` over random directions r
(Hutchinson, 1990), one backward pass per sentence: the Fisher information of Amari (1998) for an
embedding with a little Gaussian noise.
"""

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from daqkf.studies.minilm.model import Floats, Ints, MiniLM, gelu, softmax


def output_sensitivity(
    model: MiniLM, sentences: Sequence[str], *, batch_size: int = 16, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Of each linear layer the sensitivity [N] of the embeddings to its outputs.

    An error of variance v[n] in output n of a layer, in every token, lowers the mean cosine by
    about `½·Σ sensitivity·v`. Raises as `MiniLM.tokenize` does.
    """
    rng = np.random.default_rng(seed)
    total = {name: np.zeros(len(model.linear(name)[1])) for name in model.linear_names}
    for ids, mask in model.batches(sentences, batch_size):
        keep = mask.ravel() > 0
        for name, gradient in _Tape(model, ids, mask).backward(rng):
            total[name] += np.square(gradient[keep], dtype=np.float64).sum(axis=0)
    return {name: value / len(sentences) for name, value in total.items()}


class _Normalised:
    """A layer normalisation that remembers what its gradient needs."""

    def __init__(self, x: Floats, weight: Floats, bias: Floats, epsilon: float):
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        self.inverse = np.float32(1) / np.sqrt(variance + np.float32(epsilon))
        self.unit = centred * self.inverse
        self.weight = weight
        self.output = cast(Floats, self.unit * weight + bias)

    def backward(self, gradient: Floats) -> Floats:
        scaled = gradient * self.weight
        along = (scaled * self.unit).mean(axis=-1, keepdims=True)
        centred = scaled - scaled.mean(axis=-1, keepdims=True)
        return cast(Floats, self.inverse * (centred - self.unit * along))


class _Layer:
    """One Transformer layer, run forwards; x is [B*L, hidden]."""

    def __init__(self, model: MiniLM, index: int, x: Floats, shape: tuple[int, int], bias: Floats):
        self.model, self.shape = model, shape
        self.attention, self.ffn = f"layer.{index}.attention", f"layer.{index}.ffn"
        arch = model.architecture
        self.scale = np.float32(1 / math.sqrt(arch.hidden // arch.heads))
        self.query, self.key, self.value = (
            self.split(self.linear(f"{self.attention}.{part}", x))
            for part in ("query", "key", "value")
        )
        scores = self.query @ self.key.transpose(0, 1, 3, 2) * self.scale + bias
        self.shares = softmax(scores)
        mixed = self.join(self.shares @ self.value)
        self.middle = self.normalise(
            self.attention, x + self.linear(f"{self.attention}.output", mixed)
        )
        self.up = self.linear(f"{self.ffn}.up", self.middle.output)
        down = self.linear(f"{self.ffn}.down", gelu(self.up))
        self.last = self.normalise(self.ffn, self.middle.output + down)

    def linear(self, name: str, x: Floats) -> Floats:
        weight, bias = self.model.linear(name)
        return x @ weight + bias

    def normalise(self, name: str, x: Floats) -> _Normalised:
        weights = self.model.weights
        return _Normalised(
            x,
            weights[f"{name}.norm.weight"],
            weights[f"{name}.norm.bias"],
            self.model.architecture.epsilon,
        )

    def split(self, x: Floats) -> Floats:
        heads = self.model.architecture.heads
        return x.reshape(*self.shape, heads, -1).transpose(0, 2, 1, 3)

    def join(self, x: Floats) -> Floats:
        return x.transpose(0, 2, 1, 3).reshape(self.shape[0] * self.shape[1], -1)

    def backward(self, gradient: Floats) -> tuple[Floats, dict[str, Floats]]:
        """The gradient of the layer's input, and of the outputs of its linear layers."""
        found: dict[str, Floats] = {}

        def through(name: str, of_output: Floats) -> Floats:
            found[name] = of_output
            return of_output @ self.model.linear(name)[0].T

        residual = self.last.backward(gradient)
        of_gelu = through(f"{self.ffn}.down", residual) * _gelu_slope(self.up)
        residual = residual + through(f"{self.ffn}.up", of_gelu)
        residual = self.middle.backward(residual)
        of_mixed = self.split(through(f"{self.attention}.output", residual))
        of_shares = of_mixed @ self.value.transpose(0, 1, 3, 2)
        of_value = self.shares.transpose(0, 1, 3, 2) @ of_mixed
        mean = (of_shares * self.shares).sum(axis=-1, keepdims=True)
        of_scores = self.shares * (of_shares - mean) * self.scale
        parts = {
            "query": of_scores @ self.key,
            "key": of_scores.transpose(0, 1, 3, 2) @ self.query,
            "value": of_value,
        }
        for part, of_part in parts.items():
            residual = residual + through(f"{self.attention}.{part}", self.join(of_part))
        return residual, found


class _Tape:
    """A forward pass over token numbers and mask, both [B, L], ready to be run backwards."""

    def __init__(self, model: MiniLM, ids: Ints, mask: Ints):
        weights, arch = model.weights, model.architecture
        x = _Normalised(
            model.embed(ids),
            weights["embeddings.norm.weight"],
            weights["embeddings.norm.bias"],
            arch.epsilon,
        ).output.reshape(ids.size, arch.hidden)
        bias = np.where(mask[:, None, None, :] > 0, np.float32(0), np.finfo(np.float32).min)
        self.layers: list[_Layer] = []
        for i in range(arch.layers):
            self.layers.append(_Layer(model, i, x, ids.shape, bias))
            x = self.layers[-1].last.output
        self.mask = mask[:, :, None].astype(np.float32)
        self.total = (x.reshape(*ids.shape, arch.hidden) * self.mask).sum(axis=1)

    def backward(self, rng: np.random.Generator) -> list[tuple[str, Floats]]:
        """For a random direction of each embedding, the gradient of every linear output."""
        length = np.linalg.norm(self.total, axis=1, keepdims=True)
        embedding = self.total / length
        direction = rng.standard_normal(embedding.shape, np.float32)
        across = direction - (direction * embedding).sum(axis=1, keepdims=True) * embedding
        spread = (across / length)[:, None, :] * self.mask
        gradient = cast(Floats, spread.reshape(-1, embedding.shape[1]))
        found: dict[str, Floats] = {}
        for layer in reversed(self.layers):
            gradient, of_layer = layer.backward(gradient)
            found |= of_layer
        return list(found.items())


def _gelu_slope(x: Floats) -> Floats:
    """d/dx x·Φ(x) = Φ(x) + x·φ(x)."""
    from scipy.special import erf  # pyright: ignore[reportMissingTypeStubs]

    half, root = np.float32(0.5), np.float32(math.sqrt(0.5))
    density = np.exp(-half * x * x) * np.float32(1 / math.sqrt(2 * math.pi))
    return half * (1 + erf(x * root)) + x * density
