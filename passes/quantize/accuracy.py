# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What accuracy of a network means: how far its outputs are from those of the float network.

A measure makes a vector of each sample's outputs; losses compare such vectors. With r a random
vector of independent entries of variance 1, the mean of (Jᵀr)² is the diagonal of JJᵀ
(Hutchinson, 1990): gradients of random directions say how much each value matters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]
"""A network's inputs or outputs by name."""


def is_numbers(value: Any, kinds: str = "biuf") -> bool:
    """Whether a value is an array of numbers; operators of ONNX have others, too."""
    return isinstance(value, np.ndarray) and cast(Array, value).dtype.kind in kinds


class Measure(Protocol):
    """What of a network's outputs counts."""

    def __call__(self, outputs: Arrays, inputs: Arrays) -> Array:
        """A vector for each sample, [B, F]."""
        ...


@runtime_checkable
class DifferentiableMeasure(Measure, Protocol):
    """A measure that knows its derivative."""

    def vjp(self, outputs: Arrays, inputs: Arrays, gradient: Array) -> dict[str, Array]:
        """The gradients of the outputs by name, from that of the vectors [B, F]."""
        ...


@dataclass(frozen=True)
class AllOutputs:
    """All real outputs of a sample, one behind another; samples are along the first axis."""

    def __call__(self, outputs: Arrays, inputs: Arrays) -> Array:
        parts = [value.reshape(len(value), -1) for value in self._counted(outputs).values()]
        return np.concatenate(parts, axis=1)

    def vjp(self, outputs: Arrays, inputs: Arrays, gradient: Array) -> dict[str, Array]:
        found: dict[str, Array] = {}
        first = 0
        for name, value in self._counted(outputs).items():
            count = value.size // len(value)
            part = gradient[:, first : first + count]
            found[name] = part.reshape(value.shape).astype(value.dtype, copy=False)
            first += count
        return found

    @staticmethod
    def _counted(outputs: Arrays) -> dict[str, Array]:
        found = {
            name: value
            for name, value in outputs.items()
            if is_numbers(value, "f") and value.ndim and value.size
        }
        if len({len(value) for value in found.values()}) != 1:
            raise ValueError(
                "outputs that are not of the same samples along their first axis: give a measure"
            )
        return found


@dataclass(frozen=True)
class NextToken:
    """The logits of a language model, a row for each token: what it expects to follow."""

    logits: str
    """The output's name."""

    def __call__(self, outputs: Arrays, inputs: Arrays) -> Array:
        """The logits as [T, vocabulary]."""
        found = outputs[self.logits]
        return found.reshape(-1, found.shape[-1])

    def vjp(self, outputs: Arrays, inputs: Arrays, gradient: Array) -> dict[str, Array]:
        """The gradient of the logits."""
        found = outputs[self.logits]
        return {self.logits: gradient.reshape(found.shape).astype(found.dtype, copy=False)}


@dataclass(frozen=True)
class Loss:
    """How far vectors [B, F] are from reference vectors."""

    energy: bool = False
    """Whether it is the noise's share of the energy, and not one minus the mean cosine."""

    def of(self, found: Array, reference: Array) -> float:
        """The loss of vectors [B, F] in place of a reference [B, F]."""
        found, reference = found.astype(np.float64), reference.astype(np.float64)
        if self.energy:
            noise = np.square(found - reference).sum()
            return float(noise / max(np.square(reference).sum(), np.finfo(np.float64).tiny))
        return 1 - float(cosines(found, reference).mean())

    def gradient(self, found: Array, reference: Array) -> Array:
        """The gradient [B, F] of `of` by the vectors."""
        found, reference = found.astype(np.float64), reference.astype(np.float64)
        if self.energy:
            energy = max(np.square(reference).sum(), np.finfo(np.float64).tiny)
            return 2 * (found - reference) / energy
        units, lengths = zip(*(_units(vectors) for vectors in (found, reference)), strict=True)
        along = (units[0] * units[1]).sum(axis=1, keepdims=True)
        return (along * units[0] - units[1]) / lengths[0] / len(found)

    def direction(self, vectors: Array, rng: np.random.Generator) -> Array:
        """Random gradients [B, F] whose squares have the curvature of the loss on average.

        An error e of the vectors loses about `factor · mean (gradient·e)²`.
        """
        r = rng.standard_normal(vectors.shape, np.float32)
        length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
        if self.energy:
            return r / np.float32(np.sqrt(np.mean(length**2)))
        unit = vectors / length
        return (r - (r * unit).sum(axis=1, keepdims=True) * unit) / length

    @property
    def factor(self) -> float:
        """Of the second-order term: 1 of energies, ½ of cosines."""
        return 1.0 if self.energy else 0.5

    @property
    def whole(self) -> bool:
        """Whether it is of all that the outputs say of each token."""
        return False


