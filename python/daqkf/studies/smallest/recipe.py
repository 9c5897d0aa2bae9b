# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The smallest language model from a text: tokeniser, training, and how good it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, prod
from pathlib import Path
from typing import Any

import numpy as np

from daqkf.compiler.decoding import Engine
from daqkf.compiler.evaluation import Evaluated, evaluate
from daqkf.compiler.text_windows import DOCUMENT_END, windows_of
from daqkf.lowering.frontends.decoder import DecoderConfig
from daqkf.lowering.frontends.text import TextCodec
from daqkf.passes.files import write_atomically
from daqkf.passes.progress import Progress, silent
from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.studies.smallest.folder import END, train_tokenizer, write_folder
from daqkf.studies.smallest.ngrams import NGrams, Tokens
from daqkf.studies.smallest.training import Decoder, Floats, Schedule, train

ARCHITECTURE = DecoderConfig(
    layers=3,
    width=64,
    hidden=176,
    heads=4,
    groups=2,
    features=16,
    vocabulary=512,
    epsilon=1e-5,
    context=256,
    tied=True,
)

CALIBRATION, EVALUATION = "calibration.txt", "evaluation.txt"
"""Files of the folder: texts for `daqkf compile --calibration` and for `daqkf eval --text`."""

_CALIBRATION = 64
"""Documents of the text that are enough for a calibration, at most."""

ORDERS = {"tokens": 1, "pairs": 2, "triples": 3, "fives": 5}
"""The counts that the model is held against, and how many tokens they are of."""


@dataclass(frozen=True)
class Trained:
    """A trained model, and how well it foretells a text that it has not seen."""

    config: DecoderConfig
    tensors: dict[str, Floats]
    read: int
    """Tokens of the text that it was trained on."""
    found: Evaluated
    counts: dict[str, float]
    """The loss of what `ORDERS` names, on the same tokens."""
    bytes_per_token: float
    """Of the text that it has not seen."""

    @property
    def parameters(self) -> int:
        """How many numbers were trained."""
        return sum(prod(shape) for _, shape in self.config.tensors())

    def bits_per_byte(self, loss: float) -> float:
        """A loss, -ln p of a token, as bits of a byte of text."""
        return loss / log(2) / self.bytes_per_token

    def rows(self) -> list[dict[str, Any]]:
        """The loss, the perplexity and the bits of a byte of all that foretell, as a table."""
        losses = self.counts | {f"model of {self.parameters:,} parameters": self.found.loss}
        return [
            {
                "by": name,
                "loss": loss,
                "perplexity": float(np.exp(loss)),
                "bits_per_byte": self.bits_per_byte(loss),
            }
            for name, loss in losses.items()
        ]


def make(
    path: Path,
    learnt: Sequence[str],
    held_out: Sequence[str],
    config: DecoderConfig = ARCHITECTURE,
    schedule: Schedule | None = None,
    *,
    seed: int = 0,
    progress: Progress = silent,
    steps: Steps = NOTHING_KEPT,
) -> Trained:
    """Train a language model and write it as a folder that `daqkf compile` reads.

    Args:
        path: the folder.
        learnt: documents that it learns, of which the first ones are the calibration data.
        held_out: documents that it does not see, on which it is measured.
        config: its architecture.
        schedule: how long, and how fast.
        seed: of its weights, and of the order in which it reads.
        progress: told of each step.
        steps: where passes over the text are kept, and found.

    Raises:
        ValueError: there is too little text.
        DaqkfError: a package is missing, or the text that is held out cannot be encoded.
    """
    progress("learn a tokeniser")
    tokenizer = train_tokenizer(learnt, config.vocabulary)
    codec = TextCodec(tokenizer, ends=frozenset([END]))
    documents = [np.append(codec.encode(text), END) for text in learnt]
    unseen = joined(held_out)
    tensors = train(config, documents, schedule, seed=seed, progress=progress, steps=steps)
    write_folder(path, config, tensors, tokenizer)
    for name, text in ((CALIBRATION, joined(learnt[:_CALIBRATION])), (EVALUATION, unseen)):
        write_atomically(path / name, text.encode())
    engine = Engine(Decoder(config, tensors).module, config)
    found = evaluate(engine, codec, unseen, progress=progress)
    windows = [part for part in windows_of(codec, unseen, found.window) if len(part) > 1]
    return Trained(
        config,
        tensors,
        sum(map(len, documents)),
        found,
        _counted(documents, windows, config.vocabulary, progress),
        _bytes_per_token(codec, windows),
    )


def joined(documents: Sequence[str]) -> str:
    """Documents as one text, which `daqkf.compiler.text_windows.windows_of` takes apart."""
    return f"\n{DOCUMENT_END}\n".join(documents) + "\n"


def _counted(
    documents: Sequence[Tokens], windows: Sequence[Tokens], vocabulary: int, progress: Progress
) -> dict[str, float]:
    """The losses of `ORDERS`."""
    losses: dict[str, float] = {}
    for name, order in ORDERS.items():
        progress(f"count {name}")
        losses[name] = NGrams(documents, order, vocabulary).loss(windows)
    return losses


def _bytes_per_token(codec: TextCodec, windows: Sequence[Tokens]) -> float:
    """The mean bytes of a token that is foretold."""
    parts = [window[1:] for window in windows]
    size = sum(len(codec.decode(part).encode()) for part in parts)
    return size / sum(map(len, parts))
