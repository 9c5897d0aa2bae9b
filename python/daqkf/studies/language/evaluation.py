# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How well language models foretell a text: dense, compiled, and made smaller in plain ways."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.compiled_language_model import CompiledLanguageModel
from daqkf.compiler.decoding import Engine, Floats
from daqkf.compiler.evaluation import WINDOW, Evaluated, Foreteller, evaluate
from daqkf.compiler.language_models import batches_of, compile_language_model, text_codec
from daqkf.compiler.options import NetworkOptions
from daqkf.lowering.frontends.decoder import DecoderConfig, LanguageModel
from daqkf.lowering.frontends.text import TextCodec
from daqkf.passes.nn_product import Inputs
from daqkf.passes.progress import Progress, silent, within
from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.studies.language import baselines

Row = dict[str, Any]
"""The figures of a model by name."""

DENSE, OURS = "dense", "ours"
"""Ways to make a model, beside those of `daqkf.studies.language.baselines`."""

_SAMPLES = 16
"""Batches of the calibration at most on which Wanda finds norms."""


@dataclass
class Recorded:
    """An engine that reads each text once, and keeps its logits in a file.

    Models are compared with the dense one over and over, on the same texts; logits of all tokens
    would take gigabytes of memory.
    """

    engine: Engine
    folder: TemporaryDirectory[str] = field(default_factory=TemporaryDirectory)

    @property
    def config(self) -> DecoderConfig:
        """The architecture."""
        return self.engine.config

    def foretell(self, tokens: NDArray[np.int64]) -> Floats:
        """See `daqkf.compiler.evaluation.Foreteller`."""
        name = hashlib.sha256(tokens.tobytes()).hexdigest()
        path = Path(self.folder.name) / f"{name}.npy"
        if not path.exists():
            np.save(path, self.engine.foretell(tokens))
        return np.load(path, mmap_mode="r")


@dataclass
class LanguageEvaluation:
    """What models are measured on."""

    text: str
    """That they foretell."""
    calibration: str = ""
    """A text for what is compiled or pruned here."""
    window: int = WINDOW
    progress: Progress = silent
    steps: Steps = NOTHING_KEPT
    dense: LanguageModel | None = None
    """What others are compared with."""
    options: NetworkOptions = field(default_factory=NetworkOptions)
    """Of what is compiled, but for the sparsity, the levels and the passes of distillation."""

    def compiled(self, model: CompiledLanguageModel, name: str = "compiled") -> Row:
        """The figures of a compiled model."""
        found = self._evaluated(model.engine(), model.text, name)
        return {
            "name": name,
            "way": OURS,
            **found.facts(),
            "zeros": model.sparsity(),
            "magnitudes": model.magnitudes()[0],
            "bytes_per_token": sum(row["program_bytes"] for row in model.traffic()),
            "cycles": model.cycles,
        }

    def rows(self, points: Sequence[tuple[float, str, int]], beside: bool = True) -> Iterator[Row]:
        """The figures of the dense model, and of what becomes of it at each share of zeros.

        Args:
            points: shares of zeros, each with the level set of the weights and the passes of
                distillation.
            beside: whether the baselines are measured, too.
        """
        dense, reference = self.dense, self._reference
        assert dense is not None and reference is not None
        found = self._evaluated(reference, self._codec, DENSE)
        yield {"name": DENSE, "way": DENSE, **found.facts()}
        if points and beside:
            name = f"4 bits, groups of {baselines.GROUP}"
            weights = sum(array.size for array in baselines.matrices(reference.engine.network))
            yield {
                **self._baseline("4 bits", name, baselines.rounded),
                "zeros": 0.0,
                "bytes_per_token": round(weights * baselines.BITS / 8),
            }
        pruned = set[float]()
        for sparsity, levels, passes in points:
            zeros = f"{sparsity:.0%} zeros"
            options, name = self._options(sparsity, levels, passes), f"{zeros}, {levels}"
            if options.distillation:
                name += f", distilled {passes} times" if passes > 1 else ", distilled"
            yield self.compiled(self._compile(dense, options, name), name)
            if sparsity and beside and sparsity not in pruned:
                pruned.add(sparsity)
                for way, prune in self._pruning(sparsity).items():
                    row = self._baseline(way, f"{zeros} by {way}", prune)
                    yield row | {"zeros": sparsity}

    def _pruning(self, sparsity: float) -> dict[str, Callable[[ModuleOp, Progress], ModuleOp]]:
        """Plain ways to prune."""
        return {
            "magnitude": lambda module, progress: baselines.pruned_by_magnitude(
                module, sparsity, progress
            ),
            "Wanda": lambda module, progress: baselines.pruned_by_wanda(
                module, self._samples, sparsity, progress
            ),
        }

    def _options(self, sparsity: float, levels: str, passes: int) -> NetworkOptions:
        """Those at a share of zeros; nothing is trained where nothing is pruned."""
        trained = passes if sparsity else 0
        return replace(self.options, sparsity=sparsity or None, levels=levels, distillation=trained)

    def _compile(
        self, model: LanguageModel, options: NetworkOptions, name: str
    ) -> CompiledLanguageModel:
        return compile_language_model(
            model,
            options,
            calibration=self.calibration,
            progress=within(self.progress, name),
            steps=self.steps.inner(["compile", name]),
        )

    def _baseline(
        self, way: str, name: str, change: Callable[[ModuleOp, Progress], ModuleOp]
    ) -> Row:
        """The figures of what a way makes of the dense model."""
        reference = self._reference
        assert reference is not None
        changed = change(reference.engine.network, within(self.progress, name))
        engine = Engine(changed, reference.config)
        return {
            "name": name,
            "way": way,
            **self._evaluated(engine, self._codec, name).facts(),
        }

    def _evaluated(self, engine: Foreteller, codec: TextCodec, name: str) -> Evaluated:
        """What a model makes of the text."""
        reference = None if engine is self._reference else self._reference
        return evaluate(
            engine,
            codec,
            self.text,
            self.window,
            reference,
            within(self.progress, name),
            self.steps.inner(["evaluate", name]),
        )

    @cached_property
    def _reference(self) -> Recorded | None:
        if self.dense is None:
            return None
        return Recorded(Engine(self.dense.network(), self.dense.config))

    @cached_property
    def _codec(self) -> TextCodec:
        assert self.dense is not None
        return text_codec(self.dense)

    @cached_property
    def _samples(self) -> list[Inputs]:
        """Some of the calibration data, evenly spread."""
        assert self.dense is not None
        found = batches_of(self.dense.config, self._codec, self.calibration)
        return found[:: max(1, -(-len(found) // _SAMPLES))]
