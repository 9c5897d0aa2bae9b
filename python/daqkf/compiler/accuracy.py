# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How far the outputs of a compiled network are from those of the float network.

The measure and the losses are those by which levels are chosen for an accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from daqkf.passes.nn_product import Inputs
from daqkf.passes.quantize.accuracy import Loss, Measure
from daqkf.passes.quantize.network_statistics import independent, vectors_of

SAMPLES = 16
"""Those on which a compilation measures what it has made, at most: it must not take long."""

WHOLE = 4
"""Batches at most, if their samples meet one another: texts of a language model, say."""

NOISE = 10.0
"""The SQNR in dB below which outputs are far from those of the float network: the difference has
more than a tenth of their energy."""


@dataclass(frozen=True)
class Measured:
    """The accuracy of a compiled network on a few samples."""

    sqnr: float
    """In dB: the energy of the float outputs over that of the difference."""
    cosine: float
    """The mean of the cosines of the outputs of each sample with the float ones."""
    samples: int
    kind: str
    """Which samples: "kept apart" if nothing was fitted to them, "of the calibration", or "drawn
    at random"."""

    @classmethod
    def of(
        cls,
        outputs: Callable[[Inputs], dict[str, Any]],
        reference: ModuleOp,
        samples: Sequence[Inputs],
        kind: str,
        measure: Measure,
    ) -> "Measured":
        """Run a compiled network and the float one on a few samples.

        Args:
            outputs: what the compiled network makes of a batch, by name.
            reference: the float network whose kernels were quantised.
            samples: what to choose from.
            kind: which samples these are; see `Measured.kind`.
            measure: what counts of outputs.

        Raises:
            ValueError: outputs of which nothing can be measured.
        """
        chosen = few(reference, samples)
        wanted = vectors_of(reference, chosen, measure)
        found = [measure(outputs(batch), batch) for batch in chosen]
        energy, cosine = (
            loss.of(np.concatenate(found), np.concatenate(wanted))
            for loss in (Loss(energy=True), Loss())
        )
        decibels = 0.0 - 10 * float(np.log10(max(energy, 1e-30)))  # not -0.0
        return cls(decibels, 1 - cosine, sum(map(len, wanted)), kind)

    def line(self) -> str:
        """A line of text."""
        return (
            f"SQNR {self.sqnr:.1f} dB, cosine {self.cosine:.4f} to the float network, on "
            f"{self.samples} sample{'s' * (self.samples != 1)} {self.kind}"
        )


def few(network: ModuleOp, samples: Sequence[Inputs]) -> list[Inputs]:
    """About `SAMPLES` samples, evenly spread over the batches, of which samples that meet one
    another are not taken apart."""
    every = -(-len(samples) // SAMPLES)
    chosen = list(samples[::every])
    cut = independent(network, chosen)
    if not any(cut):
        return chosen[:: -(-len(chosen) // WHOLE)]
    each = max(1, SAMPLES // len(chosen))
    found: list[Inputs] = []
    for batch, apart in zip(chosen, cut, strict=True):
        length = min((len(value) for value in batch.values() if np.ndim(value)), default=0)
        if not apart or length <= each:
            found.append(batch)
            continue
        places = np.arange(each) * length // each
        found.append({name: np.asarray(value)[places] for name, value in batch.items()})
    return found
