# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Text that a language model writes: how its tokens are chosen, and when it ends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from numpy.typing import NDArray

from daqkf.compiler.decoding import Decoder, Engine
from daqkf.lowering.frontends.text import TextCodec
from daqkf.support.errors import DaqkfError, describe, shortened

Tokens = NDArray[np.int64]

_BROKEN = "\N{REPLACEMENT CHARACTER}"
_LONGEST = 4
"""Bytes of a character in UTF-8, at most."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen.

    Args:
        tokens: how many to write, at most.
        temperature: what logits are divided by before one is drawn; with 0, the likeliest token is
            taken.
        top_k: draw among so many of the likeliest tokens; None for all.
        seed: of the random numbers; None for others each time.
        stop: texts that end what is written, and are not part of it.
    """

    tokens: int = 128
    temperature: float = 0.0
    top_k: int | None = None
    seed: int | None = None
    stop: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            DaqkfError: naming the one that cannot be.
        """
        if self.tokens < 1:
            raise DaqkfError(f"tokens must be at least 1, not {self.tokens}")
        if not (np.isfinite(self.temperature) and self.temperature >= 0):
            raise DaqkfError(f"temperature must be 0 or more, not {self.temperature:g}")
        if self.top_k is not None and self.top_k < 1:
            raise DaqkfError(f"top_k must be at least 1, not {self.top_k}")
        if self.seed is not None and self.seed < 0:
            raise DaqkfError(f"seed must be 0 or more, not {self.seed}")
        if isinstance(self.stop, str) or "" in self.stop:
            raise DaqkfError("stop is a list of texts that are not empty")

    @property
    def most(self) -> int | None:
        """How many of the largest logits a choice takes; None for all."""
        return self.top_k if self.temperature else 1

    def chosen(self, logits: NDArray[np.floating], rng: np.random.Generator) -> int:
        """The token that follows, by its logits [vocabulary].

        Raises:
            DaqkfError: a logit is not a number.
        """
        if np.isnan(logits).any():
            raise DaqkfError("the model gives logits that are not numbers")
        if not self.temperature:
            return int(logits.argmax())
        most = min(self.top_k or len(logits), len(logits))
        places = np.argpartition(logits, -most)[-most:]
        places.sort()
        scaled = logits[places].astype(np.float64) / self.temperature
        shares = np.exp(scaled - scaled.max())
        return int(rng.choice(places, p=shares / shares.sum()))


@dataclass
class TextStream:
    """Tokens that become text as they come, in pieces of whole characters.

    A piece is what the text of the last tokens has more with the new ones than without them, since
    there are tokenisers whose tokens do not have a text each.
    """

    codec: TextCodec
    stop: Sequence[str] = ()
    stopped: bool = False
    """Whether a text of `stop` has come."""
    _tokens: list[int] = field(default_factory=list[int])
    """Those that became text, as a context, and those that did not yet."""
    _known: int = 0
    """How many have become text."""
    _held: str = ""
    """Text that may be the beginning of one of `stop`."""

    def feed(self, token: int) -> str:
        """The text that is certain after one more token; often none."""
        self._tokens.append(token)
        before, whole = self._texts()
        waiting = len(self._tokens) - self._known
        if whole.endswith(_BROKEN) and waiting < _LONGEST:
            return ""  # the rest of a character may come
        self._tokens = self._tokens[self._known :]
        self._known = len(self._tokens)
        return self._certain(whole[len(before) :])

    def end(self) -> str:
        """The text that is left when no token comes any more."""
        if self.stopped:
            return ""
        before, whole = self._texts()
        found = self._certain(whole[len(before) :])
        if self.stopped:
            return found
        held, self._held = self._held, ""
        return found + held

    def _texts(self) -> tuple[str, str]:
        """The text of the tokens that are known, and of all."""
        known, every = self._tokens[: self._known], self._tokens
        return self.codec.decode(known, False), self.codec.decode(every, False)

    def _certain(self, text: str) -> str:
        """What of the text so far cannot be part of a stop."""
        text = self._held + text
        ends = [place for stop in self.stop if (place := text.find(stop)) >= 0]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)]
        kept = max(
            (
                size
                for stop in self.stop
                for size in range(1, min(len(stop), len(text) + 1))
                if text.endswith(stop[:size])
            ),
            default=0,
        )
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


@dataclass
class _Writing:
    """A text under way."""

    number: int
    decoder: Decoder
    unread: Tokens
    stream: TextStream
    rng: np.random.Generator


def encoded(codec: TextCodec, prompt: str) -> Tokens:
    """The tokens of a prompt.

    Raises:
        DaqkfError: there are none, or it has what the tokeniser has no token for.
    """
    if not isinstance(prompt, str):
        raise DaqkfError(f"a prompt is a text, not {shortened(prompt)}")
    try:
        return codec.encode(prompt)
    except ValueError as error:
        raise DaqkfError(f"the prompt: {describe(error)}") from None


def write(
    engine: Engine, codec: TextCodec, prompts: Sequence[Tokens], sampling: Sampling
) -> Iterator[tuple[int, str]]:
    """Go on with several texts at once: pieces of what follows each of them, with its number.

    The tokens of all texts go through kernels together. Each text has random numbers of its own,
    so that what follows does not depend on the others.

    Args:
        engine: runs the decoder.
        codec: its tokeniser.
        prompts: their tokens, [T] each.
        sampling: how tokens are chosen.

    Raises:
        DaqkfError: a prompt and the tokens to write are more than the model's context.
    """
    if not prompts:
        raise DaqkfError("there are no prompts")
    context = engine.config.context
    for tokens in prompts:
        # The last token that is written is not read.
        if (most := len(tokens) + sampling.tokens - 1) > context:
            raise DaqkfError(
                f"{len(tokens)} tokens of the prompt and {sampling.tokens} to write are "
                f"{most - context} more than the model's context, which is of {context}"
            )
    seed = sampling.seed
    if seed is None:
        seed = int(np.random.default_rng().integers(1 << 62))
    texts = [
        _Writing(
            number,
            engine.decoder(),
            tokens,
            TextStream(codec, sampling.stop),
            np.random.default_rng([seed, number]),
        )
        for number, tokens in enumerate(prompts)
    ]
    return _pieces(engine, codec, texts, sampling)


def _pieces(
    engine: Engine, codec: TextCodec, texts: list[_Writing], sampling: Sampling
) -> Iterator[tuple[int, str]]:
    for written in count(1):
        logits = engine.read(
            [text.decoder for text in texts], [text.unread for text in texts], last=True
        )
        going_on: list[_Writing] = []
        for text, (row,) in zip(texts, logits, strict=True):
            token = sampling.chosen(row, text.rng)
            piece, done = "", token in codec.ends
            if not done:
                piece = text.stream.feed(token)
                done = text.stream.stopped or written == sampling.tokens
            if done:
                piece += text.stream.end()
            else:
                text.unread = np.array([token], np.int64)
                going_on.append(text)
            if piece:
                yield text.number, piece
        texts = going_on
        if not texts:
            return
