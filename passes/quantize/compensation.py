# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Rounding weights to their levels so that the errors of one make up for those of others.

Rounding to the nearest level minimises the error of the weights; what counts is the error of the
outputs, `tr(DᵀHD)`, where errors of correlated inputs can cancel. Optimal brain compression and
GPTQ (Frantar et al., 2022 and 2023) pass once over the weights; cyclic coordinate descent, here,
passes several times, and each step finds the best level of a weight with all others fixed, so the
error never grows (Nair and Suggala, "CDQuant", 2024).

A weight that is not zero also costs the array half a word, which a step can weigh against it.
"""

import numpy as np
from numpy.typing import NDArray

from daqkf.passes.quantize.levels import Fit

_BLOCK = 64
"""Rows whose gradients come from one matrix product."""


def compensate(
    target: NDArray[np.floating],
    hessian: NDArray[np.float64],
    fit: Fit,
    *,
    item_price: NDArray[np.float64] | float = 0.0,
    zero: bool = True,
    passes: int = 3,
    allowed: NDArray[np.bool] | None = None,
) -> Fit:
    """Levels of `fit`'s level sets that minimise the error of the outputs.

    Weights that `target` has at zero stay zero, or those that are not `allowed`. After each pass
    every channel's scale becomes the best one for its levels.

    Args:
        target: the real weights [K, N].
        hessian: positive definite [K, K], from `InputStatistics`.
        fit: where to start, and each channel's available magnitudes.
        item_price: the output error [N], or of every channel, that one zero more is worth.
        zero: whether a weight may become zero.
        passes: over all weights.
        allowed: which weights [K, N] may be other than zero; by default those of `target`.

    Returns:
        A fit with the same magnitudes, the scales [N] refitted, and as `history` [passes, N]
        the error of each output after each pass.
    """
    free: NDArray[np.bool] = np.not_equal(target, 0) if allowed is None else allowed
    work = _Descent(target, hessian, fit, np.asarray(item_price, np.float64), zero, free)
    history = np.array([work.sweep() for _ in range(passes)])
    levels, scales = work.codes.astype(np.int8), np.ldexp(work.scales, work.exponents)
    return Fit(levels, scales, fit.magnitudes, np.ldexp(history, work.units))


class _Descent:
    """The state of the descent. The error is `Σ (w - s·c)ᵀ H (w - s·c)` over the channels."""

    def __init__(
        self,
        target: NDArray[np.floating],
        hessian: NDArray[np.float64],
        fit: Fit,
        item_price: NDArray[np.float64],
        zero: bool,
        allowed: NDArray[np.bool],
    ):
        # Single precision is enough in units near the largest entries: powers of two, of the
        # Hessian and of each channel, which change no bit of what is in between.
        unit = int(np.frexp(np.diag(hessian).max())[1])
        self.exponents = np.frexp(np.abs(target).max(axis=0))[1]
        self.units = unit + 2 * self.exponents
        self.hessian = np.ldexp(hessian, -unit).astype(np.float32)
        self.target = np.ldexp(target, -self.exponents).astype(np.float32)
        self.correlation = self.hessian @ self.target
        self.allowed = allowed
        self.codes = np.where(self.allowed, fit.levels, 0).astype(np.float32)
        self.scales = np.ldexp(fit.scales.astype(np.float64), -self.exponents)
        price = np.ldexp(np.broadcast_to(item_price, self.units.shape), -self.units)
        self.item_price = price if zero else np.full_like(price, -np.inf)
        self.energy = (self.target * self.correlation).sum(axis=0, dtype=np.float64)
        # One number finds a channel's level: a table from every integer to the nearest code.
        self.choices = nearest_codes(fit.magnitudes, zero)

    def sweep(self) -> NDArray[np.float64]:
        """One pass over all weights, and the scales after it; returns the error of each [N]."""
        scale = self.scales.astype(np.float32)
        diagonal = np.diag(self.hessian)
        price = (self.item_price / self.scales**2).astype(np.float32)
        free = not price.any()
        width = int(self.choices.shape[1])
        table, first = self.choices.reshape(-1), np.arange(len(scale), dtype=np.int32) * width
        for start in range(0, len(diagonal), _BLOCK):
            rows = slice(start, start + _BLOCK)
            block = self.hessian[rows]
            gradient = self.correlation[rows] / scale - block @ self.codes
            within = np.ascontiguousarray(block[:, rows])
            changes = np.empty_like(gradient)
            for i, own in enumerate(diagonal[rows]):
                row = start + i
                # What the rows before this one in the block have changed.
                wanted = (gradient[i] - within[i, :i] @ changes[:i]) / own + self.codes[row]
                place = np.minimum(np.abs(wanted) * _GRID, width - 1)
                index: NDArray[np.int32] = place.astype(np.int32)
                level = np.copysign(table.take(index + first), wanted)
                if not free:
                    # Rounding to zero instead costs more error, and saves an item.
                    level *= own * (2 * wanted - level) * level > price
                level *= self.allowed[row]
                np.subtract(level, self.codes[row], out=changes[i])
                self.codes[row] = level
        return self._rescale()

    def _rescale(self) -> NDArray[np.float64]:
        product = (self.codes * self.correlation).sum(axis=0, dtype=np.float64)
        square = (self.codes * (self.hessian @ self.codes)).sum(axis=0, dtype=np.float64)
        best = product / np.where(square > 0, square, 1)
        self.scales = np.where((square > 0) & (best > 0), best, self.scales)
        error = self.energy - 2 * self.scales * product + self.scales**2 * square
        return np.maximum(error, 0)


_GRID = 2
"""Entries of the table of nearest codes for each integer: all borders are multiples of 1/2."""


def nearest_codes(magnitudes: NDArray[np.int64], zero: bool = True) -> NDArray[np.float32]:
    """For each channel [N, M] the code nearest to j/2 … (j + 1)/2, among its magnitudes [L, N]
    and, if `zero`, 0."""
    codes = np.concatenate([magnitudes[:1] * (not zero), magnitudes])
    middles = (codes[1:] + codes[:-1]) / 2
    points = (np.arange(_GRID * (int(codes.max()) + 1)) + 0.5) / _GRID
    place = (points[:, np.newaxis, np.newaxis] > middles).sum(axis=1)
    return np.take_along_axis(codes, place, axis=0).T.astype(np.float32).copy()
