# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Decoders that read on from token to token: the float network, or a compiled one.

They run the function `main` of `daqkf.lowering.frontends.decoder` as a plan, but for attention,
whose keys and values stay here from one reading to the next.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.utils.exceptions import InterpretationError

from daqkf.compiler.reading import Part, Pipeline, Span, parts_of
from daqkf.dialects.interpreting import entry
from daqkf.dialects.nn import (
    ConcatOp,
    ConstantOp,
    ElementwiseOp,
    LinearOp,
    MatmulOp,
    ReduceOp,
    RmsNormOp,
    SliceOp,
)
from daqkf.dialects.nn.base import integers_of
from daqkf.dialects.nn.causal_attention import CausalAttentionOp
from daqkf.dialects.nn.decoders import CachedOperation
from daqkf.dialects.nn.interpreter import CachedAttention, NnFunctions
from daqkf.dialects.nn.ops import attends
from daqkf.dialects.nn.sequences import attend
from daqkf.dialects.plans import Plan
from daqkf.lowering.frontends.decoder import DecoderConfig
from daqkf.support.errors import DaqkfError, describe

Floats = NDArray[np.float32]

_LEAST = 64
"""Tokens that there is room for at first."""

PART = 128
"""Tokens of a part, if a reading has more. Fewer would read weights too often for the products that
are made of them; more would see more keys than they may take of."""


