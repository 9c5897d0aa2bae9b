# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Adam (Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015), and how its rate falls.

The rate is a share of the size that the values of an array have at first, so that one rate suits
all arrays of a network.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOMENTUM, _SCALE, _LEAST = 0.9, 0.999, 1e-12
"""Adam's decay of the gradients' mean and of their squares' mean, and what keeps it from zero."""

_BLOCK = 1 << 16
"""Values that a step changes together, so that they stay in the processor's cache."""


def cosine_rate(step: int, steps: int, warm_up: int) -> float:
    """The share of the highest rate that a step has, one of 0 … steps - 1.

    It rises in the first steps, while moments are of few gradients, and falls along half a cosine
    (Loshchilov and Hutter, "SGDR", 2017).
    """
    falling = (1 + np.cos(np.pi * step / steps)) / 2
    return float(falling) * min(1.0, (step + 1) / warm_up)


@dataclass(eq=False)
class Trained:
    """An array that is trained, and the moments of its gradients."""

    values: NDArray[np.float32]
    kept: NDArray[np.bool] | None = None
    """Those that change, the others staying as they are; None for all."""
    unit: float = field(init=False)
    """The root mean square of what changes, at first."""
    gradient: NDArray[Any] | None = field(init=False, default=None)
    """The sum of what has been seen of this step."""
    mean: NDArray[np.float32] = field(init=False)
    square: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.mean, self.square = np.zeros_like(self.values), np.zeros_like(self.values)
        count = max(self.values.size if self.kept is None else int(self.kept.sum()), 1)
        changing = self.values if self.kept is None else self.values * self.kept
        self.unit = float(np.sqrt(np.square(changing, dtype=np.float64).sum() / count))

    def add(self, gradient: NDArray[Any]) -> None:
        """Add a gradient of the loss."""
        self.gradient = gradient if self.gradient is None else self.gradient + gradient

    def step(self, number: int, rate: float) -> bool:
        """Change the values by the gradient so far.

        Args:
            number: of the step, from 1 on.
            rate: how far a value moves at most, about, as a share of `unit`.

        Returns:
            whether there was a gradient.
        """
        if self.gradient is None:
            return False
        gradient, self.gradient = self.gradient.reshape(-1), None
        kept = None if self.kept is None else self.kept.reshape(-1)
        flat = [array.reshape(-1) for array in (self.values, self.mean, self.square)]
        size = np.float32(rate * self.unit / (1 - _MOMENTUM**number))
        for low in range(0, len(gradient), _BLOCK):
            part = slice(low, low + _BLOCK)
            slope = gradient[part] if kept is None else gradient[part] * kept[part]
            values, mean, square = (array[part] for array in flat)
            mean *= np.float32(_MOMENTUM)
            mean += np.float32(1 - _MOMENTUM) * slope
            square *= np.float32(_SCALE)
            square += np.float32(1 - _SCALE) * (slope * slope)
            root = np.sqrt(square / np.float32(1 - _SCALE**number))
            root += np.float32(_LEAST)
            values -= size * (mean / root)
        return True
