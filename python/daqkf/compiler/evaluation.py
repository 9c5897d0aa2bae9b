# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How well a language model foretells a text, and how far it is from the dense one."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daqkf.compiler.decoding import Floats
from daqkf.compiler.text_windows import windows_of
from daqkf.lowering.frontends.decoder import DecoderConfig
from daqkf.lowering.frontends.text import TextCodec
from daqkf.passes.progress import Progress, Step, silent
from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.support.errors import DaqkfError, describe

WINDOW = 1024
"""Tokens that are read before the model forgets them, by default."""

_ROWS = 64
"""Rows of logits that are in float64 at a time."""


class Foreteller(Protocol):
    """What foretells texts, such as `daqkf.compiler.decoding.Engine`."""

    @property
    def config(self) -> DecoderConfig:
        """The architecture."""
        ...

    def foretell(self, tokens: NDArray[np.int64]) -> Floats:
        """The logits [T, vocabulary] of what follows each of the tokens [T] of a text."""
        ...


@dataclass(frozen=True)
class Evaluated:
    """What a model makes of a text."""

    window: int
    """Tokens of a document that are read one after another; the next ones know nothing of them."""
    windows: int
    tokens: int
    """That were foretold: all but the first one of each window."""
    loss: float
    """The mean of -ln p of the tokens."""
    kl: float | None = None
    """The mean divergence of what follows from the dense model's, ∑ q·ln(q / p), in nats."""
    same_first: float | None = None
    """The share of places where the likeliest token is the dense model's."""

    @property
    def perplexity(self) -> float:
        """The exponential of the loss."""
        return float(np.exp(self.loss))

    def facts(self) -> dict[str, Any]:
        """All figures by name, JSON-able; those that need a dense model if there was one."""
        found = {
            "window": self.window,
            "windows": self.windows,
            "tokens": self.tokens,
            "loss": self.loss,
            "perplexity": self.perplexity,
            "kl": self.kl,
            "same_first": self.same_first,
        }
        return {name: value for name, value in found.items() if value is not None}


def evaluate(
    engine: Foreteller,
    codec: TextCodec,
    text: str,
    window: int = WINDOW,
    reference: Foreteller | None = None,
    progress: Progress = silent,
    steps: Steps = NOTHING_KEPT,
) -> Evaluated:
    """How well a model foretells a text.

    Args:
        engine: runs the model.
        codec: its tokeniser.
        text: see `daqkf.compiler.text_windows.windows_of`.
        window: tokens of a window; no more than the model's context.
        reference: runs the dense model, with the same tokens.
        progress: told of each window.
        steps: where finished windows are kept, and found.

    Raises:
        DaqkfError: there is no text, windows of less than two tokens, or another vocabulary.
    """
    window = min(window, engine.config.context)
    if window < 2:
        raise DaqkfError(f"a window has at least 2 tokens, not {window}")
    if reference is not None and reference.config.vocabulary != engine.config.vocabulary:
        raise DaqkfError("the dense model has another vocabulary")
    try:
        parts = [part for part in windows_of(codec, text, window) if len(part) > 1]
    except ValueError as error:
        raise DaqkfError(describe(error)) from None
    if not parts:
        raise DaqkfError("the text has no two tokens that follow one another")
    sums = np.zeros(4)
    for number, tokens in enumerate(parts):
        progress(Step("evaluate", number + 1, len(parts), "windows"))

        def of_window(_: Steps, tokens: NDArray[np.int64] = tokens) -> NDArray[np.float64]:
            return _sums(engine, reference, tokens)

        sums += steps.do(["window", tokens], of_window)
    count, loss, divergence, same = sums.tolist()
    means = (None, None) if reference is None else (divergence / count, same / count)
    return Evaluated(window, len(parts), int(count), loss / count, *means)


def _sums(
    engine: Foreteller, reference: Foreteller | None, tokens: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The tokens of a window that are foretold, and the sums of loss, divergence and agreement."""
    logits = engine.foretell(tokens)[:-1]
    dense = None if reference is None else reference.foretell(tokens)[:-1]
    found = np.zeros(4)
    for first in range(0, len(logits), _ROWS):
        rows = slice(first, first + _ROWS)
        ours = log_shares(logits[rows])
        following = tokens[1:][rows, np.newaxis]
        found[0] += len(ours)
        found[1] -= np.take_along_axis(ours, following, axis=1).sum()
        if dense is not None:
            theirs = log_shares(dense[rows])
            found[2] += np.sum(np.exp(theirs) * (theirs - ours))
            found[3] += np.sum(ours.argmax(axis=1) == theirs.argmax(axis=1))
    return found


def log_shares(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """The logarithms of the shares that a softmax gives, along the last axis, in float64."""
    moved = logits.astype(np.float64)
    moved -= moved.max(axis=-1, keepdims=True)
    moved -= np.log(np.exp(moved).sum(axis=-1, keepdims=True))
    return moved