@dataclass
class _Cache:
    """The keys and values [S, G, D] of an attention for a text: floats, or levels of int8."""

    keys: NDArray[Any]
    values: NDArray[Any]
    length: int = 0
    """S, of which there may be room for more."""

    def append(
        self, reading: "_Reading", span: Span, keys: NDArray[Any], values: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """All keys and values up to the tokens of a span, of which these [T, G, D] are.

        Waits for those before them.
        """
        start, tokens = reading.places(span)
        end = start + len(keys)
        reading.pipeline.wait(lambda: self.length >= start)
        # The first part makes room for all of them, so that nothing moves while others read.
        self._reserve(tokens)
        self.keys[start:end], self.values[start:end] = keys, values
        self.length = end
        reading.pipeline.advance()
        return self.keys[:end], self.values[:end]

    def _reserve(self, tokens: int) -> None:
        """Have room for so many tokens."""
        if tokens <= len(self.keys):
            return
        room = max(tokens, 2 * len(self.keys), _LEAST)
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = np.empty((room, *old.shape[1:]), old.dtype)
            new[: self.length] = old[: self.length]
            setattr(self, name, new)


class Decoder:
    """A decoder that has read some tokens of a text, and keeps their keys and values."""

    def __init__(self, engine: "Engine"):
        """A decoder that has read nothing yet."""
        self._engine = engine
        self.caches: dict[CachedOperation, _Cache] = {}
        self.length = 0
        """Tokens that were read."""

    def read(self, tokens: Sequence[int] | NDArray[np.int64], last: bool = False) -> Floats:
        """Read on: the logits [T, vocabulary] of what follows each of the tokens [T].

        With `last`, those of the last token alone, [1, vocabulary].

        Raises:
            DaqkfError: no tokens, one that the model does not know, or more of them than it was
                made for.
        """
        return self._engine.read([self], [tokens], last)[0]


@dataclass
class _Reading:
    """What decoders read at once."""

    decoders: Sequence[Decoder]
    texts: Sequence[NDArray[np.int64]]
    """What each of them reads."""
    pipeline: Pipeline = field(default_factory=Pipeline)

    def __post_init__(self) -> None:
        for decoder in self.decoders:
            for cache in decoder.caches.values():
                # A reading that failed may have left more.
                cache.length = decoder.length

    def places(self, span: Span) -> tuple[int, int]:
        """How many tokens of its text are before a span, and how many there will be at the end."""
        before = self.decoders[span.text].length
        return before + span.first, before + len(self.texts[span.text])


class _Current(threading.local):
    """What a thread reads."""

    reading: _Reading
    part: Part


@dataclass
class Speeds:
    """How many tokens were read, and in how many seconds."""

    read: int = 0
    """Tokens of readings in which a text had several."""
    reading: float = 0.0
    written: int = 0
    """Tokens of readings of one for each text, which follow the words that are written."""
    writing: float = 0.0

    def add(self, counts: Sequence[int], seconds: float) -> None:
        """Count a reading of so many tokens of each text."""
        if max(counts) > 1:
            self.read, self.reading = self.read + sum(counts), self.reading + seconds
        else:
            self.written, self.writing = self.written + sum(counts), self.writing + seconds

    def line(self) -> str:
        """A line for people."""
        parts = (
            (self.read, self.reading, "read at once"),
            (self.written, self.writing, "one by one"),
        )
        return ", ".join(
            f"{count:,} tokens {what}: {count / max(seconds, 1e-9):,.1f} a second"
            for count, seconds, what in parts
            if count
        )


@dataclass
class Engine:
    """Runs a decoder's network for any number of texts."""

    network: ModuleOp
    """It must not change from here on."""
    config: DecoderConfig
    functions: Callable[[CachedAttention], NnFunctions] = lambda cached: NnFunctions(cached=cached)
    """Makes what runs operations of `nn`, of what runs attention."""
    room: int | None = None
    """Tokens that attention has room for, if it is the array's."""
    part: int | None = PART
    """Tokens that go through the network at a time, while others do on other cores; None for all,
    in one thread."""
    speeds: Speeds = field(default_factory=Speeds)

    def __post_init__(self) -> None:
        function = entry(self.network)
        host = self.functions(self._attend)
        self._integers = host.integers
        self._plan = Plan(self.network, function, host, cut=_before_logits(function))
        self._empty = np.zeros((0, self.config.groups, self.config.features), np.float32)
        self._current = _Current()

    def decoder(self) -> Decoder:
        """A decoder that has read nothing yet."""
        return Decoder(self)

    def foretell(self, tokens: NDArray[np.int64]) -> Floats:
        """The logits [T, vocabulary] of what follows each of the tokens [T] of a text."""
        return self.decoder().read(tokens)

    def read(
        self,
        decoders: Sequence[Decoder],
        tokens: Sequence[Sequence[int] | NDArray[np.int64]],
        last: bool = False,
    ) -> list[Floats]:
        """Let decoders of this engine read on, all at once: the logits for each.

        What is not attention runs over the tokens of all texts together.

        Args:
            decoders: different ones.
            tokens: what each of them reads, [T].
            last: whether only the logits of the last tokens are wanted.

        Raises:
            DaqkfError: as `Decoder.read`.
        """
        arrays = [self._checked(*one) for one in zip(decoders, tokens, strict=True)]
        logits = [
            np.empty((1 if last else len(array), self.config.vocabulary), np.float32)
            for array in arrays
        ]
        reading = _Reading(decoders, arrays)

        def read(part: Part) -> None:
            for span, found in zip(part, self._read(reading, part, last), strict=True):
                logits[span.text][slice(len(found)) if last else span.rows] = found

        began = time.perf_counter()
        try:
            reading.pipeline.run(parts_of(arrays, self.part), read)
        except InterpretationError as error:
            raise DaqkfError(describe(error)) from None
        self.speeds.add([len(array) for array in arrays], time.perf_counter() - began)
        for decoder, array in zip(decoders, arrays, strict=True):
            decoder.length += len(array)
        return logits

    def _read(self, reading: _Reading, part: Part, last: bool) -> list[Floats]:
        """The logits that are wanted of each span of a part."""
        starts = [reading.places(span)[0] for span in part]
        lengths = [len(span.tokens) for span in part]
        ends = np.cumsum(lengths)
        wanted = ends[[span.last for span in part]] - 1 if last else None
        self._current.reading, self._current.part = reading, part
        # Infinities and NaNs come without warnings, as they do from the interpreter.
        with np.errstate(all="ignore"):
            logits, *_ = self._plan(
                np.concatenate([span.tokens for span in part]),
                np.concatenate(
                    [start + np.arange(n) for start, n in zip(starts, lengths, strict=True)]
                ),
                *[self._empty] * (2 * self.config.layers),
                rows=wanted,
            )
        if wanted is None:
            return np.split(logits, ends[:-1])
        if len(logits) == ends[-1]:  # the network could not be cut
            logits = logits[wanted]
        return np.split(logits, np.cumsum([span.last for span in part])[:-1])

    def _checked(
        self, decoder: Decoder, tokens: Sequence[int] | NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Tokens that a decoder may read."""
        array, config = np.asarray(tokens, np.int64), self.config
        if array.ndim != 1 or not len(array):
            raise DaqkfError("there are no tokens to read")
        unknown = array[(array < 0) | (array >= config.vocabulary)]
        if len(unknown):
            raise DaqkfError(f"token {unknown[0]} is none of the model's {config.vocabulary}")
        end = decoder.length + len(array)
        if end > config.context:
            raise DaqkfError(
                f"{end} tokens are more than the model's context, which is of {config.context}"
            )
        if self.room is not None and end > self.room:
            raise DaqkfError(
                f"{end} tokens are more than attention was compiled for, which is {self.room} "
                "(max_tokens)"
            )
        return array

    def _attend(self, op: CachedOperation, *args: Any) -> tuple[Any, ...]:
        """Attention of each text by itself; the caches are in place of what is past."""
        queries, keys, values, *past = args
        causal, low = op if isinstance(op, CausalAttentionOp) else None, 0
        if causal is not None:
            keys, values = causal.key_levels(keys), causal.value_levels(values)
        heads: list[Floats] = []
        for span in self._current.part:
            count = len(span.tokens)
            rows = slice(low, low + count)
            empty = self._empty.astype(keys.dtype)
            reading = self._current.reading
            cache = reading.decoders[span.text].caches.setdefault(op, _Cache(empty, empty))
            every = cache.append(reading, span, keys[rows], values[rows])
            if causal is not None:
                operands = causal.operands_of(*every, count)
                levels = self._integers(causal, causal.rows_of(queries[rows]), operands)
                heads.append(causal.results_of(levels, count))
            else:
                heads.append(attend(queries[rows], *every, op.scale.value.data))
            low += count
        return (heads[0] if len(heads) == 1 else np.concatenate(heads), *past)


class FloatDecoder(Decoder):
    """The decoder of a float network, by the interpreter of `nn`, in float32.

    This is the reference, and takes some tenths of a second for a token of a small model.
    """

    def __init__(self, network: ModuleOp, config: DecoderConfig):
        """A decoder that has read nothing yet; `network` must not change from here on."""
        super().__init__(Engine(network, config))


def _before_logits(function: FuncOp) -> SSAValue | None:
    """The earliest value that the logits are made of alone, row by row.

    Whoever wants the logits of some tokens need not know more than these rows of it. Behind the
    last attention of a decoder that is the sum with its results.
    """
    ops = list(function.body.block.ops)
    end = ops[-1]
    assert isinstance(end, ReturnOp)
    wanted: set[SSAValue] = {end.operands[0]}
    found: SSAValue | None = None
    for op in reversed(ops[:-1]):
        if not wanted.intersection(op.results):
            continue
        if not _by_rows(op):
            break
        wanted.difference_update(op.results)
        wanted.update(value for value in op.operands if not isinstance(value.owner, ConstantOp))
        if len(wanted) == 1:
            (found,) = wanted
    # A row must stay one if nothing else of the block reads the value.
    return found if found is not None and isinstance(found.owner, Operation) else None


def _by_rows(op: Operation) -> bool:
    """Whether each row [K] of an operation's results is made of the same rows of its operands."""
    if isinstance(op, LinearOp):
        from xdsl.traits import SymbolTable

        kernel = SymbolTable.lookup_symbol(op, op.callee)
        return isinstance(kernel, FuncOp) and not attends(kernel)
    if isinstance(op, ReduceOp):
        return op.keep is not None and integers_of(op.axes) == [-1]
    if isinstance(op, MatmulOp):
        return isinstance(op.rhs.owner, ConstantOp)
    if isinstance(op, SliceOp):
        return integers_of(op.axes) in ([-1], [1])
    if isinstance(op, ConcatOp):
        return op.axis.value.data == 1
    return isinstance(op, ElementwiseOp | RmsNormOp)
