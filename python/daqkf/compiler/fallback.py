# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Which kernels int8 is too coarse for, so that the host runs them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from daqkf.dialects.interpreting import call, entry, only_function
from daqkf.dialects.nn.interpreter import NnFunctions
from daqkf.passes.nn_product import Inputs, in_order
from daqkf.passes.progress import Progress, counted

_BATCHES = 32
"""Those that are run, at most, evenly spread."""

_MARGIN = 6.0
"""Decibels that the outputs keep more on these samples than is asked for of other ones."""

Array = NDArray[Any]


@dataclass(frozen=True)
class _Mixture:
    """A network whose kernels are over f32, and the same as exact integers."""

    network: ModuleOp
    kernels: Mapping[str, ModuleOp]
    samples: Sequence[Inputs]

    def outputs(self, chosen: Collection[str]) -> list[list[Array]]:
        """The outputs for each batch if these kernels are of integers."""

        def kernel(function: FuncOp, x: Array, lengths: Sequence[int]) -> Array:
            module, name = self.network, function.sym_name.data
            if name in chosen:
                module = self.kernels[name]
                function = only_function(module)
            return call(module, function, (x,), sequences=lengths)[0]

        function = entry(self.network)
        return [
            list(call(self.network, function, in_order(function, batch), host=NnFunctions(kernel)))
            for batch in self.samples
        ]


def too_coarse(
    network: ModuleOp,
    kernels: Mapping[str, ModuleOp],
    samples: Sequence[Inputs],
    least: float,
    progress: Progress,
) -> list[str]:
    """The fewest kernels, by what each loses alone, without which the outputs keep an accuracy.

    The losses of kernels are taken to add up, which is then tried: as long as the rest loses too
    much, the kernel that loses most goes, too. (Cf. accuracy-aware quantisation: Kozlov et al.,
    "Neural Network Compression Framework", 2020.)

    Args:
        network: its kernels are over f32.
        kernels: the same kernels as exact integers, each in a module of its own.
        samples: calibration data, best such as no kernel was fitted to.
        least: the signal-to-noise ratio in dB that each output is to keep.
        progress: told of each kernel.
    """
    every = -(-len(samples) // _BATCHES)
    mixture = _Mixture(network, kernels, samples[::every])
    wanted = mixture.outputs(())
    lost: dict[str, float] = {}
    told = counted(progress, "try int8 in", len(kernels))
    for name in kernels:
        told(name)
        lost[name] = _lost(mixture.outputs((name,)), wanted)
    most = 10 ** (-(least + _MARGIN) / 10)
    order = sorted(kernels, key=lambda name: lost[name])
    count = int(np.searchsorted(np.cumsum([lost[name] for name in order]), most, side="right"))
    # Errors that are no accident may also cancel one another out.
    while count and _lost(mixture.outputs(order[:count]), wanted) > most:
        count -= 1
    return order[count:]


def _lost(found: Sequence[Sequence[Array]], wanted: Sequence[Sequence[Array]]) -> float:
    """Noise over signal, of the output that has most of it."""
    ratios = [0.0]
    for own, exact in zip(zip(*found, strict=True), zip(*wanted, strict=True), strict=True):
        if exact[0].dtype.kind == "f":
            noise = sum(_energy(a.astype(np.float64) - b) for a, b in zip(own, exact, strict=True))
            signal = sum(_energy(b) for b in exact)
            ratios.append(noise / signal if signal else noise)
    return max(ratios)


def _energy(values: Array) -> float:
    return float(np.square(values, dtype=np.float64).sum())