@dataclass(frozen=True)
class Divergence(Loss):
    """The mean Kullback-Leibler divergence of softmax(found) from softmax(reference), in nats.

    Vectors are logits; see Hinton, Vinyals and Dean (2015), at a temperature of 1.
    """

    def of(self, found: Array, reference: Array) -> float:
        """The loss of logits [B, F] in place of a reference [B, F]."""
        logs, wanted = _log_softmax(found), _log_softmax(reference)
        return float((np.exp(wanted) * (wanted - logs)).sum(axis=1, dtype=np.float64).mean())

    def gradient(self, found: Array, reference: Array) -> Array:
        """The gradient [B, F] of `of` by the logits."""
        return (np.exp(_log_softmax(found)) - np.exp(_log_softmax(reference))) / len(found)

    def direction(self, vectors: Array, rng: np.random.Generator) -> Array:
        """Random gradients [B, F] with Fisher's information of each distribution on average:
        those of the logarithm of a drawn entry's probability."""
        shares = np.exp(_log_softmax(vectors))
        places = np.cumsum(shares, axis=1)
        drawn = (places < rng.random((len(places), 1)) * places[:, -1:]).sum(axis=1)
        gradient = -shares
        gradient[np.arange(len(drawn)), np.minimum(drawn, shares.shape[1] - 1)] += 1
        return gradient.astype(np.float32)

    @property
    def factor(self) -> float:
        """Of the second-order term."""
        return 0.5

    @property
    def whole(self) -> bool:
        """It is of every logit."""
        return True


def _log_softmax(logits: Array) -> Array:
    """The logarithms of the probabilities [B, F]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def _units(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vectors [B, F] divided by their lengths, and the lengths [B, 1]; 0 and 1 of a zero one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return vectors / lengths, lengths


def cosines(one: Array, other: Array) -> NDArray[np.float64]:
    """The cosine [B] of each pair of vectors [B, F]; 0 where one of them is zero."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / np.where(lengths > 0, lengths, 1)


@dataclass(frozen=True)
class Accuracy:
    """An accuracy that is asked for."""

    loss: Loss
    most: float
    """The largest loss."""

    @classmethod
    def parse(cls, text: float | str) -> "Accuracy":
        """From a cosine like 0.99, or an SQNR like "25dB".

        Raises:
            ValueError: neither of these.
        """
        found = str(text).strip()
        try:
            if found.lower().endswith("db"):
                accuracy = cls(Loss(energy=True), 10 ** (-float(found[:-2]) / 10))
            else:
                accuracy = cls(Loss(), 1 - float(found))
        except (ValueError, OverflowError):
            accuracy = cls(Loss(), np.nan)
        if not 0 < accuracy.most < 1:
            raise ValueError(
                f"accuracy must be a cosine of 0 to 1 or an SQNR like 25dB, not '{text}'"
            )
        return accuracy

    def describe(self, loss: float) -> str:
        """A loss as this kind of accuracy is spelled."""
        if self.loss.energy:
            return f"{-10 * np.log10(max(loss, 1e-30)):.1f}dB"
        return f"{1 - loss:.4f}"
